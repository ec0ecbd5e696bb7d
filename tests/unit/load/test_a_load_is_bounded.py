# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A load goes nowhere but to this machine and the inventory's hosts, and it ends by itself."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from dcta_load import Clients, Load, Question, Result, Target, TargetRefused

from .gateways import Program, gateway, make_certificate

INVENTORY = """
all:
  children:
    dcta_nodes:
      hosts:
        node1: {ansible_host: 192.0.2.11}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY)
    return path


def test_hosts_of_the_inventory_and_loopback_may_be_loaded(inventory: Path) -> None:
    for address in ("192.0.2.11", "127.0.0.1", "::1"):
        assert Target(address, 8443, key="", authority=inventory, inventory=inventory).address == address


@pytest.mark.parametrize("address", ["192.0.2.12", "8.8.8.8", "node1", "localhost", "192.0.2.11.example.org", ""])
def test_no_other_address_may_be_loaded(inventory: Path, address: str) -> None:
    with pytest.raises(TargetRefused):
        Target(address, 8443, key="", authority=inventory, inventory=inventory)


def test_without_an_inventory_only_loopback_may_be_loaded(inventory: Path) -> None:
    with pytest.raises(TargetRefused):
        Target("192.0.2.11", 8443, key="", authority=inventory)


@pytest.mark.parametrize(("requests", "seconds"), [(0, 1.0), (10**9, 1.0), (10, 0.0), (10, 1e6)])
def test_a_load_without_a_bound_is_refused(inventory: Path, requests: int, seconds: float) -> None:
    target = Target("127.0.0.1", 1, key="", authority=inventory)
    with pytest.raises(ValueError, match="at most"):
        Load(target, [Clients(count=1)], requests=requests, seconds=seconds)


def test_a_burst_is_bounded_too(inventory: Path) -> None:
    target = Target("127.0.0.1", 1, key="", authority=inventory)
    with pytest.raises(ValueError, match="at most"):
        asyncio.run(Load(target, [], requests=2).burst([Question("w")] * 3))


@pytest.mark.parametrize(("requests", "seconds"), [(25, 60.0), (100_000, 0.5)])
def test_a_load_ends_by_itself(tmp_path: Path, requests: int, seconds: float) -> None:
    make_certificate(tmp_path)

    async def play() -> Result:
        async with gateway(tmp_path, Program().serve) as target:
            return await Load(target, [Clients(count=5)], requests=requests, seconds=seconds).run()

    started = time.monotonic()
    result = asyncio.run(play())
    assert time.monotonic() - started < 10
    assert result.sent == result.ok + result.failed <= requests
    assert result.failed == 0, result


def test_a_load_in_the_background_can_be_watched_and_stopped(tmp_path: Path) -> None:
    make_certificate(tmp_path)

    async def play() -> Result:
        async with gateway(tmp_path, Program().serve) as target:
            with Load(target, [Clients(count=2)], seconds=30) as load:
                await asyncio.to_thread(load.reach, 20)
                return await asyncio.to_thread(load.stop)

    result = asyncio.run(play())
    assert result.ok == result.sent >= 20, result


def test_times_are_told_as_shares_and_as_what_was_added() -> None:
    result = Result(seconds=[0.1] * 98 + [1.1, 2.1])
    assert result.percentile(0.5) == pytest.approx(0.1)
    assert result.percentile(0.99) == pytest.approx(1.1)
    assert result.percentile(1) == pytest.approx(2.1)
    assert result.held(0.5) == pytest.approx([1.0, 2.0])
    assert Result().percentile(0.5) == 0
