# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts behind one address: no bursts, those that a request waits for first, and nobody waits for another one."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.breaker import Breaker
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import StoreError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.node_state import NodeState
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.renewer import BUSY_SECONDS, Renewer
from identity_fake import EMAIL, PASSWORD, Reply, World, example_provider, form, page

LIMITS = Limits()
MONTH = 30 * 86_400.0


def _sent_at(world: World) -> list[float]:
    times: list[float] = []

    def note(fields: dict[str, str]) -> Reply:
        times.append(world.clock.now)
        return world.provider.handle("POST", "/oauth/token", fields)

    world.provider.answers["POST /oauth/token"] = note
    return times


def _accounts(world: World, count: int, proxy: str | None = None) -> list[str]:
    names = [f"n{number}" for number in range(count)]
    world.renewer.credentials = {
        name: Credentials(name=name, refresh_token=f"planted-{name}", proxy=proxy) for name in names
    }
    world.provider.live.update(f"planted-{name}" for name in names)
    return names


def test_after_a_long_stop_renewals_do_not_come_in_a_burst(world: World) -> None:
    times = _sent_at(world)
    for name in _accounts(world, 20):
        assert world.renewer.renew(name).usable
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(1 <= gap <= 3 for gap in gaps)
    assert len({round(gap, 2) for gap in gaps}) > 5


def test_accounts_with_ways_of_their_own_do_not_wait_for_each_other(world: World) -> None:
    times = _sent_at(world)
    names = _accounts(world, 4)
    world.renewer.credentials = {
        name: Credentials(name=name, refresh_token=f"planted-{name}", proxy=f"http://{name}.example.test:3128")
        for name in names
    }
    for name in names:
        world.renewer.renew(name)
    assert len(set(times)) == 1


def test_an_account_that_a_request_waits_for_keeps_the_least_distance_only() -> None:
    class Latest:
        def random(self) -> float:
            return 1.0

    state, at = NodeState().ask_for_refresh("x", 100.0, LIMITS, urgent=False, rng=Latest())  # type: ignore[arg-type]
    assert at == 100.0
    ordinary = state.ask_for_refresh("x", 101.0, LIMITS, urgent=False, rng=Latest())[1]  # type: ignore[arg-type]
    urgent = state.ask_for_refresh("x", 101.0, LIMITS, urgent=True, rng=Latest())[1]  # type: ignore[arg-type]
    assert (ordinary, urgent) == (103.0, 101.0)


def test_those_that_a_request_waits_for_do_not_starve_the_others() -> None:
    chance = random.Random(4)  # noqa: S311 - a test has to repeat itself
    state, waiting_since, waits, next_urgent, next_ordinary = NodeState(), 0.0, [], 0.0, 0.0
    now = 0.0
    while now < 600:
        if now >= next_urgent:
            state, next_urgent = state.ask_for_refresh("x", now, LIMITS, urgent=True, rng=chance)
            next_urgent = max(next_urgent, now + 0.01)
        if now >= next_ordinary:
            state, at = state.ask_for_refresh("x", now, LIMITS, urgent=False, rng=chance)
            if at <= now:
                waits.append(now - waiting_since)
                waiting_since = now
            next_ordinary = max(at, now + 0.01)
        now = min(next_urgent, next_ordinary)
    assert len(waits) > 50
    assert max(waits) < 60


def test_the_login_of_an_account_that_another_one_works_on_gives_its_place_back(world: World) -> None:
    old = world.renewer
    renewer = Renewer(
        store=old.store,
        provider=old.provider,
        credentials=old.credentials,
        runtime=old.runtime,
        lock_wait=BUSY_SECONDS,
    )
    with world.store.lock("alice", 1):
        outcome = renewer.renew("alice", log_in=True)
    assert (outcome.action, outcome.next_renewal) == ("none", world.clock.now + BUSY_SECONDS)
    assert sum(world.clock.slept) <= BUSY_SECONDS + 1


def test_nobody_delivers_an_account_while_it_is_forgotten(world: World) -> None:
    world.renew()
    world.limit(lock_timeout=0.1)
    with world.store.delivery("alice", 1), pytest.raises(StoreError):
        world.renewer.forget("alice")
    assert world.store.load("alice") is not None
    assert world.renewer.forget("alice") is None


@pytest.mark.parametrize("jump", [MONTH, -MONTH])
def test_a_clock_that_is_set_makes_no_renewal_wait(world: World, jump: float) -> None:
    names = _accounts(world, 2)
    world.renewer.renew(names[0])
    world.clock.now += jump
    before = world.clock.now
    assert world.renewer.renew(names[1]).usable
    assert world.clock.now - before <= LIMITS.longest_refresh_gap


def test_a_breaker_of_a_clock_that_was_set_back_pauses_once_and_not_until_that_time_comes_again(world: World) -> None:
    world.limit(login_gap=0, login_gap_random=0)
    world.renewer.credentials = {
        name: Credentials(name=name, email=EMAIL, password=PASSWORD) for name in ("a", "b", "c", "d")
    }
    world.provider.answers["GET /authorize"] = Reply(403)
    for name in ("a", "b", "c"):
        world.renewer.renew(name)
    world.provider.answers.clear()
    world.clock.now -= MONTH
    assert world.renewer.renew("d").state == "waiting"
    world.clock.now += LIMITS.breaker_pause + 1
    assert world.renewer.renew("d").usable


def test_a_breaker_keeps_what_it_learned_when_the_clock_is_set_back() -> None:
    breaker = Breaker(turned_away=(("a", 5000.0),), open_until=9000.0, pause=3600.0)
    settled = breaker.settled(1000.0, LIMITS)
    assert settled == Breaker(turned_away=(("a", 1000.0),), open_until=4600.0, pause=3600.0)
    assert settled.settled(1000.0, LIMITS) == settled


def test_a_login_is_left_to_those_who_may_take_their_time(world: World) -> None:
    world.renew()
    world.provider.live.clear()
    world.past_point()
    outcome = world.renew(log_in=False)
    assert (outcome.action, outcome.login_due, outcome.usable) == ("refresh", True, True)
    assert len(world.provider.passwords_seen) == 1
    assert world.renewer.due_at("alice") == 0.0 or world.renewer.due_at("alice") <= world.clock.now  # type: ignore[operator]
    outcome = world.renew(log_in=True)
    assert (outcome.action, outcome.login_due, outcome.state) == ("login", False, "valid")


def test_a_new_account_is_logged_in_by_a_call_that_may(world: World) -> None:
    outcome = world.renew(log_in=False)
    assert (outcome.action, outcome.login_due, outcome.changed) == ("none", True, False)
    assert world.provider.requests == []


def test_who_may_not_take_time_does_not_wait_for_an_account_that_another_one_works_on(world: World) -> None:
    world.renew()
    with world.store.lock("alice", 1):
        outcome = world.renew(log_in=False)
    assert (outcome.action, outcome.usable, outcome.error_class) == ("none", True, None)
    assert sum(world.clock.slept) <= 6
    assert outcome.next_renewal is not None
    assert outcome.next_renewal - world.clock.now <= 5


def test_the_turns_to_log_in_of_others_hold_up_no_refresh(world: World) -> None:
    world.renew()
    world.past_point()
    with world.store.login_lock(1):
        assert world.renew(log_in=False).action == "refresh"


@pytest.mark.parametrize("page_changed", ["captcha", "unknown"])
def test_changed_settings_lift_what_the_old_ones_caused(world: World, page_changed: str) -> None:
    shown = '<div class="h-captcha"></div>' if page_changed == "captcha" else ""
    world.provider.answers["GET /u/login/password"] = page(form(f'<input name="strange" type="text">{shown}'))
    assert world.renew().state == "needs_operator"
    assert world.renew().action == "none"
    world.provider.answers.clear()
    world.renewer.provider = example_provider(prompt="login consent")
    assert world.renewer.forecast("alice").action == "login"
    outcome = world.renew()
    assert (outcome.action, outcome.state) == ("login", "valid")


def test_changed_settings_do_not_bring_a_rejected_password_out_again(world: World) -> None:
    world.give(email=EMAIL, password="wrong")
    assert world.renew().state == "quarantined"
    world.clock.now += 86_400
    world.renewer.provider = example_provider(prompt="")
    assert world.renew().state == "quarantined"
    assert world.provider.passwords_seen == ["wrong"]


def test_the_budget_says_what_it_counts(world: World) -> None:
    world.give(email=EMAIL, password="wrong")
    world.renew()
    world.clock.now += 120
    world.give(email=EMAIL, password="wrong too")
    outcome = world.renew()
    assert outcome.state == "waiting"
    assert "one password submission in 15 min, and the last one was 2 min ago" in outcome.message
    for number in range(2):
        world.past_point()
        world.renew()
        world.give(email=EMAIL, password=f"wrong {number}")
    assert "3 password submissions in 1 d" in world.renew().message


# What is forgotten leaves as it always did.


def test_an_account_that_is_gone_from_the_vault_is_revoked_through_its_proxy(world: World) -> None:
    proxy = "socks5h://proxy.example.test:1080"
    world.give(email=EMAIL, password=PASSWORD, proxy=proxy)
    world.renew()
    used: list[str | None] = []
    real = world.provider.session

    def session(account: Credentials) -> object:
        used.append(account.proxy)
        return real(account)

    object.__setattr__(world.renewer.runtime, "session", session)
    world.renewer.credentials = {}
    assert world.renewer.forget("alice") is None
    assert used == [proxy]
    assert world.provider.revoked == ["planted-refresh-1"]


def test_where_nobody_knows_the_way_nothing_is_revoked_directly(world: World) -> None:
    world.renew()
    record = world.store.load("alice")
    assert record is not None
    file = world.folder / "alice.json"
    file.write_text(file.read_text().replace('"proxy": ""', '"proxy": null'))
    world.renewer.credentials = {}
    sessions = world.provider.sessions
    failure = world.renewer.forget("alice")
    assert failure is not None
    assert "by which proxy" in failure.sentence
    assert (world.provider.sessions, world.provider.revoked) == (sessions, [])
    assert world.store.load("alice") is None
