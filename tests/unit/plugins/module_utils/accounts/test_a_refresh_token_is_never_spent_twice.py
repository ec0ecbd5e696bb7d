# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may have become of a refresh token that was sent: only a definite answer lets it be sent again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import Record
from identity_fake import (
    EMAIL,
    PASSWORD,
    PASSWORD_FIELD,
    Reply,
    World,
    document,
    example_provider,
    form,
    jwt,
    no_connection,
    page,
)

Answer: TypeAlias = "Reply | Callable[[dict[str, str]], Reply]"

HTML = {"Content-Type": "text/html"}


def _lost(_fields: dict[str, str]) -> Reply:
    raise NetworkError("login.example.test did not answer in time.", sent=True)


def _killed(_fields: dict[str, str]) -> Reply:
    raise KeyboardInterrupt


UNCLEAR: dict[str, Answer] = {
    "lost": _lost,
    "502 of a front end": Reply(502, HTML, "<h1>Bad Gateway</h1>"),
    "503 of a front end": Reply(503, {**HTML, "Retry-After": "20"}, "<h1>busy</h1>"),
    "504 of a front end": Reply(504, HTML, ""),
    "429 of a front end": Reply(429, HTML, "<h1>slow down</h1>"),
    "403 of a front end": Reply(403, HTML, "<h1>no bots</h1>"),
    "JSON of a front end": document({"error": "Service Unavailable"}, 429),
    "server error of the provider": document({"error": "server_error"}, 500),
    "400 that cannot be read": Reply(400, HTML, "<h1>invalid_grant</h1>"),
    "garbage": Reply(200, {}, "\x00\x01garbage"),
    "empty": Reply(200, {}, ""),
    "empty object": document({}),
    "a list": document([]),
    "cut before any token": Reply(200, {}, '{"access_tok', complete=False),
    "cut in the refresh token": Reply(
        200, {}, '{"token_type": "Bearer", "refresh_token": "planted-ref', complete=False
    ),
    "redirect": Reply(302, {"Location": "https://login.example.test/elsewhere"}),
}
DEFINITE: dict[str, Answer] = {
    "never left": no_connection,
    "invalid_client": document({"error": "invalid_client"}, 401),
    "too many requests": document({"error": "too_many_requests"}, 429),
}


def _spent_then(world: World, answer: Answer) -> Callable[[dict[str, str]], Reply]:
    """Let the provider do its work, and something else answer."""

    def reply(fields: dict[str, str]) -> Reply:
        if fields["grant_type"] != "refresh_token":
            return world.provider.handle("POST", "/oauth/token", fields)
        world.provider.handle("POST", "/oauth/token", fields)
        return answer if isinstance(answer, Reply) else answer(fields)

    return reply


def _answer_refreshes(world: World, answer: Answer) -> None:
    def reply(fields: dict[str, str]) -> Reply:
        if fields["grant_type"] != "refresh_token":
            return world.provider.handle("POST", "/oauth/token", fields)
        return answer if isinstance(answer, Reply) else answer(fields)

    world.provider.answers["POST /oauth/token"] = reply


def _sent(world: World) -> list[str]:
    """Return the refresh tokens that went out, in order."""
    return [fields["refresh_token"] for _method, _path, fields in world.provider.requests if "refresh_token" in fields]


def _settle(world: World, steps: int = 6) -> None:
    """Renew whenever it is due, with a provider that is well again."""
    world.provider.answers.clear()
    for _ignored in range(steps):
        world.past_point()
        world.renew()


@pytest.mark.parametrize("answer", UNCLEAR.values(), ids=UNCLEAR)
def test_a_token_whose_answer_did_not_come_is_replaced_by_a_login_and_never_sent_again(
    world: World, answer: Answer
) -> None:
    world.renew()
    world.past_point()
    world.provider.answers["POST /oauth/token"] = _spent_then(world, answer)
    first = world.renew()
    assert first.usable
    _settle(world)
    assert world.provider.tokens.reuses == 0
    assert len(_sent(world)) == len(set(_sent(world)))
    assert world.provider.logins == 2
    assert world.renew().state == "valid"


@pytest.mark.parametrize("answer", UNCLEAR.values(), ids=UNCLEAR)
@pytest.mark.parametrize("later", DEFINITE.values(), ids=DEFINITE)
def test_a_later_attempt_never_closes_an_earlier_one(world: World, answer: Answer, later: Answer) -> None:
    world.provider.live.add("planted-first")
    world.give(refresh_token="planted-first")
    _answer_refreshes(world, answer)
    world.renew()
    _answer_refreshes(world, later)
    world.past_point()
    world.renew()
    record = world.store.load("alice")
    assert record is not None
    assert record.grant is not None
    assert record.grant.fate == "maybe_spent"
    world.give(email=EMAIL, password=PASSWORD)
    sent = len(_sent(world))
    world.provider.answers.clear()
    world.past_point()
    assert world.renew().action == "login"
    assert len(_sent(world)) == sent


@pytest.mark.parametrize("later", DEFINITE.values(), ids=DEFINITE)
def test_what_a_crash_left_open_stays_open(world: World, later: Answer) -> None:
    world.renew()
    world.past_point()
    world.provider.answers["POST /oauth/token"] = _spent_then(world, _killed)
    with pytest.raises(KeyboardInterrupt):
        world.renew()
    world.restart()
    _answer_refreshes(world, later)
    world.provider.answers["GET /authorize"] = no_connection
    world.renew()
    _settle(world)
    assert world.provider.tokens.reuses == 0
    assert world.provider.logins == 2


@pytest.mark.parametrize("answer", DEFINITE.values(), ids=DEFINITE)
def test_a_definite_refusal_keeps_the_token_and_costs_no_login(world: World, answer: Answer) -> None:
    world.renew()
    world.past_point()
    world.provider.answers["POST /oauth/token"] = answer
    assert world.renew().state == "waiting"
    _settle(world)
    assert (world.provider.logins, world.provider.tokens.reuses) == (1, 0)
    assert world.provider.refreshes >= 1


def _without(answer: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != name}


def _with_raw(answer: dict[str, Any], member: str) -> Reply:
    """Add what no encoder would write."""
    return Reply(200, {}, f"{json.dumps(answer)[:-1]}, {member}}}")


DELIVERED: dict[str, Callable[[dict[str, Any]], Reply]] = {
    "expires_in of nothing": lambda answer: document({**answer, "expires_in": 0}),
    "expires_in of the past": lambda answer: document({**answer, "expires_in": -5}),
    "expires_in of 400 digits": lambda answer: _with_raw(_without(answer, "expires_in"), f'"expires_in": 1{"0" * 400}'),
    "expires_in that is no number": lambda answer: document({**answer, "expires_in": "soon"}),
    "no access token": lambda answer: document(_without(answer, "access_token")),
    "an access token with a line break": lambda answer: document({**answer, "access_token": "a\nb"}),
    "an access token that is a number": lambda answer: document({**answer, "access_token": 5}),
    "a JWT of a fast clock": lambda answer: document({**_without(answer, "expires_in"), "access_token": jwt(1e9)}),
    "a JWT in milliseconds": lambda answer: document({**_without(answer, "expires_in"), "access_token": jwt(1.8e12)}),
    "cut at the end": lambda answer: Reply(200, {}, json.dumps(answer)[:-1], complete=False),
    "nested beyond all measure": lambda answer: _with_raw(answer, f'"more": {"[" * 10_000}{"]" * 10_000}'),
    "not a number": lambda answer: _with_raw(answer, '"more": NaN'),
    "half a character": lambda answer: _with_raw(answer, '"more": "\\ud800"'),
}


@pytest.mark.parametrize("spoil", DELIVERED.values(), ids=DELIVERED)
def test_a_refresh_token_that_was_delivered_is_kept_whatever_stands_beside_it(
    world: World, spoil: Callable[[dict[str, Any]], Reply]
) -> None:
    world.renew()
    world.past_point()

    def spoilt(fields: dict[str, str]) -> Reply:
        return spoil(json.loads(world.provider.handle("POST", "/oauth/token", fields).text))

    world.provider.answers["POST /oauth/token"] = spoilt
    outcome = world.renew()
    assert outcome.action == "refresh"
    record = world.store.load("alice")
    assert record is not None
    assert record.grant is not None
    assert (record.grant.token in world.provider.live, record.grant.fate) == (True, "unsent")
    _settle(world)
    assert (world.provider.logins, world.provider.tokens.reuses) == (1, 0)
    assert world.renew().state == "valid"


def test_the_tokens_of_a_login_are_kept_whatever_stands_beside_them(world: World) -> None:
    def spoilt(fields: dict[str, str]) -> Reply:
        answer = json.loads(world.provider.handle("POST", "/oauth/token", fields).text)
        return document({**answer, "expires_in": 0})

    world.provider.answers["POST /oauth/token"] = spoilt
    assert not world.renew().usable
    world.provider.answers.clear()
    world.past_point()
    assert world.renew().action == "refresh"
    assert world.provider.passwords_seen == [PASSWORD]


def test_an_access_token_that_came_alone_out_of_a_cut_answer_serves(world: World) -> None:
    world.renew()
    world.past_point()
    cut = Reply(200, {}, '{"access_token": "planted-new", "expires_in": 900, "refresh_to', complete=False)
    world.provider.answers["POST /oauth/token"] = _spent_then(world, cut)
    outcome = world.renew()
    assert (outcome.usable, outcome.expires_at) == (True, world.clock.now + 900)
    record = world.store.load("alice")
    assert record is not None
    assert record.access_token == "planted-new"
    _settle(world)
    assert (world.provider.logins, world.provider.tokens.reuses) == (2, 0)


def test_a_token_that_was_delivered_is_stored_while_another_holds_the_nodes_lock(world: World) -> None:
    world.renew()
    world.past_point()
    held = []

    def hold(fields: dict[str, str]) -> Reply:
        lock = world.store._folder.lock(".node.lock", 1)
        lock.__enter__()
        held.append(lock)
        return world.provider.handle("POST", "/oauth/token", fields)

    world.provider.answers["POST /oauth/token"] = hold
    outcome = world.renew()
    held[0].__exit__(None, None, None)
    assert (outcome.action, outcome.state, outcome.usable) == ("refresh", "valid", True)
    assert "could not learn" in outcome.warnings[0]
    _settle(world)
    assert world.provider.logins == 1


# Where no login is possible.


def _give_refresh_token(world: World) -> None:
    world.provider.live.add("planted-first")
    world.give(refresh_token="planted-first")
    assert world.renew().usable


def test_without_a_login_the_token_goes_out_once_more_when_the_access_token_has_ended(world: World) -> None:
    _give_refresh_token(world)
    world.past_point()
    _answer_refreshes(world, _lost)
    outcome = world.renew()
    assert (outcome.state, outcome.usable) == ("waiting", True)
    assert outcome.next_renewal == outcome.expires_at
    sent = len(_sent(world))
    for _ignored in range(10):
        world.clock.now += 3600
        assert world.renew().usable
    assert len(_sent(world)) == sent
    world.provider.answers.clear()
    world.past_point()
    assert world.renew().usable


def test_a_token_that_was_spent_then_needs_the_operator(world: World) -> None:
    _give_refresh_token(world)
    world.past_point()
    world.provider.answers["POST /oauth/token"] = _spent_then(world, _lost)
    world.renew()
    world.provider.answers.clear()
    world.past_point()
    outcome = world.renew()
    assert (outcome.state, outcome.error_class, outcome.usable) == ("needs_operator", "token_rejected", False)
    assert outcome.next_renewal is None
    sent = len(_sent(world))
    world.clock.now += 10 * 86_400
    assert world.renew().action == "none"
    assert len(_sent(world)) == sent


def test_a_rejected_access_token_has_ended_too(world: World) -> None:
    _give_refresh_token(world)
    world.past_point()
    _answer_refreshes(world, _lost)
    world.renew()
    world.provider.answers.clear()
    world.past_point()
    assert world.renew(reason="rejected").usable


def test_a_login_that_asks_for_a_person_leaves_the_last_resort(world: World) -> None:
    world.renew()
    world.past_point()
    _answer_refreshes(world, _lost)
    world.provider.answers["GET /u/login/password"] = page(form(PASSWORD_FIELD, '<div class="h-captcha"></div>'))
    outcome = world.renew()
    assert (outcome.state, outcome.usable) == ("needs_operator", True)
    assert outcome.next_renewal == outcome.expires_at
    world.clock.now += 3600
    assert world.renew().action == "none"
    # The token was not spent: when nothing can be lost any more, it brings the account back.
    del world.provider.answers["POST /oauth/token"]
    world.past_point()
    assert (world.renew().action, world.renew().state) == ("refresh", "valid")
    assert world.provider.logins == 1


def test_a_last_resort_that_fails_asks_no_password_again(world: World) -> None:
    world.renew()
    world.past_point()
    _answer_refreshes(world, _lost)
    world.provider.answers["GET /u/login/password"] = page(form(PASSWORD_FIELD, '<div class="h-captcha"></div>'))
    world.renew()
    for _ignored in range(5):
        world.past_point()
        outcome = world.renew()
        assert (outcome.state, outcome.error_class) == ("needs_operator", "captcha_required")
    begun = [path for _method, path, _fields in world.provider.requests if path == "/authorize"]
    assert len(begun) == 2


# The leeway, foreign writers, unreadable answers.


def test_the_leeway_is_measured_by_no_clock_that_can_be_set(world: World) -> None:
    world.renewer.provider = example_provider(rotation_leeway=20)
    world.renew()
    world.past_point()
    world.provider.answers["POST /oauth/token"] = _spent_then(world, _killed)
    with pytest.raises(KeyboardInterrupt):
        world.renew()
    world.provider.answers.clear()
    world.restart()
    # Hours later, and the clock shows the same minute again.
    assert world.renew().action == "login"
    assert world.provider.tokens.reuses == 0


def test_within_the_leeway_a_lost_answer_is_asked_for_once_and_no_more(world: World) -> None:
    world.renewer.provider = example_provider(rotation_leeway=20)
    world.renew()
    world.past_point()
    _answer_refreshes(world, _lost)
    assert world.renew().action == "login"
    assert len(_sent(world)) == 2


def test_a_foreign_writer_does_not_keep_a_renewal_busy_for_ever(world: World) -> None:
    _give_refresh_token(world)
    world.past_point()
    numbers = iter(range(1000))

    def change(_fields: dict[str, str]) -> Reply:
        record = world.store.load("alice")
        assert record is not None
        world.store.save(replace(record, refresh_token=f"planted-foreign-{next(numbers)}", refresh_sent_at=None))
        return document({"error": "invalid_grant"}, 400)

    world.provider.answers["POST /oauth/token"] = change
    outcome = world.renew()
    assert (outcome.state, outcome.error_class) == ("waiting", "provider_error")
    assert next(numbers) < 5


def test_a_foreign_token_is_taken_when_ours_is_refused(world: World) -> None:
    _give_refresh_token(world)
    world.past_point()
    world.provider.live.add("planted-foreign")

    def change(fields: dict[str, str]) -> Reply:
        record = world.store.load("alice")
        assert record is not None
        if fields["refresh_token"] == "planted-foreign":
            return world.provider.handle("POST", "/oauth/token", fields)
        world.store.save(replace(record, refresh_token="planted-foreign", refresh_sent_at=None))
        return document({"error": "invalid_grant"}, 400)

    world.provider.answers["POST /oauth/token"] = change
    assert world.renew().usable


@pytest.mark.parametrize("cure", ["time", "password", "lift", "settings"])
def test_an_answer_that_cannot_be_read_leads_to_a_login(world: World, cure: str) -> None:
    world.renew()
    world.provider.live.clear()
    unreadable = Reply(400, HTML, "<h1>invalid_grant</h1>")
    _answer_refreshes(world, unreadable)
    world.past_point()
    assert world.renew().state == "waiting"
    sent = len(_sent(world))
    if cure == "time":
        world.past_point()
        outcome = world.renew()
    elif cure == "password":
        world.give(email=EMAIL, password=PASSWORD, totp_secret="JBSWY3DPEHPK3PXP")
        outcome = world.renew()
    elif cure == "lift":
        outcome = world.renew(lift=True)
    else:
        world.renewer.provider = example_provider(prompt="login consent")
        outcome = world.renew()
    assert (outcome.action, outcome.state) == ("login", "valid")
    assert len(_sent(world)) == sent


@pytest.mark.parametrize("kind", ["refresh", "login"])
def test_every_token_request_asks_for_json_first(world: World, kind: str) -> None:
    world.renew()
    if kind == "refresh":
        world.past_point()
        world.renew()
    accepted = [accept for path, accept in world.provider.accepted if path == "/oauth/token"]
    assert all(accept.startswith("application/json") for accept in accepted)
    assert any(accept.startswith("text/html") for path, accept in world.provider.accepted if path == "/authorize")


def test_a_record_never_shows_a_token(world: World) -> None:
    world.renew()
    record = world.store.load("alice")
    assert isinstance(record, Record)
    assert "planted" not in repr(record)
    assert "planted" not in repr(record.grant)
