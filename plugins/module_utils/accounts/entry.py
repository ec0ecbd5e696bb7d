# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a record in line with what the operator wrote: the account's entry, the provider's settings, a lift."""

from __future__ import annotations

from dataclasses import replace

from . import oauth
from .credentials import token_fingerprint
from .grant import Grant
from .record import HALTED, Record, State, salt_of
from .schedule import settle
from .situation import Situation

SALT_LOST = (
    "The node's salt was lost, so nobody can tell whether the entry of account {name} has changed since. Its tokens and"
    " its login budget are kept; lift it if its credentials were changed meanwhile."
)


def up_to_date(record: Record, situation: Situation, *, lift: bool) -> tuple[Record, tuple[str, ...]]:
    """Bring a record up to date before anything is decided.

    Args:
        record: as it was stored.
        situation: account, time and policy.
        lift: whether the operator ends a quarantine, a waiting time or the need of a person.

    Returns:
        The record, and sentences on what was lost.
    """
    record, warnings = _keyed_anew(settle(record, situation.now, situation.limits), situation)
    record = _settings_applied(_reconciled(record, situation), situation)
    record = replace(record, proxy=situation.credentials.proxy or "")
    if lift and record.state not in {"new", "valid"}:
        record = _lifted(replace(record, rejected_login=None), situation.now)
    return record, warnings


def _keyed_anew(record: Record, situation: Situation) -> tuple[Record, tuple[str, ...]]:
    """Let the fingerprints depend on the salt of now.

    A folder that was restored without its salt, or beside another one, must cost neither tokens nor budgets.
    """
    now, salt = situation.salt.hex(), situation.salt
    if not salt or record.salt == now or record.entry is None:
        return replace(record, salt=now or record.salt), ()
    credentials = situation.credentials
    before = salt_of(record.salt)
    if before is None:
        # Nobody can compare any more: the account counts as the same one.
        supplied = (record.supplied_access, record.supplied_refresh)
        unchanged = supplied == (_named(credentials.access_token), _named(credentials.refresh_token))
        return (
            replace(
                record,
                salt=now,
                settings=None,
                entry=credentials.fingerprint(salt) if unchanged else record.entry,
                identity=credentials.fingerprint(salt, "email") if credentials.email else None,
                rejected_login=record.rejected_login and credentials.login_fingerprint(salt),
            ),
            (SALT_LOST.format(name=record.name),),
        )
    return (
        replace(
            record,
            salt=now,
            settings=None,
            entry=_moved(record.entry, credentials.fingerprint(before), credentials.fingerprint(salt)),
            identity=_moved(
                record.identity, credentials.fingerprint(before, "email"), credentials.fingerprint(salt, "email")
            ),
            rejected_login=_moved(
                record.rejected_login, credentials.login_fingerprint(before), credentials.login_fingerprint(salt)
            ),
        ),
        (),
    )


def _moved(stored: str | None, before: str, now: str) -> str | None:
    # One that differs goes on to differ, whatever the salt.
    return now if stored == before else stored


def _named(token: str | None) -> str | None:
    return token_fingerprint(token) if token else None


def _reconciled(record: Record, situation: Situation) -> Record:
    """Follow a changed entry.

    Tokens of another identity are dropped, a changed hand-supplied token replaces the stored one, and a change lifts
    what it can cure.
    """
    credentials, salt, now = situation.credentials, situation.salt, situation.now
    entry = credentials.fingerprint(salt)
    if record.entry == entry:
        return record
    identity = credentials.fingerprint(salt, "email") if credentials.email else None
    supplied_access, supplied_refresh = _named(credentials.access_token), _named(credentials.refresh_token)
    known = record
    if record.identity is not None and identity is not None and identity != record.identity:
        # The budget of password submissions stays: a change and its way back must not open it anew. And the token is
        # remembered, so that its lane is stopped; see `serving.may_run`.
        known = Record(
            name=record.name,
            salt=record.salt,
            submissions=record.submissions,
            code_step=record.code_step,
            rejected_token=record.token_fingerprint,
        )
    changed = replace(
        known,
        entry=entry,
        identity=identity or known.identity,
        supplied_access=supplied_access,
        supplied_refresh=supplied_refresh,
    )
    new_refresh = credentials.refresh_token is not None and supplied_refresh != known.supplied_refresh
    if new_refresh:
        changed = changed.with_grant(Grant(token=credentials.refresh_token or ""))
    adopted = False
    if credentials.access_token is not None and supplied_access != known.supplied_access:
        expires_at = oauth.believable_expiry(credentials.access_token, now)
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
        return _lifted(changed, now)
    return changed


def _cures(record: Record, situation: Situation) -> bool:
    if record.state == "quarantined":
        # Only what was rejected counts: another proxy does not make a wrong password right.
        return situation.credentials.login_fingerprint(situation.salt) != record.rejected_login
    # A provider that asked for patience gets it, whatever the operator changes.
    return not (record.state == "waiting" and record.error is not None and record.error.error_class == "rate_limited")


def _settings_applied(record: Record, situation: Situation) -> Record:
    """Let changed settings of the provider lift what the old ones may have caused."""
    settings = situation.settings
    if settings is None:
        return record
    changed = record.settings is not None and record.settings != settings
    record = replace(record, settings=settings)
    error_class = "" if record.error is None else record.error.error_class
    if not changed or error_class in {"rate_limited", "bad_credentials", "mfa_invalid"}:
        return record
    return _lifted(record, situation.now) if record.state in {*HALTED, "waiting"} else record


def _lifted(record: Record, now: float) -> Record:
    """Return a record whose trouble is over by somebody's word, and which may be tried again."""
    state: State = "valid" if record.usable(now) else "new"
    return replace(record, state=state, error=None, failures=0, not_before=None, escalation=0)
