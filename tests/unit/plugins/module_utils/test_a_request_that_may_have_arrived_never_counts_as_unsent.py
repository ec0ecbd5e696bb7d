# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is lost, and wherever: what the session tells of it agrees with what the provider saw.

A refresh token that may have arrived is spent: whoever sends it again loses the account's whole family of tokens.
"""

from __future__ import annotations

import gc
import gzip
import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
from ansible_collections.dcta.fleet.plugins.module_utils.http_body import LARGEST_BODY
from ansible_collections.dcta.fleet.plugins.module_utils.http_session import Answer, HttpSession
from losing_servers import (
    ESTABLISHED,
    LOOPBACK,
    NAME,
    OTHER_NAME,
    Script,
    Server,
    Trust,
    Wire,
    http_proxy,
    make_trust,
    serving,
    socks_proxy,
    socks_request,
)

FORM = [("grant_type", "refresh_token"), ("refresh_token", "planted-refresh-1")]
TOKENS = json.dumps({"refresh_token": "planted-refresh-2", "access_token": "planted-access-2", "more": "x" * 4000})
CUT = TOKENS[:2000].encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + f"Content-Length: {len(TOKENS)}\r\n\r\n{TOKENS}".encode()
PLAIN, TLS = "http", "https"
SCHEMES = (PLAIN, TLS)
PROXIES = ("", "http", *(pytest.param(name, marks=pytest.mark.slow) for name in ("https", "socks5", "socks5h")))
LATE = 0.3
"""Seconds until a deadline that shall strike."""


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return make_trust(tmp_path_factory.mktemp("trust"))


@pytest.fixture(scope="module")
def other_trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return make_trust(tmp_path_factory.mktemp("other"))


@dataclass
class Told:
    """What the session told and what the provider saw.

    Attributes:
        provider: the provider.
        answer: what the session returned, if it did.
        error: what it raised, if it did.
        proxy: the proxy, where there is one.
    """

    provider: Server
    answer: Answer | None = None
    error: NetworkError | None = None
    proxy: Server | None = None

    def assert_true(self) -> None:
        """Assert that nothing that was seen is denied, whatever came later."""
        sent = self.error is None or self.error.sent
        assert sent or self.provider.seen == b"", "the provider saw bytes of a request that counts as unsent"
        assert sent or not self.provider.requests
        if self.error is not None:
            assert "planted" not in f"{self.error!r} {self.error.cure}"
            assert self.error.__context__ is None, "a traceback would show the address with all that is in it"
            assert self.error.sentence.endswith(".")


def exchange_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "exchange"]


def wait_for_exchanges() -> None:
    """Wait until no abandoned exchange is left."""
    for thread in exchange_threads():
        thread.join(20)
    assert not exchange_threads()


def proxy_script(scheme: str) -> Script:
    return http_proxy if scheme.startswith("http") else socks_proxy


@contextmanager
def way(
    trust: Trust,
    proxy: str,
    scheme: str,
    script: Script,
    *,
    through: Script | None = None,
    trusted: Trust | None = None,
) -> Iterator[tuple[Told, Callable[..., Told]]]:
    """Yield a function that sends one POST through a kind of proxy to a provider with this script.

    Args:
        trust: whose certificates the servers show.
        proxy: its scheme, empty for a direct way.
        scheme: the provider's.
        script: what the provider does.
        through: what the proxy does, if not its work.
        trusted: whose certificates the session believes, if not the same.
    """
    with ExitStack() as stack:
        provider = stack.enter_context(serving(script, trust.server if scheme == TLS else None))
        told = Told(provider)
        url = ""
        if proxy:
            context = trust.server if proxy == "https" else None
            told.proxy = stack.enter_context(serving(through or proxy_script(proxy), context))
            url = f"{proxy}://{LOOPBACK}:{told.proxy.port}"
        session = HttpSession(proxy=url or None, ca_bundle=str((trusted or trust).bundle))
        stack.callback(session.close)
        host = NAME if proxy == "socks5h" else LOOPBACK

        def post(timeout: float = 20) -> Told:
            told.answer = told.error = None
            try:
                told.answer = session.request(
                    "POST", f"{scheme}://{host}:{provider.port}/planted", data=FORM, timeout=timeout
                )
            except NetworkError as error:
                told.error = error
            return told

        try:
            yield told, post
        finally:
            provider.hang_up()
            if told.proxy is not None:
                told.proxy.hang_up()
            wait_for_exchanges()
    told.assert_true()


# The provider's side.


def answering(data: bytes) -> Script:
    """Read the whole request, send this and close."""

    def script(wire: Wire) -> None:
        wire.secure()
        wire.request()
        wire.send(data)

    return script


def nothing(wire: Wire) -> None:
    wire.secure()
    wire.request()


def reset(wire: Wire) -> None:
    wire.secure()
    wire.request()
    wire.reset()


def reset_amid_request(wire: Wire) -> None:
    wire.secure()
    wire.read()
    wire.reset()


def silent(wire: Wire) -> None:
    wire.secure()
    wire.request()
    wire.wait()


def dripping(data: bytes, first: bytes = b"") -> Script:
    """Read the whole request, send some bytes and then others without end."""

    def script(wire: Wire) -> None:
        wire.secure()
        wire.request()
        wire.send(first)
        wire.drip(data)

    return script


def broken_record(data: bytes) -> Script:
    """Send the beginning of an answer and then a TLS record that nobody can decrypt."""

    def script(wire: Wire) -> None:
        wire.secure()
        wire.request()
        if data:
            wire.send(data)
        wire.below(b"\x17\x03\x03\x00\x20" + bytes(32))
        wire.wait()

    return script


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


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = HEAD + b"Content-Length: 9000\r\n\r\n"
GZIP = HEAD + b"Content-Encoding: gzip\r\n"
COMPRESSED = gzip.compress(TOKENS.encode(), mtime=0)
DEFLATED = zlib.compress(TOKENS.encode())
CUT_BODIES: dict[str, Script] = {
    "shorter than its length": answering(LENGTH + CUT),
    "an unreadable length": answering(HEAD + b"Content-Length: planted\r\n\r\n" + CUT),
    "amid a chunk": answering(CHUNKED + chunked(CUT)[:-20]),
    "between chunks": answering(CHUNKED + chunked(CUT)),
    "amid a chunk's size": answering(CHUNKED + chunked(CUT) + b"5"),
    "a chunk's size that is none": answering(CHUNKED + chunked(CUT) + b"-5\r\nplant\r\n0\r\n\r\n"),
    "a chunk that does not end": answering(CHUNKED + chunked(CUT)[:-2] + b"planted\r\n"),
    "gzip shorter than its length": answering(GZIP + b"Content-Length: 9000\r\n\r\n" + COMPRESSED[:-12]),
    "gzip amid a chunk": answering(GZIP + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(COMPRESSED)[:-20]),
    "gzip cut before it was sent": answering(GZIP + b"Content-Length: 90\r\n\r\n" + COMPRESSED[:90]),
    "gzip with a wrong checksum": answering(
        GZIP + b"Content-Length: %d\r\n\r\n" % len(COMPRESSED) + COMPRESSED[:-8] + bytes(8)
    ),
    "deflate cut before it was sent": answering(
        HEAD + b"Content-Encoding: deflate\r\nContent-Length: 90\r\n\r\n" + DEFLATED[:90]
    ),
}


def without_loss(text: str) -> bool:
    return text.startswith('{"refresh_token": "planted-refresh-2", "access_token": "planted-access-2"')


@pytest.mark.parametrize("cut", CUT_BODIES)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("proxy", ["", "http"])
def test_a_cut_body_is_an_answer_that_says_so(trust: Trust, proxy: str, scheme: str, cut: str) -> None:
    with way(trust, proxy, scheme, CUT_BODIES[cut]) as (_told, post):
        told = post()
        assert told.answer is not None
        assert told.answer.complete is False
        assert told.answer.status_code == 200
        assert cut == "an unreadable length" or without_loss(told.answer.text)


def reset_amid_body(wire: Wire) -> None:
    wire.secure()
    wire.request()
    wire.send(LENGTH + CUT)
    wire.reset()


@pytest.mark.parametrize("proxy", ["", "socks5h"])
@pytest.mark.parametrize(
    ("scheme", "script"),
    [
        (PLAIN, reset_amid_body),
        (TLS, reset_amid_body),
        (TLS, broken_record(LENGTH + CUT)),
        # Without a length only TLS itself can tell the end from a loss.
        (TLS, answering(HEAD + b"\r\n" + CUT)),
    ],
    ids=["reset", "reset below TLS", "a broken record", "no end of TLS"],
)
def test_a_connection_that_fails_amid_a_body_leaves_what_has_arrived(
    trust: Trust, proxy: str, scheme: str, script: Script
) -> None:
    with way(trust, proxy, scheme, script) as (_told, post):
        told = post()
        assert told.answer is not None
        assert told.answer.complete is False
        assert without_loss(told.answer.text)


def ended_properly(wire: Wire) -> None:
    wire.secure()
    wire.request()
    wire.send(HEAD + b"\r\n" + TOKENS.encode())
    if hasattr(wire.connected, "unwrap"):
        wire.connected.unwrap()


@pytest.mark.parametrize(
    ("scheme", "script"),
    [
        (PLAIN, ended_properly),
        (TLS, ended_properly),
        (PLAIN, answering(CHUNKED + chunked(TOKENS.encode()) + b"0\r\nX: trailer\r\n\r\n")),
        (PLAIN, answering(CHUNKED + chunked(*(bytes([byte]) for byte in TOKENS.encode())) + b"0\r\n\r\n")),
        (PLAIN, answering(CHUNKED + b"%X ; a=b\r\n%s\r\n0\r\n" % (len(TOKENS), TOKENS.encode()))),
        (PLAIN, answering(GZIP + b"\r\n" + COMPRESSED)),
        (PLAIN, answering(HEAD + b"Content-Encoding: deflate\r\n\r\n" + DEFLATED)),
        (PLAIN, answering(HEAD + b"Content-Encoding: deflate\r\n\r\n" + DEFLATED[2:-4])),
    ],
    ids=["closed", "closed with TLS", "chunked", "many chunks", "no trailer", "gzip", "deflate", "raw deflate"],
)
def test_a_body_that_came_to_its_end_is_complete(trust: Trust, scheme: str, script: Script) -> None:
    with way(trust, "", scheme, script) as (_told, post):
        answer = post().answer
        assert answer is not None
        assert (answer.text, answer.complete) == (TOKENS, True)


@pytest.mark.parametrize("coding", [b"", b"Content-Encoding: gzip\r\n"])
def test_an_empty_body_is_complete_whatever_its_coding(trust: Trust, coding: bytes) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /planted\r\n"
    with way(trust, "", PLAIN, answering(head + coding + b"Content-Length: 0\r\n\r\n")) as (_told, post):
        answer = post().answer
        assert answer is not None
        assert (answer.status_code, answer.text, answer.complete) == (302, "", True)


BOMB = zlib.compressobj(9, wbits=31)
BOMB_BYTES = BOMB.compress(bytes(50 << 20)) + BOMB.flush()


@pytest.mark.parametrize(
    "script",
    [
        answering(HEAD + b"\r\n" + b"x" * (LARGEST_BODY + 1)),
        answering(GZIP + b"\r\n" + BOMB_BYTES),
        answering(b"HTTP/1.1 302 Found\r\nLocation: /planted\r\n\r\n" + b"x" * (LARGEST_BODY + 1)),
    ],
    ids=["plain", "a gzip bomb", "of a redirect"],
)
def test_a_body_without_end_is_read_to_a_limit(trust: Trust, script: Script) -> None:
    with way(trust, "", PLAIN, script) as (_told, post):
        answer = post().answer
        assert answer is not None
        assert answer.complete is False
        assert len(answer.text) == LARGEST_BODY


# Before the request.


@pytest.fixture
def dropped_by_python() -> Iterator[None]:
    """Let go of the sockets that Python's ssl and http.client leave open when a handshake or CONNECT fails (3.11)."""
    yield
    gc.collect()


def mark_never_sent(test: Callable[..., None]) -> Callable[..., None]:
    pytest.mark.filterwarnings("ignore:Exception ignored in. <(ssl.SSLS|socket.s)ocket")(test)
    pytest.mark.usefixtures("dropped_by_python")(test)
    return test


def close_at_once(wire: Wire) -> None:
    """Close without a word."""


def reset_at_once(wire: Wire) -> None:
    wire.reset()


def close_amid_handshake(wire: Wire) -> None:
    wire.connected.recv(1 << 14)


def no_tls(wire: Wire) -> None:
    wire.connected.recv(1 << 14)
    wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@mark_never_sent
@pytest.mark.parametrize("script", [close_at_once, reset_at_once, close_amid_handshake, no_tls])
@pytest.mark.parametrize("proxy", PROXIES)
def test_what_fails_in_the_handshake_of_tls_is_unsent(trust: Trust, proxy: str, script: Script) -> None:
    with way(trust, proxy, TLS, script) as (_told, post):
        error = post().error
        assert error is not None
        assert error.sent is False


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_certificate_that_is_not_trusted_is_unsent(trust: Trust, other_trust: Trust, proxy: str) -> None:
    with way(trust, proxy, TLS, silent, trusted=other_trust) as (_told, post):
        error = post().error
        assert error is not None
        assert error.sent is False
        assert proxy == "https" or "certificate" in error.sentence


@pytest.mark.parametrize("proxy", ["http", "socks5h"])
def test_a_certificate_of_another_name_is_unsent(trust: Trust, proxy: str) -> None:
    with serving(silent, trust.server) as provider, serving(proxy_script(proxy)) as through:
        session = HttpSession(proxy=f"{proxy}://{LOOPBACK}:{through.port}", ca_bundle=str(trust.bundle))
        with pytest.raises(NetworkError, match=f"certificate of {OTHER_NAME}") as caught:
            session.request("POST", f"https://{OTHER_NAME}:{provider.port}/planted", data=FORM)
        session.close()
    assert caught.value.sent is False
    assert provider.seen == b""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_https_proxy_that_is_not_trusted_gets_neither_password_nor_request(
    trust: Trust, other_trust: Trust, scheme: str
) -> None:
    with serving(http_proxy, trust.server) as proxy:
        session = HttpSession(proxy=f"https://user:planted@{LOOPBACK}:{proxy.port}", ca_bundle=str(other_trust.bundle))
        with pytest.raises(NetworkError) as caught:
            session.request("POST", f"{scheme}://{LOOPBACK}:1/planted", data=FORM)
        session.close()
    assert caught.value.sent is False
    assert proxy.seen == b""


def connect_then(*, close: bool = False, answer: bytes = b"", drips: bytes = b"") -> Script:
    """Read what a proxy is asked for, then do this in place of it."""

    def script(wire: Wire) -> None:
        wire.secure()
        wire.head()
        if close:
            return
        wire.send(answer)
        if drips:
            wire.drip(drips)

    return script


NO_TUNNEL: dict[str, Script] = {
    "closed at once": close_at_once,
    "reset at once": reset_at_once,
    "closed after CONNECT": connect_then(close=True),
    "403": connect_then(answer=b"HTTP/1.1 403 planted\r\n\r\n"),
    "407": connect_then(answer=b"HTTP/1.1 407 planted\r\n\r\n"),
    "no HTTP": connect_then(answer=b"SSH-2.0-planted\r\n"),
    "cut amid its answer": connect_then(answer=ESTABLISHED[:-2]),
    "a line without end": connect_then(answer=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000),
    "closed after its answer": connect_then(answer=ESTABLISHED),
    "no TLS behind it": connect_then(answer=ESTABLISHED + b"planted planted planted"),
}


@mark_never_sent
@pytest.mark.parametrize("lost", NO_TUNNEL)
@pytest.mark.parametrize("proxy", ["http", "https"])
def test_a_tunnel_that_is_never_made_is_unsent(trust: Trust, proxy: str, lost: str) -> None:
    with way(trust, proxy, TLS, silent, through=NO_TUNNEL[lost]) as (_told, post):
        error = post().error
        assert error is not None
        assert error.sent is False


def socks_then(*answers: bytes) -> Script:
    """Answer the messages of a handshake with these, and close."""

    def script(wire: Wire) -> None:
        for answer in answers:
            wire.read()
            wire.send(answer)

    return script


def socks_loses_its_answer(wire: Wire) -> None:
    socks_request(wire)


NO_SOCKS: dict[str, Script] = {
    "closed at once": close_at_once,
    "reset at once": reset_at_once,
    "closed amid the greeting": socks_then(b"\x05"),
    "asks for a password": socks_then(b"\x05\x02"),
    "takes no method": socks_then(b"\x05\xff"),
    "no SOCKS": socks_then(b"HTTP/1.1 400 planted\r\n\r\n"),
    "closed after the request": socks_loses_its_answer,
    "refused": socks_then(b"\x05\x00", b"\x05\x02\x00\x01" + bytes(6)),
    "an unknown reply": socks_then(b"\x05\x00", b"\x05\x63\x00\x09" + bytes(6)),
}


@mark_never_sent
@pytest.mark.parametrize("lost", NO_SOCKS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("proxy", ["socks5", "socks5h"])
def test_a_socks_handshake_that_fails_is_unsent(trust: Trust, proxy: str, scheme: str, lost: str) -> None:
    with way(trust, proxy, scheme, silent, through=NO_SOCKS[lost]) as (_told, post):
        error = post().error
        assert error is not None
        assert error.sent is False
        assert "proxy" in error.sentence


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("proxy", PROXIES)
def test_where_nobody_listens_nothing_is_sent(trust: Trust, proxy: str, scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind((LOOPBACK, 0))
        dead = f"{LOOPBACK}:{unused.getsockname()[1]}"
        session = HttpSession(proxy=f"{proxy}://{dead}" if proxy else None, ca_bundle=str(trust.bundle))
        with pytest.raises(NetworkError) as caught:
            session.request("POST", f"{scheme}://{dead}/planted", data=FORM)
        session.close()
    assert caught.value.sent is False


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


@pytest.mark.parametrize(
    "answer", [LENGTH + CUT, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"]
)
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_connection_is_not_used_again_after_a_cut_answer_or_its_last(trust: Trust, proxy: str, answer: bytes) -> None:
    with way(trust, proxy, TLS, answering(answer)) as (told, post):
        for _count in range(3):
            assert post().answer is not None
        assert len(told.provider.wires) == 3


# The deadline.


@pytest.mark.parametrize("proxy", PROXIES)
def test_what_never_ends_ends_at_the_deadline(trust: Trust, proxy: str) -> None:
    with way(trust, proxy, TLS, dripping(b"X: x\r\n", HEAD)) as (_told, post):
        error = post(LATE).error
        assert error is not None
        assert error.sent is True
    with way(trust, proxy, TLS, dripping(b"x", LENGTH + CUT)) as (_told, post):
        answer = post(LATE).answer
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
        error = post(LATE).error
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
        answer = post(LATE).answer
        assert answer is not None
        assert answer.complete is False
        assert without_loss(answer.text)


def test_trailers_that_never_end_take_nothing_from_a_whole_body(trust: Trust) -> None:
    with way(trust, "", PLAIN, dripping(b"X: x\r\n", CHUNKED + chunked(TOKENS.encode()) + b"0\r\n")) as (_told, post):
        answer = post(LATE).answer
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
        with pytest.raises(NetworkError) as caught:
            session.request(
                "POST", f"http://{LOOPBACK}:{told.provider.port}/", data=[("a", "x" * (40 << 20))], timeout=1.0
            )
        session.close()
        assert caught.value.sent is True


def test_where_no_thread_can_be_started_nothing_is_sent(trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    with way(trust, "", PLAIN, answering(WHOLE)) as (told, _post):
        session = HttpSession()

        def full(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", full)
            with pytest.raises(NetworkError, match="thread") as caught:
                session.request("POST", f"http://{LOOPBACK}:{told.provider.port}/", data=FORM)
        session.close()
        assert caught.value.sent is False
        assert "TasksMax" in caught.value.cure


def test_a_ca_bundle_without_certificates_is_unsent_and_named(trust: Trust, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("planted\n")
    with way(trust, "", TLS, answering(WHOLE)) as (told, _post):
        session = HttpSession(ca_bundle=str(bundle))
        with pytest.raises(NetworkError, match="TLS") as caught:
            session.request("POST", f"https://{LOOPBACK}:{told.provider.port}/", data=FORM)
        session.close()
        assert caught.value.sent is False
        assert "ca_bundle" in caught.value.cure
