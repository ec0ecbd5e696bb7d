# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agent knows of one lane."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# The gateway connects to a lane within milliseconds after the lane was named.
SETTLED_SECONDS = 2.0


@dataclass
class Lane:
    """One account's lane; times are seconds since the epoch.

    Attributes:
        name: the account.
        address: the loopback address of its replicas.
        ports: their ports by name.
        token: fingerprint of the token that its replicas were given last, "" when they have none.
        delivered_at: when all of them had it.
        rejected_at: when the try began to which the service answered 401; None while the token counts as good.
        expires_at: when the token runs out; None if nobody knows.
        resting_until: the service answered 429: no request before then.
        up: whether its replicas answer, by name.
        next_attempt: when a renewal is due next; None when only the operator can change something.
        attempt_for: the token's fingerprint and the account's state that this time was told for.
        busy: a renewal or delivery is under way, or tried again soon.
        chosen: the number of the choice that named the lane last, so that held requests spread.
        serving: since when it serves which request; kept only where the requests of an account are bounded.
        failures: how many answers in a row were a 500.
        blocked_since: when so many were that ChatGPT must be refusing the lane's address; None while it does not.
        blocked_until: one request finds out then whether it still does.
    """

    name: str
    address: str
    ports: dict[str, int]
    token: str = ""
    delivered_at: float = 0.0
    rejected_at: float | None = None
    expires_at: float | None = None
    resting_until: float = 0.0
    up: dict[str, bool] = field(default_factory=dict)
    next_attempt: float | None = 0.0
    attempt_for: tuple[str, str] = ("", "")
    busy: bool = True
    chosen: int = 0
    serving: dict[str, float] = field(default_factory=dict)
    failures: int = 0
    blocked_since: float | None = None
    blocked_until: float = 0.0

    def has_token(self, now: float) -> bool:
        """Say whether its replicas hold a token that should be accepted."""
        return bool(self.token) and self.rejected_at is None and (self.expires_at is None or now < self.expires_at)

    def is_good(self, now: float) -> bool:
        """Say whether a request may go there now."""
        return any(self.up.values()) and self.has_token(now) and now >= max(self.resting_until, self.blocked_until)

    def becomes_good_at(self, now: float) -> float | None:
        """Return the earliest time when the lane may be good again, or None when only the operator can change that."""
        if self.has_token(now):
            return max(now, self.resting_until, self.blocked_until)
        if self.busy:
            return now
        return None if self.next_attempt is None else max(now, self.next_attempt)

    def settled(self, now: float) -> list[str]:
        """Return the requests that must have a connection by now unless they have ended."""
        return [request for request, since in self.serving.items() if now - since >= SETTLED_SECONDS]

    def adopt(self, connections: int, now: float) -> None:
        """Count requests that an agent before this one sent here, or a gateway that had to do without."""
        for number in range(connections - len(self.serving)):
            self.serving[f"unknown {now} {number}"] = now - SETTLED_SECONDS

    def drop_lost(self, connections: int, settled: Iterable[str]) -> bool:
        """Forget requests whose end was not reported; say whether a place came free.

        Args:
            connections: how many the gateway had to the lane.
            settled: the requests that were settled at that moment.
        """
        unreported = [request for request in settled if request in self.serving]
        lost = unreported[: max(0, len(unreported) - connections)]
        for request in lost:
            del self.serving[request]
        return bool(lost)

    def set_back(self, seconds: float) -> None:
        """Let times keep their distance from now when the clock was set back by some seconds."""
        self.delivered_at -= seconds
        self.resting_until -= seconds
        self.blocked_until -= seconds
        if self.blocked_since is not None:
            self.blocked_since -= seconds
        self.serving = {request: since - seconds for request, since in self.serving.items()}
        if self.rejected_at is not None:
            self.rejected_at -= seconds
        if self.next_attempt is not None:
            self.next_attempt -= seconds

    def remembered(self) -> dict[str, Any]:
        """Return what must survive a restart of the agent and is in no other place."""
        return {
            "token": self.token,
            "delivered_at": self.delivered_at,
            "resting_until": self.resting_until,
            "blocked_since": self.blocked_since,
        }
