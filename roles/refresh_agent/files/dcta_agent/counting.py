# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many requests each lane answers, where the requests of an account are bounded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from . import pauses
from .hold import Hold
from .lane import Lane
from .reports import connections

log = logging.getLogger(__name__)


class Counting:
    """Compares the places that the hold gave away with the gateway's connections: a report may get lost.

    Args:
        hold: gives places away.
        lanes: all lanes of the node.
    """

    def __init__(self, hold: Hold, lanes: Iterable[Lane]) -> None:
        self._hold = hold
        self._places = [(lane.address, port) for lane in lanes for port in lane.ports.values()]

    async def run(self) -> None:
        """Work until cancelled."""
        while self._hold.bounded:
            await asyncio.sleep(pauses.RECOUNT_SECONDS)
            settled = self._hold.settled()
            counted = self.adopt()
            if counted is not None:
                # The reports of what ended just before are still on their way.
                await asyncio.sleep(pauses.REPORT_SECONDS)
                self._hold.recount(counted, settled)

    def adopt(self) -> Mapping[str, int] | None:
        """Count what the lanes serve and nobody named them for; return their connections, None if they are unknown."""
        if not self._hold.bounded:
            return None
        try:
            counted = connections(self._places)
        except OSError as error:
            log.error("connections to the lanes cannot be counted: %s", error.strerror)
            return None
        self._hold.adopt(counted)
        return counted
