# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every number of the renewal policy, with its default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .errors import ConfigurationError


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
        refresh_gap: time between two refreshes that leave by the same way.
        refresh_gap_jitter: part by which that time is randomly shortened or lengthened.
        exchange_timeout: longest time that one request to the provider may take, whatever it waits for.
        login_timeout: longest time that all requests of one login may take together.
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
    refresh_gap: float = 2.0
    refresh_gap_jitter: float = 0.5
    exchange_timeout: float = 60.0
    login_timeout: float = 300.0
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

    @property
    def least_refresh_gap(self) -> float:
        """Shortest time between two refreshes that leave by the same way, in seconds."""
        return self.refresh_gap * max(0.0, 1 - self.refresh_gap_jitter)

    @property
    def longest_refresh_gap(self) -> float:
        """Longest time between two refreshes that leave by the same way, in seconds."""
        return self.refresh_gap * (1 + self.refresh_gap_jitter)

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
