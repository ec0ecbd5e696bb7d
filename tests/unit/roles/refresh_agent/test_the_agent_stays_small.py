# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent of some hundred lanes: few threads, no library that only a renewal needs, and one sentence for a runner."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from agent_node import Node, on_a_node, until
from dcta_agent.agent import THREADS
from dcta_agent.runner import Runner
from dcta_library.lane_runner import LaneRunnerError
from node_modules import lay_out

# What reads the provider's pages and speaks to the provider: in the processes that renew, and there alone.
HEAVY = {"lxml", "requests", "urllib3"}
SHOW = "import json, sys; import dcta_agent.__main__; print(json.dumps(sorted(sys.modules)))"


def test_the_agent_imports_nothing_that_only_a_renewal_needs(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", SHOW], cwd=lay_out(tmp_path), capture_output=True, text=True, check=True, timeout=60
    )
    modules = {name.partition(".")[0] for name in json.loads(shown.stdout)}
    assert "dcta_agent" in modules
    assert modules & HEAVY == set()


@pytest.mark.slow
def test_threads_do_not_grow_with_the_lanes(tmp_path: Path) -> None:
    names = tuple(f"lane-{number}" for number in range(60))
    most = 0

    async def test(node: Node) -> None:
        nonlocal most
        for name in names:
            node.save(name)
        async with node.at_work():

            def are_good() -> bool:
                nonlocal most
                most = max(most, threading.active_count())
                return all(node.is_good(name) for name in names)

            await until(are_good, 60)

    before = threading.active_count()
    on_a_node(tmp_path, test, names, ping_interval=1, ping_timeout=5, converge_interval=10)
    assert most - before <= THREADS < len(names)


# The lane runner, which may take minutes over a lane.


def ask(folder: Path, answer: bytes, **arguments: str) -> tuple[dict[str, Any] | str, bytes]:
    """Ask a runner that gives one answer; return what came of it, and what the runner read."""
    path, asked = str(folder / "runner.sock"), b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked = await reader.readline()
        writer.write(answer)
        writer.close()

    async def run() -> dict[str, Any] | str:
        async with await asyncio.start_unix_server(serve, path):
            try:
                return await Runner(path, timeout=5).ask("put", "alice", **arguments)
            except LaneRunnerError as error:
                return str(error)

    return asyncio.run(run()), asked


def test_a_request_to_the_runner_is_one_line_and_so_is_its_answer(tmp_path: Path) -> None:
    answer, asked = ask(tmp_path, b'{"ok": true, "token": "fp"}\n', token="planted-token")
    assert answer == {"token": "fp"}
    assert json.loads(asked) == {"operation": "put", "lane": "alice", "token": "planted-token"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b'{"ok": false, "error": "lane alice is not known"}\n', "lane alice is not known"),
        (b"", "broke off its answer"),
        (b"{", "broke off its answer"),
        (b"[]\n", "broke off its answer"),
        (b"x" * 200_000, "broke off its answer"),
    ],
)
def test_whatever_the_runner_answers_is_one_sentence_without_the_token(
    tmp_path: Path, answer: bytes, words: str
) -> None:
    said, _asked = ask(tmp_path, answer, token="planted-token")
    assert words in str(said)
    assert "planted" not in str(said)


def test_a_runner_that_is_not_there_or_silent_says_where_to_look(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def run() -> None:
        where = r"see systemctl status dcta-lanes\.socket"
        with pytest.raises(LaneRunnerError, match=where):
            await Runner(str(tmp_path / "none.sock")).ask("status", "alice")
        async with await asyncio.start_unix_server(silent, str(tmp_path / "silent.sock")):
            with pytest.raises(LaneRunnerError, match=where):
                await Runner(str(tmp_path / "silent.sock"), timeout=0.1).ask("status", "alice")
            # Its task ends with the connection.
            await asyncio.sleep(0.05)

    asyncio.run(run())
