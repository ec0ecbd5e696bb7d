# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agent knows of one lane, and how that changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# The gateway connects to a lane within milliseconds after the lane was named.
SETTLED_SECONDS = 2.0
# Whatever a lane's answer asks for, it rests a little and not for good.
REST_SECONDS_MIN, REST_SECONDS_MAX = 1.0, 86400.0


@dataclass
class Lane:
    """One account's lane; times are seconds since the epoch.

    Attributes:
        name: the account.
        address: the loopback address of its replicas.
        ports: their ports by name.
        token: fingerprint of the token that its replicas were given last, "" when they have none.
        delivered_at: when all of them had it.
        unanswered: fingerprint of the token that a replica was sent without having answered, by the replica's name;
            "" when it may be any.
        rejected_at: when the try began to which the service answered 401; None while the token counts as good.
        rejections: how many times the token was rejected since the agent started.
        expires_at: when the token runs out; None if nobody knows.
        resting_until: the service answered 429: no request before then.
        up: whether its replicas answer, by name.
        next_attempt: when a renewal is due next; None when only the operator can change something.
        attempt_for: the token's fingerprint and the account's state that this time was told for.
        renewing: whether a renewal is under way.
        busy: whether a renewal or delivery is under way, or tried again soon.
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
    unanswered: dict[str, str] = field(default_factory=dict)
    rejected_at: float | None = None
    rejections: int = 0
    expires_at: float | None = None
    resting_until: float = 0.0
    up: dict[str, bool] = field(default_factory=dict)
    next_attempt: float | None = 0.0
    attempt_for: tuple[str, str] = ("", "")
    renewing: bool = False
    busy: bool = True
    chosen: int = 0
    serving: dict[str, float] = field(default_factory=dict)
    failures: int = 0
    blocked_since: float | None = None
    blocked_until: float = 0.0

    # Whether it can serve.

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

    # Its token.

    def delivered(self, fingerprint: str, at: float) -> None:
        """Note that all replicas hold a token; one that they had before is as good as it was."""
        if fingerprint != self.token:
            self.rejected_at = None
        self.token, self.delivered_at = fingerprint, at

    def sends(self, replica: str, fingerprint: str) -> None:
        """Note, before it is done, that a replica is sent a token."""
        self.unanswered[replica] = fingerprint

    def ended(self, replica: str) -> None:
        """Note that nothing is open at a replica any more: it has answered, or its process has ended."""
        self.unanswered.pop(replica, None)

    def doubt(self) -> None:
        """Note that nobody knows what its replicas were sent without having answered."""
        self.unanswered = dict.fromkeys(self.ports, "")

    def empty(self) -> None:
        """Note that there is no token that the lane may run with."""
        self.token, self.expires_at, self.up = "", None, {}

    def reject(self, tried_at: float, now: float) -> bool:
        """Note a 401 of the service.

        Args:
            tried_at: when the request was sent that got it.
            now: seconds since the epoch.

        Returns:
            Whether it is news of the token in use: that may have been replaced while the answer was on its way.
        """
        # A clock that was set back must not make a token newer than it is.
        self.delivered_at = min(self.delivered_at, now)
        if not self.token or tried_at <= self.delivered_at or self.rejected_at is not None:
            return False
        self.rejected_at = tried_at
        self.rejections += 1
        return True

    def compare(self, *, rejected: bool, issued_at: float | None, expires_at: float | None, now: float) -> None:
        """Take over what the store knows of the token in use.

        Args:
            rejected: whether the service rejected it.
            issued_at: when it was issued.
            expires_at: when it runs out; None if nobody knows.
            now: seconds since the epoch.
        """
        if self.rejected_at is not None and (issued_at or 0.0) > self.rejected_at:
            # The provider issued the same token anew.
            self.rejected_at = None
        if rejected and self.rejected_at is None:
            self.rejected_at = now
        self.expires_at = expires_at

    # Its renewals.

    def is_due(self, now: float) -> bool:
        """Say whether a renewal is due."""
        return self.next_attempt is not None and now >= self.next_attempt

    def renew_by(self, at: float) -> None:
        """Let a renewal be due at some time at the latest."""
        self.next_attempt = at if self.next_attempt is None else min(self.next_attempt, at)

    # Its replicas.

    def went_down(self) -> None:
        """Note that nobody listened."""
        self.up = dict.fromkeys(self.ports, False)

    def is_up(self) -> bool:
        """Say whether all replicas answer."""
        return all(self.up.get(replica) for replica in self.ports)

    def seen(self, replica: str, *, answers: bool) -> bool:
        """Note whether a replica answers; say whether it did not before and does now."""
        came_up = answers and not self.up.get(replica)
        self.up[replica] = answers
        return came_up

    # What the service's answers tell.

    def rest(self, seconds: float, since: float) -> None:
        """Note a 429 that asks for some seconds of rest since some time; an earlier one that asked for more stays."""
        pause = min(max(seconds, REST_SECONDS_MIN), REST_SECONDS_MAX)
        self.resting_until = max(self.resting_until, since + pause)

    def fail(self, failures_max: int, now: float, seconds: float) -> bool:
        """Note a 500, which is all that the program tells when the service blocks its address or cannot be reached.

        Args:
            failures_max: so many in a row count as a block.
            now: seconds since the epoch.
            seconds: see `block`.

        Returns:
            Whether the address counts as blocked since now.
        """
        self.failures += 1
        return self.failures >= failures_max and self.block(now, seconds)

    def block(self, now: float, seconds: float) -> bool:
        """Note that ChatGPT refuses the lane's address; one request finds out after some seconds whether it still does.

        Args:
            now: seconds since the epoch.
            seconds: the pause until then.

        Returns:
            Whether that is news.
        """
        self.blocked_until = now + seconds
        if self.blocked_since is not None:
            return False
        self.blocked_since = now
        return True

    def reached(self) -> bool:
        """Note that the service itself has answered; say whether the address counted as blocked."""
        was_blocked = self.blocked_since is not None
        self.failures, self.blocked_since, self.blocked_until = 0, None, 0.0
        return was_blocked

    # The requests that it serves.

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

    # Clocks and restarts.

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
            "unanswered": self.unanswered,
            "resting_until": self.resting_until,
            "blocked_since": self.blocked_since,
        }

    def recall(self, known: Mapping[str, Any], now: float) -> None:
        """Take over what was remembered.

        Args:
            known: see `remembered`.
            now: seconds since the epoch.

        Raises:
            LookupError: something is missing.
            TypeError: something has another form.
            ValueError: something is no number.
        """
        # An agent of 0.1.0 told nothing of that.
        token, unanswered = str(known["token"]), dict(known.get("unanswered", dict.fromkeys(self.ports, "")))
        # A clock that was set back must not make a token newer, or a rest longer, than it is.
        delivered_at = min(float(known["delivered_at"]), now)
        resting_until = min(float(known["resting_until"]), now + REST_SECONDS_MAX)
        blocked_since = known.get("blocked_since")
        self.blocked_since = None if blocked_since is None else min(float(blocked_since), now)
        self.token, self.delivered_at, self.resting_until = token, delivered_at, resting_until
        self.unanswered = {replica: str(unanswered[replica]) for replica in self.ports if replica in unanswered}
