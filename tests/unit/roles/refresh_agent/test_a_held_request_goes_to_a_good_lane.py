# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a held request goes: at once to a good lane, never round and round, at last to an error that clients know."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from dcta_agent.answers import Answer
from dcta_agent.config import HoldLimits
from dcta_agent.hold import Hold
from dcta_agent.lane import Lane
from dcta_agent.question import Question

START = 10_000.0
PORTS = {"a": 8081, "b": 8082}
NAMES = ("alice", "bob", "carol")


class World:
    """Three good lanes, a hold and a clock that tests turn."""

    def __init__(self, names: tuple[str, ...] = NAMES, hold_seconds: float = 60.0) -> None:
        self.now = START
        self.lanes = {name: good_lane(name, number) for number, name in enumerate(names, 1)}
        self.rejected: list[str] = []
        self.rested: list[str] = []
        self.down: list[str] = []
        self.hold = Hold(
            self.lanes.values(),
            HoldLimits(hold_seconds=hold_seconds),
            on_rejected=self.reject,
            on_rest=lambda lane: self.rested.append(lane.name),
            on_down=self.go_down,
            clock=lambda: self.now,
        )

    def reject(self, lane: Lane) -> None:
        """Begin a renewal."""
        lane.busy = True
        self.rejected.append(lane.name)

    def go_down(self, lane: Lane) -> None:
        """Take a lane's replicas away."""
        lane.up = {}
        self.down.append(lane.name)

    def deliver(self, name: str) -> None:
        """End a lane's renewal."""
        lane = self.lanes[name]
        lane.rejected_at, lane.delivered_at, lane.busy = None, self.now, False
        self.hold.wake()

    def tried(self, name: str, status: int, **changes: Any) -> Question:
        """Return the question about a request that a lane could not answer."""
        question = Question(
            request_id="r",
            addresses=(f"{self.lanes[name].address}:8081",),
            status=status,
            answered=True,
            tried_at=self.now - 0.1,
            retry_after=None,
            retry=1,
        )
        return replace(question, **changes)


def good_lane(name: str, number: int) -> Lane:
    lane = Lane(name, f"127.64.0.{number}", dict(PORTS), token="fp", up={"a": True, "b": True})
    lane.busy, lane.delivered_at, lane.next_attempt = False, START - 1000, START + 5000
    return lane


def halt(lane: Lane) -> None:
    lane.token, lane.up, lane.next_attempt = "", {}, None


def halt_token(lane: Lane) -> None:
    lane.token = ""


def named(answer: Answer) -> str:
    assert answer.status == 200
    assert answer.headers["X-Accel-Redirect"] == "@retry"
    return answer.headers["X-Lane"].removeprefix("lane_")


def at_once(world: World, question: Question) -> Answer:
    """Return the answer, which must need no wait."""

    async def act() -> Answer:
        return await asyncio.wait_for(world.hold.answer(question), 0.005)

    return asyncio.run(act())


def while_it_waits(world: World, question: Question, act: Callable[[asyncio.Task[Answer]], Awaitable[None]]) -> Answer:
    """Return the answer that comes after something happened while the request was held."""

    async def run() -> Answer:
        task = asyncio.create_task(world.hold.answer(question))
        await asyncio.sleep(0.01)
        assert not task.done()
        assert world.hold.waiting == 1
        await act(task)
        answer = await asyncio.wait_for(task, 2)
        assert world.hold.waiting == 0
        return answer

    return asyncio.run(run())


# At once.


def test_a_401_goes_to_another_lane_at_once_and_starts_one_renewal() -> None:
    world = World()
    answers = [at_once(world, world.tried("alice", 401)) for _ignored in range(10)]
    assert {named(answer) for answer in answers} == {"bob", "carol"}
    assert world.rejected == ["alice"]


def test_a_401_older_than_the_lanes_token_is_no_news() -> None:
    world = World()
    world.lanes["alice"].delivered_at = world.now - 0.05
    assert at_once(world, world.tried("alice", 401)).status == 200
    assert (world.rejected, world.lanes["alice"].rejected_at) == ([], None)


def test_a_401_newer_than_the_lanes_token_ends_it_even_when_the_request_is_older() -> None:
    world = World()
    world.lanes["alice"].delivered_at = world.now - 0.2
    at_once(world, world.tried("alice", 401))
    assert world.rejected == ["alice"]


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_is_set_while_a_request_waits_neither_ends_nor_lengthens_the_wait(hours: int) -> None:
    world = World(("alice",), hold_seconds=1)
    world.lanes["alice"].busy = True
    halt_token(world.lanes["alice"])

    async def run() -> Answer:
        task = asyncio.create_task(world.hold.answer(world.tried("alice", 502, answered=False)))
        await asyncio.sleep(0.01)
        world.now += hours * 3600
        world.hold.wake()
        await asyncio.sleep(0.1)
        assert not task.done()
        return await asyncio.wait_for(task, 2)

    assert asyncio.run(run()).status == 503


def test_a_clock_that_was_set_back_makes_no_token_immune() -> None:
    world = World()
    world.lanes["alice"].delivered_at = world.now + 3600
    at_once(world, world.tried("alice", 401))
    world.now += 1
    at_once(world, world.tried("alice", 401))
    assert world.rejected == ["alice"]


def test_held_requests_spread_over_the_good_lanes() -> None:
    world = World()
    counts = Counter(named(at_once(world, world.tried("alice", 401))) for _ignored in range(100))
    assert counts == {"bob": 50, "carol": 50}


def test_a_lane_that_comes_back_gets_its_share_and_not_all_that_it_missed() -> None:
    world = World()
    for _ignored in range(100):
        at_once(world, world.tried("alice", 401))
    world.deliver("alice")
    world.now += 10
    old = world.tried("alice", 401, tried_at=START - 500)
    assert Counter(named(at_once(world, old)) for _ignored in range(30)) == {"alice": 10, "bob": 10, "carol": 10}


def test_a_lane_whose_token_ran_out_is_not_named() -> None:
    world = World()
    world.lanes["bob"].expires_at = world.now
    assert named(at_once(world, world.tried("alice", 401))) == "carol"


def test_a_lane_of_which_nobody_listened_is_looked_after_and_not_named() -> None:
    world = World()
    addresses = ("127.64.0.1:8081", "127.64.0.1:8082", "127.64.0.2:8081", "127.64.0.2:8082")
    answer = at_once(world, world.tried("alice", 502, addresses=addresses, answered=False))
    assert (set(world.down), named(answer)) == ({"alice", "bob"}, "carol")


def test_a_502_of_the_program_itself_is_not_sent_a_second_time() -> None:
    world = World()
    answer = at_once(world, world.tried("alice", 502))
    assert (answer.status, json.loads(answer.body)["error"]["type"]) == (502, "server_error")
    assert world.down == []


@pytest.mark.parametrize("addresses", [("",), ("-",), ("lanes",), ("127.64.9.9:8081",)])
def test_a_lane_that_nobody_knows_teaches_nothing(addresses: tuple[str, ...]) -> None:
    world = World()
    assert at_once(world, world.tried("alice", 401, addresses=addresses)).status == 200
    assert (world.rejected, world.rested, world.down) == ([], [], [])


# Waiting.


def test_a_request_waits_only_while_no_lane_is_good_and_wakes_on_delivery() -> None:
    world = World(("alice",))

    async def act(_task: asyncio.Task[Answer]) -> None:
        world.now += 1
        world.deliver("alice")

    assert named(while_it_waits(world, world.tried("alice", 401), act)) == "alice"


def test_all_that_wait_wake_together() -> None:
    world = World(("alice",))

    async def run() -> list[Answer]:
        tasks = [asyncio.create_task(world.hold.answer(world.tried("alice", 401))) for _ignored in range(1000)]
        await asyncio.sleep(0.01)
        assert world.hold.waiting == 1000
        world.deliver("alice")
        return await asyncio.wait_for(asyncio.gather(*tasks), 5)

    assert {named(answer) for answer in asyncio.run(run())} == {"alice"}
    assert world.rejected == ["alice"]


def test_a_wake_that_brings_no_good_lane_holds_on() -> None:
    world = World(("alice",))

    async def act(task: asyncio.Task[Answer]) -> None:
        for _ignored in range(3):
            world.hold.wake()
            await asyncio.sleep(0.01)
        assert not task.done()
        world.deliver("alice")

    while_it_waits(world, world.tried("alice", 401), act)


def test_the_end_of_a_rest_needs_no_event() -> None:
    world = World(("alice", "bob"))
    halt(world.lanes["bob"])
    world.lanes["alice"].resting_until = world.now + 0.05

    async def act(_task: asyncio.Task[Answer]) -> None:
        world.now += 0.1

    assert named(while_it_waits(world, world.tried("bob", 502, answered=False), act)) == "alice"


def test_a_rest_ends_in_time_also_while_the_lane_is_renewed() -> None:
    lane = good_lane("alice", 1)
    lane.busy, lane.resting_until = True, START + 5
    assert lane.becomes_good_at(START) == START + 5


def test_no_good_lane_in_time_ends_in_a_503_of_openais_form() -> None:
    world = World(("alice",), hold_seconds=0.05)

    async def act(_task: asyncio.Task[Answer]) -> None:
        world.now += 0.06

    answer = while_it_waits(world, world.tried("alice", 401), act)
    error = json.loads(answer.body)["error"]
    assert (answer.status, answer.headers["Content-Type"]) == (503, "application/json")
    assert (error["type"], error["code"], error["param"]) == ("server_error", "no_account_available", None)
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_client_that_leaves_is_not_counted_any_more() -> None:
    world = World(("alice",))

    async def run() -> None:
        task = asyncio.create_task(world.hold.answer(world.tried("alice", 401)))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert world.hold.waiting == 0


def test_where_nothing_can_become_good_nobody_waits() -> None:
    world = World(("alice", "bob"))
    halt(world.lanes["alice"])
    halt(world.lanes["bob"])
    assert at_once(world, world.tried("alice", 502, answered=False)).status == 503


def test_a_node_without_lanes_answers_at_once() -> None:
    world = World(())
    question = Question("r", ("",), 502, answered=False, tried_at=START, retry_after=None, retry=1)
    assert at_once(world, question).status == 503


def test_a_renewal_that_is_due_too_late_is_not_waited_for_and_named_in_retry_after() -> None:
    world = World(("alice",))
    world.lanes["alice"].rejected_at, world.lanes["alice"].next_attempt = world.now - 1, world.now + 90
    answer = at_once(world, world.tried("alice", 401))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "90")


# Limits.


@pytest.mark.parametrize(("retry_after", "rest"), [(7.0, 7.0), (None, 30.0), (0.0, 1.0), (1e8, 86400.0)])
def test_a_429_lets_the_account_rest_as_long_as_it_asks_within_reason(retry_after: float | None, rest: float) -> None:
    world = World()
    answer = at_once(world, world.tried("alice", 429, tried_at=world.now, retry_after=retry_after))
    assert named(answer) != "alice"
    assert (world.lanes["alice"].resting_until, world.rested) == (world.now + rest, ["alice"])


def test_an_older_429_never_shortens_a_rest() -> None:
    world = World()
    at_once(world, world.tried("alice", 429, retry_after=60.0))
    until = world.lanes["alice"].resting_until
    at_once(world, world.tried("alice", 429, retry_after=5.0))
    assert world.lanes["alice"].resting_until == until


def test_a_429_reaches_the_client_only_when_every_account_rests_and_says_when_to_come_back() -> None:
    world = World()
    for name, seconds in (("alice", 50.0), ("bob", 20.0)):
        assert at_once(world, world.tried(name, 429, tried_at=world.now, retry_after=seconds)).status == 200
    answer = at_once(world, world.tried("carol", 429, tried_at=world.now, retry_after=90.0))
    assert (answer.status, answer.headers["Retry-After"]) == (429, "20")
    assert json.loads(answer.body)["error"]["type"] == "rate_limit_error"


def test_accounts_that_cannot_serve_do_not_keep_a_429_back() -> None:
    world = World(("alice", "bob"))
    halt(world.lanes["bob"])
    assert at_once(world, world.tried("alice", 429, retry_after=20.0)).status == 429


def test_a_429_waits_for_an_account_that_is_being_renewed() -> None:
    world = World(("alice", "bob"))
    world.lanes["bob"].rejected_at, world.lanes["bob"].busy = world.now - 1, True

    async def act(_task: asyncio.Task[Answer]) -> None:
        world.deliver("bob")

    assert named(while_it_waits(world, world.tried("alice", 429, retry_after=20.0), act)) == "bob"


# Retries.


def test_after_two_retries_a_newer_token_is_waited_for() -> None:
    world = World(("alice", "bob"))

    async def act(_task: asyncio.Task[Answer]) -> None:
        world.now += 1
        world.deliver("alice")

    assert named(while_it_waits(world, world.tried("alice", 401, retry=3), act)) == "alice"


def test_after_two_retries_a_lane_on_sight_is_better_than_none() -> None:
    world = World(("alice", "bob"))
    halt(world.lanes["alice"])
    assert named(at_once(world, world.tried("alice", 401, retry=3))) == "bob"


def test_a_429_of_a_late_retry_needs_no_newer_token() -> None:
    world = World()
    assert named(at_once(world, world.tried("alice", 429, retry=3))) in {"bob", "carol"}


def test_one_retry_too_many_ends_in_a_503_before_nginx_gives_up_by_itself() -> None:
    world = World()
    assert at_once(world, world.tried("alice", 429, retry=4)).status == 200
    answer = at_once(world, world.tried("bob", 429, retry=5))
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (503, "no_account_available")


def test_one_retry_too_many_with_all_accounts_resting_is_a_429() -> None:
    world = World()
    for lane in world.lanes.values():
        lane.resting_until = world.now + 10
    assert at_once(world, world.tried("alice", 429, retry=5)).status == 429


def test_a_401_of_a_lane_that_was_stopped_meanwhile_starts_nothing() -> None:
    world = World()
    halt(world.lanes["alice"])
    assert at_once(world, world.tried("alice", 401)).status == 200
    assert world.rejected == []


def test_no_message_names_an_account() -> None:
    world = World(("alice",), hold_seconds=0.01)
    halt(world.lanes["alice"])
    assert b"alice" not in at_once(world, world.tried("alice", 401)).body
