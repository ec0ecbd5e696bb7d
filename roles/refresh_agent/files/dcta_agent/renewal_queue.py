# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When an account is renewed: how many at a time, which goes first, and what its outcome says of the next time."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

from . import pauses
from .lane import Lane
from .renewals import RenewalError
from .slots import Slots

# Each is a process of some 25 MB, and all accounts may be rejected at once.
REFRESHES_SIDE_BY_SIDE = 4
# The provider would take more for an attack; the library keeps the distance between them.
LOGINS_SIDE_BY_SIDE = 1

log = logging.getLogger(__name__)

Renew = Callable[[dict[str, Any], float], Awaitable[dict[str, Any]]]


class RenewalQueue:
    """Renews the accounts of the node.

    A login may take minutes and waits for its turn, so an account is first only refreshed. Where a login is due it
    comes in a second step, for which no refresh of another account waits.

    Args:
        renew: runs one renewal.
        timeout: seconds after which a renewal is given up.
        clock: returns seconds since the epoch.
    """

    def __init__(self, renew: Renew, timeout: float, clock: Callable[[], float]) -> None:
        self._renew = renew
        self._timeout = timeout
        self._clock = clock
        self._refreshes = Slots(REFRESHES_SIDE_BY_SIDE, apart=True)
        self._logins = Slots(LOGINS_SIDE_BY_SIDE, apart=False)

    def look_again(self) -> None:
        """See to it that an account whose token was rejected while it waits goes first."""
        self._refreshes.look_again()
        self._logins.look_again()

    async def renew(self, lane: Lane) -> None:
        """Renew a lane's account, and set when that is due next.

        Args:
            lane: the lane. What became of its token stands in the store, which alone is asked for it.
        """

        def is_urgent() -> bool:
            return lane.rejected_at is not None

        try:
            async with self._refreshes.slot(is_urgent):
                rejections, request = lane.rejections, self._request(lane)
                outcome = await self._renew({**request, "log_in": False}, self._timeout)
            if outcome.get("login_due"):
                async with self._logins.slot(is_urgent):
                    rejections, request = lane.rejections, self._request(lane)
                    outcome = await self._renew({**request, "log_in": True}, self._timeout)
        except RenewalError as error:
            log.error("%s: %s", lane.name, error)
            lane.next_attempt = self._clock() + pauses.REPAIR_SECONDS
            return
        lane.attempt_for = (outcome["token_fingerprint"] or "", outcome["state"])
        if lane.rejections == rejections:  # else a 401 came meanwhile, and is looked at next
            lane.next_attempt = self._next_attempt(request, outcome)
        self._tell(lane, outcome)

    def _request(self, lane: Lane) -> dict[str, Any]:
        if lane.rejected_at is None:
            return {"name": lane.name, "reason": "expiry"}
        return {
            "name": lane.name,
            "reason": "rejected",
            "token_fingerprint": lane.token,
            "tried_at": lane.rejected_at,
        }

    def _next_attempt(self, request: dict[str, Any], outcome: dict[str, Any]) -> float | None:
        now = self._clock()
        due: float | None = outcome["next_renewal"]
        if outcome["usable"] and outcome["token_fingerprint"] == request.get("token_fingerprint"):
            # This 401 came too soon after another to count: until it does, only asking again helps.
            due = min(due or math.inf, now + pauses.REPAIR_SECONDS)
        return None if due is None else max(due, now + pauses.RENEWAL_GAP)

    def _tell(self, lane: Lane, outcome: dict[str, Any]) -> None:
        if outcome["error_class"]:
            log.warning("%s: %s %s (%s)", lane.name, outcome["message"], outcome["cure"], outcome["error_class"])
        elif outcome["action"] != "none":
            log.info("%s: %s, the new token is good", lane.name, outcome["action"])
        for warning in outcome["warnings"]:
            log.warning("%s: %s", lane.name, warning)
