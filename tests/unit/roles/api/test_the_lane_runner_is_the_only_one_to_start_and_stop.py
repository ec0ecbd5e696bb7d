# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lane runner: what it does to which unit, what makes a replica old, and how it refuses."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lane_programs import TOKEN, load_program, write_lanes

runner = load_program("lanes-runner")
Ask = Callable[..., dict[str, Any]]


class Systemd:
    """systemctl: units are active or not; what was asked is remembered."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.states: dict[str, tuple[str, str]] = {}
        self.broken: set[str] = set()
        self.fails: set[str] = set()

    @property
    def moved(self) -> list[tuple[str, ...]]:
        """What was asked, without what systemd only was to forget."""
        return [asked for asked in self.asked if asked[0] != "reset-failed"]

    def run(self, command: list[str], **_settings: Any) -> SimpleNamespace:
        """Act as subprocess.run does."""
        assert command[0] == "/usr/bin/systemctl"
        verb, unit = command[1], command[-1]
        if verb in self.fails:
            raise subprocess.CalledProcessError(1, command)
        if verb == "show":
            active, sub = self.states.get(unit, ("inactive", "dead"))
            return SimpleNamespace(stdout=f"ActiveState={active}\nSubState={sub}\n")
        self.asked.append(tuple(command[1:]))
        for name in (unit for unit in command[2:] if not unit.startswith("-")):
            if verb == "restart" and name not in self.broken:
                self.states[name] = ("active", "running")
            elif verb == "stop":
                self.states.pop(name, None)
        return SimpleNamespace(stdout="")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay a node's files below a folder."""
    for name in ("run", "credentials", "units/dcta-.service.d", "lib", "releases/1", "releases/2"):
        (tmp_path / name).mkdir(parents=True)
    for which in ("a", "b"):
        (tmp_path / f"units/dcta-api-{which}@.service").write_text("[Service]\n")
    (tmp_path / "units/dcta-.service.d/10-sandbox.conf").write_text("[Service]\n")
    for name in ("lane-exec", "lane_container.py", "lanes.py", "lanes-runner"):
        (tmp_path / "lib" / name).write_text("")
    for release in ("1", "2"):
        (tmp_path / "releases" / release / "program").write_text("")
    (tmp_path / "current").symlink_to("releases/1")
    (tmp_path / "credentials/admin_key").write_text("planted-key\n")
    write_accounts(tmp_path)
    write_lanes(tmp_path / "lanes.json", "alice", "alice-a", program=str(tmp_path / "current/program"))
    monkeypatch.setattr(runner, "LANE_RUNNER_FOLDER", str(tmp_path / "run"))
    monkeypatch.setattr(runner, "CREDENTIALS", str(tmp_path / "credentials"))
    monkeypatch.setattr(runner, "UNIT_DIRECTORY", tmp_path / "units")
    monkeypatch.setattr(runner, "__file__", str(tmp_path / "lib/lanes-runner"))
    monkeypatch.setattr(runner.load_lanes, "__defaults__", (tmp_path / "lanes.json",))
    return tmp_path


def write_accounts(node: Path, **alice: str) -> None:
    accounts = [{"name": "alice", "password": "planted-password", **alice}, {"name": "alice-a"}]
    (node / "credentials/accounts.json").write_text(json.dumps({"accounts": accounts}))


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Systemd:
    fake = Systemd()
    monkeypatch.setattr(subprocess, "run", fake.run)
    return fake


@pytest.fixture
def say(
    node: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[bytes], dict[str, Any]]:
    """Return a function that sends one line and returns the one answer."""
    del node, systemd

    def send(line: bytes) -> dict[str, Any]:
        monkeypatch.setattr(runner.sys, "stdin", SimpleNamespace(buffer=io.BytesIO(line)))
        assert runner.main() == 0
        shown = capsys.readouterr()
        assert "planted" not in shown.out + shown.err
        assert shown.out.count("\n") == 1
        answer: dict[str, Any] = json.loads(shown.out)
        assert answer["ok"] is (shown.err == "")
        return answer

    return send


@pytest.fixture
def ask(say: Callable[[bytes], dict[str, Any]]) -> Ask:
    def send(operation: str, lane: str = "alice", **arguments: Any) -> dict[str, Any]:
        return say(json.dumps({"operation": operation, "lane": lane, **arguments}).encode() + b"\n")

    return send


def units(*which: str, lane: str = "alice") -> list[str]:
    return [f"dcta-api-{one}@{lane}.service" for one in which]


# put


def test_put_lays_the_token_down_for_root_alone_with_the_lanes_own_secrets(node: Path, ask: Ask) -> None:
    write_accounts(node, proxy="socks5h://proxy.example.test:1080")
    assert ask("put", token=TOKEN) == {"ok": True}
    path = node / "run/alice.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert set(document) == {"access_token", "admin_password", "proxy"}
    assert (document["access_token"], document["proxy"]) == (TOKEN, "socks5h://proxy.example.test:1080")
    assert "planted" not in document["admin_password"]
    assert sorted(entry.name for entry in (node / "run").iterdir()) == ["alice.json", "alice.lock"]


@pytest.mark.parametrize("token", ["", None, " ", "a b", "a\nb", "a\tb", "a\0b", "a\u200bb", "a\u00a0b", {"a": "b"}])
def test_put_refuses_what_cannot_be_a_token(node: Path, ask: Ask, token: Any) -> None:
    assert "the token is empty or holds blanks" in ask("put", token=token)["error"]
    assert not (node / "run/alice.json").exists()


def test_put_follows_no_link(node: Path, ask: Ask) -> None:
    for name in ("alice.json", ".alice.json.tmp"):
        (node / "run" / name).symlink_to(node / "elsewhere")
    assert ask("put", token=TOKEN)["ok"] is True
    assert json.loads((node / "run/alice.json").read_text())["access_token"] == TOKEN
    assert not (node / "elsewhere").exists()


# start, roll, stop, kill


def test_start_starts_only_the_replicas_that_do_not_run(systemd: Systemd, ask: Ask) -> None:
    ask("put", token=TOKEN)
    systemd.states[units("a")[0]] = ("active", "running")
    assert ask("start") == {"ok": True}
    assert systemd.moved == [("restart", *units("b"))]


def test_a_replica_that_does_not_come_up_is_left_alone_and_the_other_one_is_started(systemd: Systemd, ask: Ask) -> None:
    systemd.broken = set(units("a"))
    assert ask("start")["ok"] is False
    assert systemd.moved == [("restart", *units("a")), ("stop", *units("a")), ("restart", *units("b"))]


@pytest.mark.parametrize("operation", ["start", "roll"])
def test_a_start_that_is_asked_for_is_refused_by_no_earlier_crash(systemd: Systemd, ask: Ask, operation: str) -> None:
    ask("put", token=TOKEN)
    assert ask(operation) == {"ok": True}
    for which in "ab":
        restart = systemd.asked.index(("restart", *units(which)))
        assert systemd.asked[restart - 1] == ("reset-failed", f"{units(which)[0]}*")


def test_a_replica_that_does_not_come_up_is_named_with_the_place_to_look(systemd: Systemd, ask: Ask) -> None:
    systemd.broken = set(units("a"))
    assert ask("start")["error"] == (
        "dcta-api-a@alice.service does not run: see journalctl -u dcta-api-a@alice.service"
    )


def test_roll_restarts_one_after_the_other_with_the_secrets_of_now(node: Path, systemd: Systemd, ask: Ask) -> None:
    ask("put", token=TOKEN)
    ask("start")
    systemd.asked.clear()
    write_accounts(node, proxy="http://new.example.test:1")
    assert ask("roll") == {"ok": True}
    assert systemd.moved == [("restart", *units("a")), ("restart", *units("b"))]
    document = json.loads((node / "run/alice.json").read_text())
    assert (document["access_token"], document["proxy"]) == (TOKEN, "http://new.example.test:1")


def test_roll_leaves_the_second_replica_alone_when_the_first_does_not_come_back(systemd: Systemd, ask: Ask) -> None:
    ask("put", token=TOKEN)
    systemd.broken = set(units("a"))
    assert ask("roll")["ok"] is False
    assert systemd.moved == [("restart", *units("a"))]


def test_roll_of_one_replica_leaves_the_other_alone(systemd: Systemd, ask: Ask) -> None:
    ask("put", token=TOKEN)
    ask("start")
    systemd.asked.clear()
    assert ask("roll", replica="b") == {"ok": True}
    assert systemd.moved == [("restart", *units("b"))]


def test_roll_of_a_lane_without_a_token_restarts_nothing(systemd: Systemd, ask: Ask) -> None:
    assert ask("roll")["ok"] is False
    assert systemd.asked == []


def test_stop_forgets_the_token_before_it_stops_so_that_nothing_starts_again(
    node: Path, systemd: Systemd, ask: Ask
) -> None:
    ask("put", token=TOKEN)
    ask("start")
    systemd.asked.clear()
    systemd.fails = {"stop"}
    assert "systemctl stop failed" in ask("stop")["error"]
    assert not (node / "run/alice.json").exists()
    systemd.fails = set()
    assert ask("stop") == {"ok": True}
    assert systemd.asked[0] == ("stop", *units("a", "b"))
    assert sorted(entry.name for entry in (node / "run").iterdir()) == ["alice.lock"]


def test_stop_touches_no_lane_whose_name_only_begins_alike(systemd: Systemd, ask: Ask) -> None:
    ask("stop", "al")
    patterns = [name for asked in systemd.asked for name in asked[1:]]
    assert patterns
    assert not [name for name in patterns if not name.startswith(("dcta-api-a@al.service", "dcta-api-b@al.service"))]


def test_a_lane_that_is_described_no_more_can_still_be_stopped_and_nothing_else(ask: Ask) -> None:
    assert ask("stop", "gone") == {"ok": True}
    for operation in ("put", "start", "roll", "end", "kill", "status"):
        assert ask(operation, "gone")["error"].startswith("lane gone is not in /etc/dcta/lanes.json")


def test_end_lets_a_halted_replica_finish_what_it_began(systemd: Systemd, ask: Ask) -> None:
    assert ask("end", replica="b") == {"ok": True}
    assert systemd.asked == [
        ("kill", "--kill-whom=main", "--signal=CONT", *units("b")),
        ("kill", "--kill-whom=main", "--signal=TERM", *units("b")),
    ]


def test_kill_ends_one_replica_at_once(systemd: Systemd, ask: Ask) -> None:
    assert ask("kill", replica="b") == {"ok": True}
    assert systemd.asked == [("kill", "--signal=KILL", *units("b"))]


@pytest.mark.parametrize("replica", ["c", "", None, "a@alice.service dcta-gateway", "--all"])
@pytest.mark.parametrize("operation", ["end", "kill", "roll"])
def test_what_is_no_replica_is_refused(systemd: Systemd, ask: Ask, operation: str, replica: Any) -> None:
    assert ask(operation, replica=replica)["error"] == "the replica is neither a nor b"
    assert systemd.asked == []


# status


def test_status_names_the_token_by_its_fingerprint_and_the_replicas_by_how_they_are(systemd: Systemd, ask: Ask) -> None:
    ask("put", token=TOKEN)
    ask("start")
    systemd.states[units("b")[0]] = ("activating", "start-post")
    status = ask("status")
    assert status["token"] == hashlib.sha256(TOKEN.encode()).hexdigest()
    assert time.time() - status["replicas"]["a"].pop("started_at") < 60
    assert status["replicas"]["a"] == {"active": True, "starting": False, "current": True}
    assert (status["replicas"]["b"]["active"], status["replicas"]["b"]["starting"]) == (False, True)


@pytest.mark.parametrize(
    ("state", "starting"),
    [
        (("activating", "start"), True),
        (("activating", "auto-restart"), False),
        (("deactivating", "stop-sigterm"), False),
        (("failed", "failed"), False),
        (("inactive", "dead"), False),
    ],
)
def test_only_a_replica_that_may_have_read_its_token_counts_as_starting(
    systemd: Systemd, ask: Ask, state: tuple[str, str], starting: bool
) -> None:
    systemd.states[units("a")[0]] = state
    assert ask("status")["replicas"]["a"] == {
        "active": False,
        "starting": starting,
        "current": False,
        "started_at": None,
    }


def _new_release(node: Path) -> None:
    (node / "current").unlink()
    (node / "current").symlink_to("releases/2")


def _new_setting(node: Path) -> None:
    write_lanes(node / "lanes.json", "alice", program=str(node / "current/program"), environment={"X": "1"})


def _new_unit(node: Path) -> None:
    for which in ("a", "b"):
        (node / f"units/dcta-api-{which}@.service").write_text("[Service]\nMemoryMax=1G\n")


def _new_sandbox(node: Path) -> None:
    (node / "units/dcta-.service.d/10-sandbox.conf").write_text("[Service]\nUMask=0077\n")


def _new_exception(node: Path) -> None:
    (node / "units/dcta-.service.d/20-more.conf").write_text("")


def _new_proxy(node: Path) -> None:
    write_accounts(node, proxy="http://proxy.example.test:1")


def _new_admin_key(node: Path) -> None:
    (node / "credentials/admin_key").write_text("planted-other")


def _new_lane_exec(node: Path) -> None:
    (node / "lib/lane-exec").write_text("# another")


def _new_container(node: Path) -> None:
    (node / "lib/lane_container.py").write_text("# another")


@pytest.mark.parametrize(
    "change",
    [
        _new_release,
        _new_setting,
        _new_unit,
        _new_sandbox,
        _new_exception,
        _new_proxy,
        _new_admin_key,
        _new_lane_exec,
        _new_container,
    ],
)
def test_whatever_a_replica_is_started_with_makes_it_old_when_it_changes(
    node: Path, ask: Ask, change: Callable[[Path], None]
) -> None:
    ask("put", token=TOKEN)
    ask("start")
    assert all(replica["current"] for replica in ask("status")["replicas"].values())
    change(node)
    assert not any(replica["current"] for replica in ask("status")["replicas"].values())
    ask("roll")
    assert all(replica["current"] for replica in ask("status")["replicas"].values())


def test_another_token_or_another_accounts_password_makes_no_replica_old(node: Path, ask: Ask) -> None:
    ask("put", token=TOKEN)
    ask("start")
    ask("put", token="planted-next")
    write_accounts(node, password="planted-changed")
    assert all(replica["current"] for replica in ask("status")["replicas"].values())


def test_lanes_whose_names_end_like_a_replica_share_no_file(node: Path, ask: Ask) -> None:
    for lane in ("alice", "alice-a"):
        ask("put", lane, token=f"{TOKEN}-{lane}")
        ask("start", lane)
    half_written = node / "run/.alice-a.json.tmp"
    half_written.write_text("half written by the runner of alice-a")
    ask("roll", "alice")
    assert json.loads((node / "run/alice-a.json").read_text())["access_token"] == f"{TOKEN}-alice-a"
    assert half_written.exists()


# Locks.


@pytest.mark.parametrize("operation", ["status", "end", "kill"])
def test_what_changes_nothing_or_cannot_wait_does_not_wait_for_a_roll(node: Path, ask: Ask, operation: str) -> None:
    with (node / "run/alice.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert ask(operation, replica="a")["ok"] is True


@pytest.mark.usefixtures("systemd")
def test_two_changes_of_one_lane_never_work_at_the_same_time(node: Path) -> None:
    done = threading.Event()

    def put() -> None:
        runner.answer({"operation": "put", "lane": "alice", "token": TOKEN})
        done.set()

    with (node / "run/alice.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=put)
        thread.start()
        assert not done.wait(0.2)
    thread.join(5)
    assert done.is_set()


@pytest.mark.parametrize("operation", ["put", "start", "stop", "roll"])
@pytest.mark.parametrize("stays", [True, False])
def test_what_nobody_waits_for_any_more_is_not_begun(
    node: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch, operation: str, stays: bool
) -> None:
    """Whoever asked has let the lane go when it went: a newer token may have been laid down since."""
    runner.answer({"operation": "put", "lane": "alice", "token": "planted-newer"})
    client, connection = socket.socketpair()
    answers: list[dict[str, Any]] = []

    def work() -> None:
        try:
            answers.append(runner.answer({"operation": operation, "lane": "alice", "token": TOKEN}))
        except runner.LaneError as error:
            answers.append({"error": str(error)})

    with client, connection, (node / "run/alice.lock").open("w") as lock:
        monkeypatch.setattr(runner, "INPUT", connection.fileno())
        client.sendall(b"{}\n")  # what it has sent may not have been read to its end
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=work)
        thread.start()
        if not stays:
            client.close()
        fcntl.flock(lock, fcntl.LOCK_UN)
        thread.join(5)
    if stays:
        assert answers == [{}]
    else:
        assert "nobody waits" in answers[0]["error"]
        assert systemd.asked == []
        assert json.loads((node / "run/alice.json").read_text())["access_token"] == "planted-newer"


# The protocol.


@pytest.mark.parametrize(
    "name", ["", "Alice", "../alice", "alice.service", "alice x", "-alice", "a" * 21, "alice\n", 1, None, ["alice"]]
)
def test_a_name_that_is_none_reaches_neither_a_file_nor_systemd(
    node: Path, systemd: Systemd, ask: Ask, name: Any
) -> None:
    assert "does not have the form" in ask("stop", name)["error"]
    assert (systemd.asked, list((node / "run").iterdir())) == ([], [])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{",
        b"[]\n",
        b"null\n",
        b'"stop"\n',
        b"\xff\n",
        b'{"operation": "' + b"x" * 70000 + b'"}\n',
        b"[" * 65000,
    ],
)
def test_what_is_no_request_is_told_so(say: Callable[[bytes], dict[str, Any]], line: bytes) -> None:
    assert say(line) == {"ok": False, "error": "a request is one JSON object on one line"}


@pytest.mark.parametrize("operation", ["", None, "restart", "locked", ["stop"]])
def test_an_unknown_operation_is_told_the_known_ones(systemd: Systemd, ask: Ask, operation: Any) -> None:
    assert ask(operation)["error"] == "the operation is none of put, start, stop, roll, end, kill, status"
    assert systemd.asked == []


@pytest.mark.parametrize(("file", "text"), [("accounts.json", "{}"), ("accounts.json", "{"), ("accounts.json", "[]")])
def test_a_damaged_file_of_the_node_is_not_blamed_on_the_request(node: Path, ask: Ask, file: str, text: str) -> None:
    (node / "credentials" / file).write_text(text)
    assert "run the playbook deploy again" in ask("put", token=TOKEN)["error"]


def test_a_missing_file_is_named(node: Path, ask: Ask) -> None:
    (node / "credentials/admin_key").unlink()
    assert "admin_key: No such file or directory; run the playbook deploy again" in ask("put", token=TOKEN)["error"]


def test_systemctl_that_hangs_is_an_answer(node: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], **settings: Any) -> None:
        raise subprocess.TimeoutExpired(command, settings["timeout"])

    ask("put", token=TOKEN)
    monkeypatch.setattr(subprocess, "run", hang)
    assert "took more than 180 s" in ask("start")["error"]
    assert (node / "run/alice.json").exists()
