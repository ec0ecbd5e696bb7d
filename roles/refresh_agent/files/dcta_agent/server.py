# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's socket: the gateway's questions as small HTTP requests, one connection each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

from .answers import Answer
from .hold import Hold
from .question import Question

HEADERS_MAX = 200
# The gateway passes on no target of a client that could be this one.
READY = b"/ready"
REASONS = {200: "OK", 429: "Too Many Requests", 502: "Bad Gateway", 503: "Service Unavailable"}

log = logging.getLogger(__name__)


async def serve(hold: Hold, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection.

    Args:
        hold: decides.
        reader: the gateway's request; it has no body.
        writer: takes the answer.
    """
    try:
        words = (await reader.readline()).split()
        headers = await _read_headers(reader)
        if len(words) > 1 and words[1].partition(b"?")[0] == READY:
            answer = await hold.readiness()
        else:
            found = await _unless_it_leaves(reader, hold.answer(Question.from_headers(headers, time.time())))
            if found is None:
                return
            answer = found
        writer.write(_render(answer))
        await writer.drain()
    except (OSError, ValueError, asyncio.IncompleteReadError):
        # The gateway asks again or its client is gone; either way there is nobody to tell.
        log.debug("a question broke off")
    finally:
        writer.close()


async def _unless_it_leaves(reader: asyncio.StreamReader, answering: Coroutine[Any, Any, Answer]) -> Answer | None:
    """Return the answer, or None as soon as the gateway closes the connection because its client has gone."""
    answer, gone = asyncio.ensure_future(answering), asyncio.ensure_future(reader.read(1))
    try:
        # The gateway sends nothing after its question.
        await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        await asyncio.wait([answer])
        return None
    finally:
        answer.cancel()
        gone.cancel()


async def _read_headers(reader: asyncio.StreamReader) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ignored in range(HEADERS_MAX):
        line = await reader.readline()
        if line in (b"\r\n", b"\n"):
            return headers
        name, separator, value = line.decode("latin-1").partition(":")
        if not separator:
            raise ValueError("a header has no colon")
        headers[name.strip().lower()] = value.strip()
    raise ValueError("too many headers")


def _render(answer: Answer) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {REASONS[answer.status]}",
        "Connection: close",
        f"Content-Length: {len(answer.body)}",
    ]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + answer.body
