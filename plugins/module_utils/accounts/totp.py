# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One-time codes (RFC 6238 over RFC 4226: HMAC-SHA-1, steps of 30 seconds)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct

from .errors import MfaInvalid

STEP = 30
"""Length of a time step in seconds (RFC 6238 section 4.1)."""


def decode_secret(secret: str) -> bytes:
    """Turn the base32 text that providers show into the key.

    Args:
        secret: base32, in any case, with or without blanks, hyphens and padding.

    Returns:
        The key.

    Raises:
        MfaInvalid: the text is not base32.
    """
    text = secret.replace(" ", "").replace("-", "").rstrip("=").upper()
    try:
        key = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise MfaInvalid("The totp_secret of the account is not base32.", cure="Correct totp_secret.")
    return key


def code_at(key: bytes, counter: int, digits: int = 6) -> str:
    """Compute the code of one time step (RFC 4226 section 5.3).

    Args:
        key: the decoded secret.
        counter: number of the time step.
        digits: length of the code.

    Returns:
        The code with its leading zeros.
    """
    # RFC 4226 fixes SHA-1; as an HMAC it is still sound.
    mac = hmac.digest(key, struct.pack(">Q", counter), hashlib.sha1)
    offset = mac[-1] & 0x0F
    number = struct.unpack(">I", mac[offset : offset + 4])[0] & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


def choose_step(now: float, last: int | None, min_left: float) -> tuple[int, float]:
    """Choose the time step whose code may be sent next.

    Args:
        now: seconds since the epoch.
        last: step of the code that was sent last, or None.
        min_left: seconds that must be left in the step, so that the code arrives while it is good.

    Returns:
        The step and the seconds to wait before its code is sent. Never the same step twice; a ``last`` further ahead
        than the next step comes from a clock that has since been set back and is not waited for.
    """
    current = int(now // STEP)
    step = current if (current + 1) * STEP - now >= min_left else current + 1
    if last is not None and step <= last <= current + 1:
        step = last + 1
    return step, max(0.0, step * STEP - now)
