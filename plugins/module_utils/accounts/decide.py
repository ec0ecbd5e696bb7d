# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about an account now, from its record alone: nothing, a refresh, a login."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from .errors import AccountError, BadCredentials, InvalidGrant, RateLimited, TokenExpired, TokenRejected
from .record import HALTED, LastError, Record, State
from .schedule import access_ends_at, due_at, in_advisory_zone, is_fresh, is_of_the_future, login_allowed_at
from .situation import Situation

Step = Literal["none", "refresh", "login"]

REFUSALS = 3
"""Refreshes that the provider refuses otherwise than by ``invalid_grant`` before a login is tried."""


def next_step(record: Record, situation: Situation) -> tuple[Step, Record]:
    """Decide on the next step.

    Args:
        record: the account's record, up to date.
        situation: account, time and policy.

    Returns:
        The step, and the record with the state that the decision itself leads to.
    """
    now = situation.now
    if record.state in HALTED:
        if not _has_last_resort(record, situation):
            return "none", record
    elif situation.kind == "access_token":
        return "none", _supplied_by_hand(record, situation)
    elif is_fresh(record, situation.salt, now, situation.limits):
        return "none", replace(record, state="valid") if record.state == "new" else record
    if record.not_before is not None and now < record.not_before:
        return "none", record
    return _renewal(record, situation)


def _renewal(record: Record, situation: Situation) -> tuple[Step, Record]:
    grant = record.grant
    if grant is not None and grant.fate == "unsent":
        login_first = _only_login_helps(record, situation) or _refreshes_are_refused(record, situation)
        if not login_first:
            return "refresh", record
    if grant is not None and grant.fate == "maybe_spent" and not _may_log_in(record, situation):
        # As long as the access token works, a refused refresh token would only end the family early.
        return ("none" if situation.now < access_ends_at(record, situation.limits) else "refresh"), record
    return _login_or_wait(record, situation)


def next_renewal(record: Record, situation: Situation) -> float | None:
    """Return when a renewal should next be called for.

    Args:
        record: the account's record, up to date.
        situation: account, time and policy.

    Returns:
        Seconds since the epoch (0 for at once), or None when only the operator can change something.
    """
    limits = situation.limits
    if record.state in HALTED:
        if not _has_last_resort(record, situation):
            return None
        return max(access_ends_at(record, limits), record.not_before or 0.0)
    due = due_at(record, situation.kind, situation.salt, limits)
    if due is not None and situation.kind != "access_token" and is_of_the_future(record, situation.now):
        due = record.not_before or 0.0
    grant = record.grant
    if due is None or grant is None or grant.fate == "unsent" or _may_log_in(record, situation):
        return due
    return max(due, access_ends_at(record, limits))


def _may_log_in(record: Record, situation: Situation) -> bool:
    return record.state not in HALTED and situation.can_log_in(record)


def _has_last_resort(record: Record, situation: Situation) -> bool:
    """Tell whether a halted account has a refresh token that may still be good, and no other way.

    Its last answer was lost, and the login that should have replaced it ended with a person being asked for.
    """
    grant = record.grant
    rejected = record.error is not None and record.error.error_class == "token_rejected"
    return situation.kind != "access_token" and grant is not None and grant.fate == "maybe_spent" and not rejected


def _only_login_helps(record: Record, situation: Situation) -> bool:
    """Tell whether the service rejected a token that a refresh had just brought."""
    return record.rejected and record.escalation == 1 and _may_log_in(record, situation)


def _refreshes_are_refused(record: Record, situation: Situation) -> bool:
    """Tell whether the provider has refused one refresh after the other until the access token is about to end.

    A login is worth a try then, whenever the budget allows one; otherwise the refresh is tried on.
    """
    error_class = "" if record.error is None else record.error.error_class
    refused = record.failures >= REFUSALS and error_class in {"provider_error", "unknown_page"}
    late = not in_advisory_zone(record, situation.now, situation.limits)
    allowed = situation.now >= _login_allowed(record, situation)
    return refused and late and allowed and _may_log_in(record, situation)


def _login_allowed(record: Record, situation: Situation) -> float:
    # What lies in the future is of a clock that was ahead.
    past = tuple(at for at in record.submissions if at <= situation.now)
    return login_allowed_at(past, situation.limits)


def _login_or_wait(record: Record, situation: Situation) -> tuple[Step, Record]:
    if not situation.can_log_in(record):
        return "none", halted(record, BadCredentials() if situation.kind == "password" else InvalidGrant(), situation)
    limits, now = situation.limits, situation.now
    allowed = _login_allowed(record, situation)
    if now < allowed:
        return "none", waiting(record, min(allowed, now + limits.login_period), _budget(record, situation), now)
    return "login", record


def _budget(record: Record, situation: Situation) -> RateLimited:
    """Say which part of the budget of password submissions stands against a login."""
    limits, now = situation.limits, situation.now
    counted = sum(0 <= now - at < limits.login_period for at in record.submissions)
    if counted >= limits.login_submissions:
        return RateLimited(
            f"The account's budget is spent: {limits.login_submissions} password submissions in"
            f" {span(limits.login_period)}."
        )
    ago = now - max(at for at in record.submissions if at <= now)
    return RateLimited(
        f"The account's budget allows one password submission in {span(limits.login_interval)}, and the last one was"
        f" {span(ago)} ago."
    )


def rejected_again(record: Record, situation: Situation) -> Record:
    """Draw the consequences of a 401: one refresh, then one login, then no more; and never too many in a row.

    Args:
        record: the account's record, up to date, with the token that was rejected.
        situation: account, time and policy.

    Returns:
        The record from which the next step follows.
    """
    limits, now = situation.limits, situation.now
    record = replace(record, rejected_token=record.token_fingerprint)
    fresh = record.issued_at is not None and now - record.issued_at <= limits.rejection_fresh
    level = record.escalation if fresh else 0
    if situation.kind == "access_token" or record.state in HALTED:
        return record
    if level >= 2 or (level == 1 and not situation.can_log_in(record)):
        return halted(record, TokenRejected(), situation)
    if len(record.rejections) >= limits.rejection_renewals:
        until = now + limits.rejection_period
        if limits.rejection_renewals > 0:
            until = record.rejections[-limits.rejection_renewals] + limits.rejection_period
        error = TokenRejected("The service rejects one new access token after the other.")
        return waiting(record, until, error, now)
    return replace(record, rejections=(*record.rejections, now), escalation=level)


def _supplied_by_hand(record: Record, situation: Situation) -> Record:
    if record.rejected:
        error: AccountError = TokenRejected(
            "The service rejects the access token that was supplied by hand.", cure="Supply a new access_token."
        )
        return halted(record, error, situation)
    if not record.usable(situation.now):
        return halted(record, TokenExpired(), situation)
    return replace(record, state="valid", error=None)


def halted(record: Record, error: AccountError, situation: Situation) -> Record:
    """Stop an account for good; one without a password has none to correct, so it always needs a person.

    Args:
        record: the account's record.
        error: why.
        situation: account, time and policy.
    """
    quarantined = error.consequence == "quarantined" and situation.kind == "password"
    state: State = "quarantined" if quarantined else "needs_operator"
    return replace(record, state=state, not_before=None, error=last_error(error, situation.now))


def waiting(record: Record, until: float, error: AccountError, now: float) -> Record:
    """Let an account wait; the failure that led here stays the one that is shown.

    Args:
        record: the account's record.
        until: seconds since the epoch.
        error: why, unless a failure is known already.
        now: seconds since the epoch.
    """
    error_kept = record.error or last_error(error, now)
    return replace(record, state="waiting", not_before=until, waiting_since=now, error=error_kept)


def last_error(error: AccountError, now: float) -> LastError:
    """Return what a record keeps of a failure."""
    return LastError(error_class=error.error_class, sentence=error.sentence, cure=error.cure, at=now)


def span(seconds: float) -> str:
    """Write a length of time for people."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
