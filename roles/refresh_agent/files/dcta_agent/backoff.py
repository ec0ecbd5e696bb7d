# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pauses between repairs that do not help: the first is short, each further one twice as long."""

from __future__ import annotations

import time
from collections.abc import Callable


class Backoff:
    """Says when the same repair may be tried again.

    Args:
        first: seconds between the first try and the second.
        longest: seconds that no pause exceeds; after as many quiet ones on top of a pause the next is the first again.
        timer: returns seconds that no setting of the clock changes.
    """

    def __init__(self, first: float, longest: float, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._first = first
        self._longest = longest
        self._timer = timer
        self._tries = 0
        self._until = 0.0

    def may(self) -> bool:
        """Say whether it may be tried now."""
        return self._tries == 0 or self._timer() >= self._until

    def tried(self) -> float:
        """Note that it is tried now; return the seconds until it may be tried again."""
        now = self._timer()
        if now >= self._until + self._longest:
            self._tries = 0
        pause = min(self._first * 2.0 ** min(self._tries, 30), self._longest)
        self._tries += 1
        self._until = now + pause
        return pause

    def forget(self) -> None:
        """Begin anew: what made the repair fail has changed."""
        self._tries = 0
        self._until = 0.0
