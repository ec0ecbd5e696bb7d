# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When to renew, how often to try, when to stop: numbers and pure functions, no clock and no disk."""

from __future__ import annotations

import hashlib
import hmac
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from .credentials import Kind
from .errors import ConfigurationError
from .record import Record

BLOCKED_CLASSES = frozenset({"captcha_required", "rate_limited", "ip_blocked"})
"""Failures that say something about the node's address rather than about one account; they feed the breaker."""

PASSING_CLASSES = frozenset({"network_error", "provider_error"})
"""Failures that say nothing about the address: a breaker on trial waits for a better witness."""

CLOCK_TOLERANCE = 60.0
"""Seconds by which a clock may be set back (NTP does so) before times in the future count as a jump."""

LEAST_WINDOW = 5.0
"""Seconds that a node has at least to begin a login in its slot: no process starts on the dot."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Every number of the renewal policy. Times in seconds; 0 switches a waiting time off.

    Attributes:
        renew_fraction: part of its lifetime after which a token is renewed.
        renew_jitter: part of the lifetime by which that point is shifted, constant per node and account.
        renew_jitter_cap: longest shift.
        assumed_lifetime: lifetime of a token that does not tell it.
        max_token_age: renew at this age at the latest; 0 for no such age.
        advisory_remaining: with more than this left (and more than the fraction below) failures may take their time.
        advisory_fraction: the same as a part of the lifetime.
        advisory_backoff: first waiting time after a failure while the old token is good for long.
        advisory_backoff_cap: longest such waiting time.
        mandatory_backoff: first waiting time after a failure when the old token is about to die or dead.
        mandatory_backoff_cap: longest such waiting time.
        backoff_factor: growth of the waiting time from failure to failure.
        backoff_jitter: part by which a waiting time is randomly shortened or lengthened.
        retry_after_cap: longest Retry-After that is believed.
        rejection_debounce: 401s that follow a counted one within this time are not counted.
        rejection_fresh: a 401 within this time after a renewal counts against the renewal's result.
        rejection_period: period in which renewals after 401s are counted.
        rejection_renewals: renewals after 401s allowed in that period.
        login_interval: time between two password submissions of one account.
        login_period: period in which password submissions are counted.
        login_submissions: password submissions allowed in that period.
        login_gap: time between the starts of two logins on one node, and on all nodes behind one egress.
        login_gap_random: random addition to that gap.
        breaker_accounts: different accounts that must be turned away before the node stops trying.
        breaker_window: time in which they must be turned away.
        breaker_pause: first pause of the node; it doubles each time the trial fails.
        breaker_pause_cap: longest pause.
        breaker_trial: time that the one trial after a pause may take before another is allowed.
        mfa_retries: further one-time codes after a rejected one.
        totp_min_left: time that must be left in a time step.
        totp_skew: difference to the provider's clock that is reported.
        hop_limit: steps of a login without progress.
        expiry_notice: a token that only a person can replace is reported when it has less than this left.
        lock_timeout: longest wait for another process that works on the same account.
    """

    renew_fraction: float = 2 / 3
    renew_jitter: float = 0.05
    renew_jitter_cap: float = 3600.0
    assumed_lifetime: float = 86400.0
    max_token_age: float = 0.0
    advisory_remaining: float = 600.0
    advisory_fraction: float = 0.10
    advisory_backoff: float = 60.0
    advisory_backoff_cap: float = 3600.0
    mandatory_backoff: float = 10.0
    mandatory_backoff_cap: float = 300.0
    backoff_factor: float = 2.0
    backoff_jitter: float = 0.25
    retry_after_cap: float = 86400.0
    rejection_debounce: float = 30.0
    rejection_fresh: float = 300.0
    rejection_period: float = 900.0
    rejection_renewals: int = 2
    login_interval: float = 900.0
    login_period: float = 86400.0
    login_submissions: int = 3
    login_gap: float = 30.0
    login_gap_random: float = 30.0
    breaker_accounts: int = 3
    breaker_window: float = 600.0
    breaker_pause: float = 3600.0
    breaker_pause_cap: float = 86400.0
    breaker_trial: float = 300.0
    mfa_retries: int = 1
    totp_min_left: float = 3.0
    totp_skew: float = 30.0
    hop_limit: int = 15
    expiry_notice: float = 259200.0
    lock_timeout: float = 900.0

    @property
    def longest_gap(self) -> float:
        """Longest time between two logins that follow each other on one node, in seconds."""
        return self.login_gap + self.login_gap_random

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> Limits:
        """Build limits from an operator's overrides.

        Args:
            settings: any of the attributes, as numbers or texts that hold a number.

        Returns:
            The limits.

        Raises:
            ConfigurationError: an unknown name, or a value that is not a number of at least 0.
        """
        known = {item.name: item for item in fields(cls)}
        values: dict[str, float | int] = {}
        for name, value in settings.items():
            if name not in known:
                raise ConfigurationError(f"There is no limit {name}.", cure=f"Limits are: {', '.join(sorted(known))}.")
            try:
                number = float(value) if not isinstance(value, bool) else math.nan
            except (TypeError, ValueError):
                number = math.nan
            whole = str(known[name].type) == "int"
            if not math.isfinite(number) or number < 0 or (whole and not number.is_integer()):
                raise ConfigurationError(
                    f"The limit {name} is not a {'whole ' if whole else ''}number of at least 0.",
                    cure=f"Correct {name}.",
                )
            values[name] = int(number) if whole else number
        return cls(**values)  # type: ignore[arg-type]


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
    """Bring a record's times back in order after the clock was set back, and drop what no budget counts any more.

    Args:
        record: as it was stored.
        now: seconds since the epoch.
        limits: the policy.

    Returns:
        The record without times in the future that would bench the account until then: an attempt in the future counts
        as made now, a waiting time is at most the longest one that the policy knows.
    """
    keep = max(limits.login_period, limits.login_interval)
    longest = max(
        limits.retry_after_cap,
        limits.login_period,
        limits.login_interval,
        limits.breaker_pause_cap,
        limits.advisory_backoff_cap * (1 + limits.backoff_jitter),
        limits.mandatory_backoff_cap * (1 + limits.backoff_jitter),
    )
    return replace(
        record,
        submissions=tuple(min(item, now) for item in record.submissions if now - item < keep),
        rejections=tuple(min(item, now) for item in record.rejections if now - item < limits.rejection_period),
        refresh_sent_at=None if record.refresh_sent_at is None else min(record.refresh_sent_at, now),
        not_before=None if record.not_before is None else min(record.not_before, now + longest),
    )


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """Stops all logins (or all refreshes) of a node when its address seems to be refused.

    Attributes:
        turned_away: accounts that were turned away lately, with the time.
        open_until: end of the pause; None while closed. After that time one account at a time is let through.
        pause: length of the present pause in seconds.
    """

    turned_away: tuple[tuple[str, float], ...] = ()
    open_until: float | None = None
    pause: float = 0.0

    def blocked_until(self, now: float, limits: Limits) -> float | None:
        """Return the end of the pause if it lasts, else None."""
        if self.open_until is None:
            return None
        end = min(self.open_until, now + max(limits.breaker_pause_cap, limits.breaker_trial))
        return end if now < end else None

    def admit(self, now: float, limits: Limits) -> Breaker:
        """Let one account through; on trial, the next one has to wait for its result."""
        return self if self.open_until is None else replace(self, open_until=now + limits.breaker_trial)

    def result(self, name: str, error_class: str | None, now: float, limits: Limits) -> Breaker:
        """Learn from an attempt.

        Args:
            name: the account.
            error_class: class of the failure, None for a success.
            now: seconds since the epoch.
            limits: the policy.

        Returns:
            The breaker afterwards.
        """
        if error_class in BLOCKED_CLASSES:
            if self.open_until is not None:
                pause = min(max(self.pause, limits.breaker_pause) * 2, limits.breaker_pause_cap)
                return Breaker(open_until=now + pause, pause=pause)
            recent = tuple(
                (other, min(at, now))
                for other, at in self.turned_away
                if other != name and now - at < limits.breaker_window
            )
            recent += ((name, now),)
            if len(recent) >= limits.breaker_accounts > 0:
                return Breaker(open_until=now + limits.breaker_pause, pause=limits.breaker_pause)
            return replace(self, turned_away=recent)
        if error_class in PASSING_CLASSES:
            return self
        # Any other answer, a wrong password too, shows that the provider talks to this address.
        return Breaker() if self.open_until is not None else self


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """What all accounts of a node share.

    Attributes:
        next_login_at: no login starts before this time.
        login: breaker of the logins.
        refresh: breaker of the refresh grants.
        queue: accounts that wait for their turn to log in, each with the time at which it shall come back.
    """

    next_login_at: float = 0.0
    login: Breaker = Breaker()
    refresh: Breaker = Breaker()
    queue: tuple[tuple[str, float], ...] = ()

    def ask_for_turn(
        self, name: str, now: float, limits: Limits, *, opens: Callable[[float], float], rng: random.Random
    ) -> tuple[NodeState, Turn]:
        """Let an account log in now, or give it a place in the queue.

        Args:
            name: the account.
            now: seconds since the epoch.
            limits: the policy.
            opens: when the egress next allows a login from a given time on; see `login_opens`.
            rng: source of the random part of the gap.

        Returns:
            The state afterwards, and the account's turn.
        """
        # A time further away than the longest gap is of a clock that was set back.
        gate = opens(max(now, min(self.next_login_at, now + limits.longest_gap)))
        earliest, latest = now - limits.longest_gap, now + limits.login_period
        places = {other: at for other, at in self.queue if earliest <= at <= latest}
        place = places.pop(name, None)
        if gate <= now:
            next_at = now + limits.login_gap + limits.login_gap_random * rng.random()
            after = replace(self, next_login_at=next_at, queue=tuple(places.items()))
            return after, Turn(gate=now, place=now)
        if place is None and places:
            place = opens(max(places.values()) + limits.longest_gap)
        place = gate if place is None else max(gate, place)
        after = replace(self, next_login_at=min(self.next_login_at, gate), queue=(*places.items(), (name, place)))
        return after, Turn(gate=gate, place=place)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """When an account may log in; times in seconds since the epoch.

    Attributes:
        gate: when the node may begin its next login, whoever comes first.
        place: when it is this account's turn, after those that came before.
    """

    gate: float
    place: float
