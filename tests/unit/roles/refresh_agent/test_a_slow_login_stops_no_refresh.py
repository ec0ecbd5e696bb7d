# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refreshes, urgent ones and logins do not wait for each other, and a lane is looked after while its account waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_node import Node, on_a_node, until
from dcta_agent import pauses
from dcta_agent.renewal_queue import LOGINS_SIDE_BY_SIDE, REFRESHES_SIDE_BY_SIDE
from dcta_agent.renewals import RenewalError
from dcta_agent.slots import Slots
from dcta_library.accounts.record import Record

MANY = ("alice", "bob", "carol", "dave", "erin", "frank")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "REPAIR_SECONDS", 0.1)
    monkeypatch.setattr(pauses, "RENEWAL_GAP", 0.05)


class Provider:
    """Renewals that stall until a test lets them go; it counts how many there are at a time."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.stalled: set[tuple[str, bool]] = set()
        self.running: list[tuple[str, bool]] = []
        self.most = {False: 0, True: 0}
        self.asked: list[tuple[str, str, bool]] = []
        node.renew = self.renew

    async def renew(self, request: dict[str, Any]) -> Record:
        """Renew, or stall."""
        name, log_in = request["name"], request["log_in"]
        self.asked.append((name, request["reason"], log_in))
        self.running.append((name, log_in))
        self.most[log_in] = max(self.most[log_in], sum(kind is log_in for _name, kind in self.running))
        try:
            while (name, log_in) in self.stalled:  # noqa: ASYNC110 - tests set it
                await asyncio.sleep(0.005)
            if name in self.node.login_due and not log_in:
                # It tries what it can without a login, which is nothing.
                return self.node.store.load(name) or self.node.save(name, state="new", access_token=None)
            return await self.node.issue(request)
        finally:
            self.running.remove((name, log_in))


def started(provider: Provider, *names: str, log_in: bool = False) -> bool:
    return {name for name, kind in provider.running if kind is log_in} >= set(names)


# Two steps.


def test_an_account_is_refreshed_and_only_where_that_does_not_help_logged_in(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        provider = Provider(node)
        node.login_due = {"bob"}
        async with node.at_work():
            await until(lambda: node.is_settled("alice") and node.is_settled("bob"))
        assert sorted(provider.asked) == [("alice", "expiry", False), ("bob", "expiry", False), ("bob", "expiry", True)]

    on_a_node(tmp_path, test, ("alice", "bob"))


def test_a_login_that_takes_its_time_keeps_no_refresh_waiting(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        provider = Provider(node)
        node.login_due = set(MANY[:5])
        provider.stalled = {(name, True) for name in MANY}
        async with node.at_work():
            await until(lambda: len(provider.running) == LOGINS_SIDE_BY_SIDE and node.is_settled("frank"))
            # Its next one as well.
            node.agent.lanes["frank"].next_attempt = 0.0
            node.agent._keepers["frank"].look_again()
            await until(lambda: provider.asked.count(("frank", "expiry", False)) == 2)
            provider.stalled.clear()
            await until(lambda: all(node.is_settled(name) for name in MANY))
        assert provider.most[True] == LOGINS_SIDE_BY_SIDE

    on_a_node(tmp_path, test, MANY)


def test_a_login_tells_of_the_token_that_was_rejected(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        provider = Provider(node)
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.login_due = {"alice"}
            provider.asked.clear()
            assert (await node.ask("alice")).status == 200
        assert provider.asked == [("alice", "rejected", False), ("alice", "rejected", True)]
        first, second = node.renewals[-2:]
        assert {**first, "log_in": True} == second

    on_a_node(tmp_path, test)


def test_a_login_that_breaks_is_tried_again_and_gives_its_slot_back(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        provider, broken = Provider(node), [True]
        node.login_due = {"alice", "bob"}

        async def renew(request: dict[str, Any]) -> Record:
            if request["log_in"] and broken:
                broken.pop()
                raise RenewalError("the renewal took more than 1800 s")
            return await provider.renew(request)

        node.renew = renew
        async with node.at_work():
            await until(lambda: node.is_settled("alice") and node.is_settled("bob"))

    on_a_node(tmp_path, test, ("alice", "bob"))


# Which goes first.


def test_renewals_that_stall_keep_no_account_waiting_whose_token_was_rejected(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        provider = Provider(node)
        for name in MANY:
            node.save(name)
        provider.stalled = {(name, False) for name in MANY[:5]}
        async with node.at_work():
            await until(lambda: len(provider.running) == REFRESHES_SIDE_BY_SIDE)
            await until(lambda: all(node.is_good(name) for name in MANY))
            # Those that stall, one that waits behind them, and one that nobody has asked for yet.
            await node.ask("frank")
            await until(lambda: node.is_good("frank"))
            assert ("frank", "rejected", False) in provider.asked
            assert len(provider.running) == REFRESHES_SIDE_BY_SIDE

    on_a_node(tmp_path, test, MANY)


def test_an_account_that_is_rejected_while_it_waits_for_its_renewal_goes_first(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        provider = Provider(node)
        for name in MANY:
            node.save(name)
        provider.stalled = {(name, False) for name in MANY}
        async with node.at_work():
            await until(lambda: len(provider.running) == REFRESHES_SIDE_BY_SIDE)
            await until(lambda: all(node.is_good(name) for name in MANY))
            [waiting, *_others] = sorted(set(MANY) - {name for name, _log_in in provider.running})
            provider.stalled.remove((waiting, False))
            await node.ask(waiting)
            await until(lambda: node.is_good(waiting))
            assert next(reason for name, reason, _log_in in provider.asked if name == waiting) == "rejected"

    on_a_node(tmp_path, test, MANY)


def test_of_the_accounts_that_wait_to_log_in_the_rejected_one_is_the_next(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        provider = Provider(node)
        for name in MANY[:4]:
            node.save(name)
        node.login_due = set(MANY[:4])
        provider.stalled = {(name, True) for name in MANY}
        async with node.at_work():
            await until(lambda: started(provider, log_in=True) and len(provider.asked) == 5)
            await until(lambda: all(node.is_good(name) for name in MANY[:4]))
            [running] = [name for name, _log_in in provider.running]
            last = [name for name, _reason, _log_in in provider.asked if name != running][-1]
            await node.ask(last)
            provider.stalled = {(name, True) for name in MANY if name not in (running, last)}
            await until(lambda: [entry for entry in provider.asked if entry[2]][1:2] == [(last, "rejected", True)])

    on_a_node(tmp_path, test, MANY[:4])


# What goes on meanwhile.


@contextlib.contextmanager
def waiting_login(node: Node) -> Iterator[Provider]:
    provider = Provider(node)
    node.login_due, provider.stalled = {"alice"}, {("alice", True)}
    yield provider
    provider.stalled.clear()


def test_a_lane_whose_account_waits_to_log_in_is_started_when_it_crashes(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        with waiting_login(node) as provider:
            async with node.at_work():
                await until(lambda: started(provider, "alice", log_in=True) and node.is_good("alice"))
                for replica in node.replicas["alice"].values():
                    await replica.stop()
                await until(lambda: all(replica.active for replica in node.replicas["alice"].values()))

    on_a_node(tmp_path, test)


def test_a_token_that_somebody_else_brings_meanwhile_is_delivered(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        with waiting_login(node) as provider:
            async with node.at_work():
                await until(lambda: started(provider, "alice", log_in=True))
                node.save("alice", access_token="planted-by-hand")
                await until(lambda: node.is_good("alice") and node.token("alice", "b") == "planted-by-hand")
                assert started(provider, "alice", log_in=True)

    on_a_node(tmp_path, test)


# The slots themselves.


async def hold_slot(slots: Slots, log: list[str], name: str, urgent: list[str], end: asyncio.Event) -> None:
    async with slots.slot(lambda: name in urgent):
        log.append(name)
        await end.wait()


async def rest() -> None:
    for _ignored in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("apart", [False, True])
def test_the_urgent_go_first_and_then_who_came_first(apart: bool) -> None:
    async def run() -> None:
        slots, end = Slots(1, apart=apart), asyncio.Event()
        log: list[str] = []
        tasks = [asyncio.create_task(hold_slot(slots, log, name, ["4"], end)) for name in "1234"]
        await rest()
        assert log == (["1", "4"] if apart else ["1"])
        end.set()
        await asyncio.gather(*tasks)
        assert log == ["1", "4", "2", "3"]

    asyncio.run(run())


def test_a_slot_that_nobody_takes_any_more_goes_to_the_next() -> None:
    async def run() -> None:
        slots, end = Slots(1, apart=False), asyncio.Event()
        log: list[str] = []
        tasks = [asyncio.create_task(hold_slot(slots, log, name, [], end)) for name in "1234"]
        await rest()
        # One that waits, one that was just given the slot, and one that holds it.
        tasks[1].cancel()
        await rest()
        tasks[0].cancel()
        await asyncio.sleep(0)
        tasks[2].cancel()
        await rest()
        assert log[0] == "1"
        assert log[-1] == "4"
        end.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
