# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens die and accounts reach their limits; no client sees it while there is another way."""

from __future__ import annotations

from dcta_load import Question
from hold_scenes import REFRESH, REST_SECONDS, Scenes, assert_none_failed

NODE_WITH_ONE, NODE_WITH_MORE = "node1", "node2"


def test_one_account_revoked_costs_no_waiting_and_one_renewal_of_it_alone(scenes: Scenes) -> None:
    scenes.provider("/hold", "alice", grants=REFRESH)
    with scenes.loaded(NODE_WITH_MORE) as [load]:
        scenes.provider("/revoke", "alice")
        scenes.wait_for_held_refreshes("alice")
        answered = load.result.ok
        load.reach(load.result.sent + 1000)
        assert load.result.ok >= answered + 900
        assert scenes.waiting() == {"alice@example.org": 1}
        assert load.result.percentile(1) < 1.5
        scenes.provider("/release", "alice")
    assert scenes.counts("refreshes") == {"alice": 1}
    assert scenes.counts("logins") == {}


def test_all_accounts_of_a_node_revoked_at_once_cost_one_renewal_each(scenes: Scenes) -> None:
    accounts = scenes.accounts(NODE_WITH_MORE)
    assert len(accounts) == 3
    scenes.provider("/hold", grants=REFRESH)
    with scenes.loaded(NODE_WITH_MORE) as [load]:
        for account in accounts:
            scenes.provider("/revoke", account)
        scenes.wait_for_held_refreshes(*accounts)
        scenes.provider("/release", grants=REFRESH)
        load.reach(load.result.sent + 500)
    assert scenes.counts("refreshes") == dict.fromkeys(accounts, 1)
    assert scenes.counts("logins") == {}


def test_the_only_account_revoked_with_200_requests_in_flight_costs_one_renewal(scenes: Scenes) -> None:
    [account] = scenes.accounts(NODE_WITH_ONE)
    scenes.provider("/hold", account, grants=REFRESH)
    asked = [Question(f"held-{number}", stream=number % 2 == 1, padding=100 * number) for number in range(99)]
    asked.append(Question("held-large", stream=True, padding=5 * 2**20))
    with scenes.loaded(NODE_WITH_ONE):
        scenes.provider("/revoke", account)
        bursts = [scenes.burst(NODE_WITH_ONE, asked, protocol) for protocol in ("http/1.1", "h2")]
        scenes.wait_for_held_refreshes(account)
        scenes.wait_until_held(NODE_WITH_ONE, 200)
        assert sum(burst.answered for burst in bursts) == 0
        scenes.provider("/release", account)
        assert_none_failed(*(burst.end() for burst in bursts), enough=200)
    assert scenes.counts("refreshes") == {account: 1}
    assert scenes.counts("logins") == {}


def test_no_client_sees_the_limit_of_one_account(scenes: Scenes) -> None:
    with scenes.loaded(NODE_WITH_MORE) as [load]:
        for _ in range(3):
            scenes.provider("/switches", "dave", switches={"chat_answer": "rate_limit"})
            load.reach(load.result.sent + 400)
            scenes.provider("/switches", "dave", switches={"chat_answer": None})
            load.reach(load.result.sent + 250)
    seen = scenes.world.control("/statistics")["accounts"]["dave@example.org"]["chat"]
    assert seen["429"] > 50, seen
    assert seen["200"] > 50, seen


def test_a_client_sees_a_limit_when_every_account_rests(scenes: Scenes) -> None:
    scenes.provider("/switches", switches={"chat_answer": "rate_limit"})
    for node in scenes.world.nodes:
        answer = scenes.answer(node)
        assert answer.status_code == 429, answer.text
        assert answer.json()["error"]["type"] == "rate_limit_error"
        assert 1 <= int(answer.headers["Retry-After"]) <= REST_SECONDS + 1
    scenes.provider("/switches", switches={"chat_answer": None})
    for node in scenes.world.nodes:
        scenes.wait_until_good(node)
