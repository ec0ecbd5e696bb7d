# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The breaker: when several accounts of a node are turned away, its address is refused, and the node pauses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .json_values import finite, text
from .limits import Limits

BLOCKED_CLASSES = frozenset({"captcha_required", "rate_limited", "ip_blocked"})
"""Failures that say something about the node's address rather than about one account; they feed the breaker."""

PASSING_CLASSES = frozenset({"network_error", "provider_error"})
"""Failures that say nothing about the address: a breaker on trial waits for a better witness."""


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """Stops all logins (or all refreshes) of a node when its address seems to be refused.

    Attributes:
        turned_away: accounts that were turned away lately, with the time.
        open_until: end of the pause; None while closed. After that time one account at a time is let through.
        pause: length of the present pause in seconds.
    """

    turned_away: tuple[tuple[str, float], ...] = ()
    open_until: float | None = None
    pause: float = 0.0

    def settled(self, now: float, limits: Limits) -> Breaker:
        """Bring the times back in order after the clock was set back, so that nobody waits for hours that pass twice.

        Args:
            now: seconds since the epoch.
            limits: the policy.

        Returns:
            The breaker to keep: a pause lasts from now on at most as long as it was given.
        """
        longest = max(min(self.pause, limits.breaker_pause_cap), limits.breaker_trial)
        until = None if self.open_until is None else min(self.open_until, now + longest)
        return replace(self, open_until=until, turned_away=tuple((name, min(at, now)) for name, at in self.turned_away))

    def blocked_until(self, now: float) -> float | None:
        """Return the end of the pause if it lasts, else None."""
        return None if self.open_until is None or now >= self.open_until else self.open_until

    def admit(self, now: float, limits: Limits) -> Breaker:
        """Let one account through; on trial, the next one has to wait for its result."""
        return self if self.open_until is None else replace(self, open_until=now + limits.breaker_trial)

    def result(self, name: str, error_class: str | None, now: float, limits: Limits) -> Breaker:
        """Learn from an attempt.

        Args:
            name: the account.
            error_class: class of the failure, None for a success.
            now: seconds since the epoch.
            limits: the policy.

        Returns:
            The breaker afterwards.
        """
        if error_class in BLOCKED_CLASSES:
            if self.open_until is not None:
                pause = min(max(self.pause, limits.breaker_pause) * 2, limits.breaker_pause_cap)
                return Breaker(open_until=now + pause, pause=pause)
            recent = tuple(
                (other, min(at, now))
                for other, at in self.turned_away
                if other != name and now - at < limits.breaker_window
            )
            recent += ((name, now),)
            if len(recent) >= limits.breaker_accounts > 0:
                return Breaker(open_until=now + limits.breaker_pause, pause=limits.breaker_pause)
            return replace(self, turned_away=recent)
        if error_class in PASSING_CLASSES:
            return self
        # Any other answer, a wrong password too, shows that the provider talks to this address.
        return Breaker() if self.open_until is not None else self

    def to_json(self) -> dict[str, Any]:
        """Return what the node's file keeps of it."""
        return {
            "turned_away": [list(item) for item in self.turned_away],
            "open_until": self.open_until,
            "pause": self.pause,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Breaker:
        """Read what the node's file keeps of it.

        Args:
            document: the parsed JSON.

        Raises:
            ValueError, LookupError, TypeError: it is none.
        """
        until = document["open_until"]
        return cls(
            turned_away=tuple((text(name), finite(at)) for name, at in document["turned_away"]),
            open_until=None if until is None else finite(until),
            pause=finite(document["pause"]),
        )


CLOSED = Breaker()
"""A breaker that has learned nothing yet."""
