# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A provider made of functions, a clock that tests turn, and accounts with secrets that must never show."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pwd
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from ansible_collections.dcta.fleet.plugins.module_utils.accounts import totp
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.outcome import Outcome
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.provider import Provider
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.renewer import Renewer
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.runtime import Runtime
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.transport import Session
from provider.accept import prefers_html
from token_families import TokenFamilies

HOST = "https://login.example.test"
APPLICATION = {
    "client_id": "application",
    "audience": "https://api.example.test/v1",
    "scope": "openid offline_access",
    "redirect_uri": "com.example.application://callback",
}
EMAIL = "alice.secretmail@example.test"
PASSWORD = "planted-password"
TOTP_SECRET = "JBSWY3DPEHPK3PXP"
START = 1_800_000_000.0


@dataclass
class Reply:
    """One canned answer."""

    status_code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    complete: bool = True


def redirect(location: str, status: int = 302) -> Reply:
    return Reply(status, {"Location": location})


def page(form: str, status: int = 200, before: str = "") -> Reply:
    return Reply(status, {"Content-Type": "text/html"}, f"<!doctype html><html><body>{before}{form}</body></html>")


def document(content: Any, status: int = 200) -> Reply:
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(content))


def form(*inputs: str, action: str = "", button: str | None = None) -> str:
    """Return a form in the way of the original provider: a transaction, the fields, a named button."""
    shown = '<button type="submit" name="action" value="default">Go</button>' if button is None else button
    hidden = '<input type="hidden" name="state" value="TX">'
    return f'<form method="post" action="{action}">{hidden}{"".join(inputs)}{shown}</form>'


IDENTIFIER = '<input name="username" type="text" autocomplete="username">'
PASSWORD_FIELD = '<input name="password" type="password">'
CODE = '<input name="code" type="text" autocomplete="one-time-code">'


class SettableTime(Protocol):
    """A clock that sleeping moves on."""

    def __call__(self) -> float:
        """Return seconds since the epoch."""

    def sleep(self, seconds: float) -> None:
        """Let some seconds pass."""


class Clock:
    """Seconds since the epoch, moved by tests and by sleeping."""

    def __init__(self) -> None:
        self.now = START
        self.slept: list[float] = []

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self.slept.append(seconds)
        self.now += seconds


class FakeProvider:
    """An identity provider with the pages of the original one.

    ``answers`` replaces the answer of a path: a reply, or a function of the form that may also raise.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.answers: dict[str, Reply | Callable[[dict[str, str]], Reply]] = {}
        self.mfa_before_resume = False
        self.mfa = False
        self.absolute = False
        self.one_page = False
        self.wrong_status = 400
        self.wrong_code = "wrong-email-credentials"
        self.invalid_grant_status = 403
        self.expires_in: Any = 864_000
        self.rotate = True
        self.html_errors = False
        self.passwords_seen: list[str] = []
        self.codes_seen: list[str] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.accepted: list[tuple[str, str]] = []
        self.logins = 0
        self.refreshes = 0
        self.revoked: list[str] = []
        self.tokens = TokenFamilies()
        self.live = self.tokens.live
        self.sessions = 0
        self._accept = ""
        self._code_is_new = False
        self._family = 0
        self._challenge = ""
        self._client_state = ""
        self._mfa_done = False
        self._routes: dict[str, Callable[[dict[str, str]], Reply]] = {
            "GET /authorize": self._show_authorize,
            "GET /u/login": self._show_u_login,
            "POST /u/login": self._take_u_login,
            "GET /u/login/identifier": self._show_u_login_identifier,
            "POST /u/login/identifier": self._take_u_login_identifier,
            "GET /u/login/password": self._show_u_login_password,
            "POST /u/login/password": self._take_u_login_password,
            "GET /u/mfa-otp-challenge": self._show_u_mfa_otp_challenge,
            "POST /u/mfa-otp-challenge": self._take_u_mfa_otp_challenge,
            "GET /authorize/resume": self._show_authorize_resume,
            "POST /oauth/token": self._take_oauth_token,
            "POST /oauth/revoke": self._take_oauth_revoke,
        }

    # The session.

    def session(self, _credentials: Credentials | None = None) -> FakeProvider:
        """Stand in for a session factory."""
        self.sessions += 1
        return self

    def close(self) -> None:
        """Nothing is open."""

    def request(self, method: str, url: str, *, data: Any = None, accept: str = "", timeout: float = 60.0) -> Reply:
        """Answer as a session does."""
        self._accept = accept
        parts = urlsplit(url)
        fields = dict(data or ()) or dict(parse_qsl(parts.query))
        self.requests.append((method, parts.path, fields))
        self.accepted.append((parts.path, accept))
        special = self.answers.get(f"{method} {parts.path}")
        if isinstance(special, Reply):
            return special
        if special is not None:
            return special(fields)
        return self.handle(method, parts.path, fields)

    def handle(self, method: str, path: str, fields: dict[str, str]) -> Reply:
        """Answer as the provider does when nothing is replaced."""
        route = self._routes.get(f"{method} {path}")
        return Reply(404) if route is None else route(fields)

    def _to(self, path: str) -> Reply:
        return redirect(f"{HOST}{path}" if self.absolute else path)

    def handle_then_show(self, shown: Reply) -> Callable[[dict[str, str]], Reply]:
        """Begin a login as usual and answer with another page."""

        def begin(fields: dict[str, str]) -> Reply:
            self.handle("GET", "/authorize", fields)
            return shown

        return begin

    def dated(self, seconds: float) -> Callable[[dict[str, str]], Reply]:
        """Begin a login with a provider whose clock shows another time."""

        def begin(fields: dict[str, str]) -> Reply:
            reply = self.handle("GET", "/authorize", fields)
            return Reply(reply.status_code, {**reply.headers, "Date": formatdate(seconds, usegmt=True)})

        return begin

    # The pages.

    def _show_authorize(self, fields: dict[str, str]) -> Reply:
        self._challenge = fields["code_challenge"]
        self._client_state = fields["state"]
        self._mfa_done = False
        return self._to("/u/login?state=TX" if self.one_page else "/u/login/identifier?state=TX")

    def _show_u_login(self, _fields: dict[str, str]) -> Reply:
        return page(form(IDENTIFIER, PASSWORD_FIELD))

    def _take_u_login(self, fields: dict[str, str]) -> Reply:
        return self._check(fields, "/u/login")

    def _show_u_login_identifier(self, _fields: dict[str, str]) -> Reply:
        other = '<form method="post" action="/social"><input type="hidden" name="connection" value="x"></form>'
        return page(form(IDENTIFIER), before=other)

    def _take_u_login_identifier(self, fields: dict[str, str]) -> Reply:
        assert fields["state"] == "TX"
        assert fields["action"] == "default"
        if fields["username"] != EMAIL:
            return self._rejected(form(IDENTIFIER))
        return self._to("/u/login/password?state=TX")

    def _show_u_login_password(self, _fields: dict[str, str]) -> Reply:
        return page(form(f'<input name="username" value="{EMAIL}" readonly>', PASSWORD_FIELD))

    def _take_u_login_password(self, fields: dict[str, str]) -> Reply:
        return self._check(fields, "/u/login/password")

    def _check(self, fields: dict[str, str], path: str) -> Reply:
        self.passwords_seen.append(fields["password"])
        assert fields.get("username", EMAIL) == EMAIL
        if fields["password"] != PASSWORD:
            shown = form(IDENTIFIER, PASSWORD_FIELD) if path == "/u/login" else form(PASSWORD_FIELD)
            return self._rejected(shown)
        if self.mfa and self.mfa_before_resume:
            return self._to("/u/mfa-otp-challenge?state=TX")
        return self._to("/authorize/resume?state=TX")

    def _rejected(self, shown: str) -> Reply:
        error = f'<span data-error-code="{self.wrong_code}">no</span>' if self.wrong_code else ""
        return page(shown, self.wrong_status, before=error)

    def _show_u_mfa_otp_challenge(self, _fields: dict[str, str]) -> Reply:
        return page(form(CODE))

    def _take_u_mfa_otp_challenge(self, fields: dict[str, str]) -> Reply:
        code = fields["code"]
        good = totp.code_at(totp.decode_secret(TOTP_SECRET), int(self.clock() // 30))
        if code != good or code in self.codes_seen:
            self.codes_seen.append(code)
            return page(form(CODE), 400, before='<p data-error-code="invalid-code">no</p>')
        self.codes_seen.append(code)
        self._mfa_done = True
        return self._to("/authorize/resume?state=TX")

    def _show_authorize_resume(self, _fields: dict[str, str]) -> Reply:
        if self.mfa and not self._mfa_done:
            return self._to("/u/mfa-otp-challenge?state=TX")
        return self.callback(code="CODE")

    def callback(self, **parameters: str) -> Reply:
        """Redirect to the application."""
        self._code_is_new = "code" in parameters
        query = urlencode({"state": self._client_state, **parameters})
        return redirect(f"{APPLICATION['redirect_uri']}?{query}")

    # The token endpoints.

    def _take_oauth_token(self, fields: dict[str, str]) -> Reply:
        if fields["grant_type"] == "authorization_code":
            digest = hashlib.sha256(fields["code_verifier"].encode()).digest()
            fits = base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == self._challenge
            if not (fits and fields["code"] == "CODE" and self._code_is_new):
                self.tokens.end(self._family)
                return self._refused("invalid_grant", "Invalid authorization code")
            self._code_is_new = False
            self.logins += 1
            self._family = self.tokens.new_family()
            return self.issue(self._family, refresh_token=True)
        family = self.tokens.use(fields["refresh_token"], self.clock(), rotate=self.rotate)
        if family is None:
            return self._refused("invalid_grant", fields["refresh_token"])
        self.refreshes += 1
        return self.issue(family, refresh_token=self.rotate)

    def _refused(self, code: str, description: str) -> Reply:
        if self.html_errors and prefers_html(self._accept):
            return page(f"<h1>{code}</h1>", self.invalid_grant_status)
        return document({"error": code, "error_description": description}, self.invalid_grant_status)

    def issue(self, family: int, *, refresh_token: bool) -> Reply:
        """Hand out the next tokens."""
        number = self.logins + self.refreshes
        answer: dict[str, Any] = {"access_token": f"planted-access-{number}", "token_type": "Bearer"}
        if self.expires_in is not None:
            answer["expires_in"] = self.expires_in
        if refresh_token:
            answer["refresh_token"] = f"planted-refresh-{number}"
            self.tokens.add(answer["refresh_token"], family)
        return document(answer)

    def _take_oauth_revoke(self, fields: dict[str, str]) -> Reply:
        self.revoked.append(fields["token"])
        self.tokens.revoke(fields["token"])
        return Reply()


def no_connection(_fields: dict[str, str]) -> Reply:
    raise NetworkError("The connection to login.example.test could not be made.")


def jwt(expiry: float) -> str:
    """Return an unsigned token that says when it runs out."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expiry}).encode()).rstrip(b"=").decode()
    return f"planted.{claims}.signature"


def runtime(session: Callable[[Credentials], Session], clock: SettableTime, *, seed: int) -> Runtime:
    """Return surroundings in which only the given clock tells time."""
    # A test has to repeat itself.
    rng = random.Random(seed)  # noqa: S311
    return Runtime(session=session, clock=clock, timer=clock, sleep=clock.sleep, rng=rng)


@dataclass
class World:
    """A node with one account, its provider and its clock."""

    clock: Clock
    provider: FakeProvider
    folder: Path
    store: Store
    renewer: Renewer

    def renew(self, **report: Any) -> Outcome:
        """Renew the one account."""
        return self.renewer.renew("alice", **report)

    def give(self, **values: str) -> None:
        """Replace the account's entry."""
        self.renewer.credentials = {"alice": Credentials(name="alice", **values)}

    def limit(self, **limits: float) -> None:
        """Change the policy."""
        self.renewer.limits = Limits.from_mapping(limits)

    def restart(self) -> None:
        """Begin again with what is on the disk."""
        old = self.renewer
        self.renewer = Renewer(
            store=self.store,
            provider=old.provider,
            credentials=old.credentials,
            runtime=runtime(self.provider.session, self.clock, seed=2),
            limits=old.limits,
        )

    def past_point(self) -> None:
        """Turn the clock to the next renewal."""
        due = self.renewer.due_at("alice")
        assert due is not None
        self.clock.now = max(self.clock.now, due + 1)


def me() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def example_provider(**settings: Any) -> Provider:
    return Provider.from_mapping(
        {
            "authorization_endpoint": f"{HOST}/authorize",
            "token_endpoint": f"{HOST}/oauth/token",
            "revocation_endpoint": f"{HOST}/oauth/revoke",
            **APPLICATION,
            **settings,
        }
    )
