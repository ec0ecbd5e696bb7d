# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One clock for many nodes: days of a fleet pass in seconds, always in the same order."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable


class Timeline:
    """A clock that stands still while one job works, and leaps to the next one's time when all of them sleep.

    Args:
        start: seconds since the epoch.
    """

    def __init__(self, start: float) -> None:
        self.now = start
        self._sleepers: list[tuple[float, int, threading.Semaphore]] = []
        self._serial = itertools.count()
        self._resting = threading.Semaphore(0)

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let the other jobs work until it is so many seconds later; only within `run`."""
        wake = self._wake_at(self.now + max(0.0, seconds))
        self._resting.release()
        wake.acquire()

    def run(self, *jobs: Callable[[], None]) -> None:
        """Let jobs work side by side, one at any moment, until all have ended.

        Args:
            jobs: they wait only by `sleep`.

        Raises:
            BaseException: whatever ended a job first.
        """
        failures: list[BaseException] = []

        def work(job: Callable[[], None], wake: threading.Semaphore) -> None:
            wake.acquire()
            try:
                job()
            except BaseException as failure:  # noqa: BLE001 - raised again by the one who waits
                failures.append(failure)
            finally:
                self._resting.release()

        threads = [threading.Thread(target=work, args=(job, self._wake_at(self.now)), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        while self._sleepers and not failures:
            at, _serial, wake = heapq.heappop(self._sleepers)
            self.now = max(self.now, at)
            wake.release()
            self._resting.acquire()
        if failures:
            raise failures[0]
        for thread in threads:
            thread.join()

    def _wake_at(self, at: float) -> threading.Semaphore:
        wake = threading.Semaphore(0)
        heapq.heappush(self._sleepers, (at, next(self._serial), wake))
        return wake
