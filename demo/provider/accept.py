# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client would rather read (RFC 9110 section 12.5.1)."""

from __future__ import annotations


def prefers_html(accept: str) -> bool:
    """Tell whether a client would rather read HTML than JSON.

    Args:
        accept: the value of its ``Accept`` header; empty means anything.

    Returns:
        Whether HTML has the greater weight; of two equal weights the one that is named first counts.
    """
    return _rank(accept, "text/html") > _rank(accept, "application/json")


def _rank(accept: str, wanted: str) -> tuple[float, int, int]:
    """Return the weight of a media type, how exactly it is named, and how early."""
    best = (0.0, 0, 0)
    for position, entry in enumerate(accept.split(",")):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        exactness = {wanted: 3, f"{wanted.partition('/')[0]}/*": 2, "*/*": 1}.get(name, 0)
        if exactness > best[1]:
            best = (_weight(parameters), exactness, -position)
    return best


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
