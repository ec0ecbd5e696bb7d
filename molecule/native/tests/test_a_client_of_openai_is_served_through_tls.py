# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of OpenAI needs another base URL and key, and nothing else: answers, streams, errors are what it knows."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import openai
import pytest
from fleet_world import ANSWER_SECONDS, Node, World
from openai.types.chat import ChatCompletionMessageParam

MODEL = "gpt-3.5-turbo"
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello"}]
BODY_LIMIT = 32 * 1024 * 1024
LOG = "/var/log/dcta/authentication.log"


def ask(world: World, node: Node, **options: Any) -> httpx.Response:
    """Ask for a completion without the help of a client library.

    Args:
        world: the world.
        node: the node to ask.
        options: what differs from a good request, as httpx names it.

    Returns:
        The answer.
    """
    request = {
        "method": "POST",
        "url": f"{node.url}/chat/completions",
        "headers": {"Authorization": f"Bearer {world.api_key}"},
        "json": {"model": MODEL, "messages": QUESTION},
        **options,
    }
    with world.browser() as browser:
        return browser.request(**request)


def assert_error(answer: httpx.Response, status: int) -> None:
    """Hold an answer against the form of OpenAI's errors and what a browser needs to read it."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["X-Request-Id"]
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"]


def log_lines(world: World, node: Node, requests: list[str]) -> list[str]:
    """Return the access log once it holds some requests; a line is written after its answer was sent."""
    until = time.monotonic() + ANSWER_SECONDS
    while True:
        lines = world.root_text(node.name, "cat", LOG).splitlines()
        wanted = [line for request in requests for line in lines if f'"{request}"' in line]
        if len(wanted) == len(requests):
            return [*lines, *wanted]
        assert time.monotonic() < until, "the access log misses a request"


def test_a_completion_is_answered(node: Node, world: World) -> None:
    with world.client(node) as client:
        completion = client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert completion.choices[0].message.content == "You said: Say hello"


def test_a_stream_arrives_piece_by_piece(node: Node, world: World) -> None:
    prompt: list[ChatCompletionMessageParam] = [{"role": "user", "content": "repeat 5 every 0.1: word"}]
    with (
        world.client(node) as client,
        client.chat.completions.create(model=MODEL, messages=prompt, stream=True) as stream,
    ):
        pieces = [
            chunk.choices[0].delta.content for chunk in stream if chunk.choices and chunk.choices[0].delta.content
        ]
    assert len(pieces) >= 5
    assert [number for number in range(1, 6) if f"word {number}" in "".join(pieces)] == [1, 2, 3, 4, 5]


def test_the_models_are_listed(node: Node, world: World) -> None:
    with world.client(node) as client:
        assert MODEL in [model.id for model in client.models.list()]


def test_a_wrong_key_is_an_authentication_error(node: Node, world: World) -> None:
    with world.client(node, key="x" * 48) as client, pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert caught.value.code == "invalid_api_key"
    assert_error(ask(world, node, headers={"Authorization": f"Bearer {'x' * 48}"}), 401)


def test_an_unknown_path_is_a_not_found_error(node: Node, world: World) -> None:
    root = node.url.removesuffix("/v1")
    with world.client(node, base_url=root) as client, pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert caught.value.code == "unknown_url"
    assert_error(ask(world, node, url=node.url.replace("/v1", "/nowhere")), 404)


def test_a_path_that_the_program_does_not_know_is_a_not_found_error_too(node: Node, world: World) -> None:
    answer = ask(world, node, url=f"{node.url}/nowhere")
    assert answer.status_code == 404
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_what_the_program_has_not_is_refused_by_name(node: Node, world: World) -> None:
    answer = ask(world, node, url=f"{node.url}/audio/speech")
    assert_error(answer, 404)
    assert answer.json()["error"]["code"] == "unsupported_endpoint"
    assert "/v1/audio/" in answer.json()["error"]["message"]


def test_a_body_that_is_no_json_is_a_bad_request(node: Node, world: World) -> None:
    answer = ask(world, node, json=None, content=b"{", method="POST")
    assert answer.status_code == 400
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert json.loads(answer.content)["error"]


def test_a_body_above_the_limit_is_too_large(node: Node, world: World) -> None:
    answer = ask(world, node, json=None, content=b" " * (BODY_LIMIT + 1))
    assert_error(answer, 413)


def test_plain_http_on_the_port_of_https_is_told_so(node: Node) -> None:
    answer = httpx.get(f"http://{node.address}:{node.port}/v1/models", trust_env=False)
    assert_error(answer, 400)
    assert answer.json()["error"]["code"] == "tls_required"


def test_a_browser_asks_first_without_a_key_and_may_then_read_every_answer(node: Node, world: World) -> None:
    preflight = {"Origin": "https://chat.example.org", "Access-Control-Request-Method": "POST"}
    answer = ask(world, node, method="OPTIONS", headers=preflight, json=None)
    assert answer.status_code == 204
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    completion = ask(world, node)
    assert completion.status_code == 200
    for name in ("Access-Control-Allow-Origin", "X-Request-Id"):
        assert len(completion.headers.get_list(name)) == 1


def test_the_access_log_names_key_and_account_and_holds_neither_key_nor_address(node: Node, world: World) -> None:
    answers = [
        ask(world, node),
        ask(world, node, headers={"Authorization": "Bearer wrong"}),
    ]
    lines = log_lines(world, node, [answer.headers["X-Request-Id"] for answer in answers])
    served, refused = lines[-2:]
    accounts = world.lanes(node.name)
    assert json.loads(served)["key"] == world.vault["dcta_api_keys"][0]["name"]
    assert json.loads(served)["account"] in accounts
    assert json.loads(served)["status"] == 200
    assert (json.loads(refused)["key"], json.loads(refused)["account"], json.loads(refused)["status"]) == ("", "", 401)
    secrets = [world.api_key, *(world.email(account) for account in accounts)]
    held = [number for number, secret in enumerate(secrets) if secret in "".join(lines)]
    assert held == []


def test_the_request_id_is_the_gateways_own(node: Node, world: World) -> None:
    headers = {"Authorization": f"Bearer {world.api_key}", "X-Request-Id": "of-the-client"}
    first, second = (ask(world, node, headers=headers).headers["X-Request-Id"] for _ in range(2))
    assert "of-the-client" not in {first, second}
    assert first != second


def test_the_key_never_reaches_the_program(node: Node, world: World) -> None:
    answer = ask(world, node)
    assert answer.status_code == 200
    # What the program says it got.
    assert answer.headers["X-Stand-In-Authorization"] == "absent"
