# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node is upgraded and goes back: no account loses its token, its state or its budget, in either direction.

``fixtures/first_release`` is what the library of the first release wrote, with accounts in every state; the program
first_release_store.py made it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import first_release
import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import LastError, Record, State
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from identity_fake import me

FIXTURE = Path(__file__).parent / "fixtures/first_release"
PROGRAM = first_release.ROOT / "tests/unit/support/first_release_store.py"
# Shortly after the last thing that happened in the store.
NOW = 1_800_583_800.0
# What each account is, and whether its lane may run.
MEANING = {
    "before-it": ("valid", True),
    "by-hand": ("valid", True),
    "by-hand-ended": ("needs_operator", False),
    "by-hand-opaque": ("valid", True),
    "captcha": ("needs_operator", False),
    "in-the-queue": ("waiting", False),
    "logged-in": ("valid", True),
    "lost-answer": ("waiting", False),
    "mid-login": ("new", False),
    "mid-refresh": ("valid", True),
    "new-rejected": ("quarantined", False),
    "outage": ("waiting", True),
    "over-budget": ("waiting", False),
    "refresh-only": ("valid", True),
    "refresh-refused": ("needs_operator", False),
    "refreshed": ("valid", True),
    "turned-away": ("waiting", False),
    "with-codes": ("valid", True),
    "wrong-password": ("quarantined", False),
}


def written(folder: Path, account: str) -> dict[str, Any]:
    """Return what stands in the file of an account."""
    document: dict[str, Any] = json.loads((folder / f"{account}.json").read_text())
    return document


def as_written(record: Record, keys: set[str]) -> dict[str, Any]:
    """Return some of the values of a record in the form of the first release's files."""

    def plain(value: Any) -> Any:
        if isinstance(value, LastError):
            return {"class": value.error_class, "sentence": value.sentence, "cure": value.cure, "at": value.at}
        return list(value) if isinstance(value, tuple) else value

    return {key: plain(getattr(record, key)) for key in keys}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The store of the first release, as it lies on a node."""
    shutil.copytree(FIXTURE, tmp_path / "tokens")
    (tmp_path / "tokens").chmod(0o700)
    return tmp_path / "tokens"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with Store(str(folder), me()) as opened:
        yield opened


def loaded(store: Store, account: str) -> Record:
    record = store.load(account)
    assert record is not None
    return record


def test_the_store_has_every_state(store: Store) -> None:
    assert store.names() == sorted(MEANING)
    assert {state for state, _usable in MEANING.values()} == set(get_args(State))


@pytest.mark.parametrize("account", MEANING)
def test_every_account_means_what_it_meant(store: Store, account: str) -> None:
    record = loaded(store, account)
    assert (record.state, record.usable(NOW)) == MEANING[account]
    before = written(FIXTURE, account)
    del before["version"]
    assert as_written(record, set(before)) == before


@pytest.mark.parametrize("account", MEANING)
def test_what_is_saved_again_still_says_all_that_it_said(store: Store, folder: Path, account: str) -> None:
    store.save(loaded(store, account))
    before, after = written(FIXTURE, account), written(folder, account)
    assert {key: after[key] for key in before} == before


def test_the_fingerprints_and_what_the_accounts_share_stay(store: Store) -> None:
    assert store.existing_salt() == bytes(range(32))
    node = store.node()
    assert node.queue == (("in-the-queue", node.next_login_at),)
    assert [account for account, _at in node.login.turned_away] == ["captcha"]
    assert node.refresh.open_until is not None
    assert node.refresh.open_until > NOW


# ---- with the first release itself ----


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first release, checked out."""
    place = tmp_path_factory.mktemp("first") / "release"
    first_release.check_out(place)
    return place


def of_the_first_release(release: Path, verb: str, folder: Path) -> str:
    """Let the first release's library write a store, or tell what it reads in one."""
    folders = (release / "collections", release / "tests/unit/support")
    done = subprocess.run(
        [sys.executable, "-P", str(PROGRAM), verb, str(folder)],
        env={"PYTHONPATH": ":".join(map(str, folders))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_store_is_what_the_first_release_writes(release: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    of_the_first_release(release, "write", tmp_path)
    files = {file.name for file in FIXTURE.iterdir()}
    assert files == {file.name for file in tmp_path.iterdir() if file.suffix != ".lock"}
    assert {name: (tmp_path / name).read_text() for name in files} == {
        name: (FIXTURE / name).read_text() for name in files
    }


@pytest.mark.slow
def test_the_first_release_reads_all_that_the_present_one_saved_again(
    release: Path, store: Store, folder: Path
) -> None:
    before = json.loads(of_the_first_release(release, "read", folder))
    assert sorted(before["records"]) == sorted(MEANING)
    for account in store.names():
        store.save(loaded(store, account))
    store.change_node(lambda node: replace(node, next_login_at=node.next_login_at + 1))
    before["node"]["next_login_at"] += 1
    assert json.loads(of_the_first_release(release, "read", folder)) == before


@pytest.mark.slow
def test_the_first_release_goes_on_with_tokens_states_and_budgets_of_the_present_one(
    release: Path, store: Store, folder: Path
) -> None:
    changes: dict[str, Any] = {
        "access_token": "planted-access-of-the-present",
        "refresh_token": "planted-refresh-of-the-present",
        "expires_at": NOW + 3600,
        "not_before": NOW + 60,
        "submissions": (NOW - 2000, NOW - 1000),
        "code_step": 60_000_001,
        "refresh_sent_at": NOW - 1,
    }
    for account, state in zip(sorted(MEANING), get_args(State) * 4, strict=False):
        store.save(replace(loaded(store, account), state=state, **changes))
    after = json.loads(of_the_first_release(release, "read", folder))["records"]
    assert {account: record["state"] for account, record in after.items()} == dict(
        zip(sorted(MEANING), get_args(State) * 4, strict=False)
    )
    expected = {**changes, "submissions": list(changes["submissions"])}
    assert all({key: record[key] for key in changes} == expected for record in after.values())
