# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One renewal under the account's lock: what is about to happen is written down first, what came is stored first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from . import oauth
from .consequence import after_answer, after_failure, held_back
from .credentials import Credentials
from .decide import next_step, rejected_again
from .entry import up_to_date
from .errors import AccountError, InvalidGrant, NetworkError, ProviderError, StoreError
from .grant import Grant
from .limits import Limits
from .login import log_in
from .node_gate import NodeGate, NotYet, Paused
from .oauth import TokenAnswer
from .outcome import Action, Outcome, outcome_of
from .provider import Provider
from .record import HALTED, Record
from .runtime import Runtime
from .situation import Situation
from .store import Store
from .transport import Client

FOREIGN_GRANTS = 2
"""How many refresh tokens of a foreign writer are tried before the account waits."""

SAVE_PAUSES = (0.1, 1.0, 3.0)
"""Seconds between the tries to store what the provider delivered: it exists nowhere else."""


@dataclass(frozen=True)
class Rejection:
    """A report that the service answered 401.

    Attributes:
        fingerprint: the token that was rejected; None when nobody knows.
        tried_at: when it was used, in seconds since the epoch.
    """

    fingerprint: str | None
    tried_at: float | None


class Attempt:
    """One renewal. ``record`` is always what the store holds or is about to hold.

    Args:
        credentials: the account.
        store: where its record lives; its lock is held.
        runtime: time, randomness, the way to the provider.
        limits: the policy.
        situation: returns what decisions depend on at this moment.
        connect: returns the provider with its endpoints, asked for over a client.
        patience: returns for how many seconds a turn to log in may be waited for.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        store: Store,
        runtime: Runtime,
        limits: Limits,
        situation: Callable[[], Situation],
        connect: Callable[[Client], Provider],
        patience: Callable[[], float],
    ) -> None:
        self._credentials = credentials
        self._store = store
        self._runtime = runtime
        self._limits = limits
        self._situation = situation
        self._connect = connect
        self._patience = patience
        self._gate = NodeGate(credentials.name, store=store, runtime=runtime, limits=limits)
        self._warnings: list[str] = []
        if store.is_damaged(credentials.name):
            self._warnings.append(
                f"The record of account {credentials.name} could not be read and was put aside as"
                f" {credentials.name}.json.damaged: its tokens and its login budget begin anew."
            )
        self._stored = store.load(credentials.name, repair=True)
        self._before = self._stored or Record(name=credentials.name)
        self.record = self._before

    # The journal of the login: what it is about to do is on the disk first.

    @property
    def last_code_step(self) -> int | None:
        """See `login.Journal`."""
        return self.record.code_step

    def password_submission(self) -> None:
        """See `login.Journal`."""
        self._save(replace(self.record, submissions=(*self.record.submissions, self._runtime.clock())))

    def code_submission(self, step: int) -> None:
        """See `login.Journal`."""
        self._save(replace(self.record, code_step=step))

    def run(self, rejection: Rejection | None, *, lift: bool, may_log_in: bool) -> Outcome:
        """Do what is to be done now.

        Args:
            rejection: a 401 of the service, if that is the reason.
            lift: whether the operator ends what stands against an attempt.
            may_log_in: whether a login may follow; else it is left to a later call.

        Returns:
            What became of it.

        Raises:
            StoreError: the record could not be written.
        """
        situation = self._situation()
        self.record, warnings = up_to_date(self.record, situation, lift=lift)
        # The operator's word, or another way to the provider, is worth a trial.
        self._gate.on_trial = lift or self._before.proxy not in {None, self.record.proxy}
        self._warnings += warnings
        adopted = self.record.access_token is not None and self.record.access_token != self._before.access_token
        action: Action = "adopt" if adopted else "none"
        if rejection is not None and not adopted and self._concerns_us(rejection, situation.now):
            self.record = rejected_again(self.record, situation)
        step = self._next_step()
        if step == "refresh":
            action = "refresh"
            if self._refresh(urgent=rejection is not None):
                step = self._next_step()
        login_due = step == "login" and not may_log_in
        if step == "login" and may_log_in and self._log_in():
            action = "login"
        if self.record != self._stored:
            self._save(self.record)
        changed = (self.record.access_token, self.record.state) != (self._before.access_token, self._before.state)
        return outcome_of(
            self.record,
            self._situation(),
            action=action,
            changed=changed,
            warnings=tuple(self._warnings),
            login_due=login_due,
        )

    def _next_step(self) -> Action:
        step, self.record = next_step(self.record, self._situation())
        return step

    def _concerns_us(self, rejection: Rejection, now: float) -> bool:
        record = self.record
        if record.access_token is None or record.rejected:
            return False
        if rejection.fingerprint not in {None, record.token_fingerprint}:
            return False
        if rejection.tried_at is not None and record.issued_at is not None and rejection.tried_at < record.issued_at:
            return False
        return not (record.rejections and now - record.rejections[-1] < self._limits.rejection_debounce)

    # The refresh.

    def _refresh(self, *, urgent: bool) -> bool:
        """Try the refresh token; return whether the decision must be made again because it is of no use."""
        try:
            self._gate.wait_for_refresh(self._situation().egress, urgent=urgent)
        except Paused as paused:
            self._hold_back(paused.until)
            return False
        error: AccountError | None
        again = False
        try:
            with self._runtime.client(self._credentials, self._limits) as client:
                provider = self._connect(client)
                error, again = self._exchange(client, provider)
                self._watch_clock(client)
        except AccountError as failure:
            error = failure
        finally:
            self._store.release(self.record.name)
        self._learn("refresh", error)
        if error is not None and not again:
            self._failed(error)
        return again

    def _exchange(self, client: Client, provider: Provider) -> tuple[AccountError | None, bool]:
        """Send the refresh token; return what went wrong, and whether the decision must be made again."""
        refused: set[str] = set()
        started = self._runtime.timer()
        may_repeat = provider.rotation_leeway > 0
        while (grant := self.record.grant) is not None:
            # A full disk shows here, before anything is lost.
            self._store.reserve(self.record.name)
            self._save(self.record.with_grant(grant.sending(self._runtime.clock())))
            try:
                answer = oauth.refresh(client, provider, grant.token)
            except NetworkError as error:
                if not error.sent:
                    # This attempt is undone; one before it that is open stays open.
                    self.record = self.record.with_grant(grant)
                    return error, False
                if may_repeat and self._runtime.timer() - started <= provider.rotation_leeway:
                    may_repeat = False
                    continue
                return error, self._situation().can_log_in(self.record) and self.record.state not in HALTED
            if not (isinstance(answer.error, InvalidGrant) or self._asks_for_a_login(answer)):
                self._receive(answer, grant)
                return answer.error, False
            # Read again inside the lock: a restored backup or a foreign tool may have brought another one.
            refused.add(grant.token)
            other = self._foreign_grant(refused)
            self._save(self.record.with_grant(other))
            if other is None:
                return answer.error, True
            if len(refused) > FOREIGN_GRANTS:
                return ProviderError(
                    "The provider refused one refresh token after the other that another program has stored.",
                    cure="Find out which program beside this collection writes into the token store.",
                ), False
        return None, True

    def _asks_for_a_login(self, answer: TokenAnswer) -> bool:
        """Tell whether the provider wants something that is said about no refresh token, and a login can give it.

        A password or a second factor was not even sent, so nothing is to be learned of them.
        """
        error = answer.error
        final = error is not None and error.consequence != "waiting" and answer.definite
        return final and answer.refresh_token is None and self._situation().can_log_in(self.record)

    def _foreign_grant(self, refused: set[str]) -> Grant | None:
        stored = self._store.load(self.record.name)
        grant = None if stored is None else stored.grant
        return grant if grant is not None and grant.token not in refused and grant.fate == "unsent" else None

    def _receive(self, answer: TokenAnswer, sent: Grant | None) -> None:
        """Store what the provider delivered, before anything else happens."""
        self._save_delivered(after_answer(self.record, answer, sent))

    def _save_delivered(self, record: Record) -> None:
        for pause in SAVE_PAUSES:
            try:
                self._save(record, reserved=True)
            except StoreError:
                self._runtime.sleep(pause)
            else:
                return
        self._save(record)

    # The login.

    def _log_in(self) -> bool:
        """Log in when it is the account's turn; return whether it was."""
        try:
            with self._gate.login_turn(self._credentials.turn, self._patience):
                self._store.reserve(self.record.name)
                try:
                    error = self._submit_credentials()
                finally:
                    self._store.release(self.record.name)
        except NotYet as later:
            since = self._runtime.clock()
            self.record = replace(self.record, state="waiting", not_before=later.at, waiting_since=since)
            return False
        except Paused as paused:
            self._hold_back(paused.until)
            return True
        self._learn("login", error)
        if error is not None:
            self._failed(error)
        return True

    def _submit_credentials(self) -> AccountError | None:
        try:
            with (
                self._runtime.client(self._credentials, self._limits) as client,
                client.within(self._limits.login_timeout),
            ):
                answer = log_in(
                    client,
                    self._connect(client),
                    self._credentials,
                    journal=self,
                    limits=self._limits,
                    sleep=self._runtime.sleep,
                    rng=self._runtime.rng,
                )
                self._receive(answer, None)
                self._watch_clock(client)
        except AccountError as error:
            return error
        if answer.refresh_token is None:
            self._warnings.append(
                f"The provider gave account {self.record.name} no refresh token, so every renewal is a login: "
                "scope must hold offline_access, and some providers want prompt to hold consent."
            )
        return answer.error

    # What both share.

    def _learn(self, attempt: Literal["login", "refresh"], error: AccountError | None) -> None:
        """Tell the node's breaker how an attempt ended; its result is stored by now, so a failure harms nobody."""
        try:
            self._gate.learn(attempt, None if error is None else error.error_class)
        except StoreError as trouble:
            self._warnings.append(f"The node could not learn from the attempt. {trouble.sentence}")

    def _hold_back(self, until: float) -> None:
        self.record = held_back(self.record, until, self._runtime.clock())

    def _failed(self, error: AccountError) -> None:
        self._save(after_failure(self.record, error, self._situation(), self._runtime.rng))

    def _watch_clock(self, client: Client) -> None:
        if client.skew is not None and abs(client.skew) > self._limits.totp_skew:
            self._warnings.append(f"The node's clock differs from the provider's by {client.skew:+.0f} s: set it.")

    def _save(self, record: Record, *, reserved: bool = False) -> None:
        self._stored = self.record = self._store.save(record, reserved=reserved)
