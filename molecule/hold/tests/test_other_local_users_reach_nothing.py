# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other users of a node get no answer from a lane, cannot answer in its place, and cannot talk to what controls it."""

from __future__ import annotations

import subprocess

import pytest
from hold_scenes import Scenes

NODE = "node2"
CONNECT = """
import socket, sys
address, port = sys.argv[1], int(sys.argv[2])
try:
    socket.create_connection((address, port), timeout=2).close()
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""
CONNECT_UNIX = """
import socket, sys
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""
# Listens where a lane did, and tells how many connections came to be.
IMPOSTOR = """
import selectors, socket, sys, time
found = selectors.DefaultSelector()
for port in (8081, 8082):
    listener = socket.create_server((sys.argv[1], port))
    found.register(listener, selectors.EVENT_READ)
print("listening", flush=True)
count, end = 0, time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    for key, _ in found.select(0.1):
        key.fileobj.accept()
        count += 1
print(count, flush=True)
"""
USERS_WHO_MAY = ("root", "dcta-agent", "dcta-gateway")


def run_as(scenes: Scenes, user: str, program: str, *arguments: str) -> str:
    command = ["runuser", "-u", user, "--", "/usr/bin/python3", "-", *arguments]
    return scenes.world.root_text(NODE, *command, stdin=program)


def test_a_lane_answers_only_gateway_agent_and_root(scenes: Scenes) -> None:
    for lane in scenes.world.lanes(NODE).values():
        for port in lane["ports"].values():
            for user in USERS_WHO_MAY:
                assert run_as(scenes, user, CONNECT, lane["address"], str(port)) == "connected"
            assert run_as(scenes, "nobody", CONNECT, lane["address"], str(port)) == "ConnectionRefusedError"


@pytest.mark.parametrize(
    ("path", "user"), [("/run/dcta/agent.sock", "dcta-gateway"), ("/run/dcta-lanes.sock", "dcta-agent")]
)
def test_the_sockets_of_agent_and_lane_runner_refuse_others(scenes: Scenes, path: str, user: str) -> None:
    assert run_as(scenes, user, CONNECT_UNIX, path) == "connected"
    others = {"nobody", "dcta-agent", "dcta-gateway"} - {user}
    for other in sorted(others):
        assert run_as(scenes, other, CONNECT_UNIX, path) == "PermissionError", other


def impostor(scenes: Scenes, address: str, seconds: float) -> subprocess.Popen[bytes]:
    """Let another user listen at a lane's address; returns when it does."""
    command = ["sudo", "runuser", "-u", "nobody", "--", "/usr/bin/python3", "-", address, str(seconds)]
    process = subprocess.Popen([*scenes.world.ssh(NODE), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    process.stdin.write(IMPOSTOR.encode())
    process.stdin.close()
    process.stdin = None  # else communicate() would flush it
    assert process.stdout.readline() == b"listening\n"
    return process


def test_the_address_of_a_stopped_lane_cannot_be_taken(scenes: Scenes) -> None:
    lane = scenes.world.lanes(NODE)["dave"]
    units = [f"dcta-api-{replica}@dave.service" for replica in "ab"]
    # The agent would start the lane again, and a report of the gateway's would start the agent.
    scenes.world.root_run(NODE, "systemctl", "stop", "dcta-agent-log.socket", "dcta-agent.service", *units)
    try:
        with scenes.loaded(NODE) as [load]:
            process = impostor(scenes, lane["address"], 8)
            for port in lane["ports"].values():
                assert run_as(scenes, "dcta-gateway", CONNECT, lane["address"], str(port)) == "TimeoutError"
            load.reach(load.result.sent + 200)
            output, _ = process.communicate(timeout=60)
            assert output == b"0\n"
    finally:
        scenes.world.root_run(NODE, "systemctl", "start", "dcta-agent.service")
    scenes.wait_until_good(NODE)
