# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long tokens of the stand-in identity provider live, and how the token endpoint can fail."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import ssl
import subprocess
import time
import typing
from pathlib import Path

import pytest

from .standins import ALICE, BOB, CAROL, CLIENT_ID, REDIRECT_URI, TIMEOUT, Browser, StandIns, send

NO_ANSWER = (http.client.HTTPException, OSError)


def _issue(standins: StandIns, email: str = ALICE) -> dict[str, typing.Any]:
    tokens: dict[str, typing.Any] = standins.control("/issue", email=email, refresh=True)
    return tokens


def test_a_code_is_good_once_and_its_second_use_ends_what_it_brought(standins: StandIns, alice: Browser) -> None:
    code = alice.login()["code"]
    tokens = alice.exchange(code).json
    assert standins.chat(tokens["access_token"]).status == 200
    assert alice.exchange(code).json["error"] == "invalid_grant"
    assert standins.chat(tokens["access_token"]).status == 401


@pytest.mark.parametrize("changes", [{"code_verifier": "x" * 43}, {"redirect_uri": "other:/"}, {"code": "other"}])
def test_a_code_needs_its_verifier_and_redirect_uri(alice: Browser, changes: dict[str, str]) -> None:
    code = alice.login()["code"]
    assert alice.exchange(**{"code": code, **changes}).json["error"] == "invalid_grant"


def test_the_token_endpoint_takes_forms_only(standins: StandIns) -> None:
    body = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": _issue(standins)["refresh_token"]}
    answer = send(
        "POST", standins.issuer + "/oauth/token", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    assert standins.refresh(str(body["refresh_token"])).status == 200


def test_only_offline_access_brings_a_refresh_token(standins: StandIns, alice: Browser) -> None:
    assert "refresh_token" not in alice.exchange(alice.login(scope="openid")["code"]).json
    standins.switch(offline_needs_consent=True)
    assert "refresh_token" not in alice.exchange(alice.login()["code"]).json
    assert "refresh_token" in alice.exchange(alice.login(prompt="login consent")["code"]).json


def test_using_a_rotated_refresh_token_ends_its_family(standins: StandIns) -> None:
    first = _issue(standins)
    second = standins.refresh(first["refresh_token"]).json
    assert second["access_token"] != first["access_token"]
    assert standins.chat(first["access_token"]).status == 200
    answer = standins.refresh(first["refresh_token"])
    assert (answer.status, answer.json["error"]) == (403, "invalid_grant")
    assert standins.refresh(second["refresh_token"]).json["error"] == "invalid_grant"
    assert standins.chat(second["access_token"]).status == 401
    assert standins.count(ALICE, "reuse_detections") == 1
    assert standins.count(ALICE, "refreshes") == 1


def test_within_the_leeway_a_rotated_refresh_token_still_works(standins: StandIns) -> None:
    standins.control("/lifetimes", rotation_leeway=60)
    first = _issue(standins)
    assert standins.refresh(first["refresh_token"]).status == 200
    assert standins.refresh(first["refresh_token"]).status == 200
    assert standins.count(ALICE, "reuse_detections") == 0


def test_without_rotation_the_refresh_token_stays(standins: StandIns) -> None:
    standins.switch(rotate=False, invalid_grant_status=400)
    first = _issue(standins)
    assert "refresh_token" not in standins.refresh(first["refresh_token"]).json
    assert standins.refresh(first["refresh_token"]).status == 200
    assert standins.refresh("unknown").status == 400


def test_tokens_end_with_their_lifetime(standins: StandIns) -> None:
    standins.control("/lifetimes", email=ALICE, access_token=0.3, refresh_token=0.3)
    mine, other = _issue(standins), _issue(standins, BOB)
    assert standins.chat(mine["access_token"]).status == 200
    time.sleep(0.4)
    assert standins.chat(mine["access_token"]).status == 401
    assert standins.refresh(mine["refresh_token"]).json["error"] == "invalid_grant"
    assert standins.chat(other["access_token"]).status == 200


def test_revocation_ends_the_family_and_is_never_an_error(standins: StandIns) -> None:
    tokens = _issue(standins)
    for token in (tokens["refresh_token"], "unknown"):
        answer = standins.post_form("/oauth/revoke", client_id=CLIENT_ID, token=token)
        assert (answer.status, answer.body) == (200, b"")
    assert standins.chat(tokens["access_token"]).status == 401
    assert standins.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"
    assert standins.count(ALICE, "revocations") == 1
    assert standins.post_form("/oauth/revoke", client_id="other", token="x").json["error"] == "invalid_client"


def test_the_control_api_revokes_one_account_or_all(standins: StandIns) -> None:
    mine, other = _issue(standins), _issue(standins, BOB)
    standins.control("/revoke", email=ALICE)
    assert standins.chat(mine["access_token"]).json["detail"]["code"] == "token_expired"
    assert standins.chat(other["access_token"]).status == 200
    assert standins.refresh(mine["refresh_token"]).status == 200
    standins.control("/revoke", all=True, kind="everything")
    assert standins.chat(other["access_token"]).status == 401
    assert standins.refresh(other["refresh_token"]).status == 403
    assert "either" in standins.refused("/revoke")


def test_a_held_renewal_waits_for_its_release_and_others_do_not(standins: StandIns) -> None:
    mine, other = _issue(standins), _issue(standins, BOB)
    standins.control("/hold", email=ALICE, grants=["refresh_token"])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(standins.refresh, mine["refresh_token"])
        standins.wait_for(lambda seen: seen["waiting"]["refresh_token"] == {ALICE: 1})
        assert standins.refresh(other["refresh_token"]).status == 200
        assert not waiting.done()
        standins.control("/release")
        assert waiting.result().status == 200
    assert standins.statistics()["waiting"]["refresh_token"] == {}


def test_a_held_renewal_whose_client_left_never_happened(standins: StandIns) -> None:
    tokens = _issue(standins)
    standins.control("/hold")
    host, _ignored, port = standins.issuer.removeprefix("http://").partition(":")
    client = http.client.HTTPConnection(host, int(port))
    body = f"grant_type=refresh_token&client_id={CLIENT_ID}&refresh_token={tokens['refresh_token']}"
    client.request("POST", "/oauth/token", body, {"Content-Type": "application/x-www-form-urlencoded"})
    standins.wait_for(lambda seen: bool(seen["waiting"]["refresh_token"]))
    client.close()
    standins.wait_for(lambda seen: not seen["waiting"]["refresh_token"])
    standins.control("/release")
    assert standins.refresh(tokens["refresh_token"]).status == 200


def test_a_lost_answer_has_rotated_the_token(standins: StandIns) -> None:
    tokens = _issue(standins)
    standins.switch(ALICE, refresh_answer={"kind": "lost", "times": 1})
    with pytest.raises(NO_ANSWER):
        standins.refresh(tokens["refresh_token"])
    assert standins.count(ALICE, "refreshes") == 1
    assert standins.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ("rate_limit", 429, "too_many_requests"),
        ("invalid_grant", 403, "invalid_grant"),
        ("invalid_client", 401, "invalid_client"),
        ("server_error", 500, None),
        ("bot_wall", 403, None),
    ],
)
def test_a_refused_refresh_leaves_the_token_good(
    standins: StandIns, fault: str, status: int, error: str | None
) -> None:
    tokens = _issue(standins)
    standins.switch(refresh_answer={"kind": fault, "times": 1})
    answer = standins.refresh(tokens["refresh_token"])
    assert answer.status == status
    assert (answer.json["error"] if error else None) == error
    assert standins.refresh(tokens["refresh_token"]).status == 200


def test_a_dripping_answer_begins_at_once_and_does_not_end(standins: StandIns) -> None:
    tokens = _issue(standins)
    standins.switch(refresh_answer={"kind": "drip", "pause": 60, "times": 1})
    host, _ignored, port = standins.issuer.removeprefix("http://").partition(":")
    form = f"grant_type=refresh_token&client_id={CLIENT_ID}&refresh_token={tokens['refresh_token']}"
    client = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT)
    client.request("POST", "/oauth/token", form, {"Content-Type": "application/x-www-form-urlencoded"})
    answer = client.getresponse()
    assert answer.status == 200
    assert answer.read(1) == b"{"
    assert int(answer.headers["Content-Length"]) > 100
    client.close()
    assert standins.count(ALICE, "refreshes") == 1
    assert standins.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"


def test_a_dripping_answer_arrives_whole_in_the_end(standins: StandIns) -> None:
    tokens = _issue(standins)
    standins.switch(refresh_answer={"kind": "drip", "pause": 0, "times": 1})
    assert standins.refresh(standins.refresh(tokens["refresh_token"]).json["refresh_token"]).status == 200


@pytest.mark.parametrize(("kind", "refreshes"), [("bad_gateway", 0), ("lost_bad_gateway", 1)])
def test_a_front_end_fails_with_any_status_before_or_after_the_work(
    standins: StandIns, kind: str, refreshes: int
) -> None:
    tokens = _issue(standins)
    standins.switch(refresh_answer={"kind": kind, "status": 504, "times": 1})
    answer = standins.refresh(tokens["refresh_token"])
    assert (answer.status, answer.headers["Content-Type"]) == (504, "text/html; charset=utf-8")
    assert standins.count(ALICE, "refreshes") == refreshes


def test_a_page_can_be_lost_after_its_work_as_well(standins: StandIns, alice: Browser) -> None:
    standins.switch(resume_answer={"kind": "lost_bad_gateway", "times": 1})
    assert alice.follow(alice.authorize()).status == 502
    assert standins.count(ALICE, "logins") == 1


def test_an_expiry_can_be_told_per_account(standins: StandIns) -> None:
    standins.switch(ALICE, expires_in="soon")
    assert standins.refresh(_issue(standins)["refresh_token"]).json["expires_in"] == "soon"
    assert standins.refresh(_issue(standins, BOB)["refresh_token"]).json["expires_in"] == 864_000
    standins.switch(ALICE, expires_in=None)
    assert standins.refresh(_issue(standins)["refresh_token"]).json["expires_in"] == 864_000


@pytest.mark.parametrize("fault", ["rate_limit", "invalid_client"])
def test_a_fault_is_told_on_a_page_to_a_client_that_would_rather_read_one(standins: StandIns, fault: str) -> None:
    standins.switch(html_errors=True, refresh_answer=fault)
    form = f"grant_type=refresh_token&client_id={CLIENT_ID}&refresh_token={_issue(standins)['refresh_token']}"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    answer = send("POST", standins.issuer + "/oauth/token", form.encode(), headers)
    assert (answer.status, answer.headers["Content-Type"]) == (
        {"rate_limit": 429, "invalid_client": 401}[fault],
        "text/html; charset=utf-8",
    )


def test_a_closed_connection_and_a_provider_that_is_down_answer_nothing(standins: StandIns) -> None:
    tokens = _issue(standins)
    standins.switch(refresh_answer={"kind": "close", "times": 1})
    with pytest.raises(NO_ANSWER):
        standins.refresh(tokens["refresh_token"])
    standins.switch(identity_down=True, chat_down=True)
    with pytest.raises(NO_ANSWER):
        standins.refresh(tokens["refresh_token"])
    with pytest.raises(NO_ANSWER):
        standins.chat(tokens["access_token"])
    standins.switch(identity_down=None, chat_down=None)
    assert standins.refresh(tokens["refresh_token"]).status == 200


def test_a_delay_holds_the_answer_back(standins: StandIns) -> None:
    tokens = _issue(standins)
    standins.switch(refresh_delay=0.3)
    start = time.monotonic()
    assert standins.refresh(tokens["refresh_token"]).status == 200
    assert time.monotonic() - start >= 0.3


def test_a_pre_issued_token_is_good_from_the_start(standins: StandIns) -> None:
    assert standins.chat("carols.access.token").status == 200
    assert standins.statistics()["accounts"][CAROL]["chat"] == {"200": 1}


def test_a_users_password_can_be_changed(standins: StandIns, alice: Browser) -> None:
    standins.control("/users", email=ALICE, password="new")
    assert alice.follow(alice.authorize()).status == 400
    assert "code" in Browser(standins, username=ALICE, password="new").login()


def test_a_reset_forgets_switches_holds_and_statistics_but_no_tokens(standins: StandIns) -> None:
    tokens = _issue(standins)
    standins.switch(chat_answer="server_error")
    standins.control("/hold")
    standins.control("/lifetimes", access_token=1)
    standins.chat(tokens["access_token"])
    standins.control("/reset")
    assert standins.statistics()["accounts"] == {}
    assert standins.chat(tokens["access_token"]).status == 200
    assert standins.refresh(tokens["refresh_token"]).json["expires_in"] == 864_000


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/switches", {"switches": {"captchas": "x"}}, "Unknown switch 'captchas'"),
        ("/switches", {"switches": {"rotate": 1}}, "'rotate'"),
        ("/switches", {"switches": {"chat_answer": "nothing"}}, "one of rate_limit"),
        ("/switches", {"switches": {"chat_answer": {"kind": "drip", "pause": "long"}}}, "pause"),
        ("/switches", {"switches": {"chat_answer": {"kind": "bad_gateway", "status": "502"}}}, "status"),
        ("/switches", {"switches": {"chat_answer": {"kind": "close", "speed": 1}}}, "one of rate_limit"),
        ("/switches", {"email": ALICE, "switches": {"html_errors": True}}, "global"),
        ("/switches", {"email": ALICE, "switches": {"chat_down": True}}, "global"),
        ("/lifetimes", {"access": 1}, "access_token"),
        ("/hold", {"grants": ["password"]}, "authorization_code"),
        ("/issue", {}, "'email'"),
        ("/reset", {"everything": True}, "Unknown key"),
    ],
)
def test_the_control_api_says_what_would_be_right(
    standins: StandIns, path: str, body: dict[str, object], message: str
) -> None:
    assert message in standins.refused(path, **body)


def test_events_are_in_order_and_hold_no_token(standins: StandIns, alice: Browser) -> None:
    tokens = alice.exchange(alice.login()["code"]).json
    standins.refresh(tokens["refresh_token"])
    standins.chat(tokens["access_token"])
    seen = standins.statistics()
    names = [event["event"] for event in seen["events"]]
    expected = ["password_submissions", "logins", "code_exchanges", "refreshes", "token_seen"]
    assert [name for name in names if not name.endswith("_requested")] == expected
    times = [event["time"] for event in seen["events"]]
    assert times == sorted(times)
    text = json.dumps(seen)
    assert not any(tokens[name] in text for name in ("access_token", "refresh_token", "id_token"))


def test_tls_and_a_git_repository_below_git_are_served(tmp_path: Path) -> None:
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    work, bare, clone = tmp_path / "work", tmp_path / "root" / "upstream.git", tmp_path / "clone"
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "-q", work], check=True)
    (work / "file").write_text("content")
    subprocess.run([*git, "add", "file"], cwd=work, check=True)
    subprocess.run([*git, "commit", "-qm", "x"], cwd=work, check=True)
    subprocess.run([*git, "clone", "-q", "--bare", work, bare], check=True)
    subprocess.run([*git, "update-server-info"], cwd=bare, check=True)
    identity = {"host": "127.0.0.1", "port": 0, "tls_certificate": str(certificate), "tls_key": str(key)}
    standins = StandIns(tmp_path, identity=identity, git_root=str(tmp_path / "root"))
    try:
        context = ssl.create_default_context(cafile=str(certificate))
        document = send("GET", standins.issuer + "/.well-known/openid-configuration", context=context)
        assert document.json["issuer"].startswith("https://127.0.0.1:")
        standins.switch(identity_down=True)
        environment = {**os.environ, "GIT_SSL_CAINFO": str(certificate), "no_proxy": "127.0.0.1"}
        subprocess.run([*git, "clone", "-q", f"{standins.issuer}/git/upstream.git", clone], check=True, env=environment)
        assert (clone / "file").read_text() == "content"
        assert send("GET", standins.issuer + "/git/../config.json", context=context).status in (403, 404)
    finally:
        standins.stop()
    assert REDIRECT_URI not in document.text


def test_the_clock_can_be_set_ahead_and_reset_brings_it_back(standins: StandIns) -> None:
    tokens = standins.control("/issue", email=ALICE, lifetime=60.0, refresh=True)
    standins.control("/clock", ahead=61.0)
    assert standins.chat(tokens["access_token"]).status == 401
    later = standins.refresh(tokens["refresh_token"]).json
    assert standins.chat(later["access_token"]).status == 200
    standins.control("/reset")
    assert standins.chat(later["access_token"]).status == 200
    assert "ahead" in standins.refused("/clock", forward=1)
