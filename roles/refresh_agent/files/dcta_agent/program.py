# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two questions that the agent asks a replica of the program: are you there, and here is a new token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

ANSWER_BYTES = 65536


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
        OSError: nobody listens, or the answer broke off.
        TimeoutError: there was no answer in time.
    """
    body = b"" if document is None else json.dumps(document).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {address}:{port}",
        "Connection: close",
        f"Content-Length: {len(body)}",
    ]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if document is not None:
        lines.append("Content-Type: application/json")
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection(address, port)
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
            status_line = await reader.readline()
            await reader.read(ANSWER_BYTES)
        except ValueError:  # a line without an end
            raise ConnectionError("the answer is not HTTP") from None
        finally:
            writer.close()
    parts = status_line.split()
    if len(parts) < 2 or not parts[1].isdigit():
        raise ConnectionError("the answer broke off")
    return int(parts[1])


class Sign(Enum):
    """What a replica showed when it was asked."""

    ANSWERS = "answers"
    SILENT = "silent"
    ABSENT = "absent"


async def ping(address: str, port: int, timeout: float) -> Sign:
    """Ask a replica whether it is there: it answers, it takes the connection and stays silent, or nobody listens."""
    try:
        return (
            Sign.ANSWERS
            if await ask(address, port, method="GET", path="/ping", timeout=timeout) == 200
            else Sign.SILENT
        )
    except TimeoutError:
        return Sign.SILENT
    except OSError:
        return Sign.ABSENT


async def patch_tokens(address: str, port: int, admin_password: str, tokens: Any, timeout: float) -> bool:
    """Hand a replica its new token; say whether it took it.

    Raises:
        OSError: nobody listens, or the answer broke off.
        TimeoutError: there was no answer in time.
    """
    headers = {"Authorization": admin_password}
    status = await ask(
        address, port, method="PATCH", path="/admin/tokens", headers=headers, document=tokens, timeout=timeout
    )
    return status == 200
