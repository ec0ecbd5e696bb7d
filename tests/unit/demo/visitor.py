# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person with a browser who logs in at a provider, and an application that trades what that brings."""

from __future__ import annotations

import html.parser
import json
import secrets
import typing
import urllib.parse

from ansible_collections.dcta.fleet.plugins.module_utils.accounts.oauth import base64url
from provider.grants import challenge_of

from .both_providers import Reading, Subject

JSON_FIRST = "application/json, text/html;q=0.5"
MOST_STEPS = 20


class _Page(html.parser.HTMLParser):
    """The forms of a page, and the error code that it shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []
        self.error = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.error = values.get("data-error-code", self.error)
        if tag == "form":
            self.forms.append({})
        if tag in ("input", "button") and self.forms and "name" in values:
            self.forms[-1].setdefault(values["name"], values.get("value", ""))


def error_code(page: Reading) -> str:
    """Return the error code that a page shows; empty when it shows none."""
    return _Page(page.text).error


def field_names(page: Reading) -> set[str]:
    """Return the names of all fields of a page."""
    return {name for form in _Page(page.text).forms for name in form}


class Visitor:
    """One login and its tokens.

    Args:
        subject: the provider.
        typed: what the person types, by field name.
    """

    def __init__(self, subject: Subject, **typed: str) -> None:
        self._subject = subject
        self._session = subject.session()
        self._typed = typed
        self.verifier = secrets.token_urlsafe(48)
        self.state = base64url(secrets.token_bytes(12))

    def authorize(self) -> Reading:
        """Send the authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3)."""
        provider = self._subject.provider
        query = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": provider.redirect_uri,
            "audience": provider.audience,
            "scope": "openid offline_access",
            "state": self.state,
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
            "prompt": "login",
        }
        return self._session.request("GET", f"{provider.authorization_endpoint}?{urllib.parse.urlencode(query)}")

    def log_in(self) -> dict[str, str] | Reading:
        """Follow redirects and fill in forms.

        Returns:
            The parameters of the callback, or the page that came back after it was filled in.
        """
        url, answer = self._subject.provider.authorization_endpoint, self.authorize()
        filled: set[str] = set()
        for _step in range(MOST_STEPS):
            if answer.status_code == 302:
                url = urllib.parse.urljoin(url, answer.headers["Location"])
                if url.startswith(self._subject.provider.redirect_uri):
                    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
                answer = self._session.request("GET", url)
            elif url in filled:
                return answer
            else:
                filled.add(url)
                form = next(form for form in _Page(answer.text).forms if form.keys() & self._typed.keys())
                fields = [(name, self._typed.get(name, value)) for name, value in form.items()]
                answer = self._session.request("POST", url, data=fields)
        raise AssertionError("The login does not end.")

    def callback(self) -> dict[str, str]:
        """Log in and return the parameters of the callback; a page instead of it fails the test."""
        ending = self.log_in()
        assert isinstance(ending, dict), ending
        return ending

    def page(self) -> Reading:
        """Log in and return the page where that ends; a callback fails the test."""
        ending = self.log_in()
        assert not isinstance(ending, dict), "The login went through."
        return ending

    def exchange(self, code: str, **changes: str) -> Reading:
        """Trade a code for tokens."""
        form = {"code": code, "redirect_uri": self._subject.provider.redirect_uri, "code_verifier": self.verifier}
        return self.ask_token(grant_type="authorization_code", **{**form, **changes})

    def refresh(self, token: str, accept: str = JSON_FIRST) -> Reading:
        """Use a refresh token."""
        return self.ask_token(accept, grant_type="refresh_token", refresh_token=token)

    def ask_token(self, accept: str = JSON_FIRST, **form: str) -> Reading:
        """Post a form to the token endpoint."""
        provider = self._subject.provider
        fields = [*form.items(), ("client_id", provider.client_id)]
        return self._session.request("POST", provider.token_endpoint, data=fields, accept=accept)

    def revoke(self, token: str) -> Reading:
        """Revoke a token."""
        provider = self._subject.provider
        fields = [("client_id", provider.client_id), ("token", token)]
        return self._session.request("POST", provider.revocation_endpoint, data=fields, accept=JSON_FIRST)

    def tokens(self) -> dict[str, typing.Any]:
        """Log in and return what the code brings."""
        return good(self.exchange(self.callback()["code"]))


def good(answer: Reading) -> dict[str, typing.Any]:
    """Return the JSON of an answer; every status but 200 fails the test."""
    assert answer.status_code == 200, answer.text
    body: dict[str, typing.Any] = json.loads(answer.text)
    return body


def refusal(answer: Reading) -> str:
    """Return the OAuth error of an answer; a status below 400 fails the test."""
    assert answer.status_code >= 400, answer.text
    return str(json.loads(answer.text)["error"])
