# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pace of the refreshes that leave by one way: no bursts, the urgent first, and nobody waits for ever."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from .json_values import finite
from .limits import Limits

MOST_OVERTAKERS = 4
"""How many urgent refreshes go before an ordinary one that waits."""


@dataclass(frozen=True, kw_only=True)
class RefreshPace:
    """What is known of one way to the provider; times in seconds since the epoch.

    Attributes:
        last: when the last refresh was sent.
        after: when the next ordinary one may be.
        waiting: whether an ordinary one asked and was put off.
        overtakers: how many urgent ones went before it since.
    """

    last: float
    after: float
    waiting: bool = False
    overtakers: int = 0

    def ask(self, now: float, limits: Limits, *, urgent: bool, rng: random.Random) -> tuple[RefreshPace, float]:
        """Let a refresh go now, or say when to ask again.

        Args:
            now: seconds since the epoch.
            limits: the policy.
            urgent: whether a request waits for it; it then keeps the least distance only.
            rng: source of the random part of the distance.

        Returns:
            The pace afterwards, and the time from which on it may go; it goes if that is not after ``now``.
        """
        opens = self._opens(limits, urgent=urgent)
        # A time in the future is of a clock that was set back.
        if self.last <= now < opens:
            return (self if urgent else replace(self, waiting=True)), opens
        after = now + limits.refresh_gap * (1 + limits.refresh_gap_jitter * (2 * rng.random() - 1))
        if urgent and self.waiting:
            return replace(self, last=now, after=after, overtakers=self.overtakers + 1), now
        return RefreshPace(last=now, after=after), now

    def _opens(self, limits: Limits, *, urgent: bool) -> float:
        least = limits.least_refresh_gap
        its_turn = self.waiting and self.overtakers >= MOST_OVERTAKERS
        if urgent:
            return self.last + (2 * least if its_turn else least)
        return self.last + least if its_turn else min(self.after, self.last + limits.longest_refresh_gap)

    def to_json(self) -> list[Any]:
        """Return what the node's file keeps of it."""
        return [self.last, self.after, self.waiting, self.overtakers]

    @classmethod
    def from_json(cls, document: Any) -> RefreshPace:
        """Read what the node's file keeps of it.

        Args:
            document: the parsed JSON.

        Raises:
            ValueError: it is none.
        """
        last, after, waiting, overtakers = document
        return cls(last=finite(last), after=finite(after), waiting=bool(waiting), overtakers=int(finite(overtakers)))
