# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the lane runner, the only program that starts and stops lanes."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from .accounts.node_paths import LANE_RUNNER_SOCKET, REPLICAS

# Two replicas may each finish streams for 70 s before they start again.
ANSWER_SECONDS = 300.0


class LaneRunnerError(Exception):
    """One sentence: what the lane runner refused, or why it could not be asked."""


class LaneRunner:
    """Ask the lane runner, one connection a request.

    Args:
        path: its socket.
        timeout: how long an answer may take, in seconds.
    """

    def __init__(self, path: str = LANE_RUNNER_SOCKET, timeout: float = ANSWER_SECONDS) -> None:
        self._path = path
        self._timeout = timeout

    def ask(self, operation: str, lane: str, **arguments: str) -> dict[str, Any]:
        """Send one request.

        Args:
            operation: put, start, stop, roll, end, kill or status.
            lane: the lane's name.
            arguments: further fields, for instance the token of ``put``.

        Returns:
            The answer without its field ``ok``.

        Raises:
            LaneRunnerError: the runner refuses or cannot be reached.
        """
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self._timeout)
                connection.connect(self._path)
                connection.sendall(write_request(operation, lane, **arguments))
                with connection.makefile("rb") as answers:
                    line = answers.readline()
        except OSError as error:
            raise unreachable(error) from None
        return read_answer(line, operation)


def lanes_in(folder: str) -> set[str]:
    """Return the lanes that may run: a token lies there for them, or they were started and their stop has not ended.

    Args:
        folder: where the lane runner keeps what the lanes are started with.
    """
    tokens = {path.stem for path in Path(folder).glob("*.json")}
    return tokens | {path.stem.rpartition("-")[0] for path in Path(folder).glob("*-[ab].generation")}


def write_request(operation: str, lane: str, **arguments: str) -> bytes:
    """Return the line that is sent; for the arguments see `LaneRunner.ask`."""
    return json.dumps({"operation": operation, "lane": lane, **arguments}).encode() + b"\n"


def read_answer(line: bytes, operation: str) -> dict[str, Any]:
    """Read the line that comes back.

    Args:
        line: all that came.
        operation: what was asked; of a status everything is there.

    Returns:
        The answer without its field ``ok``.

    Raises:
        LaneRunnerError: the runner refused, broke off, or said something else.
    """
    try:
        answer: dict[str, Any] = json.loads(line)
        good = answer.pop("ok")
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        raise LaneRunnerError("the lane runner broke off its answer: see journalctl -u 'dcta-lanes@*'") from None
    if not good:
        raise LaneRunnerError(str(answer.get("error")))
    if operation == "status" and not _is_status(answer):
        raise LaneRunnerError("the lane runner's answer does not have the expected form: run the playbook deploy again")
    return answer


def _is_status(answer: dict[str, Any]) -> bool:
    replicas = answer.get("replicas")
    return (
        isinstance(answer.get("token"), str)
        and isinstance(replicas, dict)
        and set(replicas) == set(REPLICAS)
        and all(isinstance(replica, dict) and _is_replica(replica) for replica in replicas.values())
    )


def _is_replica(state: dict[str, Any]) -> bool:
    words = all(isinstance(state.get(word), bool) for word in ("active", "starting", "current"))
    return words and isinstance(state.get("started_at", ""), int | float | None)


def unreachable(error: OSError) -> LaneRunnerError:
    """Return what is raised when the runner gave no answer.

    Args:
        error: why.
    """
    reason = error.strerror or type(error).__name__
    return LaneRunnerError(f"the lane runner does not answer ({reason}): see systemctl status dcta-lanes.socket")
