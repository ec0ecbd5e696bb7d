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

from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from .credentials import token_fingerprint

State = Literal["new", "valid", "waiting", "quarantined", "needs_operator"]

VERSION = 1
"""Version of the file format."""

_LARGEST_NUMBER = 1e11  # a time in the year 5138: everything up to there can be shown as a date


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
        failures: failed attempts since the last success.
        error: the last failure, until something succeeds.
        submissions: when the password was submitted, within the budget's longest period.
        code_step: time step of the one-time code that was sent last.
        refresh_sent_at: when the refresh token was last sent without an answer having been stored since.
        rejected_token: fingerprint of the access token that the service rejected.
        rejections: when 401s started a renewal.
        escalation: what the present token came from after a 401: 0 nothing, 1 a refresh, 2 a login.
        rejected_login: salted fingerprint of the e-mail, password and TOTP secret that were rejected for good.
        entry: salted fingerprint of the whole entry that was last seen.
        identity: salted fingerprint of its e-mail.
        supplied_access: fingerprint of the access token that was last adopted from the entry.
        supplied_refresh: fingerprint of the refresh token that was last adopted from the entry.
    """

    name: str
    state: State = "new"
    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    issued_at: float | None = None
    expires_at: float | None = None
    not_before: float | None = None
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
            The record; unknown keys are left alone, so that an older library reads a newer file.

        Raises:
            ValueError: it is not a record of this account.
        """
        if not isinstance(document, dict) or document.get("version") != VERSION or document.get("name") != name:
            raise ValueError("not a record of this account")
        values: dict[str, Any] = {}
        for item in fields(cls):
            value = document.get(item.name)
            if value is not None and item.name != "name":
                values[item.name] = _read(item.name, str(item.type), value)
        return cls(name=name, **values)


def finite(value: Any) -> float:
    """Check a number that came out of a file.

    Args:
        value: anything that JSON can hold.

    Returns:
        The number.

    Raises:
        ValueError: it is no number, or none that can be calculated with.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST_NUMBER:
        raise ValueError("not a number")
    return float(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("not a text")


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("not an integer")


def _read(name: str, kind: str, value: Any) -> Any:
    if name == "state":
        if value not in get_args(State):
            raise ValueError("not a state")
        return value
    if name == "error":
        return _error(value)
    if kind.startswith("tuple"):
        if isinstance(value, list):
            return tuple(finite(item) for item in value)
        raise ValueError("not a list")
    if kind.startswith("float"):
        return finite(value)
    return _integer(value) if kind.startswith("int") else _text(value)


def _error(value: Any) -> LastError:
    if isinstance(value, dict):
        return LastError(
            error_class=_text(value.get("class")),
            sentence=_text(value.get("sentence")),
            cure=_text(value.get("cure")),
            at=finite(value.get("at")),
        )
    raise ValueError("not an error")
