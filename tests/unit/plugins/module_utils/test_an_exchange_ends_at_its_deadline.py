# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing that is silent or drips holds an exchange up, and one that nobody waits for any more sends nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
from ansible_collections.dcta.fleet.plugins.module_utils.http_session import HttpSession
from loopback_trust import Trust
from losing_servers import (
    LOOPBACK,
    Script,
    Wire,
)
from losing_ways import (
    CHUNKED,
    CUT,
    HEAD,
    LATE,
    LENGTH,
    PLAIN,
    PROXIES,
    SCHEMES,
    TLS,
    TOKENS,
    WHOLE,
    Told,
    answering,
    at_its_deadline,
    chunked,
    connect_then,
    dripping,
    silent,
    wait_for_exchanges,
    way,
    without_loss,
)

ROOT = Path(__file__).parents[4]


def sent(told: Told) -> bool:
    return told.error is not None and told.error.sent


def answered(told: Told) -> bool:
    return told.answer is not None and without_loss(told.answer.text)


@pytest.mark.parametrize("proxy", PROXIES)
def test_what_never_ends_ends_at_the_deadline(trust: Trust, proxy: str) -> None:
    with way(trust, proxy, TLS, dripping(b"X: x\r\n", HEAD)) as (_told, post):
        assert sent(at_its_deadline(post, sent))
    with way(trust, proxy, TLS, dripping(b"x", LENGTH + CUT)) as (_told, post):
        answer = at_its_deadline(post, answered).answer
        assert answer is not None
        assert answer.complete is False
        assert without_loss(answer.text)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize(
    "script",
    [silent, dripping(b"X: x\r\n", HEAD), dripping(b"x", b"HTTP/1.1 200 "), dripping(b"HTTP/1.1 100 x\r\n\r\n")],
)
def test_a_head_that_never_ends_ends_at_the_deadline(trust: Trust, proxy: str, scheme: str, script: Script) -> None:
    with way(trust, proxy, scheme, script) as (_told, post):
        error = at_its_deadline(post, sent).error
        assert error is not None
        assert error.sent is True
        assert "in time" in error.sentence


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize(
    "script",
    [
        dripping(b"x", LENGTH + CUT),
        dripping(b"1\r\nx\r\n", CHUNKED + chunked(CUT)),
        dripping(b"x", HEAD + b"\r\n" + CUT),
        dripping(b"0", CHUNKED + chunked(CUT)),
    ],
    ids=["length", "chunked", "closed", "a chunk's size"],
)
def test_a_body_that_never_ends_is_what_arrived_until_the_deadline(
    trust: Trust, proxy: str, scheme: str, script: Script
) -> None:
    with way(trust, proxy, scheme, script) as (_told, post):
        answer = at_its_deadline(post, answered).answer
        assert answer is not None
        assert answer.complete is False
        assert without_loss(answer.text)


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_connection_of_which_nobody_waits_for_more_is_closed(trust: Trust, proxy: str) -> None:
    with way(trust, proxy, TLS, dripping(b"x", HEAD + b"X: ")) as (_told, post):
        assert sent(at_its_deadline(post, sent))
        # It would drip on for as long as the test lasts.
        wait_for_exchanges()


def test_trailers_that_never_end_take_nothing_from_a_whole_body(trust: Trust) -> None:
    with way(trust, "", PLAIN, dripping(b"X: x\r\n", CHUNKED + chunked(TOKENS.encode()) + b"0\r\n")) as (_told, post):
        answer = at_its_deadline(post, lambda told: told.answer and told.answer.complete).answer
        assert answer is not None
        assert (answer.text, answer.complete) == (TOKENS, True)


def waits_before_tls(wire: Wire) -> None:
    while wire.connected.recv(1 << 14):
        pass


def drips_a_socks_handshake(wire: Wire) -> None:
    wire.read()
    wire.send(b"\x05\x00")
    wire.read()
    # A name of 255 characters, a byte at a time.
    wire.send(b"\x05\x00\x00\x03\xff")
    wire.drip(b"x")


@pytest.mark.parametrize(
    ("proxy", "through"),
    [
        ("", None),
        ("http", None),
        ("https", None),
        ("socks5h", None),
        ("http", waits_before_tls),
        ("https", waits_before_tls),
        ("socks5", waits_before_tls),
        ("http", connect_then(answer=b"HTTP/1.1 200 OK\r\n", drips=b"X: x\r\n")),
        ("https", connect_then(answer=b"HTTP/1.1 200 OK\r\n", drips=b"X: x\r\n")),
        ("http", connect_then(drips=b"x")),
        ("socks5", drips_a_socks_handshake),
        ("socks5h", drips_a_socks_handshake),
    ],
)
def test_a_way_that_is_never_ready_is_unsent_at_the_deadline(trust: Trust, proxy: str, through: Script | None) -> None:
    with way(trust, proxy, TLS, waits_before_tls, through=through) as (_told, post):
        error = post(LATE).error
        assert error is not None
        assert error.sent is False
        assert "timed out" in error.sentence


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("proxy", PROXIES[:2])
def test_an_exchange_that_nobody_waits_for_any_more_never_sends_its_request(
    trust: Trust, monkeypatch: pytest.MonkeyPatch, proxy: str, scheme: str
) -> None:
    resolve, name_server = socket.getaddrinfo, threading.Event()

    def slowly(*arguments: object, **options: object) -> object:
        if threading.current_thread().name == "exchange":
            name_server.wait(20)
        return resolve(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    with way(trust, proxy, scheme, answering(WHOLE)) as (told, post):
        error = post(LATE).error
        assert error is not None
        assert error.sent is False
        assert "timed out" in error.sentence
        name_server.set()
        wait_for_exchanges()
        assert told.provider.requests == []
        assert bytes(told.provider.seen) == b""
        # The next one is none the worse for it.
        assert post().answer is not None


def reads_nothing(wire: Wire) -> None:
    wire.server.closing.wait(20)


@pytest.mark.slow
def test_a_request_that_does_not_fit_is_sent_at_the_deadline(trust: Trust) -> None:
    with way(trust, "", PLAIN, reads_nothing) as (told, _post):
        session = HttpSession(ca_bundle=str(trust.bundle))

        def post(timeout: float) -> Told:
            address = f"http://{LOOPBACK}:{told.provider.port}/"
            with pytest.raises(NetworkError) as caught:
                session.request("POST", address, data=[("a", "x" * (40 << 20))], timeout=timeout)
            return Told(told.provider, error=caught.value)

        assert sent(at_its_deadline(post, sent))
        session.close()


def test_an_exchange_that_nobody_waits_for_keeps_no_program_from_ending() -> None:
    program = f"""
        import socket, sys, time
        sys.path.insert(0, {str(ROOT / "collections")!r})
        from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
        from ansible_collections.dcta.fleet.plugins.module_utils.http_session import HttpSession
        socket.getaddrinfo = lambda *arguments, **options: time.sleep(600)
        try:
            HttpSession().request("POST", "https://login.example.test/planted", data=[("a", "b")], timeout=0.2)
        except NetworkError as error:
            print(error.sentence, error.sent)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "The connection to login.example.test timed out. False\n"
