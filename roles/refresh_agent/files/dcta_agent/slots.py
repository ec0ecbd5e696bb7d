# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Only so many work side by side, and what a request waits for goes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Slots:
    """A queue in front of some slots.

    Args:
        count: how many work side by side.
        apart: whether the urgent have as many slots of their own, so that they never wait for one that is not urgent.
    """

    def __init__(self, count: int, *, apart: bool) -> None:
        self._apart = apart
        self._free = {False: count, True: count if apart else 0}
        # In the order in which they came.
        self._waiting: dict[asyncio.Future[bool], Callable[[], bool]] = {}

    @asynccontextmanager
    async def slot(self, is_urgent: Callable[[], bool]) -> AsyncIterator[None]:
        """Wait for a slot and hold it.

        Args:
            is_urgent: says whether it is urgent now; that may change while it waits, see `look_again`.
        """
        granted = asyncio.get_running_loop().create_future()
        self._waiting[granted] = is_urgent
        self.look_again()
        try:
            kind = await granted
        except asyncio.CancelledError:
            self._waiting.pop(granted, None)
            if granted.done() and not granted.cancelled():
                self._give_back(granted.result())
            raise
        try:
            yield
        finally:
            self._give_back(kind)

    def look_again(self) -> None:
        """Give free slots away: one that waits may have become urgent."""
        for granted, is_urgent in sorted(self._waiting.items(), key=lambda item: not item[1]()):
            kind = is_urgent() and self._apart
            if self._free[kind] and not granted.done():
                del self._waiting[granted]
                self._free[kind] -= 1
                granted.set_result(kind)

    def _give_back(self, kind: bool) -> None:
        self._free[kind] += 1
        self.look_again()
