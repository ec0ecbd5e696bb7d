# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One replica's start: private files, no start without the account, the program's own words, and who listens."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from lane_programs import PROFILE, TOKEN, load_program, write_lanes
from lanes import Lane, LaneError

lane_exec = load_program("lane-exec")


class Executed(Exception):
    """The program would run now."""


@pytest.fixture
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what the program would be run with; the working directory is an empty one."""
    seen: dict[str, Any] = {}

    def execve(path: str, arguments: list[str], environment: dict[str, str]) -> None:
        seen.update(path=path, arguments=arguments, environment=environment)
        raise Executed

    (tmp_path / "credentials").mkdir()
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    monkeypatch.chdir(tmp_path / "state")
    monkeypatch.setattr(lane_exec.os, "execve", execve)
    # The input is that of the process, and so the tests' own.
    monkeypatch.setattr(lane_exec, "never_ending_input", lambda: seen.update(input="never ending"))
    return seen


def lay_down(folder: Path, **changes: Any) -> None:
    credential = {"access_token": TOKEN, "admin_password": "planted-admin", "proxy": "", **changes}
    (folder / "credentials/lane").write_text(json.dumps(credential))


def lane(**profile: Any) -> Lane:
    return Lane("alice", "127.64.0.1", {"a": 8081, "b": 8082}, {**PROFILE, **profile})


def start(replica: str = "a") -> None:
    with pytest.raises(Executed):
        lane_exec.run(lane(), replica)


def test_the_program_is_run_with_its_address_and_nothing_secret_in_sight(
    tmp_path: Path, executed: dict[str, Any]
) -> None:
    lay_down(tmp_path)
    start("b")
    assert (executed["path"], executed["arguments"]) == (PROFILE["program"], [PROFILE["program"]])
    assert executed["environment"] == {
        "HOME": str(tmp_path / "state"),
        "PATH": "/usr/bin:/bin",
        "GIN_MODE": "release",
        "SERVER_HOST": "127.64.0.1",
        "SERVER_PORT": "8082",
    }


def test_the_profile_cannot_move_a_lane_off_its_address(tmp_path: Path, executed: dict[str, Any]) -> None:
    lay_down(tmp_path)
    with pytest.raises(Executed):
        lane_exec.run(lane(environment={"SERVER_HOST": "192.0.2.1"}), "a")
    assert executed["environment"]["SERVER_HOST"] == "127.64.0.1"


@pytest.mark.usefixtures("executed")
def test_the_programs_files_are_private_whatever_lay_there(tmp_path: Path) -> None:
    lay_down(tmp_path, proxy="http://proxy.example.test:3128")
    for name in ("access_tokens.json", ".env", "proxies.txt"):
        Path(name).write_text("old")
        Path(name).chmod(0o666)
    Path("..env.tmp").symlink_to(tmp_path / "elsewhere")
    start()
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in Path().iterdir()}
    assert files == {"access_tokens.json": 0o600, ".env": 0o600, "proxies.txt": 0o600}
    assert json.loads(Path("access_tokens.json").read_text()) == [{"token": TOKEN, "puid": ""}]
    assert Path(".env").read_text() == "ADMIN_PASSWORD=planted-admin\n"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.usefixtures("executed")
@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", "null", '""', "{}", '{"access_token": "", "admin_password": "x"}', '{"access_token": "x"}'],
)
def test_a_lane_without_its_account_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "credentials/lane").write_text(text)
    write_lanes(tmp_path / "lanes.json", "alice")
    monkeypatch.setattr(lane_exec.load_lanes, "__defaults__", (tmp_path / "lanes.json",))
    assert lane_exec.main(["alice", "a"]) == 1
    assert "the lane's credential" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


@pytest.mark.usefixtures("executed")
def test_files_that_would_change_the_program_are_removed(tmp_path: Path) -> None:
    lay_down(tmp_path)
    for name in ("accounts.txt", "api_keys.txt", "proxies.txt"):
        Path(name).write_text("planted by somebody")
    start()
    assert sorted(path.name for path in Path().iterdir()) == [".env", "access_tokens.json"]


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("socks5h://user:pass@proxy.example.test:1080", "socks5://user:pass@proxy.example.test:1080"),
        ("http://proxy.example.test:3128", "http://proxy.example.test:3128"),
    ],
)
def test_a_proxy_is_written_with_the_scheme_that_the_program_knows(url: str, line: str) -> None:
    assert lane_exec.proxy_line(url, PROFILE["proxies_file"]) == line


@pytest.mark.parametrize("url", ["ftp://user:planted@proxy", "proxy:3128", "", "http://", "user:planted@proxy"])
def test_a_proxy_that_the_program_would_go_around_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(LaneError, match="use one of http, socks5h") as caught:
        lane_exec.proxy_line(url, PROFILE["proxies_file"])
    assert "planted" not in str(caught.value)


def test_only_a_listener_on_exactly_this_address_and_port_counts() -> None:
    with socket.socket() as listener:
        listener.bind(("127.64.7.7", 0))
        port = listener.getsockname()[1]
        assert lane_exec.listeners("127.64.7.7", port) == []
        listener.listen()
        assert lane_exec.listeners("127.64.7.7", port) == [os.getuid()]
        assert lane_exec.listeners("127.64.7.8", port) == []
        assert lane_exec.listeners("127.64.7.7", port + 1 if port < 65535 else port - 1) == []


def test_the_wait_ends_as_soon_as_the_replica_listens() -> None:
    with socket.socket() as listener:
        listener.bind(("127.64.7.7", 0))
        own = Lane("alice", "127.64.7.7", {"a": listener.getsockname()[1]}, PROFILE)
        timer = threading.Timer(0.1, listener.listen)
        timer.start()
        started = time.monotonic()
        lane_exec.wait(own, "a")
        assert 0.05 < time.monotonic() - started < 5
        timer.join()


def test_a_program_that_ends_before_it_listens_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["/bin/true"]) as program:
        program.wait()
    monkeypatch.setenv("MAINPID", str(program.pid))
    with pytest.raises(LaneError, match="has ended before it listened"):
        lane_exec.wait(lane(), "a")


def test_somebody_elses_listener_is_an_error_and_not_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_exec, "listeners", lambda _address, _port: [os.getuid() + 1])
    with pytest.raises(LaneError, match=r"127\.64\.0\.1:8081 is taken by user"):
        lane_exec.wait(lane(), "a")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "usage"),
        (["alice"], "usage"),
        (["alice", "c"], "usage"),
        (["Alice", "a"], "usage"),
        (["../alice", "a"], "usage"),
        (["alice\n", "a"], "usage"),
        (["--wait", "alice"], "usage"),
        (["mallory", "a"], "lane mallory is not in /etc/dcta/lanes.json"),
    ],
)
def test_only_a_described_lane_is_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    write_lanes(tmp_path / "lanes.json", "alice")
    monkeypatch.setattr(lane_exec.load_lanes, "__defaults__", (tmp_path / "lanes.json",))
    assert lane_exec.main(arguments) == 1
    assert words in capsys.readouterr().err


def test_a_program_that_is_missing_is_one_sentence_without_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "credentials").mkdir()
    lay_down(tmp_path)
    write_lanes(tmp_path / "lanes.json", "alice", program=str(tmp_path / "none"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lane_exec.load_lanes, "__defaults__", (tmp_path / "lanes.json",))
    assert lane_exec.main(["alice", "a"]) == 1
    shown = capsys.readouterr().err
    assert "No such file or directory" in shown
    assert "planted" not in shown
