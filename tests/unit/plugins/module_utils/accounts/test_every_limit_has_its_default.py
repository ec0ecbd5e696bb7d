# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The numbers of the renewal policy, one by one, and the functions that use them."""

from __future__ import annotations

import dataclasses
import random

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.breaker import Breaker
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import ConfigurationError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import Record
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.schedule import (
    backoff,
    due_at,
    in_advisory_zone,
    is_fresh,
    jitter,
    login_allowed_at,
    renewal_point,
    settle,
)

DEFAULTS = {
    "renew_fraction": 2 / 3,
    "renew_jitter": 0.05,
    "renew_jitter_cap": 3600,
    "assumed_lifetime": 86400,
    "max_token_age": 0,
    "advisory_remaining": 600,
    "advisory_fraction": 0.1,
    "advisory_backoff": 60,
    "advisory_backoff_cap": 3600,
    "mandatory_backoff": 10,
    "mandatory_backoff_cap": 300,
    "backoff_factor": 2,
    "backoff_jitter": 0.25,
    "retry_after_cap": 86400,
    "refresh_gap": 2,
    "refresh_gap_jitter": 0.5,
    "exchange_timeout": 60,
    "login_timeout": 300,
    "rejection_debounce": 30,
    "rejection_fresh": 300,
    "rejection_period": 900,
    "rejection_renewals": 2,
    "login_interval": 900,
    "login_period": 86400,
    "login_submissions": 3,
    "login_gap": 30,
    "login_gap_random": 30,
    "breaker_accounts": 3,
    "breaker_window": 600,
    "breaker_pause": 3600,
    "breaker_pause_cap": 86400,
    "breaker_trial": 300,
    "mfa_retries": 1,
    "totp_min_left": 3,
    "totp_skew": 30,
    "hop_limit": 15,
    "expiry_notice": 259200,
    "lock_timeout": 900,
}
LIMITS = Limits()
SALT = b"s" * 32


class Middle(random.Random):
    """Chance that is always in the middle."""

    def random(self) -> float:
        """Return the middle."""
        return 0.5


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
def test_a_limit_has_its_default(name: str, value: float) -> None:
    assert getattr(LIMITS, name) == value


def test_no_limit_is_left_out_of_these_tests() -> None:
    assert {item.name for item in dataclasses.fields(Limits)} == set(DEFAULTS)


def test_overrides_may_be_texts_as_templates_make_them() -> None:
    limits = Limits.from_mapping({"login_gap": "0", "login_submissions": "5", "renew_fraction": 0.5})
    assert (limits.login_gap, limits.login_submissions, limits.renew_fraction) == (0.0, 5, 0.5)


@pytest.mark.parametrize(
    "settings", [{"logingap": 1}, {"login_gap": "soon"}, {"login_gap": -1}, {"hop_limit": 1.5}, {"hop_limit": True}]
)
def test_a_limit_that_cannot_be_meant_is_refused_by_name(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        Limits.from_mapping(settings)


def _record(length: float | None = 864_000, name: str = "alice") -> Record:
    expires = None if length is None else 1000 + length
    return Record(name=name, state="valid", access_token="t", issued_at=1000.0, expires_at=expires)


def test_a_token_is_renewed_at_two_thirds_of_its_life_with_a_constant_shift_per_account_and_node() -> None:
    points = set()
    for number in range(200):
        name = f"n{number}"
        point = renewal_point(_record(name=name), SALT, LIMITS)
        assert point == renewal_point(_record(name=name), SALT, LIMITS)
        assert point is not None
        assert abs(point - 1000 - 576_000) <= 3600
        points.add(point)
    assert len(points) == 200
    assert jitter(SALT, "alice") != jitter(b"t" * 32, "alice")


def test_the_shift_of_a_short_life_is_five_percent_at_most() -> None:
    points = [renewal_point(_record(60, f"n{number}"), SALT, LIMITS) or 0 for number in range(200)]
    assert min(points) >= 1000 + 40 - 3
    assert max(points) <= 1000 + 40 + 3
    assert max(points) - min(points) > 4


def test_an_unknown_life_counts_as_a_day_but_benches_nobody() -> None:
    record = _record(None)
    assert renewal_point(record, SALT, Limits(renew_jitter=0)) == 1000 + 57_600
    assert record.usable(1e10)


def test_a_maximum_age_comes_first() -> None:
    assert renewal_point(_record(), SALT, Limits(max_token_age=500)) == 1500


def test_the_zone_is_advisory_while_enough_is_left() -> None:
    record = _record()
    assert in_advisory_zone(record, 1000 + 864_000 * 0.89, LIMITS)
    assert not in_advisory_zone(record, 1000 + 864_000 * 0.91, LIMITS)
    assert not in_advisory_zone(_record(600), 1001, LIMITS)
    assert in_advisory_zone(_record(700), 1001, LIMITS)
    assert not in_advisory_zone(Record(name="alice"), 0, LIMITS)


def test_waiting_times_double_up_to_their_cap() -> None:
    chance = Middle()
    assert [backoff(n, True, LIMITS, chance) for n in (1, 2, 3, 7, 5000)] == [60, 120, 240, 3600, 3600]
    assert [backoff(n, False, LIMITS, chance) for n in (1, 2, 3, 6, 5000)] == [10, 20, 40, 300, 300]


def test_waiting_times_vary_by_a_quarter() -> None:
    chance = random.Random(3)  # noqa: S311 - a test has to repeat itself
    values = [backoff(1, True, LIMITS, chance) for _ignored in range(2000)]
    assert 45 <= min(values) < 46
    assert 74 < max(values) <= 75


def test_the_budget_is_one_submission_in_15_minutes_and_three_a_day() -> None:
    assert login_allowed_at((), LIMITS) == 0
    assert login_allowed_at((100.0,), LIMITS) == 1000
    assert login_allowed_at((100.0, 2000.0), LIMITS) == 2900
    assert login_allowed_at((100.0, 2000.0, 4000.0), LIMITS) == 86_500
    assert login_allowed_at((), Limits(login_submissions=0)) > 1e300


def test_a_clock_set_back_neither_frees_the_budget_nor_benches_the_account() -> None:
    record = settle(
        Record(name="alice", submissions=(9e9,), rejections=(9e9,), not_before=9e9, refresh_sent_at=9e9), 1000.0, LIMITS
    )
    assert record.submissions == (1000.0, 9e9)
    assert settle(record, 1001.0, LIMITS).submissions == (1000.0, 9e9)
    assert record.rejections == (1000.0,)
    assert record.refresh_sent_at == 1000.0
    assert record.not_before == 1000.0 + 86_400


def test_a_token_from_the_future_is_not_trusted_to_be_fresh() -> None:
    record = _record()
    assert is_fresh(record, SALT, 1000 - 59, LIMITS)
    assert not is_fresh(record, SALT, 1000 - 61, LIMITS)


def test_only_the_operator_can_end_a_halt() -> None:
    for state in ("quarantined", "needs_operator"):
        assert due_at(dataclasses.replace(_record(), state=state), "password", SALT, LIMITS) is None


def test_a_token_by_hand_is_next_looked_at_when_it_expires() -> None:
    assert due_at(_record(), "access_token", SALT, LIMITS) == 865_000


def _turned_away(breaker: Breaker, *names: str, now: float = 0.0) -> Breaker:
    for name in names:
        breaker = breaker.result(name, "ip_blocked", now, LIMITS)
    return breaker


def test_three_accounts_turned_away_in_ten_minutes_open_the_breaker_for_an_hour() -> None:
    two = _turned_away(Breaker(), "a", "b", "a")
    assert two.blocked_until(0) is None
    assert _turned_away(two, "c", now=601).blocked_until(601) is None
    assert _turned_away(two, "c", now=599).blocked_until(599) == 599 + 3600


def test_after_the_pause_one_account_tries_and_its_failure_doubles_the_pause_up_to_a_day() -> None:
    breaker, now = _turned_away(Breaker(), "a", "b", "c"), 0.0
    pauses = []
    for _ignored in range(7):
        until = breaker.blocked_until(now)
        assert until is not None
        pauses.append(until - now)
        now = until
        trial = breaker.admit(now, LIMITS)
        assert trial.blocked_until(now + 299) is not None
        breaker = trial.result("a", "captcha_required", now, LIMITS)
    assert pauses == [3600, 7200, 14400, 28800, 57600, 86400, 86400]


@pytest.mark.parametrize(("witness", "closed"), [(None, True), ("bad_credentials", True), ("network_error", False)])
def test_a_trial_closes_the_breaker_only_if_the_provider_talked_to_us(witness: str | None, *, closed: bool) -> None:
    trial = _turned_away(Breaker(), "a", "b", "c").admit(3600, LIMITS)
    assert (trial.result("a", witness, 3601, LIMITS) == Breaker()) is closed
