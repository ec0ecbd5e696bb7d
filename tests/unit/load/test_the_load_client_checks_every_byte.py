# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load client counts every answer that is not right in every byte as failed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from dcta_load import Load, Question, Result

from .gateways import KEY, Program, gateway, make_certificate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("tls")
    make_certificate(found)
    return found


def ask(folder: Path, program: Program, *, stream: bool) -> Result:
    async def play() -> Result:
        async with gateway(folder, program.serve) as target:
            return await Load(target, [], answer_seconds=5).burst([Question("word", stream=stream)])

    return asyncio.run(play())


@pytest.mark.parametrize("stream", [False, True])
def test_a_right_answer_counts(folder: Path, stream: bool) -> None:
    result = ask(folder, Program(), stream=stream)
    assert (result.sent, result.ok, result.failed, result.streams) == (1, 1, 0, stream), result


@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_byte_is_noticed(folder: Path, stream: bool) -> None:
    result = ask(folder, Program(lambda body: body.replace(b"word", b"ward")), stream=stream)
    assert result.failed == 1
    assert "differs at byte" in result.reasons[0]


def test_a_stream_without_its_end_is_noticed(folder: Path) -> None:
    result = ask(folder, Program(lambda body: body.removesuffix(b"data: [DONE]\n\n")), stream=True)
    assert "without [DONE]" in result.reasons[0]


def test_an_event_that_comes_twice_is_noticed(folder: Path) -> None:
    result = ask(folder, Program(lambda body: body[: body.index(b"\n\n") + 2] + body), stream=True)
    assert "differs at byte" in result.reasons[0]


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_answer_is_noticed(folder: Path, stream: bool) -> None:
    result = ask(folder, Program(cut=50), stream=stream)
    assert "inside an answer" in result.reasons[0]


def test_a_silent_server_is_a_failure_in_time(folder: Path) -> None:
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1)
        writer.close()

    async def play() -> Result:
        async with gateway(folder, silent) as target:
            return await Load(target, [], answer_seconds=0.3).burst([Question("word")])

    result = asyncio.run(play())
    assert result.failed == 1
    assert result.took < 1


def test_reasons_are_few_and_hold_no_key(folder: Path) -> None:
    async def play() -> Result:
        async with gateway(folder, Program(closes=1).serve) as target:
            assert KEY not in repr(target)
            return await Load(target, []).burst([Question(f"w{number}") for number in range(20)])

    result = asyncio.run(play())
    assert result.failed == 20
    assert len(result.reasons) == 5
    assert KEY not in str(result)


def test_a_target_is_sent_as_it_is(folder: Path) -> None:
    program = Program()
    targets = ["/v1/chat/completions?", "/v1/chat%2Fcompletions", "/v1/x/../chat/%0a?q=a/../b"]

    async def play() -> Result:
        async with gateway(folder, program.serve) as target:
            return await Load(target, []).burst([Question("word", target=each) for each in targets])

    result = asyncio.run(play())
    assert result.ok == 3, result
    assert sorted(program.targets) == sorted(targets)
