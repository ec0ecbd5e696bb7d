# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a lane listens: an address that follows from the account's name alone and so never moves."""

from __future__ import annotations

import hashlib
import ipaddress

NETWORK = ipaddress.IPv4Network("127.64.0.0/10")
PORTS = {"a": 8081, "b": 8082}


def lane_address(name: str) -> str:
    """Return the loopback address of an account's lane.

    Args:
        name: the account's name.

    Returns:
        An address in 127.64.0.0/10, made of 22 bits of the name's SHA-256.
    """
    bits = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") >> (256 - (32 - NETWORK.prefixlen))
    return str(NETWORK[bits])
