# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agent knows of one lane."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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

    def has_token(self, now: float) -> bool:
        """Say whether its replicas hold a token that should be accepted."""
        return bool(self.token) and self.rejected_at is None and (self.expires_at is None or now < self.expires_at)

    def is_good(self, now: float) -> bool:
        """Say whether a request may go there now."""
        return any(self.up.values()) and self.has_token(now) and now >= self.resting_until

    def becomes_good_at(self, now: float) -> float | None:
        """Return the earliest time when the lane may be good again, or None when only the operator can change that."""
        if self.has_token(now):
            return max(now, self.resting_until)
        if self.busy:
            return now
        return None if self.next_attempt is None else max(now, self.next_attempt)

    def remembered(self) -> dict[str, Any]:
        """Return what must survive a restart of the agent and is in no other place."""
        return {"token": self.token, "delivered_at": self.delivered_at, "resting_until": self.resting_until}
