# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Codes are right, arrive while they are good and are never sent twice."""

from __future__ import annotations

import base64

import pyotp
import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import MfaInvalid
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.totp import choose_step, code_at, decode_secret
from identity_fake import EMAIL, PASSWORD, START, TOTP_SECRET, Reply, World


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_the_vectors_of_rfc_6238(now: int, code: str) -> None:
    assert code_at(b"12345678901234567890", now // 30, digits=8) == code


@pytest.mark.parametrize("now", range(1_700_000_000, 1_700_030_000, 997))
def test_codes_equal_those_of_another_implementation(now: int) -> None:
    secret = base64.b32encode(b"0123456789abcdefghij").decode()
    assert code_at(decode_secret(secret), now // 30) == pyotp.TOTP(secret).at(now)


@pytest.mark.parametrize("written", ["jbsw y3dp-ehpk 3pxp", "JBSWY3DPEHPK3PXP======", TOTP_SECRET])
def test_a_secret_may_be_written_as_providers_show_it(written: str) -> None:
    assert decode_secret(written) == b"Hello!\xde\xad\xbe\xef"


@pytest.mark.parametrize("written", ["", "  ", "0189", "ä"])
def test_a_secret_that_is_none_is_refused_without_being_quoted(written: str) -> None:
    with pytest.raises(MfaInvalid) as caught:
        decode_secret(written)
    assert written.strip() == "" or written not in str(caught.value)


def test_with_less_than_three_seconds_left_the_next_step_is_awaited() -> None:
    assert choose_step(30 * 100 + 27.0, None, 3) == (100, 0.0)
    step, wait = choose_step(30 * 100 + 27.5, None, 3)
    assert (step, round(wait, 3)) == (101, 2.5)


def test_a_step_is_never_used_twice() -> None:
    assert choose_step(30 * 100 + 5, 100, 3) == (101, 25.0)
    assert choose_step(30 * 100 + 28, 101, 3) == (102, 32.0)


def test_a_clock_set_back_by_hours_does_not_wait_for_hours() -> None:
    assert choose_step(30 * 100 + 5, 500, 3) == (100, 0.0)


def _with_code(world: World) -> None:
    world.provider.mfa = True
    world.give(email=EMAIL, password=PASSWORD, totp_secret=TOTP_SECRET)
    world.limit(login_interval=0, login_gap=0, login_gap_random=0)


def test_two_logins_in_one_step_send_two_codes(world: World) -> None:
    _with_code(world)
    world.renew()
    world.provider.live.clear()
    world.give(email=EMAIL, password=PASSWORD, totp_secret=TOTP_SECRET, proxy="http://p.test")
    assert world.renew(reason="rejected").usable
    assert len(set(world.provider.codes_seen)) == 2
    assert world.clock.slept[-1] > 0


def test_a_code_that_was_sent_before_a_crash_is_not_sent_again(world: World) -> None:
    _with_code(world)

    def crash(_fields: dict[str, str]) -> Reply:
        raise KeyboardInterrupt

    world.provider.answers["POST /u/mfa-otp-challenge"] = crash
    with pytest.raises(KeyboardInterrupt):
        world.renew()
    del world.provider.answers["POST /u/mfa-otp-challenge"]
    world.restart()
    assert world.renew().usable
    assert world.provider.codes_seen == [code_at(decode_secret(TOTP_SECRET), int(START // 30) + 1)]


def test_a_rejected_code_is_followed_by_one_other_in_the_next_step(world: World) -> None:
    _with_code(world)
    rejected: list[str] = []

    def first_no(fields: dict[str, str]) -> Reply:
        if not rejected:
            rejected.append(fields["code"])
            return world.provider.handle("GET", "/u/mfa-otp-challenge", {})
        return world.provider.handle("POST", "/u/mfa-otp-challenge", fields)

    world.provider.answers["POST /u/mfa-otp-challenge"] = first_no
    assert world.renew().usable
    assert len(world.provider.passwords_seen) == 1
    assert rejected[0] not in world.provider.codes_seen


def test_a_clock_that_differs_is_named_with_the_rejected_code(world: World) -> None:
    _with_code(world)
    world.give(email=EMAIL, password=PASSWORD, totp_secret="GEZDGNBVGY3TQOJQ")
    world.provider.answers["GET /authorize"] = world.provider.dated(world.clock.now + 90)
    outcome = world.renew()
    assert outcome.error_class == "mfa_invalid"
    assert "+90 s" in outcome.message


def test_a_clock_that_differs_is_reported_even_after_a_success(world: World) -> None:
    world.provider.answers["GET /authorize"] = world.provider.dated(world.clock.now - 45)
    outcome = world.renew()
    assert outcome.usable
    assert any("-45 s" in warning for warning in outcome.warnings)
