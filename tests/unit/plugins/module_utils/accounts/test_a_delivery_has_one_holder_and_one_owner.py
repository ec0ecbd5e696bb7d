# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever lays a token down holds the account's delivery; root is the store's owner there, in every thread."""

from __future__ import annotations

import os
import pwd
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import StoreError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import Record
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from identity_fake import me

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def test_a_delivery_has_one_holder_and_keeps_no_other_account_waiting(folder: Path) -> None:
    with Store(str(folder), me()) as store, Store(str(folder), me()) as other, store.delivery("alice", 1):
        with pytest.raises(StoreError, match=r"alice\.delivery"), other.delivery("alice", 0.05):
            pass
        with other.delivery("bob", 0.05):
            pass


def test_an_account_is_renewed_while_its_token_is_delivered(folder: Path) -> None:
    with Store(str(folder), me()) as store, store.delivery("alice", 1), store.lock("alice", 0.05):
        store.save(Record(name="alice"))


def test_nothing_of_a_delivery_is_left_of_a_forgotten_account(folder: Path) -> None:
    with Store(str(folder), me()) as store:
        store.save(Record(name="alice"))
        with store.delivery("alice", 1):
            pass
        assert store.names() == ["alice"]
        with store.lock("alice", 1):
            store.remove("alice")
    assert list(folder.iterdir()) == []


@needs_root
def test_a_delivery_planted_by_the_service_makes_root_create_nothing(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    target = folder.parent / "made-by-root"
    (folder / "alice.delivery").symlink_to(target)
    with Store(str(folder), "nobody") as store, pytest.raises(StoreError), store.delivery("alice", 0.05):
        pass
    assert not target.exists()


@needs_root
def test_threads_of_root_write_as_the_owner_of_the_store(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    folder.parent.chmod(0o755)

    def work(number: int) -> None:
        for _ignored in range(20):
            with store.delivery(f"account-{number}", 5):
                store.save(Record(name=f"account-{number}"))

    with Store(str(folder), "nobody") as store, ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    owners = {path.name: path.stat().st_uid for path in folder.iterdir()}
    assert owners == dict.fromkeys(owners, nobody.pw_uid)
    assert os.geteuid() == 0
