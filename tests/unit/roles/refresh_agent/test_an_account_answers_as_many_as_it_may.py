# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bounded accounts: nobody is sent where no place is free, the oldest goes first, and no place is lost for good."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, deque
from dataclasses import replace
from typing import Any

import pytest
from dcta_agent.answers import Answer
from dcta_agent.config import HoldLimits
from dcta_agent.hold import Hold
from dcta_agent.lane import SETTLED_SECONDS, Lane
from dcta_agent.question import Question

START = 10_000.0
ADDRESSES = {"alice": "127.64.0.1", "bob": "127.64.0.2"}


class World:
    """Good lanes with few places, and a clock that tests turn."""

    def __init__(self, *names: str, places: int = 2, hold_seconds: float = 60.0) -> None:
        self.now = START
        self.lanes = {
            name: Lane(
                name, ADDRESSES[name], {"a": 8081, "b": 8082}, token="fp", up={"a": True}, busy=False, delivered_at=1.0
            )
            for name in names or ADDRESSES
        }
        self.events: list[tuple[str, bool]] = []
        self.rejected: list[str] = []
        self.hold = Hold(
            self.lanes.values(),
            HoldLimits(hold_seconds=hold_seconds, requests_per_account=places),
            on_rejected=lambda lane: self.rejected.append(lane.name),
            on_rest=lambda _lane: None,
            on_down=lambda _lane: None,
            on_blocked=lambda lane: self.events.append((lane.name, lane.blocked_since is not None)),
            clock=lambda: self.now,
        )

    def new(self, request: str) -> Question:
        """Return the question about a request that was sent nowhere yet."""
        return Question(request, ("",), 502, answered=False, tried_at=self.now, retry_after=None, retry=1)

    def tried(self, request: str, name: str, status: int, **changes: Any) -> Question:
        """Return the question about a request that a lane could not answer."""
        question = Question(request, (f"{ADDRESSES[name]}:8081",), status, True, self.now - 0.1, None, 2)
        return replace(question, **changes)

    def end(self, request: str, name: str, status: int = 200) -> None:
        """Report the end of a request."""
        self.hold.ended(request, f"{ADDRESSES[name]}:8082", status)

    def recount(self, connections: dict[str, int]) -> None:
        """Look at the connections; all reports have come."""
        self.hold.adopt(connections)
        self.hold.recount(connections, self.hold.settled())

    @property
    def serving(self) -> dict[str, int]:
        """How many each account answers."""
        return {name: len(lane.serving) for name, lane in self.lanes.items()}


def named(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    return answer.headers["X-Lane"].removeprefix("lane_")


async def ask(world: World, *requests: str) -> list[asyncio.Task[Answer]]:
    tasks = [asyncio.create_task(world.hold.answer(world.new(request))) for request in requests]
    await asyncio.sleep(0.01)
    return tasks


@pytest.mark.parametrize("places", [1, 2, 3, 7])
def test_so_many_are_sent_and_the_rest_waits_its_turn(places: int) -> None:
    world = World(places=places)

    async def run() -> None:
        asked = [str(number) for number in range(2 * places + 3)]
        tasks = await ask(world, *asked)
        assert [task.done() for task in tasks] == [True] * 2 * places + [False] * 3
        assert (world.serving, world.hold.waiting) == (dict.fromkeys(ADDRESSES, places), 3)
        for number, task in enumerate(tasks[2 * places :]):
            world.end(str(number), named(tasks[number].result()))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert named(await asyncio.wait_for(task, 1)) == named(tasks[number].result())
        assert world.serving == dict.fromkeys(ADDRESSES, places)

    asyncio.run(run())


def test_150_streams_on_8_places_are_all_answered_and_no_account_ever_has_more_than_its_places() -> None:
    world, chance = World(places=4), random.Random(7)  # noqa: S311 - nothing secret

    async def run() -> Counter[str]:
        tasks = await ask(world, *map(str, range(150)))
        running: deque[str] = deque()
        seen: set[str] = set()
        answered: Counter[str] = Counter()
        while sum(answered.values()) < 150:
            for number, task in enumerate(tasks):
                if task.done() and str(number) not in seen:
                    seen.add(str(number))
                    running.append(str(number))
            assert max(world.serving.values()) <= 4
            running.rotate(chance.randrange(len(running)))
            request = running.popleft()
            name = named(tasks[int(request)].result())
            answered[name] += 1
            if chance.random() < 0.2:  # this report is lost
                world.now += SETTLED_SECONDS
                left = Counter(named(tasks[int(other)].result()) for other in running)
                world.recount({ADDRESSES[account]: count for account, count in left.items()})
            else:
                world.end(request, name)
            await asyncio.sleep(0.001)
        return answered

    assert min(asyncio.run(run()).values()) > 50
    assert world.hold.waiting == 0


def test_the_account_with_fewer_requests_is_named_first() -> None:
    world = World(places=4)

    async def run() -> None:
        await ask(world, "1", "2", "3", "4")
        world.end("1", "alice")
        world.end("3", "alice")
        [task, other] = await ask(world, "5", "6")
        assert (named(task.result()), named(other.result())) == ("alice", "alice")

    asyncio.run(run())


def test_a_request_that_comes_back_gives_its_place_free_and_never_holds_two() -> None:
    world = World(places=1)

    async def run() -> None:
        [first] = await ask(world, "1")
        name = named(first.result())
        again = await asyncio.wait_for(world.hold.answer(world.tried("1", name, 401)), 1)
        assert (named(again) != name, sum(world.serving.values())) == (True, 1)

    asyncio.run(run())


def test_a_waiting_client_that_leaves_takes_no_place() -> None:
    world = World("alice", places=1)

    async def run() -> None:
        tasks = await ask(world, "1", "2", "3")
        tasks[1].cancel()
        await asyncio.sleep(0)
        world.end("1", "alice")
        assert named(await asyncio.wait_for(tasks[2], 1)) == "alice"
        assert list(world.lanes["alice"].serving) == ["3"]

    asyncio.run(run())


def test_a_client_that_leaves_as_it_is_named_a_lane_passes_the_place_on() -> None:
    world = World("alice", places=1)

    async def run() -> None:
        tasks = await ask(world, "1", "2", "3")
        world.end("1", "alice")
        tasks[1].cancel()
        assert named(await asyncio.wait_for(tasks[2], 1)) == "alice"
        assert list(world.lanes["alice"].serving) == ["3"]

    asyncio.run(run())


def test_a_lost_report_costs_a_place_only_until_the_next_count() -> None:
    world = World("alice", places=1)

    async def run() -> None:
        [_first, second] = await ask(world, "1", "2")
        world.recount({})
        assert not second.done()
        world.now += SETTLED_SECONDS
        world.recount({})
        assert named(await asyncio.wait_for(second, 1)) == "alice"

    asyncio.run(run())


def test_a_report_that_comes_after_the_look_frees_one_place_and_not_two() -> None:
    world = World("alice", places=2)

    async def run() -> None:
        tasks = await ask(world, "1", "2", "3", "4")
        world.now += SETTLED_SECONDS
        settled = world.hold.settled()
        # "2" has ended before the look, but its report comes only now.
        world.end("2", "alice")
        world.hold.recount({ADDRESSES["alice"]: 1}, settled)
        await asyncio.sleep(0.01)
        assert [task.done() for task in tasks] == [True, True, True, False]
        assert list(world.lanes["alice"].serving) == ["1", "3"]
        tasks[3].cancel()

    asyncio.run(run())


def test_a_request_that_is_still_answered_keeps_its_place_however_long_it_takes() -> None:
    world = World("alice", places=1)

    async def run() -> None:
        [_first, second] = await ask(world, "1", "2")
        for _ignored in range(100):
            world.now += 60
            world.recount({ADDRESSES["alice"]: 1})
        assert not second.done()
        second.cancel()

    asyncio.run(run())


def test_an_agent_that_starts_counts_what_it_did_not_send() -> None:
    world = World("alice", places=3)
    world.recount({ADDRESSES["alice"]: 2})

    async def run() -> None:
        [first, second] = await ask(world, "1", "2")
        assert (first.done(), second.done()) == (True, False)
        world.now += 1
        world.recount({ADDRESSES["alice"]: 1})
        assert named(await asyncio.wait_for(second, 1)) == "alice"

    asyncio.run(run())


def test_no_place_in_time_ends_in_a_503_of_openais_form() -> None:
    world = World("alice", places=1, hold_seconds=0.05)

    async def run() -> Answer:
        await ask(world, "1")
        return await asyncio.wait_for(world.hold.answer(world.new("2")), 1)

    answer = asyncio.run(run())
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"], "as many requests as it may" in error["message"]) == (
        503,
        "no_account_available",
        True,
    )
    assert int(answer.headers["Retry-After"]) >= 1


def test_the_name_of_a_group_of_lanes_that_are_all_full_takes_none_of_them_down() -> None:
    world = World(places=1)
    full = Question("1", ("lanes",), 502, answered=False, tried_at=START, retry_after=None, retry=2)

    async def run() -> str:
        return named(await asyncio.wait_for(world.hold.answer(full), 1))

    assert asyncio.run(run()) in ADDRESSES


def test_a_new_request_is_told_at_once_that_every_account_rests() -> None:
    world = World()
    for lane in world.lanes.values():
        lane.resting_until = START + 20

    async def run() -> Answer:
        return await asyncio.wait_for(world.hold.answer(world.new("1")), 1)

    answer = asyncio.run(run())
    assert (answer.status, answer.headers["Retry-After"]) == (429, "20")


# Blocked addresses; these need no bound.


def failed(world: World, name: str, times: int = 1) -> list[Answer]:
    async def run() -> list[Answer]:
        return [
            await asyncio.wait_for(world.hold.answer(world.tried(str(number), name, 500)), 1) for number in range(times)
        ]

    return asyncio.run(run())


def test_a_500_is_an_error_of_openais_form_and_is_not_sent_a_second_time() -> None:
    world = World(places=0)
    [answer] = failed(world, "alice")
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (502, "bad_gateway")
    assert (world.events, world.rejected) == ([], [])


def test_after_five_500s_in_a_row_the_account_is_avoided_and_told_once() -> None:
    world = World(places=0)
    answers = failed(world, "alice", 8)
    assert [answer.status for answer in answers] == [502] * 4 + [200] * 4
    assert {named(answer) for answer in answers[4:]} == {"bob"}
    assert (world.events, world.rejected, world.lanes["alice"].blocked_since) == ([("alice", True)], [], START)


@pytest.mark.parametrize("status", [200, 400, 404])
def test_any_answer_of_the_service_itself_begins_the_count_anew(status: int) -> None:
    world = World(places=0)
    failed(world, "alice", 4)
    world.end("x", "alice", status)
    failed(world, "alice", 4)
    assert world.events == []


@pytest.mark.parametrize("status", [500, 502, 504])
def test_what_may_be_the_gateways_own_proves_nothing(status: int) -> None:
    world = World(places=0)
    failed(world, "alice", 4)
    world.end("x", "alice", status)
    failed(world, "alice")
    assert world.events == [("alice", True)]


def test_the_first_answer_ends_the_state() -> None:
    world = World(places=0)
    failed(world, "alice", 5)
    world.end("x", "alice")
    assert world.events == [("alice", True), ("alice", False)]
    assert (world.lanes["alice"].is_good(world.now), world.lanes["alice"].blocked_since) == (True, None)


def test_after_a_while_one_request_finds_out() -> None:
    world = World("alice", places=0)
    failed(world, "alice", 5)
    world.now += 30

    async def run() -> list[Answer]:
        return [await asyncio.wait_for(world.hold.answer(world.new(str(number))), 1) for number in range(3)]

    answers = asyncio.run(run())
    assert [answer.status for answer in answers] == [200, 503, 503]


def test_a_node_that_is_blocked_as_a_whole_says_so_and_when_to_come_back() -> None:
    world = World(places=0)
    failed(world, "alice", 5)
    [*_ignored, answer] = failed(world, "bob", 5)
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (503, "address_blocked")
    assert answer.headers["Retry-After"] == "30"


def test_what_is_known_of_a_block_survives_a_restart() -> None:
    world = World(places=0)
    failed(world, "alice", 5)
    assert world.lanes["alice"].remembered()["blocked_since"] == START
