# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that come out of a file or an answer and may be anything that JSON can hold."""

from __future__ import annotations

import math
from typing import Any

LARGEST = 9e10
"""Seconds: a time in the year 4821. Everything up to there can be calculated with and shown as a date."""


def finite(value: Any) -> float:
    """Return a number, brought into the range of times.

    Args:
        value: anything.

    Returns:
        The number; one beyond `LARGEST` becomes that.

    Raises:
        ValueError: it is no number.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or (isinstance(value, float) and math.isnan(value))
    ):
        raise ValueError("not a number")
    # Compared before it is converted: an integer of JSON may be too large for a float.
    return float(max(-LARGEST, min(LARGEST, value)))


def text(value: Any) -> str:
    """Return a text.

    Args:
        value: anything.

    Raises:
        ValueError: it is none, or holds half a character.
    """
    if isinstance(value, str):
        # A lone surrogate (RFC 8259 section 8.2) could neither be hashed nor sent.
        value.encode()
        return value
    raise ValueError("not a text")


def integer(value: Any) -> int:
    """Return a whole number.

    Args:
        value: anything.

    Raises:
        ValueError: it is none, or a time step of no calendar.
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST:
        return value
    raise ValueError("not an integer")
