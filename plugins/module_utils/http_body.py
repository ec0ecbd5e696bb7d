# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The body of an HTTP answer as it arrives, so that nothing of one that is cut gets lost.

urllib3 drops what it holds when a connection ends in the middle of a body, and before version 2 it takes a short body
for a whole one.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse, IncompleteRead
from io import BufferedReader

LARGEST_BODY = 2 << 20
"""Bytes of a body that are read, compressed or not; a login page has some ten thousand."""

_PIECE = 1 << 14
_LONGEST_LINE = 1 << 12
_MOST_TRAILERS = 100
# RFC 9112 section 7.1: size, then extensions that are ignored.
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r?\n", re.DOTALL)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:+-]{1,40})", re.IGNORECASE)
_GZIP, _ZLIB, _RAW = 31, 15, -15
# These belong to Python, not to the web; decoding punycode takes the square of its length.
_FOREIGN_CODECS = frozenset({"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"})


def arriving(answer: HTTPResponse) -> Iterator[bytes]:
    """Read a body piece by piece; only a body that is whole comes to its end.

    Args:
        answer: its head has been read.

    Yields:
        Bytes as soon as they are there, the chunked transfer coding removed.

    Raises:
        http.client.HTTPException: the body is cut, or its framing is none (RFC 9112 section 6).
        OSError: the connection was lost.
    """
    coding = answer.getheader("Transfer-Encoding", "").strip().lower()
    if answer.chunked:
        while size := _chunk_size(answer.fp):
            yield from _exactly(answer.fp, size)
            if answer.fp.readline(_LONGEST_LINE) not in (b"\r\n", b"\n"):
                raise IncompleteRead(b"")
    elif answer.length is not None:
        yield from _exactly(answer.fp, answer.length)
    else:
        while piece := answer.fp.read1(_PIECE):
            yield piece
        if coding or answer.getheader("Content-Length") is not None or answer.msg.defects:
            # Nobody can tell its length. A line among the headers that is none may have hidden it.
            raise HTTPException


def skip_trailers(answer: HTTPResponse) -> None:
    """Read what follows a whole body, so that the connection can be used again.

    Args:
        answer: its body has been read.

    Raises:
        http.client.HTTPException: the connection cannot be used again.
        OSError: the connection was lost.
    """
    if answer.chunked:
        for _count in range(_MOST_TRAILERS):
            if answer.fp.readline(_LONGEST_LINE) in (b"\r\n", b"\n"):
                return
        raise HTTPException


def _chunk_size(source: BufferedReader) -> int:
    found = _CHUNK_SIZE.fullmatch(source.readline(_LONGEST_LINE))
    if found is None:
        raise IncompleteRead(b"")
    return int(found[1], 16)


def _exactly(source: BufferedReader, size: int) -> Iterator[bytes]:
    while size > 0:
        piece = source.read1(min(size, _PIECE))
        if not piece:
            raise IncompleteRead(b"")
        size -= len(piece)
        yield piece


def text_of(body: bytes, *, coding: str, content_type: str) -> tuple[str, bool]:
    """Decode a body or the beginning of one.

    Args:
        body: bytes without transfer coding.
        coding: value of Content-Encoding.
        content_type: value of Content-Type.

    Returns:
        The text, in UTF-8 unless another charset is named; and whether a compressed body came to its end within
        LARGEST_BODY.
    """
    plain, whole = _decompressed(body, coding.strip().lower())
    found = _CHARSET.search(content_type)
    return _decoded(plain, found[1] if found else "utf-8"), whole


def _decompressed(body: bytes, coding: str) -> tuple[bytes, bool]:
    if coding in ("", "identity") or not body:
        return body, True
    if coding in ("gzip", "x-gzip"):
        bits = _GZIP
    elif coding == "deflate":
        # RFC 9110 section 8.4.1.2: some servers leave out what zlib puts around.
        bits = _ZLIB if body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0 else _RAW
    else:
        return b"", False
    inflater, plain = zlib.decompressobj(bits), bytearray()
    # One byte at a time: zlib keeps back what came in one call with a broken byte, and a small body would be lost.
    for at in range(len(body)):
        try:
            plain += inflater.decompress(body[at : at + 1])
        except zlib.error:
            break
        if len(plain) > LARGEST_BODY:
            return bytes(plain[:LARGEST_BODY]), False
        if inflater.eof:
            return bytes(plain), at + 1 == len(body)
    return bytes(plain), False


def _decoded(body: bytes, charset: str) -> str:
    try:
        name = codecs.lookup(charset).name
        return body.decode("utf-8" if name.replace("-", "_") in _FOREIGN_CODECS else name, errors="replace")
    except (LookupError, ValueError):
        return body.decode("utf-8", errors="replace")
