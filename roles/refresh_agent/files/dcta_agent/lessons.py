# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gateway's questions and reports tell of the lanes that were tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .config import HoldLimits
from .lane import Lane
from .question import Question


class Lessons:
    """Learns of the lanes.

    Args:
        lanes: all lanes of the node, by their address.
        limits: how long an account rests, and when its address counts as blocked.
        on_rejected: starts the renewal of a lane whose token was rejected.
        on_rest: makes a lane's rest survive a restart.
        on_down: looks after a lane of which nobody listened.
        on_blocked: told when a lane's address begins or ceases to count as blocked.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        limits: HoldLimits,
        *,
        on_rejected: Callable[[Lane], None],
        on_rest: Callable[[Lane], object],
        on_down: Callable[[Lane], None],
        on_blocked: Callable[[Lane], None],
        clock: Callable[[], float],
    ) -> None:
        self._lanes = lanes
        self._limits = limits
        self._on_rejected = on_rejected
        self._on_rest = on_rest
        self._on_down = on_down
        self._on_blocked = on_blocked
        self._clock = clock

    def lane_at(self, address: str) -> Lane | None:
        """Return the lane of an address with a port, or None."""
        return self._lanes.get(address.rpartition(":")[0])

    def learn(self, question: Question) -> None:
        """Take from a question what it says of the lane that was tried."""
        tried = [lane for address in question.addresses if (lane := self.lane_at(address)) is not None]
        if question.status == 502 and not question.answered:
            # The gateway comes only when nobody listened at any of the addresses that it tried.
            for lane in tried:
                self._on_down(lane)
        elif tried:
            self._learn_of(tried[-1], question)

    def ended(self, address: str, status: int | None) -> None:
        """Learn from the end of a request.

        Args:
            address: where its last try went.
            status: what was answered there; None if nothing was.
        """
        lane = self.lane_at(address)
        # From 500 on it may be the gateway's own, and a 500 comes as a question.
        if lane is not None and status is not None and status < 500:
            self._is_reached(lane)

    def _learn_of(self, lane: Lane, question: Question) -> None:
        if question.status == 401:
            if lane.reject(question.tried_at, self._clock()):
                self._on_rejected(lane)
        elif question.status == 429:
            asked = question.retry_after
            lane.rest(self._limits.rest_seconds if asked is None else asked, question.tried_at)
            self._on_rest(lane)
        elif question.status == 500 and question.answered and self._fails(lane):
            self._on_blocked(lane)
        if question.status in (401, 429):
            self._is_reached(lane)

    def _fails(self, lane: Lane) -> bool:
        return lane.fail(self._limits.blocked_failures, self._clock(), self._limits.blocked_seconds)

    def _is_reached(self, lane: Lane) -> None:
        """Note that the service itself has answered a lane."""
        if lane.reached():
            self._on_blocked(lane)
