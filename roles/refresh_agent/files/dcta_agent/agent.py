# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent at work: one keeper for each lane, one watcher for each replica, and what concerns the node as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dcta_library.accounts.errors import AccountsError
from dcta_library.accounts.record import Record
from dcta_library.accounts.schedule import CLOCK_TOLERANCE
from dcta_library.accounts.store import Store
from lanes import Lane as Description
from lanes import admin_password

from . import pauses
from .alerts import Alerts
from .backoff import Backoff
from .config import Config
from .counting import Counting
from .hold import Hold
from .keeper import Keeper
from .lane import Lane
from .memory import Memory
from .renewal_queue import Renew, RenewalQueue
from .renewals import renewal
from .runner import Runner
from .supplier import Supplier
from .watcher import Watcher

# For files and their locks alone; the module lanes holds the locks of at most half as many lanes at a time.
THREADS = 32

log = logging.getLogger(__name__)


class Agent:
    """Keeps the lanes of a node supplied and says which are good.

    Args:
        descriptions: the lanes of the node.
        config: the settings.
        store: the accounts' records.
        admin_key: the node's key, from which the admin passwords of the lanes follow.
        memory: the file that keeps what must survive a restart.
        alerts: tells the operator; None where there is no webhook.
        runner: starts and stops lanes.
        renew: runs one renewal.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        descriptions: Mapping[str, Description],
        config: Config,
        store: Store,
        admin_key: bytes,
        memory: Path,
        *,
        alerts: Alerts | None = None,
        runner: Runner | None = None,
        renew: Renew = renewal,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._health = config.health
        self._store = store
        self._alerts = alerts
        self._clock = clock
        runner = runner or Runner()
        renewals = RenewalQueue(renew, config.health.renewal_timeout, clock)
        self.lanes = {name: Lane(name, lane.address, lane.ports) for name, lane in descriptions.items()}
        self._memory = Memory(memory, self.lanes)
        self._memory.recall(clock())
        self.hold = Hold(
            self.lanes.values(),
            config.hold,
            on_rejected=lambda lane: self._keepers[lane.name].rejected(),
            on_rest=lambda _lane: self._memory.save(),
            on_down=self._on_down,
            on_blocked=self._on_blocked,
            clock=clock,
        )
        self._counting = Counting(self.hold, self.lanes.values())
        self._watchers = {
            name: [Watcher(lane, replica, runner, config.health, on_up=self._on_up) for replica in lane.ports]
            for name, lane in self.lanes.items()
        }
        self._keepers = {
            name: Keeper(
                lane,
                Supplier(
                    lane,
                    descriptions[name],
                    admin_password(admin_key, name),
                    store=store,
                    runner=runner,
                    memory=self._memory,
                    starts=Backoff(config.health.converge_interval, pauses.BACKOFF_LONGEST),
                    clock=clock,
                    on_change=self.hold.wake,
                ),
                renewals,
                self._watchers[name],
                interval=config.health.converge_interval,
                clock=clock,
                on_change=self.hold.wake,
            )
            for name, lane in self.lanes.items()
        }

    async def run(self) -> None:
        """Work until cancelled."""
        self._counting.adopt()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        async with asyncio.TaskGroup() as tasks:
            for name, keeper in self._keepers.items():
                tasks.create_task(keeper.run())
                for watcher in self._watchers[name]:
                    tasks.create_task(watcher.run())
            tasks.create_task(self._mind_the_clock())
            tasks.create_task(self._counting.run())
            if self._alerts is not None:
                tasks.create_task(self._tell(self._alerts))
            # A node without accounts has an agent all the same.
            await asyncio.Event().wait()

    # What the hold and the watchers report.

    def _on_down(self, lane: Lane) -> None:
        lane.went_down()
        for watcher in self._watchers[lane.name]:
            watcher.look_now()

    def _on_up(self) -> None:
        # By now what an agent before this one has sent is on its way.
        self._counting.adopt()
        self.hold.wake()

    def _on_blocked(self, lane: Lane) -> None:
        if lane.blocked_since is None:
            log.warning("%s: address_blocked is over, ChatGPT answers again", lane.name)
        else:
            log.warning(
                "%s: address_blocked: ChatGPT gave no proper answer to %d requests: it refuses the address that"
                " they come from, or cannot be reached from there. No restart and no new token helps: look at the"
                " account's proxy and at the node's network, or wait",
                lane.name,
                lane.failures,
            )
        self._memory.save()

    # The node as a whole.

    async def _mind_the_clock(self) -> None:
        """Notice when the clock is set back: nothing may wait for hours that pass a second time."""
        ahead = self._clock() - time.monotonic()
        while True:
            await asyncio.sleep(self._health.ping_interval)
            before, ahead = ahead, self._clock() - time.monotonic()
            if before - ahead > CLOCK_TOLERANCE:
                log.warning("the clock was set back by %.0f s", before - ahead)
                for name, lane in self.lanes.items():
                    lane.set_back(before - ahead)
                    self._keepers[name].look_again()
                self._memory.save()

    async def _tell(self, alerts: Alerts) -> None:
        """Tell the operator what the records of the accounts give reason for."""
        while True:
            await alerts.update(await asyncio.to_thread(self._records))
            await asyncio.sleep(pauses.ALERT_SECONDS)

    def _records(self) -> dict[str, Record | None]:
        records: dict[str, Record | None] = dict.fromkeys(self.lanes)
        for name in records:
            with contextlib.suppress(AccountsError):
                records[name] = self._store.load(name)
        return records
