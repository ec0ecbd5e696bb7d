# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an attempt leaves in the record: what was delivered, what failed, what has to wait."""

from __future__ import annotations

import random
from dataclasses import replace

from .decide import last_error, waiting
from .errors import AccountError, IpBlocked
from .grant import Grant
from .oauth import TokenAnswer
from .record import HALTED, Record
from .schedule import backoff, in_advisory_zone
from .situation import Situation


def after_answer(record: Record, answer: TokenAnswer, sent: Grant | None) -> Record:
    """Take over what a token endpoint delivered, whatever else is to be thought of its answer.

    Args:
        record: the account's record while the attempt is open.
        answer: what was answered; not ``invalid_grant``.
        sent: the grant as it was before it was sent; None after a login.

    Returns:
        The record to store before anything else happens.
    """
    if answer.refresh_token is not None:
        record = record.with_grant(Grant(token=answer.refresh_token))
    elif sent is None and answer.access_token is not None:
        record = record.with_grant(None)
    elif sent is not None and answer.definite:
        # Refused, only this attempt is undone; answered well, the provider did not rotate the token.
        record = record.with_grant(sent if answer.error is not None else Grant(token=sent.token))
    if answer.access_token is None:
        return record
    escalation = 0
    if record.rejected:
        escalation = 2 if sent is None else 1
    return replace(
        record,
        state="valid",
        access_token=answer.access_token,
        issued_at=answer.issued_at,
        expires_at=answer.expires_at,
        not_before=None,
        failures=0,
        error=None,
        rejected_token=None,
        rejected_login=None if sent is None else record.rejected_login,
        escalation=escalation,
    )


def after_failure(record: Record, error: AccountError, situation: Situation, rng: random.Random) -> Record:
    """Draw the consequences of a failure.

    Args:
        record: the account's record.
        error: what went wrong.
        situation: account, time and policy.
        rng: source of the random part of a waiting time.

    Returns:
        The record to store.
    """
    now, limits = situation.now, situation.limits
    record = replace(record, failures=record.failures + 1)
    delay = backoff(record.failures, in_advisory_zone(record, now, limits), limits, rng)
    if error.retry_after is not None:
        delay = max(delay, min(error.retry_after, limits.retry_after_cap))
    if record.state in HALTED:
        # The last resort failed as well; the account goes on waiting for what it waited for.
        return replace(record, not_before=now + delay, waiting_since=now)
    record = replace(record, error=last_error(error, now))
    if error.consequence == "waiting":
        return replace(record, state="waiting", not_before=now + delay, waiting_since=now)
    if error.error_class in {"bad_credentials", "mfa_invalid"} and situation.can_log_in(record):
        record = replace(record, rejected_login=situation.credentials.login_fingerprint(situation.salt))
    return replace(record, state=error.consequence, not_before=None)


def held_back(record: Record, until: float, now: float) -> Record:
    """Let an account wait for the end of the node's pause.

    Args:
        record: the account's record.
        until: when the pause ends, in seconds since the epoch.
        now: seconds since the epoch.

    Returns:
        The record to store.
    """
    if record.state in HALTED:
        return replace(record, not_before=until, waiting_since=now)
    error = IpBlocked(
        "Several accounts of this node were turned away, so the node pauses before it tries again.",
        cure="Set another proxy if the address is refused for good; else nothing: it is tried again by itself.",
    )
    return waiting(record, until, error, now)
