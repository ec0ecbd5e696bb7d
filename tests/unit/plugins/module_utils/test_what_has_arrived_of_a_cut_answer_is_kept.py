# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cut body is an answer that says so, since a new refresh token may stand in what has arrived."""

from __future__ import annotations

import gzip
import zlib

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.http_body import LARGEST_BODY
from loopback_trust import Trust
from losing_servers import (
    Script,
    Wire,
)
from losing_ways import (
    CHUNKED,
    CUT,
    HEAD,
    LENGTH,
    PLAIN,
    SCHEMES,
    TLS,
    TOKENS,
    answering,
    broken_record,
    chunked,
    way,
    without_loss,
)

GZIP = HEAD + b"Content-Encoding: gzip\r\n"
COMPRESSED = gzip.compress(TOKENS.encode(), mtime=0)
DEFLATED = zlib.compress(TOKENS.encode())
CUT_BODIES: dict[str, Script] = {
    "shorter than its length": answering(LENGTH + CUT),
    "an unreadable length": answering(HEAD + b"Content-Length: planted\r\n\r\n" + CUT),
    "a length behind a line that is no header": answering(HEAD + b"planted\r\nContent-Length: 9000\r\n\r\n" + CUT),
    "a coding of the transfer that nobody asked for": answering(HEAD + b"Transfer-Encoding: planted\r\n\r\n" + CUT),
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


@pytest.mark.parametrize("cut", CUT_BODIES)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("proxy", ["", "http"])
def test_a_cut_body_is_an_answer_that_says_so(trust: Trust, proxy: str, scheme: str, cut: str) -> None:
    with way(trust, proxy, scheme, CUT_BODIES[cut]) as (_told, post):
        told = post()
        assert told.answer is not None
        assert told.answer.complete is False
        assert told.answer.status_code == 200
        assert without_loss(told.answer.text)


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
