# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers that nobody expects, clocks that jump, records that were touched: what follows is true, and passes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials, load_credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import ConfigurationError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.provider import Provider
from identity_fake import (
    APPLICATION,
    CODE,
    EMAIL,
    HOST,
    PASSWORD,
    TOTP_SECRET,
    Reply,
    World,
    document,
    form,
    no_connection,
    page,
)

DAY = 86_400.0


def _spoil(world: World, status: int = 200, **changes: Any) -> None:
    def reply(fields: dict[str, str]) -> Reply:
        if fields["grant_type"] != "refresh_token":
            return world.provider.handle("POST", "/oauth/token", fields)
        answer = json.loads(world.provider.handle("POST", "/oauth/token", fields).text)
        return document({**answer, **changes}, status)

    world.provider.answers["POST /oauth/token"] = reply


@pytest.mark.parametrize("unusable", [["x"], {"a": 1}, "x" * 40_000, True, ""])
def test_a_new_refresh_token_that_cannot_be_used_tells_that_the_old_one_is_spent(world: World, unusable: Any) -> None:
    world.renew()
    world.past_point()
    _spoil(world, refresh_token=unusable)
    assert world.renew().usable
    world.provider.answers.clear()
    for _ignored in range(3):
        world.past_point()
        world.renew()
    assert (world.provider.tokens.reuses, world.provider.logins) == (0, 2)


@pytest.mark.parametrize("status", [201, 203, 206, 299, 418, 500])
def test_tokens_are_kept_whatever_the_status_is(world: World, status: int) -> None:
    world.renew()
    world.past_point()
    _spoil(world, status)
    assert world.renew().usable
    world.provider.answers.clear()
    world.past_point()
    world.renew()
    assert (world.provider.tokens.reuses, world.provider.logins) == (0, 1)


@pytest.mark.parametrize(
    "code", ["invalid_credentials", "invalid-code", "mfa_required", "access_denied", "interaction_required"]
)
def test_what_a_refresh_is_refused_with_says_nothing_of_a_password_that_was_not_sent(world: World, code: str) -> None:
    world.renew()
    world.past_point()

    def refuse(fields: dict[str, str]) -> Reply:
        if fields["grant_type"] == "refresh_token":
            return document({"error": code}, 400)
        return world.provider.handle("POST", "/oauth/token", fields)

    world.provider.answers["POST /oauth/token"] = refuse
    outcome = world.renew()
    assert (outcome.action, outcome.state) == ("login", "valid")


@pytest.mark.parametrize("code", ["invalid_request", "unauthorized_client", "invalid_token"])
def test_refreshes_that_are_refused_until_the_token_has_ended_lead_to_a_login(world: World, code: str) -> None:
    world.renew()

    def refuse(fields: dict[str, str]) -> Reply:
        if fields["grant_type"] == "refresh_token":
            return document({"error": code}, 400)
        return world.provider.handle("POST", "/oauth/token", fields)

    world.provider.answers["POST /oauth/token"] = refuse
    for _ignored in range(300):
        world.past_point()
        if (outcome := world.renew()).action == "login":
            break
    assert (outcome.action, outcome.usable) == ("login", True)


def test_all_fields_of_a_page_get_one_code(world: World) -> None:
    world.give(email=EMAIL, password=PASSWORD, totp_secret=TOTP_SECRET)
    world.provider.mfa = True
    world.provider.answers["GET /u/mfa-otp-challenge"] = page(form(*[CODE] * 50))
    assert world.renew().usable
    assert len(world.provider.codes_seen) == 1
    assert sum(world.clock.slept) < 60


def test_a_callback_before_anything_was_given_rejects_no_password(world: World) -> None:
    def end(fields: dict[str, str]) -> Reply:
        world.provider.handle("GET", "/authorize", fields)
        return world.provider.callback(error="wrong-credentials")

    world.provider.answers["GET /authorize"] = end
    outcome = world.renew()
    assert (outcome.error_class, outcome.state) == ("unknown_page", "needs_operator")
    assert world.provider.passwords_seen == []


def test_after_a_clock_that_was_ahead_the_next_attempt_comes_when_it_is_due(world: World) -> None:
    world.clock.now += 30 * DAY
    world.renew()
    world.clock.now -= 30 * DAY
    world.provider.answers["POST /oauth/token"] = no_connection
    outcome = world.renew()
    assert outcome.next_renewal is not None
    assert outcome.next_renewal - world.clock.now < 3600


def test_a_turn_of_a_clock_that_was_ahead_is_no_wait_of_hours(world: World) -> None:
    names = [f"n{number}" for number in range(3)]
    world.renewer.credentials = {name: Credentials(name=name, email=EMAIL, password=PASSWORD) for name in names}
    world.clock.now += 20 * 3600
    world.renewer._login_wait = 0
    for name in names:
        world.renewer.renew(name)
    world.clock.now -= 20 * 3600
    outcome = world.renewer.renew(names[1])
    assert outcome.next_renewal is not None
    assert outcome.next_renewal - world.clock.now < 3600


@pytest.mark.parametrize("how", ["lift", "proxy"])
def test_the_pause_of_a_node_lets_a_trial_through_that_the_operator_wants(world: World, how: str) -> None:
    world.limit(login_gap=0, login_gap_random=0)
    others = {name: Credentials(name=name, email=EMAIL, password=PASSWORD) for name in ("a", "b", "c")}
    world.renewer.credentials = {**others, **world.renewer.credentials}
    world.provider.answers["GET /authorize"] = Reply(403)
    for name in others:
        world.renewer.renew(name)
    assert world.renew().state == "waiting"
    world.provider.answers.clear()
    if how == "proxy":
        world.give(email=EMAIL, password=PASSWORD, proxy="http://proxy.example.test:3128")
    assert world.renew(lift=how == "lift").usable


def test_a_change_of_the_e_mail_and_its_way_back_open_no_budget(world: World) -> None:
    world.give(email=EMAIL, password="wrong")
    for number in range(6):
        world.renew()
        world.give(email=EMAIL.upper() if number % 2 else EMAIL, password=f"wrong {number}")
        world.clock.now += 900
    posted = [
        path for method, path, _fields in world.provider.requests if (method, path) == ("POST", "/u/login/password")
    ]
    assert len(posted) <= 3


@pytest.mark.parametrize("salt", ["zz", "00", "", "\u00e9"])
def test_a_salt_that_is_none_costs_nothing(world: World, salt: str) -> None:
    world.renew()
    file = world.folder / "alice.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "salt": salt}))
    assert world.renewer.forecast("alice").usable
    assert (world.renew().action, world.renew().usable) == ("none", True)


def test_a_pace_that_no_clock_can_have_made_stops_nobody(world: World) -> None:
    world.renew()
    node = json.loads((world.folder / ".node.json").read_text())
    world.past_point()
    node["refreshed"] = [["x", [world.clock.now, 9e10, False, 0]]]
    (world.folder / ".node.json").write_text(json.dumps(node))
    before = world.clock.now
    assert world.renew().action == "refresh"
    assert world.clock.now - before < 10


def test_half_a_character_in_an_entry_is_refused(world: World) -> None:
    file = world.folder / "accounts.json"
    file.write_text('{"accounts": [{"name": "alice", "access_token": "a\\ud800"}]}')
    with pytest.raises(ConfigurationError, match="half a character"):
        load_credentials(str(file))


@pytest.mark.parametrize("leeway", ["inf", "nan", "-1", "1e10"])
def test_a_leeway_that_is_no_number_of_seconds_is_refused(leeway: str) -> None:
    with pytest.raises(ConfigurationError, match="rotation_leeway"):
        Provider.from_mapping({"issuer": HOST, **APPLICATION, "rotation_leeway": leeway})
