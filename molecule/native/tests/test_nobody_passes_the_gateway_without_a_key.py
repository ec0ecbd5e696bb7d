# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody passes the gateway without a key, and nobody at all reaches the program's own pages.

Each attempt goes over a socket of its own, byte for byte as written here, and the right key passes beside it.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from fleet_world import ANSWER_SECONDS, Node, World

PATH = "/v1/chat/completions"
BODY = json.dumps({"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Say hello"}]}).encode()
# The stand-in for the program sets it on each of its answers.
MARK = "X-Stand-In-Target"


@dataclass(frozen=True)
class Answer:
    """What came back: the status, the program's mark if it was reached, and the body."""

    status: int
    reached: str | None
    body: bytes


def send(world: World, node: Node, headers: list[bytes], *, method: str = "POST", target: str = PATH) -> Answer:
    """Send one request as it stands and read its answer."""
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: node", b"Connection: close", *headers]
    if method != "OPTIONS":
        lines += [b"Content-Type: application/json", f"Content-Length: {len(BODY)}".encode()]
    data = b"\r\n".join(lines) + b"\r\n\r\n" + (BODY if method != "OPTIONS" else b"")
    with (
        socket.create_connection((node.address, node.port), ANSWER_SECONDS) as plain,
        world.trust.wrap_socket(plain, server_hostname=node.address) as connection,
    ):
        connection.sendall(data)
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return Answer(answer.status, answer.getheader(MARK), answer.read())


def bearer(key: str) -> bytes:
    """Return the header that carries a key."""
    return f"Authorization: Bearer {key}".encode()


def assert_the_right_key_passes(world: World, node: Node) -> None:
    """Show that the refusal before was about the key and nothing else."""
    answer = send(world, node, [bearer(world.api_key)])
    assert (answer.status, answer.reached) == (200, PATH)


def shift(key: str) -> str:
    """Return a key with its last character changed."""
    return key[:-1] + ("a" if key[-1] != "a" else "b")


ATTEMPTS: dict[str, Callable[[str], list[bytes]]] = {
    "no-header": lambda _key: [],
    "empty-header": lambda _key: [b"Authorization:"],
    "blank-header": lambda _key: [b"Authorization:  "],
    "dash": lambda _key: [b"Authorization: -"],
    "scheme-alone": lambda _key: [b"Authorization: Bearer"],
    "scheme-and-blank": lambda _key: [b"Authorization: Bearer "],
    "scheme-and-dash": lambda _key: [b"Authorization: Bearer -"],
    "key-without-scheme": lambda key: [f"Authorization: {key}".encode()],
    "basic": lambda key: [f"Authorization: Basic {key}".encode()],
    "name-of-the-key": lambda _key: [bearer("web")],
    "wrong-case": lambda key: [bearer(key.swapcase())],
    "upper-case": lambda key: [bearer(key.upper())],
    "prefix": lambda key: [bearer(key[:-1])],
    "suffix": lambda key: [bearer(key + "x")],
    "last-character": lambda key: [bearer(shift(key))],
    "character-before": lambda key: [bearer("x" + key)],
    "key-after-a-word": lambda key: [bearer(f"x {key}")],
    "key-before-a-word": lambda key: [bearer(f"{key} x")],
    "two-blanks": lambda key: [f"Authorization: Bearer  {key}".encode()],
    "wildcard": lambda _key: [bearer(".*")],
    "access-token": lambda _key: [bearer("eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2ln")],
    "wrong-then-right": lambda key: [bearer("wrong"), bearer(key)],
    "right-then-wrong": lambda key: [bearer(key), bearer("wrong")],
    "folded-line": lambda key: [b"Authorization: Bearer wrong", f" {key}".encode()],
    "newline-and-key": lambda key: [b"Authorization: Bearer wrong\n Bearer " + key.encode()],
    "newline-in-the-key": lambda key: [f"Authorization: Bearer {key[:9]}\n{key[9:]}".encode()],
    "carriage-return": lambda key: [f"Authorization: Bearer wrong\rAuthorization: Bearer {key}".encode()],
    "null-byte": lambda key: [bearer(key) + b"\0"],
    "underscore": lambda key: [f"Proxy_Authorization: Bearer {key}".encode(), b"Proxy-Authorization: Bearer x"],
    "other-header": lambda key: [f"X-Api-Key: {key}".encode(), f"Api-Key: {key}".encode()],
    "cookie": lambda key: [f"Cookie: Authorization=Bearer {key}".encode()],
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_a_wrong_key_is_refused(attempt: Callable[[str], list[bytes]], node: Node, world: World) -> None:
    answer = send(world, node, attempt(world.api_key))
    assert answer.reached is None
    assert answer.status in {400, 401}
    assert json.loads(answer.body)["error"]["type"] == "invalid_request_error"
    assert_the_right_key_passes(world, node)


QUERIES = {
    "key": "?key={}",
    "api-key": "?api_key={}",
    "authorization": "?Authorization=Bearer%20{}",
    "fragment": "#Bearer%20{}",
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_a_key_in_the_address_is_refused(query: str, node: Node, world: World) -> None:
    answer = send(world, node, [], target=PATH + query.format(world.api_key))
    assert (answer.status, answer.reached) == (401, None)
    assert_the_right_key_passes(world, node)


METHODS = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "options", "PROPFIND"]


@pytest.mark.parametrize("method", METHODS)
def test_no_other_method_opens_the_door(method: str, node: Node, world: World) -> None:
    answer = send(world, node, [], method=method)
    assert answer.reached is None
    assert answer.status in {400, 401, 405}
    assert_the_right_key_passes(world, node)


@pytest.mark.parametrize("target", [PATH, "/v1/models", "/admin/tokens", "*"])
def test_options_needs_no_key_and_never_reaches_the_program(target: str, node: Node, world: World) -> None:
    before = world.control("/statistics")["accounts"]
    answer = send(world, node, [], method="OPTIONS", target=target)
    assert answer.reached is None
    assert answer.status in {204, 400}
    assert answer.body == b"" or answer.status == 400
    assert world.control("/statistics")["accounts"] == before
    assert_the_right_key_passes(world, node)


# Spellings of the pages by which whoever knows the program's published password changes its tokens.
ADMIN = [
    "/admin/tokens",
    "//admin/tokens",
    "/admin//tokens",
    "/./admin/tokens",
    "/%61dmin/tokens",
    "/ADMIN/tokens",
    "/admin/tokens/",
    "/admin/tokens?/v1/",
    "/admin/../v1/chat/completions",
    "/admin/%2e%2e/v1/chat/completions",
    "/v1/../admin/tokens",
    "/v1/../../admin/tokens",
    "/v1/./../admin/tokens",
    "/v1//../admin/tokens",
    "/v1//..//admin/tokens",
    "/v1/%2e%2e/admin/tokens",
    "/v1/%2E%2E/admin/tokens",
    "/v1/.%2e/admin/tokens",
    "/v1/..%2fadmin/tokens",
    "/v1/%2e%2e%2fadmin%2ftokens",
    "/v1%2f../admin/tokens",
    "/v1/..%5cadmin/tokens",
    "/v1/..;/admin/tokens",
    "/v1;/../admin/tokens",
    "/v1/%252e%252e/admin/tokens",
    "/v1/admin/tokens",
    "/v1/..%00/admin/tokens",
    "/v1/../admin/tokens#/v1/",
    "http://node/admin/tokens",
    "http://node/v1/../admin/tokens",
    "https://node//admin/tokens",
    "admin/tokens",
    "/ping",
    "/v1/../ping",
]


@pytest.mark.parametrize("target", ADMIN)
def test_the_programs_own_pages_are_reached_by_no_spelling(target: str, node: Node, world: World) -> None:
    password = b"Authorization: TotallySecurePassword"
    for headers in ([], [password], [bearer(world.api_key)]):
        for method in ("PATCH", "GET"):
            answer = send(world, node, headers, method=method, target=target)
            assert answer.status in {400, 401, 404, 405}
            # A name that only looks like a way out may go on below /v1/, and there the program knows no such page.
            assert answer.reached is None or (answer.reached.startswith("/v1/") and answer.status == 404)
            assert answer.reached is None or headers == [bearer(world.api_key)]
    assert_the_right_key_passes(world, node)


def test_http2_asks_for_the_key_as_well(node: Node, world: World) -> None:
    with world.browser(http2=True) as browser:
        wrong, none, right = (
            browser.post(f"{node.url}/chat/completions", content=BODY, headers=headers)
            for headers in (
                {"Authorization": f"Bearer {shift(world.api_key)}"},
                {},
                {"Authorization": f"Bearer {world.api_key}", "Content-Type": "application/json"},
            )
        )
    assert {answer.http_version for answer in (wrong, none, right)} == {"HTTP/2"}
    assert [answer.status_code for answer in (wrong, none, right)] == [401, 401, 200]
    assert [MARK in answer.headers for answer in (wrong, none, right)] == [False, False, True]
