# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of the lanes need nothing but the files of their own role: no agent, no library, no Ansible."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from node_modules import files_of_the_lanes


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    for name, content in files_of_the_lanes().items():
        (tmp_path / name).write_text(content)
    return tmp_path


def run(program: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    # Neither the environment nor the packages of this machine: -E -S.
    command = [sys.executable, "-E", "-S", str(program), *arguments]
    return subprocess.run(command, input=said, capture_output=True, text=True, timeout=30, check=False)


def test_the_lane_runner_answers_a_request(installed: Path) -> None:
    request = json.dumps({"operation": "put", "lane": "No account", "token": "planted"})
    answer = json.loads(run(installed / "lanes-runner", said=f"{request}\n").stdout)
    assert answer == {"ok": False, "error": "the lane's name does not have the form of an account's name"}


@pytest.mark.parametrize("step", ["--wait", "--settle", "--prepare", "--contain", "--remove", None])
def test_lane_exec_says_how_it_is_used(installed: Path, step: str | None) -> None:
    done = run(installed / "lane-exec", *([step] if step else []), "No account", "a")
    assert (done.returncode, done.stderr.startswith("lane-exec: usage: lane-exec [")) == (1, True)


def test_what_the_others_import_is_written_first() -> None:
    """A lane may start while the files are being replaced."""
    files = files_of_the_lanes()
    there: set[str] = set()
    for name, content in files.items():
        nodes = [node for node in ast.walk(ast.parse(content)) if isinstance(node, (ast.Import, ast.ImportFrom))]
        modules = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in nodes}
        own = {f"{module}.py" for module in modules} & set(files)
        assert own <= there, name
        there.add(name)
