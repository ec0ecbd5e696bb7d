# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An identity provider that knows what really became of every token, and does what a bad day brings."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
from identity_fake import APPLICATION, PASSWORD, START, Reply, document, form, jwt, page, redirect

DAY = 86_400.0
LEEWAY = 20.0
HTML = {"Content-Type": "text/html"}


class Killed(BaseException):
    """The process is gone at this point."""


class Broken(AssertionError):
    """A promise does not hold."""


@dataclass
class Token:
    """A refresh token as the provider knows it: times are true ones, in seconds."""

    family: int
    spent_at: float | None = None
    delivered: bool = False
    maybe_sent_at: float | None = None


# What the token endpoint answers after its work or instead of it. None: the connection ends without an answer.
FRONT_END: dict[str, Reply | None] = {
    "lost": None,
    "502": Reply(502, HTML, "<h1>Bad Gateway</h1>"),
    "503": Reply(503, {**HTML, "Retry-After": "30"}, "<h1>busy</h1>"),
    "429": Reply(429, HTML, "<h1>slow down</h1>"),
    "garbage": Reply(200, {}, "\x00garbage"),
    "empty": Reply(200, {}, ""),
    "no object": document([1]),
}
DEFINITE: dict[str, Reply] = {
    "invalid_client": document({"error": "invalid_client"}, 401),
    "too_many_requests": document({"error": "too_many_requests"}, 429),
}
# What stands in an answer that delivers a refresh token.
SPOILT: dict[str, Callable[[dict[str, Any]], Reply]] = {
    "good": document,
    "expired": lambda answer: document({**answer, "expires_in": 0}),
    "absurd": lambda answer: document({**answer, "expires_in": 10**15}),
    "huge": lambda answer: Reply(200, {}, f'{json.dumps(answer)[:-1]}, "expires_in": 1{"0" * 400}}}'),
    "milliseconds": lambda answer: document({**_without(answer, "expires_in"), "access_token": jwt(START * 1000)}),
    "fast clock": lambda answer: document({**_without(answer, "expires_in"), "access_token": jwt(START - DAY)}),
    "no access token": lambda answer: document(_without(answer, "access_token")),
    "nested": lambda answer: Reply(200, {}, f'{json.dumps(answer)[:-1]}, "x": {"[" * 5000}{"]" * 5000}}}'),
    "cut": lambda answer: Reply(200, {}, json.dumps(answer)[:-1], complete=False),
}


def _without(answer: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != name}


class Node(Protocol):
    """What the provider hears of the node, and does to it."""

    true_time: float

    def let_pass(self, seconds: float) -> None:
        """Let time pass."""

    def may_log_in(self) -> bool:
        """Tell whether a login is possible."""

    def lock_the_node(self) -> None:
        """Let another process hold the node's lock."""

    def write_as_another(self) -> None:
        """Store another refresh token, as a foreign program does."""


class Provider:
    """An identity provider that detects the reuse of refresh tokens and ends their family (RFC 9700, 4.14.2)."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.tokens: dict[str, Token] = {}
        self.access_ends: dict[str, float] = {}
        self.ended: set[int] = set()
        self.password = PASSWORD
        self.rejected: set[str] = set()
        self.families = 0
        self.issued = 0
        self.html_errors = False
        self.trouble: list[str] = []
        self.login_trouble = ""
        self._state = ""
        self._challenge = ""

    # The session.

    def close(self) -> None:
        """Nothing is open."""

    def request(self, _method: str, url: str, *, data: Any = None, accept: str = "", timeout: float = 60.0) -> Reply:
        """Answer as a session does."""
        del timeout
        parts = urlsplit(url)
        fields = dict(data or ()) or dict(parse_qsl(parts.query))
        self._node.let_pass(0.2)
        if parts.path == "/oauth/token":
            return self._token(fields, accept)
        return self._page(parts.path, fields)

    # Login.

    def _page(self, path: str, fields: Mapping[str, str]) -> Reply:
        trouble = self.login_trouble
        if trouble == "unreachable":
            raise NetworkError("The connection to login.example.test could not be made.")
        if trouble == "down":
            return Reply(503, HTML, "<h1>maintenance</h1>")
        if path == "/authorize":
            self._state, self._challenge = fields["state"], fields["code_challenge"]
            captcha = '<div class="h-captcha"></div>' if trouble == "captcha" else ""
            username = '<input name="username" type="text" autocomplete="username">'
            return page(form(username, f'<input name="password" type="password">{captcha}', action="/login"))
        if fields["password"] != self.password:
            self.rejected.add(fields["password"])
            return page(form('<input name="password" type="password">'), 400, '<p data-error-code="wrong-credentials">')
        query = urlencode({"code": "CODE", "state": self._state})
        return redirect(f"{APPLICATION['redirect_uri']}?{query}")

    # Tokens.

    def _token(self, fields: Mapping[str, str], accept: str) -> Reply:
        place, _space, kind = (self.trouble.pop(0) if self.trouble else "").partition(" ")
        token = fields.get("refresh_token")
        if place == "unsent":
            raise NetworkError("The connection to login.example.test could not be made.")
        if token is not None:
            self._check_reuse(token)
        if place in {"instead", "after", "killed-before", "killed-after"} and kind not in DEFINITE:
            self._note_open(token)
        reply = self._instead_of_work(place, kind)
        if reply is not None:
            return reply
        issued = self._work(fields, accept)
        if isinstance(issued, Reply):
            return issued
        if place == "after":
            return self._unclear(kind)
        if place == "killed-after":
            raise Killed
        if place == "locked":
            self._node.lock_the_node()
        self.tokens[issued["refresh_token"]].delivered = True
        return SPOILT[kind if place == "spoilt" else "good"](issued)

    def _instead_of_work(self, place: str, kind: str) -> Reply | None:
        if place == "killed-before":
            raise Killed
        if place == "instead":
            return DEFINITE[kind] if kind in DEFINITE else self._unclear(kind)
        if place == "foreign":
            # It goes on for as long as the renewal tries.
            self.trouble.insert(0, "foreign")
            self._node.write_as_another()
            return document({"error": "invalid_grant"}, 400)
        return None

    def _work(self, fields: Mapping[str, str], accept: str) -> dict[str, Any] | Reply:
        """Do the provider's own part; return what it issues, or how it refuses."""
        if fields["grant_type"] == "authorization_code":
            digest = base64.urlsafe_b64encode(hashlib.sha256(fields["code_verifier"].encode()).digest())
            assert digest.rstrip(b"=").decode() == self._challenge
            self.families += 1
            return self.issue(self.families)
        known = self.tokens.get(fields["refresh_token"])
        now = self._node.true_time
        if known is not None and known.spent_at is not None and now - known.spent_at > LEEWAY:
            self.ended.add(known.family)
        if known is None or known.family in self.ended:
            if self.html_errors and not accept.startswith("application/json"):
                return Reply(400, HTML, "<h1>invalid_grant</h1>")
            return document({"error": "invalid_grant"}, 400)
        known.spent_at = now if known.spent_at is None else known.spent_at
        return self.issue(known.family)

    def issue(self, family: int) -> dict[str, Any]:
        """Make the next tokens of a family; who delivers them says so."""
        self.issued += 1
        name = f"planted-refresh-{self.issued}"
        self.tokens[name] = Token(family)
        self.access_ends[f"planted-access-{self.issued}"] = self._node.true_time + 10 * DAY
        return {
            "access_token": f"planted-access-{self.issued}",
            "token_type": "Bearer",
            "expires_in": int(10 * DAY),
            "refresh_token": name,
        }

    def _unclear(self, kind: str) -> Reply:
        reply = FRONT_END[kind]
        if reply is None:
            raise NetworkError("login.example.test did not answer in time.", sent=True)
        return reply

    def _note_open(self, token: str | None) -> None:
        if token is not None and token in self.tokens:
            known = self.tokens[token]
            known.maybe_sent_at = self._node.true_time if known.maybe_sent_at is None else known.maybe_sent_at

    def _check_reuse(self, token: str) -> None:
        known = self.tokens.get(token)
        if known is None or known.maybe_sent_at is None:
            return
        if self._node.true_time - known.maybe_sent_at > LEEWAY and self._node.may_log_in():
            raise Broken(f"{token} may be spent, and was sent again although a login is possible")
