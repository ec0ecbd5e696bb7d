# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The token store: one JSON file and two locks per account, in a folder of the service user.

========================  =====================================================================================
No account's name begins with a dot or holds one, and every other file's does.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType

from .errors import StoreError
from .node_paths import ACCOUNT_NAME
from .node_state import NodeState
from .private_folder import PrivateFolder, failed
from .record import SALT_BYTES, NewerFormat, Record, salt_of

ROOM = 1 << 16
"""Bytes set aside for the record that an answer of the provider will bring."""

_NODE_LOCK_SECONDS = 60.0


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
        self._folder = PrivateFolder(path, owner, what="token store", sleep=sleep)

    def close(self) -> None:
        """Let go of the folder."""
        self._folder.close()

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
        names = (entry.removesuffix(".json") for entry in self._folder.entries() if entry.endswith(".json"))
        return sorted(name for name in names if ACCOUNT_NAME.fullmatch(name))

    @contextlib.contextmanager
    def lock(self, name: str, timeout: float) -> Iterator[None]:
        """Hold an account; everything that decides on it or changes it happens inside.

        Args:
            name: the account.
            timeout: seconds to wait for another holder.

        Raises:
            StoreBusy: another process held it all that time.
            StoreError: the lock cannot be opened.
        """
        with self._folder.lock(f"{_checked(name)}.lock", timeout):
            yield

    @contextlib.contextmanager
    def delivery(self, name: str, timeout: float) -> Iterator[None]:
        """Hold the way of an account's token to its lane.

        Whoever reads the record and hands its token over inside of it never brings an older token than another one has
        brought before. Taken on its own, or outside of `lock`, never inside.

        Args:
            name: the account.
            timeout: see `lock`.

        Raises:
            StoreError: see `lock`.
        """
        with self._folder.lock(f"{_checked(name)}.delivery", timeout):
            yield

    @contextlib.contextmanager
    def login_lock(self, timeout: float) -> Iterator[None]:
        """Hold the node's one place for a login; taken inside an account's lock, never the other way round.

        Args:
            timeout: see `lock`.

        Raises:
            StoreError: see `lock`.
        """
        with self._folder.lock(".login.lock", timeout):
            yield

    def load(self, name: str, *, repair: bool = False) -> Record | None:
        """Read an account's record.

        Args:
            name: the account.
            repair: put a file that cannot be understood aside; only under the account's lock.

        Returns:
            The record, or None if there is none or it cannot be understood.

        Raises:
            StoreError: the file cannot be read for another reason, or a later version wrote it.
        """
        file = _file_of(name)
        try:
            text = self._folder.read(file)
            if text is None:
                return None
            document = json.loads(text)
            record = Record.from_json(name, document)
        except NewerFormat:
            raise StoreError(
                f"The record of account {name} was written by a later version of the collection.",
                cure="Install that version again, or restore a backup of this one.",
            ) from None
        except (ValueError, RecursionError):
            if repair:
                self._folder.rename(file, f"{file}.damaged")
            return None
        return record if "salt" in document else self._dated(record)

    def _dated(self, record: Record) -> Record:
        """Find out with which salt a record of the first release was keyed: its own is older than the record."""
        salt, written = self._folder.changed_at(".salt"), self._folder.changed_at(_file_of(record.name))
        known = self.existing_salt()
        if known is None or salt is None or written is None or written < salt:
            return record
        return replace(record, salt=known.hex())

    def is_damaged(self, name: str) -> bool:
        """Tell whether an account has a file that cannot be understood.

        Raises:
            StoreError: see `load`.
        """
        return self._folder.changed_at(_file_of(name)) is not None and self.load(name) is None

    def save(self, record: Record, *, reserved: bool = False) -> Record:
        """Replace an account's record; when this returns it is on the disk.

        Args:
            record: the new one.
            reserved: use the room that `reserve` has set aside.

        Returns:
            The record as `load` returns it: values that no file can hold are left out.

        Raises:
            StoreError: it could not be written; the old one is whole.
        """
        kept = Record.from_json(record.name, record.to_json())
        self._folder.write(_file_of(record.name), json.dumps(kept.to_json(), indent=1) + "\n", reserved=reserved)
        return kept

    def reserve(self, name: str) -> None:
        """Set room aside for what the provider is going to answer, so that a full disk shows before anything is sent.

        Args:
            name: the account.

        Raises:
            StoreError: there is no room.
        """
        self._folder.reserve(_file_of(name), ROOM)

    def release(self, name: str) -> None:
        """Give back what `reserve` has set aside."""
        self._folder.release(_file_of(name))

    def remove(self, name: str) -> None:
        """Forget an account: record, damaged record and locks; under its lock, and its delivery.

        Args:
            name: the account.

        Raises:
            StoreError: something of it cannot be removed.
        """
        file = _file_of(name)
        try:
            self._folder.remove(
                [file, f"{file}.damaged", f".{file}.tmp", f".{file}.room", f"{name}.delivery", f"{name}.lock"]
            )
        except OSError as error:
            raise failed(f"The record of account {name} cannot be removed", error) from None

    def salt(self) -> bytes:
        """Return the node's salt, made at the first call; a lost one comes back from any record.

        Raises:
            StoreError: it can be neither read nor made.
        """
        found = self.existing_salt()
        if found is None:
            found = self.adopt_salt(self._salt_of_records() or secrets.token_bytes(SALT_BYTES))
        return found

    def _salt_of_records(self) -> bytes | None:
        for name in self.names():
            with contextlib.suppress(StoreError):
                record = self.load(name)
                if record is not None and (salt := salt_of(record.salt)) is not None:
                    return salt
        return None

    def existing_salt(self) -> bytes | None:
        """Return the node's salt, or None before it was made.

        Raises:
            StoreError: it cannot be read.
        """
        try:
            return salt_of(self._folder.read(".salt"))
        except ValueError:
            return None

    def salt_for(self, record: Record | None) -> bytes:
        """Return the salt that `salt` would return if a record were all there is; empty before one was made.

        Args:
            record: the account's record, if it has one.

        Raises:
            StoreError: it cannot be read.
        """
        return self.existing_salt() or (record and salt_of(record.salt)) or b""

    def adopt_salt(self, salt: bytes) -> bytes:
        """Take over a salt, unless the store has one already.

        Args:
            salt: 32 bytes.

        Returns:
            The salt that the store has now.

        Raises:
            StoreError: it can be neither read nor written.
        """
        with self._folder.lock(".node.lock", _NODE_LOCK_SECONDS):
            found = self.existing_salt()
            if found is None:
                found = salt
                self._folder.write(".salt", found.hex() + "\n")
        return found

    def node(self) -> NodeState:
        """Read what the accounts share; an unreadable file counts as none.

        Raises:
            StoreError: the file cannot be opened.
        """
        try:
            text = self._folder.read(".node.json")
            return NodeState() if text is None else NodeState.from_json(json.loads(text))
        except (ValueError, RecursionError):
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
        with self._folder.lock(".node.lock", _NODE_LOCK_SECONDS):
            before = self.node()
            after = change(before)
            if after != before:
                self._folder.write(".node.json", json.dumps(after.to_json(), indent=1) + "\n")
            return after


def _file_of(name: str) -> str:
    return f"{_checked(name)}.json"


def _checked(name: str) -> str:
    if not ACCOUNT_NAME.fullmatch(name):
        raise StoreError(
            "An account's name cannot be a file name.",
            cure="A name is a lower-case letter followed by at most 19 lower-case letters, digits or hyphens.",
        )
    return name
