# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A replica's program in a container: it is started, waited for and ended with the unit that stands for it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NoReturn

from lanes import Lane, LaneError, program_environment
from node_paths import LANES

DOCKER = "/usr/bin/docker"
DOCKER_SOCKET = "/run/docker.sock"
DOCKER_RETRY_SECONDS = 0.2
STATE_DIRECTORY = Path("/var/lib/private/dcta-api")
CONTAINER_DIRECTORY = "/state"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# Above the 60 s for which the program finishes its streams, below the stop limit of the unit.
CONTAINER_STOP_SECONDS = 65


class StopRequested(Exception):
    """The service manager wants the replica to end."""


class EngineConnection(HTTPConnection):
    """A connection to the container engine's socket."""

    def connect(self) -> None:
        """Connect; whoever made it closes it, also when this fails."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(DOCKER_SOCKET)


def container_name(lane: Lane, replica: str) -> str:
    """Return the name of a replica's container."""
    return f"dcta-api-{replica}-{lane.name}"


def container_command(lane: Lane, replica: str, user: int, group: int) -> list[str]:
    """Return the command that starts a replica's container.

    Args:
        lane: the lane; its profile says which image and how much memory and how many processes the container gets.
        replica: ``a`` or ``b``.
        user: the id of the replica's own user.
        group: the id of its group.
    """
    container = lane.profile["container"]
    hosts = lane.profile.get("hosts_file")
    state = STATE_DIRECTORY / f"{lane.name}-{replica}"
    environment = program_environment(lane, replica, CONTAINER_DIRECTORY)
    return [
        # Interactive, so that its input never ends: at the end the program would ask a person again without a pause.
        *(DOCKER, "run", "--detach", "--interactive", "--pull=never", f"--name={container_name(lane, replica)}"),
        *(f"--user={user}:{group}", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only", "--ipc=none"),
        *(f"--memory={container['memory']}", f"--pids-limit={container['pids']}", "--network=host"),
        f"--mount=type=bind,source={state},target={CONTAINER_DIRECTORY}",
        f"--mount=type=bind,source={CERTIFICATES},target={CERTIFICATES},readonly",
        *([f"--mount=type=bind,source={hosts},target=/etc/hosts,readonly"] if hosts else []),
        f"--workdir={CONTAINER_DIRECTORY}",
        *(f"--env={name}={value}" for name, value in environment.items()),
        # With this field journalctl counts what the program writes as the unit's (systemd.journal-fields(7)).
        *(
            "--log-driver=journald",
            f"--log-opt=tag={container_name(lane, replica)}",
            "--log-opt=labels=object_systemd_unit",
        ),
        f"--label=object_systemd_unit=dcta-api-{replica}@{lane.name}.service",
        f"--label=dcta.lane={lane.name}",
        container["image"],
    ]


def ask_engine(method: str, path: str) -> tuple[int, dict[str, Any]]:
    """Ask the container engine.

    Args:
        method: the HTTP method.
        path: the target.

    Returns:
        The status and the JSON object of the answer, which may be empty.

    Raises:
        OSError: the engine does not answer, or goes away before it has answered.
    """
    with closing(EngineConnection("docker")) as connection:
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if body else {}
        except (HTTPException, ValueError):
            raise ConnectionResetError("the container engine broke off its answer") from None


def wait_for_container(name: str) -> int:
    """Return a container's exit status as soon as it ends; a restart of the engine meanwhile makes no difference.

    Args:
        name: the container.

    Raises:
        LaneError: there is no such container any more.
    """
    while True:
        try:
            status, answer = ask_engine("POST", f"/containers/{name}/wait")
        except OSError:
            status, answer = 0, {}
        if status == 404:
            raise LaneError(f"the container {name} was removed by somebody else: let the lane runner stop lanes")
        # The engine answers as soon as it is asked, and says how the container ended only when it has.
        if "StatusCode" in answer and not answer.get("Error"):
            return int(answer["StatusCode"])
        time.sleep(DOCKER_RETRY_SECONDS)


def stop_container(name: str) -> None:
    """Let a container end its streams, also one that was halted; return when it has ended."""
    while True:
        try:
            # What systemd and the lane runner signal is this process, and the program could not end while it is halted.
            ask_engine("POST", f"/containers/{name}/kill?signal=CONT")
            ask_engine("POST", f"/containers/{name}/stop?t={CONTAINER_STOP_SECONDS}")
        except OSError:
            time.sleep(DOCKER_RETRY_SECONDS)
        else:
            return


def remove_container(name: str) -> None:
    """Remove a container, and end it before if it runs; none is fine.

    Args:
        name: the container.

    Raises:
        LaneError: the engine does not answer.
    """
    try:
        ask_engine("DELETE", f"/containers/{name}?force=1")
    except OSError as error:
        raise LaneError("the container engine does not answer: see systemctl status docker") from error


def contain(lane: Lane, replica: str) -> int:
    """Run a replica's container; SIGTERM ends it gracefully.

    Args:
        lane: the lane.
        replica: ``a`` or ``b``.

    Returns:
        The container's exit status.

    Raises:
        LaneError: the container cannot be run.
    """

    def request_stop(_number: int, _frame: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise StopRequested

    if not lane.profile.get("container"):
        raise LaneError(f"{LANES} describes no container: run the playbook deploy again")
    name = container_name(lane, replica)
    owner = (STATE_DIRECTORY / f"{lane.name}-{replica}").stat()
    # What a death of this process or of the machine may have left.
    remove_container(name)
    signal.signal(signal.SIGTERM, request_stop)
    try:
        command = container_command(lane, replica, owner.st_uid, owner.st_gid)
        environment = {"PATH": "/usr/bin:/bin", "DOCKER_CONFIG": "/nonexistent"}
        if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode:
            raise LaneError("the container cannot be started: the lines above say why")
        return wait_for_container(name)
    except StopRequested:
        stop_container(name)
        # Here as well, since the unit may be another one by now that knows nothing of containers.
        remove_container(name)
        return 0
