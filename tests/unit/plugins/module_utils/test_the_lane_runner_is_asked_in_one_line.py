# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the lane runner: one line there, one line back, and one sentence for whatever goes wrong."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.lane_runner import LaneRunner, LaneRunnerError, lanes_in

TOKEN = "planted-token"


@pytest.fixture
def answered(tmp_path: Path) -> Callable[[bytes], tuple[LaneRunner, list[bytes]]]:
    """Return a function that makes a runner which gives one answer, and what that runner was asked."""

    def make(answer: bytes) -> tuple[LaneRunner, list[bytes]]:
        path, asked = str(tmp_path / "runner.sock"), []
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            with listener, listener.accept()[0] as connection, connection.makefile("rb") as lines:
                asked.append(lines.readline())
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return LaneRunner(path, timeout=5), asked

    return make


def test_a_request_is_one_line_and_so_is_its_answer(answered: Any) -> None:
    runner, asked = answered(b'{"ok": true, "token": "fp"}\n')
    assert runner.ask("put", "alice", token=TOKEN) == {"token": "fp"}
    assert json.loads(asked[0]) == {"operation": "put", "lane": "alice", "token": TOKEN}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b'{"ok": false, "error": "lane alice is not known"}\n', "lane alice is not known"),
        (b"", "broke off its answer"),
        (b"{", "broke off its answer"),
        (b"[]\n", "broke off its answer"),
        (b"{}\n", "broke off its answer"),
    ],
)
def test_whatever_it_answers_is_one_sentence_without_the_token(answered: Any, answer: bytes, words: str) -> None:
    runner, _ignored = answered(answer)
    with pytest.raises(LaneRunnerError, match=words) as caught:
        runner.ask("put", "alice", token=TOKEN)
    assert TOKEN not in str(caught.value)


GOOD = {"active": True, "starting": False, "current": True, "started_at": 1.5}
LESS = {key: value for key, value in GOOD.items() if key != "started_at"}


@pytest.mark.parametrize("started_at", [1.5, 1, None])
def test_a_status_tells_of_both_replicas(answered: Any, started_at: float | None) -> None:
    status = {"token": "", "replicas": {"a": GOOD, "b": {**GOOD, "started_at": started_at}}}
    runner, _ignored = answered(json.dumps({"ok": True, **status}).encode() + b"\n")
    assert runner.ask("status", "alice") == status


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"token": None, "replicas": {"a": GOOD, "b": GOOD}},
        {"token": "", "replicas": [GOOD, GOOD]},
        {"token": "", "replicas": {"a": GOOD}},
        {"token": "", "replicas": {"a": GOOD, "b": None}},
        {"token": "", "replicas": {"a": GOOD, "b": LESS}},
        {"token": "", "replicas": {"a": GOOD, "b": {**GOOD, "active": "yes"}}},
        {"token": "", "replicas": {"a": GOOD, "b": {**GOOD, "started_at": "now"}}},
    ],
)
def test_a_status_of_another_form_is_one_sentence(answered: Any, status: dict[str, Any]) -> None:
    runner, _ignored = answered(json.dumps({"ok": True, **status}).encode() + b"\n")
    with pytest.raises(LaneRunnerError, match="does not have the expected form"):
        runner.ask("status", "alice")


def test_a_lane_may_run_until_its_stop_has_ended(tmp_path: Path) -> None:
    """The token goes first, and what a replica was started with comes last."""
    for name in ("alice.json", "alice.lock", "bob-2-a.generation", ".dave.json.tmp", ".erin-a.generation.tmp"):
        (tmp_path / name).touch()
    assert lanes_in(str(tmp_path)) == {"alice", "bob-2"}


def test_a_runner_that_is_not_there_or_silent_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(LaneRunnerError, match=r"see systemctl status dcta-lanes\.socket"):
        LaneRunner(str(tmp_path / "none.sock")).ask("status", "alice")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "silent.sock"))
        listener.listen()
        with pytest.raises(LaneRunnerError, match=r"see systemctl status dcta-lanes\.socket"):
            LaneRunner(str(tmp_path / "silent.sock"), timeout=0.1).ask("status", "alice")
