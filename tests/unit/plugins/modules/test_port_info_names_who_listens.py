# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens on a port, from the kernel's tables alone."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dcta.fleet.plugins.modules import port_info


def listeners(port: int, capsys: pytest.CaptureFixture[str], *, check: bool = False) -> list[dict[str, Any]]:
    with patch_module_args({"port": port, "_ansible_check_mode": check}), pytest.raises(SystemExit):
        port_info.main()
    result = json.loads(capsys.readouterr().out)
    assert result["changed"] is False
    found: list[dict[str, Any]] = result["listeners"]
    return found


@pytest.mark.parametrize("address", ["127.0.0.1", "127.64.9.9", ""])
def test_a_listener_on_any_address_is_named(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as listener:
        listener.bind((address, 0))
        listener.listen()
        found = listeners(listener.getsockname()[1], capsys)
    assert [(entry["pid"], entry["process"]) for entry in found] == [
        (os.getpid(), Path("/proc/self/comm").read_text().strip())
    ]


def test_check_real_check_again_real_again(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        steps = [listeners(port, capsys, check=check) for check in (True, False, True, False)]
    assert [entry["pid"] for entry in steps[0]] == [os.getpid()]
    assert steps == [steps[0]] * 4


def test_a_port_that_is_bound_but_not_listened_on_is_free(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert listeners(bound.getsockname()[1], capsys) == []


def test_a_listener_whose_process_is_hidden_is_still_a_listener(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(port_info, "holders", lambda _inodes: [])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        found = listeners(listener.getsockname()[1], capsys)
    assert found == [{"pid": 0, "process": "a process that cannot be seen", "unit": ""}]


def test_a_process_that_just_ended_is_no_error() -> None:
    assert port_info.describe(2**22 + 1)["process"] == "a process that just ended"
