# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lane, kept: it runs with the token of the store, and its account is renewed in time.

The two go on side by side. A renewal may wait for long, and the lane is looked after meanwhile; what a renewal brought
is taken from the store, as everything else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from dcta_library.accounts.errors import AccountsError
from dcta_library.lane_runner import LaneRunnerError

from . import pauses
from .lane import Lane
from .renewal_queue import RenewalQueue
from .supplier import Damaged, Postponed, Supplier
from .watcher import Watcher

log = logging.getLogger(__name__)


class Keeper:
    """Keeps one lane.

    Args:
        lane: the lane.
        supplier: brings it into the state that its account's record asks for.
        renewals: renews its account.
        watchers: look at its replicas.
        interval: seconds between two looks at the lane.
        clock: returns seconds since the epoch.
        on_change: called when the lane may have become good.
    """

    def __init__(
        self,
        lane: Lane,
        supplier: Supplier,
        renewals: RenewalQueue,
        watchers: Sequence[Watcher],
        *,
        interval: float,
        clock: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        self._lane = lane
        self._supplier = supplier
        self._renewals = renewals
        self._watchers = watchers
        self._interval = interval
        self._clock = clock
        self._on_change = on_change
        self._supplied = asyncio.Event()
        self._supply_wanted = asyncio.Event()
        self._renewal_wanted = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_supplied())
            # What is good in the store runs before anything is renewed, but what stalls there must stop no renewal.
            await pauses.wait_for(self._supplied, pauses.FIRST_SUPPLY_SECONDS)
            tasks.create_task(self._keep_fresh())

    def rejected(self) -> None:
        """Renew now: the service rejected the token."""
        self._lane.renew_by(0.0)
        self._lane.busy = True
        self._renewals.look_again()
        self._renewal_wanted.set()

    def look_again(self) -> None:
        """Look at lane and account now."""
        self._supply_wanted.set()
        self._renewal_wanted.set()

    async def _keep_supplied(self) -> None:
        while True:
            pause = await self._supply()
            self._supplied.set()
            await pauses.wait_for(self._supply_wanted, pause)

    async def _supply(self) -> float:
        """Look after the lane; return after how many seconds to do so again."""
        lane, pause = self._lane, self._interval
        self._supply_wanted.clear()
        lane.busy = True
        try:
            await self._supplier.converge()
            if lane.token and not lane.is_up():
                await asyncio.gather(*(watcher.look() for watcher in self._watchers))
        except Damaged:
            lane.renew_by(self._clock() + pauses.REPAIR_SECONDS)
        except Postponed:
            pause = pauses.REPAIR_SECONDS
        except (LaneRunnerError, AccountsError, OSError) as error:
            log.error("%s: %s", lane.name, error.sentence if isinstance(error, AccountsError) else error)
            pause = pauses.REPAIR_SECONDS
        # After a failure it stays busy: it may be good as soon as the node itself is.
        lane.busy = pause < self._interval or self._has_work()
        # It may be due earlier than it was.
        self._renewal_wanted.set()
        self._on_change()
        return pause

    def _has_work(self) -> bool:
        return self._supply_wanted.is_set() or self._lane.renewing or self._lane.is_due(self._clock())

    async def _keep_fresh(self) -> None:
        lane = self._lane
        while True:
            self._renewal_wanted.clear()
            if lane.is_due(self._clock()):
                lane.renewing = lane.busy = True
                await self._renewals.renew(lane)
                lane.renewing = False
                self._supply_wanted.set()
            else:
                pause = self._interval
                if lane.next_attempt is not None:
                    pause = min(pause, max(0.05, lane.next_attempt - self._clock()))
                await pauses.wait_for(self._renewal_wanted, pause)
