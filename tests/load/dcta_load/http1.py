# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/1.1 (RFC 9112) over one connection at a time: each request is one write, so none can be sent twice."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from .question import Answer, Question
from .target import Target

LINE_BYTES = 65536


class BrokenAnswer(Exception):
    """The answer did not come whole; says how far it came."""


class Http1Client:
    """One client that keeps its connection for as long as the server does.

    Args:
        target: the gateway.
        opened: is called for each connection that is opened.
    """

    def __init__(self, target: Target, opened: Callable[[], None]) -> None:
        self._target = target
        self._context: ssl.SSLContext = target.context("http/1.1")
        self._opened = opened
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, question: Question, body: bytes) -> Answer:
        """Send one request and read its answer.

        Args:
            question: what is asked.
            body: its body.

        Raises:
            OSError: there is no connection.
            BrokenAnswer: the answer did not come whole.
        """
        reader, writer = await self._connection()
        try:
            writer.write(self._head(question, len(body)) + body)
            await writer.drain()
            answer = await _read(reader)
        except BaseException:
            self.close()
            raise
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._writer is not None:
            # Nothing is waiting to be sent, and a farewell would have to be waited for.
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # What the server closed while nothing was under way is no loss: the request has not been sent yet.
        if self._reader is not None and (self._reader.at_eof() or self._reader.exception() is not None):
            self.close()
        if self._reader is None or self._writer is None:
            self._opened()
            self._reader, self._writer = await asyncio.open_connection(
                self._target.address, self._target.port, ssl=self._context, limit=LINE_BYTES
            )
        return self._reader, self._writer

    def _head(self, question: Question, length: int) -> bytes:
        lines = [f"POST {question.target} HTTP/1.1", f"Host: {self._target.address}:{self._target.port}"]
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
        if self._target.key:
            lines.append(f"Authorization: Bearer {self._target.key}")
        return "\r\n".join([*lines, "", ""]).encode()


async def _read(reader: asyncio.StreamReader) -> Answer:
    try:
        version, _ignored, rest = (await _line(reader)).partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise BrokenAnswer("the status line is none")
        headers: dict[str, str] = {}
        while line := await _line(reader):
            name, _ignored, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = await _chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
    except asyncio.IncompleteReadError as error:
        raise BrokenAnswer(
            f"the connection ended inside an answer, {len(error.partial)} bytes after its last part"
        ) from None
    except ValueError:
        raise BrokenAnswer("the answer is not HTTP/1.1") from None
    return Answer(int(rest[:3]), headers, body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a chunked body (RFC 9112, 7.1); the last chunk has the size 0."""
    parts: list[bytes] = []
    while size := int((await _line(reader)).partition(";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await _line(reader):
        pass
    return b"".join(parts)


async def _line(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n"))[:-2].decode("latin-1")
