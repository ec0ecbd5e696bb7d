# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator knows about an account, and the file that brings it to a node."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .errors import ConfigurationError
from .node_paths import ACCOUNT_NAME

Kind = Literal["password", "refresh_token", "access_token"]

_TURN = re.compile(r"[1-9][0-9]{0,4}/[1-9][0-9]{0,4}")
_TEXTS = ("email", "password", "totp_secret", "refresh_token", "access_token", "proxy")


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """One account as the operator wrote it. Only the name ever shows in a repr.

    ``login_turn`` is the place of the account's node among the nodes that leave by the same egress, such as ``2/10``;
    see `policy.login_opens`. It belongs to the fleet, not to the account, so no fingerprint depends on it.
    """

    name: str
    email: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    totp_secret: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)
    proxy: str | None = field(default=None, repr=False)
    login_turn: str | None = field(default=None, repr=False)

    @property
    def turn(self) -> tuple[int, int]:
        """Place of the node among those that share the account's egress, from 0, and the number of these nodes."""
        place, _slash, nodes = (self.login_turn or "1/1").partition("/")
        return int(place) - 1, int(nodes)

    @property
    def kind(self) -> Kind:
        """How the account gets a token: by ``password``, by ``refresh_token`` or by hand (``access_token``)."""
        if self.email and self.password:
            return "password"
        return "refresh_token" if self.refresh_token else "access_token"

    def fingerprint(self, salt: bytes, *fields: str) -> str:
        """Identify some of the values without revealing them.

        Args:
            salt: the node's secret salt; it keeps weak passwords from being guessed out of the store.
            fields: names of the values; none means all of them.

        Returns:
            32 hexadecimal digits. Two entries give the same ones only if all these values are the same.
        """
        values = [getattr(self, name) for name in fields or _TEXTS]
        return hmac.new(salt, json.dumps(values).encode(), hashlib.sha256).hexdigest()[:32]

    def login_fingerprint(self, salt: bytes) -> str:
        """Fingerprint of what a login submits: the key of the quarantine after a rejected password or code."""
        return self.fingerprint(salt, "email", "password", "totp_secret")


def token_fingerprint(token: str) -> str:
    """Name a token without revealing it.

    Args:
        token: an access or refresh token. It is random enough to need no salt.

    Returns:
        16 hexadecimal digits.
    """
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def _entry(position: int, entry: Any) -> Credentials:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not ACCOUNT_NAME.fullmatch(name):
        raise ConfigurationError(
            f"Account number {position} of the credentials file has no usable name.",
            cure="A name is a lower-case letter followed by at most 19 lower-case letters, digits or hyphens.",
        )
    values: dict[str, str] = {}
    for key in _TEXTS:
        value = entry.get(key)
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise ConfigurationError(f"{key} of account {name} is not a text.", cure=f"Put quotes around {key}.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ConfigurationError(
                f"{key} of account {name} holds half a character.", cure=f"Write {key} anew."
            ) from None
        values[key] = value
    turn = entry.get("login_turn")
    credentials = Credentials(name=name, **values, login_turn=turn)
    if turn is not None and not (
        isinstance(turn, str) and _TURN.fullmatch(turn) and credentials.turn[0] < credentials.turn[1]
    ):
        raise ConfigurationError(
            f"login_turn of account {name} is not a place among some nodes, such as 2/10.",
            cure="Run the role accounts again.",
        )
    if credentials.kind == "access_token" and credentials.access_token is None:
        raise ConfigurationError(
            f"Account {name} has nothing to get a token with.",
            cure="Give email and password, or refresh_token, or access_token.",
        )
    return credentials


def load_credentials(path: str) -> dict[str, Credentials]:
    """Read a credentials file: ``{"accounts": [{"name": ..., "email": ..., "password": ...}, ...]}``.

    Args:
        path: a JSON file. Keys other than those of `Credentials` are left alone.

    Returns:
        The accounts by name.

    Raises:
        ConfigurationError: the file cannot be read or an entry cannot be used; no value is quoted.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"The credentials file {path} cannot be read: {error.strerror}.",
            cure="Run the role accounts, or correct the path.",
        ) from None
    except ValueError:
        raise ConfigurationError(
            f"The credentials file {path} is not JSON.", cure="Run the role accounts again."
        ) from None
    entries = document.get("accounts") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ConfigurationError(
            f"The credentials file {path} has no list of accounts.", cure="Run the role accounts again."
        )
    result: dict[str, Credentials] = {}
    for position, entry in enumerate(entries, start=1):
        credentials = _entry(position, entry)
        if credentials.name in result:
            raise ConfigurationError(
                f"The credentials file {path} names account {credentials.name} twice.",
                cure="Give each account its own name.",
            )
        result[credentials.name] = credentials
    return result
