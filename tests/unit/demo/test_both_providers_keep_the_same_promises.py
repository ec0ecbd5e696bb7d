# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What code is tried with in place of a real identity provider keeps one contract, over HTTP and in process.

The stand-in provider of the demo and the fake of the unit tests pass the same tests, so that what is proved with one of
them does not fail with the other.
"""

from __future__ import annotations

import json

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts import totp
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError

from .both_providers import FakeSubject, StandInSubject, Subject
from .visitor import JSON_FIRST, Visitor, error_code, field_names, good, refusal

HTML_FIRST = "text/html, application/json;q=0.9, */*;q=0.1"
ENORMOUS = int("9" * 400)


@pytest.fixture(params=["over HTTP", "in process"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """Each of the two."""
    if request.param == "in process":
        return FakeSubject()
    return StandInSubject(request.getfixturevalue("standins"))


@pytest.fixture
def visitor(subject: Subject) -> Visitor:
    """Somebody who types what is right."""
    person = subject.person()
    return Visitor(subject, username=person.email, password=person.password)


# The code.


def test_a_login_brings_a_code_and_hands_the_clients_state_back(visitor: Visitor) -> None:
    callback = visitor.callback()
    assert callback["code"]
    assert callback["state"] == visitor.state


def test_a_code_and_its_verifier_bring_tokens(visitor: Visitor) -> None:
    tokens = visitor.tokens()
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 864_000
    assert tokens["access_token"] != tokens["refresh_token"]


@pytest.mark.parametrize("changes", [{"code_verifier": "x" * 43}, {"code": "another"}])
def test_a_code_is_worth_nothing_with_another_verifier_nor_a_verifier_with_another_code(
    visitor: Visitor, changes: dict[str, str]
) -> None:
    code = visitor.callback()["code"]
    assert refusal(visitor.exchange(**{"code": code, **changes})) == "invalid_grant"


def test_a_code_is_good_once_and_its_second_use_ends_what_it_brought(visitor: Visitor) -> None:
    code = visitor.callback()["code"]
    tokens = good(visitor.exchange(code))
    assert refusal(visitor.exchange(code)) == "invalid_grant"
    assert refusal(visitor.refresh(tokens["refresh_token"])) == "invalid_grant"


# The pages.


@pytest.mark.parametrize(("status", "code"), [(400, "wrong-email-credentials"), (200, "")])
def test_a_wrong_password_shows_its_form_again(subject: Subject, status: int, code: str) -> None:
    subject.switch(wrong_password_status=status)
    page = Visitor(subject, username=subject.person().email, password="another").page()
    assert (page.status_code, error_code(page)) == (status, code)
    assert "password" in field_names(page)


def test_a_one_time_code_is_asked_and_good_once(subject: Subject) -> None:
    person = subject.person_with_code()
    code = totp.code_at(totp.decode_secret(person.totp_secret), int(subject.now() // 30))
    typed = {"username": person.email, "password": person.password, "code": code}
    assert Visitor(subject, **typed).callback()["code"]
    again = Visitor(subject, **typed).page()
    assert (again.status_code, error_code(again)) == (400, "invalid-code")


def test_a_wrong_one_time_code_shows_its_form_again(subject: Subject) -> None:
    person = subject.person_with_code()
    long_ago = totp.code_at(totp.decode_secret(person.totp_secret), 1)
    page = Visitor(subject, username=person.email, password=person.password, code=long_ago).page()
    assert (page.status_code, error_code(page)) == (400, "invalid-code")
    assert "code" in field_names(page)


# Refreshing.


def test_a_refresh_brings_new_tokens_of_both_kinds(visitor: Visitor) -> None:
    first = visitor.tokens()
    second = good(visitor.refresh(first["refresh_token"]))
    assert {first["access_token"], first["refresh_token"]}.isdisjoint({second["access_token"], second["refresh_token"]})
    assert good(visitor.refresh(second["refresh_token"]))


def test_a_rotated_token_that_is_used_again_ends_its_family(visitor: Visitor) -> None:
    first = visitor.tokens()
    second = good(visitor.refresh(first["refresh_token"]))
    assert refusal(visitor.refresh(first["refresh_token"])) == "invalid_grant"
    assert refusal(visitor.refresh(second["refresh_token"])) == "invalid_grant"


def test_another_login_is_another_family(subject: Subject, visitor: Visitor) -> None:
    first = visitor.tokens()
    person = subject.person()
    other = Visitor(subject, username=person.email, password=person.password).tokens()
    good(visitor.refresh(first["refresh_token"]))
    assert refusal(visitor.refresh(first["refresh_token"])) == "invalid_grant"
    assert good(visitor.refresh(other["refresh_token"]))


def test_within_the_leeway_a_rotated_token_works_again_and_after_it_ends_its_family(
    subject: Subject, visitor: Visitor
) -> None:
    subject.switch(rotation_leeway=60)
    first = visitor.tokens()
    second = good(visitor.refresh(first["refresh_token"]))
    subject.wait(30)
    third = good(visitor.refresh(first["refresh_token"]))
    assert good(visitor.refresh(second["refresh_token"]))
    subject.wait(60)
    assert refusal(visitor.refresh(first["refresh_token"])) == "invalid_grant"
    assert refusal(visitor.refresh(third["refresh_token"])) == "invalid_grant"


def test_without_rotation_the_refresh_token_stays_good(subject: Subject, visitor: Visitor) -> None:
    subject.switch(rotate=False)
    first = visitor.tokens()
    for _time in range(2):
        assert "refresh_token" not in good(visitor.refresh(first["refresh_token"]))


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refresh_token_that_nobody_knows_is_an_invalid_grant_whatever_the_status(
    subject: Subject, visitor: Visitor, status: int
) -> None:
    subject.switch(invalid_grant_status=status)
    answer = visitor.refresh("unknown")
    assert (answer.status_code, refusal(answer)) == (status, "invalid_grant")


# Revocation.


def test_a_revoked_token_is_good_no_more_and_revoking_an_unknown_one_is_no_error(visitor: Visitor) -> None:
    token = visitor.tokens()["refresh_token"]
    for name in (token, token, "unknown"):
        answer = visitor.revoke(name)
        assert (answer.status_code, answer.text) == (200, "")
    assert refusal(visitor.refresh(token)) == "invalid_grant"


def test_revoking_a_rotated_token_ends_the_one_that_came_for_it(visitor: Visitor) -> None:
    first = visitor.tokens()
    second = good(visitor.refresh(first["refresh_token"]))
    assert visitor.revoke(first["refresh_token"]).status_code == 200
    assert refusal(visitor.refresh(second["refresh_token"])) == "invalid_grant"


# What other providers answer.


@pytest.mark.parametrize("lifetime", [60, 0, -1, 1e300, ENORMOUS, "3600", "never", [], True])
def test_any_expiry_can_be_told_and_the_tokens_are_good_all_the_same(
    subject: Subject, visitor: Visitor, lifetime: object
) -> None:
    first = visitor.tokens()
    subject.switch(expires_in=lifetime)
    second = good(visitor.refresh(first["refresh_token"]))
    assert second["expires_in"] == lifetime
    assert type(second["expires_in"]) is type(lifetime)
    assert good(visitor.refresh(second["refresh_token"]))["expires_in"] == lifetime


@pytest.mark.parametrize(
    ("html_errors", "accept", "is_html"),
    [
        (True, HTML_FIRST, True),
        (True, "application/json;q=0.5, text/html", True),
        (True, "text/*, application/json;q=0.9", True),
        (True, JSON_FIRST, False),
        (True, "text/html;q=0.5, application/json", False),
        (True, "application/json", False),
        (True, "", False),
        (True, "*/*", False),
        (False, HTML_FIRST, False),
    ],
)
def test_errors_are_pages_only_where_that_is_switched_on_and_the_client_would_rather_read_one(
    subject: Subject, visitor: Visitor, html_errors: bool, accept: str, is_html: bool
) -> None:
    subject.switch(html_errors=html_errors, invalid_grant_status=400)
    answer = visitor.refresh("unknown", accept)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/html" if is_html else "application/json")
    if is_html:
        with pytest.raises(ValueError, match="Expecting"):
            json.loads(answer.text)
    else:
        assert refusal(answer) == "invalid_grant"


def test_a_good_answer_is_json_whatever_the_client_would_rather_read(subject: Subject, visitor: Visitor) -> None:
    subject.switch(html_errors=True)
    assert good(visitor.refresh(visitor.tokens()["refresh_token"], HTML_FIRST))["access_token"]


# Answers that do not arrive as they were meant.


def test_a_front_end_that_fails_before_the_work_leaves_the_token_good(subject: Subject, visitor: Visitor) -> None:
    token = visitor.tokens()["refresh_token"]
    subject.break_once("bad_gateway")
    answer = visitor.refresh(token)
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (502, "text/html")
    assert good(visitor.refresh(token))


def test_a_lost_answer_is_no_answer_and_the_token_is_rotated(subject: Subject, visitor: Visitor) -> None:
    token = visitor.tokens()["refresh_token"]
    subject.break_once("lost")
    with pytest.raises(NetworkError) as caught:
        visitor.refresh(token)
    assert caught.value.sent
    assert refusal(visitor.refresh(token)) == "invalid_grant"


@pytest.mark.parametrize("kind", ["lost_bad_gateway", "empty", "cut"])
def test_an_answer_that_cannot_be_read_comes_after_the_work(subject: Subject, visitor: Visitor, kind: str) -> None:
    token = visitor.tokens()["refresh_token"]
    subject.break_once(kind)
    answer = visitor.refresh(token)
    assert answer.status_code == (502 if kind == "lost_bad_gateway" else 200)
    assert answer.complete is (kind != "cut")
    assert bool(answer.text) is (kind != "empty")
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(answer.text)
    assert refusal(visitor.refresh(token)) == "invalid_grant"


def test_an_answer_without_an_access_token_brings_a_refresh_token_that_is_good(
    subject: Subject, visitor: Visitor
) -> None:
    first = visitor.tokens()
    subject.break_once("no_access_token")
    second = good(visitor.refresh(first["refresh_token"]))
    assert "access_token" not in second
    assert second["refresh_token"] != first["refresh_token"]
    assert good(visitor.refresh(second["refresh_token"]))["access_token"]
