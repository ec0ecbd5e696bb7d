# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""However many accounts and nodes leave by one egress, its logins keep their distance; time is simulated."""

from __future__ import annotations

import heapq
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials, load_credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import ConfigurationError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.node_state import NodeState
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.outcome import Outcome
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.renewer import Renewer
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.schedule import login_opens
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from identity_fake import EMAIL, PASSWORD, START, Clock, FakeProvider, Reply, World, example_provider, me, runtime
from simulated_time import Timeline

LIMITS = Limits()
DAY = 86_400.0
RUN = 900.0
FAILURES = 2
"""Logins of every tenth account that fail after the password was sent."""
STARTING = 1.5
"""Seconds that the agent needs to start a renewal."""


class NotingProvider(FakeProvider):
    """Notes when the password of its one account comes, and fails so many logins first."""

    def __init__(self, clock: Timeline, name: str, failures: int, submissions: list[tuple[float, str]]) -> None:
        super().__init__(Clock())
        self._time, self._name, self._failures, self._submissions = clock, name, failures, submissions

    def handle(self, method: str, path: str, fields: dict[str, str]) -> Reply:
        """Answer, or fail after the password was taken."""
        if method == "POST" and path == "/u/login/password":
            self._submissions.append((self._time(), self._name))
        if path == "/oauth/token" and self._failures > 0:
            self._failures -= 1
            return Reply(500)
        return super().handle(method, path, fields)


@dataclass
class Fleet:
    """Nodes that are deployed at once: the run logs in what it may wait for, then the agents work on."""

    folder: Path
    accounts: int = 300
    nodes: int = 10
    shared: bool = True
    limits: Limits = LIMITS
    clock: Timeline = field(default_factory=lambda: Timeline(START))
    submissions: list[tuple[float, str]] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    runs_ended: list[float] = field(default_factory=list)
    agent_calls: int = 0

    def deploy(self, *, days: float) -> None:
        """Let the time pass."""
        self.clock.run(*(self._node(number, days) for number in range(self.nodes)))

    def _node(self, number: int, days: float) -> Callable[[], None]:
        names = [f"n{account}" for account in range(number, self.accounts, self.nodes)]
        turn = f"{number + 1}/{self.nodes}" if self.shared else None
        folder = self.folder / f"node{number}"
        folder.mkdir(mode=0o700)
        providers = {
            name: NotingProvider(self.clock, name, 0 if position % 10 else FAILURES, self.submissions)
            for position, name in enumerate(names)
        }

        def renewer(store: Store, login_wait: float | None) -> Renewer:
            return Renewer(
                store=store,
                provider=example_provider(),
                credentials={
                    name: Credentials(name=name, email=EMAIL, password=PASSWORD, login_turn=turn) for name in names
                },
                runtime=runtime(lambda account: providers[account.name], self.clock, seed=number),
                limits=self.limits,
                login_wait=login_wait,
            )

        def work() -> None:
            with Store(str(folder), me(), sleep=self.clock.sleep) as store:
                run = renewer(store, RUN)
                self.outcomes |= {name: run.renew(name) for name in names}
                self.runs_ended.append(self.clock() - START)
                self._agent(lambda: renewer(store, None), names, days)

        return work

    def _agent(self, renewer: Callable[[], Renewer], names: list[str], days: float) -> None:
        due = [(self.outcomes[name].next_renewal or 0.0, name) for name in names]
        heapq.heapify(due)
        while due[0][0] < START + days * DAY:
            at, name = heapq.heappop(due)
            self.clock.sleep(max(1.0, at - self.clock()) + STARTING)
            self.agent_calls += 1
            self.outcomes[name] = renewer().renew(name)
            heapq.heappush(due, (self.outcomes[name].next_renewal or START + 1000 * DAY, name))

    def gaps(self) -> list[float]:
        """Return the times between two submissions that follow each other, anywhere in the fleet."""
        return [later - earlier for earlier, later in pairwise(sorted(at for at, _name in self.submissions))]

    def done_after(self) -> float:
        """Return when the last account had its first token, in seconds, given that all have one."""
        assert {outcome.state for outcome in self.outcomes.values()} == {"valid"}
        return max(at for at, _name in self.submissions) - START


@pytest.fixture(autouse=True)
def _disk_without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two days pass here, and no power is cut.
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.mark.slow
def test_300_accounts_deployed_at_once_on_10_nodes_behind_one_egress_never_exceed_its_pace(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.deploy(days=2)
    assert len(fleet.outcomes) == 300
    assert min(fleet.gaps()) >= LIMITS.login_gap
    # 300 first logins and 60 more of those that fail twice, one in a slot of a minute, and what the budget spreads.
    assert len(fleet.submissions) == 360
    assert fleet.done_after() < 12 * 3600
    assert max(fleet.runs_ended) <= RUN
    # Each account comes back for its own turn, not for everybody's.
    assert fleet.agent_calls < 3 * len(fleet.outcomes)
    for name in fleet.outcomes:
        times = sorted(at for at, who in fleet.submissions if who == name)
        assert len(times) <= LIMITS.login_submissions
        assert all(later - earlier >= LIMITS.login_interval for earlier, later in pairwise(times))


@pytest.mark.slow
def test_the_same_accounts_on_10_nodes_with_an_egress_each_are_there_sooner(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, shared=False)
    fleet.deploy(days=2)
    assert len(fleet.submissions) == 360
    assert min(fleet.gaps()) < LIMITS.login_gap
    assert fleet.done_after() < 3 * 3600
    for number in range(fleet.nodes):
        times = [at for at, name in fleet.submissions if int(name[1:]) % fleet.nodes == number]
        assert all(later - earlier >= LIMITS.login_gap for earlier, later in pairwise(sorted(times)))


def _opens(now: float, turn: int, turns: int, **limits: float) -> float:
    return login_opens(now, Limits.from_mapping(limits), turn=turn, turns=turns)


def test_a_node_of_its_own_never_waits_for_others() -> None:
    assert _opens(START, 0, 1) == START


def test_without_a_gap_there_are_no_slots() -> None:
    assert _opens(START, 3, 10, login_gap=0, login_gap_random=0) == START


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits", [{}, {"login_gap_random": 0}, {"login_gap": 1}, {"login_gap": 0}, {"login_gap": 300}]
)
@pytest.mark.parametrize("turns", [2, 3, 10])
def test_two_nodes_never_begin_nearer_than_the_gap_whenever_they_ask(limits: dict[str, float], turns: int) -> None:
    gap = limits.get("login_gap", 30.0)
    chance = random.Random(5)  # noqa: S311 - a test has to repeat itself
    begun: list[tuple[float, int]] = []
    for _ignored in range(3000):
        turn = chance.randrange(turns)
        at = _opens(START + chance.uniform(0, 40_000), turn, turns, **limits)
        assert _opens(at, turn, turns, **limits) == at
        begun.append((at, turn))
    begun.sort()
    assert all(later[0] - earlier[0] >= gap for earlier, later in pairwise(begun) if earlier[1] != later[1])


def test_every_node_has_its_turn_once_in_every_round_and_time_to_take_it() -> None:
    turns, slot = 10, LIMITS.longest_gap
    for turn in range(turns):
        at, opened = START, []
        for _ignored in range(20):
            opened.append(_opens(at, turn, turns))
            assert _opens(opened[-1] + LIMITS.login_gap_random / 2, turn, turns) == opened[-1] + 15
            at = opened[-1] + slot
        assert all(abs(later - earlier - turns * slot) <= 15 for earlier, later in pairwise(opened))
        assert len({round(at % slot, 3) for at in opened}) > 15


def test_the_turn_is_part_of_the_file_and_of_no_fingerprint(tmp_path: Path) -> None:
    entry = {"name": "alice", "email": "e", "password": "p"}
    file = tmp_path / "accounts.json"
    file.write_text(json.dumps({"accounts": [{**entry, "login_turn": "3/10"}]}))
    loaded = load_credentials(str(file))["alice"]
    assert loaded.turn == (2, 10)
    assert Credentials(name="alice").turn == (0, 1)
    assert loaded.fingerprint(b"salt") == Credentials(name="alice", email="e", password="p").fingerprint(b"salt")


@pytest.mark.parametrize("turn", ["", 1, "1", "0/2", "3/2", "-1/2", "1/0", "1/2/3", "a/b"])
def test_a_turn_that_cannot_be_meant_is_refused(tmp_path: Path, turn: object) -> None:
    file = tmp_path / "accounts.json"
    file.write_text(json.dumps({"accounts": [{"name": "alice", "access_token": "t", "login_turn": turn}]}))
    with pytest.raises(ConfigurationError, match="login_turn"):
        load_credentials(str(file))


def _impatient(world: World, *names: str) -> None:
    world.renewer.credentials = {name: Credentials(name=name, email=EMAIL, password=PASSWORD) for name in names}
    world.renewer._login_wait = 0.0


def test_an_account_whose_turn_comes_later_is_told_when_and_is_not_called_a_failure(world: World) -> None:
    _impatient(world, "alice", "bob")
    assert world.renewer.renew("alice").state == "valid"
    outcome = world.renewer.renew("bob")
    assert (outcome.state, outcome.action, outcome.error_class) == ("waiting", "none", None)
    assert outcome.message == "The account waits for its turn to log in."
    assert 30 <= (outcome.next_renewal or 0) - world.clock.now <= 60
    assert world.clock.slept == []
    world.clock.now = outcome.next_renewal or 0
    assert world.renewer.renew("bob").action == "login"


def test_the_queue_is_in_order_and_survives_a_restart(world: World) -> None:
    names = ["alice", *(f"n{number}" for number in range(20))]
    _impatient(world, *names)
    waiting = [world.renewer.renew(name) for name in names][1:]
    turns = [outcome.next_renewal or 0 for outcome in waiting]
    assert all(later - earlier == LIMITS.longest_gap for earlier, later in pairwise(turns))
    world.restart()
    assert [world.renewer.renew(name).next_renewal for name in names[1:]] == turns
    for name, turn in zip(names[1:], turns, strict=True):
        world.clock.now = turn
        assert world.renewer.renew(name).action == "login"
    assert world.store.node().queue == ()


def test_a_changed_account_in_the_queue_keeps_its_place(world: World) -> None:
    _impatient(world, "alice", "bob", "dave")
    outcomes = [world.renewer.renew(name) for name in ("alice", "bob", "dave")]
    place = outcomes[2].next_renewal
    world.renewer.credentials = {"dave": Credentials(name="dave", email=EMAIL, password=PASSWORD, proxy="http://p:1")}
    assert world.renewer.renew("dave").next_renewal == place


def test_a_clock_set_back_delays_the_next_login_by_one_gap_at_most(world: World) -> None:
    _impatient(world, "alice", "bob", "dave")
    for name in ("alice", "bob", "dave"):
        world.renewer.renew(name)
    world.clock.now -= 100 * DAY
    world.restart()
    world.store.remove("bob")
    assert world.renewer.renew("bob").action == "login"
    assert sum(world.clock.slept) <= LIMITS.longest_gap


def test_a_store_of_before_has_an_empty_queue(world: World) -> None:
    world.renew()
    file = world.folder / ".node.json"
    document = json.loads(file.read_text())
    del document["queue"]
    file.write_text(json.dumps(document))
    assert world.store.node().queue == ()
    assert world.store.node() != NodeState()
