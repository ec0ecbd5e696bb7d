# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in upstream keeps its contract; its own tests are in Go."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from .standins import DEMO


@pytest.mark.skipif(shutil.which("go") is None, reason="no Go toolchain on this machine")
@pytest.mark.parametrize("command", [["vet", "./..."], ["test", "./..."]])
def test_go_finds_no_fault(command: list[str]) -> None:
    environment = {**os.environ, "GOFLAGS": "-buildvcs=false -mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    result = subprocess.run(
        ["go", *command],
        cwd=DEMO / "upstream",
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
