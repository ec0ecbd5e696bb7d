# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file of the stand-ins, read strictly: an unknown or missing key stops the start."""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from pathlib import Path


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and the cure."""


@dataclasses.dataclass(frozen=True)
class Listener:
    """A listening socket; port 0 takes a free one, which the ready line then names."""

    host: str
    port: int


@dataclasses.dataclass(frozen=True)
class Chat(Listener):
    """The chat service; with a ``name`` the identity provider's address serves it too, for that host."""

    name: str = ""


@dataclasses.dataclass(frozen=True)
class Paths:
    """Where the identity provider keeps its endpoints and pages, each below the prefix."""

    authorize: str = "/authorize"
    resume: str = "/authorize/resume"
    token: str = dataclasses.field(default="/oauth/token")
    revoke: str = "/oauth/revoke"
    login: str = "/u/login"
    identifier: str = "/u/login/identifier"
    password: str = dataclasses.field(default="/u/login/password")
    otp: str = "/u/mfa-otp-challenge"
    consent: str = "/u/consent"
    notice: str = "/u/notice"
    pages: str = "/u"


@dataclasses.dataclass(frozen=True)
class Identity:
    """The identity provider; without a certificate it speaks plain HTTP.

    ``issuer`` is the base address without the prefix; empty means the listening address.
    """

    host: str
    port: int
    issuer: str = ""
    prefix: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    paths: Paths = dataclasses.field(default_factory=Paths)


@dataclasses.dataclass(frozen=True)
class Client:
    """The one registered OAuth client; an empty audience is not checked."""

    id: str
    redirect_uri: str
    audience: str = ""


@dataclasses.dataclass(frozen=True)
class Lifetimes:
    """Lifetimes in seconds; ``rotation_leeway`` is how long a rotated refresh token may still be used."""

    access_token: float = 864_000
    refresh_token: float = 2_592_000
    code: float = 60
    transaction: float = 3_600
    rotation_leeway: float = 0


@dataclasses.dataclass(frozen=True)
class User:
    """An account of the provider; without a password it has no login of its own (a federated account)."""

    email: str
    password: str = dataclasses.field(default="", repr=False)
    totp_secret: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class PreIssued:
    """An access token that is valid from the start for ``lifetime`` seconds."""

    email: str
    access_token: str = dataclasses.field(repr=False)
    lifetime: float = 864_000


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the stand-ins need to start."""

    identity: Identity
    chat: Chat
    control: Listener
    client: Client
    lifetimes: Lifetimes = dataclasses.field(default_factory=Lifetimes)
    git_root: str = ""
    users: tuple[User, ...] = ()
    tokens: tuple[PreIssued, ...] = ()


T = typing.TypeVar("T")
_SCALARS: dict[object, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float)}


def build(kind: type[T], value: object, where: str) -> T:
    """Make a configuration dataclass from parsed JSON.

    Args:
        kind: the dataclass to fill.
        value: what the JSON holds at this place.
        where: the place, for messages.

    Returns:
        The filled dataclass.

    Raises:
        ConfigError: unknown key, missing key or wrong type.
    """
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be an object.")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(value) - set(fields)):
        raise ConfigError(f"{where} has the unknown key {unknown[0]!r}; known are: {', '.join(fields)}.")
    arguments: dict[str, object] = {}
    for name, field in fields.items():
        if name in value:
            arguments[name] = _convert(hints[name], value[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where} needs the key {name!r}.")
    return kind(**arguments)


def _convert(hint: object, value: object, where: str) -> object:
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{where} must be a list.")
        item = typing.get_args(hint)[0]
        return tuple(build(item, entry, f"{where}[{index}]") for index, entry in enumerate(value))
    if hint in _SCALARS:
        if not isinstance(value, _SCALARS[hint]) or isinstance(value, bool):
            raise ConfigError(f"{where} must be {'a string' if hint is str else 'a number'}.")
        return value
    return build(typing.cast("type[object]", hint), value, where)


def load(path: Path) -> Config:
    """Read and check the configuration file.

    Args:
        path: the JSON file.

    Returns:
        The configuration.

    Raises:
        ConfigError: the file cannot be read, is not JSON or does not fit.
    """
    try:
        config = build(Config, json.loads(path.read_text(encoding="utf-8")), "config")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}.") from error
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", config.identity.prefix):
        raise ConfigError("config.identity.prefix must be empty or start with '/' and not end with one.")
    if bool(config.identity.tls_certificate) != bool(config.identity.tls_key):
        raise ConfigError("config.identity needs both tls_certificate and tls_key, or neither.")
    return config
