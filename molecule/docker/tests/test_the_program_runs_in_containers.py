# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker mode: the way there and back, what limits a container, who reaches the engine, and what no client sees."""

from __future__ import annotations

import json
import time

import pytest
from container_scenes import GENTLE, Containers
from dcta_load import Question
from hold_scenes import STEADY, Scenes, assert_none_failed, wait_for

# The users that systemd makes, which are those that the rules of the lanes know.
DYNAMIC_USERS = range(61184, 65520)
MEBIBYTE = 1024 * 1024
NODE, UNIT, CONTAINER = "node2", "dcta-api-a@{}.service", "dcta-api-a-{}"
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"


def test_every_replica_is_one_container_and_no_native_process_is_left(containers: Containers) -> None:
    for node in containers.scenes.world.nodes:
        assert containers.running(node) == sorted(containers.names(node))
        assert not set(containers.native_processes[node].values()) & set(containers.scenes.replicas(node).values())
        programs = set(containers.processes(node).values())
        listed = containers.scenes.world.root_text(node, "pgrep", "-f", "^(/opt/dcta/.*)?/chatgpt-to-api").split()
        assert set(listed) == programs


def test_a_second_run_in_docker_mode_changes_nothing(containers: Containers) -> None:
    # One node, since a run of both takes a minute.
    run = containers.scenes.world.playbook("site.yml", "--limit", NODE, settings=containers.settings)
    assert run.status == 0, run.tail
    assert run.changed == {NODE: 0}, run.tail


def test_a_container_has_no_more_rights_than_the_native_sandbox_gives(containers: Containers) -> None:
    users = []
    for node in containers.scenes.world.nodes:
        for name, container in containers.described(node).items():
            limits, config = container["HostConfig"], container["Config"]
            user, _separator, group = config["User"].partition(":")
            assert int(user) in DYNAMIC_USERS
            assert group == user
            users.append((node, user))
            assert limits["ReadonlyRootfs"] is True
            assert limits["Privileged"] is False
            assert (limits["CapAdd"] or [], limits["CapDrop"]) == ([], ["ALL"])
            assert limits["SecurityOpt"] == ["no-new-privileges"]
            assert (limits["Memory"], limits["PidsLimit"]) == (256 * MEBIBYTE, 128)
            assert (limits["NetworkMode"], limits["IpcMode"], limits["PidMode"]) == ("host", "none", "")
            assert limits["LogConfig"]["Type"] == "journald"
            assert [name for name in ("Devices", "Tmpfs", "PortBindings", "VolumesFrom") if limits.get(name)] == []
            mounts = {mount["Destination"]: (mount["Source"], mount["RW"]) for mount in container["Mounts"]}
            replica, _separator, account = name.removeprefix("dcta-api-").partition("-")
            assert mounts == {
                "/state": (f"/var/lib/private/dcta-api/{account}-{replica}", True),
                "/etc/ssl/certs/ca-certificates.crt": ("/etc/ssl/certs/ca-certificates.crt", False),
            }
    assert len(set(users)) == len(users)


def test_the_kernel_holds_the_program_to_its_limits(containers: Containers) -> None:
    for node in containers.scenes.world.nodes:
        for name, process in containers.processes(node).items():
            text = containers.scenes.world.root_text(node, "cat", f"/proc/{process}/status")
            status = dict(line.split(":", 1) for line in text.splitlines())
            assert {int(status[field].strip(), 16) for field in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}, name
            assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2"), name
            assert {int(user) for user in status["Uid"].split()} <= set(DYNAMIC_USERS), name


def test_nobody_but_root_reaches_the_engine(containers: Containers) -> None:
    world = containers.scenes.world
    for node in world.nodes:
        assert world.root_text(node, "getent", "group", "docker").endswith(":")
        assert world.root_text(node, "stat", "--format=%U %G %a", "/run/docker.sock") == "root docker 660"
        lanes = [f"dcta-api-{replica}@{account}.service" for account in world.lanes(node) for replica in "ab"]
        for unit in ("dcta-agent.service", "dcta-gateway.service", *lanes):
            assert "docker" not in world.root_text(node, "systemctl", "show", "-P", "SupplementaryGroups", unit)
        for user in ("dcta-agent", "dcta-gateway", "nobody"):
            asked = world.root_run(node, "runuser", "-u", user, "--", "docker", "ps", check=False)
            assert b"permission denied" in asked.stderr


def test_the_program_listens_on_loopback_alone_and_other_users_cannot_use_it(containers: Containers) -> None:
    world = containers.scenes.world
    for node in world.nodes:
        listening = world.root_text(node, "ss", "-Hltn").splitlines()
        ours = [line.split()[3] for line in listening if line.split()[3].endswith((":8081", ":8082"))]
        assert len(ours) == len(containers.names(node))
        assert all(address.startswith("127.") for address in ours)
        address = next(iter(world.lanes(node).values()))["address"]
        connect = ["python3", "-c", CONNECT, address, "8081"]
        world.root_run(node, *connect)
        assert b"Refused" in world.root_run(node, "runuser", "-u", "nobody", "--", *connect, check=False).stderr


def test_no_secret_stands_where_the_engine_or_the_process_list_shows_it(containers: Containers) -> None:
    world = containers.scenes.world
    for node in world.nodes:
        seen = json.dumps(containers.described(node)) + world.root_text(node, "ps", "-eo", "args")
        for account in world.lanes(node):
            secrets = json.loads(world.root_text(node, "cat", f"/run/dcta-lanes/{account}.json"))
            assert [name for name, value in secrets.items() if value and value in seen] == []


def test_the_journal_shows_what_the_program_logs_as_its_units(scenes: Scenes) -> None:
    for node in scenes.world.nodes:
        with scenes.loaded(node, groups=GENTLE, enough=20):
            pass
        for account in scenes.accounts(node):
            for replica in "ab":
                command = ["journalctl", "--boot", "--no-pager", f"--unit=dcta-api-{replica}@{account}.service"]

                def logged(place: str = node, arguments: list[str] = command) -> bool:
                    return "/v1/chat/completions" in scenes.world.root_text(place, *arguments)

                wait_for(logged, f"a line of {account}, replica {replica}", 10)


def test_a_revoked_token_is_renewed_without_a_failure(containers: Containers, scenes: Scenes) -> None:
    before = {node: containers.processes(node) for node in scenes.world.nodes}
    for node in scenes.world.nodes:
        account = scenes.renewable(node)[0]

        def renewed(name: str = account) -> bool:
            return scenes.counts("refreshes") == {name: 1}

        with scenes.loaded(node, enough=500):
            scenes.provider("/revoke", account)
            wait_for(renewed, f"the renewal of {account}")
        scenes.forget_counts()
    assert {node: containers.processes(node) for node in scenes.world.nodes} == before


def test_a_rolling_restart_drops_no_request_and_cuts_no_stream(containers: Containers, scenes: Scenes) -> None:
    before = {node: containers.processes(node) for node in scenes.world.nodes}
    asked = [Question(f"long-{number}", stream=number % 2 == 1, count=40, pause=0.1) for number in range(6)]
    with scenes.loaded(*scenes.world.nodes, groups=STEADY, enough=500):
        streams = [scenes.burst(node, asked) for node in scenes.world.nodes]
        time.sleep(0.5)
        for node in scenes.world.nodes:
            for account in scenes.accounts(node):
                assert scenes.lane_runner(node, "roll", account) == {}
        assert_none_failed(*(stream.end() for stream in streams))
    for node in scenes.world.nodes:
        after = containers.processes(node)
        assert before[node].keys() == after.keys()
        assert not set(before[node].values()) & set(after.values())


def test_a_restart_of_the_engine_drops_no_request_and_touches_no_container(
    containers: Containers, scenes: Scenes
) -> None:
    world = scenes.world
    for node in world.nodes:
        before, units = containers.processes(node), scenes.replicas(node)
        asked = [Question(f"long-{number}", stream=number % 2 == 1, count=60, pause=0.1) for number in range(6)]
        with scenes.loaded(node, groups=GENTLE, enough=200):
            stream = scenes.burst(node, asked)
            time.sleep(0.5)
            engine = world.root_text(node, "systemctl", "show", "-P", "MainPID", "docker.service")
            world.root_run(node, "systemctl", "restart", "docker.service")
            assert world.root_text(node, "systemctl", "show", "-P", "MainPID", "docker.service") != engine
            assert_none_failed(stream.end())
        assert (containers.processes(node), scenes.replicas(node)) == (before, units)
        # The units still hear the end of their containers, and stop them gracefully.
        account = scenes.accounts(node)[0]
        with scenes.loaded(node, groups=GENTLE, enough=100):
            assert scenes.lane_runner(node, "roll", account) == {}
        after = containers.processes(node)
        assert {name for name in before if before[name] != after[name]} == {f"dcta-api-{r}-{account}" for r in "ab"}


@pytest.mark.parametrize(
    "end",
    [
        ("docker", "kill", "--signal=KILL", CONTAINER),
        ("docker", "pause", CONTAINER),
        ("systemctl", "kill", "--kill-who=main", "--signal=KILL", UNIT),
    ],
    ids=["killed", "hangs", "whose unit is killed"],
)
def test_a_container_that_ends_unasked_comes_back_alone(
    containers: Containers, scenes: Scenes, end: tuple[str, ...]
) -> None:
    account = scenes.accounts(NODE)[0]
    unit = UNIT.format(account)
    before, old = containers.processes(NODE), scenes.processes(NODE, unit)[unit]
    # While idle: an answer that has begun cannot be taken over by another replica.
    scenes.world.root_run(NODE, *(word.format(account) for word in end))
    with scenes.loaded(NODE, groups=GENTLE, enough=100):
        scenes.wait_for_new_process(NODE, unit, old)
        scenes.wait_until_good(NODE)
    after = containers.processes(NODE)
    assert {name for name in before if before[name] != after[name]} == {CONTAINER.format(account)}


def test_the_way_back_drops_no_request_and_leaves_nothing_of_docker_mode(
    containers: Containers, scenes: Scenes
) -> None:
    world = scenes.world
    with scenes.loaded(*world.nodes, groups=STEADY):
        run = world.playbook("site.yml")
    assert run.status == 0, run.tail
    containers.native_again = True
    for node in world.nodes:
        scenes.wait_until_good(node)
        assert world.root_text(node, "docker", "ps", "--all", "--quiet") == ""
        assert world.root_text(node, "docker", "image", "ls", "--all", "--quiet") == ""
        assert world.root_text(node, "find", "/opt/dcta/releases", "-name", "image.tar") == ""
        units = world.root_text(node, "cat", *(f"/etc/systemd/system/dcta-api-{replica}@.service" for replica in "ab"))
        assert "docker" not in units
        for process in scenes.replicas(node).values():
            assert world.root_text(node, "readlink", f"/proc/{process}/exe").startswith("/opt/dcta/releases/")
