# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load client asks each question once, on HTTP/2 unless the server says that it never processed it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from dcta_load import Clients, Load, Question, Result

from .gateways import Http2Program, Program, gateway, make_certificate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("tls")
    make_certificate(found)
    return found


def burst(folder: Path, program: Http2Program, count: int, padding: int = 0) -> Result:
    async def play() -> Result:
        async with gateway(folder, program.serve, "h2") as target:
            asked = [Question(f"w{number}", stream=number % 2 == 1, padding=padding) for number in range(count)]
            return await Load(target, [], answer_seconds=10).burst(asked, "h2")

    return asyncio.run(play())


def load(folder: Path, program: Program, *, requests: int, pause: float = 0.0) -> Result:
    async def play() -> Result:
        async with gateway(folder, program.serve) as target:
            return await Load(target, [Clients(count=4, pause=pause)], requests=requests, seconds=20).run()

    return asyncio.run(play())


def test_a_request_whose_connection_is_closed_is_not_sent_again(folder: Path) -> None:
    program = Program(closes=1)
    result = load(folder, program, requests=40)
    assert (result.sent, result.ok, result.failed) == (40, 0, 40)
    assert len(program.words) == len(set(program.words)) == 40


def test_a_request_on_a_used_connection_is_not_sent_again_either(folder: Path) -> None:
    program = Program(closes=3)
    result = load(folder, program, requests=3 * 10)
    assert result.failed == 10
    assert len(program.words) == len(set(program.words)) == 30


def test_a_connection_closed_while_idle_costs_no_request(folder: Path) -> None:
    program = Program(idles=0.05)
    result = load(folder, program, requests=12, pause=0.2)
    assert (result.ok, result.failed, result.connections) == (12, 0, 12)


def test_a_connection_is_kept_until_the_server_ends_it(folder: Path) -> None:
    assert load(folder, Program(), requests=40).connections == 4
    assert load(folder, Program(says_close=True), requests=40).connections == 40


def test_only_what_goaway_leaves_out_is_sent_again_on_http2(folder: Path) -> None:
    program = Http2Program(away_after=4, expected=10)
    result = burst(folder, program, 10)
    assert (result.sent, result.ok, result.failed, result.repeated_after_goaway) == (10, 10, 0, 6), result
    first, *others = program.arrived
    assert len(first) == 10
    assert sorted(word for seen in others for word in seen) == sorted(first[4:])


def test_a_reset_stream_is_a_failure_and_not_sent_again(folder: Path) -> None:
    program = Http2Program(resets=True)
    result = burst(folder, program, 5)
    assert (result.failed, result.repeated_after_goaway) == (5, 0)
    assert sum(len(seen) for seen in program.arrived) == 5


def test_bodies_above_the_flow_control_window_arrive_whole_on_http2(folder: Path) -> None:
    result = burst(folder, Http2Program(), 3, padding=300_000)
    assert result.ok == 3, result
