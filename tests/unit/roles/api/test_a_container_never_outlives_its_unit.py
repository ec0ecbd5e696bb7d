# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One replica in a container: its limits, what its command line shows, and an engine that comes and goes meanwhile."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import lane_container
import pytest
from lane_programs import PROFILE, TOKEN, load_program
from lanes import Lane, LaneError

lane_exec = load_program("lane-exec")

CONTAINER = {"image": "dcta/chatgpt-to-api:release", "memory": "256M", "pids": 128}
NAME = "dcta-api-b-alice"
# Answers of the engine's API, as Docker's reference has them.
ENDED: tuple[int, Any] = (200, {"StatusCode": 3, "Error": None})
GONE: tuple[int, Any] = (404, {"message": f"No such container: {NAME}"})
DONE: tuple[int, Any] = (204, None)
BROKEN_OFF: tuple[int, Any] = (0, None)
SAID_NOTHING: tuple[int, Any] = (200, None)
LEFT: tuple[int, Any] = (200, {"StatusCode": -1, "Error": {"Message": "context canceled"}})


def lane() -> Lane:
    return Lane("alice", "127.64.0.1", {"a": 8081, "b": 8082}, {**PROFILE, "container": CONTAINER})


class Engine:
    """A container engine that gives prepared answers, one a connection."""

    def __init__(self, path: Path) -> None:
        self.asked: list[str] = []
        self.answers: list[tuple[int, Any]] = []
        self.before_answer: Callable[[], None] = lambda: None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(65536).decode().split("\r\n")[0])
                status, answer = self.answers.pop(0)
                self.before_answer()
                chunked = "" if status == 204 else "Transfer-Encoding: chunked\r\n"
                body = json.dumps(answer) if answer is not None else ""
                chunks = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n" if body else ""
                text = f"HTTP/1.1 {status} Word\r\nApi-Version: 1.41\r\n{chunked}\r\n{chunks}" if status else ""
                # Who asked may be gone.
                with suppress(BrokenPipeError):
                    connection.sendall(text.encode())

    def close(self) -> None:
        """Answer no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    engine = Engine(tmp_path / "docker.sock")
    monkeypatch.setattr(lane_container, "DOCKER_SOCKET", str(tmp_path / "docker.sock"))
    monkeypatch.setattr(lane_container, "DOCKER_RETRY_SECONDS", 0.001)
    yield engine
    engine.close()


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return where the stand-in for docker's command writes what it was run with; SIGTERM is as before in the end."""
    (tmp_path / "state/alice-b").mkdir(parents=True)
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/arguments\nenv >{tmp_path}/environment\n')
    docker.chmod(0o755)
    monkeypatch.setattr(lane_container, "DOCKER", str(docker))
    monkeypatch.setattr(lane_container, "STATE_DIRECTORY", tmp_path / "state")
    before = signal.getsignal(signal.SIGTERM)
    yield docker
    signal.signal(signal.SIGTERM, before)


def test_the_container_has_the_limits_of_the_native_sandbox_and_one_writable_folder() -> None:
    line = lane_container.container_command(lane(), "b", 61500, 61500)
    for word in (
        "--user=61500:61500",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--read-only",
        "--ipc=none",
        "--memory=256M",
        "--pids-limit=128",
        "--network=host",
        "--pull=never",
        "--log-driver=journald",
    ):
        assert word in line
    mounts = [word for word in line if word.startswith(("--mount", "--volume", "-v", "--tmpfs"))]
    assert [word for word in mounts if not word.endswith(",readonly")] == [
        "--mount=type=bind,source=/var/lib/private/dcta-api/alice-b,target=/state"
    ]
    assert not [word for word in line if "docker.sock" in word or "privileged" in word.replace("no-new-privileges", "")]
    assert line[-1] == CONTAINER["image"]


def test_the_program_in_a_container_gets_the_environment_of_a_native_one() -> None:
    line = lane_container.container_command(lane(), "b", 61500, 61500)
    environment = dict(word.removeprefix("--env=").split("=", 1) for word in line if word.startswith("--env="))
    assert environment == lane_exec.program_environment(lane(), "b", "/state")


@pytest.mark.usefixtures("command")
def test_a_container_ends_with_its_unit_knowing_how(engine: Engine, tmp_path: Path) -> None:
    engine.answers = [GONE, ENDED]
    assert lane_container.contain(lane(), "b") == 3
    assert engine.asked == [f"DELETE /containers/{NAME}?force=1 HTTP/1.1", f"POST /containers/{NAME}/wait HTTP/1.1"]
    owner = f"{os.getuid()}:{os.getgid()}"
    assert f"--user={owner}" in (tmp_path / "arguments").read_text().splitlines()


@pytest.mark.usefixtures("command")
def test_neither_command_line_nor_environment_holds_a_secret(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("PLANTED", "planted-by-the-caller")
    (tmp_path / "lane").write_text(json.dumps({"access_token": TOKEN, "admin_password": "planted-admin"}))
    engine.answers = [DONE, ENDED]
    lane_container.contain(lane(), "b")
    assert "planted" not in (tmp_path / "arguments").read_text() + (tmp_path / "environment").read_text()


def test_a_restart_of_the_engine_does_not_end_a_replica(engine: Engine) -> None:
    engine.answers = [BROKEN_OFF, SAID_NOTHING, LEFT, ENDED]
    assert lane_container.wait_for_container(NAME) == 3
    assert engine.asked == [f"POST /containers/{NAME}/wait HTTP/1.1"] * 4


def test_a_container_that_somebody_removed_ends_its_unit(engine: Engine) -> None:
    engine.answers = [BROKEN_OFF, GONE]
    with pytest.raises(LaneError, match="was removed by somebody else"):
        lane_container.wait_for_container(NAME)


@pytest.mark.usefixtures("command")
def test_the_end_of_a_unit_lets_the_program_finish_its_streams_even_if_it_was_halted(engine: Engine) -> None:
    engine.answers = [DONE, ENDED, BROKEN_OFF, DONE, BROKEN_OFF, DONE, DONE, DONE]

    def terminate() -> None:
        if engine.asked[-1].split()[1].endswith("/wait"):
            os.kill(os.getpid(), signal.SIGTERM)
            # The answer must not come before the signal.
            threading.Event().wait(0.2)

    engine.before_answer = terminate
    assert lane_container.contain(lane(), "b") == 0
    go_on, stop = (f"POST /containers/{NAME}/{what} HTTP/1.1" for what in ("kill?signal=CONT", "stop?t=65"))
    remove = f"DELETE /containers/{NAME}?force=1 HTTP/1.1"
    assert engine.asked[2:] == [go_on, go_on, stop, go_on, stop, remove]


def test_a_container_that_cannot_start_is_one_sentence(
    engine: Engine, command: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command.write_text("#!/bin/sh\nexit 125\n")
    engine.answers = [DONE]
    monkeypatch.setattr(lane_exec, "load_lanes", lambda: {"alice": lane()})
    assert lane_exec.main(["--contain", "alice", "b"]) == 1
    assert "the container cannot be started" in capsys.readouterr().err


def test_a_node_that_is_not_described_for_containers_starts_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    native = Lane("alice", "127.64.0.1", {"a": 8081, "b": 8082}, PROFILE)
    monkeypatch.setattr(lane_exec, "load_lanes", lambda: {"alice": native})
    assert lane_exec.main(["--contain", "alice", "b"]) == 1
    assert "describes no container" in capsys.readouterr().err


def test_what_cannot_be_removed_now_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lane_container, "DOCKER_SOCKET", str(tmp_path / "none"))
    monkeypatch.setattr(lane_exec, "load_lanes", lambda: {"alice": lane()})
    assert lane_exec.main(["--remove", "alice", "b"]) == 1
    assert "see systemctl status docker" in capsys.readouterr().err
