# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a login at the stand-in identity provider has to pass, and how it can fail."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from provider import totp

from .standins import ALICE, BOB, REDIRECT_URI, TOTP_SECRET, Browser, StandIns, error_code, send


def _code(offset: int = 0) -> str:
    return totp.code(TOTP_SECRET, int(time.time() // totp.STEP) + offset)


def _bob(standins: StandIns, code: str) -> Browser:
    return Browser(standins, username=BOB, password="bob's", code=code)


def test_a_login_over_two_pages_brings_tokens(standins: StandIns, alice: Browser) -> None:
    callback = alice.login()
    assert callback["state"] == alice.state
    assert callback["iss"] == standins.issuer
    assert alice.visited == ["/u/login/identifier", "/u/login/password", "/authorize/resume"]
    tokens = alice.exchange(callback["code"]).json
    assert tokens["access_token"].count(".") == 2
    assert tokens["token_type"] == "Bearer"
    assert {"refresh_token", "id_token"} <= set(tokens)
    counted = standins.statistics()["accounts"][ALICE]
    assert (counted["password_submissions"], counted["logins"], counted["code_exchanges"]) == (1, 1, 1)


def test_the_one_page_switch_asks_for_both_on_one_page(standins: StandIns, alice: Browser) -> None:
    standins.switch(one_page=True, absolute_redirects=True)
    assert "code" in alice.login()
    assert alice.visited == ["/u/login", "/authorize/resume"]


def test_discovery_names_every_endpoint_below_the_prefix(tmp_path: Path) -> None:
    identity = {"host": "127.0.0.1", "port": 0, "prefix": "/tenant/x", "paths": {"token": "/t", "identifier": "/who"}}
    standins = StandIns(tmp_path, identity=identity)
    try:
        document = send("GET", standins.issuer + "/.well-known/openid-configuration").json
        base = standins.issuer.removesuffix("/tenant/x")
        assert document == send("GET", base + "/.well-known/oauth-authorization-server/tenant/x").json
        assert document["issuer"] == standins.issuer
        assert document["token_endpoint"] == standins.issuer + "/t"
        assert send("GET", base + "/authorize").status == 404
        browser = Browser(standins, username=ALICE, password="alice's & password")
        assert "code" in browser.login()
        assert browser.visited[0] == "/tenant/x/who"
    finally:
        standins.stop()


@pytest.mark.parametrize("before", [False, True])
def test_a_one_time_code_is_asked_before_or_after_resume_and_works_once(standins: StandIns, before: bool) -> None:
    # Each step is used once in a session, so each run needs one of its own.
    code = _code(1 if before else 0)
    standins.switch(mfa_before_resume=before)
    browser = _bob(standins, code)
    assert "code" in browser.login()
    order = [path for path in browser.visited if path in ("/u/mfa-otp-challenge", "/authorize/resume")]
    assert order == (["/u/mfa-otp-challenge", "/authorize/resume"] if before else ["/authorize/resume", *order[1:]])
    again = _bob(standins, code)
    page = again.follow(again.authorize())
    assert (page.status, error_code(page)) == (400, "invalid-code")


def test_consent_is_a_page_that_can_be_accepted(standins: StandIns, alice: Browser) -> None:
    standins.switch(consent=True)
    assert "code" in alice.login()
    assert "/u/consent" in alice.visited


@pytest.mark.parametrize(
    "changes", [{"client_id": "other"}, {"redirect_uri": REDIRECT_URI + "/"}, {"redirect_uri": ""}]
)
def test_a_wrong_client_or_redirect_uri_is_never_redirected(alice: Browser, changes: dict[str, str]) -> None:
    answer = alice.authorize(**changes)
    assert (answer.status, answer.location) == (400, "")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"audience": "https://other.example.org"}, "access_denied"),
        ({"prompt": "none"}, "login_required"),
    ],
)
def test_a_wrong_authorization_request_returns_to_the_client(
    alice: Browser, changes: dict[str, str], error: str
) -> None:
    callback = alice.login(**changes)
    assert (callback["error"], callback["state"]) == (error, alice.state)


def test_forms_need_their_cookies_hidden_state_and_button(standins: StandIns, alice: Browser) -> None:
    url = standins.issuer + alice.authorize().location
    state = url.rpartition("=")[2]
    form = {"state": state, "username": ALICE, "action": "default"}
    assert alice.request("POST", url, form).status == 400
    assert alice.request("GET", url).status == 200
    assert send("GET", url).status == 400
    for missing in ("state", "action"):
        assert alice.request("POST", url, {k: v for k, v in form.items() if k != missing}).status == 400
    assert alice.request("POST", url, form).status == 302


@pytest.mark.parametrize("status", [400, 200])
def test_a_wrong_password_shows_the_page_again(standins: StandIns, status: int) -> None:
    standins.switch(wrong_password_status=status)
    browser = Browser(standins, username=ALICE, password="wrong")
    page = browser.follow(browser.authorize())
    assert (page.status, error_code(page)) == (status, "wrong-email-credentials" if status == 400 else "")
    assert 'type="password"' in page.text
    assert standins.count(ALICE, "password_submissions") == 1
    assert standins.count(ALICE, "logins") == 0


@pytest.mark.parametrize("code", ["user-blocked", "password-breached", "ip-blocked", "same-user-login"])
def test_the_right_password_can_be_refused_with_any_code(standins: StandIns, alice: Browser, code: str) -> None:
    standins.switch(ALICE, password_error=code)
    page = alice.follow(alice.authorize())
    assert (page.status, error_code(page)) == (400, code)


@pytest.mark.parametrize("page", ["identifier", "password"])
def test_a_captcha_field_stops_the_login(standins: StandIns, alice: Browser, page: str) -> None:
    standins.switch(captcha=page)
    assert 'name="captcha"' in alice.follow(alice.authorize(login_hint=ALICE)).text


def test_another_second_factor_leads_to_its_own_page(standins: StandIns, alice: Browser) -> None:
    standins.switch(ALICE, mfa_page="mfa-sms-challenge")
    assert alice.follow(alice.authorize()).status == 200
    assert alice.visited[-1] == "/u/mfa-sms-challenge"


def test_every_code_is_refused_with_invalid_code_on(standins: StandIns) -> None:
    standins.switch(BOB, invalid_code=True)
    browser = _bob(standins, _code(-1))
    assert error_code(browser.follow(browser.authorize())) == "invalid-code"


@pytest.mark.parametrize(("switch", "key"), [("callback_error", "error"), ("authorize_error", "error")])
def test_the_callback_can_bring_an_error(standins: StandIns, alice: Browser, switch: str, key: str) -> None:
    standins.switch(**{switch: "consent_required"})
    assert alice.login()[key] == "consent_required"


def test_the_callback_can_come_with_a_foreign_state_or_issuer(standins: StandIns, alice: Browser) -> None:
    standins.switch(wrong_state=True, wrong_issuer=True)
    callback = alice.login()
    assert callback["state"] != alice.state
    assert callback["iss"] != standins.issuer


@pytest.mark.parametrize(
    ("endpoint", "fault", "status"),
    [
        ("authorize", "rate_limit", 429),
        ("identifier", "bot_wall", 403),
        ("password", "rate_limit", 429),
        ("password", "server_error", 500),
        ("resume", "unavailable", 503),
        ("password", "unknown_page", 200),
    ],
)
def test_each_step_can_fail(standins: StandIns, alice: Browser, endpoint: str, fault: str, status: int) -> None:
    standins.switch(**{f"{endpoint}_answer": {"kind": fault, "retry_after": 7, "times": 1}})
    page = alice.follow(alice.authorize())
    assert page.status == status
    if fault in ("rate_limit", "unavailable"):
        assert page.headers["Retry-After"] == "7"
    if fault == "rate_limit":
        assert abs(int(page.headers["x-ratelimit-reset"]) - time.time() - 7) < 3


@pytest.mark.slow
def test_wrong_configuration_is_refused_with_the_key_and_the_cure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"config\.client needs the key 'redirect_uri'"):
        StandIns(tmp_path, client={"id": "x"})
    with pytest.raises(RuntimeError, match="unknown key 'user'"):
        StandIns(tmp_path, user=[])
    assert json.loads((tmp_path / "config.json").read_text())["user"] == []
