# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every unit has the least privilege: its sandbox, its user, its files, its network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fleet_world import Node, World
from testinfra.host import Host

EXPOSURE = 2.0
REPLICAS = {"a": 8081, "b": 8082}
# Tries to connect, and says how it ended.
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""
# Answers one connection within some seconds, and says so at once when it listens.
ANSWER = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
server.settimeout(6)
print("listening", flush=True)
try:
    server.accept()
except TimeoutError:
    pass
"""

# Asks the lane runner how a lane is.
ASK = """
import json, socket, sys
connection = socket.socket(socket.AF_UNIX)
try:
    connection.connect("/run/dcta-lanes.sock")
    connection.sendall(json.dumps({"operation": "status", "lane": sys.argv[1]}).encode() + b"\\n")
    print(connection.makefile().readline())
except OSError as error:
    print(type(error).__name__)
"""


def units(world: World, node: Node) -> list[str]:
    """Return all services of the collection on a node; of a template without an instance one that does not run."""
    running = world.root_text(node.name, "systemctl", "list-units", "--all", "--plain", "--no-legend", "dcta-*.service")
    files = world.root_text(node.name, "systemctl", "list-unit-files", "--no-legend", "dcta-*.service")
    names = {line.split()[0] for line in running.splitlines()}
    for file in (line.split()[0] for line in files.splitlines()):
        if "@." not in file:
            names.add(file)
        elif not any(name.startswith(file.split("@")[0] + "@") for name in names):
            names.add(file.replace("@.", "@example."))
    return sorted(names)


def as_nobody(world: World, node: Node, program: str, *arguments: str) -> str:
    """Run a Python program as a user without any rights and return what it printed."""
    command = ["runuser", "-u", "nobody", "--", "python3", "-c", program, *arguments]
    return world.root_text(node.name, *command)


def show(world: World, node: Node, unit: str, what: str) -> str:
    """Return a property of a unit."""
    return world.root_text(node.name, "systemctl", "show", "-P", what, unit)


@pytest.fixture
def lane(world: World, node: Node) -> tuple[str, str]:
    """Name and address of a lane of the node."""
    name, description = next(iter(world.lanes(node.name).items()))
    return name, description["address"]


def test_the_sandbox_of_each_unit_is_tight(world: World, node: Node) -> None:
    found = units(world, node)
    assert "dcta-gateway.service" in found
    # An instance of the lane runner may be at work just now.
    assert any(name.startswith("dcta-lanes@") for name in found)
    assert len([name for name in found if name.startswith("dcta-api-")]) == 2 * len(world.lanes(node.name))
    exposures = {}
    for name in found:
        report = world.root_text(node.name, "systemd-analyze", "security", "--no-pager", name)
        match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", report)
        assert match, f"{name}: {report[-300:]}"
        exposures[name] = float(match[1])
    assert {name: value for name, value in exposures.items() if value > EXPOSURE} == {}


def test_systemd_finds_nothing_to_complain_about(world: World, node: Node) -> None:
    def complaints(*files: str) -> list[str]:
        done = world.root_run(node.name, "systemd-analyze", "verify", "--man=no", *files, check=False)
        return [line for line in done.stderr.decode().splitlines() if "dcta" in line]

    folder = world.root_text(node.name, "mktemp", "--directory")
    try:
        misspelt = f"{folder}/dcta-misspelt.service"
        world.root_run(node.name, "tee", misspelt, stdin=b"[Service]\nExecStart=/bin/true\nProtectHomes=yes\n")
        assert complaints(misspelt)
    finally:
        world.root_run(node.name, "rm", "-r", folder)
    assert complaints(*units(world, node), "dcta-lanes.socket") == []


def test_all_comes_back_after_a_boot(world: World, node: Node) -> None:
    for unit in ("dcta-gateway.service", "dcta-firewall.service", "dcta-lanes.socket"):
        assert world.root_text(node.name, "systemctl", "is-enabled", unit) == "enabled"


def entries(world: World, node: Node, *folders: str) -> list[tuple[str, str, str, str]]:
    """Return mode, owner, group and path of everything in some folders, links left out."""
    command = ["find", *folders, "!", "-type", "l", "-printf", "%m %u %g %p\\n"]
    return [
        (m, u, g, p)
        for m, u, g, p in (line.split(" ", 3) for line in world.root_text(node.name, *command).splitlines())
    ]


def test_configuration_belongs_to_root_and_only_root_writes_it(world: World, node: Node) -> None:
    found = entries(world, node, "/etc/dcta", "/opt/dcta", "/usr/local/lib/dcta", "/etc/tmpfiles.d/dcta.conf")
    assert len(found) > 10
    assert [entry for entry in found if entry[1] != "root" or int(entry[0], 8) & 0o022] == []


def test_secrets_on_disk_belong_to_whoever_needs_them(world: World, node: Node) -> None:
    modes = {
        path: (mode, user, group) for mode, user, group, path in entries(world, node, "/etc/dcta", "/var/lib/dcta")
    }
    assert modes["/etc/dcta/credentials"] == ("700", "root", "root")
    assert modes["/etc/dcta/gateway"] == ("750", "root", "dcta-gateway")
    assert modes["/var/lib/dcta/tokens"] == ("700", "dcta-agent", "dcta-agent")
    for file in ("tls.key", "api_keys.conf"):
        assert modes[f"/etc/dcta/gateway/{file}"] == ("640", "root", "dcta-gateway")
    inside = {
        "/etc/dcta/credentials/": ("600", "root", "root"),
        "/var/lib/dcta/tokens/": ("600", "dcta-agent", "dcta-agent"),
    }
    for folder, expected in inside.items():
        files = {path: rights for path, rights in modes.items() if path.startswith(folder)}
        assert len(files) >= 2
        assert {path: rights for path, rights in files.items() if rights != expected} == {}


def test_what_lanes_start_with_and_work_in_is_private(world: World, node: Node) -> None:
    for mode, user, _group, path in entries(world, node, "/run/dcta-lanes"):
        assert (user, mode) == ("root", "700" if path == "/run/dcta-lanes" else "600"), path
    folders = entries(world, node, "/var/lib/private/dcta-api")
    for name in world.lanes(node.name):
        for replica in REPLICAS:
            folder = f"/var/lib/private/dcta-api/{name}-{replica}"
            own = [(mode, user) for mode, user, _group, path in folders if path == folder]
            assert own == [("700", f"dcta-{name}-{replica}")]
            files = [(mode, user) for mode, user, _group, path in folders if path.startswith(f"{folder}/")]
            assert len(files) >= 2
            assert set(files) == {("600", f"dcta-{name}-{replica}")}


def test_each_replica_is_a_user_of_its_own(world: World, node: Node) -> None:
    replicas = [f"dcta-api-{replica}@{name}.service" for name in world.lanes(node.name) for replica in REPLICAS]
    processes = [show(world, node, unit, "MainPID") for unit in replicas]
    users = [world.root_text(node.name, "stat", "--format=%u", f"/proc/{process}") for process in processes]
    assert len(set(users)) == len(replicas)
    assert all(61184 <= int(user) <= 65519 for user in users)


def test_a_lane_reads_its_own_folder_and_nothing_else_that_is_secret(world: World, node: Node) -> None:
    replicas = [(name, replica) for name in world.lanes(node.name) for replica in REPLICAS]
    (name, replica), *others = replicas
    process = show(world, node, f"dcta-api-{replica}@{name}.service", "MainPID")
    user = world.root_text(node.name, "stat", "--format=%u", f"/proc/{process}")

    def readable(*paths: str) -> list[str]:
        # In the unit's own view of the files, as its own user.
        view = [
            "nsenter",
            f"--target={process}",
            "--mount",
            "setpriv",
            f"--reuid={user}",
            f"--regid={user}",
            "--clear-groups",
        ]
        done = world.root_run(node.name, *view, "sha256sum", *paths, check=False)
        return [line.split()[1] for line in done.stdout.decode().splitlines()]

    own = [f"/var/lib/dcta-api/{name}-{replica}/{file}" for file in ("access_tokens.json", ".env")]
    own.append(f"/run/credentials/dcta-api-{replica}@{name}.service/lane")
    assert readable(*own) == own
    foreign = [
        "/etc/dcta/credentials/accounts.json",
        "/etc/dcta/credentials/admin_key",
        "/etc/dcta/gateway/api_keys.conf",
        "/etc/dcta/gateway/tls.key",
        "/etc/shadow",
        *(f"/run/dcta-lanes/{lane}.json" for lane in world.lanes(node.name)),
        *(f"/var/lib/dcta/tokens/{lane}.json" for lane in world.lanes(node.name)),
        *(
            f"/var/lib/dcta-api/{lane}-{twin}/{file}"
            for lane, twin in others
            for file in ("access_tokens.json", ".env")
        ),
        *(f"/var/lib/private/dcta-api/{lane}-{twin}/.env" for lane, twin in others),
        *(f"/run/credentials/dcta-api-{twin}@{lane}.service/lane" for lane, twin in others),
    ]
    for path in foreign:
        # The file is there, so the refusal is about rights.
        world.root_run(node.name, "test", "-s", path)
    assert readable(*foreign) == []


def test_the_gateway_reads_its_key_and_no_account(world: World, node: Node) -> None:
    process = show(world, node, "dcta-gateway.service", "MainPID")
    view = [
        "nsenter",
        f"--target={process}",
        "--mount",
        "setpriv",
        "--reuid=dcta-gateway",
        "--regid=dcta-gateway",
        "--clear-groups",
    ]

    def readable(*paths: str) -> list[str]:
        done = world.root_run(node.name, *view, "sha256sum", *paths, check=False)
        return [line.split()[1] for line in done.stdout.decode().splitlines()]

    assert readable("/etc/dcta/gateway/api_keys.conf") == ["/etc/dcta/gateway/api_keys.conf"]
    lanes = world.lanes(node.name)
    accounts = [f"/var/lib/dcta/tokens/{lane}.json" for lane in lanes] + [
        f"/run/dcta-lanes/{lane}.json" for lane in lanes
    ]
    assert readable("/etc/dcta/credentials/accounts.json", "/etc/dcta/credentials/admin_key", *accounts) == []


def active(world: World, node: Node, lane: str) -> list[str]:
    """Return the states of a lane's replicas."""
    return [show(world, node, f"dcta-api-{replica}@{lane}.service", "ActiveState") for replica in REPLICAS]


@pytest.fixture
def _restored_lanes(world: World, node: Node) -> Iterator[None]:
    world.stop_agent(node.name)
    yield
    world.start_agent(node.name)
    names = list(world.lanes(node.name))
    run = world.module(node.name, "dcta.fleet.lanes", {"names": names})
    assert run.status == 0, run.tail
    assert {state for name in names for state in active(world, node, name)} == {"active"}


@pytest.mark.usefixtures("_restored_lanes")
def test_a_lane_without_a_token_does_not_run(world: World, node: Node, lane: tuple[str, str]) -> None:
    name = lane[0]
    replicas = [f"dcta-api-{replica}@{name}.service" for replica in REPLICAS]
    assert active(world, node, name) == ["active", "active"]
    world.root_run(node.name, "systemctl", "restart", *replicas)
    assert active(world, node, name) == ["active", "active"]
    world.root_run(node.name, "rm", f"/run/dcta-lanes/{name}.json")
    world.root_run(node.name, "systemctl", "restart", *replicas, check=False)
    assert active(world, node, name) == ["inactive", "inactive"]
    assert {show(world, node, unit, "ConditionResult") for unit in replicas} == {"no"}


def test_other_local_users_cannot_use_a_lane(world: World, node: Node, lane: tuple[str, str]) -> None:
    for port in REPLICAS.values():
        assert world.root_text(node.name, "python3", "-c", CONNECT, lane[1], str(port)) == "connected"
        assert as_nobody(world, node, CONNECT, lane[1], str(port)) == "ConnectionRefusedError"


def test_other_local_users_cannot_answer_in_place_of_a_stopped_replica(
    world: World, node: Node, lane: tuple[str, str], host: Host
) -> None:
    name, address = lane

    def answered(port: int) -> str:
        # Listens as nobody in the background, then connects as root.
        script = (
            f'runuser -u nobody -- python3 -c "$0" {address} {port} > "$2" & '
            f'while ! grep -q listening "$2"; do sleep 0.05; done; python3 -c "$1" {address} {port}; '
            'kill %1; wait; rm "$2"'
        )
        file = world.root_text(node.name, "mktemp")
        return world.root_text(node.name, "bash", "-mc", script, ANSWER, CONNECT, file)

    assert answered(9081) == "connected"
    unit = f"dcta-api-b@{name}.service"
    world.root_run(node.name, "systemctl", "stop", unit)
    try:
        assert answered(REPLICAS["b"]) == "TimeoutError"
        with world.client(node) as client:
            client.chat.completions.create(model="gpt-3.5-turbo", messages=[{"role": "user", "content": "hello"}])
    finally:
        world.root_run(node.name, "systemctl", "start", unit)
    assert host.service(unit).is_running


def test_other_local_users_cannot_ask_the_lane_runner(world: World, node: Node, lane: tuple[str, str]) -> None:
    name = lane[0]
    allowed: dict[str, Any] = json.loads(world.root_text(node.name, "python3", "-c", ASK, name))
    assert allowed["ok"]
    assert as_nobody(world, node, ASK, name) == "PermissionError"


def test_nobody_gets_more_rights_by_the_collection(world: World, node: Node) -> None:
    privileged = world.root_text(
        node.name, "find", "/usr/local/lib/dcta", "/opt/dcta", "/etc/dcta", "-type", "f", "-perm", "/6000"
    )
    assert privileged == ""
    assert (
        world.root_run(
            node.name,
            "grep",
            "--recursive",
            "--files-with-matches",
            "dcta",
            "/etc/sudoers",
            "/etc/sudoers.d",
            check=False,
        ).stdout
        == b""
    )
    for user in ("dcta-agent", "dcta-gateway"):
        assert world.root_text(node.name, "id", "--name", "--groups", user) == user
