# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store on a hostile day: links, pipes, foreign owners, half-written files, a full disk."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.breaker import Breaker
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import StoreError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.node_state import NodeState
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.private_folder import acting_as
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import LastError, Record
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from identity_fake import World, me

FULL = Record(
    name="alice",
    state="waiting",
    access_token="planted-access",
    refresh_token="planted-refresh",
    issued_at=1.0,
    expires_at=2.5,
    not_before=3.0,
    failures=4,
    error=LastError(error_class="provider_error", sentence="s", cure="c", at=5.0),
    submissions=(6.0, 7.0),
    code_step=8,
    refresh_sent_at=9.0,
    rejected_token="r",
    rejections=(10.0,),
    escalation=1,
    rejected_login="l",
    entry="e",
    identity="i",
    supplied_access="a",
    supplied_refresh="b",
    salt="00" * 32,
    settings="s",
    proxy="socks5h://planted-proxy.example.test:1080",
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    tmp_path.chmod(0o700)
    with Store(str(tmp_path), me()) as opened:
        yield opened


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[tuple[Store, Path]]:
    """A store of another user, opened by root, as the Ansible module does."""
    folder = tmp_path / "tokens"
    folder.mkdir(mode=0o700)
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    for parent in (tmp_path, *tmp_path.parents[:-1]):
        if parent.owner() == me() and parent != Path("/tmp"):  # noqa: S108 - the system's folder keeps its mode
            parent.chmod(0o755)
    with Store(str(folder), "nobody") as opened:
        yield opened, folder


def test_a_record_comes_back_as_it_was_saved(store: Store, tmp_path: Path) -> None:
    store.save(FULL)
    assert store.load("alice") == FULL
    assert (tmp_path / "alice.json").stat().st_mode & 0o777 == 0o600
    assert store.names() == ["alice"]


def test_an_older_library_reads_the_file_of_a_newer_one(store: Store, tmp_path: Path) -> None:
    store.save(FULL)
    file = tmp_path / "alice.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "of_tomorrow": 1}))
    assert store.load("alice") == FULL


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"version": 1, "name": "bob"}',
        b'{"version": "1", "name": "alice"}',
        b'{"name": "alice"}',
        b" " * ((1 << 20) + 1),
    ],
)
def test_a_file_that_cannot_be_understood_is_no_record_and_is_kept_aside(
    store: Store, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "alice.json").write_bytes(content)
    assert store.load("alice") is None
    assert (tmp_path / "alice.json").exists()
    assert store.load("alice", repair=True) is None
    assert not (tmp_path / "alice.json").exists()
    assert (tmp_path / "alice.json.damaged").read_bytes() == content


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        ({"state": "splendid"}, {"state": "new"}),
        ({"state": ["valid"]}, {"state": "new"}),
        ({"expires_at": "soon"}, {"expires_at": None}),
        ({"expires_at": float("nan")}, {"expires_at": None}),
        ({"issued_at": True}, {"issued_at": None}),
        ({"access_token": 5}, {"access_token": None}),
        ({"access_token": ""}, {"access_token": None}),
        ({"refresh_token": "\ud800"}, {"refresh_token": None}),
        ({"submissions": [True, 7.0, "x"]}, {"submissions": (7.0,)}),
        ({"failures": 1.5}, {"failures": 0}),
        ({"code_step": 10**400}, {"code_step": None}),
        ({"error": "x"}, {"error": None}),
        ({"error": {}}, {"error": None}),
    ],
)
def test_one_damaged_value_costs_nothing_but_itself(
    store: Store, tmp_path: Path, damage: dict[str, object], left: dict[str, object]
) -> None:
    store.save(FULL)
    file = tmp_path / "alice.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **damage}))
    assert store.load("alice") == replace(FULL, **left)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [1.8e12, 1e300, float("inf"), -float("inf"), 10**400, 1e11, float("nan")])
def test_what_is_saved_can_be_loaded_whatever_a_provider_or_a_clock_says(store: Store, value: float) -> None:
    absurd = replace(FULL, expires_at=value, issued_at=value, not_before=value, submissions=(6.0, value))
    saved = store.save(absurd)
    loaded = store.load("alice")
    assert loaded == saved
    assert loaded is not None
    assert (loaded.access_token, loaded.refresh_token) == (FULL.access_token, FULL.refresh_token)
    assert loaded.submissions[0] == 6.0


def test_the_record_of_a_later_version_is_left_alone_and_named(world: World) -> None:
    world.renew()
    file = world.folder / "alice.json"
    content = json.dumps({**json.loads(file.read_text()), "version": 2})
    file.write_text(content)
    outcome = world.renew()
    assert outcome.error_class == "store_error"
    assert "later version" in outcome.message
    assert file.read_text() == content
    assert world.provider.logins == 1


NAMES = ("node", "login", "salt", "alice", "alice-a", "tmp", "json", "lock", "delivery", "damaged", "room")


def test_no_name_of_an_account_meets_another_file_of_the_store(store: Store, tmp_path: Path) -> None:
    store.salt()
    store.change_node(lambda _state: NodeState(next_login_at=1.0))
    with store.login_lock(1):
        own = {item.name for item in tmp_path.iterdir()}
    used: dict[str, set[str]] = {}
    for name in NAMES:
        before = {item.name for item in tmp_path.iterdir()}
        with store.lock(name, 1), store.delivery(name, 1):
            store.reserve(name)
            store.save(Record(name=name))
        (tmp_path / f".{name}.json.tmp").touch()
        used[name] = {item.name for item in tmp_path.iterdir()} - before
    assert all(len(files) == 5 for files in used.values())
    for name in NAMES:
        store.remove(name)
    assert {item.name for item in tmp_path.iterdir()} == own


@pytest.mark.parametrize("name", NAMES)
def test_accounts_and_the_node_are_saved_side_by_side(store: Store, name: str) -> None:
    failures: list[BaseException] = []

    def repeat(work: Callable[[int], object]) -> None:
        try:
            for number in range(100):
                work(number)
        except StoreError as error:
            failures.append(error)

    works: list[Callable[[int], object]] = [
        lambda number: store.save(Record(name=name, failures=number)),
        lambda number: store.change_node(lambda _state: NodeState(next_login_at=float(number))),
    ]
    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert store.load(name) == Record(name=name, failures=99)


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
def test_on_a_full_disk_the_old_record_stays_whole(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store.save(FULL)

    def full(*_args: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    if step == "write":
        real = os.open

        def open_full(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            return (
                real("/dev/full", os.O_WRONLY) if str(path).endswith(".tmp") else real(path, flags, mode, dir_fd=dir_fd)
            )

        monkeypatch.setattr(os, "open", open_full)
        monkeypatch.setattr("stat.S_ISREG", lambda _mode: True)
    else:
        monkeypatch.setattr(os, step, full)
    with pytest.raises(StoreError, match="No space left on device"):
        store.save(Record(name="alice"))
    monkeypatch.undo()
    assert store.load("alice") == FULL
    assert not (tmp_path / ".alice.json.tmp").exists()


def test_a_full_disk_is_noticed_before_a_refresh_token_is_spent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.renew()
    world.past_point()

    def full(*_args: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "rename", full)
    outcome = world.renew()
    assert (outcome.error_class, outcome.usable, outcome.action) == ("store_error", True, "none")
    assert world.provider.refreshes == 0
    monkeypatch.undo()
    assert world.renew().action == "refresh"


@pytest.mark.parametrize("name", ["", "../alice", "Alice", "a/b", ".node", "a" * 21])
def test_a_name_that_is_none_never_becomes_a_path(store: Store, name: str) -> None:
    with pytest.raises(StoreError):
        store.load(name)


def test_a_store_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not belong"):
        Store(str(tmp_path), "daemon")


def test_a_store_that_others_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    with pytest.raises(StoreError, match="alone"):
        Store(str(tmp_path), me())


def test_a_store_that_is_missing_or_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for path in ("link", "missing"):
        with pytest.raises(StoreError, match="cannot be opened"):
            Store(str(tmp_path / path), me())


def test_an_owner_who_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no-such-user"):
        Store(str(tmp_path), "no-such-user")


def test_a_link_in_place_of_a_record_is_neither_read_nor_written_through(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text(json.dumps(FULL.to_json()))
    before = target.read_bytes()
    (tmp_path / "alice.json").symlink_to(target)
    (tmp_path / ".alice.json.tmp").symlink_to(target)
    assert store.load("alice") is None
    store.save(Record(name="alice"))
    assert target.read_bytes() == before
    assert not (tmp_path / "alice.json").is_symlink()
    assert store.load("alice") == Record(name="alice")


@pytest.mark.parametrize("repair", [False, True])
def test_a_pipe_in_place_of_a_record_holds_nobody_up(store: Store, tmp_path: Path, *, repair: bool) -> None:
    os.mkfifo(tmp_path / "alice.json")
    assert store.load("alice", repair=repair) is None


def test_a_link_in_place_of_a_lock_is_refused(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "made-by-root"
    (tmp_path / "alice.lock").symlink_to(target)
    with pytest.raises(StoreError, match=r"alice\.lock"), store.lock("alice", 1):
        pass
    assert not target.exists()


def test_a_planted_lock_troubles_its_account_only(world: World) -> None:
    (world.folder / "alice.lock").symlink_to("/etc/passwd")
    outcome = world.renew()
    assert (outcome.error_class, outcome.usable, outcome.changed) == ("store_error", False, False)


@needs_root
def test_root_makes_every_file_as_the_owner_of_the_store(foreign: tuple[Store, Path]) -> None:
    store, folder = foreign
    with store.lock("alice", 1), store.login_lock(1):
        store.save(FULL)
    store.salt()
    store.change_node(lambda state: NodeState(next_login_at=state.next_login_at + 1))
    files = {item.name: item.owner() for item in folder.iterdir()}
    assert set(files) == {"alice.json", "alice.lock", ".login.lock", ".salt", ".node.lock", ".node.json"}
    assert set(files.values()) == {"nobody"}
    assert (os.geteuid(), os.getegid()) == (0, 0)


@needs_root
@pytest.mark.parametrize("planted", ["alice.json", ".salt", ".node.json"])
def test_links_planted_by_the_service_show_root_nothing(
    foreign: tuple[Store, Path], tmp_path: Path, planted: str
) -> None:
    store, folder = foreign
    secret = tmp_path / "of-root"
    secret.write_text(json.dumps(FULL.to_json()))
    secret.chmod(0o600)
    (folder / planted).symlink_to(secret)
    assert store.load("alice") is None
    assert store.existing_salt() is None
    assert store.node() == NodeState()
    store.save(Record(name="alice"))
    store.salt()
    store.change_node(lambda _state: NodeState(next_login_at=1.0))
    assert secret.read_text() == json.dumps(FULL.to_json())
    assert not (folder / planted).is_symlink()


@needs_root
def test_a_hard_link_to_a_file_of_root_cannot_be_read(foreign: tuple[Store, Path], tmp_path: Path) -> None:
    store, folder = foreign
    secret = tmp_path / "of-root"
    secret.write_text(json.dumps(FULL.to_json()))
    secret.chmod(0o600)
    os.link(secret, folder / "alice.json")
    with pytest.raises(StoreError, match="Permission denied"):
        store.load("alice")


@needs_root
@pytest.mark.parametrize("planted", ["alice.lock", ".login.lock", ".node.lock"])
def test_locks_planted_by_the_service_make_root_create_nothing(
    foreign: tuple[Store, Path], tmp_path: Path, planted: str
) -> None:
    store, folder = foreign
    target = tmp_path / "made-by-root"
    (folder / planted).symlink_to(target)
    with pytest.raises(StoreError), store.lock("alice", 1), store.login_lock(1):
        store.change_node(lambda _state: NodeState(next_login_at=1.0))
    assert not target.exists()


@needs_root
def test_root_is_itself_again_after_an_error() -> None:
    nobody = pwd.getpwnam("nobody")
    groups = os.getgroups()
    seen: list[object] = []

    def act() -> None:
        with acting_as(nobody.pw_uid, nobody.pw_gid):
            seen.append((os.geteuid(), os.getegid(), os.getgroups()))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        act()
    assert seen == [(nobody.pw_uid, nobody.pw_gid, [])]
    assert (os.geteuid(), os.getgroups()) == (0, groups)


def test_a_lock_has_one_holder(store: Store) -> None:
    with store.lock("alice", 1):
        with pytest.raises(StoreError, match=r"alice\.lock"), store.lock("alice", 0.1):
            pass
        with store.lock("bob", 1):
            pass


def test_who_waited_for_the_lock_of_a_forgotten_account_gets_the_new_lock(tmp_path: Path) -> None:
    waits, entered = threading.Event(), threading.Event()

    def sleep(seconds: float) -> None:
        waits.set()
        time.sleep(seconds)

    tmp_path.chmod(0o700)
    with Store(str(tmp_path), me()) as mine, Store(str(tmp_path), me(), sleep=sleep) as other:

        def wait() -> None:
            with other.lock("alice", 10):
                entered.set()

        waiting = threading.Thread(target=wait)
        with contextlib.ExitStack() as old, contextlib.ExitStack() as new:
            old.enter_context(mine.lock("alice", 1))
            waiting.start()
            assert waits.wait(5)
            mine.remove("alice")
            new.enter_context(mine.lock("alice", 1))
            old.close()
            assert not entered.wait(0.3)
        waiting.join(10)
        assert entered.is_set()


def test_the_salt_stays_the_same(store: Store) -> None:
    salt = store.salt()
    assert len(salt) == 32
    assert store.salt() == salt


def test_what_the_accounts_share_comes_back(store: Store, tmp_path: Path) -> None:
    state = NodeState(
        next_login_at=1.5,
        login=Breaker(turned_away=(("alice", 2.0),), open_until=3.0, pause=4.0),
        refresh=Breaker(turned_away=(("bob", 5.0),)),
    )
    store.change_node(lambda _state: state)
    assert store.node() == state
    for content in ("", "[]", '{"next_login_at": NaN}', "[" * 100_000):
        (tmp_path / ".node.json").write_text(content)
        assert store.node() == NodeState()


def test_no_secret_shows_in_a_record(store: Store) -> None:
    assert "planted" not in repr(FULL)
    assert "planted" not in repr(store)
