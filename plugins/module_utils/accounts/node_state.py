# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all accounts of a node share: whose login is next, the breakers, the pace of the refreshes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from .breaker import CLOSED, Breaker
from .json_values import finite, text
from .limits import Limits
from .refresh_pace import RefreshPace

Attempt = Literal["login", "refresh"]


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """What all accounts of a node share.

    Attributes:
        next_login_at: no login starts before this time.
        login: breaker of the logins.
        refresh: breaker of the refresh grants.
        queue: accounts that wait for their turn to log in, each with the time at which it shall come back.
        refreshed: by egress, the pace of its refreshes.
    """

    next_login_at: float = 0.0
    login: Breaker = CLOSED
    refresh: Breaker = CLOSED
    queue: tuple[tuple[str, float], ...] = ()
    refreshed: tuple[tuple[str, RefreshPace], ...] = ()

    def breaker(self, attempt: Attempt) -> Breaker:
        """Return the breaker of one kind of attempt."""
        return self.login if attempt == "login" else self.refresh

    def with_breaker(self, attempt: Attempt, breaker: Breaker) -> NodeState:
        """Return the state with another breaker for one kind of attempt."""
        return replace(self, login=breaker) if attempt == "login" else replace(self, refresh=breaker)

    def ask_for_turn(
        self, name: str, now: float, limits: Limits, *, opens: Callable[[float], float], rng: random.Random
    ) -> tuple[NodeState, Turn]:
        """Let an account log in now, or give it a place in the queue.

        Args:
            name: the account.
            now: seconds since the epoch.
            limits: the policy.
            opens: when the egress next allows a login from a given time on; see `login_opens`.
            rng: source of the random part of the gap.

        Returns:
            The state afterwards, and the account's turn.
        """
        # A time further away than the longest gap is of a clock that was set back.
        gate = opens(max(now, min(self.next_login_at, now + limits.longest_gap)))
        earliest, latest = now - limits.longest_gap, now + limits.login_period
        places = {other: at for other, at in self.queue if earliest <= at <= latest}
        place = places.pop(name, None)
        if gate <= now:
            next_at = now + limits.login_gap + limits.login_gap_random * rng.random()
            after = replace(self, next_login_at=next_at, queue=tuple(places.items()))
            return after, Turn(gate=now, place=now)
        if place is None and places:
            place = opens(max(places.values()) + limits.longest_gap)
        place = gate if place is None else max(gate, place)
        after = replace(self, next_login_at=min(self.next_login_at, gate), queue=(*places.items(), (name, place)))
        return after, Turn(gate=gate, place=place)

    def ask_for_refresh(
        self, egress: str, now: float, limits: Limits, *, urgent: bool, rng: random.Random
    ) -> tuple[NodeState, float]:
        """Let an account refresh now, or say when to ask again: after a long stop refreshes do not come in a burst.

        Args:
            egress: names the way to the provider.
            now: seconds since the epoch.
            limits: the policy.
            urgent: whether a request waits for it; it only keeps the least distance, so it goes before the others.
            rng: source of the random part of the distance.

        Returns:
            The state afterwards, and the time from which on the account may go; it goes if that is not after ``now``.
        """
        longest = 2 * limits.longest_refresh_gap
        others = tuple((way, pace) for way, pace in self.refreshed if way != egress and now - pace.last < longest)
        known = next((pace for way, pace in self.refreshed if way == egress), None)
        if known is None:
            known = RefreshPace(last=now - longest, after=now)
        pace, at = known.ask(now, limits, urgent=urgent, rng=rng)
        return replace(self, refreshed=(*others, (egress, pace))), at

    def to_json(self) -> dict[str, Any]:
        """Return the content of the node's file."""
        return {
            "version": 1,
            "next_login_at": self.next_login_at,
            "breakers": {"login": self.login.to_json(), "refresh": self.refresh.to_json()},
            "queue": [list(item) for item in self.queue],
            "refreshed": [[egress, pace.to_json()] for egress, pace in self.refreshed],
        }

    @classmethod
    def from_json(cls, document: Any) -> NodeState:
        """Read the content of the node's file.

        Args:
            document: the parsed JSON.

        Raises:
            ValueError: it is none.
        """
        try:
            return cls(
                next_login_at=finite(document["next_login_at"]),
                login=Breaker.from_json(document["breakers"]["login"]),
                refresh=Breaker.from_json(document["breakers"]["refresh"]),
                queue=tuple((text(name), finite(at)) for name, at in document.get("queue", [])),
                refreshed=tuple(
                    (text(egress), RefreshPace.from_json(pace)) for egress, pace in document.get("refreshed", [])
                ),
            )
        except (LookupError, TypeError, AttributeError):
            raise ValueError("not what a node keeps") from None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """When an account may log in; times in seconds since the epoch.

    Attributes:
        gate: when the node may begin its next login, whoever comes first.
        place: when it is this account's turn, after those that came before.
    """

    gate: float
    place: float
