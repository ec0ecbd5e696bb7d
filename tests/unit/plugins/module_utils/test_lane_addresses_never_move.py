# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lane's address follows from the account's name alone."""

from __future__ import annotations

import hashlib
import ipaddress

from ansible_collections.dcta.fleet.plugins.module_utils.lane_address import lane_address


def test_addresses_of_known_names_stay_what_they_are() -> None:
    assert {name: lane_address(name) for name in ("alice", "bob", "a")} == {
        "alice": "127.74.246.1",
        "bob": "127.96.109.141",
        "a": "127.114.165.224",
    }


def test_the_address_is_the_network_and_22_bits_of_the_names_sha256() -> None:
    bits = int(hashlib.sha256(b"carol").hexdigest(), 16) >> 234
    assert int(ipaddress.ip_address(lane_address("carol"))) == int(ipaddress.ip_address("127.64.0.0")) + bits


def test_every_address_lies_in_the_loopback_network_of_the_lanes() -> None:
    network = ipaddress.ip_network("127.64.0.0/10")
    assert all(ipaddress.ip_address(lane_address(f"n{i}")) in network for i in range(2000))
