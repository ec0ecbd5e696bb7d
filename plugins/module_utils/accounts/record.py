# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the store keeps of one account.

States (``Record.state``):

========================  ============================================================================================
``new``                   nothing was tried yet, or the operator changed something and it has not been tried since
``valid``                 the last renewal succeeded, or a token was supplied by hand
``waiting``               the last attempt failed in a way that passes; the next one is due at ``not_before``
``quarantined``           rejected for good: nothing is tried until the credentials change or the operator lifts it
``needs_operator``        a person must act (captcha, consent, blocked, new token); a change of the entry lifts it
========================  ============================================================================================

The state tells whether the account may be renewed. Whether a lane may run is `Record.usable`: a token that is neither
expired nor rejected keeps serving while its renewal is in trouble.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from .credentials import token_fingerprint
from .grant import Grant
from .json_values import finite, integer, text

State = Literal["new", "valid", "waiting", "quarantined", "needs_operator"]

VERSION = 1
"""Version of the file format. Keys may be added: an older library leaves them alone."""

HALTED: frozenset[State] = frozenset({"quarantined", "needs_operator"})
"""States that end by somebody's word, not by time."""


class NewerFormat(Exception):
    """The file was written by a later version of this library, in a format that this one does not know."""


SALT_BYTES = 32


def salt_of(written: str | None) -> bytes | None:
    """Return the salt that was written down, or None for what is none."""
    try:
        salt = bytes.fromhex(written or "")
    except ValueError:
        return None
    return salt if len(salt) == SALT_BYTES else None


@dataclass(frozen=True, kw_only=True)
class LastError:
    """Why the account is not ``valid``; times in seconds since the epoch."""

    error_class: str
    sentence: str
    cure: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Record:
    """One account's file. Times are seconds since the epoch; no secret shows in a repr.

    Attributes:
        name: the account.
        state: see above.
        access_token: the token in use.
        refresh_token: for the next renewal.
        issued_at: when the access token was asked for or adopted.
        expires_at: when it runs out; None if nobody knows.
        not_before: no attempt before this time.
        waiting_since: when that was decided.
        failures: failed attempts since the last success.
        error: the last failure, until something succeeds.
        submissions: when the password was submitted, within the budget's longest period.
        code_step: time step of the one-time code that was sent last.
        refresh_sent_at: when the refresh token was first sent in an attempt that is still open; see `grant.Grant`.
        rejected_token: fingerprint of the access token that the service rejected, or that went with another e-mail.
        rejections: when 401s started a renewal.
        escalation: what the present token came from after a 401: 0 nothing, 1 a refresh, 2 a login.
        rejected_login: salted fingerprint of the e-mail, password and TOTP secret that were rejected for good.
        entry: salted fingerprint of the whole entry that was last seen.
        identity: salted fingerprint of its e-mail.
        supplied_access: fingerprint of the access token that was last adopted from the entry.
        supplied_refresh: fingerprint of the refresh token that was last adopted from the entry.
        salt: the node's salt, with which the salted fingerprints were made; it lies in the same folder anyway.
        settings: salted fingerprint of the provider's settings that were last used.
        proxy: by which the account last left, "" for directly; for a revocation when its credentials are gone.
    """

    name: str
    state: State = "new"
    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    issued_at: float | None = None
    expires_at: float | None = None
    not_before: float | None = None
    waiting_since: float | None = None
    failures: int = 0
    error: LastError | None = None
    submissions: tuple[float, ...] = ()
    code_step: int | None = None
    refresh_sent_at: float | None = None
    rejected_token: str | None = None
    rejections: tuple[float, ...] = ()
    escalation: int = 0
    rejected_login: str | None = None
    entry: str | None = None
    identity: str | None = None
    supplied_access: str | None = None
    supplied_refresh: str | None = None
    salt: str | None = field(default=None, repr=False)
    settings: str | None = None
    proxy: str | None = field(default=None, repr=False)

    @property
    def grant(self) -> Grant | None:
        """The refresh token and what may have become of it."""
        if self.refresh_token is None:
            return None
        return Grant(token=self.refresh_token, sent_at=self.refresh_sent_at)

    def with_grant(self, grant: Grant | None) -> Record:
        """Return the record with another grant, or with none."""
        return replace(
            self,
            refresh_token=None if grant is None else grant.token,
            refresh_sent_at=None if grant is None else grant.sent_at,
        )

    @property
    def token_fingerprint(self) -> str | None:
        """Fingerprint of the access token in use."""
        return token_fingerprint(self.access_token) if self.access_token else None

    @property
    def rejected(self) -> bool:
        """Whether the service rejected the access token in use."""
        return self.rejected_token is not None and self.rejected_token == self.token_fingerprint

    def usable(self, now: float) -> bool:
        """Tell whether a lane may run with the access token.

        Args:
            now: seconds since the epoch.
        """
        return (
            self.access_token is not None and not self.rejected and (self.expires_at is None or now < self.expires_at)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        document: dict[str, Any] = {"version": VERSION}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, LastError):
                value = {"class": value.error_class, "sentence": value.sentence, "cure": value.cure, "at": value.at}
            document[item.name] = list(value) if isinstance(value, tuple) else value
        return document

    @classmethod
    def from_json(cls, name: str, document: Any) -> Record:
        """Read a file's content.

        Args:
            name: the account that the file belongs to.
            document: the parsed JSON.

        Returns:
            The record. Unknown keys are left alone, so that an older library reads a newer file, and a value that
            cannot be used counts as not there: one damaged number must not cost a token.

        Raises:
            ValueError: it is not a record of this account.
            NewerFormat: it is one of a later format.
        """
        if not isinstance(document, dict) or document.get("name") != name:
            raise ValueError("not a record of this account")
        version = document.get("version")
        if isinstance(version, int) and version > VERSION:
            raise NewerFormat
        if version != VERSION:
            raise ValueError("not a format of ours")
        values: dict[str, Any] = {}
        for item in fields(cls):
            value = document.get(item.name)
            if value is None or item.name == "name":
                continue
            try:
                values[item.name] = _read(item.name, str(item.type), value)
            except ValueError:
                continue
        return cls(name=name, **values)


def _read(name: str, kind: str, value: Any) -> Any:
    if name in _READERS:
        return _READERS[name](value)
    return next(read for beginning, read in _READERS_BY_TYPE.items() if kind.startswith(beginning))(value)


def _state(value: Any) -> State:
    for state in get_args(State):
        if value == state:
            return state  # type: ignore[no-any-return]
    raise ValueError("not a state")


def _times(value: Any) -> tuple[float, ...]:
    times = []
    for item in value if isinstance(value, list) else ():
        with contextlib.suppress(ValueError):
            times.append(finite(item))
    return tuple(times)


def _secret(value: Any) -> str | None:
    # No token and no fingerprint is empty.
    return text(value) or None


def _error(value: Any) -> LastError:
    if isinstance(value, dict):
        return LastError(
            error_class=text(value.get("class")),
            sentence=text(value.get("sentence")),
            cure=text(value.get("cure")),
            at=finite(value.get("at")),
        )
    raise ValueError("not an error")


_READERS: dict[str, Callable[[Any], Any]] = {"state": _state, "error": _error, "proxy": text}
_READERS_BY_TYPE: dict[str, Callable[[Any], Any]] = {"tuple": _times, "float": finite, "int": integer, "str": _secret}
