# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing older than the store's token reaches a lane: not by the module lanes, a late answer or an agent before."""

from __future__ import annotations

import asyncio
import errno
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_node import Node, on_a_node, until
from dcta_agent import pauses
from dcta_library.accounts import atomic_file
from dcta_library.accounts.record import Record


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "REPAIR_SECONDS", 0.1)
    monkeypatch.setattr(pauses, "RENEWAL_GAP", 0.05)
    monkeypatch.setattr(pauses, "PATCH_SECONDS", 0.1)
    monkeypatch.setattr(pauses, "PATCH_PAUSE", 0.02)
    # Here it stays as it is for as long as a test wants.
    monkeypatch.setattr(pauses, "PATCHES_UNANSWERED_MAX", 1000)


def document(token: str) -> str:
    return json.dumps([{"token": token, "puid": ""}])


def later(node: Node, token: str) -> None:
    """Somebody renews the account."""
    node.save("alice", access_token=token, issued_at=time.time())


def look(node: Node) -> None:
    """Let the agent look at the store now."""
    node.agent._keepers["alice"].look_again()


def both_have(node: Node, token: str) -> bool:
    return all(node.token("alice", which) in (token, document(token)) for which in "ab")


# One who delivers.


def test_the_agent_delivers_only_after_the_module_has_and_then_what_the_store_has(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.log.clear()
            with node.store.delivery("alice", 1):
                later(node, "planted-between")
                node.agent.hold.wake()
                await asyncio.sleep(0.5)
                assert node.log == []
                # The module has read this one, and lays it down.
                node.laid_down["alice"] = "planted-between"
                later(node, "planted-newest")
            await until(lambda: both_have(node, "planted-newest") and node.is_settled("alice"))
            assert node.laid_down["alice"] == "planted-newest"
            assert not [tokens for replica in "ab" for _process, tokens in node.replicas["alice"][replica].handed[2:]]
        handed = [tokens for which in "ab" for _process, tokens in node.replicas["alice"][which].handed]
        assert document("planted-between") not in handed

    on_a_node(tmp_path, test)


def test_the_module_lays_nothing_down_while_the_agent_hands_over(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            seen: list[bool] = []
            give = node.replicas["alice"]["a"].give

            def observe(tokens: str) -> None:
                try:
                    with node.store.delivery("alice", 0):
                        seen.append(False)
                except Exception:  # noqa: BLE001 - whatever it is, it is held
                    seen.append(True)
                give(tokens)

            node.replicas["alice"]["a"].give = observe  # type: ignore[method-assign]
            later(node, "planted-newest")
            await until(lambda: both_have(node, "planted-newest"))
            assert seen == [True]
            await until(lambda: node.is_settled("alice"))
            with node.store.delivery("alice", 0):
                pass

    on_a_node(tmp_path, test)


def test_a_replica_that_is_waited_for_gets_what_the_store_has_by_then(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            replica = node.replicas["alice"]["b"]
            await replica.stop()
            node.runner.starting.add("b")
            later(node, "planted-between")
            look(node)
            await until(lambda: document("planted-between") in node.token("alice", "a"))
            later(node, "planted-newest")
            await until(lambda: document("planted-newest") in node.token("alice", "a"))
            await replica.start()
            replica.token = "planted-alice-0"
            node.runner.starting.clear()
            await until(lambda: node.is_settled("alice") and both_have(node, "planted-newest"))
            assert (replica.process, document("planted-newest")) == replica.handed[-1]
            assert (replica.process, document("planted-between")) not in replica.handed

    on_a_node(tmp_path, test, converge_interval=30)


def test_what_a_renewal_says_of_its_token_is_never_delivered(tmp_path: Path) -> None:
    """A renewal's answer may come late; the store is newer by then."""

    async def test(node: Node) -> None:
        async def answers_late(request: dict[str, Any]) -> Record:
            record = await node.issue(request)
            if request["reason"] == "rejected":
                later(node, "planted-newest")
            return record

        node.renew = answers_late
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            await node.ask("alice")
            await until(lambda: both_have(node, "planted-newest") and node.is_settled("alice"))
        handed = [tokens for which in "ab" for _process, tokens in node.replicas["alice"][which].handed]
        assert document("planted-alice-1") not in handed

    on_a_node(tmp_path, test)


def test_a_delivery_that_nobody_lets_go_of_is_said_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "DELIVERY_SECONDS", 0.1)

    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            with node.store.delivery("alice", 1):
                later(node, "planted-newest")
                await until(lambda: "alice.delivery" in caplog.text)
                # It serves on with what it has.
                assert node.agent.lanes["alice"].up == {"a": True, "b": True}
            await until(lambda: both_have(node, "planted-newest") and node.is_settled("alice"))

    on_a_node(tmp_path, test)


# A PATCH that was not answered.


async def stall(node: Node) -> None:
    """Let replica a leave a token unanswered."""
    node.replicas["alice"]["a"].stalls = True
    later(node, "planted-stalled")
    await until(lambda: document("planted-stalled") in node.token("alice", "b"))
    # The second comes when the first has been given up.
    await until(lambda: node.replicas["alice"]["a"].stalled >= 2)


def test_after_an_unanswered_token_the_next_comes_by_a_restart_of_that_replica_alone(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            await stall(node)
            node.log.clear()
            later(node, "planted-newest")
            await until(lambda: node.is_settled("alice") and both_have(node, "planted-newest"))
            moves = [entry for entry in node.log if entry.startswith(("put", "roll", "patch", "stop", "kill"))]
            assert moves == ["put alice", "patch alice b", "roll alice a"]
            # What the process before was handed and carries out now is nobody's token any more.
            await asyncio.sleep(0.1)
            assert both_have(node, "planted-newest")
            assert node.agent.lanes["alice"].unanswered == {}

    on_a_node(tmp_path, test, ping_failures=1000)


def test_both_replicas_are_restarted_one_after_the_other(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            for replica in node.replicas["alice"].values():
                replica.stalls = True
            later(node, "planted-stalled")
            await until(lambda: all(replica.stalled >= 2 for replica in node.replicas["alice"].values()))
            node.log.clear()
            later(node, "planted-newest")
            await until(lambda: node.is_settled("alice") and both_have(node, "planted-newest"))
            assert [entry for entry in node.log if entry.startswith("roll")] == ["roll alice a", "roll alice b"]

    on_a_node(tmp_path, test)


def test_the_same_token_is_handed_over_again_and_nothing_is_restarted(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            await stall(node)
            node.replicas["alice"]["a"].stalls = False
            await until(lambda: node.is_settled("alice") and both_have(node, "planted-stalled"))
            assert not [entry for entry in node.log if entry.startswith("roll")]

    on_a_node(tmp_path, test)


def test_an_answer_to_the_second_try_does_not_make_the_first_one_harmless(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            await stall(node)
            node.replicas["alice"]["a"].stalls = False
            await until(lambda: node.is_settled("alice") and both_have(node, "planted-stalled"))
            later(node, "planted-newest")
            await until(lambda: node.is_settled("alice") and both_have(node, "planted-newest"))
            assert [entry for entry in node.log if entry.startswith("roll")] == ["roll alice a"]

    on_a_node(tmp_path, test)


def test_an_agent_that_starts_knows_what_the_one_before_left_unanswered(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            await stall(node)
        later(node, "planted-newest")
        node.agent = node.new_agent()
        async with node.at_work():
            await until(lambda: node.is_settled("alice") and both_have(node, "planted-newest"))
            node.replicas["alice"]["a"].stalls = False
            await asyncio.sleep(0.1)
            assert both_have(node, "planted-newest")
        assert node.log.count("roll alice a") == 1

    on_a_node(tmp_path, test)


def test_a_replica_that_was_gone_meanwhile_needs_no_restart(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            await stall(node)
            await node.replicas["alice"]["a"].stop()
            later(node, "planted-newest")
            await until(lambda: node.is_settled("alice") and both_have(node, "planted-newest"))
            assert not [entry for entry in node.log if entry.startswith("roll")]
            assert node.agent.lanes["alice"].unanswered == {}

    on_a_node(tmp_path, test)


@pytest.mark.slow
def test_a_replica_that_hung_and_was_ended_is_handed_the_next_token_while_it_runs(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.replicas["alice"]["a"].hangs = True
            later(node, "planted-stalled")
            await until(lambda: "kill alice a" in node.log and node.is_settled("alice"))
            await until(lambda: node.replicas["alice"]["a"].active and both_have(node, "planted-stalled"))
            later(node, "planted-newest")
            await until(lambda: node.is_settled("alice") and both_have(node, "planted-newest"))
            assert not [entry for entry in node.log if entry.startswith("roll")]

    on_a_node(tmp_path, test)


def test_a_replica_that_nobody_reached_was_handed_nothing(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            replica = node.replicas["alice"]["a"]
            await replica.stop()
            node.runner.starting.add("a")
            later(node, "planted-between")
            look(node)
            await until(lambda: document("planted-between") in node.token("alice", "b"))
            await asyncio.sleep(0.2)
            assert node.agent.lanes["alice"].unanswered == {}
            node.runner.starting.clear()

    on_a_node(tmp_path, test, converge_interval=30)


# What an agent cannot know.

FORGETFUL: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "of 0.1.0": lambda known: {name: value for name, value in known.items() if name != "unanswered"},
    "damaged": lambda known: {**known, "unanswered": 7},
}


def forget(node: Node, how: str) -> None:
    """Replace what an agent before has written."""
    path = node.folder / "memory.json"
    known = json.loads(path.read_text())["alice"]
    path.write_text("" if how == "empty" else json.dumps({"alice": FORGETFUL[how](known)}))


@pytest.mark.parametrize("how", ["of 0.1.0", "damaged", "empty"])
def test_an_agent_that_does_not_know_what_was_left_unanswered_restarts_for_the_next_token(
    tmp_path: Path, how: str
) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            await stall(node)
        forget(node, how)
        later(node, "planted-newest")
        node.agent = node.new_agent()
        async with node.at_work():
            await until(lambda: node.is_settled("alice") and both_have(node, "planted-newest"))
            node.replicas["alice"]["a"].stalls = False
            await asyncio.sleep(0.1)
            assert both_have(node, "planted-newest")
        assert [entry for entry in node.log if entry.startswith("roll")] == ["roll alice a", "roll alice b"]
        # From then on it knows.
        node.log.clear()
        later(node, "planted-after")
        node.agent = node.new_agent()
        async with node.at_work():
            await until(lambda: node.is_settled("alice") and both_have(node, "planted-after"))
        assert not [entry for entry in node.log if entry.startswith("roll")]

    on_a_node(tmp_path, test, ping_failures=1000)


def test_a_memory_of_the_release_before_restarts_nothing_as_long_as_the_token_stays(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
        forget(node, "of 0.1.0")
        node.log.clear()
        node.agent = node.new_agent()
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            await asyncio.sleep(0.3)
        assert node.log == []

    on_a_node(tmp_path, test)


def test_one_damaged_entry_costs_no_other_lane_what_is_known_of_it(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        for name in ("alice", "bob"):
            node.save(name)
        async with node.at_work():
            await until(lambda: node.is_settled("alice") and node.is_settled("bob"))
        path = node.folder / "memory.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "alice": 7}))
        node.agent = node.new_agent()
        assert node.agent.lanes["alice"].unanswered == {"a": "", "b": ""}
        assert (node.agent.lanes["bob"].unanswered, bool(node.agent.lanes["bob"].token)) == ({}, True)

    on_a_node(tmp_path, test, ("alice", "bob"))


def test_an_agent_that_cannot_remember_a_token_restarts_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = atomic_file.replace

    def full(path: str, data: bytes, **options: Any) -> None:
        if path.endswith("memory.json"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(path, data, **options)

    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            monkeypatch.setattr(atomic_file, "replace", full)
            node.log.clear()
            later(node, "planted-newest")
            await until(lambda: node.is_settled("alice") and both_have(node, "planted-newest"))
            assert node.log == ["put alice", "roll alice a", "roll alice b"]

    on_a_node(tmp_path, test)
