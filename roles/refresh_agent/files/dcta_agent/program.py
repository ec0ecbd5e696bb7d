# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two questions that the agent asks a replica of the program: are you there, and here is a new token.

The standard library's http.client writes the request and reads the answer; asyncio moves the bytes, because a thread
for each of some hundred replicas that hang would be one too many.
"""

from __future__ import annotations

import asyncio
import io
import json
from asyncio import IncompleteReadError, LimitOverrunError
from collections.abc import Mapping
from enum import Enum
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, cast

END_OF_HEAD = b"\r\n\r\n"


class NoAnswer(Exception):
    """A replica gave no answer that can be read.

    Args:
        sent: whether the request had gone out, so that it may yet be carried out.
        silent: whether the time was over; else nobody listened, or the answer broke off.
    """

    def __init__(self, *, sent: bool, silent: bool) -> None:
        super().__init__()
        self.sent = sent
        self.silent = silent


class _Writer(HTTPConnection):
    """Keeps what it would send."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(address, port)
        self.written = bytearray()

    def send(self, data: Any) -> None:
        self.written += data


class _Received:
    """Stands where an answer expects the socket that it is read from."""

    def __init__(self, head: bytes) -> None:
        self._head = head

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._head)


async def ask(
    address: str,
    port: int,
    *,
    method: str,
    path: str,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    document: Any = None,
) -> int:
    """Send one request over a connection of its own and return the status.

    Args:
        address: the replica's address.
        port: its port.
        method: the HTTP method.
        path: the target.
        headers: further headers.
        document: the body, sent as JSON; None for none.
        timeout: for everything together, in seconds.

    Raises:
        NoAnswer: there was none in time, or none that can be read.
    """
    request = _Writer(address, port)
    fields = {"Connection": "close", **(headers or {})}
    if document is None:
        request.request(method, path, headers=fields)
    else:
        request.request(method, path, json.dumps(document).encode(), {"Content-Type": "application/json", **fields})
    sent = False
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                sent = True
                writer.write(bytes(request.written))
                head = await reader.readuntil(END_OF_HEAD)
            finally:
                writer.close()
        response = HTTPResponse(cast("Any", _Received(head)))
        response.begin()
    except (OSError, IncompleteReadError, LimitOverrunError, HTTPException) as error:
        raise NoAnswer(sent=sent, silent=isinstance(error, TimeoutError)) from None
    return response.status


class Sign(Enum):
    """What a replica showed when it was asked."""

    ANSWERS = "answers"
    SILENT = "silent"
    ABSENT = "absent"


async def ping(address: str, port: int, timeout: float) -> Sign:
    """Ask a replica whether it is there.

    Args:
        address: the replica's address.
        port: its port.
        timeout: seconds that the whole answer may take.

    Returns:
        It answers, it takes the connection and stays silent, or nobody listens.
    """
    try:
        status = await ask(address, port, method="GET", path="/ping", timeout=timeout)
    except NoAnswer as failure:
        return Sign.SILENT if failure.silent else Sign.ABSENT
    return Sign.ANSWERS if status == 200 else Sign.SILENT


class Patch(Enum):
    """What became of a token that a replica was handed."""

    TAKEN = "taken"
    REFUSED = "refused"
    UNSENT = "unsent"
    UNKNOWN = "unknown"


async def patch_tokens(address: str, port: int, admin_password: str, tokens: Any, timeout: float) -> Patch:
    """Hand a replica its new token.

    Args:
        address: the replica's address.
        port: its port.
        admin_password: the lane's.
        tokens: the token in the form that the program takes.
        timeout: seconds that the whole answer may take.

    Returns:
        It took it or refused, it was not asked, or it was asked and did not answer: then it may yet take it.
    """
    headers = {"Authorization": admin_password}
    try:
        status = await ask(
            address, port, method="PATCH", path="/admin/tokens", headers=headers, document=tokens, timeout=timeout
        )
    except NoAnswer as failure:
        return Patch.UNKNOWN if failure.sent else Patch.UNSENT
    return Patch.TAKEN if status == 200 else Patch.REFUSED
