# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each way to fail leads to one class, one state, a sentence and a cure, and to no second harmful attempt."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import ACCOUNT_ERRORS
from identity_fake import (
    CODE,
    EMAIL,
    HOST,
    IDENTIFIER,
    PASSWORD,
    PASSWORD_FIELD,
    TOTP_SECRET,
    Reply,
    World,
    document,
    form,
    jwt,
    no_connection,
    page,
    redirect,
)

Arrangement = Callable[[World], None]


def _answers(key: str, reply: Reply) -> Arrangement:
    def arrange(world: World) -> None:
        world.provider.answers[key] = reply

    return arrange


def _code(code: str, key: str = "POST /u/login/password") -> Arrangement:
    field = PASSWORD_FIELD if "password" in key else IDENTIFIER
    return _answers(key, page(form(field), 400, before=f'<p data-error-code="{code}">a translated text</p>'))


def _wrong_password(world: World) -> None:
    world.give(email=EMAIL, password="something else")


def _wrong_password_with_200(world: World) -> None:
    _wrong_password(world)
    world.provider.wrong_status = 200
    world.provider.wrong_code = ""


def _wrong_password_on_one_page(world: World) -> None:
    _wrong_password_with_200(world)
    world.provider.one_page = True


def _unknown_email(world: World) -> None:
    world.give(email="nobody@example.test", password=PASSWORD)
    world.provider.wrong_code = ""


def _email_sent_back(world: World) -> None:
    world.provider.answers["POST /u/login/identifier"] = redirect("/u/login/identifier?state=TX")


def _code_without_secret(world: World) -> None:
    world.provider.mfa = True


def _wrong_secret(world: World) -> None:
    world.provider.mfa = True
    world.give(email=EMAIL, password=PASSWORD, totp_secret="GEZDGNBVGY3TQOJQ")


def _unreadable_secret(world: World) -> None:
    world.give(email=EMAIL, password=PASSWORD, totp_secret="not base32 at all!")


def _other_factor(world: World) -> None:
    world.give(email=EMAIL, password=PASSWORD, totp_secret=TOTP_SECRET)
    world.provider.answers["GET /authorize/resume"] = redirect("/u/mfa-sms-challenge?state=TX")
    world.provider.answers["GET /u/mfa-sms-challenge"] = page(form(CODE))


def _named_captcha(world: World) -> None:
    world.provider.answers["GET /u/login/password"] = page(form(PASSWORD_FIELD, '<input type="hidden" name="captcha">'))


def _drawn_captcha(world: World) -> None:
    world.provider.answers["GET /u/login/identifier"] = page(form(IDENTIFIER, '<div class="g-recaptcha"></div>'))


def _consent_page(world: World) -> None:
    buttons = '<button name="accept" value="1">Yes</button><button name="deny" value="1">No</button>'
    world.provider.answers["GET /authorize/resume"] = redirect("/u/decide")
    world.provider.answers["GET /u/decide"] = page(form(button=buttons))


def _callback_error(code: str) -> Arrangement:
    def arrange(world: World) -> None:
        world.provider.answers["GET /authorize/resume"] = lambda _fields: world.provider.callback(error=code)

    return arrange


def _no_connection(world: World) -> None:
    world.provider.answers["GET /authorize"] = no_connection


def _foreign_host(world: World) -> None:
    world.provider.answers["POST /u/login/identifier"] = redirect("https://enterprise.example.net/login")


def _expired_by_hand(world: World) -> None:
    world.give(access_token=jwt(world.clock.now - 1))


def _unknown_refresh_token(world: World) -> None:
    world.give(refresh_token="planted-refresh-of-long-ago")


TABLE: list[tuple[str, str, str, Arrangement]] = [
    ("wrong password", "bad_credentials", "quarantined", _wrong_password),
    ("wrong password, same page with 200", "bad_credentials", "quarantined", _wrong_password_with_200),
    ("wrong password, both fields on one page", "bad_credentials", "quarantined", _wrong_password_on_one_page),
    ("unknown e-mail", "bad_credentials", "quarantined", _unknown_email),
    ("e-mail page again by redirect", "bad_credentials", "quarantined", _email_sent_back),
    ("malformed e-mail", "bad_credentials", "quarantined", _code("invalid-email-format", "POST /u/login/identifier")),
    ("unknown code on the password page", "unknown_page", "needs_operator", _code("of-a-later-version")),
    ("code page without secret", "mfa_required", "needs_operator", _code_without_secret),
    ("another factor", "mfa_required", "needs_operator", _other_factor),
    ("wrong secret", "mfa_invalid", "quarantined", _wrong_secret),
    ("unreadable secret", "mfa_invalid", "quarantined", _unreadable_secret),
    ("captcha field", "captcha_required", "needs_operator", _named_captcha),
    ("captcha drawn", "captcha_required", "needs_operator", _drawn_captcha),
    ("captcha code", "captcha_required", "needs_operator", _code("invalid-captcha")),
    ("consent page", "consent_required", "needs_operator", _consent_page),
    ("consent in the callback", "consent_required", "needs_operator", _callback_error("consent_required")),
    ("blocked", "account_blocked", "needs_operator", _code("user-blocked")),
    ("breached password", "account_blocked", "needs_operator", _code("password-breached")),
    ("access denied", "account_blocked", "needs_operator", _callback_error("access_denied")),
    ("too many logins of one user", "rate_limited", "waiting", _code("same-user-login")),
    ("429 at the start", "rate_limited", "waiting", _answers("GET /authorize", Reply(429))),
    ("429 at the token endpoint", "rate_limited", "waiting", _answers("POST /oauth/token", Reply(429))),
    ("address blocked", "ip_blocked", "waiting", _code("ip-blocked")),
    ("bot wall", "ip_blocked", "waiting", _answers("GET /authorize", page("<h1>no</h1>", 403))),
    ("bot wall with a form", "ip_blocked", "waiting", _answers("GET /authorize", page(form(button=""), 403))),
    ("503", "provider_error", "waiting", _answers("GET /authorize", page("busy", 503))),
    ("500 after the password", "provider_error", "waiting", _answers("POST /u/login/password", Reply(500))),
    ("unknown client", "provider_error", "waiting", _answers("GET /authorize", page("unknown client_id", 400))),
    ("error of the server", "provider_error", "waiting", _callback_error("server_error")),
    ("no token in the answer", "provider_error", "waiting", _answers("POST /oauth/token", document({}))),
    ("answer is no object", "provider_error", "waiting", _answers("POST /oauth/token", document([1]))),
    (
        "code rejected",
        "provider_error",
        "waiting",
        _answers("POST /oauth/token", document({"error": "invalid_grant"}, 400)),
    ),
    ("client rejected", "provider_error", "waiting", _answers("POST /oauth/token", document({"error": "x"}, 403))),
    ("circle", "provider_error", "waiting", _answers("GET /authorize", redirect("/authorize"))),
    ("no connection", "network_error", "waiting", _no_connection),
    ("unknown page", "unknown_page", "needs_operator", _answers("GET /authorize", page("<h1>News</h1>"))),
    (
        "sign-up form",
        "unknown_page",
        "needs_operator",
        _answers(
            "GET /authorize", page(form(IDENTIFIER, '<input type="password" name="p" autocomplete="new-password">'))
        ),
    ),
    (
        "credentials by GET",
        "unknown_page",
        "needs_operator",
        _answers("GET /authorize", page(f'<form method="get">{IDENTIFIER}</form>')),
    ),
    ("foreign host", "unknown_page", "needs_operator", _foreign_host),
    (
        "foreign form",
        "unknown_page",
        "needs_operator",
        _answers("GET /u/login/password", page(form(PASSWORD_FIELD, action="https://thief.example.net/"))),
    ),
    (
        "downgrade",
        "unknown_page",
        "needs_operator",
        _answers("GET /authorize", redirect("http://login.example.test/x")),
    ),
    ("unreadable redirect", "unknown_page", "needs_operator", _answers("GET /authorize", redirect("https://[x/"))),
    ("token by hand expired", "token_expired", "needs_operator", _expired_by_hand),
    ("refresh token unknown, no password", "token_rejected", "needs_operator", _unknown_refresh_token),
]


@pytest.mark.parametrize(("error_class", "state", "arrange"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_failure_has_its_class_its_state_a_sentence_and_a_cure(
    world: World, error_class: str, state: str, arrange: Arrangement
) -> None:
    arrange(world)
    outcome = world.renew()
    assert (outcome.error_class, outcome.state, outcome.usable) == (error_class, state, False)
    assert outcome.message.endswith(".")
    assert outcome.cure.endswith(".")
    assert len(world.provider.passwords_seen) <= 1


@pytest.mark.parametrize("arrange", [row[3] for row in TABLE], ids=[row[0] for row in TABLE])
def test_no_secret_shows_in_an_outcome(world: World, arrange: Arrangement) -> None:
    arrange(world)
    shown = repr(world.renew()) + repr(world.store.load("alice")) + repr(world.renewer.credentials)
    assert all(word not in shown for word in (EMAIL, PASSWORD, "something else", TOTP_SECRET, "planted", "secretmail"))


@pytest.mark.parametrize("arrange", [row[3] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_state_is_the_same_after_a_restart(world: World, arrange: Arrangement) -> None:
    arrange(world)
    before = world.renew()
    world.restart()
    requests = len(world.provider.requests)
    after = world.renew()
    assert (after.state, after.error_class, after.next_renewal) == (
        before.state,
        before.error_class,
        before.next_renewal,
    )
    assert not after.changed
    assert len(world.provider.requests) == requests


def test_the_table_knows_every_class() -> None:
    assert {row[1] for row in TABLE} == set(ACCOUNT_ERRORS)


@pytest.mark.parametrize("header", ["Retry-After", "x-ratelimit-reset"])
def test_a_provider_that_asks_for_patience_gets_it(world: World, header: str) -> None:
    world.provider.answers["GET /authorize"] = Reply(429, {header: "7200"})
    outcome = world.renew()
    assert outcome.next_renewal == world.clock.now + 7200


def test_retry_after_may_be_a_date_and_a_reset_a_point_in_time(world: World) -> None:
    world.provider.answers["GET /authorize"] = Reply(503, {"retry-after": "Fri, 15 Jan 2027 10:00:00 GMT"})
    assert world.renew().next_renewal == 1_800_007_200.0
    world.clock.now += 7201
    world.provider.answers["GET /authorize"] = Reply(429, {"X-RateLimit-Reset": str(int(world.clock.now) + 5000)})
    assert world.renew().next_renewal == int(world.clock.now) + 5000


def test_no_retry_after_benches_an_account_for_more_than_a_day(world: World) -> None:
    world.provider.answers["GET /authorize"] = Reply(429, {"Retry-After": "99999999"})
    assert world.renew().next_renewal == world.clock.now + 86_400


def test_a_foreign_host_is_named_without_its_path(world: World) -> None:
    _foreign_host(world)
    message = world.renew().message
    assert "enterprise.example.net" in message
    assert "/login" not in message
    assert HOST not in message
