# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules: four steps, an empty store brought back, newer tokens left alone, no token where none belongs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import Record
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.renewer import Renewer
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from ansible_collections.dcta.fleet.plugins.modules import token_backup, token_restore
from identity_fake import EMAIL, PASSWORD, START, Clock, FakeProvider, example_provider, me, runtime

Run = Callable[..., dict[str, Any]]
ALICE = Record(
    name="alice",
    state="valid",
    access_token="planted-access",
    refresh_token="planted-refresh",
    issued_at=1000.0,
    expires_at=4e9,
    submissions=(900.0,),
)
BOB = Record(name="bob", state="quarantined", rejected_login="f" * 32, submissions=(800.0, 850.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a store with two accounts and a salt."""
    folder = tmp_path / "tokens"
    folder.mkdir(mode=0o700)
    with Store(str(folder), me()) as store:
        store.salt()
        for record in (ALICE, BOB):
            store.save(record)
    return folder


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def execute(module: ModuleType, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {"path": "/backups/node1.bak", "store": str(folder), "owner": me(), **arguments}
        with patch_module_args({**given, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        shown = {key: value for key, value in result.items() if key != "content" or module is token_restore}
        assert "planted" not in json.dumps(shown)
        return result

    return execute


@pytest.fixture
def backup(run: Run) -> str:
    content: str = run(token_backup)["content"]
    return content


def actions(result: Mapping[str, Any]) -> dict[str, str]:
    return {account["name"]: account["action"] for account in result["accounts"]}


def emptied(folder: Path) -> Path:
    for file in folder.iterdir():
        file.unlink()
    return folder


def stored(folder: Path, name: str) -> Record:
    with Store(str(folder), me()) as store:
        record = store.load(name)
    assert record is not None
    return record


def replaced(folder: Path, record: Record) -> None:
    with Store(str(folder), me()) as store:
        store.save(record)


def test_reading_a_store_changes_nothing_four_times(run: Run, folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    steps = [run(token_backup, check=check) for check in (True, False, True, False)]
    assert [step["changed"] for step in steps] == [False] * 4
    assert len({step["content"] for step in steps}) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_check_real_check_again_real_again(run: Run, folder: Path, backup: str) -> None:
    emptied(folder)
    owned = ["alice", "bob"]
    steps = [run(token_restore, check=check, content=backup, accounts=owned) for check in (True, False, True, False)]
    assert [step["changed"] for step in steps] == [True, True, False, False]
    assert [set(actions(step).values()) for step in steps] == [{"restored"}] * 2 + [{"unchanged"}] * 2


def test_check_mode_leaves_no_trace_also_where_there_is_no_store(run: Run, folder: Path, backup: str) -> None:
    emptied(folder)
    run(token_restore, check=True, content=backup, accounts=["alice"])
    assert list(folder.iterdir()) == []
    nothing = {"store": str(folder / "none"), "owner": "no-such-user"}
    assert actions(run(token_restore, check=True, content=backup, accounts=["alice"], **nothing)) == {
        "alice": "restored",
        "bob": "left_out",
    }


def test_an_empty_store_gets_back_what_it_had(run: Run, folder: Path, backup: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(".lock")}
    emptied(folder)
    run(token_restore, content=backup, accounts=["alice", "bob"])
    after = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(".lock")}
    assert after == before
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())


class Eve:
    """An account with a password, at a provider that gives each refresh token only one use."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.provider = FakeProvider(self.clock)
        self._folder = folder

    def renew(self) -> str:
        """Renew what is due and return what was done."""
        with Store(str(self._folder), me()) as store:
            renewer = Renewer(
                store=store,
                provider=example_provider(),
                credentials={"eve": Credentials(name="eve", email=EMAIL, password=PASSWORD)},
                runtime=runtime(self.provider.session, self.clock, seed=3),
            )
            outcome = renewer.renew("eve")
        assert outcome.usable
        return outcome.action

    def expire(self) -> None:
        """Let the access token run out."""
        self.clock.now += 400 * 86_400


def test_a_restored_account_is_good_without_a_login(run: Run, folder: Path) -> None:
    eve = Eve(folder)
    assert eve.renew() == "login"
    backup = run(token_backup)["content"]
    emptied(folder)
    assert actions(run(token_restore, content=backup, accounts=["eve"]))["eve"] == "restored"
    assert eve.renew() == "none"
    assert len(eve.provider.passwords_seen) == 1


def test_a_refresh_token_that_was_spent_after_the_backup_costs_one_login(run: Run, folder: Path) -> None:
    eve = Eve(folder)
    eve.renew()
    backup = run(token_backup)["content"]
    eve.expire()
    assert eve.renew() == "refresh"
    emptied(folder)
    run(token_restore, content=backup, accounts=["eve"])
    assert eve.renew() == "login"
    assert eve.renew() == "none"
    assert len(eve.provider.passwords_seen) == 2


def test_accounts_of_other_nodes_and_accounts_without_a_backup_are_named(run: Run, folder: Path, backup: str) -> None:
    emptied(folder)
    result = run(token_restore, content=backup, accounts=["alice", "carol"])
    assert actions(result) == {"alice": "restored", "bob": "left_out", "carol": "missing"}
    assert all(bool(account["message"]) != (account["action"] == "restored") for account in result["accounts"])
    assert not (folder / "bob.json").exists()


def test_newer_tokens_stay_unless_forced(run: Run, folder: Path, backup: str) -> None:
    newer = Record(name="alice", state="valid", access_token="planted-newer", issued_at=2000.0, expires_at=4e9)
    replaced(folder, newer)
    assert actions(run(token_restore, content=backup, accounts=["alice"]))["alice"] == "kept"
    assert stored(folder, "alice") == newer
    assert actions(run(token_restore, content=backup, accounts=["alice"], force=True))["alice"] == "restored"
    assert stored(folder, "alice").access_token == "planted-access"
    assert not run(token_restore, content=backup, accounts=["alice"], force=True)["changed"]


def test_a_record_that_lost_its_tokens_gets_them_back_and_keeps_its_guards(run: Run, folder: Path, backup: str) -> None:
    replaced(
        folder,
        Record(
            name="alice",
            state="quarantined",
            code_step=7,
            submissions=(START,),
            rejected_login="e" * 32,
            rejected_token=ALICE.token_fingerprint,
        ),
    )
    run(token_restore, content=backup, accounts=["alice"])
    record = stored(folder, "alice")
    assert record.access_token == "planted-access"
    assert record.submissions == (900.0, START)
    assert (record.rejected_login, record.code_step, record.rejected) == ("e" * 32, 7, True)


def test_a_store_that_was_made_anew_is_not_trusted_to_know_the_account(run: Run, folder: Path, backup: str) -> None:
    emptied(folder)
    with Store(str(folder), me()) as store:
        salt = store.salt()
    result = run(token_restore, content=backup, accounts=["alice", "bob"])
    assert actions(result) == {"alice": "kept", "bob": "kept"}
    assert actions(run(token_restore, content=backup, accounts=["alice", "bob"], force=True)) == {
        "alice": "restored",
        "bob": "restored",
    }
    with Store(str(folder), me()) as store:
        assert store.existing_salt() == salt
    bob = stored(folder, "bob")
    assert (bob.rejected_login, bob.salt) == ("f" * 32, json.loads(backup)["salt"])


def test_a_refresh_token_of_a_backup_that_may_be_spent_is_not_sent_again(run: Run, folder: Path, backup: str) -> None:
    replaced(folder, Record(name="alice", state="valid", access_token="planted-n", refresh_token="planted-newer"))
    run(token_restore, content=backup, accounts=["alice"], force=True)
    grant = stored(folder, "alice").grant
    assert grant is not None
    assert (grant.token, grant.fate) == (ALICE.refresh_token, "maybe_spent")


def test_a_damaged_record_is_named_and_can_be_brought_back(run: Run, folder: Path, backup: str) -> None:
    (folder / "alice.json").write_text('{"version": 1, "na')
    assert run(token_backup)["unreadable"] == ["alice"]
    assert actions(run(token_restore, content=backup, accounts=["alice", "bob"])) == {
        "alice": "restored",
        "bob": "unchanged",
    }
    assert (folder / "alice.json.damaged").exists()


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "planted",
        "[]",
        "null",
        '{"version": 2, "salt": null, "records": {}}',
        '{"version": 1, "salt": "planted", "records": {}}',
        '{"version": 1, "salt": "00", "records": {}}',
        '{"version": 1, "salt": null, "records": {"alice": {"version": 1, "name": "bob"}}}',
        '{"version": 1, "salt": null, "records": {"../alice": {"version": 1, "name": "../alice"}}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_backup_is_refused_and_changes_nothing(run: Run, folder: Path, content: str | None) -> None:
    result = run(token_restore, content=content, accounts=["alice", "../alice"])
    assert result["failed"]
    assert stored(folder, "alice") == ALICE


def test_a_store_of_somebody_else_is_refused(run: Run, folder: Path, backup: str) -> None:
    folder.chmod(0o777)
    for result in (run(token_backup), run(token_restore, content=backup, accounts=["alice"])):
        assert "does not belong to" in result["msg"]
