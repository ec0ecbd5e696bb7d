# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one entry to a renewal: lock, reload, check again, then adopt, refresh or log in; store before anyone is told."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from . import oauth
from .credentials import Credentials, Kind, token_fingerprint
from .errors import (
    AccountError,
    BadCredentials,
    ConfigurationError,
    InvalidGrant,
    IpBlocked,
    NetworkError,
    RateLimited,
    StoreError,
    TokenExpired,
    TokenRejected,
)
from .login import log_in
from .oauth import Tokens
from .policy import (
    Breaker,
    Limits,
    NodeState,
    Turn,
    backoff,
    due_at,
    in_advisory_zone,
    is_fresh,
    login_allowed_at,
    login_opens,
    settle,
)
from .provider import Provider, discover
from .record import LastError, Record, State
from .store import Store
from .transport import Client, Session

Action = Literal["none", "adopt", "refresh", "login"]
Reason = Literal["expiry", "rejected"]

_HALTED = frozenset({"quarantined", "needs_operator"})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a call, without any secret. Times are seconds since the epoch.

    Attributes:
        name: the account.
        kind: how it gets tokens; None if its credentials are not known yet.
        state: see `record`.
        usable: whether a lane may run with the stored token now.
        action: what was done, or what `Renewer.predict` expects to be done.
        changed: whether token or state changed, or would change.
        expires_at: when the token in use runs out; None if nobody knows.
        next_renewal: when a renewal should next be called for; None when only the operator can change something.
        error_class: class of the last failure, None when all is well.
        message: one sentence.
        cure: what to do, empty when all is well.
        warnings: sentences on what will soon need attention.
        token_fingerprint: names the token in use.
    """

    name: str
    kind: Kind | None
    state: State
    usable: bool
    action: Action
    changed: bool
    expires_at: float | None = None
    next_renewal: float | None = None
    error_class: str | None = None
    message: str = ""
    cure: str = ""
    warnings: tuple[str, ...] = ()
    token_fingerprint: str | None = None


class Renewer:
    """Keeps the accounts of a node supplied with tokens.

    Args:
        store: where records live; shared with every other process that renews.
        provider: the identity provider.
        credentials: the accounts by name; may be replaced when the operator changes them.
        session_factory: makes a session with an empty cookie jar that leaves through the account's proxy.
        limits: the policy.
        clock: returns seconds since the epoch.
        sleep: waits some seconds.
        rng: source of randomness; `random.SystemRandom` outside of tests.
        login_wait: seconds from now on in which turns to log in are waited for; an account whose turn comes later is
            left ``waiting`` for a later call. None: every account waits for its turn for at most one gap.
    """

    def __init__(
        self,
        *,
        store: Store,
        provider: Provider,
        credentials: Mapping[str, Credentials],
        session_factory: Callable[[Credentials], Session],
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
        login_wait: float | None = None,
    ) -> None:
        self.store = store
        self.provider = provider
        self.credentials = credentials
        self.limits = limits or Limits()
        self._session_factory = session_factory
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.SystemRandom()
        self._login_wait = login_wait
        self._started = clock()

    def renew(
        self,
        name: str,
        *,
        reason: Reason = "expiry",
        token_fingerprint: str | None = None,
        tried_at: float | None = None,
        lift: bool = False,
    ) -> Outcome:
        """Make sure that an account has a good token, if anything may be done about it now.

        Args:
            name: the account.
            reason: ``expiry`` renews what is due; ``rejected`` reports that the service answered 401.
            token_fingerprint: the token that was rejected; a report on another one than the one in use is ignored.
            tried_at: when the rejected token was used; a report on a use before the present token was issued is
                ignored.
            lift: first end a quarantine, a waiting time or the need of the operator, by an operator's command; the
                budget of password submissions stays as it is.

        Returns:
            What became of it. A failed login is an outcome, never an exception.

        Raises:
            ConfigurationError: there is no such account.
        """
        credentials = self._credentials_of(name)
        try:
            with self.store.lock(name, self.limits.lock_timeout):
                return _Attempt(self, credentials, self.store.salt()).run(
                    _Rejection(token_fingerprint, tried_at) if reason == "rejected" else None, lift=lift
                )
        except StoreError as error:
            return self._store_trouble(credentials, error)

    def predict(self, name: str, *, lift: bool = False) -> Outcome:
        """Tell what `renew` would do now, without writing or sending anything.

        Args:
            name: the account.
            lift: see `renew`.

        Returns:
            The present state, and in ``action`` what would be done.

        Raises:
            ConfigurationError: there is no such account.
            StoreError: the record cannot be read.
        """
        credentials = self._credentials_of(name)
        situation = self.situation(credentials, self.store.existing_salt() or b"")
        return outlook(self.store.load(name), situation, lift=lift)

    def due_at(self, name: str) -> float | None:
        """Return when `renew` should next be called for an account.

        Args:
            name: the account.

        Returns:
            Seconds since the epoch (the past: at once), or None when only the operator can change something. For an
            account with nothing but an access token it is the token's expiry.

        Raises:
            ConfigurationError: there is no such account.
            StoreError: the record cannot be read.
        """
        return self.predict(name).next_renewal

    def forget(self, name: str) -> AccountError | None:
        """Revoke an account's refresh token and remove all that the store knows of it.

        Args:
            name: the account; its credentials are used for the proxy if they are still there.

        Returns:
            Why the revocation failed, if it did; the files are gone all the same.

        Raises:
            StoreError: the files cannot be removed.
        """
        failure: AccountError | None = None
        with self.store.lock(name, self.limits.lock_timeout):
            record = self.store.load(name)
            if record is not None and record.refresh_token is not None:
                try:
                    with self.client(self.credentials.get(name) or Credentials(name=name)) as client:
                        oauth.revoke(client, self.discovered(client), record.refresh_token)
                except AccountError as error:
                    failure = error
            self.store.remove(name)
        return failure

    @contextlib.contextmanager
    def client(self, credentials: Credentials) -> Iterator[Client]:
        """Open a session of an account and close it afterwards.

        Args:
            credentials: the account.

        Raises:
            NetworkError: there is no way to the provider, such as an unusable proxy.
        """
        session = self._session_factory(credentials)
        try:
            yield Client(session, self._clock)
        finally:
            session.close()

    def discovered(self, client: Client) -> Provider:
        """Return the provider with its endpoints, asked for once.

        Args:
            client: the way to the provider.

        Raises:
            AccountError: discovery failed.
        """
        self.provider = discover(client, self.provider)
        return self.provider

    def situation(self, credentials: Credentials, salt: bytes) -> Situation:
        """Return what decisions on an account depend on at this moment.

        Args:
            credentials: the account.
            salt: the node's salt.
        """
        return Situation(
            credentials=credentials,
            salt=salt,
            now=self._clock(),
            limits=self.limits,
            leeway=self.provider.rotation_leeway,
        )

    def patience(self) -> float:
        """Return for how many seconds an account may wait for its turn to log in."""
        if self._login_wait is None:
            return self.limits.longest_gap
        return min(self._login_wait, self._started + self._login_wait - self._clock())

    def _credentials_of(self, name: str) -> Credentials:
        found = self.credentials.get(name)
        if found is None:
            raise ConfigurationError(
                f"There are no credentials for account {name}.",
                cure="Correct its name, or add the account to the vault.",
            )
        return found

    def _store_trouble(self, credentials: Credentials, error: StoreError) -> Outcome:
        now = self._clock()
        try:
            record = self.store.load(credentials.name)
        except StoreError:
            record = None
        record = record or Record(name=credentials.name)
        return Outcome(
            name=credentials.name,
            kind=credentials.kind,
            state=record.state,
            usable=record.usable(now),
            action="none",
            changed=False,
            expires_at=record.expires_at,
            next_renewal=now + self.limits.mandatory_backoff,
            error_class=error.error_class,
            message=error.sentence,
            cure=error.cure,
            token_fingerprint=record.token_fingerprint,
        )


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Everything besides the record that a decision depends on.

    Attributes:
        credentials: the account as the operator wrote it.
        salt: the node's salt; empty before it was made.
        now: seconds since the epoch.
        limits: the policy.
        leeway: seconds in which the provider accepts a rotated refresh token again.
    """

    credentials: Credentials
    salt: bytes
    now: float
    limits: Limits
    leeway: float

    @property
    def kind(self) -> Kind:
        """How the account gets tokens."""
        return self.credentials.kind

    def can_log_in(self, record: Record) -> bool:
        """Tell whether there is a password that was not rejected already."""
        return self.kind == "password" and self.credentials.login_fingerprint(self.salt) != record.rejected_login


def foresee(credentials: Credentials, limits: Limits, provider: Provider) -> Outcome:
    """Tell what a first renewal would do on a node that has no store yet.

    Args:
        credentials: the account.
        limits: the policy.
        provider: the identity provider.

    Returns:
        What is to be expected.
    """
    situation = Situation(
        credentials=credentials, salt=b"", now=time.time(), limits=limits, leeway=provider.rotation_leeway
    )
    return outlook(None, situation)


def outlook(record: Record | None, situation: Situation, *, lift: bool = False) -> Outcome:
    """Tell what a renewal would do, from a record alone.

    Args:
        record: as stored; None before the first login.
        situation: account, time and policy.
        lift: see `Renewer.renew`.

    Returns:
        The present state, and in ``action`` what would be done.
    """
    before = record or Record(name=situation.credentials.name)
    after = _up_to_date(before, situation, lift=lift)
    adopted = after.access_token is not None and after.access_token != before.access_token
    action, after = _plan(after, situation)
    if action == "none" and adopted:
        action = "adopt"
    changed = action != "none" or after.state != before.state
    return describe(after, situation, action=action, changed=changed)


def describe(
    record: Record, situation: Situation, *, action: Action, changed: bool, warnings: tuple[str, ...] = ()
) -> Outcome:
    """Turn a record into an outcome.

    Args:
        record: the account's record.
        situation: account, time and policy.
        action: what was done or would be.
        changed: whether it changed anything.
        warnings: sentences to pass on.

    Returns:
        The outcome.
    """
    usable = record.usable(situation.now)
    if situation.kind == "access_token" and usable and record.expires_at is not None:
        remaining = record.expires_at - situation.now
        if remaining < situation.limits.expiry_notice:
            notice = f"The access token of account {record.name} was supplied by hand and expires in {_span(remaining)}"
            warnings = (*warnings, f"{notice}: supply a new one.")
    if record.error is not None:
        message, cure = record.error.sentence, record.error.cure
    elif record.state == "waiting":
        message, cure = "The account waits for its turn to log in.", ""
    elif record.state == "valid" and usable:
        message, cure = "The token is good.", ""
    else:
        message, cure = "There is no good token yet.", ""
    return Outcome(
        name=record.name,
        kind=situation.kind,
        state=record.state,
        usable=usable,
        action=action,
        changed=changed,
        expires_at=record.expires_at,
        next_renewal=due_at(record, situation.kind, situation.salt, situation.limits),
        error_class=None if record.error is None else record.error.error_class,
        message=message,
        cure=cure,
        warnings=warnings,
        token_fingerprint=record.token_fingerprint,
    )


def reconcile(record: Record, situation: Situation) -> Record:
    """Bring a record in line with what the operator wrote.

    Args:
        record: the settled record.
        situation: account and time.

    Returns:
        The record: tokens of another identity are dropped, a changed hand-supplied token replaces the stored one, and a
        change lifts what it can cure.
    """
    credentials, salt, now = situation.credentials, situation.salt, situation.now
    entry = credentials.fingerprint(salt)
    if record.entry == entry:
        return record
    identity = credentials.fingerprint(salt, "email") if credentials.email else None
    supplied_access = token_fingerprint(credentials.access_token) if credentials.access_token else None
    supplied_refresh = token_fingerprint(credentials.refresh_token) if credentials.refresh_token else None
    known = record
    if record.identity is not None and identity is not None and identity != record.identity:
        known = Record(name=record.name)
    changed = replace(
        known,
        entry=entry,
        identity=identity or known.identity,
        supplied_access=supplied_access,
        supplied_refresh=supplied_refresh,
    )
    new_refresh = supplied_refresh is not None and supplied_refresh != known.supplied_refresh
    if new_refresh:
        changed = replace(changed, refresh_token=credentials.refresh_token, refresh_sent_at=None)
    adopted = False
    if credentials.access_token is not None and supplied_access != known.supplied_access:
        expires_at = oauth.jwt_expiry(credentials.access_token)
        adopted = expires_at is None or now < expires_at
        # An expired token is kept where there is nothing else, so that its expiry can be named.
        if adopted or situation.kind == "access_token":
            changed = replace(
                changed,
                access_token=credentials.access_token,
                issued_at=now,
                expires_at=expires_at,
                rejected_token=None,
                escalation=0,
            )
    if adopted or new_refresh or _cures(known, situation):
        return lifted(changed, now)
    return changed


def _up_to_date(record: Record, situation: Situation, *, lift: bool) -> Record:
    record = reconcile(settle(record, situation.now, situation.limits), situation)
    if lift and record.state not in {"new", "valid"}:
        return lifted(replace(record, rejected_login=None), situation.now)
    return record


def _cures(record: Record, situation: Situation) -> bool:
    if record.state == "quarantined":
        # Only what was rejected counts: another proxy does not make a wrong password right.
        return situation.credentials.login_fingerprint(situation.salt) != record.rejected_login
    # A provider that asked for patience gets it, whatever the operator changes.
    return not (record.state == "waiting" and record.error is not None and record.error.error_class == "rate_limited")


def lifted(record: Record, now: float) -> Record:
    """Return a record whose trouble is over by somebody's word, and which may be tried again.

    Args:
        record: any record.
        now: seconds since the epoch.
    """
    state: State = "valid" if record.usable(now) else "new"
    return replace(record, state=state, error=None, failures=0, not_before=None, escalation=0)


def _plan(record: Record, situation: Situation) -> tuple[Action, Record]:
    """Decide on the next step; the record comes back with the state that the decision itself leads to."""
    if record.state in _HALTED:
        return "none", record
    if situation.kind == "access_token":
        return "none", _supplied_by_hand(record, situation)
    if is_fresh(record, situation.salt, situation.now, situation.limits):
        return "none", replace(record, state="valid") if record.state == "new" else record
    if record.not_before is not None and situation.now < record.not_before:
        return "none", record
    sent_at = record.refresh_sent_at
    lost = sent_at is not None and (situation.leeway <= 0 or situation.now - sent_at > situation.leeway)
    if record.refresh_token is not None and not (lost and situation.can_log_in(record)):
        return "refresh", record
    # An answer was lost: the provider may have rotated the token, and using it again could cost the whole family.
    return _plan_login(replace(record, refresh_token=None, refresh_sent_at=None), situation)


def _plan_login(record: Record, situation: Situation) -> tuple[Action, Record]:
    if not situation.can_log_in(record):
        return "none", _halted(record, BadCredentials() if situation.kind == "password" else InvalidGrant(), situation)
    limits, now = situation.limits, situation.now
    allowed = login_allowed_at(record.submissions, limits)
    if now < allowed:
        budget = RateLimited(
            f"The account's budget of {limits.login_submissions} password submissions in {_span(limits.login_period)}, "
            f"at most one in {_span(limits.login_interval)}, is spent."
        )
        return "none", _waiting(record, min(allowed, now + limits.login_period), budget, now)
    return "login", record


def _supplied_by_hand(record: Record, situation: Situation) -> Record:
    if record.rejected:
        error: AccountError = TokenRejected(
            "The service rejects the access token that was supplied by hand.", cure="Supply a new access_token."
        )
        return _halted(record, error, situation)
    if not record.usable(situation.now):
        return _halted(record, TokenExpired(), situation)
    return replace(record, state="valid", error=None)


def _halted(record: Record, error: AccountError, situation: Situation) -> Record:
    """Stop an account for good; one without a password has none to correct, so it always needs a person."""
    quarantined = error.consequence == "quarantined" and situation.kind == "password"
    state: State = "quarantined" if quarantined else "needs_operator"
    return replace(record, state=state, not_before=None, error=_last(error, situation.now))


def _waiting(record: Record, until: float, error: AccountError, now: float) -> Record:
    """Let an account wait; the failure that led here stays the one that is shown."""
    return replace(record, state="waiting", not_before=until, error=record.error or _last(error, now))


def _last(error: AccountError, now: float) -> LastError:
    return LastError(error_class=error.error_class, sentence=error.sentence, cure=error.cure, at=now)


def _span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


class _NotYet(Exception):
    """The account's turn to log in is at ``at``, later than this call may wait."""

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at = at


class _Blocked(Exception):
    """The breaker lets nobody through before ``until``."""

    def __init__(self, until: float) -> None:
        super().__init__()
        self.until = until


@dataclass(frozen=True)
class _Rejection:
    """A report that the service answered 401."""

    fingerprint: str | None
    tried_at: float | None


class _Attempt:
    """One renewal under the account's lock. ``record`` is always what the store holds or is about to hold."""

    def __init__(self, renewer: Renewer, credentials: Credentials, salt: bytes) -> None:
        self._renewer = renewer
        self._store = renewer.store
        self._limits = renewer.limits
        self._credentials = credentials
        self._salt = salt
        self._now = renewer._clock
        self._stored = self._store.load(credentials.name, repair=True)
        self._before = self._stored or Record(name=credentials.name)
        self.record = self._before
        self._warnings: list[str] = []

    # The journal of the login: what it is about to do is on the disk first.

    @property
    def last_code_step(self) -> int | None:
        return self.record.code_step

    def password_submission(self) -> None:
        self._save(replace(self.record, submissions=(*self.record.submissions, self._now())))

    def code_submission(self, step: int) -> None:
        self._save(replace(self.record, code_step=step))

    def run(self, rejection: _Rejection | None, *, lift: bool) -> Outcome:
        situation = self._situation()
        self.record = _up_to_date(self.record, situation, lift=lift)
        adopted = self.record.access_token is not None and self.record.access_token != self._before.access_token
        action: Action = "adopt" if adopted else "none"
        if rejection is not None and not adopted and self._concerns_us(rejection, situation.now):
            self._count_rejection(situation)
        step = self._next_step()
        if step == "refresh":
            action = "refresh"
            if self._refresh():
                step = self._next_step()
        if step == "login" and self._log_in():
            action = "login"
        if self.record != self._stored:
            self._save(self.record)
        changed = (self.record.access_token, self.record.state) != (self._before.access_token, self._before.state)
        return describe(self.record, self._situation(), action=action, changed=changed, warnings=tuple(self._warnings))

    def _situation(self) -> Situation:
        return self._renewer.situation(self._credentials, self._salt)

    def _next_step(self) -> Action:
        step, self.record = _plan(self.record, self._situation())
        return step

    def _concerns_us(self, rejection: _Rejection, now: float) -> bool:
        record = self.record
        if record.access_token is None or record.rejected:
            return False
        if rejection.fingerprint not in {None, record.token_fingerprint}:
            return False
        if rejection.tried_at is not None and record.issued_at is not None and rejection.tried_at < record.issued_at:
            return False
        return not (record.rejections and now - record.rejections[-1] < self._limits.rejection_debounce)

    def _count_rejection(self, situation: Situation) -> None:
        """Draw the consequences of a 401: one refresh, then one login, then no more; and never too many in a row."""
        record, limits, now = self.record, self._limits, situation.now
        record = replace(record, rejected_token=record.token_fingerprint)
        fresh = record.issued_at is not None and now - record.issued_at <= limits.rejection_fresh
        level = record.escalation if fresh else 0
        if situation.kind == "access_token" or record.state in _HALTED:
            self.record = record
        elif level >= 2 or (level == 1 and situation.kind != "password"):
            self.record = _halted(record, TokenRejected(), situation)
        elif len(record.rejections) >= limits.rejection_renewals:
            until = now + limits.rejection_period
            if limits.rejection_renewals > 0:
                until = record.rejections[-limits.rejection_renewals] + limits.rejection_period
            self.record = _waiting(
                record, until, TokenRejected("The service rejects one new access token after the other."), now
            )
        else:
            if level == 1:
                # The refreshed token was rejected as well: only a login can still help.
                record = replace(record, refresh_token=None)
            self.record = replace(record, rejections=(*record.rejections, now), escalation=level)

    def _refresh(self) -> bool:
        """Try the refresh token; return whether the plan must be made again because the token is of no use."""
        try:
            with self._admitted("refresh"), self._renewer.client(self._credentials) as client:
                provider = self._renewer.discovered(client)
                tokens = self._send_refresh(client, provider)
        except _Blocked as blocked:
            self._hold_back(blocked.until)
        except InvalidGrant:
            # Read again inside the lock: a restored backup or a foreign tool may have brought another one.
            stored = self._store.load(self.record.name)
            used = self.record.refresh_token
            other = stored.refresh_token if stored is not None and stored.refresh_token != used else None
            self._save(replace(self.record, refresh_token=other, refresh_sent_at=None))
            return self._refresh() if other is not None else True
        except NetworkError as error:
            if error.sent and self._situation().can_log_in(self.record):
                self._save(replace(self.record, refresh_token=None, refresh_sent_at=None))
                return True
            self._failed(error)
        except AccountError as error:
            self._failed(error)
        else:
            self._accept(tokens, by="refresh")
        return False

    def _send_refresh(self, client: Client, provider: Provider) -> Tokens:
        token = self.record.refresh_token or ""
        first = self.record.refresh_sent_at
        # Written first: after a crash the token counts as used, and a full disk shows before anything is lost.
        self._save(replace(self.record, refresh_sent_at=self._now() if first is None else first))
        try:
            try:
                tokens = oauth.refresh(client, provider, token)
            except NetworkError as error:
                sent_at = self.record.refresh_sent_at or 0.0
                if not error.sent or provider.rotation_leeway <= 0 or self._now() - sent_at > provider.rotation_leeway:
                    raise
                tokens = oauth.refresh(client, provider, token)
        except NetworkError as error:
            if not error.sent and first is None:
                self.record = replace(self.record, refresh_sent_at=None)
            raise
        except AccountError:
            self.record = replace(self.record, refresh_sent_at=None)
            raise
        self._watch_clock(client)
        return tokens

    def _log_in(self) -> bool:
        """Log in when it is the account's turn; return whether it was."""
        renewer, limits = self._renewer, self._limits
        try:
            with self._turn(), self._admitted("login"), renewer.client(self._credentials) as client:
                tokens = log_in(
                    client,
                    renewer.discovered(client),
                    self._credentials,
                    journal=self,
                    limits=limits,
                    sleep=renewer._sleep,
                    rng=renewer._rng,
                )
                self._watch_clock(client)
        except _NotYet as later:
            self.record = replace(self.record, state="waiting", not_before=later.at)
            return False
        except _Blocked as blocked:
            self._hold_back(blocked.until)
        except AccountError as error:
            self._failed(error)
        else:
            if tokens.refresh_token is None:
                self._warnings.append(
                    f"The provider gave account {self.record.name} no refresh token, so every renewal is a login: "
                    "scope must hold offline_access, and some providers want prompt to hold consent."
                )
            self._accept(tokens, by="login")
        return True

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for the account's turn and hold the node's one place for a login from then on."""
        while True:
            with self._store.login_lock(self._limits.lock_timeout):
                now = self._now()
                self._blocked(self._store.node().login, now)
                turn = self._ask_for_turn(now)
                if turn.gate <= now:
                    yield
                    return
            # Others may log in meanwhile; the gate is looked at again then.
            if turn.place - now > self._renewer.patience():
                raise _NotYet(turn.place)
            self._renewer._sleep(turn.place - now)

    def _ask_for_turn(self, now: float) -> Turn:
        given: list[Turn] = []

        def ask(state: NodeState) -> NodeState:
            after, turn = state.ask_for_turn(
                self.record.name, now, self._limits, opens=self._egress_opens, rng=self._renewer._rng
            )
            given.append(turn)
            return after

        self._store.change_node(ask)
        return given[0]

    def _egress_opens(self, now: float) -> float:
        turn, turns = self._credentials.turn
        return login_opens(now, self._limits, turn=turn, turns=turns)

    @contextlib.contextmanager
    def _admitted(self, which: Literal["login", "refresh"]) -> Iterator[None]:
        """Let an attempt through the node's breaker and tell the breaker how it ended."""

        def admit(state: NodeState) -> NodeState:
            breaker: Breaker = getattr(state, which)
            self._blocked(breaker, self._now())
            return _with(state, which, breaker.admit(self._now(), self._limits))

        def learn(error_class: str | None) -> None:
            self._store.change_node(
                lambda state: _with(
                    state, which, getattr(state, which).result(self.record.name, error_class, self._now(), self._limits)
                )
            )

        self._store.change_node(admit)
        try:
            yield
        except AccountError as error:
            learn(error.error_class)
            raise
        learn(None)

    def _blocked(self, breaker: Breaker, now: float) -> None:
        until = breaker.blocked_until(now, self._limits)
        if until is not None:
            raise _Blocked(until)

    def _hold_back(self, until: float) -> None:
        now = self._now()
        error = IpBlocked(
            "Several accounts of this node were turned away, so the node pauses before it tries again.",
            cure="Set another proxy if the address is refused for good; else nothing: it is tried again by itself.",
        )
        self.record = _waiting(self.record, until, error, now)

    def _accept(self, tokens: Tokens, *, by: Literal["refresh", "login"]) -> None:
        escalation = 0
        if self.record.rejected:
            escalation = 1 if by == "refresh" else 2
        kept = self.record.refresh_token if by == "refresh" else None
        self._save(
            replace(
                self.record,
                state="valid",
                access_token=tokens.access_token,
                refresh_token=tokens.refresh_token or kept,
                issued_at=tokens.issued_at,
                expires_at=tokens.expires_at,
                not_before=None,
                failures=0,
                error=None,
                refresh_sent_at=None,
                rejected_token=None,
                rejected_login=None if by == "login" else self.record.rejected_login,
                escalation=escalation,
            )
        )

    def _failed(self, error: AccountError) -> None:
        now, limits = self._now(), self._limits
        record = replace(self.record, failures=self.record.failures + 1, error=_last(error, now))
        if error.consequence == "waiting":
            delay = backoff(record.failures, in_advisory_zone(record, now, limits), limits, self._renewer._rng)
            if error.retry_after is not None:
                delay = max(delay, min(error.retry_after, limits.retry_after_cap))
            self._save(replace(record, state="waiting", not_before=now + delay))
            return
        if error.error_class in {"bad_credentials", "mfa_invalid"}:
            record = replace(record, rejected_login=self._credentials.login_fingerprint(self._salt))
        self._save(replace(record, state=error.consequence, not_before=None))

    def _watch_clock(self, client: Client) -> None:
        if client.skew is not None and abs(client.skew) > self._limits.totp_skew:
            self._warnings.append(f"The node's clock differs from the provider's by {client.skew:+.0f} s: set it.")

    def _save(self, record: Record) -> None:
        self._store.save(record)
        self._stored = self.record = record


def _with(state: NodeState, which: Literal["login", "refresh"], breaker: Breaker) -> NodeState:
    return replace(state, login=breaker) if which == "login" else replace(state, refresh=breaker)
