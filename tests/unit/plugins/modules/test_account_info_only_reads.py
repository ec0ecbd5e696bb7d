# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module tells which accounts a node holds and how they are, and leaves no trace."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import LastError, Record
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from ansible_collections.dcta.fleet.plugins.modules import account_info
from identity_fake import EMAIL, PASSWORD, jwt, me

Run = Callable[..., dict[str, Any]]
PROMISED = {
    "name",
    "kind",
    "state",
    "usable",
    "expires_at",
    "next_renewal",
    "error_class",
    "message",
    "cure",
}


@pytest.fixture
def node(tmp_path: Path) -> Path:
    (tmp_path / "tokens").mkdir(mode=0o700)
    entries = [
        {"name": "alice", "email": EMAIL, "password": PASSWORD},
        {"name": "carol", "access_token": jwt(time.time() - 60)},
    ]
    (tmp_path / "accounts.json").write_text(json.dumps({"accounts": entries}))
    now = time.time()
    error = LastError(error_class="network_error", sentence="No way.", cure="Wait.", at=now)
    with Store(str(tmp_path / "tokens"), me()) as store:
        store.save(
            Record(name="alice", state="valid", access_token="planted-a", issued_at=now, expires_at=now + 864_000)
        )
        store.save(Record(name="dave", state="waiting", access_token="planted-d", error=error))
    return tmp_path


@pytest.fixture
def run(node: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def execute(*, check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {
            "credentials": str(node / "accounts.json"),
            "store": str(node / "tokens"),
            "owner": me(),
            **arguments,
            "_ansible_check_mode": check,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            account_info.main()
        shown = capsys.readouterr()
        assert "planted" not in shown.out + shown.err
        assert EMAIL not in shown.out + shown.err
        result: dict[str, Any] = json.loads(shown.out)
        return result

    return execute


def test_check_real_check_again_real_again(run: Run, node: Path) -> None:
    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (node / "tokens").iterdir()}

    before = files()
    steps = [run(check=check) for check in (True, False, True, False)]
    assert [step["changed"] for step in steps] == [False] * 4
    assert all(step["accounts"] == steps[0]["accounts"] for step in steps)
    assert files() == before


def test_all_that_the_node_holds_is_told_by_name(run: Run) -> None:
    accounts = {account["name"]: account for account in run()["accounts"]}
    assert list(accounts) == ["alice", "carol", "dave"]
    assert (accounts["alice"]["state"], accounts["alice"]["usable"], accounts["alice"]["kind"]) == (
        "valid",
        True,
        "password",
    )
    assert accounts["alice"]["next_renewal"] < accounts["alice"]["expires_at"]


def test_a_token_that_ran_out_meanwhile_counts_as_such(run: Run) -> None:
    [carol] = run(accounts=["carol"])["accounts"]
    assert (carol["state"], carol["error_class"], carol["usable"]) == ("needs_operator", "token_expired", False)


def test_an_account_without_credentials_is_told_with_the_cure(run: Run) -> None:
    [dave] = run(accounts=["dave"])["accounts"]
    assert (dave["kind"], dave["state"], dave["error_class"]) == (None, "waiting", "network_error")
    assert "deploy" in dave["cure"]


def test_a_host_that_is_no_node_yet_holds_nothing(run: Run, node: Path) -> None:
    nothing = {"credentials": str(node / "none.json"), "store": str(node / "none"), "owner": "no-such-user"}
    assert run(**nothing)["accounts"] == []


def test_the_documentation_promises_what_is_returned(run: Run) -> None:
    documented = account_info.RETURN.partition("contains:")[2]
    words = {line.strip(" :") for line in documented.splitlines() if line.startswith(" " * 4) and line[4] != " "}
    assert words == PROMISED == set(run()["accounts"][0])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"owner": "daemon"}, "does not belong to daemon"),
        ({"provider": {"tokenendpoint": "x"}}, "tokenendpoint"),
        ({"limits": {"logingap": 1}}, "logingap"),
    ],
)
def test_what_cannot_be_meant_fails_in_a_sentence_with_its_cure(run: Run, arguments: dict[str, Any], word: str) -> None:
    result = run(**arguments)
    assert result["failed"]
    assert word in result["msg"]
    assert result["msg"].count(".") >= 2
