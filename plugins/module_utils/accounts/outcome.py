# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of a renewal, or is to be expected of one, without any secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .credentials import Kind
from .decide import next_renewal, next_step, span
from .entry import up_to_date
from .record import Record, State
from .situation import Situation

Action = Literal["none", "adopt", "refresh", "login"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a call, without any secret. Times are seconds since the epoch.

    Attributes:
        name: the account.
        kind: how it gets tokens; None if its credentials are not known yet.
        state: see `record`.
        usable: whether a lane may run with the stored token now.
        action: what was done, or what a forecast expects to be done.
        changed: whether token or state changed, or would change.
        expires_at: when the token in use runs out; None if nobody knows.
        next_renewal: when a renewal should next be called for; None when only the operator can change something.
        error_class: class of the last failure, None when all is well.
        message: one sentence.
        cure: what to do, empty when all is well.
        warnings: sentences on what will soon need attention.
        token_fingerprint: names the token in use.
        login_due: whether only a login helps now, which the caller did not allow.
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
    login_due: bool = False


def forecast(record: Record | None, situation: Situation, *, lift: bool = False) -> Outcome:
    """Tell what a renewal would do, from a record alone.

    Args:
        record: as stored; None before the first login.
        situation: account, time and policy.
        lift: see `renewer.Renewer.renew`.

    Returns:
        The present state, and in ``action`` what would be done.
    """
    before = record or Record(name=situation.credentials.name)
    after, warnings = up_to_date(before, situation, lift=lift)
    adopted = after.access_token is not None and after.access_token != before.access_token
    step, after = next_step(after, situation)
    action: Action = "adopt" if step == "none" and adopted else step
    changed = action != "none" or after.state != before.state
    return outcome_of(after, situation, action=action, changed=changed, warnings=warnings)


def outcome_of(
    record: Record,
    situation: Situation,
    *,
    action: Action,
    changed: bool,
    warnings: tuple[str, ...] = (),
    login_due: bool = False,
) -> Outcome:
    """Turn a record into an outcome.

    Args:
        record: the account's record.
        situation: account, time and policy.
        action: what was done or would be.
        changed: whether it changed anything.
        warnings: sentences to pass on.
        login_due: whether only a login helps, which was not allowed.

    Returns:
        The outcome.
    """
    usable = record.usable(situation.now)
    if situation.kind == "access_token" and usable and record.expires_at is not None:
        remaining = record.expires_at - situation.now
        if remaining < situation.limits.expiry_notice:
            notice = f"The access token of account {record.name} was supplied by hand and expires in {span(remaining)}"
            warnings = (*warnings, f"{notice}: supply a new one.")
    message, cure = _said(record, usable)
    return Outcome(
        name=record.name,
        kind=situation.kind,
        state=record.state,
        usable=usable,
        action=action,
        changed=changed,
        expires_at=record.expires_at,
        next_renewal=next_renewal(record, situation),
        error_class=None if record.error is None else record.error.error_class,
        message=message,
        cure=cure,
        warnings=warnings,
        token_fingerprint=record.token_fingerprint,
        login_due=login_due,
    )


def _said(record: Record, usable: bool) -> tuple[str, str]:
    if record.error is not None:
        return record.error.sentence, record.error.cure
    if record.state == "waiting":
        return "The account waits for its turn to log in.", ""
    if record.state == "valid" and usable:
        return "The token is good.", ""
    return "There is no good token yet.", ""
