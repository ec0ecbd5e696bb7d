# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one door to a renewal: lock, reload, check again, then adopt, refresh or log in; store before anyone is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from . import oauth
from .attempt import Attempt, Rejection
from .credentials import Credentials
from .errors import AccountError, ConfigurationError, ProviderError, StoreBusy, StoreError
from .limits import Limits
from .outcome import Outcome, forecast
from .provider import Provider, discover
from .record import Record
from .runtime import Runtime
from .situation import Situation
from .store import Store
from .transport import Client

Reason = Literal["expiry", "rejected"]

BUSY_SECONDS = 5.0
"""How long a call that may not log in waits for an account that another process works on."""


class Renewer:
    """Keeps the accounts of a node supplied with tokens.

    Args:
        store: where records live; shared with every other process that renews.
        provider: the identity provider.
        credentials: the accounts by name; may be replaced when the operator changes them.
        runtime: time, sleep, randomness and the way to the provider.
        limits: the policy.
        login_wait: seconds from now on in which turns to log in are waited for; an account whose turn comes later is
            left ``waiting`` for a later call. None: every account waits for its turn for at most one gap.
        lock_wait: seconds in which an account is waited for that another process works on; None: as long as the policy
            allows. A call that may not log in never waits for longer than `BUSY_SECONDS`.
    """

    def __init__(
        self,
        *,
        store: Store,
        provider: Provider,
        credentials: Mapping[str, Credentials],
        runtime: Runtime,
        limits: Limits | None = None,
        login_wait: float | None = None,
        lock_wait: float | None = None,
    ) -> None:
        self.store = store
        self.provider = provider
        self.credentials = credentials
        self.runtime = runtime
        self.limits = limits or Limits()
        self._login_wait = login_wait
        self._lock_wait = lock_wait
        self._started = runtime.timer()
        self._discovered: tuple[Provider, Provider] | None = None

    def renew(
        self,
        name: str,
        *,
        reason: Reason = "expiry",
        token_fingerprint: str | None = None,
        tried_at: float | None = None,
        lift: bool = False,
        log_in: bool = True,
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
            log_in: whether a login may follow, which can take minutes; else the outcome says that one is due.

        Returns:
            What became of it. A failed login is an outcome, never an exception.

        Raises:
            ConfigurationError: there is no such account.
        """
        credentials = self._credentials_of(name)
        rejection = Rejection(token_fingerprint, tried_at) if reason == "rejected" else None
        timeout = self.limits.lock_timeout if self._lock_wait is None else self._lock_wait
        if not log_in:
            timeout = min(timeout, BUSY_SECONDS)
        try:
            with self.store.lock(name, timeout):
                salt = self.store.salt()
                attempt = Attempt(
                    credentials,
                    store=self.store,
                    runtime=self.runtime,
                    limits=self.limits,
                    situation=lambda: self._situation(credentials, salt),
                    connect=self._with_endpoints,
                    patience=self._patience,
                )
                return attempt.run(rejection, lift=lift, may_log_in=log_in)
        except StoreError as error:
            return self._store_trouble(credentials, error)

    def forecast(self, name: str, *, lift: bool = False) -> Outcome:
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
        record = self.store.load(name)
        return forecast(record, self._situation(credentials, self.store.salt_for(record)), lift=lift)

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
        return self.forecast(name).next_renewal

    def forget(self, name: str) -> AccountError | None:
        """Revoke an account's refresh token and remove all that the store knows of it.

        Args:
            name: the account. When its credentials are gone, the revocation leaves as the account last did.

        Returns:
            Why the revocation failed, if it did; the files are gone all the same.

        Raises:
            StoreError: the files cannot be removed.
        """
        failure: AccountError | None = None
        timeout = self.limits.lock_timeout
        with self.store.delivery(name, timeout), self.store.lock(name, timeout):
            record = self.store.load(name)
            if record is not None and record.refresh_token is not None:
                try:
                    self._revoke(record, record.refresh_token)
                except AccountError as error:
                    failure = error
            self.store.remove(name)
        return failure

    def _revoke(self, record: Record, refresh_token: str) -> None:
        credentials = self.credentials.get(record.name)
        if credentials is None:
            if record.proxy is None:
                raise ProviderError(
                    "Nobody knows any more by which proxy the account leaves, so nothing was sent.",
                    cure="End the session with the provider if it must not live until it runs out.",
                )
            credentials = Credentials(name=record.name, proxy=record.proxy or None)
        with self.runtime.client(credentials, self.limits) as client:
            oauth.revoke(client, self._with_endpoints(client), refresh_token)

    def _with_endpoints(self, client: Client) -> Provider:
        """Return the provider with its endpoints, asked for once."""
        if self._discovered is None or self._discovered[0] != self.provider:
            self._discovered = (self.provider, discover(client, self.provider))
        return self._discovered[1]

    def _situation(self, credentials: Credentials, salt: bytes) -> Situation:
        return Situation(
            credentials=credentials,
            provider=self.provider,
            salt=salt,
            now=self.runtime.clock(),
            limits=self.limits,
        )

    def _patience(self) -> float:
        """Return for how many seconds an account may wait for its turn to log in."""
        if self._login_wait is None:
            return self.limits.longest_gap
        return min(self._login_wait, self._started + self._login_wait - self.runtime.timer())

    def _credentials_of(self, name: str) -> Credentials:
        found = self.credentials.get(name)
        if found is None:
            raise ConfigurationError(
                f"There are no credentials for account {name}.",
                cure="Correct its name, or add the account to the vault.",
            )
        return found

    def _store_trouble(self, credentials: Credentials, error: StoreError) -> Outcome:
        now = self.runtime.clock()
        try:
            record = self.store.load(credentials.name)
        except StoreError:
            record = None
        record = record or Record(name=credentials.name)
        busy = isinstance(error, StoreBusy)
        return Outcome(
            name=credentials.name,
            kind=credentials.kind,
            state=record.state,
            usable=record.usable(now),
            action="none",
            changed=False,
            expires_at=record.expires_at,
            next_renewal=now + (BUSY_SECONDS if busy else self.limits.mandatory_backoff),
            error_class=None if busy and record.usable(now) else error.error_class,
            message=error.sentence,
            cure=error.cure,
            token_fingerprint=record.token_fingerprint,
        )
