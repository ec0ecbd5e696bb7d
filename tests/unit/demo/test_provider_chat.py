# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-in chat back end answers."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import typing

import aiohttp
import pytest

from .standins import ALICE, Answer, StandIns


def _token(standins: StandIns) -> str:
    return str(standins.control("/issue", email=ALICE)["access_token"])


def _events(answer: Answer) -> list[typing.Any]:
    lines = answer.text.strip().split("\n\n")
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def _texts(answer: Answer) -> list[str]:
    messages = [event["message"] for event in _events(answer)]
    return [message["content"]["parts"][0] for message in messages if message["author"]["role"] == "assistant"]


def test_each_event_holds_the_text_so_far(standins: StandIns) -> None:
    answer = standins.chat(_token(standins), "Good day, ünïcode")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert _texts(answer) == ["", "You said: ", "You said: Good day, ünïcode", "You said: Good day, ünïcode"]
    last = _events(answer)[-1]
    assert last["message"]["metadata"]["finish_details"]["type"] == "stop"
    assert last["message"]["end_turn"] is None
    assert last["error"] is None


def test_an_answer_begins_with_an_empty_piece_of_its_own_message(standins: StandIns) -> None:
    token = _token(standins)
    standins.switch(max_tokens=1)
    first = standins.chat(token, "repeat 4: ab")
    conversation = _events(first)[-1]["conversation_id"]
    second = standins.chat(token, action="continue", messages=None, conversation_id=conversation)
    for answer in (first, second):
        preamble, opening, *others = (event["message"] for event in _events(answer))
        assert preamble["author"]["role"] == "system"
        assert (opening["author"]["role"], opening["content"]["parts"]) == ("assistant", [""])
        assert opening["metadata"]["finish_details"] is None
        assert {message["id"] for message in others} == {opening["id"]} != {preamble["id"]}


def test_a_prompt_can_ask_for_many_pieces_with_pauses(standins: StandIns) -> None:
    token = _token(standins)
    start = time.monotonic()
    assert _texts(standins.chat(token, "repeat 3 every 0.1: ab"))[-1] == "ab 1; ab 2; ab 3;"
    assert time.monotonic() - start >= 0.2
    standins.switch(ALICE, piece_delay=0.1)
    start = time.monotonic()
    assert len(_texts(standins.chat(token, "repeat 4: ab"))) == 6
    assert time.monotonic() - start >= 0.3


@pytest.mark.parametrize("prompt", ["You said: You said: x", "a You said: ", "", "x" * 5_000_000])
def test_no_beginning_of_an_answer_comes_again_in_it(standins: StandIns, prompt: str) -> None:
    texts = _texts(standins.chat(_token(standins), prompt))
    assert texts[-1] == "You said: " + prompt
    for before, after in itertools.pairwise(texts):
        assert after.startswith(before)
        assert not before or after.count(before) == 1


def test_the_last_message_of_the_user_is_answered(standins: StandIns) -> None:
    messages = [
        {"author": {"role": role}, "content": {"content_type": "text", "parts": [text]}}
        for role, text in (("critic", "a"), ("user", "b"), ("assistant", "c"), ("user", "d"))
    ]
    assert _texts(standins.chat(_token(standins), messages=messages))[-1] == "You said: d"


def test_a_token_is_needed_and_counted(standins: StandIns) -> None:
    token = _token(standins)
    assert standins.chat(token).status == 200
    assert standins.chat(token).status == 200
    assert standins.chat("").status == 401
    assert standins.chat("foreign").status == 401
    standins.switch(anonymous_chat=True)
    assert standins.chat("").status == 200
    accounts = standins.statistics()["accounts"]
    assert accounts[ALICE]["chat"] == {"200": 2}
    assert len(accounts[ALICE]["tokens_seen"]) == 1
    assert accounts["anonymous"]["chat"] == {"200": 1, "401": 1}
    assert accounts["unknown"]["chat"] == {"401": 1}


def test_an_answer_cut_for_length_goes_on_when_asked(standins: StandIns) -> None:
    token = _token(standins)
    standins.switch(max_tokens=1)
    first = standins.chat(token, "repeat 4: ab")
    last = _events(first)[-1]
    assert last["message"]["metadata"]["finish_details"]["type"] == "max_tokens"
    second = standins.chat(token, action="continue", messages=None, conversation_id=last["conversation_id"])
    assert _texts(first)[-1] + _texts(second)[-1] == "ab 1; ab 2; ab 3; ab 4;"
    assert _events(second)[-1]["message"]["metadata"]["finish_details"]["type"] == "stop"


def test_faults_of_the_back_end_are_per_account(standins: StandIns) -> None:
    token = _token(standins)
    standins.switch(ALICE, chat_answer={"kind": "rate_limit", "retry_after": 9})
    answer = standins.chat(token)
    assert (answer.status, answer.headers["Retry-After"], set(answer.json)) == (429, "9", {"detail"})
    assert standins.chat("carols.access.token").status == 200
    standins.switch(ALICE, chat_answer="bot_wall")
    answer = standins.chat(token)
    assert (answer.status, answer.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
    standins.switch(ALICE, chat_answer="server_error")
    assert standins.chat(token).status == 500
    standins.switch(ALICE, chat_answer=None, chat_delay=0.3)
    start = time.monotonic()
    assert standins.chat(token).status == 200
    assert time.monotonic() - start >= 0.3


def test_a_body_without_a_message_is_refused(standins: StandIns) -> None:
    assert standins.chat(_token(standins), messages=[]).status == 422
    assert standins.chat(_token(standins), messages=[{"author": "user"}]).status == 422


def test_three_hundred_streams_at_once_are_answered_side_by_side(standins: StandIns) -> None:
    token = _token(standins)
    message = {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["repeat 3 every 0.5: ab"]}}

    async def one(session: aiohttp.ClientSession) -> bool:
        async with session.post(standins.chat_url, json={"messages": [message]}) as answer:
            return answer.status == 200 and "ab 3;" in await answer.text()

    async def many() -> list[bool]:
        connector = aiohttp.TCPConnector(limit=300)
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            return await asyncio.gather(*(one(session) for _ignored in range(300)))

    start = time.monotonic()
    assert all(asyncio.run(many()))
    assert time.monotonic() - start < 12
