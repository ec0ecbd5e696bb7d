# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gateway asks about a request that it holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# nginx separates the tries of one pass by ", " and the passes by " : ".
SEPARATOR = re.compile(r", | : ")


@dataclass(frozen=True)
class Question:
    """One request that a lane could not answer.

    Attributes:
        request_id: names the request in both logs.
        addresses: where the tries of the last pass went, the last one last.
        status: its status; 502 also when nobody listened.
        answered: whether the lane itself gave that status.
        tried_at: when the last try began, in seconds since the epoch.
        retry_after: what the lane's answer asked for, in seconds.
        retry: the number of the retry that is asked for, from 1; of a new request it is its first try.
    """

    request_id: str
    addresses: tuple[str, ...]
    status: int
    answered: bool
    tried_at: float
    retry_after: float | None
    retry: int

    @property
    def is_new(self) -> bool:
        """Whether no lane was tried yet: the gateway asks for a place before it sends the request anywhere."""
        return self.addresses == ("",) and self.retry == 1

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], now: float) -> Question:
        """Read the gateway's headers.

        Args:
            headers: names in lower case.
            now: seconds since the epoch.

        Returns:
            The question; a value that cannot be read counts as not known.
        """
        passes = [one.strip() for one in headers.get("x-upstream-addr", "").split(" : ")]
        asked_at = _number(headers.get("x-now", ""))
        # A question that is asked again after the agent died still says when it was asked first.
        asked_at = now if asked_at is None else min(asked_at, now)
        seconds = _number(_last(headers.get("x-upstream-time", "")))
        status = _number(_last(headers.get("x-upstream-status", "")))
        return cls(
            request_id=headers.get("x-request-id", ""),
            addresses=tuple(address.strip() for address in passes[-1].split(", ")),
            status=int(status) if status is not None else 502,
            answered=_number(_last(headers.get("x-upstream-header-time", ""))) is not None,
            tried_at=asked_at - (seconds or 0.0),
            retry_after=_number(headers.get("x-retry-after", "")),
            retry=1 + sum(one.startswith("unix:") for one in passes),
        )


def _last(value: str) -> str:
    return SEPARATOR.split(value)[-1].strip()


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
