# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in provider and the unit tests' fake, set up and asked in one way."""

from __future__ import annotations

import http.client
import http.cookies
import time
import typing
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.provider import Provider
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.transport import Form
from answer_faults import break_once
from identity_fake import EMAIL, PASSWORD, TOTP_SECRET, Clock, FakeProvider, example_provider

from . import standins


class Reading(typing.Protocol):
    """An answer as the library reads it."""

    @property
    def status_code(self) -> int:
        """HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Header fields."""

    @property
    def text(self) -> str:
        """Decoded body."""

    @property
    def complete(self) -> bool:
        """Whether the body arrived to its end."""


class Asking(typing.Protocol):
    """The library's session, as far as these tests use it."""

    def request(self, method: str, url: str, *, data: Form | None = None, accept: str = "") -> Reading:
        """Send one request."""


@dataclass(frozen=True)
class WireAnswer:
    """An answer that came over a connection."""

    status_code: int
    headers: Mapping[str, str]
    text: str
    complete: bool


class WireSession:
    """A session over HTTP with nothing but the standard library, and one cookie jar."""

    def __init__(self) -> None:
        self._cookies: dict[str, str] = {}

    def request(self, method: str, url: str, *, data: Form | None = None, accept: str = "") -> WireAnswer:
        """Send one request.

        Raises:
            NetworkError: no answer came.
        """
        parts = urllib.parse.urlsplit(url)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        if accept:
            headers["Accept"] = accept
        if data is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection(parts.netloc, timeout=standins.TIMEOUT)
        try:
            target = parts.path + ("?" + parts.query if parts.query else "")
            connection.request(method, target, None if data is None else urllib.parse.urlencode(data), headers)
            answer = connection.getresponse()
            try:
                body, complete = answer.read(), True
            except http.client.IncompleteRead as cut:
                body, complete = cut.partial, False
        except (OSError, http.client.HTTPException):
            raise NetworkError("The connection was lost.", sent=True) from None
        finally:
            connection.close()
        for header in answer.msg.get_all("Set-Cookie") or []:
            for morsel in http.cookies.SimpleCookie(header).values():
                self._cookies[morsel.key] = morsel.value
        return WireAnswer(answer.status, dict(answer.msg), body.decode(), complete)


@dataclass(frozen=True)
class Person:
    """Who logs in."""

    email: str
    password: str
    totp_secret: str = ""


class Subject(typing.Protocol):
    """One of the two, with its clients and its switches.

    The switches are ``rotate``, ``expires_in``, ``invalid_grant_status``, ``html_errors``, ``wrong_password_status``
    and ``rotation_leeway``, in the meaning of the stand-in provider.
    """

    provider: Provider

    def session(self) -> Asking:
        """Open a session with an empty cookie jar."""

    def person(self) -> Person:
        """Name somebody who logs in with a password."""

    def person_with_code(self) -> Person:
        """Name somebody who is asked for a one-time code as well."""

    def now(self) -> float:
        """Return the provider's time in seconds since the epoch."""

    def wait(self, seconds: float) -> None:
        """Let the provider's time pass."""

    def switch(self, **switches: object) -> None:
        """Set switches for everybody."""

    def break_once(self, kind: str) -> None:
        """Let the next refresh meet a fault."""


class StandInSubject:
    """The stand-in provider, a process of its own."""

    def __init__(self, process: standins.StandIns) -> None:
        self._process = process
        self._ahead = 0.0
        self.provider = example_provider(
            authorization_endpoint=f"{process.issuer}/authorize",
            token_endpoint=f"{process.issuer}/oauth/token",
            revocation_endpoint=f"{process.issuer}/oauth/revoke",
            client_id=standins.CLIENT_ID,
            redirect_uri=standins.REDIRECT_URI,
            audience=standins.AUDIENCE,
        )

    def session(self) -> Asking:
        """Open a session with an empty cookie jar."""
        return WireSession()

    def person(self) -> Person:
        """Name somebody who logs in with a password."""
        return Person(standins.ALICE, "alice's & password")

    def person_with_code(self) -> Person:
        """Name somebody who is asked for a one-time code as well."""
        return Person(standins.BOB, "bob's", standins.TOTP_SECRET)

    def now(self) -> float:
        """Return the provider's time."""
        return time.time() + self._ahead

    def wait(self, seconds: float) -> None:
        """Let the provider's time pass."""
        self._ahead += seconds
        self._process.control("/clock", ahead=self._ahead)

    def switch(self, **switches: object) -> None:
        """Set switches for everybody."""
        if "rotation_leeway" in switches:
            self._process.control("/lifetimes", rotation_leeway=switches.pop("rotation_leeway"))
        self._process.switch(**switches)

    def break_once(self, kind: str) -> None:
        """Let the next refresh meet a fault."""
        self._process.switch(refresh_answer={"kind": kind, "times": 1})


class FakeSubject:
    """The fake, in this process."""

    def __init__(self) -> None:
        self._clock = Clock()
        self._fake = FakeProvider(self._clock)
        self.provider = example_provider()

    def session(self) -> Asking:
        """Open a session with an empty cookie jar."""
        return self._fake.session()

    def person(self) -> Person:
        """Name somebody who logs in with a password."""
        return Person(EMAIL, PASSWORD)

    def person_with_code(self) -> Person:
        """Name somebody who is asked for a one-time code as well."""
        self._fake.mfa = True
        return Person(EMAIL, PASSWORD, TOTP_SECRET)

    def now(self) -> float:
        """Return the provider's time."""
        return self._clock()

    def wait(self, seconds: float) -> None:
        """Let the provider's time pass."""
        self._clock.now += seconds

    def switch(self, **switches: object) -> None:
        """Set switches for everybody."""
        for name, value in switches.items():
            if name == "rotation_leeway":
                self._fake.tokens.leeway = typing.cast(float, value)
            elif name == "wrong_password_status":
                self._fake.wrong_status = typing.cast(int, value)
                self._fake.wrong_code = "" if value == 200 else self._fake.wrong_code
            else:
                assert hasattr(self._fake, name)
                setattr(self._fake, name, value)

    def break_once(self, kind: str) -> None:
        """Let the next refresh meet a fault."""
        break_once(self._fake, kind)
