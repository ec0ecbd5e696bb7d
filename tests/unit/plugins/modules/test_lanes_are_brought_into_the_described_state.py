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
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
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


@pytest.mark.parametrize("changes", [{"expires_at": 1.0}, {"access_token": None}, {"rejected": True}])
def test_a_lane_without_a_usable_token_is_stopped_and_stays_so(
    tmp_path: Path, runner: Runner, run: Run, changes: dict[str, Any]
) -> None:
    save(tmp_path, "alice")
    run("alice")
    if changes.pop("rejected", False):
        changes["rejected_token"] = hashlib.sha256(b"planted-alice").hexdigest()[:16]
    save(tmp_path, "alice", **changes)
    assert run("alice")["lanes"] == {"alice": "stopped"}
    assert run("alice")["lanes"] == {"alice": "none"}
    assert runner.asked.count(("stop", "alice")) == 1


def test_the_lane_of_a_removed_account_is_stopped_and_no_other_one_moves(
    tmp_path: Path, runner: Runner, run: Run
) -> None:
    save(tmp_path, "alice")
    run("alice")
    runner.asked.clear()
    (tmp_path / "run/bob.json").touch()
    assert run("alice")["lanes"] == {"alice": "none", "bob": "stopped"}
    assert runner.asked == [("stop", "bob")]


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
