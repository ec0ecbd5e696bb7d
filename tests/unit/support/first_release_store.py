# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program of the first release: it writes a store with accounts in every state, or tells what it reads in one.

Run it with the first release's `collections` and `tests/unit/support` in PYTHONPATH, and with -P, so that nothing of
the present is found: first_release_store.py write|read FOLDER. Accounts are named after what happened to them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# By name, because a type checker sees the present library.
ACCOUNTS = "ansible_collections.dcta.fleet.plugins.module_utils.accounts"
credentials, errors, policy, renewal, store = (
    importlib.import_module(f"{ACCOUNTS}.{name}") for name in ("credentials", "errors", "policy", "renewal", "store")
)
fake: Any = importlib.import_module("identity_fake")

SALT = bytes(range(32))
LIFETIME = 864_000.0
PASSWORD = {"email": fake.EMAIL, "password": fake.PASSWORD}


class Crash(Exception):
    """The process ended in the middle of a renewal."""


class Provider(fake.FakeProvider):  # type: ignore[misc]
    """The provider of one account, whose tokens name it."""

    def __init__(self, clock: Any, account: str) -> None:
        super().__init__(clock)
        self.account = account

    def issue(self) -> Any:
        """Hand out the next tokens."""
        answer = json.loads(super().issue().text)
        self.live.discard(answer.get("refresh_token"))
        for kind in {"access_token", "refresh_token"} & set(answer):
            answer[kind] += f"-of-{self.account}"
        self.live.add(answer.get("refresh_token"))
        return fake.document(answer)


class Node:
    """A node on which one thing after the other happens."""

    def __init__(self, folder: Path) -> None:
        self.clock = fake.Clock()
        self.store = store.Store(str(folder), fake.me(), sleep=self.clock.sleep)
        self.store.adopt_salt(SALT)

    def account(self, name: str, limits: dict[str, float] | None = None, **entry: str) -> Account:
        """Return an account of the node."""
        return Account(self, name, {"login_gap": 0, "login_gap_random": 0, **(limits or {})}, entry or PASSWORD)


class Account:
    """An account with a provider of its own."""

    def __init__(self, node: Node, name: str, limits: dict[str, float], entry: dict[str, str]) -> None:
        self.name = name
        self.clock = node.clock
        self.provider = Provider(node.clock, name)
        self.renewer = renewal.Renewer(
            store=node.store,
            provider=fake.example_provider(),
            credentials={name: credentials.Credentials(name=name, **entry)},
            session_factory=self.provider.session,
            limits=policy.Limits.from_mapping(limits),
            clock=node.clock,
            sleep=node.clock.sleep,
            rng=random.Random(1),  # noqa: S311 - the store has to come out the same every time
            login_wait=0,
        )

    def renew(self, **report: Any) -> None:
        """Renew it."""
        self.renewer.renew(self.name, **report)

    def reject(self) -> None:
        """Report that the service answered 401."""
        self.clock.now += 60
        self.renew(reason="rejected")

    def renew_when_due(self) -> None:
        """Wait until it is due and renew it."""
        self.clock.now = max(self.clock.now, self.renewer.due_at(self.name) + 1)
        self.renew()

    def answer(self, path: str, reply: Any) -> None:
        """Let the provider answer otherwise."""
        self.provider.answers[path] = reply

    @contextlib.contextmanager
    def crash_at(self, path: str) -> Iterator[None]:
        """Let the process end when it asks for a path."""

        def crash(_form: dict[str, str]) -> Any:
            raise Crash

        self.answer(path, crash)
        with contextlib.suppress(Crash):
            yield


def with_passwords(node: Node) -> None:
    """Let accounts with a password come into every state."""
    node.account("logged-in").renew()

    with_codes = node.account("with-codes", **PASSWORD, totp_secret=fake.TOTP_SECRET)
    with_codes.provider.mfa = True
    with_codes.renew()

    refreshed = node.account("refreshed")
    refreshed.renew()
    refreshed.reject()

    mid_login = node.account("mid-login")
    with mid_login.crash_at("POST /u/login/password"):
        mid_login.renew()

    mid_refresh, outage = node.account("mid-refresh"), node.account("outage")
    for account in (mid_refresh, outage):
        account.renew()
    with mid_refresh.crash_at("POST /oauth/token"):
        mid_refresh.renew_when_due()
    outage.answer("POST /oauth/token", fake.Reply(503, {"Retry-After": "7200"}))
    outage.renew_when_due()

    over_budget = node.account("over-budget", limits={"login_submissions": 2, "login_interval": 0})
    over_budget.answer("GET /authorize/resume", fake.Reply(503))
    for _again in range(3):
        over_budget.renew()
        over_budget.clock.now += 600

    wrong_password = node.account("wrong-password", email=fake.EMAIL, password="planted-wrong-password")
    wrong_password.renew()

    new_rejected = node.account("new-rejected", limits={"login_interval": 0})
    new_rejected.renew()
    for _again in range(3):
        new_rejected.reject()

    captcha = node.account("captcha")
    captcha.answer(
        "GET /u/login/identifier", fake.page(fake.form(fake.IDENTIFIER, '<input name="captcha" type="text">'))
    )
    captcha.renew()


def without_passwords(node: Node) -> None:
    """The same with accounts that have tokens alone."""
    node.account("by-hand", access_token=fake.jwt(node.clock.now + LIFETIME)).renew()
    node.account("by-hand-opaque", access_token="planted-opaque").renew()
    ended = node.account("by-hand-ended", access_token=fake.jwt(node.clock.now + 3600))
    ended.renew()
    node.clock.now += 3601
    ended.renew()

    refresh_only = node.account("refresh-only", refresh_token="planted-refresh-by-hand")
    refresh_only.provider.live.add("planted-refresh-by-hand")
    refresh_only.renew()
    node.account("refresh-refused", refresh_token="planted-refresh-refused").renew()

    lost_answer = node.account("lost-answer", refresh_token="planted-refresh-lost")

    def lose(_form: dict[str, str]) -> Any:
        raise errors.NetworkError("login.example.test did not answer in time.", sent=True)

    lost_answer.answer("POST /oauth/token", lose)
    lost_answer.renew()

    turned_away = node.account("turned-away", limits={"breaker_accounts": 1}, refresh_token="planted-refresh-away")
    turned_away.answer("POST /oauth/token", fake.Reply(429, {"Retry-After": "600"}))
    turned_away.renew()


def write(folder: Path) -> None:
    """Write a store with accounts in every state, into an empty folder."""
    node = Node(folder)
    with_passwords(node)
    without_passwords(node)
    for account in ("before-it", "in-the-queue"):
        node.account(account, limits={"login_gap": 3600}).renew()


def read(folder: Path) -> dict[str, Any]:
    """Return what the library reads: each account's record, and what they share."""
    found = store.Store(str(folder), fake.me())
    records = {name: found.load(name) for name in found.names()}
    return {
        "records": {name: record and dataclasses.asdict(record) for name, record in records.items()},
        "node": dataclasses.asdict(found.node()),
        "salt": found.salt().hex(),
    }


if __name__ == "__main__":
    verb, place = sys.argv[1:]
    if verb == "write":
        write(Path(place))
    else:
        print(json.dumps(read(Path(place))))
