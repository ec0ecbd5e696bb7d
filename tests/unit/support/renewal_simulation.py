# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One account through any sequence of bad luck, with a provider that knows what really became of every token.

The simulation is told events, one after the other, and checks after each that no token that may be spent was sent again
while a login was possible, and that none that was delivered is lost. It runs the real library on a real folder; only
time, the disk's limits and the provider are made.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from ansible_collections.dcta.fleet.plugins.module_utils.accounts import atomic_file
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.outcome import Outcome
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.renewer import Renewer
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.runtime import Runtime
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from identity_fake import (
    EMAIL,
    PASSWORD,
    START,
    example_provider,
    me,
)
from simulated_provider import DAY, Broken, Killed, Provider

# Its hidden file of the node must not meet that of an account, so the account has the most dangerous name.
ACCOUNT = "node"
MOST_WRITTEN = 20


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
            self._first = self.provider.issue(1)["refresh_token"]
        self._saved: set[str] = {self._first} if self._first else set()
        self._numbers = itertools.count()
        self._held: list[AbstractContextManager[None]] = []
        self.tampered = False
        self._written = 0
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
        """Tell whether a login is possible: a password that was not rejected, and no need of a person."""
        return self.kind == "password" and not self.halted and self.password not in self.provider.rejected

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
            self.provider.rejected.clear()
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
        self._written += 1
        if self._written > MOST_WRITTEN:
            raise Broken("a renewal goes on for as long as another program changes the record")
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
        self._written = 0
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
