# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's socket: small HTTP, one question a connection, nothing that a client of the gateway could break."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from dcta_agent.config import HoldLimits
from dcta_agent.hold import Hold
from dcta_agent.lane import Lane
from dcta_agent.server import serve

QUESTION = b"GET /v1/chat/completions HTTP/1.1\r\nX-Upstream-Addr: 127.64.0.1:8081\r\nX-Upstream-Status: 401\r\n"


def hold_of(*lanes: Lane) -> Hold:
    return Hold(
        lanes,
        HoldLimits(),
        on_rejected=lambda _lane: None,
        on_rest=lambda _lane: None,
        on_down=lambda _lane: None,
    )


def good_lane() -> Lane:
    return Lane("bob", "127.64.0.2", {"a": 8081, "b": 8082}, token="fp", up={"a": True}, busy=False)


def talk(folder: Path, hold: Hold, request: bytes) -> bytes:
    """Return all that the agent says to a request."""

    async def run() -> bytes:
        path = str(folder / "agent.sock")
        server = await asyncio.start_unix_server(lambda reader, writer: serve(hold, reader, writer), path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        server.close()
        await asyncio.sleep(0.01)
        return answer

    return asyncio.run(run())


def test_a_question_gets_the_lane_in_headers_and_no_body(tmp_path: Path) -> None:
    answer = talk(tmp_path, hold_of(good_lane()), QUESTION + b"X-Upstream-Header-Time: 0.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nX-Accel-Redirect: @retry\r\nX-Lane: lane_bob\r\n\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_an_end_carries_its_length_its_type_and_when_to_come_back(tmp_path: Path) -> None:
    head, _ignored, body = talk(tmp_path, hold_of(), QUESTION + b"\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Content-Type: application/json" in head
    assert b"Retry-After: 10" in head


def test_a_node_with_a_good_lane_is_ready_and_names_no_account(tmp_path: Path) -> None:
    answer = talk(tmp_path, hold_of(good_lane()), b"GET /ready HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'\r\n\r\n{"status": "ready"}')
    assert b"bob" not in answer


@pytest.mark.parametrize("target", [b"/ready", b"/ready?from=balancer"])
def test_a_node_without_a_good_lane_says_when_to_ask_again(tmp_path: Path, target: bytes) -> None:
    lane = good_lane()
    lane.resting_until = time.time() + 45
    answer = talk(tmp_path, hold_of(lane), b"GET " + target + b" HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 45\r\n" in answer
    assert answer.endswith(b'\r\n\r\n{"status": "not ready"}')
    assert b"bob" not in answer


def test_readiness_waits_a_moment_for_the_renewal_of_the_last_account(tmp_path: Path) -> None:
    class Renewed(Lane):
        def is_good(self, now: float) -> bool:
            self.chosen += 1
            return self.chosen > 3

    lane = Renewed("bob", "127.64.0.2", {"a": 8081}, busy=True)
    assert talk(tmp_path, hold_of(lane), b"GET /ready HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_readiness_does_not_wait_for_longer_than_a_load_balancer(tmp_path: Path) -> None:
    started = time.monotonic()
    lane = Lane("bob", "127.64.0.2", {"a": 8081}, busy=True)
    assert talk(tmp_path, hold_of(lane), b"GET /ready HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 503 ")
    assert 1 <= time.monotonic() - started < 4


def test_a_node_that_only_the_operator_can_help_is_not_ready(tmp_path: Path) -> None:
    lane = Lane("bob", "127.64.0.2", {"a": 8081}, busy=False, next_attempt=None)
    answer = talk(tmp_path, hold_of(lane), b"GET /ready HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 10\r\n" in answer


@pytest.mark.parametrize("target", [b"/v1/ready", b"/READY", b"/ready/", b"/v1/../ready", b"ready"])
def test_no_other_target_asks_for_readiness(tmp_path: Path, target: bytes) -> None:
    assert b"status" not in talk(tmp_path, hold_of(good_lane()), b"GET " + target + b" HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize(
    "request_bytes",
    [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"\0" * 200_000, b"X: y\r\n" * 300],
)
def test_what_is_no_question_ends_without_an_answer(tmp_path: Path, request_bytes: bytes) -> None:
    assert talk(tmp_path, hold_of(good_lane()), request_bytes) == b""


def test_a_real_502_of_the_program_is_answered_with_a_status_that_clients_know(tmp_path: Path) -> None:
    request = b"GET / HTTP/1.1\r\nX-Upstream-Addr: 127.64.0.2:8081\r\nX-Upstream-Status: 502\r\n"
    answer = talk(tmp_path, hold_of(good_lane()), request + b"X-Upstream-Header-Time: 0.2\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
