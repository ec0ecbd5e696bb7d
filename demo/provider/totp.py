# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time-based one-time codes (RFC 6238 with SHA-1, six digits, 30 seconds)."""

from __future__ import annotations

import base64
import hashlib
import hmac

STEP = 30


def code(secret: str, counter: int) -> str:
    """Compute one code.

    Args:
        secret: the shared secret in base32, padding and spaces optional.
        counter: the number of the 30-second step since the epoch.

    Returns:
        Six digits (RFC 4226 section 5.3).

    Raises:
        ValueError: the secret is not base32.
    """
    text = secret.replace(" ", "").upper().rstrip("=")
    key = base64.b32decode(text + "=" * (-len(text) % 8))
    digest = hmac.new(key, counter.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


def matching_counter(secret: str, candidate: str, now: float) -> int | None:
    """Find the step that a code belongs to, one step of clock skew allowed (RFC 6238 section 5.2).

    Args:
        secret: the shared secret in base32.
        candidate: what the user typed.
        now: seconds since the epoch.

    Returns:
        The step's number, or None when the code is wrong.
    """
    current = int(now // STEP)
    for counter in (current, current - 1, current + 1):
        if hmac.compare_digest(code(secret, counter), candidate):
            return counter
    return None
