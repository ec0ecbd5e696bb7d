# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of a node restart, die and hang; no client sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dcta_load import Clients, Question
from hold_scenes import ENOUGH, REFRESH, Scenes, assert_none_failed, wait_for
from planted_links import NOWHERE

AGENT = "dcta-agent.service"
GATEWAY = "dcta-gateway.service"
MEMORY = "/var/lib/dcta/agent/lanes.json"
CRASH = "/run/systemd/system/dcta-agent.service.d/crash.conf"
BUSY = Clients(count=8)
WITH_PAUSES = Clients(count=120, pause=1.5)
HTTP2 = Clients(count=8, protocol="h2")
NODE_WITH_ONE, NODE_WITH_MORE = "node1", "node2"


def restarts(scenes: Scenes, node: str, unit: str) -> int:
    return int(scenes.world.root_text(node, "systemctl", "show", "-P", "NRestarts", unit))


def long_streams(count: int, seconds: float) -> list[Question]:
    return [
        Question(f"long-{number}", stream=number % 2 == 1, count=int(seconds * 10), pause=0.1)
        for number in range(count)
    ]


def test_a_rolling_restart_of_every_lane_drops_no_request_and_cuts_no_stream(scenes: Scenes) -> None:
    before = {node: scenes.replicas(node) for node in scenes.world.nodes}
    with scenes.loaded(*scenes.world.nodes):
        streams = [scenes.burst(node, long_streams(10, 4)) for node in scenes.world.nodes]
        time.sleep(0.5)
        for node in scenes.world.nodes:
            for account in scenes.accounts(node):
                assert scenes.lane_runner(node, "roll", account) == {}
        assert_none_failed(*(stream.end() for stream in streams))
    for node in scenes.world.nodes:
        after = scenes.replicas(node)
        assert before[node].keys() == after.keys()
        assert not set(before[node].values()) & set(after.values())
    assert scenes.counts("refreshes") == scenes.counts("logins") == {}


def test_a_restart_of_the_agent_drops_no_request_and_brings_no_renewal(scenes: Scenes) -> None:
    before = scenes.replicas(NODE_WITH_MORE)
    with scenes.loaded(NODE_WITH_MORE) as [load]:
        for _ in range(3):
            scenes.world.root_run(NODE_WITH_MORE, "systemctl", "restart", AGENT)
            load.reach(load.result.sent + 300)
    assert scenes.replicas(NODE_WITH_MORE) == before
    assert scenes.counts("refreshes") == scenes.counts("logins") == {}


def test_an_agent_whose_memory_is_a_link_restarts_each_replica_once_and_drops_no_request(scenes: Scenes) -> None:
    """It does not know whether a replica missed the last token that was sent: only a restart is certain."""
    node, root_run = NODE_WITH_MORE, scenes.world.root_run
    before = scenes.replicas(node)
    with scenes.loaded(node) as [load]:
        root_run(node, "systemctl", "stop", AGENT)
        root_run(node, "runuser", "-u", "dcta-agent", "--", "ln", "-sf", NOWHERE, MEMORY)
        root_run(node, "systemctl", "start", AGENT)
        wait_for(lambda: not set(before.values()) & set(scenes.replicas(node).values()), "a restart of each replica")
        scenes.wait_until_good(node)
        once = scenes.replicas(node)
        load.reach(load.result.sent + 300)
    assert scenes.replicas(node) == once
    assert root_run(node, "test", "-e", NOWHERE, check=False).returncode == 1
    assert root_run(node, "test", "-f", MEMORY, "-a", "!", "-L", MEMORY, check=False).returncode == 0
    assert scenes.counts("refreshes") == scenes.counts("logins") == {}


def test_an_agent_killed_three_times_while_200_requests_wait_drops_none(scenes: Scenes) -> None:
    [account] = scenes.accounts(NODE_WITH_ONE)
    scenes.provider("/hold", account, grants=REFRESH)
    asked = [Question(f"held-{number}", stream=number % 2 == 1) for number in range(100)]
    with scenes.loaded(NODE_WITH_ONE):
        scenes.provider("/revoke", account)
        bursts = [scenes.burst(NODE_WITH_ONE, asked, protocol) for protocol in ("http/1.1", "h2")]
        scenes.wait_for_held_refreshes(account)
        for _ in range(3):
            scenes.wait_until_held(NODE_WITH_ONE, 200)
            agent = scenes.processes(NODE_WITH_ONE, AGENT)[AGENT]
            scenes.kill(NODE_WITH_ONE, AGENT)
            scenes.wait_for_new_process(NODE_WITH_ONE, AGENT, agent)
        scenes.wait_until_held(NODE_WITH_ONE, 200)
        assert sum(burst.answered for burst in bursts) == 0
        scenes.provider("/release", account, grants=REFRESH)
        assert_none_failed(*(burst.end() for burst in bursts), enough=200)
    assert scenes.counts("refreshes") == {account: 1}
    assert scenes.counts("logins") == {}


@contextmanager
def crashing_agent(scenes: Scenes, node: str) -> Iterator[None]:
    """Let the agent of a node crash at each start."""
    text = b"[Service]\nExecStartPre=/usr/bin/false\n"
    scenes.world.root_run(node, "install", "-D", "-m", "644", "/dev/stdin", CRASH, stdin=text)
    try:
        scenes.world.root_run(node, "systemctl", "daemon-reload")
        scenes.kill(node, AGENT)
        yield
    finally:
        scenes.world.root_run(node, "rm", "-rf", CRASH)
        scenes.world.root_run(node, "systemctl", "daemon-reload")


def test_an_agent_that_crashes_at_its_start_for_some_seconds_drops_no_request(scenes: Scenes) -> None:
    [account] = scenes.accounts(NODE_WITH_ONE)
    with scenes.loaded(NODE_WITH_ONE) as [load]:
        with crashing_agent(scenes, NODE_WITH_ONE):
            scenes.provider("/revoke", account)
            scenes.wait_until_held(NODE_WITH_ONE, 10)
            time.sleep(4)
            wait_for(lambda: restarts(scenes, NODE_WITH_ONE, AGENT) > 10, "an agent that crashes again and again")
        load.reach(load.result.sent + 500)
    assert scenes.counts("refreshes") == {account: 1}
    assert scenes.counts("logins") == {}


def test_a_replica_killed_while_idle_costs_no_request(scenes: Scenes) -> None:
    [account] = scenes.accounts(NODE_WITH_ONE)
    results = []
    rounds = 10
    for number in range(rounds):
        unit = f"dcta-api-{'ab'[number % 2]}@{account}.service"
        before = scenes.processes(NODE_WITH_ONE, unit)[unit]
        scenes.kill(NODE_WITH_ONE, unit)
        groups = [Clients(count=8), Clients(count=8, protocol="h2")]
        with scenes.load(NODE_WITH_ONE, groups, requests=ENOUGH // rounds) as load:
            load.reach(ENOUGH // rounds)
        results.append(load.result)
        scenes.wait_for_new_process(NODE_WITH_ONE, unit, before)
    assert_none_failed(*results, enough=ENOUGH)


def test_a_node_whose_only_lane_is_gone_holds_until_it_is_back(scenes: Scenes) -> None:
    asked = [Question(f"nobody-{number}", stream=number % 2 == 1) for number in range(50)]
    results = []
    for protocol in ("http/1.1", "h2") * 3:
        before = scenes.replicas(NODE_WITH_ONE)
        scenes.kill(NODE_WITH_ONE, *before)
        results.append(scenes.burst(NODE_WITH_ONE, asked, protocol).end())
        for unit, process in before.items():
            scenes.wait_for_new_process(NODE_WITH_ONE, unit, process)
    assert_none_failed(*results, enough=300)
    assert scenes.counts("refreshes") == {}


@pytest.mark.parametrize("clients", [BUSY, WITH_PAUSES, HTTP2], ids=["busy", "with pauses", "http2"])
def test_a_reload_of_the_gateway_drops_no_request(scenes: Scenes, clients: Clients) -> None:
    node = NODE_WITH_MORE
    streams = long_streams(10, 9)
    workers = set(scenes.world.root_text(node, "pgrep", "-u", "dcta-gateway").split())
    with scenes.loaded(node, groups=[clients, Clients(count=2)]):
        burst = scenes.burst(node, streams, clients.protocol)
        time.sleep(0.2)
        scenes.world.root_run(node, "systemctl", "reload", GATEWAY)
        assert_none_failed(burst.end())
    main = scenes.processes(node, GATEWAY)[GATEWAY]
    after = set(scenes.world.root_text(node, "pgrep", "-u", "dcta-gateway").split())
    assert after & workers == {main}


def test_a_hanging_replica_is_found_and_restarted(scenes: Scenes) -> None:
    [account] = scenes.accounts(NODE_WITH_ONE)
    unit = f"dcta-api-a@{account}.service"
    before = scenes.processes(NODE_WITH_ONE, unit)[unit]
    with scenes.loaded(NODE_WITH_ONE) as [load]:
        # It is halted amid its answers, which nobody else can go on with.
        scenes.kill(NODE_WITH_ONE, unit, signal="STOP")
        scenes.wait_for_new_process(NODE_WITH_ONE, unit, before)
        load.reach(load.result.sent + 300)
    assert load.result.percentile(1) < 20


def test_a_rebooted_node_serves_without_ansible_and_without_a_login(scenes: Scenes) -> None:
    node = NODE_WITH_MORE
    accounts = scenes.accounts(node)
    scenes.reboot(node)
    scenes.wait_until_good(node)
    assert scenes.accounts(node) == accounts
    with scenes.loaded(node):
        pass
    assert scenes.counts("refreshes") == scenes.counts("logins") == {}
