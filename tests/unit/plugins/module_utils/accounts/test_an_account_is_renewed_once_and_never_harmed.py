# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a renewal does over time: refresh before login, budgets, quarantine, lost answers, 401s, clock jumps."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials, token_fingerprint
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import ConfigurationError, NetworkError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import State
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.renewer import Renewer
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.runtime import Runtime
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.serving import may_run
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


def _lost(_fields: dict[str, str]) -> Reply:
    raise NetworkError("login.example.test did not answer in time.", sent=True)


def test_a_fresh_token_is_left_alone(world: World) -> None:
    world.renew()
    before = (world.folder / "alice.json").read_bytes()
    outcome = world.renew()
    assert (outcome.action, outcome.changed, outcome.usable) == ("none", False, True)
    assert world.provider.sessions == 1
    assert (world.folder / "alice.json").read_bytes() == before


def test_a_refresh_comes_before_a_login(world: World) -> None:
    world.renew()
    for _ignored in range(20):
        world.past_point()
        assert world.renew().action == "refresh"
    assert (world.provider.logins, world.provider.refreshes) == (1, 20)


def test_a_refresh_token_that_is_not_rotated_is_kept(world: World) -> None:
    world.renew()
    world.provider.rotate = False
    for _ignored in range(3):
        world.past_point()
        assert world.renew().action == "refresh"


def test_the_rotated_refresh_token_is_on_disk_before_the_caller_knows(world: World) -> None:
    world.renew()
    world.past_point()
    outcome = world.renew()
    stored = json.loads((world.folder / "alice.json").read_text())
    assert stored["refresh_token"] in world.provider.live
    assert token_fingerprint(stored["access_token"]) == outcome.token_fingerprint


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refused_refresh_token_leads_to_one_login(world: World, status: int) -> None:
    world.renew()
    world.provider.live.clear()
    world.provider.invalid_grant_status = status
    world.past_point()
    outcome = world.renew()
    assert (outcome.action, outcome.state) == ("login", "valid")
    assert world.provider.logins == 2


@pytest.mark.parametrize(
    "reply",
    [
        document({"error": "invalid_client"}, 401),
        document({"error": "too_many_requests"}, 429),
        document({"error": "slow_down"}, 403),
    ],
)
def test_a_refresh_that_the_provider_itself_refuses_otherwise_burns_no_login(world: World, reply: Reply) -> None:
    world.renew()
    world.past_point()
    world.provider.answers["POST /oauth/token"] = reply
    outcome = world.renew()
    assert (outcome.action, outcome.state, outcome.usable) == ("refresh", "waiting", True)
    world.provider.answers.clear()
    world.past_point()
    assert world.renew().state == "valid"
    assert world.provider.logins == 1


def test_a_failure_with_much_time_left_waits_a_minute_and_without_a_token_ten_seconds(world: World) -> None:
    world.provider.answers["GET /authorize"] = no_connection
    outcome = world.renew()
    assert 7.5 <= (outcome.next_renewal or 0) - world.clock.now <= 12.5
    world.provider.answers.clear()
    world.past_point()
    world.renew()
    world.past_point()
    world.provider.answers["POST /oauth/token"] = no_connection
    outcome = world.renew()
    assert 45 <= (outcome.next_renewal or 0) - world.clock.now <= 75


def test_before_the_next_attempt_is_due_nothing_is_sent(world: World) -> None:
    world.provider.answers["GET /authorize"] = no_connection
    world.renew()
    requests = len(world.provider.requests)
    for _ignored in range(5):
        assert not world.renew().changed
    assert len(world.provider.requests) == requests


def test_a_lost_answer_after_rotation_leads_to_a_login(world: World) -> None:
    world.renew()
    world.past_point()

    def rotated_and_lost(fields: dict[str, str]) -> Reply:
        if fields["grant_type"] == "refresh_token":
            world.provider.handle("POST", "/oauth/token", fields)
            return _lost(fields)
        return world.provider.handle("POST", "/oauth/token", fields)

    world.provider.answers["POST /oauth/token"] = rotated_and_lost
    outcome = world.renew()
    assert (outcome.action, outcome.state) == ("login", "valid")
    sent = [fields for _method, path, fields in world.provider.requests if path == "/oauth/token"]
    assert [fields["grant_type"] for fields in sent] == ["authorization_code", "refresh_token", "authorization_code"]


def test_within_the_providers_leeway_a_lost_answer_is_asked_for_once_more(world: World) -> None:
    world.renewer.provider = example_provider(rotation_leeway=20)
    world.renew()
    world.past_point()
    lost: list[str] = []

    def first_lost(fields: dict[str, str]) -> Reply:
        if not lost:
            lost.append(fields["refresh_token"])
            return _lost(fields)
        return world.provider.handle("POST", "/oauth/token", fields)

    world.provider.answers["POST /oauth/token"] = first_lost
    assert world.renew().action == "refresh"
    assert world.provider.logins == 1


def test_a_crash_while_the_refresh_is_under_way_counts_as_a_lost_answer(world: World) -> None:
    world.renew()
    world.past_point()

    def crash(_fields: dict[str, str]) -> Reply:
        raise KeyboardInterrupt

    world.provider.answers["POST /oauth/token"] = crash
    with pytest.raises(KeyboardInterrupt):
        world.renew()
    world.provider.answers.clear()
    world.restart()
    assert world.renew().action == "login"
    assert world.provider.refreshes == 0


def test_without_a_password_even_a_lost_refresh_token_is_tried_again(world: World) -> None:
    world.provider.live.add("planted-first")
    world.give(refresh_token="planted-first")
    world.provider.answers["POST /oauth/token"] = _lost
    assert world.renew().state == "waiting"
    world.provider.answers.clear()
    world.past_point()
    outcome = world.renew()
    assert (outcome.kind, outcome.action, outcome.state) == ("refresh_token", "refresh", "valid")


def test_a_request_that_never_left_keeps_the_refresh_token(world: World) -> None:
    world.renew()
    world.past_point()
    world.provider.answers["POST /oauth/token"] = no_connection
    world.renew()
    world.provider.answers.clear()
    world.past_point()
    assert world.renew().action == "refresh"


def test_ten_days_with_a_wrong_password_cost_one_submission(world: World) -> None:
    world.give(email=EMAIL, password="wrong")
    end = world.clock.now + 10 * 86_400
    while world.clock.now < end:
        world.renew()
        world.renew(reason="rejected")
        world.restart()
        world.clock.now += 600
    assert world.provider.passwords_seen == ["wrong"]


@pytest.mark.slow
def test_ten_days_of_a_failing_provider_stay_inside_the_budget(world: World) -> None:
    world.provider.answers["POST /oauth/token"] = Reply(500)
    times: list[float] = []
    end = world.clock.now + 10 * 86_400
    while world.clock.now < end:
        before = len(world.provider.passwords_seen)
        world.renew()
        if len(world.provider.passwords_seen) > before:
            times.append(world.clock.now)
        world.clock.now += 60
    assert all(later - earlier >= 899 for earlier, later in pairwise(times))
    assert all(later - earlier >= 86_399 for earlier, later in zip(times, times[3:], strict=False))
    assert 28 <= len(times) <= 31


def test_a_crash_after_the_password_was_sent_counts_as_a_submission(world: World) -> None:
    def crash(_fields: dict[str, str]) -> Reply:
        raise KeyboardInterrupt

    world.provider.answers["POST /u/login/password"] = crash
    for _ignored in range(50):
        with pytest.raises(KeyboardInterrupt):
            world.renew()
        world.restart()
        assert world.renew().state == "waiting"
        world.clock.now += 86_400
    assert len([path for _method, path, _fields in world.provider.requests if path == "/u/login/password"]) == 100


@pytest.mark.parametrize("change", ["password", "totp_secret"])
def test_changed_credentials_lift_the_quarantine(world: World, change: str) -> None:
    world.give(email=EMAIL, password="wrong")
    world.renew()
    world.clock.now += 1000
    world.give(email=EMAIL, password="wrong", proxy="http://proxy.example.test:3128")
    assert world.renew().state == "quarantined"
    world.give(
        **{"email": EMAIL, "password": "wrong", change: PASSWORD if change == "password" else "JBSWY3DPEHPK3PXP"}
    )
    outcome = world.renew()
    assert outcome.action == "login"
    assert outcome.usable is (change == "password")


def test_a_token_by_hand_lifts_a_need_of_the_operator_but_not_a_wrong_password(world: World) -> None:
    world.give(email=EMAIL, password="wrong")
    world.renew()
    world.give(email=EMAIL, password="wrong", access_token=jwt(world.clock.now + 7200))
    outcome = world.renew()
    assert (outcome.action, outcome.state, outcome.usable) == ("adopt", "valid", True)
    world.clock.now += 7200
    outcome = world.renew()
    assert (outcome.state, outcome.error_class) == ("quarantined", "bad_credentials")
    assert world.provider.passwords_seen == ["wrong"]


def test_a_captcha_is_lifted_by_a_token_by_hand(world: World) -> None:
    world.provider.answers["GET /u/login/password"] = page(form(PASSWORD_FIELD, '<div class="h-captcha"></div>'))
    assert world.renew().state == "needs_operator"
    assert world.renew().action == "none"
    world.give(email=EMAIL, password=PASSWORD, access_token="planted-opaque")
    outcome = world.renew()
    assert (outcome.action, outcome.state, outcome.usable, outcome.expires_at) == ("adopt", "valid", True, None)
    assert world.provider.passwords_seen == []


def test_the_operator_can_lift_by_command_without_freeing_the_budget(world: World) -> None:
    world.give(email=EMAIL, password="wrong")
    world.renew()
    assert world.renewer.forecast("alice", lift=True).state == "waiting"
    outcome = world.renew(lift=True)
    assert (outcome.state, outcome.changed) == ("waiting", True)
    assert "budget" in outcome.message
    world.past_point()
    assert world.renew().state == "quarantined"
    assert len(world.provider.passwords_seen) == 2


def test_a_good_token_serves_on_while_its_renewal_needs_the_operator(world: World) -> None:
    world.renew()
    world.provider.live.clear()
    world.provider.answers["GET /u/login/password"] = page(form(PASSWORD_FIELD, '<div class="h-captcha"></div>'))
    world.past_point()
    outcome = world.renew()
    assert (outcome.state, outcome.error_class, outcome.usable) == ("needs_operator", "captcha_required", True)
    world.clock.now = outcome.expires_at or 0
    assert not world.renew().usable


def test_another_e_mail_under_the_same_name_gets_none_of_the_old_tokens(world: World) -> None:
    world.renew()
    world.give(email="other@example.test", password=PASSWORD)
    # The budget is the one of before, or a change and its way back would open it.
    assert world.renew().state == "waiting"
    world.past_point()
    outcome = world.renew()
    assert (outcome.action, outcome.usable) == ("login", False)
    record = world.store.load("alice")
    assert record is not None
    assert (record.access_token, record.refresh_token) == (None, None)


def test_the_lane_of_another_e_mail_under_the_same_name_stops_before_the_login(world: World) -> None:
    world.renew()
    world.clock.now += 1000
    world.give(email="other@example.test", password=PASSWORD)
    assert world.renew(log_in=False).login_due
    assert not may_run(world.store.load("alice"), world.clock(), running=True)


def test_a_new_password_alone_leaves_a_good_token_in_place(world: World) -> None:
    world.renew()
    world.give(email=EMAIL, password="new")
    outcome = world.renew()
    assert (outcome.action, outcome.changed) == ("none", False)


def test_a_changed_token_by_hand_replaces_the_old_one(world: World) -> None:
    world.give(access_token=jwt(world.clock.now + 1000))
    first = world.renew()
    assert (first.kind, first.action, first.next_renewal) == ("access_token", "adopt", world.clock.now + 1000)
    assert world.renew().action == "none"
    world.give(access_token=jwt(world.clock.now + 9000))
    second = world.renew()
    assert (second.action, second.changed, second.expires_at) == ("adopt", True, world.clock.now + 9000)
    assert world.provider.requests == []


def test_a_token_by_hand_is_reported_three_days_before_it_expires(world: World) -> None:
    world.give(access_token=jwt(world.clock.now + 5 * 86_400))
    assert world.renew().warnings == ()
    world.clock.now += 2.5 * 86_400
    assert "2 d" in world.renew().warnings[0]
    world.clock.now += 2.5 * 86_400
    assert world.renew().error_class == "token_expired"


def test_a_rejected_token_by_hand_needs_the_operator(world: World) -> None:
    world.give(access_token="planted-opaque")
    world.renew()
    outcome = world.renew(reason="rejected")
    assert (outcome.state, outcome.error_class, outcome.usable) == ("needs_operator", "token_rejected", False)
    world.give(access_token="planted-other")
    assert world.renew().usable


def test_a_supplied_refresh_token_is_used_at_once(world: World) -> None:
    world.provider.live.add("planted-first")
    world.give(refresh_token="planted-first")
    outcome = world.renew()
    assert (outcome.kind, outcome.action, outcome.usable) == ("refresh_token", "refresh", True)
    assert world.provider.passwords_seen == []


def test_a_report_on_another_token_or_an_older_use_is_ignored(world: World) -> None:
    outcome = world.renew()
    assert world.renew(reason="rejected", token_fingerprint="0" * 16).action == "none"
    assert world.renew(reason="rejected", tried_at=world.clock.now - 100).action == "none"
    later = world.renew(reason="rejected", token_fingerprint=outcome.token_fingerprint, tried_at=world.clock.now + 1)
    assert later.action == "refresh"


def test_many_reports_on_one_token_lead_to_one_renewal(world: World) -> None:
    rejected = world.renew().token_fingerprint
    for _ignored in range(200):
        assert world.renew(reason="rejected", token_fingerprint=rejected).usable
    assert world.provider.refreshes == 1


def test_one_refresh_then_one_login_then_quarantine(world: World) -> None:
    world.limit(login_interval=0, login_gap=0, login_gap_random=0)
    world.renew()
    actions = []
    for _ignored in range(3):
        world.clock.now += 40
        outcome = world.renew(reason="rejected")
        actions.append((outcome.action, outcome.state))
    assert actions == [("refresh", "valid"), ("login", "valid"), ("none", "quarantined")]
    assert (outcome.error_class, outcome.usable) == ("token_rejected", False)
    world.clock.now += 86_400
    assert world.renew().action == "none"


@pytest.mark.parametrize("state", ["quarantined", "needs_operator"])
def test_a_halted_account_whose_token_is_rejected_serves_no_more_and_is_not_tried(world: World, state: State) -> None:
    world.renew()
    record = world.store.load("alice")
    assert record is not None
    world.store.save(replace(record, state=state))
    refreshes = world.provider.refreshes
    world.clock.now += 40
    outcome = world.renew(reason="rejected")
    assert (outcome.action, outcome.state, outcome.usable, outcome.next_renewal) == ("none", state, False, None)
    assert world.provider.refreshes == refreshes


def test_rejections_within_the_debounce_time_count_once(world: World) -> None:
    world.limit(login_interval=0, login_gap=0, login_gap_random=0)
    world.renew()
    assert world.renew(reason="rejected").action == "refresh"
    world.clock.now += 29
    assert world.renew(reason="rejected").action == "none"
    world.clock.now += 2
    assert world.renew(reason="rejected").action == "login"


def test_no_more_than_two_renewals_in_15_minutes_come_from_rejections(world: World) -> None:
    world.renew()
    start = world.clock.now
    actions = []
    for _ignored in range(3):
        world.clock.now += 301
        actions.append(world.renew(reason="rejected").action)
    assert actions == ["refresh", "refresh", "none"]
    outcome = world.renew()
    assert (outcome.state, outcome.usable, outcome.next_renewal) == ("waiting", False, start + 301 + 900)
    world.past_point()
    assert world.renew().usable


def test_a_clock_that_jumps_costs_one_refresh_each_way(world: World) -> None:
    world.renew()
    world.clock.now += 400 * 86_400
    assert world.renew().action == "refresh"
    assert world.renew().action == "none"
    world.clock.now -= 400 * 86_400
    assert world.renew().action == "refresh"
    assert world.renew().action == "none"
    assert world.provider.logins == 1


def test_a_clock_from_the_future_does_not_bench_an_account(world: World) -> None:
    world.provider.answers["POST /oauth/token"] = Reply(500)
    world.clock.now += 400 * 86_400
    world.renew()
    world.clock.now -= 400 * 86_400
    world.provider.answers.clear()
    assert world.renew().state == "waiting"
    world.clock.now += 86_400
    assert world.renew().usable


def test_a_half_written_record_is_put_aside_and_replaced(world: World) -> None:
    world.renew()
    file = world.folder / "alice.json"
    file.write_text(file.read_text()[:100])
    world.clock.now += 1000
    assert world.renew().usable
    assert len((world.folder / "alice.json.damaged").read_text()) == 100


def test_a_prediction_says_what_is_done_and_touches_nothing(world: World) -> None:
    assert world.renewer.forecast("alice").action == "login"
    assert list(world.folder.iterdir()) == []
    for wait in (0.0, 10.0, 864_000.0):
        world.clock.now += wait
        before = {item.name: item.read_bytes() for item in world.folder.iterdir()}
        expected = world.renewer.forecast("alice")
        assert {item.name: item.read_bytes() for item in world.folder.iterdir()} == before
        assert (expected.action, expected.changed) == ((done := world.renew()).action, done.changed)


def test_an_account_nobody_knows_is_refused(world: World) -> None:
    with pytest.raises(ConfigurationError, match="bob"):
        world.renewer.renew("bob")


def test_forgetting_revokes_and_leaves_nothing(world: World) -> None:
    world.renew()
    assert world.renewer.forget("alice") is None
    assert world.provider.revoked == ["planted-refresh-1"]
    assert [item.name for item in world.folder.iterdir() if item.name.startswith("alice")] == []
    world.clock.now += 86_400
    world.renew()
    world.provider.answers["POST /oauth/revoke"] = Reply(503)
    failure = world.renewer.forget("alice")
    assert failure is not None
    assert failure.error_class == "provider_error"
    assert world.store.load("alice") is None


def _many(world: World, count: int) -> list[str]:
    names = [f"n{number}" for number in range(count)]
    world.renewer.credentials = {name: Credentials(name=name, email=EMAIL, password=PASSWORD) for name in names}
    return names


def test_logins_keep_their_distance(world: World) -> None:
    starts: list[float] = []

    def note(fields: dict[str, str]) -> Reply:
        starts.append(world.clock.now)
        return world.provider.handle("GET", "/authorize", fields)

    world.provider.answers["GET /authorize"] = note
    for name in _many(world, 10):
        assert world.renewer.renew(name).usable
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert all(30 <= gap <= 60 for gap in gaps)
    assert len({round(gap, 3) for gap in gaps}) > 5


def test_three_accounts_turned_away_stop_the_logins_of_the_node_but_not_its_refreshes(world: World) -> None:
    names = _many(world, 5)
    world.renewer.limits = Limits(login_gap=0, login_gap_random=0)
    assert world.renewer.renew(names[0]).usable
    world.provider.answers["GET /authorize"] = Reply(403)
    for name in names[1:4]:
        assert world.renewer.renew(name).error_class == "ip_blocked"
    requests = len(world.provider.requests)
    outcome = world.renewer.renew(names[4])
    assert (outcome.state, outcome.next_renewal) == ("waiting", world.clock.now + 3600)
    assert len(world.provider.requests) == requests
    assert world.renewer.renew(names[0], reason="rejected").action == "refresh"
    world.provider.answers.clear()
    world.clock.now += 3600
    assert all(world.renewer.renew(name).usable for name in names)


def test_one_account_in_trouble_stops_no_other(world: World) -> None:
    world.renewer.credentials = {
        "alice": Credentials(name="alice", email=EMAIL, password="wrong"),
        "dave": Credentials(name="dave", email=EMAIL, password=PASSWORD),
    }
    outcomes = [world.renewer.renew(name) for name in ("alice", "dave")]
    assert [outcome.usable for outcome in outcomes] == [False, True]


def test_a_login_without_a_refresh_token_says_what_is_missing(world: World) -> None:
    world.provider.answers["POST /oauth/token"] = document({"access_token": jwt(world.clock.now + 500)})
    outcome = world.renew()
    assert outcome.expires_at == world.clock.now + 500
    assert "offline_access" in outcome.warnings[0]


def test_a_renewer_has_working_defaults(world: World) -> None:
    renewer = Renewer(
        store=world.store,
        provider=world.renewer.provider,
        credentials=world.renewer.credentials,
        runtime=Runtime(session=world.provider.session),
    )
    assert renewer.limits == Limits()
    assert isinstance(renewer.renew("alice").expires_at, float)
    assert isinstance(renewer.runtime.rng, random.SystemRandom)
