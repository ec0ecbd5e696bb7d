# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All lanes of a node in one call: what is started, rolled, stopped and left alone."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import StoreError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import Record
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from ansible_collections.dcta.fleet.plugins.module_utils.lane_runner import LaneRunnerError
from ansible_collections.dcta.fleet.plugins.modules import lanes

Run = Callable[..., dict[str, Any]]


class Runner:
    """The lane runner: lanes have a token and replicas, which are active and current or not."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.replicas: dict[str, dict[str, dict[str, bool]]] = {}
        self.asked: list[tuple[str, str]] = []
        self.broken: set[str] = set()
        # What happens on the node right before an operation.
        self.before: dict[str, Callable[[], None]] = {}

    def __call__(self) -> Runner:
        """Return itself, where the module makes a client."""
        return self

    def lane(self, name: str) -> dict[str, dict[str, bool]]:
        """Return a lane's replicas."""
        return self.replicas.setdefault(name, {which: {"active": False, "current": False} for which in ("a", "b")})

    def run_all(self, name: str, **state: bool) -> None:
        """Let all replicas of a lane run."""
        for replica in self.lane(name).values():
            replica.update({"active": True, "current": True, **state})

    def ask(self, operation: str, name: str, **arguments: str) -> dict[str, Any]:
        """Answer as the lane runner does."""
        self.before.pop(f"{operation} {name}", lambda: None)()
        if name in self.broken:
            raise LaneRunnerError(f"{name} does not run")
        if operation == "status":
            token = self.tokens.get(name, "")
            digest = hashlib.sha256(token.encode()).hexdigest() if token else ""
            return {"token": digest, "replicas": self.lane(name)}
        self.asked.append((operation, name))
        if operation == "put":
            self.tokens[name] = arguments["token"]
        elif operation == "stop":
            self.tokens.pop(name, None)
            self.run_all(name, active=False)
        else:
            self.run_all(name)
        return {}


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    fake = Runner()
    (tmp_path / "run").mkdir()
    (tmp_path / "socket").touch()
    monkeypatch.setattr(lanes, "LaneRunner", fake)
    monkeypatch.setattr(lanes, "LANE_RUNNER_FOLDER", str(tmp_path / "run"))
    monkeypatch.setattr(lanes, "LANE_RUNNER_SOCKET", str(tmp_path / "socket"))
    monkeypatch.setattr(lanes, "LANES", str(tmp_path / "lanes.json"))
    (tmp_path / "lanes.json").write_text(json.dumps({"lanes": dict.fromkeys(("alice", "bob", "carol", "dave"))}))
    return fake


@pytest.fixture
def run(tmp_path: Path, runner: Runner, capsys: pytest.CaptureFixture[str]) -> Run:
    del runner
    owner = pwd.getpwuid(os.getuid()).pw_name
    (tmp_path / "tokens").mkdir(mode=0o700)

    def execute(*names: str, check: bool = False) -> dict[str, Any]:
        given = {
            "names": list(names),
            "store": str(tmp_path / "tokens"),
            "owner": owner,
            "_ansible_check_mode": check,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            lanes.main()
        shown = capsys.readouterr().out
        assert "planted" not in shown
        result: dict[str, Any] = json.loads(shown)
        return result

    return execute


def save(folder: Path, name: str, **changes: Any) -> None:
    values: dict[str, Any] = {"state": "valid", "access_token": f"planted-{name}", "expires_at": time.time() + 3600}
    with Store(str(folder / "tokens"), pwd.getpwuid(os.getuid()).pw_name) as store:
        store.save(Record(name=name, **{**values, **changes}))


def test_check_real_check_again_real_again(tmp_path: Path, runner: Runner, run: Run) -> None:
    save(tmp_path, "alice")
    foretold = run("alice", check=True)
    assert runner.asked == []
    assert foretold["lanes"] == run("alice")["lanes"] == {"alice": "started"}
    assert runner.asked == [("put", "alice"), ("start", "alice")]
    assert run("alice", check=True)["changed"] is False
    assert run("alice")["changed"] is False


def test_a_check_run_on_a_new_host_foretells_the_starts(tmp_path: Path, run: Run) -> None:
    (tmp_path / "socket").unlink()
    assert run("alice", check=True)["lanes"] == {"alice": "started"}


@pytest.mark.parametrize("stale", [("a", "b"), ("b",)])
def test_a_lane_that_runs_with_something_old_is_rolled(
    tmp_path: Path, runner: Runner, run: Run, stale: tuple[str, ...]
) -> None:
    save(tmp_path, "alice")
    run("alice")
    runner.asked.clear()
    for which in stale:
        runner.lane("alice")[which]["current"] = False
    assert run("alice")["lanes"] == {"alice": "rolled"}
    assert runner.asked == [("roll", "alice")]


def test_a_replica_that_does_not_run_is_started_beside_the_one_that_does(
    tmp_path: Path, runner: Runner, run: Run
) -> None:
    save(tmp_path, "alice")
    run("alice")
    runner.asked.clear()
    runner.lane("alice")["b"]["active"] = False
    assert run("alice")["changed"] is True
    assert runner.asked == [("start", "alice")]


def test_another_token_is_laid_down_before_the_lane_is_rolled(tmp_path: Path, runner: Runner, run: Run) -> None:
    save(tmp_path, "alice")
    run("alice")
    runner.asked.clear()
    save(tmp_path, "alice", access_token="planted-next")
    assert run("alice")["lanes"] == {"alice": "rolled"}
    assert runner.asked == [("put", "alice"), ("roll", "alice")]
    assert runner.tokens == {"alice": "planted-next"}


EXPIRED: dict[str, Any] = {"expires_at": 1.0}
REJECTED: dict[str, Any] = {"rejected_token": hashlib.sha256(b"planted-alice").hexdigest()[:16]}


@pytest.mark.parametrize(
    "changes",
    [
        {**EXPIRED, "state": "needs_operator"},
        {**REJECTED, "state": "quarantined"},
        {**EXPIRED, "state": "new"},
        {"access_token": None},
    ],
)
def test_a_lane_without_a_token_to_run_with_is_stopped_and_stays_so(
    tmp_path: Path, runner: Runner, run: Run, changes: dict[str, Any]
) -> None:
    save(tmp_path, "alice")
    run("alice")
    save(tmp_path, "alice", **changes)
    assert run("alice")["lanes"] == {"alice": "stopped"}
    assert run("alice")["lanes"] == {"alice": "none"}
    assert runner.asked.count(("stop", "alice")) == 1


@pytest.mark.parametrize("changes", [EXPIRED, {**REJECTED, "state": "waiting"}])
def test_a_deployment_while_the_next_token_is_fetched_does_not_stop_the_lane(
    tmp_path: Path, runner: Runner, run: Run, changes: dict[str, Any]
) -> None:
    save(tmp_path, "alice")
    run("alice")
    runner.asked.clear()
    save(tmp_path, "alice", **changes)
    assert run("alice")["lanes"] == {"alice": "none"}
    assert runner.asked == []


@pytest.mark.parametrize("changes", [EXPIRED, REJECTED])
def test_a_lane_that_does_not_run_is_not_started_with_a_token_that_cannot_serve(
    tmp_path: Path, runner: Runner, run: Run, changes: dict[str, Any]
) -> None:
    save(tmp_path, "alice", **changes)
    assert run("alice")["lanes"] == {"alice": "none"}
    assert runner.asked == []


def test_a_record_that_cannot_be_understood_stops_no_lane(tmp_path: Path, runner: Runner, run: Run) -> None:
    save(tmp_path, "alice")
    run("alice")
    runner.asked.clear()
    (tmp_path / "tokens/alice.json").write_text("{")
    assert run("alice", check=True)["lanes"] == run("alice")["lanes"] == {"alice": "none"}
    assert runner.asked == []


@pytest.mark.parametrize(("current", "action"), [(True, "none"), (False, "rolled")])
def test_a_lane_whose_record_was_lost_to_damage_stays_with_what_it_has(
    tmp_path: Path, runner: Runner, run: Run, current: bool, action: str
) -> None:
    save(tmp_path, "alice")
    run("alice")
    runner.run_all("alice", current=current)
    runner.asked.clear()
    save(tmp_path, "alice", state="new", access_token=None, expires_at=None)
    assert run("alice")["lanes"] == {"alice": action}
    assert runner.asked == ([] if current else [("roll", "alice")])


# The order in which tokens are laid down.


def test_a_token_is_read_right_before_it_is_laid_down(tmp_path: Path, runner: Runner, run: Run) -> None:
    """The agent may renew and deliver while this module waits for a lane."""
    save(tmp_path, "alice")
    save(tmp_path, "bob")

    def renew() -> None:
        save(tmp_path, "bob", access_token="planted-newer")

    runner.before = {"status alice": renew, "status bob": renew}
    run("alice", "bob")
    assert runner.tokens == {"alice": "planted-alice", "bob": "planted-newer"}


def test_what_is_laid_down_meanwhile_is_never_replaced_by_something_older(
    tmp_path: Path, runner: Runner, run: Run
) -> None:
    """The agent holds the delivery, renews and lays down; the module comes after it."""
    save(tmp_path, "alice")
    with Store(str(tmp_path / "tokens"), pwd.getpwuid(os.getuid()).pw_name) as store, ThreadPoolExecutor(1) as pool:
        with store.delivery("alice", 1):
            running = pool.submit(run, "alice")
            with pytest.raises(TimeoutError):
                running.result(0.3)
            assert runner.asked == []
            save(tmp_path, "alice", access_token="planted-newer")
            runner.tokens["alice"] = "planted-newer"
        assert running.result(10)["lanes"] == {"alice": "started"}
    assert runner.asked == [("start", "alice")]
    assert runner.tokens == {"alice": "planted-newer"}


@pytest.mark.parametrize("slow", ["start", "roll"])
def test_a_delivery_is_let_go_before_the_lane_moves(tmp_path: Path, runner: Runner, run: Run, slow: str) -> None:
    """Starts take minutes where a replica finishes its streams, and the agent has a token to deliver."""
    save(tmp_path, "alice")
    if slow == "roll":
        run("alice")
        save(tmp_path, "alice", access_token="planted-next")
    seen: list[str] = []

    def deliver() -> None:
        with Store(str(tmp_path / "tokens"), pwd.getpwuid(os.getuid()).pw_name) as store, store.delivery("alice", 0.1):
            seen.append(runner.tokens["alice"])

    runner.before = {f"{slow} alice": deliver}
    run("alice")
    assert seen == [runner.tokens["alice"]]


def test_a_stop_is_decided_and_done_in_one_delivery(tmp_path: Path, runner: Runner, run: Run) -> None:
    save(tmp_path, "alice")
    run("alice")
    save(tmp_path, "alice", access_token=None)

    def deliver() -> None:
        with Store(str(tmp_path / "tokens"), pwd.getpwuid(os.getuid()).pw_name) as store, pytest.raises(StoreError):
            ExitStack().enter_context(store.delivery("alice", 0))

    runner.before = {"stop alice": deliver}
    assert run("alice")["lanes"] == {"alice": "stopped"}


def test_an_account_whose_delivery_is_held_for_too_long_fails_alone(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "DELIVERY_SECONDS", 0.1)
    save(tmp_path, "alice")
    save(tmp_path, "bob")
    with Store(str(tmp_path / "tokens"), pwd.getpwuid(os.getuid()).pw_name) as store, store.delivery("alice", 1):
        result = run("alice", "bob")
    assert result["lanes"] == {"bob": "started"}
    assert "alice.delivery" in result["failed_lanes"]["alice"]


def test_check_mode_waits_for_nobody_and_writes_nothing(tmp_path: Path, run: Run) -> None:
    save(tmp_path, "alice")
    before = sorted(path.name for path in (tmp_path / "tokens").iterdir())
    assert run("alice", check=True)["lanes"] == {"alice": "started"}
    assert sorted(path.name for path in (tmp_path / "tokens").iterdir()) == before


def test_the_lane_of_a_removed_account_is_stopped_and_no_other_one_moves(
    tmp_path: Path, runner: Runner, run: Run
) -> None:
    save(tmp_path, "alice")
    run("alice")
    runner.asked.clear()
    (tmp_path / "run/bob.json").touch()
    assert run("alice")["lanes"] == {"alice": "none", "bob": "stopped"}
    assert runner.asked == [("stop", "bob")]


def test_a_stop_that_failed_is_tried_again_by_the_next_run(tmp_path: Path, runner: Runner, run: Run) -> None:
    """It had taken the token away already."""
    (tmp_path / "run/carol-b.generation").touch()
    assert run()["lanes"] == {"carol": "stopped"}
    assert runner.asked == [("stop", "carol")]


def test_one_lane_that_fails_stops_no_other_and_is_named(tmp_path: Path, runner: Runner, run: Run) -> None:
    save(tmp_path, "alice")
    save(tmp_path, "bob")
    runner.broken = {"alice"}
    result = run("alice", "bob")
    assert (result["lanes"], result["failed_lanes"]) == ({"bob": "started"}, {"alice": "alice does not run"})


def test_a_store_that_cannot_be_used_fails_with_its_cure(tmp_path: Path, runner: Runner, run: Run) -> None:
    (tmp_path / "tokens").chmod(0o777)
    result = run("alice")
    assert result["failed"] is True
    assert "mode 0700" in result["msg"]
    assert runner.asked == []


def test_check_mode_foretells_a_lane_that_is_not_described_yet(run: Run, runner: Runner) -> None:
    runner.broken = {"zoe"}  # the lane runner does not know it
    result = run("zoe", check=True)
    assert (result["lanes"], result["failed_lanes"]) == ({"zoe": "started"}, {})
