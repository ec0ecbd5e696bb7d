# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The token store of a node as one text that can be kept elsewhere and brought back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .accounts.errors import ConfigurationError
from .accounts.record import NewerFormat, Record
from .accounts.store import Store

VERSION = 1
"""Version of the text's form."""

SALT_BYTES = 32

LOCK_TIMEOUT = 120.0
"""Seconds to wait for a renewal that is under way."""

Action = Literal["restored", "unchanged", "kept", "missing", "left_out"]


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What became of one account; ``message`` is empty where there is nothing to say."""

    name: str
    action: Action
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Backup:
    """The content of a store.

    Attributes:
        salt: what its fingerprints are keyed with; None before it was made.
        records: the accounts' records.
    """

    salt: bytes | None = field(repr=False)
    records: tuple[Record, ...]

    def to_json(self) -> str:
        """Return the text to keep. It holds tokens."""
        document = {
            "version": VERSION,
            "salt": self.salt.hex() if self.salt else None,
            "records": {record.name: record.to_json() for record in self.records},
        }
        return json.dumps(document, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Backup:
        """Read a text that `to_json` made.

        Args:
            text: the text.

        Raises:
            ConfigurationError: it is none, or of a later version.
        """
        try:
            document = json.loads(text)
            return cls(
                salt=_salt(document),
                records=tuple(Record.from_json(name, record) for name, record in sorted(document["records"].items())),
            )
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, NewerFormat):
            raise ConfigurationError(
                "The backup is not one that this collection can read.",
                cure="Name another one, or update the collection.",
            ) from None


def _salt(document: dict[str, Any]) -> bytes | None:
    if document["version"] != VERSION:
        raise ValueError("another version")
    salt = None if document["salt"] is None else bytes.fromhex(document["salt"])
    if salt is not None and len(salt) != SALT_BYTES:
        raise ValueError("no salt")
    return salt


def read(store: Store) -> tuple[Backup, list[str]]:
    """Read everything that a restore would need.

    Args:
        store: the store; nothing in it is changed.

    Returns:
        Its content, and the accounts whose record is damaged.

    Raises:
        StoreError: it cannot be read.
    """
    found = {name: store.load(name) for name in store.names()}
    records = tuple(record for record in found.values() if record is not None)
    return Backup(salt=store.existing_salt(), records=records), [name for name in found if found[name] is None]


def merged(now: Backup, before: Backup, unreadable: Iterable[str]) -> Backup:
    """Return what to keep: the store of now, and from the last backup what the store cannot read any more.

    Args:
        now: the store's content.
        before: the last backup.
        unreadable: accounts whose record on the node is damaged.
    """
    lost = set(unreadable) if before.salt == now.salt else set()
    saved = [record for record in before.records if record.name in lost]
    return replace(now, records=tuple(sorted((*now.records, *saved), key=lambda record: record.name)))


def restore(
    store: Store | None, backup: Backup, accounts: Iterable[str], *, force: bool = False, dry: bool = False
) -> list[Restored]:
    """Bring accounts back, each under its lock; a record that is newer than the backup's stays.

    Args:
        store: the store; None for one that does not exist yet, in a dry run.
        backup: what was kept.
        accounts: the accounts that the node owns; others are left out.
        force: bring the backup's tokens back over newer ones too, and those of a store with another salt.
        dry: only tell.

    Returns:
        One entry for each of ``accounts`` and for each account of the backup.

    Raises:
        StoreError: the store cannot be used.
    """
    owned = set(accounts)
    kept = {record.name: record for record in backup.records}
    done = []
    verifiable = store is None or _same_salt(store, backup.salt, dry=dry)
    for name in sorted(owned | set(kept)):
        if name not in owned:
            done.append(Restored(name=name, action="left_out", message="The account does not belong to this node."))
        elif name not in kept:
            done.append(Restored(name=name, action="missing", message="The backup does not know the account."))
        elif store is None:
            done.append(Restored(name=name, action="restored"))
        elif dry:
            done.append(_decision(store.load(name), kept[name], verifiable=verifiable, force=force))
        else:
            with store.lock(name, LOCK_TIMEOUT):
                present = store.load(name, repair=True)
                decision = _decision(present, kept[name], verifiable=verifiable, force=force)
                if decision.action == "restored":
                    store.save(_adopted(kept[name], present, None if verifiable else backup.salt))
            done.append(decision)
    return done


def _same_salt(store: Store, salt: bytes | None, *, dry: bool) -> bool:
    present = store.existing_salt()
    if present is None and salt is not None and not dry:
        return store.adopt_salt(salt) == salt
    return present is None or present == salt


def _decision(present: Record | None, kept: Record, *, verifiable: bool, force: bool) -> Restored:
    name = kept.name
    if present is not None and _tokens(present) == _tokens(kept):
        return Restored(name=name, action="unchanged")
    if not force and present is not None and (present.issued_at or 0.0) >= (kept.issued_at or 0.0):
        return Restored(name=name, action="kept", message="The node's own tokens are newer than the backup's.")
    if not force and not verifiable:
        return Restored(
            name=name,
            action="kept",
            message="The node's store was made anew since, so nobody can tell whether it is still the same account.",
        )
    return Restored(name=name, action="restored")


def _tokens(record: Record) -> tuple[Any, ...]:
    return (record.access_token, record.refresh_token)


def _adopted(kept: Record, present: Record | None, salt: bytes | None) -> Record:
    """Return the record to store: the backup's tokens, and of the present one what guards the account.

    Args:
        kept: of the backup.
        present: of the store, if it has one.
        salt: with what the backup's fingerprints were made, where the store has another one.
    """
    if kept.salt is None and salt is not None:
        # It says with which salt its fingerprints were made, so the next renewal can tell what they mean.
        kept = replace(kept, salt=salt.hex())
    if present is None:
        return kept
    rejected = present.rejected_token == kept.token_fingerprint
    steps = [step for step in (kept.code_step, present.code_step) if step is not None]
    grant = kept.grant
    if grant is not None and present.refresh_token == grant.token:
        kept = kept.with_grant(present.grant)
    elif grant is not None and present.refresh_token is not None:
        # The node has renewed since, so the backup's refresh token was spent for all that anybody knows.
        kept = kept.with_grant(grant.sending(kept.issued_at or 0.0))
    return replace(
        kept,
        # A restore must not open the budget of password submissions anew.
        submissions=tuple(sorted({*kept.submissions, *present.submissions})),
        code_step=max(steps, default=None),
        rejected_login=(present.rejected_login if present.salt == kept.salt else None) or kept.rejected_login,
        rejected_token=kept.token_fingerprint if rejected else kept.rejected_token,
    )
