# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When to renew, how long to wait, when a password may be submitted: pure functions, no clock and no disk."""

from __future__ import annotations

import hashlib
import hmac
import math
import random
from dataclasses import replace

from .credentials import Kind
from .limits import Limits
from .record import Record

CLOCK_TOLERANCE = 60.0
"""Seconds by which a clock may be set back (NTP does so) before times in the future count as a jump."""

LEAST_WINDOW = 5.0
"""Seconds that a node has at least to begin a login in its slot: no process starts on the dot."""

SUBMISSIONS_KEPT = 20
"""How many password submissions are remembered at least."""


def jitter(salt: bytes, name: str) -> float:
    """Return the shift of an account on this node.

    Args:
        salt: the node's salt.
        name: the account.

    Returns:
        A number from -1 to 1, always the same for the same arguments.
    """
    digest = hmac.digest(salt, b"jitter\0" + name.encode(), hashlib.sha256)
    return int.from_bytes(digest[:8], "big") / (2**64 - 1) * 2 - 1


def lifetime(record: Record, limits: Limits) -> float:
    """Return the lifetime of the token in use in seconds, assumed if unknown."""
    if record.issued_at is None or record.expires_at is None:
        return limits.assumed_lifetime
    return max(0.0, record.expires_at - record.issued_at)


def renewal_point(record: Record, salt: bytes, limits: Limits) -> float | None:
    """Return when the token in use should be replaced, failures aside.

    Args:
        record: the account's record.
        salt: the node's salt, for the constant shift.
        limits: the policy.

    Returns:
        Seconds since the epoch, or None without a token.
    """
    if record.access_token is None or record.issued_at is None:
        return None
    length = lifetime(record, limits)
    shift = jitter(salt, record.name) * min(limits.renew_jitter * length, limits.renew_jitter_cap)
    point = length * limits.renew_fraction + shift
    if limits.max_token_age > 0:
        point = min(point, limits.max_token_age)
    return record.issued_at + point


def due_at(record: Record, kind: Kind, salt: bytes, limits: Limits) -> float | None:
    """Return when a renewal should next be called for.

    Args:
        record: the account's record.
        kind: how the account gets tokens.
        salt: the node's salt.
        limits: the policy.

    Returns:
        Seconds since the epoch (0 for at once), or None when only the operator can change something.
    """
    if record.state in {"quarantined", "needs_operator"}:
        return None
    if kind == "access_token":
        return record.expires_at if record.access_token is not None else 0.0
    point = renewal_point(record, salt, limits)
    if point is None or record.rejected:
        point = 0.0
    return max(point, record.not_before or 0.0)


def is_fresh(record: Record, salt: bytes, now: float, limits: Limits) -> bool:
    """Tell whether the token in use can stay.

    A token issued in the future means that the clock was set back; how long it lives is then unknown, so it is
    replaced.
    """
    point = renewal_point(record, salt, limits)
    return (
        point is not None
        and record.issued_at is not None
        and record.usable(now)
        and record.issued_at - CLOCK_TOLERANCE <= now < point
    )


def is_of_the_future(record: Record, now: float) -> bool:
    """Tell whether the token in use was issued by a clock that has been set back since."""
    return record.issued_at is not None and record.issued_at - CLOCK_TOLERANCE > now


def access_ends_at(record: Record, limits: Limits) -> float:
    """Return when the access token in use ends, as far as anybody knows.

    Args:
        record: the account's record.
        limits: the policy.

    Returns:
        Seconds since the epoch; 0 when there is no token or the service rejected it.
    """
    if record.access_token is None or record.rejected:
        return 0.0
    if record.expires_at is not None:
        return record.expires_at
    return (record.issued_at or 0.0) + limits.assumed_lifetime


def in_advisory_zone(record: Record, now: float, limits: Limits) -> bool:
    """Tell whether the token in use is good for long enough to take failures easily."""
    if not record.usable(now) or record.issued_at is None:
        return False
    length = lifetime(record, limits)
    remaining = record.issued_at + length - now
    return remaining > max(limits.advisory_remaining, limits.advisory_fraction * length)


def backoff(failures: int, advisory: bool, limits: Limits, rng: random.Random) -> float:
    """Return how long to wait after a failure that passes.

    Args:
        failures: failures in a row, this one included.
        advisory: whether the old token is still good for long.
        limits: the policy.
        rng: source of the random part.

    Returns:
        Seconds.
    """
    first, cap = (
        (limits.advisory_backoff, limits.advisory_backoff_cap)
        if advisory
        else (limits.mandatory_backoff, limits.mandatory_backoff_cap)
    )
    # The exponent is bounded because a float overflows after a thousand failures.
    delay = min(cap, first * limits.backoff_factor ** min(max(failures, 1) - 1, 60))
    return delay * (1 + limits.backoff_jitter * (2 * rng.random() - 1))


def login_allowed_at(submissions: tuple[float, ...], limits: Limits) -> float:
    """Return when the budget allows the next password submission.

    Args:
        submissions: earlier ones, in seconds since the epoch.
        limits: the policy.

    Returns:
        Seconds since the epoch; 0 if nothing stands against it. With a budget of no submissions, never (infinity).
    """
    if limits.login_submissions < 1:
        return math.inf
    times = sorted(submissions)
    allowed = times[-1] + limits.login_interval if times else 0.0
    if len(times) >= limits.login_submissions:
        allowed = max(allowed, times[-limits.login_submissions] + limits.login_period)
    return allowed


def login_opens(now: float, limits: Limits, *, turn: int, turns: int) -> float:
    """Return when a node may next begin a login, as far as the other nodes behind its egress are concerned.

    These nodes know nothing of each other, so the clock shares the time out between them: it is cut into slots, and
    node ``turn`` of ``turns`` begins logins in every ``turns``-th slot only. In a slot there is first the time in which
    a login may begin (``login_gap_random``) and then ``login_gap``, so two logins of different nodes are never nearer
    than that, as long as their clocks agree.

    Args:
        now: seconds since the epoch.
        limits: the policy.
        turn: the node's place among those that share the egress, from 0.
        turns: how many nodes share it; 1 for a node of its own.

    Returns:
        Seconds since the epoch, not before ``now``.
    """
    if turns <= 1 or limits.longest_gap <= 0:
        return now
    window = max(limits.login_gap_random, LEAST_WINDOW)
    slot = limits.login_gap + window
    number = math.floor(now / slot)
    if number % turns == turn and now > number * slot + window:
        number += 1
    number += (turn - number) % turns
    # The second half of the window is for those who come late.
    shift = jitter(b"login", f"{turn}/{number}") * window / 4 + window / 4
    return max(now, number * slot + shift)


def settle(record: Record, now: float, limits: Limits) -> Record:
    """Bring a record's times back in order after the clock was set back.

    Args:
        record: as it was stored.
        now: seconds since the epoch.
        limits: the policy.

    Returns:
        The record without times in the future that would bench the account until then: what lies in the future counts
        as of now, and a waiting time lasts from now on as long as it was given. What a budget counts is kept whatever
        the clock says, because a clock that was ahead for a while must not open it anew.
    """
    counted = max(limits.login_submissions, SUBMISSIONS_KEPT)
    error = record.error
    if error is not None and error.at > now:
        error = replace(error, at=now)
    return replace(
        record,
        submissions=_submissions(record.submissions, now)[-counted:],
        rejections=tuple(min(item, now) for item in record.rejections if now - item < limits.rejection_period),
        refresh_sent_at=None if record.refresh_sent_at is None else min(record.refresh_sent_at, now),
        not_before=_not_before(record, now, limits),
        waiting_since=None if record.waiting_since is None else min(record.waiting_since, now),
        error=error,
    )


def _submissions(submissions: tuple[float, ...], now: float) -> tuple[float, ...]:
    """Count each submission of the future as one of now, once, and keep it: the clock may be right again later."""
    future = sum(at > now for at in submissions)
    stand_ins = max(0, future - sum(at <= now for at in submissions))
    return tuple(sorted((*submissions, *(now,) * stand_ins)))


def _not_before(record: Record, now: float, limits: Limits) -> float | None:
    if record.not_before is None:
        return None
    longest = max(
        limits.retry_after_cap,
        limits.login_period,
        limits.login_interval,
        limits.breaker_pause_cap,
        limits.advisory_backoff_cap * (1 + limits.backoff_jitter),
        limits.mandatory_backoff_cap * (1 + limits.backoff_jitter),
    )
    since = record.waiting_since
    if since is None and record.error is not None:
        since = record.error.at
    if since is not None and now < since:
        # It was given in what is the future now.
        longest = min(longest, max(0.0, record.not_before - since))
    return min(record.not_before, now + longest)
