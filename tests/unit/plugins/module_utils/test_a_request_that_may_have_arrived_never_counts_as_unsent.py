# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is lost after the first byte, and through whichever proxy: the request counts as sent.

A refresh token that may have arrived is spent: whoever sends it again loses the account's whole family of tokens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.http_session import Answer
from loopback_trust import Trust
from losing_servers import (
    Script,
    Server,
    Wire,
)
from losing_ways import (
    CHUNKED,
    CUT,
    HEAD,
    LENGTH,
    PLAIN,
    PROXIES,
    SCHEMES,
    TLS,
    TOKENS,
    WHOLE,
    answering,
    broken_record,
    chunked,
    connect_then,
    nothing,
    proxy_script,
    reset,
    reset_amid_request,
    silent,
    way,
)

NO_ANSWER: dict[str, Script] = {
    "closed": nothing,
    "reset": reset,
    "reset amid the request": reset_amid_request,
    "cut amid the status": answering(b"HTTP/1."),
    "cut amid a header": answering(HEAD + b"Set-Co"),
    "cut between headers": answering(HEAD),
    "no HTTP": answering(b"SSH-2.0-planted\r\n"),
    "a status that is none": answering(b"HTTP/1.1 planted\r\n\r\n"),
    "a header line without end": answering(HEAD + b"X: " + b"x" * 70_000 + b"\r\n\r\n"),
    "headers without end": answering(HEAD + b"X: x\r\n" * 200 + b"\r\n"),
    "a broken record": broken_record(b""),
    "an interim answer": answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" + WHOLE),
}


@pytest.mark.parametrize("lost", NO_ANSWER)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_lost_answer_counts_as_sent_through_every_proxy(trust: Trust, proxy: str, scheme: str, lost: str) -> None:
    with way(trust, proxy, scheme, NO_ANSWER[lost]) as (_told, post):
        told = post()
        assert told.error is not None
        assert told.error.sent is True
        assert told.provider.seen, "the test shows nothing"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("proxy", PROXIES)
def test_an_answer_comes_through_every_proxy(trust: Trust, proxy: str, scheme: str) -> None:
    with way(trust, proxy, scheme, answering(WHOLE)) as (_told, post):
        told = post()
        assert told.answer is not None
        assert (told.answer.status_code, told.answer.text, told.answer.complete) == (200, TOKENS, True)
        [request] = told.provider.requests
        assert request.endswith(b"grant_type=refresh_token&refresh_token=planted-refresh-1")


# A proxy that fails later.


@pytest.mark.parametrize("proxy", ["http", "https"])
def test_bytes_that_a_proxy_got_of_a_plain_request_count_as_sent(trust: Trust, proxy: str) -> None:
    with way(trust, proxy, PLAIN, silent, through=connect_then(close=True)) as (_told, post):
        told = post()
        assert told.proxy is not None
        assert told.proxy.seen
        assert told.error is not None
        assert told.error.sent is True


@pytest.mark.parametrize("proxy", ["http", "https", "socks5h"])
def test_a_proxy_that_resets_once_the_request_has_arrived_does_not_make_it_unsent(trust: Trust, proxy: str) -> None:
    provider: list[Server] = []

    def through(wire: Wire) -> None:
        def cut() -> None:
            provider[0].whole.wait(20)
            wire.server.hang_up()

        threading.Thread(target=cut, daemon=True).start()
        proxy_script(proxy)(wire)

    with way(trust, proxy, TLS, silent, through=through) as (told, post):
        provider.append(told.provider)
        post()
        assert len(told.provider.requests) == 1
        assert told.error is not None
        assert told.error.sent is True


# Connections that are used again.


def keeping_alive(then: Callable[[Wire], None]) -> Script:
    """Answer one request, and do this with the next on the same connection."""

    def script(wire: Wire) -> None:
        wire.secure()
        wire.request()
        wire.send(WHOLE)
        then(wire)

    return script


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_stale_connection_that_fails_counts_as_sent(trust: Trust, proxy: str, scheme: str) -> None:
    with way(trust, proxy, scheme, keeping_alive(reset)) as (told, post):
        assert post().answer is not None
        post()
        assert len(told.provider.requests) == 2
        assert told.error is not None
        assert told.error.sent is True


@pytest.mark.parametrize("body", [WHOLE, CHUNKED + chunked(TOKENS.encode()) + b"0\r\n\r\n"])
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_connection_is_used_again_after_a_whole_answer(trust: Trust, proxy: str, body: bytes) -> None:
    def script(wire: Wire) -> None:
        wire.secure()
        while wire.request():
            wire.send(body)

    with way(trust, proxy, TLS, script) as (told, post):
        for _count in range(3):
            assert post().answer == Answer(
                status_code=200, headers=told.answer.headers if told.answer else {}, text=TOKENS, complete=True
            )
        assert len(told.provider.requests) == 3
        assert len(told.provider.wires) == 1


def test_a_connection_is_not_used_again_before_the_last_byte_of_an_answer(trust: Trust) -> None:
    def script(wire: Wire) -> None:
        while wire.request():
            wire.send(CHUNKED + chunked(TOKENS.encode()) + b"0\r\nX: x\r\n")
            wire.server.closing.wait(0.05)
            wire.send(b"\r\n")

    with way(trust, "", PLAIN, script) as (told, post):
        for _count in range(3):
            assert post().answer is not None
        assert len(told.provider.wires) == 1


@pytest.mark.parametrize(
    "answer", [LENGTH + CUT, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"]
)
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_connection_is_not_used_again_after_a_cut_answer_or_its_last(trust: Trust, proxy: str, answer: bytes) -> None:
    with way(trust, proxy, TLS, answering(answer)) as (told, post):
        for _count in range(3):
            assert post().answer is not None
        assert len(told.provider.wires) == 3
