# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The token store: one JSON file and one lock per account, in a folder of the service user.

``NAME.json`` is a `record.Record` (0600), ``NAME.lock`` its flock, ``NAME.delivery`` the flock of whoever brings its
token to the lane, ``NAME.json.damaged`` the last file that could not be read. ``.salt`` keys the fingerprints of this
node, ``.node.json`` holds what the accounts share, ``.node.lock`` guards it and ``.login.lock`` lets one login run at a
time. No account's name begins with a dot.

The folder belongs to a service that may one day be taken over. A root process therefore never touches anything in it as
root: it becomes the folder's owner, opens names relative to the folder and follows no link.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from .credentials import NAME
from .errors import StoreError
from .policy import Breaker, NodeState
from .record import Record, finite

_POLL = 0.02
_LARGEST = 1 << 20

# A process has one identity for all its threads.
_identity = threading.RLock()


@contextlib.contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """Become another user for a while, if this process is root and that user is not; other threads wait meanwhile.

    Args:
        uid: the user.
        gid: the group; all supplementary groups are dropped.
    """
    with _identity:
        if os.geteuid() != 0 or uid == 0:
            yield
            return
        groups, own_gid = os.getgroups(), os.getegid()
        try:
            os.setgroups([])
            os.setegid(gid)
            os.seteuid(uid)
            yield
        finally:
            os.seteuid(0)
            os.setegid(own_gid)
            os.setgroups(groups)


class Store:
    """The folder with the records of a node's accounts.

    Args:
        path: the folder.
        owner: name of the user that must own it.
        sleep: waits some seconds, between two tries for a lock.

    Raises:
        StoreError: the folder is missing, a link, someone else's, or others may write in it.
    """

    def __init__(self, path: str, owner: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.path = path
        self._sleep = sleep
        try:
            user = pwd.getpwnam(owner)
        except KeyError:
            raise StoreError(
                f"There is no user {owner} to own the token store.", cure="Run the role node first."
            ) from None
        try:
            self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise _failed(f"The token store {path} cannot be opened", error) from None
        status = os.fstat(self._folder)
        if status.st_uid != user.pw_uid or status.st_mode & 0o022:
            os.close(self._folder)
            raise StoreError(
                f"The token store {path} does not belong to {owner} alone.",
                cure=f"Make {owner} its owner and give it mode 0700.",
            )
        self._uid, self._gid = user.pw_uid, user.pw_gid

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._folder)

    def __enter__(self) -> Store:
        """Return the store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let go of the folder."""
        self.close()

    def names(self) -> list[str]:
        """Return the names of all accounts that have a record, sorted.

        Raises:
            StoreError: the folder cannot be listed.
        """
        try:
            with self._owner():
                entries = os.listdir(self._folder)  # noqa: PTH208 - pathlib knows no open folder
        except OSError as error:
            raise _failed(f"The token store {self.path} cannot be listed", error) from None
        return sorted(
            entry.removesuffix(".json")
            for entry in entries
            if entry.endswith(".json") and NAME.fullmatch(entry.removesuffix(".json"))
        )

    @contextlib.contextmanager
    def lock(self, name: str, timeout: float) -> Iterator[None]:
        """Hold an account; everything that decides on it or changes it happens inside.

        Args:
            name: the account.
            timeout: seconds to wait for another holder.

        Raises:
            StoreError: another process held it all that time, or the lock cannot be opened.
        """
        with self._flock(f"{_checked(name)}.lock", timeout):
            yield

    @contextlib.contextmanager
    def delivery(self, name: str, timeout: float) -> Iterator[None]:
        """Hold an account's delivery; whoever lays a token down for its lane reads the record inside.

        Taken outside an account's lock, never the other way round.

        Args:
            name: the account.
            timeout: seconds to wait for another holder.

        Raises:
            StoreError: see `lock`.
        """
        with self._flock(f"{_checked(name)}.delivery", timeout):
            yield

    @contextlib.contextmanager
    def login_lock(self, timeout: float) -> Iterator[None]:
        """Hold the node's one place for a login; taken inside an account's lock, never the other way round.

        Args:
            timeout: see `lock`.

        Raises:
            StoreError: see `lock`.
        """
        with self._flock(".login.lock", timeout):
            yield

    def load(self, name: str, *, repair: bool = False) -> Record | None:
        """Read an account's record.

        Args:
            name: the account.
            repair: put a file that cannot be understood aside; only under the account's lock.

        Returns:
            The record, or None if there is none or it cannot be understood.

        Raises:
            StoreError: the file cannot be read for another reason.
        """
        file = f"{_checked(name)}.json"
        try:
            text = self._read(file)
            return None if text is None else Record.from_json(name, json.loads(text))
        except (ValueError, RecursionError):
            if repair:
                with contextlib.suppress(OSError), self._owner():
                    os.rename(file, f"{file}.damaged", src_dir_fd=self._folder, dst_dir_fd=self._folder)
            return None

    def save(self, record: Record) -> None:
        """Replace an account's record; when this returns it is on the disk.

        Args:
            record: the new one.

        Raises:
            StoreError: it could not be written; the old one is whole.
        """
        self._write(f"{_checked(record.name)}.json", json.dumps(record.to_json(), indent=1) + "\n")

    def remove(self, name: str) -> None:
        """Forget an account: record, damaged record and locks; under its lock.

        Args:
            name: the account.

        Raises:
            StoreError: something of it cannot be removed.
        """
        try:
            with self._owner():
                files = (f"{_checked(name)}.json", f"{name}.json.damaged", f".{name}.json.tmp", f"{name}.delivery")
                for file in (*files, f"{name}.lock"):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(file, dir_fd=self._folder)
                os.fsync(self._folder)
        except OSError as error:
            raise _failed(f"The record of account {name} cannot be removed", error) from None

    def salt(self) -> bytes:
        """Return the node's salt, made at the first call.

        Raises:
            StoreError: it can be neither read nor made.
        """
        found = self.existing_salt()
        if found is None:
            with self._flock(".node.lock", 60.0):
                found = self.existing_salt()
                if found is None:
                    found = secrets.token_bytes(32)
                    self._write(".salt", found.hex() + "\n")
        return found

    def existing_salt(self) -> bytes | None:
        """Return the node's salt, or None before it was made.

        Raises:
            StoreError: it cannot be read.
        """
        try:
            salt = bytes.fromhex(self._read(".salt") or "")
        except ValueError:
            salt = b""
        return salt if len(salt) == 32 else None

    def adopt_salt(self, salt: bytes) -> bytes:
        """Take over the salt of a backup, unless the store has one already.

        Args:
            salt: 32 bytes.

        Returns:
            The salt that the store has now.

        Raises:
            StoreError: it can be neither read nor written.
        """
        with self._flock(".node.lock", 60.0):
            found = self.existing_salt()
            if found is None:
                found = salt
                self._write(".salt", found.hex() + "\n")
        return found

    def node(self) -> NodeState:
        """Read what the accounts share; an unreadable file counts as none.

        Raises:
            StoreError: the file cannot be opened.
        """
        try:
            text = self._read(".node.json")
            return NodeState() if text is None else _node_from_json(json.loads(text))
        except (ValueError, KeyError, TypeError, RecursionError):
            return NodeState()

    def change_node(self, change: Callable[[NodeState], NodeState]) -> NodeState:
        """Change what the accounts share, alone.

        Args:
            change: gets the present state and returns the new one.

        Returns:
            The new state.

        Raises:
            StoreError: it cannot be locked, read or written.
        """
        with self._flock(".node.lock", 60.0):
            before = self.node()
            after = change(before)
            if after != before:
                self._write(".node.json", json.dumps(_node_to_json(after), indent=1) + "\n")
            return after

    def _owner(self) -> contextlib.AbstractContextManager[None]:
        return acting_as(self._uid, self._gid)

    def _open(self, file: str, flags: int) -> int:
        # O_NONBLOCK: a planted FIFO must not hold the caller up.
        with self._owner():
            descriptor = os.open(
                file, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode=0o600, dir_fd=self._folder
            )
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ValueError("not a regular file")
        return descriptor

    def _read(self, file: str) -> str | None:
        try:
            descriptor = self._open(file, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            if stat.S_ISLNK(self._mode(file)):
                raise ValueError("a link") from None
            raise _failed(f"{self.path}/{file} cannot be read", error) from None
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ValueError("too large")
        return data.decode("utf-8")

    def _mode(self, file: str) -> int:
        try:
            with self._owner():
                return os.stat(file, dir_fd=self._folder, follow_symlinks=False).st_mode
        except OSError:
            return 0

    def _write(self, file: str, text: str) -> None:
        temporary = f".{file.removeprefix('.')}.tmp"
        try:
            with self._owner():
                try:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=self._folder)
                    descriptor = self._open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                    with os.fdopen(descriptor, "wb") as stream:
                        stream.write(text.encode())
                        stream.flush()
                        os.fsync(stream.fileno())
                    os.rename(temporary, file, src_dir_fd=self._folder, dst_dir_fd=self._folder)
                    os.fsync(self._folder)
                except OSError:
                    with contextlib.suppress(OSError):
                        os.unlink(temporary, dir_fd=self._folder)
                    raise
        except OSError as error:
            raise _failed(f"{self.path}/{file} cannot be written", error) from None

    @contextlib.contextmanager
    def _flock(self, file: str, timeout: float) -> Iterator[None]:
        waited = 0.0
        while True:
            descriptor = self._open_lock(file)
            try:
                while not _try_lock(descriptor):
                    if waited >= timeout:
                        raise StoreError(
                            f"Another process has held {file} of the token store for {timeout:.0f} s.",
                            cure="Try again later; if it stays so, restart dcta-agent.",
                        )
                    self._sleep(_POLL)
                    waited += _POLL
                if self._is_current(file, descriptor):
                    yield
                    return
            finally:
                os.close(descriptor)

    def _open_lock(self, file: str) -> int:
        try:
            return self._open(file, os.O_RDWR | os.O_CREAT)
        except ValueError:
            raise StoreError(
                f"{self.path}/{file} is not a regular file.", cure="Remove it and look who made it."
            ) from None
        except OSError as error:
            raise _failed(f"{self.path}/{file} cannot be locked", error) from None

    def _is_current(self, file: str, descriptor: int) -> bool:
        # The holder before may have removed the account with its lock: then this lock guards nothing.
        try:
            with self._owner():
                status = os.stat(file, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(status, os.fstat(descriptor))


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise StoreError(
            "An account's name cannot be a file name.",
            cure="A name is a lower-case letter followed by at most 19 lower-case letters, digits or hyphens.",
        )
    return name


def _failed(what: str, error: OSError) -> StoreError:
    return StoreError(f"{what}: {os.strerror(error.errno or 0)}.")


def _breaker_to_json(breaker: Breaker) -> dict[str, Any]:
    return {
        "turned_away": [list(item) for item in breaker.turned_away],
        "open_until": breaker.open_until,
        "pause": breaker.pause,
    }


def _breaker_from_json(document: dict[str, Any]) -> Breaker:
    until = document["open_until"]
    return Breaker(
        turned_away=tuple((str(name), finite(at)) for name, at in document["turned_away"]),
        open_until=None if until is None else finite(until),
        pause=finite(document["pause"]),
    )


def _node_to_json(node: NodeState) -> dict[str, Any]:
    return {
        "version": 1,
        "next_login_at": node.next_login_at,
        "breakers": {"login": _breaker_to_json(node.login), "refresh": _breaker_to_json(node.refresh)},
        "queue": [list(item) for item in node.queue],
    }


def _node_from_json(document: dict[str, Any]) -> NodeState:
    return NodeState(
        next_login_at=finite(document["next_login_at"]),
        login=_breaker_from_json(document["breakers"]["login"]),
        refresh=_breaker_from_json(document["breakers"]["refresh"]),
        queue=tuple((str(name), finite(at)) for name, at in document.get("queue", [])),
    )
