# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One account through any sequence of bad luck, with a provider that knows what really became of every token.

The simulation is told events, one after the other, and checks after each that no token that may be spent was sent again
while a login was possible, and that none that was delivered is lost. It runs the real library on a real folder; only
time, the disk's limits and the provider are made.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import itertools
import json
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, urlencode, urlsplit

from ansible_collections.dcta.fleet.plugins.module_utils.accounts import atomic_file
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.outcome import Outcome
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.renewer import Renewer
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.runtime import Runtime
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from identity_fake import (
    APPLICATION,
    EMAIL,
    PASSWORD,
    START,
    Reply,
    document,
    example_provider,
    form,
    jwt,
    me,
    page,
    redirect,
)

DAY = 86_400.0
LEEWAY = 20.0
# Its hidden file of the node must not meet that of an account, so the account has the most dangerous name.
ACCOUNT = "node"
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


class Provider:
    """An identity provider that detects the reuse of refresh tokens and ends their family (RFC 9700, 4.14.2)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.tokens: dict[str, Token] = {}
        self.access_ends: dict[str, float] = {}
        self.ended: set[int] = set()
        self.password = PASSWORD
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
        self._simulation.let_pass(0.2)
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
            return page(form('<input name="password" type="password">'), 400, '<p data-error-code="wrong-credentials">')
        query = urlencode({"code": "CODE", "state": self._state})
        return redirect(f"{APPLICATION['redirect_uri']}?{query}")

    # Tokens.

    def _token(self, fields: Mapping[str, str], accept: str) -> Reply:
        place, _, kind = (self.trouble.pop(0) if self.trouble else "").partition(" ")
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
            self._simulation.lock_the_node()
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
            self._simulation.write_as_another()
            return document({"error": "invalid_grant"}, 400)
        return None

    def _work(self, fields: Mapping[str, str], accept: str) -> dict[str, Any] | Reply:
        """Do the provider's own part; return what it issues, or how it refuses."""
        if fields["grant_type"] == "authorization_code":
            digest = base64.urlsafe_b64encode(hashlib.sha256(fields["code_verifier"].encode()).digest())
            assert digest.rstrip(b"=").decode() == self._challenge
            self.families += 1
            return self._issue(self.families)
        known = self.tokens.get(fields["refresh_token"])
        now = self._simulation.true_time
        if known is not None and known.spent_at is not None and now - known.spent_at > LEEWAY:
            self.ended.add(known.family)
        if known is None or known.family in self.ended:
            if self.html_errors and not accept.startswith("application/json"):
                return Reply(400, HTML, "<h1>invalid_grant</h1>")
            return document({"error": "invalid_grant"}, 400)
        known.spent_at = now if known.spent_at is None else known.spent_at
        return self._issue(known.family)

    def _issue(self, family: int) -> dict[str, Any]:
        self.issued += 1
        name = f"planted-refresh-{self.issued}"
        self.tokens[name] = Token(family)
        self.access_ends[f"planted-access-{self.issued}"] = self._simulation.true_time + 10 * DAY
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
            known.maybe_sent_at = self._simulation.true_time if known.maybe_sent_at is None else known.maybe_sent_at

    def _check_reuse(self, token: str) -> None:
        known = self.tokens.get(token)
        if known is None or known.maybe_sent_at is None:
            return
        if self._simulation.true_time - known.maybe_sent_at > LEEWAY and self._simulation.may_log_in():
            raise Broken(f"{token} may be spent, and was sent again although a login is possible")


@dataclass
class Simulation:
    """A node with one account.

    Args:
        folder: an empty folder for the store.
        kind: ``password`` or ``refresh_token``.
        leeway: seconds that the library is told.
    """

    folder: Path
    kind: str = "password"
    leeway: float = 0.0
    wall: float = START
    true_time: float = 0.0
    halted: bool = False
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with an account that was never logged in, or whose refresh token was handed over."""
        self.folder.mkdir(mode=0o700, parents=True)
        self.provider = Provider(self)
        self.password = PASSWORD
        self.settings: dict[str, Any] = {"rotation_leeway": self.leeway}
        self._store = Store(str(self.folder), me(), sleep=self.let_pass)
        self._first = ""
        if self.kind == "refresh_token":
            self.provider.families += 1
            self._first = self.provider._issue(1)["refresh_token"]
        self._saved: set[str] = {self._first} if self._first else set()
        self._numbers = itertools.count()
        self._held: list[AbstractContextManager[None]] = []
        self.tampered = False
        self.renewer = self._new_renewer()
        # Most of what can go wrong needs tokens to begin with.
        self._renew({})

    def close(self) -> None:
        """Let go of the folder."""
        self._store.close()

    # What the library sees of the world.

    def let_pass(self, seconds: float) -> None:
        """Let time pass, for all clocks alike."""
        self.wall += seconds
        self.true_time += seconds

    def _new_renewer(self) -> Renewer:
        rng = random.Random(len(self.log))  # noqa: S311 - a test has to repeat itself
        return Renewer(
            store=self._store,
            provider=example_provider(**self.settings),
            credentials={ACCOUNT: self._credentials()},
            runtime=Runtime(
                session=lambda _account: self.provider,
                clock=lambda: self.wall,
                timer=lambda: self.true_time,
                sleep=self.let_pass,
                rng=rng,
            ),
            limits=Limits(),
        )

    def _credentials(self) -> Credentials:
        if self.kind == "refresh_token":
            return Credentials(name=ACCOUNT, refresh_token=self._first)
        return Credentials(name=ACCOUNT, email=EMAIL, password=self.password)

    def may_log_in(self) -> bool:
        """Tell whether a login is possible: there is a password, and nobody has said that it takes a person."""
        return self.kind == "password" and not self.halted

    # Events.

    def happen(self, event: tuple[str, Any]) -> None:
        """Let one thing happen, then check what must always hold.

        Args:
            event: its name and what belongs to it; see the methods that are called ``_on_NAME``.

        Raises:
            Broken: a promise does not hold.
        """
        name, argument = event
        self.log.append(f"{name} {argument}")
        getattr(self, f"_on_{name}")(argument)

    def _on_wait(self, seconds: float) -> None:
        self.let_pass(seconds)

    def _on_clock(self, seconds: float) -> None:
        self.wall += seconds

    def _on_attempt(self, attempt: tuple[str, list[str], str, str]) -> None:
        """Renew once, in bad luck.

        Args:
            attempt: how it is asked for, what happens at the token endpoint, what to logins, what on the node.
        """
        how, troubles, self.provider.login_trouble, circumstance = attempt
        self.provider.trouble = list(troubles)
        self._wait_until_due(how)
        arguments = {"lift": how == "lift", "log_in": how != "quick"}
        if how == "rejected":
            arguments["reason"] = "rejected"  # type: ignore[assignment]
        if how == "lift":
            self.halted = False
        with self._circumstance(circumstance):
            outcome = self._renew(arguments)
        if circumstance == "crowded" and outcome is not None and outcome.error_class == "store_error":
            raise Broken(f"a save failed because another file of the store was written: {outcome.message}")

    @contextmanager
    def _circumstance(self, kind: str) -> Iterator[None]:
        with ExitStack() as stack:
            if kind == "full disk":
                stack.enter_context(self._full_disk())
            elif kind == "crowded":
                stack.enter_context(self._crowded())
            elif kind == "locked":
                stack.enter_context(self._store._folder.lock(".node.lock", 0))
            yield

    def _on_errors(self, html: bool) -> None:
        self.provider.html_errors = html

    def _on_revoke(self, _argument: None) -> None:
        self.provider.ended = set(range(self.provider.families + 1))

    def _on_salt(self, _argument: None) -> None:
        (self.folder / ".salt").unlink(missing_ok=True)

    def _on_breaker(self, _argument: None) -> None:
        """Other accounts of the node were turned away, so that it pauses."""
        self._store.change_node(self._turned_away)

    def _turned_away(self, state: Any) -> Any:
        for number in range(3):
            for attempt in ("login", "refresh"):
                breaker = state.breaker(attempt).result(f"other-{number}", "ip_blocked", self.wall, Limits())
                state = state.with_breaker(attempt, breaker)
        return state

    def _on_password(self, right: bool) -> None:
        if self.kind == "password":
            self.password = PASSWORD if right else f"wrong-{len(self.log)}"
            self.renewer.credentials = {ACCOUNT: self._credentials()}

    def _on_settings(self, _argument: None) -> None:
        self.settings = {**self.settings, "prompt": f"login {len(self.log)}"}
        self.renewer.provider = example_provider(**self.settings)

    def _wait_until_due(self, how: str) -> None:
        due = self._due()
        if how in {"due", "quick"} and due is not None and due - self.wall < 30 * DAY:
            self.let_pass(max(0.0, due - self.wall))

    def _due(self) -> float | None:
        with suppress(Exception):
            return self.renewer.due_at(ACCOUNT)
        return self.wall + 10.0

    def write_as_another(self) -> None:
        """Store another refresh token, as a foreign program does that knows nothing of locks."""
        self.tampered = True
        record = self._store.load(ACCOUNT)
        if record is not None:
            number = next(self._numbers)
            self._store.save(replace(record, refresh_token=f"planted-foreign-{number}", refresh_sent_at=None))

    @contextmanager
    def _crowded(self) -> Iterator[None]:
        """Another process changes what the accounts share whenever the record is about to take its place."""
        real = os.rename

        def rename(draft: str, path: str, **folders: Any) -> None:
            if path == f"{ACCOUNT}.json" and not self._held:
                number = float(next(self._numbers))
                self._store.change_node(lambda state: replace(state, queue=(("other", number),)))
            real(draft, path, **folders)

        with mock.patch("os.rename", rename):
            yield

    def lock_the_node(self) -> None:
        """Let another process hold the node's lock from now on until the renewal has ended."""
        if not self._held:
            lock = self._store._folder.lock(".node.lock", 0)
            lock.__enter__()
            self._held.append(lock)

    def _renew(self, arguments: dict[str, Any]) -> Outcome | None:
        outcome = None
        # What an operator may change lifts a halt, so it is asked for first.
        self._lift_if_changed()
        try:
            outcome = self.renewer.renew(ACCOUNT, **arguments)
        except Killed:
            self.renewer = self._new_renewer()
        finally:
            while self._held:
                self._held.pop().__exit__(None, None, None)
        self._look()
        return outcome

    def _lift_if_changed(self) -> None:
        with suppress(Exception):
            self.halted = self.renewer.forecast(ACCOUNT).state in {"quarantined", "needs_operator"}

    def _look(self) -> None:
        """Check that every delivered token was stored, and that the last one is there as long as it is good."""
        record = self._store.load(ACCOUNT)
        if record is not None:
            self.halted = record.state in {"quarantined", "needs_operator"}
            if record.refresh_token is not None:
                self._saved.add(record.refresh_token)
        delivered = [name for name, token in self.provider.tokens.items() if token.delivered]
        for name in delivered:
            if name not in self._saved:
                raise Broken(f"{name} was delivered and never stored")
        if delivered and not self.tampered:
            last = self.provider.tokens[delivered[-1]]
            good = last.spent_at is None and last.family not in self.provider.ended
            if good and (record is None or record.refresh_token != delivered[-1]):
                raise Broken(f"{delivered[-1]} was delivered, is good, and is not there any more")

    @contextmanager
    def _full_disk(self) -> Iterator[None]:
        real = atomic_file.replace

        def replace(path: str, data: bytes, *, reserved: bool = False, **options: Any) -> None:
            if not reserved:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(path, data, reserved=True, **options)

        def reserve(*_arguments: Any, **_options: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with mock.patch.object(atomic_file, "replace", replace), mock.patch.object(atomic_file, "reserve", reserve):
            yield

    # The end.

    def recover(self) -> None:
        """Let everything be well again, and check that the account comes back by itself.

        Raises:
            Broken: it does not, although nothing stands against it.
        """
        self.provider.trouble, self.provider.login_trouble = [], ""
        self.provider.html_errors = False
        true_wall = START + self.true_time
        self.wall = true_wall
        outcome = None
        for _ignored in range(20):
            outcome = self._renew({"reason": "rejected"} if self._service_rejects() else {})
            if outcome is not None and outcome.usable and outcome.state == "valid":
                return
            due = self._due()
            if due is None:
                break
            self.let_pass(min(max(due - self.wall, 1.0), 2 * DAY))
        if self._may_stay_halted():
            return
        raise Broken(f"the account does not come back: {outcome}")

    def _service_rejects(self) -> bool:
        """Tell whether the service answers 401, because the access token has ended whatever the node's clock shows."""
        record = self._store.load(ACCOUNT)
        ends = self.provider.access_ends.get(record.access_token or "") if record is not None else None
        return ends is not None and self.true_time >= ends

    def _may_stay_halted(self) -> bool:
        """Tell whether only the operator can help: a wrong password, a person asked for, a grant that is gone."""
        record = self._store.load(ACCOUNT)
        if record is None or record.state not in {"quarantined", "needs_operator"}:
            return False
        if self.tampered or record.rejected:
            return True
        if self.kind == "refresh_token":
            return not any(
                token.family not in self.provider.ended and token.spent_at is None and token.delivered
                for token in self.provider.tokens.values()
            )
        return True
