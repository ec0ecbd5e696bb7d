# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One replica, watched: whether it is there, and what becomes of one that hangs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from dcta_library.lane_runner import LaneRunnerError

from . import pauses
from .backoff import Backoff
from .config import HealthLimits
from .lane import Lane
from .program import Sign, ping
from .runner import Runner

log = logging.getLogger(__name__)


class Watcher:
    """Asks a replica again and again whether it is there; ends it when it takes connections and stays silent.

    Args:
        lane: the replica's lane.
        replica: its name.
        runner: ends replicas.
        health: how often it is asked.
        on_up: called when it is there again.
    """

    def __init__(
        self, lane: Lane, replica: str, runner: Runner, health: HealthLimits, *, on_up: Callable[[], None]
    ) -> None:
        self._lane = lane
        self._replica = replica
        self._runner = runner
        self._health = health
        self._on_up = on_up
        self._wanted = asyncio.Event()
        # The first kill comes as soon as the replica has been silent for long enough.
        self._kills = Backoff(health.converge_interval, pauses.BACKOFF_LONGEST)

    async def run(self) -> None:
        """Work until cancelled."""
        silent = 0
        while True:
            # Before the look, so that what is wanted during it comes after it.
            self._wanted.clear()
            sign = await self.look()
            silent = silent + 1 if sign is Sign.SILENT else 0
            if silent >= self._health.ping_failures and self._kills.may():
                silent = 0
                await self._end()
            soon = sign is Sign.ABSENT and self._lane.token
            await pauses.wait_for(self._wanted, pauses.PATCH_PAUSE if soon else self._health.ping_interval)

    def look_now(self) -> None:
        """Ask it at once."""
        self._wanted.set()

    async def look(self) -> Sign:
        """Ask it; return what it showed."""
        sign = await ping(self._lane.address, self._lane.ports[self._replica], self._health.ping_timeout)
        if self._lane.seen(self._replica, answers=sign is Sign.ANSWERS):
            self._on_up()
        return sign

    async def _end(self) -> None:
        """End it, gently when it heeds that: then what it has begun is finished."""
        name, replica = self._lane.name, self._replica
        log.warning(
            "%s: replica %s hangs, it is restarted; not again within %.0f s", name, replica, self._kills.tried()
        )
        with contextlib.suppress(LaneRunnerError):
            await self._runner.ask("end", name, replica=replica)
            await asyncio.sleep(pauses.HEED_SECONDS)
            # The program stops to listen as soon as it heeds the signal.
            if await self.look() is Sign.SILENT:
                await self._runner.ask("kill", name, replica=replica)
                self._lane.ended(replica)
