# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A replica answers, is silent or absent; what hangs is ended; and when nobody listened, each replica is looked at."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from agent_node import Node, on_a_node, until
from dcta_agent.program import Patch, Sign, patch_tokens, ping

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HOST = "127.0.0.1"


@contextlib.asynccontextmanager
async def program(serve: Serve) -> AsyncIterator[int]:
    """Run a program; yield its port."""
    open_connections: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_connections.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            await serve(reader, writer)
        writer.transport.abort()
        open_connections.discard(task)

    server = await asyncio.start_server(handle, HOST)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for task in open_connections:
            task.cancel()
    await asyncio.sleep(0.01)


def say(text: bytes) -> Serve:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()

    return serve


async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.02)


async def silence(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


def ask(serve: Serve) -> tuple[Sign, Patch]:
    """Ask a program both questions."""

    async def run() -> tuple[Sign, Patch]:
        async with program(serve) as port:
            sign = await ping(HOST, port, 0.2)
            return sign, await patch_tokens(HOST, port, "planted-password", ["planted"], 0.2)

    return asyncio.run(run())


PONG = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{"message":"pong"}'


@pytest.mark.parametrize(
    ("serve", "sign", "patch"),
    [
        pytest.param(say(PONG), Sign.ANSWERS, Patch.TAKEN, id="answers"),
        pytest.param(say(b"HTTP/1.0 200\r\n\r\n"), Sign.ANSWERS, Patch.TAKEN, id="answers in short"),
        pytest.param(say(b"HTTP/1.1 401 Unauthorized\r\n\r\n"), Sign.SILENT, Patch.REFUSED, id="refuses"),
        pytest.param(say(b"HTTP/1.1 500 X\r\n\r\n"), Sign.SILENT, Patch.REFUSED, id="fails"),
        pytest.param(silence, Sign.SILENT, Patch.UNKNOWN, id="is silent"),
        pytest.param(drip, Sign.SILENT, Patch.UNKNOWN, id="drips"),
        pytest.param(say(b"HTTP/1.1 200 OK\r\nContent-"), Sign.ABSENT, Patch.UNKNOWN, id="breaks off"),
        pytest.param(say(b""), Sign.ABSENT, Patch.UNKNOWN, id="hangs up"),
        pytest.param(say(b"SSH-2.0-x\r\n\r\n"), Sign.ABSENT, Patch.UNKNOWN, id="speaks something else"),
        pytest.param(say(b"HTTP/1.1 abc OK\r\n\r\n"), Sign.ABSENT, Patch.UNKNOWN, id="has no status"),
        pytest.param(
            say(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"), Sign.ABSENT, Patch.UNKNOWN, id="babbles"
        ),
        pytest.param(
            say(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"), Sign.ABSENT, Patch.UNKNOWN, id="is verbose"
        ),
    ],
)
def test_what_a_replica_shows_and_what_became_of_its_token(serve: Serve, sign: Sign, patch: Patch) -> None:
    assert ask(serve) == (sign, patch)


def test_where_nobody_listens_nothing_was_sent() -> None:
    async def run() -> tuple[Sign, Patch]:
        async with program(silence) as port:
            pass
        return await ping(HOST, port, 0.2), await patch_tokens(HOST, port, "planted-password", ["planted"], 0.2)

    assert asyncio.run(run()) == (Sign.ABSENT, Patch.UNSENT)


def test_a_token_goes_out_as_json_with_the_lanes_password_and_nothing_else_is_kept_open() -> None:
    seen: list[bytes] = []

    async def run() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            seen.extend((head, await reader.readexactly(11)))
            writer.write(PONG)
            writer.close()

        server = await asyncio.start_server(handle, HOST)
        async with server:
            port = server.sockets[0].getsockname()[1]
            assert await patch_tokens(HOST, port, "planted-password", ["planted"], 2) is Patch.TAKEN

    asyncio.run(run())
    head, body = seen
    fields = dict(line.split(": ", 1) for line in head.decode().splitlines()[1:] if line)
    assert head.startswith(b"PATCH /admin/tokens HTTP/1.1\r\n")
    assert (fields["Authorization"], fields["Content-Type"]) == ("planted-password", "application/json")
    assert (fields["Connection"], fields["Content-Length"], body) == ("close", "11", b'["planted"]')


def test_when_nobody_listened_every_replica_is_looked_at_also_one_that_is_just_asked(tmp_path: Path) -> None:
    """Two watchers must not take each other's wake-up."""

    async def test(node: Node) -> None:
        node.save("alice")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            slow = node.replicas["alice"]["a"]
            slow.pause = 0.3
            await node.ask("alice", 502, answered=False)
            asked = slow.pings
            # Its watcher is still at that look; the other one waits, and is the first to learn of this.
            await node.ask("alice", 502, answered=False)
            await until(lambda: slow.pings == asked + 1 and node.agent.lanes["alice"].up == {"a": True, "b": True})

    on_a_node(tmp_path, test, ping_interval=30, ping_timeout=5, converge_interval=30)
