# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A renewal is a process of its own: whatever becomes of it, the agent gets an outcome or one sentence."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from dcta_agent import renewals
from dcta_agent.renewals import RenewalError, renewal

ECHO = "import json, sys; print(json.dumps({'seen': json.load(sys.stdin)}))"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "renew-account"
    monkeypatch.setattr(renewals, "PROGRAM", path)
    return path


def renew(timeout: float = 10) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        try:
            return await renewal({"name": "alice"}, timeout)
        finally:
            await asyncio.sleep(0.1)  # the loop sees the end of the process and of its pipes

    return asyncio.run(run())


def test_the_request_goes_in_and_the_outcome_comes_out(program: Path) -> None:
    program.write_text(ECHO)
    assert renew() == {"seen": {"name": "alice"}}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise SystemExit(3)", "ended with status 3 and no outcome"),
        ("print('[]')", "no outcome"),
        ("print('null')", "no outcome"),
        ('print(\'{"error": "There are no credentials."}\')', "There are no credentials."),
        ("import os; os.kill(os.getpid(), 9)", "no outcome"),
    ],
)
def test_a_renewal_without_an_outcome_is_one_sentence(program: Path, source: str, words: str) -> None:
    program.write_text(source)
    with pytest.raises(RenewalError, match=words):
        renew()


def test_a_renewal_that_hangs_is_given_up(program: Path) -> None:
    program.write_text("import time; time.sleep(60)")
    with pytest.raises(RenewalError, match="took more than"):
        renew(0.3)


def test_a_node_without_processes_to_spare_is_one_sentence(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program.write_text(ECHO)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python3")
    with pytest.raises(RenewalError, match="no renewal can be started"):
        renew()


def test_a_renewal_under_way_goes_on_when_the_agent_lets_go_of_it(program: Path, tmp_path: Path) -> None:
    program.write_text(
        "import os, pathlib, time\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "(folder / f'{os.getpid()}.begun').touch()\n"
        "time.sleep(0.3)\n"
        "(folder / 'stored').touch()\n"
    )

    def runs() -> bool:
        return any(Path("/proc", begun.stem).exists() for begun in tmp_path.glob("*.begun"))

    async def cancel() -> None:
        task = asyncio.create_task(renewal({"name": "alice"}, 10))
        while not runs():  # noqa: ASYNC110 - another process tells it
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while runs():  # noqa: ASYNC110 - nobody tells of its end
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)  # the loop sees it too

    asyncio.run(cancel())
    assert (tmp_path / "stored").exists()
