# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens that live for a minute under steady load, and a provider that is away when they run out."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from dcta_load import Clients, Question
from hold_scenes import HOLD_SECONDS, MIXED, Scenes, assert_none_failed

NODE_WITH_ONE = "node1"
LIFETIME = 60
WATCHED_SECONDS = 120
SHORT = 8


@pytest.fixture
def short_tokens(scenes: Scenes) -> Iterator[Scenes]:
    """The world, in which tokens live long again afterwards."""
    yield scenes
    scenes.calm()
    scenes.renew_all(*scenes.world.nodes)


def test_tokens_of_a_minute_under_steady_load_cost_no_login_and_no_request(short_tokens: Scenes) -> None:
    scenes = short_tokens
    accounts = [account for node in scenes.world.nodes for account in scenes.accounts(node)]
    scenes.provider("/lifetimes", access_token=LIFETIME)
    scenes.renew_all(*scenes.world.nodes)
    scenes.forget_counts()
    with scenes.loaded(
        *scenes.world.nodes, groups=[Clients(count=8, pause=0.1), Clients(count=8, protocol="h2", pause=0.1)]
    ):
        time.sleep(WATCHED_SECONDS)
    refreshes = scenes.counts("refreshes")
    # They are renewed after two thirds of their lifetime, a little more or less.
    assert set(refreshes) == set(accounts)
    assert all(2 <= count <= 4 for count in refreshes.values()), refreshes
    assert scenes.counts("logins") == scenes.counts("password_submissions") == {}
    assert scenes.refused() == 0


def test_requests_are_held_while_the_provider_is_away_and_then_refused_as_openai_does(short_tokens: Scenes) -> None:
    scenes = short_tokens
    [account] = scenes.accounts(NODE_WITH_ONE)
    scenes.provider("/lifetimes", account, access_token=SHORT)
    scenes.renew_all(NODE_WITH_ONE)
    scenes.forget_counts()
    with scenes.loaded(NODE_WITH_ONE) as [load]:
        with scenes.provider_out_of_reach(NODE_WITH_ONE):
            time.sleep(SHORT + 1)
            scenes.wait_until_held(NODE_WITH_ONE, sum(group.count for group in MIXED) // 2)
        load.reach(load.result.sent + 300)
    asked = [Question(f"away-{number}", stream=number % 2 == 1) for number in range(50)]
    with scenes.provider_out_of_reach(NODE_WITH_ONE):
        time.sleep(SHORT + 1)
        started = time.monotonic()
        answer = scenes.answer(NODE_WITH_ONE)
        assert HOLD_SECONDS - 1 <= time.monotonic() - started <= HOLD_SECONDS + 5
        assert answer.status_code == 503, answer.text
        assert answer.json()["error"]["code"] == "no_account_available"
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
        assert int(answer.headers["Retry-After"]) >= 1
        burst = scenes.burst(NODE_WITH_ONE, asked)
        scenes.wait_until_held(NODE_WITH_ONE, len(asked))
    assert_none_failed(burst.end())
    assert scenes.counts("refreshes")[account] >= 2
    assert scenes.counts("logins") == {}
