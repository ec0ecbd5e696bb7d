# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An account answers as many requests at a time as it may, a blocked address is told, and no crash loop spins."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from dcta_load import Question
from fleet_world import World
from hold_scenes import FirstRun, Scenes, assert_none_failed, wait_for

pytestmark = pytest.mark.exhaustive

NODE = "node2"
AGENT = "dcta-agent.service"
PLACES = 3
BLOCKED_SECONDS = 3
CRASH = "/run/systemd/system/dcta-api-a@.service.d/crash.conf"
# Looks at the connections of the gateway to each lane, all the time, and tells the most of each in the end.
WATCH = """
import collections, select, sys
sys.path.insert(0, "/usr/local/lib/dcta")
from dcta_agent.reports import connections
from lanes import load_lanes
places = [(lane.address, port) for lane in load_lanes().values() for port in lane.ports.values()]
most = before = collections.Counter()
print("watching", flush=True)
while not select.select([sys.stdin], [], [], 0.02)[0]:
    now = connections(places)
    # The kernel's table changes while it is read, but what is served lasts for two looks.
    most, before = most | (now & before), now
print(dict(most), flush=True)
"""

POST = """
import sys, urllib.error, urllib.request
headers = {"Content-Type": "application/json"}
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], sys.argv[2].encode(), headers))
except urllib.error.HTTPError as error:
    sys.stdout.buffer.write(error.read())
"""
# Says whether a user may send to the gateway's log.
SEND = """
import socket
try:
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"nothing", "/run/dcta/log.sock")
    print("sent")
except OSError as error:
    print(type(error).__name__)
"""


def bound(world: World, first_run: FirstRun, **settings: Any) -> None:
    run = world.playbook("molecule/hold/limits.yml", settings={**first_run.settings, **settings})
    assert run.status == 0, run.tail


@pytest.fixture(scope="module", autouse=True)
def _few_places(world: World, first_run: FirstRun) -> Iterator[None]:
    hold = {**first_run.settings.get("refresh_agent_hold", {}), "hold_seconds": 60, "blocked_seconds": BLOCKED_SECONDS}
    bound(world, first_run, dcta_requests_per_account=PLACES, refresh_agent_hold=hold)
    yield
    bound(world, first_run)


@contextmanager
def watched(scenes: Scenes) -> Iterator[dict[str, int]]:
    """Count what each account answers at the same time, by the address of its lane."""
    most: dict[str, int] = {}
    # As the agent's user, whose own looks at the replicas do not count.
    command = ["sudo", "runuser", "-u", "dcta-agent", "--", "python3", "-c", WATCH]
    watcher = subprocess.Popen(
        [*scenes.world.ssh(NODE), shlex.join(command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert watcher.stdout
    assert watcher.stdout.readline() == "watching\n"
    yield most
    output, _ignored = watcher.communicate("end", timeout=30)
    most.update(json.loads(output.replace("'", '"')))


def streams(count: int, name: str) -> list[Question]:
    return [Question(f"{name}-{number}", stream=True, count=4, pause=0.05) for number in range(count)]


def memory(scenes: Scenes) -> dict[str, Any]:
    """Return what the agent keeps of its lanes."""
    document: dict[str, Any] = json.loads(scenes.world.root_text(NODE, "cat", "/var/lib/dcta/agent/lanes.json"))
    return document


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_150_streams_are_answered_by_few_places_and_none_fails(scenes: Scenes, protocol: str) -> None:
    lanes = scenes.world.lanes(NODE)
    with watched(scenes) as most:
        result = scenes.burst(NODE, streams(150, f"few-{protocol[:2]}"), protocol).end()
    assert (result.failed, result.ok) == (0, 150), result
    assert most == dict.fromkeys((lane["address"] for lane in lanes.values()), PLACES)


def test_an_agent_that_is_killed_forgets_no_place_and_fails_nobody(scenes: Scenes) -> None:
    with watched(scenes) as most:
        burst = scenes.burst(NODE, streams(100, "killed"))
        wait_for(lambda: burst.answered > 10, "the first answers")
        for _ in range(2):
            agent = scenes.processes(NODE, AGENT)[AGENT]
            scenes.kill(NODE, AGENT)
            scenes.wait_for_new_process(NODE, AGENT, agent)
        assert (burst.end().failed, burst.answered) == (0, 100)
    assert max(most.values()) == PLACES


def test_a_blocked_address_is_shown_avoided_and_over_with_the_first_answer(scenes: Scenes) -> None:
    before = scenes.replicas(NODE)
    [account, *others] = scenes.accounts(NODE)
    assert others
    scenes.provider("/switches", account, switches={"chat_answer": "bot_wall"})
    failed = []

    def is_blocked() -> bool:
        answer = scenes.answer(NODE)
        if answer.status_code != 200:
            failed.append(answer)
        return memory(scenes)[account]["blocked_since"] is not None

    wait_for(is_blocked, "the state address_blocked")
    assert len(failed) < 5
    for answer in failed:
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "bad_gateway")
    assert [scenes.answer(NODE).status_code for _ in range(20)] == [200] * 20
    shown = scenes.world.root_text(NODE, "journalctl", "--unit", AGENT, "--since=-60s", "--output=cat")
    assert f"{account}: address_blocked: " in shown
    assert (scenes.counts("refreshes"), scenes.counts("logins"), scenes.replicas(NODE)) == ({}, {}, before)
    scenes.provider("/switches", account, switches={"chat_answer": None})
    wait_for(lambda: scenes.answer(NODE).status_code == 200 and not is_blocked(), "its end")


def test_a_node_that_chatgpt_blocks_as_a_whole_says_so(scenes: Scenes) -> None:
    scenes.world.control("/switches", switches={"chat_answer": "bot_wall"})
    codes = []

    def is_told() -> bool:
        answer = scenes.answer(NODE)
        codes.append((answer.status_code, answer.json()["error"]["code"]))
        return codes[-1] == (503, "address_blocked") and int(answer.headers["Retry-After"]) <= BLOCKED_SECONDS

    wait_for(is_told, "the error address_blocked")
    assert set(codes) == {(502, "bad_gateway"), (503, "address_blocked")}
    scenes.world.control("/switches", switches={"chat_answer": None})
    wait_for(lambda: scenes.answer(NODE).status_code == 200, "an answer")


def test_only_the_gateway_may_report_the_end_of_a_request(scenes: Scenes) -> None:
    users = {"dcta-gateway": "sent", "dcta-agent": "PermissionError", "nobody": "PermissionError"}
    for user, outcome in users.items():
        command = ["runuser", "-u", user, "--", "/usr/bin/python3", "-"]
        assert scenes.world.root_text(NODE, *command, stdin=SEND) == outcome, user


@contextmanager
def crashing_replicas(scenes: Scenes) -> Iterator[None]:
    """Let every replica a of the node crash as soon as it is started."""
    text = b"[Service]\nExecStart=\nExecStart=/usr/bin/false\nExecStartPost=\n"
    scenes.world.root_run(NODE, "install", "-D", "-m", "644", "/dev/stdin", CRASH, stdin=text)
    try:
        scenes.world.root_run(NODE, "systemctl", "daemon-reload")
        yield
    finally:
        scenes.world.root_run(NODE, "rm", "-rf", CRASH)
        scenes.world.root_run(NODE, "systemctl", "daemon-reload")


def test_a_crash_is_over_at_once_and_a_crash_loop_does_not_spin(scenes: Scenes) -> None:
    account = scenes.accounts(NODE)[0]
    unit = f"dcta-api-a@{account}.service"
    before = scenes.processes(NODE, unit)[unit]
    since = scenes.world.root_text(NODE, "date", "+@%s")
    started = time.monotonic()
    scenes.kill(NODE, unit)
    scenes.wait_for_new_process(NODE, unit, before)
    assert time.monotonic() - started < 4

    def starts() -> int:
        log = scenes.world.root_text(NODE, "journalctl", f"--unit={unit}", f"--since={since}", "--output=cat")
        return log.count("Starting ")

    with crashing_replicas(scenes):
        scenes.kill(NODE, unit)
        # One try of the lane runner ends those of systemd; the agent has another one within the pause.
        with pytest.raises(AssertionError, match=r"does not run|systemctl restart failed"):
            scenes.lane_runner(NODE, "start", account)
        count = starts()
        time.sleep(5)
        assert count < 10
        assert starts() - count <= 1
        assert scenes.answer(NODE).status_code == 200
    assert scenes.lane_runner(NODE, "start", account) == {}
    scenes.wait_until_good(NODE)


def test_other_answers_of_the_program_reach_the_client_as_they_are(scenes: Scenes) -> None:
    body = b"this is no JSON"
    headers = {"Authorization": f"Bearer {scenes.world.api_key}", "Content-Type": "application/json"}
    with scenes.world.browser() as browser:
        through = browser.post(f"{scenes.world.nodes[NODE].url}/chat/completions", content=body, headers=headers)
    lane = next(iter(scenes.world.lanes(NODE).values()))
    url = f"http://{lane['address']}:{lane['ports']['a']}/v1/chat/completions"
    direct = scenes.world.root_run(NODE, "python3", "-c", POST, url, body.decode()).stdout
    assert (through.status_code, through.content) == (400, direct)
    assert_none_failed(scenes.burst(NODE, [Question("after", stream=bool(number)) for number in range(2)]).end())
