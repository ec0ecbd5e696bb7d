# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of a load."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

REASONS_KEPT = 5


@dataclass
class Result:
    """Counts and times; in the end ``sent`` is the sum of ``ok`` and ``failed``.

    Attributes:
        sent: requests, repetitions not counted.
        ok: those that were answered right.
        failed: all others.
        streams: how many of the requests asked for a stream.
        reasons: why the first ones failed.
        repeated_after_goaway: requests that the server said it never processed, sent once more (RFC 9113, 6.8).
        connections: how many were opened.
        seconds: how long each right answer took, streams with intended pauses left out.
        ended: when each right answer was there, on the monotonic clock.
        took: how long the load took altogether.
    """

    sent: int = 0
    ok: int = 0
    failed: int = 0
    streams: int = 0
    reasons: list[str] = field(default_factory=list)
    repeated_after_goaway: int = 0
    connections: int = 0
    seconds: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    took: float = 0.0

    def succeed(self, seconds: float | None) -> None:
        """Count a right answer.

        Args:
            seconds: how long it took; None if that says nothing.
        """
        self.ok += 1
        self.ended.append(time.monotonic())
        if seconds is not None:
            self.seconds.append(seconds)

    def fail(self, reason: str) -> None:
        """Count a request that was not answered right."""
        self.failed += 1
        if len(self.reasons) < REASONS_KEPT:
            self.reasons.append(reason)

    def percentile(self, share: float) -> float:
        """Return the time in seconds within which a share of the answers came; 0 without any.

        Args:
            share: from 0 to 1.
        """
        return percentile(self.seconds, share)

    def held(self, above: float) -> list[float]:
        """Return the times that were added to those who waited: what goes beyond the median.

        Args:
            above: the added time in seconds from which a request counts as held.
        """
        usual = self.percentile(0.5)
        return [taken - usual for taken in self.seconds if taken - usual >= above]

    def __str__(self) -> str:
        """Return one line, with the reasons of failures below."""
        numbers = ", ".join(f"p{share * 100:g} {self.percentile(share) * 1000:.0f} ms" for share in (0.5, 0.99, 1))
        line = (
            f"{self.sent} sent ({self.streams} streams), {self.ok} ok, {self.failed} failed, "
            f"{self.repeated_after_goaway} repeated after GOAWAY, {self.connections} connections, "
            f"{self.took:.1f} s; {numbers}"
        )
        return "\n  ".join([line, *self.reasons])


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below or at which a share of the values lies; 0 without any.

    Args:
        values: the values.
        share: from 0 to 1.
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0
