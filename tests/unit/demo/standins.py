# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-ins as a process of their own, and a browser that fills in what a page asks for."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html.parser
import http.client
import http.cookies
import json
import os
import secrets
import ssl
import subprocess
import sys
import time
import typing
import urllib.parse
from pathlib import Path

DEMO = Path(__file__).resolve().parents[3] / "demo"
TIMEOUT = 15.0
REDIRECT_URI = "com.example.app://login.example.org/callback"
CLIENT_ID = "stand-in-client"
AUDIENCE = "https://api.example.org/v1"
TOTP_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.org"


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP answer; ``json`` and ``location`` read it."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> typing.Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def location(self) -> str:
        """Where a redirect leads."""
        return self.headers.get("Location", "")


def send(
    method: str,
    url: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """Send one request on a connection of its own; redirects are not followed.

    Raises:
        OSError, http.client.HTTPException: no answer came.
    """
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname
    connection = (
        http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT, context=context)
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
    )
    try:
        target = parts.path + ("?" + parts.query if parts.query else "")
        connection.request(method, target or "/", body, headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.msg, answer.read())
    finally:
        connection.close()


class StandIns:
    """The running process.

    Args:
        folder: where its configuration file goes.
        changes: keys of the configuration to replace.
    """

    def __init__(self, folder: Path, **changes: object) -> None:
        listener = {"host": "127.0.0.1", "port": 0}
        config = {
            "identity": listener,
            "chat": listener,
            "control": listener,
            "client": {"id": CLIENT_ID, "redirect_uri": REDIRECT_URI, "audience": AUDIENCE},
            "users": [
                {"email": ALICE, "password": "alice's & password"},
                {"email": BOB, "password": "bob's", "totp_secret": TOTP_SECRET},
            ],
            "tokens": [{"email": CAROL, "access_token": "carols.access.token", "lifetime": 3600}],
            **changes,
        }
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "provider", "--config", str(path)],
            cwd=DEMO,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert self._process.stdout
        ready = self._process.stdout.readline()
        if not ready:
            raise RuntimeError(self._process.communicate(timeout=TIMEOUT)[1])
        self.issuer, self.chat_url, self._control = (json.loads(ready)[key] for key in ("issuer", "chat", "control"))

    def stop(self) -> int:
        """End the process and return its exit status."""
        self._process.terminate()
        self._process.communicate(timeout=TIMEOUT)
        return self._process.returncode

    def control(self, path: str, **body: object) -> typing.Any:
        """Post to the control API and return its JSON; a refusal fails the test."""
        answer = send("POST", self._control + path, json.dumps(body).encode())
        assert answer.status == 200, answer.text
        return answer.json

    def refused(self, path: str, **body: object) -> str:
        """Post something wrong to the control API and return what it says."""
        answer = send("POST", self._control + path, json.dumps(body).encode())
        assert answer.status == 400, answer.text
        return str(answer.json["error"])

    def switch(self, email: str = "", /, **switches: object) -> None:
        """Set switches."""
        self.control("/switches", email=email, switches=switches)

    def statistics(self) -> typing.Any:
        """Return what was counted."""
        return send("GET", self._control + "/statistics").json

    def count(self, email: str, counter: str) -> int:
        """Return one counter of an account."""
        return int(self.statistics()["accounts"].get(email, {}).get(counter, 0))

    def wait_for(self, condition: typing.Callable[[typing.Any], bool]) -> None:
        """Wait until the statistics meet a condition."""
        end = time.monotonic() + TIMEOUT
        while not condition(self.statistics()):
            assert time.monotonic() < end, self.statistics()
            time.sleep(0.02)

    def token(self, **form: str) -> Answer:
        """Post a form to the token endpoint."""
        return self.post_form("/oauth/token", client_id=CLIENT_ID, **form)

    def post_form(self, path: str, **form: str) -> Answer:
        """Post a form below the issuer."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return send("POST", self.issuer + path, urllib.parse.urlencode(form).encode(), headers)

    def refresh(self, token: str) -> Answer:
        """Use a refresh token."""
        return self.token(grant_type="refresh_token", refresh_token=token)

    def chat(self, token: str, prompt: str = "Hi", **extra: object) -> Answer:
        """Ask the chat back end as ChatGPT-to-API does."""
        message = {"id": "1", "author": {"role": "user"}, "content": {"content_type": "text", "parts": [prompt]}}
        body = {"action": "next", "messages": [message], "model": "text-davinci-002-render-sha", **extra}
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        return send("POST", self.chat_url, json.dumps(body).encode(), headers)


class _Forms(html.parser.HTMLParser):
    """The fields of the first form of a page, and the error code if there is one."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.error = ""
        self._forms = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._forms += tag == "form"
        self.error = values.get("data-error-code", self.error)
        if tag in ("input", "button") and self._forms == 1 and "name" in values:
            self.fields.setdefault(values["name"], values.get("value", ""))


class Browser:
    """One login of one person.

    Args:
        standins: the provider.
        typed: what the person types, by field name.
    """

    def __init__(self, standins: StandIns, **typed: str) -> None:
        self._standins = standins
        self._typed = typed
        self._cookies: dict[str, str] = {}
        self.verifier = secrets.token_urlsafe(48)
        self.state = secrets.token_urlsafe(8)
        self.visited: list[str] = []

    def request(self, method: str, url: str, form: dict[str, str] | None = None) -> Answer:
        """Send one request with the cookies so far."""
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        body = None
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urllib.parse.urlencode(form).encode()
        answer = send(method, url, body, headers)
        for header in answer.headers.get_all("Set-Cookie") or []:
            for morsel in http.cookies.SimpleCookie(header).values():
                self._cookies[morsel.key] = morsel.value
        return answer

    def authorize(self, path: str = "/authorize", **changes: str) -> Answer:
        """Send the authorization request."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "client_id": CLIENT_ID,
            "redirect_uri": REDIRECT_URI,
            "audience": AUDIENCE,
            "response_type": "code",
            "scope": "openid offline_access",
            "state": self.state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "prompt": "login",
            **changes,
        }
        parameters = urllib.parse.urlencode({name: value for name, value in query.items() if value})
        return self.request("GET", f"{self._standins.issuer}{path}?{parameters}")

    def follow(self, answer: Answer) -> Answer:
        """Follow redirects and fill in forms until the callback or until a page comes that cannot be passed."""
        url = self._standins.issuer
        while answer.status == 302 and not answer.location.startswith(REDIRECT_URI):
            url = urllib.parse.urljoin(url, answer.location)
            self.visited.append(urllib.parse.urlsplit(url).path)
            answer = self.request("GET", url)
            if answer.status == 302:
                continue
            fields = _Forms(answer.text).fields if answer.status == 200 else {}
            known = {name: self._typed.get(name, value) for name, value in fields.items()}
            if not fields or "nickname" in fields or "captcha" in fields or ("code" in fields and not known["code"]):
                break
            answer = self.request("POST", url, known)
        return answer

    def login(self, **changes: str) -> dict[str, str]:
        """Log in and return the parameters of the callback."""
        answer = self.follow(self.authorize(**changes))
        assert answer.status == 302, answer.text
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(answer.location).query))

    def exchange(self, code: str, **changes: str) -> Answer:
        """Trade the code for tokens."""
        form = {"code": code, "redirect_uri": REDIRECT_URI, "code_verifier": self.verifier, **changes}
        return self._standins.token(grant_type="authorization_code", **form)


def error_code(page: Answer) -> str:
    """Return the error code that a page shows."""
    return _Forms(page.text).error
