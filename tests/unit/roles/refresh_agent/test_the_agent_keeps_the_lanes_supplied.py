# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent at work: tokens reach the lanes in order, nothing is renewed twice, and no failure is the last word."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from agent_node import Node, on_a_node, until
from dcta_agent import pauses
from dcta_agent.renewal_queue import REFRESHES_SIDE_BY_SIDE
from dcta_agent.renewals import RenewalError
from dcta_library.accounts import atomic_file
from dcta_library.accounts.errors import StoreError
from dcta_library.accounts.record import Record
from dcta_library.lane_runner import LaneRunnerError

TWO = ("alice", "bob")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "REPAIR_SECONDS", 0.1)
    monkeypatch.setattr(pauses, "RENEWAL_GAP", 0.05)
    monkeypatch.setattr(pauses, "PATCH_SECONDS", 0.2)
    monkeypatch.setattr(pauses, "PATCH_PAUSE", 0.02)


# The way of a token.


def test_a_rejected_token_is_stored_then_laid_down_then_given_to_both_and_only_then_good(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.log.clear()
            answer = await node.ask("alice")
            assert answer.headers["X-Lane"] == "lane_alice"
            assert node.log[:2] == ["store alice", "put alice"]
            assert sorted(node.log[2:]) == ["patch alice a", "patch alice b"]
            assert node.token("alice", "a") == node.token("alice", "b") == '[{"token": "planted-alice-1", "puid": ""}]'

    on_a_node(tmp_path, test)


def test_a_thousand_questions_make_one_renewal(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_good("alice") and len(node.renewals) == 1)
            await asyncio.sleep(0.002)
            questions = [node.question("alice") for _ignored in range(1000)]
            answers = await asyncio.gather(*(node.agent.hold.answer(question) for question in questions))
            assert {answer.headers.get("X-Lane") for answer in answers} == {"lane_alice"}
            assert [request["reason"] for request in node.renewals] == ["expiry", "rejected"]

    on_a_node(tmp_path, test)


def test_a_renewal_names_the_token_and_the_try_that_was_rejected(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        record = node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            tried_at = time.time() + 0.001
            await node.ask("alice", tried_at=tried_at)
            assert node.renewals[-1] == {
                "name": "alice",
                "reason": "rejected",
                "token_fingerprint": record.token_fingerprint,
                "tried_at": tried_at,
                "log_in": False,
            }

    on_a_node(tmp_path, test)


def test_the_other_lanes_serve_while_one_is_renewed(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        release = asyncio.Event()

        async def slow(request: dict[str, Any]) -> Record:
            if request["reason"] == "rejected":
                await release.wait()
            return await node.issue(request)

        node.renew = slow
        for name in TWO:
            node.save(name)
        async with node.at_work():
            await until(lambda: node.is_good("alice") and node.is_good("bob"))
            assert (await node.ask("alice")).headers["X-Lane"] == "lane_bob"
            assert not node.is_good("alice")
            release.set()
            await until(lambda: node.is_good("alice"))

    on_a_node(tmp_path, test, TWO)


def test_all_accounts_rejected_at_once_are_renewed_once_each(tmp_path: Path) -> None:
    names = ("alice", "bob", "carol", "dave", "erin", "frank")

    async def test(node: Node) -> None:
        for name in names:
            node.save(name)
        async with node.at_work():
            await until(lambda: all(node.is_good(name) for name in names) and len(node.renewals) == len(names))
            node.renewals.clear()
            answers = await asyncio.gather(*(node.ask(name) for name in names))
            assert {answer.status for answer in answers} == {200}
            await until(lambda: all(node.is_good(name) for name in names))
            assert sorted(request["name"] for request in node.renewals) == sorted(names)

    on_a_node(tmp_path, test, names)


def test_only_so_many_renewals_run_side_by_side(tmp_path: Path) -> None:
    names = ("alice", "bob", "carol", "dave", "erin", "frank")

    async def test(node: Node) -> None:
        running: list[str] = []
        most = 0

        async def count(request: dict[str, Any]) -> Record:
            nonlocal most
            running.append(request["name"])
            most = max(most, len(running))
            await asyncio.sleep(0.05)
            running.remove(request["name"])
            return await node.issue(request)

        node.renew = count
        async with node.at_work():
            await until(lambda: all(node.is_good(name) for name in names))
        assert most == REFRESHES_SIDE_BY_SIDE < len(names)

    on_a_node(tmp_path, test, names)


# Replicas that do not do as they should.


def test_a_replica_that_is_down_comes_back_with_the_new_token(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            await node.replicas["alice"]["b"].stop()
            await node.ask("alice")
            assert "patch alice b" not in node.log[node.log.index("store alice") :]
            await until(lambda: node.replicas["alice"]["b"].active)
            assert node.token("alice", "b") == "planted-alice-1"

    on_a_node(tmp_path, test)


def test_a_replica_that_starts_with_the_token_before_is_waited_for(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            replica = node.replicas["alice"]["b"]
            await replica.stop()
            node.runner.starting.add("b")
            asking = asyncio.create_task(node.ask("alice"))
            await until(lambda: "put alice" in node.log[node.log.index("store alice") :] if node.issued else False)
            await asyncio.sleep(0.1)
            assert not asking.done()
            await replica.start()
            replica.token = "planted-alice-0"
            node.runner.starting.clear()
            assert (await asking).status == 200
            assert "planted-alice-1" in replica.token

    on_a_node(tmp_path, test, converge_interval=30)


def test_a_replica_that_refuses_the_token_is_restarted_with_it_without_loss(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.replicas["alice"]["b"].refuses = True
            assert (await node.ask("alice")).status == 200
            assert [entry for entry in node.log if entry.startswith("roll")] == ["roll alice b"]
            assert node.token("alice", "b") == "planted-alice-1"
            assert not [entry for entry in node.log if entry.startswith("kill")]

    on_a_node(tmp_path, test)


def test_a_replica_that_pings_and_answers_no_token_is_restarted_alone_with_it(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.replicas["alice"]["b"].stalls = True
            node.log.clear()
            assert (await node.ask("alice")).status == 200
            await until(lambda: node.is_settled("alice"))
            assert node.log == ["store alice", "put alice", "patch alice a", "roll alice b"]
            assert node.token("alice", "b") == "planted-alice-1"
            assert node.agent.lanes["alice"].unanswered == {}

    on_a_node(tmp_path, test)


def test_a_restart_that_fails_is_tried_again_ever_more_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "REPAIR_SECONDS", 0.02)
    rolls: list[str] = []

    async def test(node: Node) -> None:
        ask = node.runner.ask

        async def fail(operation: str, lane: str, **arguments: str) -> dict[str, Any]:
            if operation != "roll":
                return await ask(operation, lane, **arguments)
            rolls.append(arguments["replica"])
            raise LaneRunnerError("systemctl restart took too long")

        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            monkeypatch.setattr(node.runner, "ask", fail)
            node.replicas["alice"]["b"].refuses = True
            node.save("alice", access_token="planted-next", issued_at=time.time())
            node.agent._keepers["alice"].look_again()
            await until(lambda: len(rolls) == 1)
            await asyncio.sleep(0.5)
            assert rolls == ["b"]
            # What made it fail is over: another token tries at once.
            monkeypatch.setattr(node.runner, "ask", ask)
            node.save("alice", access_token="planted-last", issued_at=time.time())
            node.agent._keepers["alice"].look_again()
            await until(lambda: node.token("alice", "b") == "planted-last")

    on_a_node(tmp_path, test, converge_interval=4)


@pytest.mark.slow
def test_a_silent_replica_is_ended_and_one_that_answers_again_is_not(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.replicas["alice"]["a"].hangs = True
            await until(lambda: "kill alice a" in node.log)
            await until(lambda: node.replicas["alice"]["a"].active)
            node.log.clear()
            await asyncio.sleep(0.5)
            assert node.log == []

    on_a_node(tmp_path, test)


@pytest.mark.slow
def test_a_replica_that_hangs_again_is_ended_later_than_the_first_time(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            replica = node.replicas["alice"]["a"]
            replica.hangs = True
            await until(lambda: "kill alice a" in node.log and not replica.active)
            await replica.start()
            replica.hangs = True
            await asyncio.sleep(2.5)
            assert node.log.count("kill alice a") == 1
            await until(lambda: node.log.count("kill alice a") == 2)

    on_a_node(tmp_path, test, converge_interval=4)


@pytest.mark.slow
def test_a_lane_that_does_not_come_up_is_started_ever_more_seldom_and_at_once_with_a_new_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[float] = []

    async def test(node: Node) -> None:
        ask = node.runner.ask

        async def crash(operation: str, lane: str, **arguments: str) -> dict[str, Any]:
            if operation != "start":
                return await ask(operation, lane, **arguments)
            starts.append(time.monotonic())
            raise LaneRunnerError("systemctl restart failed")

        monkeypatch.setattr(node.runner, "ask", crash)
        node.save("alice")
        async with node.at_work():
            await until(lambda: len(starts) == 4)
            pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
            assert [pause >= least for pause, least in zip(pauses, (0.2, 0.4, 0.8), strict=True)] == [True] * 3
            node.save("alice", access_token="planted-next", issued_at=time.time())
            await until(lambda: len(starts) == 5)
            assert starts[4] - starts[3] < 1.6

    on_a_node(tmp_path, test)


@pytest.mark.slow
def test_a_halted_replica_may_finish_what_it_began(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.replicas["alice"]["a"].heeds = node.replicas["alice"]["a"].hangs = True
            await until(lambda: "end alice a" in node.log)
            await until(lambda: node.replicas["alice"]["a"].active)
            await asyncio.sleep(1.5)
            assert "kill alice a" not in node.log

    on_a_node(tmp_path, test)


@pytest.mark.slow
def test_a_silent_replica_delays_a_delivery_only_until_it_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "PATCHES_UNANSWERED_MAX", 1000)

    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.replicas["alice"]["a"].hangs = True
            assert (await node.ask("alice")).status == 200
            assert "kill alice a" in node.log

    on_a_node(tmp_path, test)


def test_a_lane_of_which_nobody_listened_serves_as_soon_as_it_is_up(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            for replica in node.replicas["alice"].values():
                await replica.stop()
            asking = asyncio.create_task(node.ask("alice", 502, answered=False))
            await asyncio.sleep(0.05)
            assert not asking.done()
            await node.replicas["alice"]["b"].start()
            assert (await asking).status == 200

    on_a_node(tmp_path, test, converge_interval=30)


# Starts and restarts.


def test_after_a_reboot_a_usable_token_is_laid_down_and_started_without_a_renewal(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
        assert (node.log[0], node.issued) == ("put alice", 0)
        assert node.log[-1] == "start alice"

    on_a_node(tmp_path, test)


def test_an_account_that_is_due_at_the_start_serves_with_its_new_token_at_once(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice", expires_at=time.time() - 1)
        started = time.monotonic()
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
        assert time.monotonic() - started < 5
        assert "planted-alice-1" in node.token("alice", "a")

    on_a_node(tmp_path, test, converge_interval=30)


def test_a_lane_does_not_start_with_a_token_that_cannot_serve(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        async def fail(request: dict[str, Any]) -> Record:
            return node.save(request["name"], state="waiting", expires_at=time.time() - 1, not_before=time.time() + 60)

        node.renew = fail
        node.save("alice", expires_at=time.time() - 1)
        async with node.at_work():
            await until(lambda: len(node.renewals) == 1)
            await asyncio.sleep(0.1)
        assert node.log == []

    on_a_node(tmp_path, test)


@pytest.mark.parametrize("held", ["a replica stalls", "somebody holds the delivery"])
def test_what_keeps_a_token_from_its_lane_keeps_no_account_from_its_renewal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    monkeypatch.setattr(pauses, "FIRST_SUPPLY_SECONDS", 0.3)
    monkeypatch.setattr(pauses, "PATCH_SECONDS", 60)

    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
        node.save("alice", access_token="planted-next")
        node.renewals.clear()
        node.agent = node.new_agent()
        with contextlib.ExitStack() as stack:
            if held == "a replica stalls":
                node.replicas["alice"]["b"].stalls = True
            else:
                stack.enter_context(node.store.delivery("alice", 1))
            async with node.at_work():
                await until(lambda: len(node.renewals) == 1)

    on_a_node(tmp_path, test)


def test_the_first_renewal_waits_until_the_lane_runs_with_what_the_store_has(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        async def look(request: dict[str, Any]) -> Record:
            node.log.append("renewal")
            return await node.issue(request)

        node.renew = look
        node.save("alice")
        async with node.at_work():
            await until(lambda: "renewal" in node.log)
        assert node.log == ["put alice", "start alice", "renewal"]

    on_a_node(tmp_path, test)


def test_a_restarted_agent_remembers_which_token_the_lane_has_and_who_rests(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        for name in TWO:
            node.save(name)
        async with node.at_work():
            await until(lambda: node.is_good("alice") and node.is_good("bob"))
            assert (await node.ask("bob", 429, retry_after=60.0)).headers["X-Lane"] == "lane_alice"
        node.log.clear()
        node.agent = node.new_agent()
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            await until(lambda: not node.agent.lanes["bob"].busy)
            assert not node.is_good("bob")
        assert node.log == []

    on_a_node(tmp_path, test, TWO)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"alice": {}}',
        '{"alice": {"token": 1, "delivered_at": "x"}}',
        f'{{"alice": {{"token": "x", "delivered_at": {10**400}, "resting_until": 0}}}}',
        '{"alice": {"token": "x", "delivered_at": 1, "resting_until": 0, "unanswered": [1]}}',
        "\0",
    ],
)
def test_a_damaged_memory_costs_a_delivery_and_nothing_else(tmp_path: Path, text: str) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        (tmp_path / "memory.json").write_text(text)
        node.agent = node.new_agent()
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))

    on_a_node(tmp_path, test)


def test_an_agent_that_died_in_mid_renewal_learns_the_token_from_the_store(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        begun = asyncio.Event()

        async def last(request: dict[str, Any]) -> Record:
            if request["reason"] == "expiry":
                return await node.issue(request)
            begun.set()
            await asyncio.sleep(60)
            raise AssertionError

        node.renew = last
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            asking = asyncio.create_task(node.ask("alice"))
            await begun.wait()
            asking.cancel()
        node.renew = node.issue
        node.save("alice", access_token="planted-by-the-renewal-that-outlived-the-agent", issued_at=time.time())
        node.agent = node.new_agent()
        async with node.at_work():
            await until(lambda: "outlived" in node.token("alice", "a") and node.is_good("alice"))
        assert node.issued == 0

    on_a_node(tmp_path, test)


def test_an_agent_that_died_between_laying_down_and_handing_over_hands_over(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
        node.save("alice", access_token="planted-next")
        node.laid_down["alice"] = "planted-next"
        node.agent = node.new_agent()
        async with node.at_work():
            await until(
                lambda: "planted-next" in node.token("alice", "a") and "planted-next" in node.token("alice", "b")
            )

    on_a_node(tmp_path, test)


# Others change the store, or what was laid down.


def test_a_token_that_somebody_else_renewed_reaches_the_lane_and_is_asked_about(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_good("alice") and len(node.renewals) == 1)
            node.save("alice", access_token="planted-by-hand", issued_at=time.time())
            await until(lambda: "planted-by-hand" in node.token("alice", "b"))
            await until(lambda: len(node.renewals) == 2)
            await asyncio.sleep(0.5)
            assert len(node.renewals) == 2

    on_a_node(tmp_path, test)


def test_an_account_that_an_operator_lifted_is_kept_fresh_again(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice", state="needs_operator")
        async with node.at_work():
            await until(lambda: len(node.renewals) == 1)
            await asyncio.sleep(0.3)
            assert (len(node.renewals), node.agent.lanes["alice"].next_attempt) == (1, None)
            node.save("alice", state="valid")
            await until(lambda: node.agent.lanes["alice"].next_attempt is not None and len(node.renewals) == 2)

    on_a_node(tmp_path, test)


def test_an_older_token_that_was_laid_down_meanwhile_does_not_stay(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.laid_down["alice"] = "planted-old"
            for replica in node.replicas["alice"].values():
                await replica.stop()
                await replica.start()
            await until(lambda: all("planted-alice-0" in node.token("alice", which) for which in "ab"))
            assert node.laid_down["alice"] == "planted-alice-0"

    on_a_node(tmp_path, test)


def test_a_lane_serves_on_while_the_login_is_awaited_that_replaces_a_damaged_record(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        begun, release = asyncio.Event(), asyncio.Event()

        async def log_in(request: dict[str, Any]) -> Record:
            if not request["log_in"]:
                node.login_due.add("alice")
                return node.save("alice", state="new", access_token=None, issued_at=None, expires_at=None)
            begun.set()
            await release.wait()
            return node.save("alice", access_token="planted-next", issued_at=time.time())

        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.log.clear()
            node.renew = log_in
            (tmp_path / "tokens/alice.json").write_text("{")
            await begun.wait()
            node.agent.hold.wake()
            await asyncio.sleep(0.5)
            assert (node.log, node.is_good("alice")) == ([], True)
            release.set()
            await until(lambda: all("planted-next" in node.token("alice", which) for which in "ab"))
            assert "stop alice" not in node.log

    on_a_node(tmp_path, test)


# Accounts that nothing helps.


def test_a_quarantined_account_without_a_usable_token_is_stopped_and_nobody_waits_for_it(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        async def halt(request: dict[str, Any]) -> Record:
            record = node.store.load("alice")
            assert record is not None
            if request["reason"] == "expiry":
                return record
            return node.save("alice", state="quarantined", rejected_token=record.token_fingerprint)

        node.renew = halt
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            assert (await node.ask("alice")).status == 503
            await until(lambda: "stop alice" in node.log)
            assert not any(replica.active for replica in node.replicas["alice"].values())
            started = time.monotonic()
            assert (await node.ask("alice", 502, answered=False)).status == 503
            assert time.monotonic() - started < 1
            renewals = len(node.renewals)
            await asyncio.sleep(0.5)
            assert len(node.renewals) == renewals

    on_a_node(tmp_path, test)


def test_a_halted_account_serves_as_long_as_its_token_does(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice", state="quarantined")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))

    on_a_node(tmp_path, test)


def test_a_token_that_the_store_knows_to_be_rejected_never_counts_as_good(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        record = node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
        node.save("alice", state="waiting", rejected_token=record.token_fingerprint, not_before=time.time() + 60)

        async def wait(_request: dict[str, Any]) -> Record:
            return record

        node.renew = wait
        (tmp_path / "memory.json").unlink()
        node.agent = node.new_agent()
        async with node.at_work():
            await until(lambda: len(node.renewals) >= 2 and not node.agent.lanes["alice"].busy)
            assert not node.is_good("alice")
            assert node.replicas["alice"]["a"].active

    on_a_node(tmp_path, test)


def test_a_401_that_does_not_count_yet_is_reported_again_and_does_not_spin(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        record = node.save("alice")
        counts_from = time.monotonic() + 0.6

        async def debounce(request: dict[str, Any]) -> Record:
            return await node.issue(request) if time.monotonic() > counts_from else record

        node.renew = debounce
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            assert (await node.ask("alice")).status == 200
            assert time.monotonic() > counts_from
            assert node.issued == 1
            assert 3 <= len(node.renewals) <= 9

    on_a_node(tmp_path, test)


def test_a_401_that_the_store_does_not_know_yet_outlasts_another_delivery_of_the_same_token(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        begun, release = asyncio.Event(), asyncio.Event()

        async def slow(request: dict[str, Any]) -> Record:
            if request["reason"] == "rejected":
                begun.set()
                await release.wait()
            return await node.issue(request)

        node.renew = slow
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            asking = asyncio.create_task(node.ask("alice"))
            await begun.wait()
            delivered_at = node.agent.lanes["alice"].delivered_at
            node.laid_down["alice"] = "planted-old"
            node.agent._keepers["alice"].look_again()
            await until(lambda: node.agent.lanes["alice"].delivered_at > delivered_at)
            assert not node.is_good("alice")
            release.set()
            assert (await asking).status == 200
            assert node.issued == 1

    on_a_node(tmp_path, test, converge_interval=30)


def test_a_401_during_a_renewal_is_not_lost(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        begun, release = asyncio.Event(), asyncio.Event()

        async def slow(request: dict[str, Any]) -> Record:
            if not release.is_set():
                begun.set()
                await release.wait()
            return await node.issue(request)

        node.renew = slow
        async with node.at_work():
            await begun.wait()
            await until(lambda: node.is_good("alice"))
            asking = asyncio.create_task(node.ask("alice"))
            await asyncio.sleep(0.05)
            release.set()
            assert (await asking).status == 200
            assert [request["reason"] for request in node.renewals][:2] == ["expiry", "rejected"]
            assert node.issued == 1

    on_a_node(tmp_path, test)


# Failures of the node itself.


def test_a_lane_is_looked_at_again_after_the_runner_was_away(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        node.runner.broken = True
        async with node.at_work():
            asking = asyncio.create_task(node.ask("alice", 502, answered=False))
            await asyncio.sleep(0.3)
            assert not asking.done()
            node.runner.broken = False
            assert (await asking).status == 200

    on_a_node(tmp_path, test, converge_interval=30)


def test_a_renewal_that_breaks_is_tried_again_and_the_lane_is_looked_after_meanwhile(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        async def broken(_request: dict[str, Any]) -> Record:
            raise RenewalError("the renewal ended with status 1 and no outcome")

        node.renew = broken
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            await node.replicas["alice"]["a"].stop()
            await until(lambda: node.replicas["alice"]["a"].active)
            renewals = len(node.renewals)
            await asyncio.sleep(0.35)
            assert 2 <= len(node.renewals) - renewals <= 5
            node.renew = node.issue
            await until(lambda: node.agent.lanes["alice"].attempt_for[1] == "valid")

    on_a_node(tmp_path, test)


def test_one_lanes_broken_store_stops_no_other_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(node: Node) -> None:
        load = node.store.load

        def fail(name: str) -> Record | None:
            if name == "bob":
                raise StoreError
            return load(name)

        node.save("alice")
        monkeypatch.setattr(node.store, "load", fail)
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            await asyncio.sleep(0.3)
            assert (await node.ask("bob", 502, answered=False)).headers["X-Lane"] == "lane_alice"

    on_a_node(tmp_path, test, TWO)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "{", '{"version": 1, "name": "al', "null", "\0" * 100])
def test_a_half_written_record_stops_no_lane_and_is_written_anew(tmp_path: Path, text: str) -> None:
    async def test(node: Node) -> None:
        async def renew(request: dict[str, Any]) -> Record:
            record = node.store.load(request["name"], repair=True)
            return record or await node.issue(request)

        node.renew = renew
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.log.clear()
            (tmp_path / "tokens/alice.json").write_text(text)
            await until(lambda: "planted-alice-1" in node.token("alice", "a") and node.is_settled("alice"))
            assert not [entry for entry in node.log if entry.startswith(("stop", "roll", "kill"))]
        assert (tmp_path / "tokens/alice.json.damaged").read_text() == text
        assert node.issued == 1

    on_a_node(tmp_path, test)


def test_a_half_written_record_found_at_the_start_leaves_the_running_lane_alone(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        async def out_of_reach(_request: dict[str, Any]) -> Record:
            raise RenewalError("no renewal can be started")

        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
        (tmp_path / "tokens/alice.json").write_text("{")
        node.log.clear()
        node.renew = out_of_reach
        node.agent = node.new_agent()
        async with node.at_work():
            await until(lambda: node.is_good("alice") and len(node.renewals) > 1)
            assert node.log == []
            assert (await node.ask("alice", 502, answered=False)).status == 200

    on_a_node(tmp_path, test)


def test_an_account_that_was_forgotten_is_not_logged_in_again(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            renewals = len(node.renewals)
            node.store.remove("alice")
            await until(lambda: "stop alice" in node.log)
            await asyncio.sleep(0.3)
            assert len(node.renewals) == renewals

    on_a_node(tmp_path, test)


def test_a_full_disk_under_the_agents_memory_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: Any, **_options: Any) -> None:
        raise OSError(28, "No space left on device")

    async def test(node: Node) -> None:
        node.save("alice")
        monkeypatch.setattr(atomic_file, "replace", full)
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            assert not (tmp_path / "memory.json").exists()
            assert (await node.ask("alice", 502, answered=False)).status == 200
        monkeypatch.undo()

    on_a_node(tmp_path, test)


def test_a_program_that_does_not_speak_http_ends_no_agent(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"x" * 200_000)
            with contextlib.suppress(OSError):
                await writer.drain()
            writer.transport.abort()

        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            replica = node.replicas["alice"]["a"]
            await replica.stop()
            replica.server = await asyncio.start_server(babble, replica.address, replica.port)
            await asyncio.sleep(0.3)
            assert node.agent.lanes["alice"].up == {"a": False, "b": True}

    on_a_node(tmp_path, test)


def test_an_unforeseen_error_ends_the_agent_so_that_systemd_starts_it_anew(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        async def surprise(_request: dict[str, Any]) -> Record:
            raise ZeroDivisionError

        node.renew = surprise
        node.save("alice")
        with pytest.raises(ExceptionGroup):
            await asyncio.wait_for(node.agent.run(), 5)

    on_a_node(tmp_path, test)


def test_a_node_without_accounts_has_an_agent_that_stays(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        async with node.at_work():
            await asyncio.sleep(0.1)

    on_a_node(tmp_path, test, ())


# Time.


def test_a_lane_is_rolled_before_its_program_forgets_an_old_token_file(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.runner.started_at -= 2000
            await until(lambda: "roll alice" in node.log)
            await asyncio.sleep(0.5)
            assert node.log.count("roll alice") == 1

    on_a_node(tmp_path, test)


def test_a_clock_set_back_by_hours_makes_no_account_rest_and_no_renewal_wait_for_hours(tmp_path: Path) -> None:
    ahead = 5 * 3600.0

    async def test(node: Node) -> None:
        node.clock = lambda: time.time() + ahead
        node.agent = node.new_agent()
        node.save("alice", issued_at=time.time() + ahead - 60, expires_at=time.time() + ahead + 3600)
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            lane = node.agent.lanes["alice"]
            lane.resting_until, lane.next_attempt = node.clock() + 0.5, node.clock() + 1.0
            renewals = len(node.renewals)
            node.log.clear()
            node.clock = time.time
            await until(lambda: node.is_good("alice"))
            await until(lambda: len(node.renewals) > renewals)
            assert not [entry for entry in node.log if entry.startswith(("stop", "roll", "kill"))]

    on_a_node(tmp_path, test)


def test_a_clock_set_forward_beyond_the_tokens_end_stops_no_lane_and_brings_a_new_token(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        ahead = 0.0
        node.clock = lambda: time.time() + ahead

        async def renew(request: dict[str, Any]) -> Record:
            record = node.store.load(request["name"])
            if record is not None and record.usable(node.clock()):
                return record
            node.issued += 1
            return node.save(request["name"], access_token="planted-next", expires_at=node.clock() + 3600)

        node.renew = renew
        node.agent = node.new_agent()
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.log.clear()
            ahead = 5 * 3600.0
            await until(lambda: "planted-next" in node.token("alice", "b") and node.is_good("alice"))
            assert not [entry for entry in node.log if entry.startswith(("stop", "kill"))]
        assert node.issued == 1

    on_a_node(tmp_path, test)


def test_tokens_that_are_due_as_soon_as_they_come_are_not_renewed_without_a_pause(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        async def at_once(request: dict[str, Any]) -> Record:
            return node.save(request["name"], not_before=1.0)

        node.renew = at_once
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            renewals = len(node.renewals)
            await asyncio.sleep(0.5)
            assert 1 <= len(node.renewals) - renewals <= 10

    on_a_node(tmp_path, test)


def test_no_token_stands_in_the_agents_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")

    async def test(node: Node) -> None:
        node.save("alice")
        node.replicas["alice"]["a"].refuses = True
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            await node.ask("alice")

    on_a_node(tmp_path, test)
    assert "alice" in caplog.text
    assert "planted" not in caplog.text
