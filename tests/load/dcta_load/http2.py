# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/2 (RFC 9113): one connection for many requests, and GOAWAY honoured as section 6.8 says."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from .http1 import BrokenAnswer
from .question import Answer, Question
from .target import Target

FRAME_HEAD = 9
GOAWAY = 0x7
READ_BYTES = 65536
WINDOW = 2**24
REPETITIONS_MAX = 3


class NotProcessed(Exception):
    """The server said that it never looked at this request: it may be sent again."""


class _Stream:
    """One request under way."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.window = asyncio.Event()

    def fail(self, error: Exception) -> None:
        """End it without an answer."""
        if not self.done.done():
            self.done.set_exception(error)
        self.window.set()


class Http2Connection:
    """A connection until the server closes it or says GOAWAY.

    Args:
        reader: the server's bytes.
        writer: takes ours.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._streams: dict[int, _Stream] = {}
        self._state = h2.connection.H2Connection(h2.config.H2Configuration())
        self._state.initiate_connection()
        # Answers shall never wait for us.
        self._state.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
        self._state.increment_flow_control_window(WINDOW)
        self.open = True
        self._greeted = asyncio.Event()
        self._flush()
        self._receiving = asyncio.create_task(self._receive())

    @classmethod
    async def connect(cls, target: Target, context: ssl.SSLContext) -> Http2Connection:
        """Open a connection and wait for the server's settings, which say how many requests it takes at once.

        Args:
            target: the gateway.
            context: offers h2 alone.

        Raises:
            OSError: there is no connection.
        """
        connection = cls(*await asyncio.open_connection(target.address, target.port, ssl=context))
        await connection._greeted.wait()
        if not connection.open:
            raise ConnectionError
        return connection

    @property
    def in_use(self) -> bool:
        """Whether it can take requests, or still owes answers."""
        return self.open or bool(self._streams)

    @property
    def room(self) -> bool:
        """Whether one more request may be sent."""
        return self.open and len(self._streams) < self._state.remote_settings.max_concurrent_streams

    async def ask(self, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """Send one request and read its answer.

        Args:
            headers: the request's, pseudo-headers first.
            body: its body.

        Raises:
            NotProcessed: the server's GOAWAY leaves this request out.
            BrokenAnswer: the answer did not come whole.
        """
        number = self._state.get_next_available_stream_id()
        stream = self._streams[number] = _Stream()
        try:
            self._state.send_headers(number, headers)
            self._flush()
            await self._send(number, stream, body)
            await stream.done
        finally:
            self._streams.pop(number, None)
            if not self.open and not self._streams:
                self.close()
        return Answer(stream.status, stream.headers, b"".join(stream.body))

    def close(self) -> None:
        """Close the connection; what is under way gets no answer."""
        self.open = False
        self._greeted.set()
        self._receiving.cancel()
        self._writer.transport.abort()
        self._lose("the connection was closed")

    async def _send(self, number: int, stream: _Stream, body: bytes) -> None:
        at = 0
        while not stream.done.done():
            size = min(
                len(body) - at, self._state.local_flow_control_window(number), self._state.max_outbound_frame_size
            )
            last = at + size == len(body)
            if size or last:
                self._state.send_data(number, body[at : at + size], end_stream=last)
                self._flush()
                at += size
                if last:
                    return
                with contextlib.suppress(ConnectionError):
                    await self._writer.drain()
            else:
                stream.window.clear()
                await stream.window.wait()

    def _flush(self) -> None:
        data = self._state.data_to_send()
        if data and not self._writer.is_closing():
            self._writer.write(data)

    async def _receive(self) -> None:
        waiting = b""
        try:
            while data := await self._reader.read(READ_BYTES):
                waiting = self._take_frames(waiting + data)
        except (OSError, h2.exceptions.ProtocolError) as error:
            self._lose(type(error).__name__)
        self.open = False
        self._greeted.set()
        self._lose("the connection ended inside an answer")
        self._writer.transport.abort()

    def _take_frames(self, data: bytes) -> bytes:
        """Work on the whole frames (RFC 9113, 4.1) and return the rest."""
        while len(data) >= FRAME_HEAD and len(data) >= (end := FRAME_HEAD + int.from_bytes(data[:3], "big")):
            frame, data = data[:end], data[end:]
            if frame[3] == GOAWAY:
                # h2 takes this for the end of the connection, and the streams that go on would be lost.
                self._go_away(int.from_bytes(frame[FRAME_HEAD : FRAME_HEAD + 4], "big") & 0x7FFFFFFF)
            else:
                for event in self._state.receive_data(frame):
                    self._take(event)
                self._flush()
        return data

    def _go_away(self, last: int) -> None:
        self.open = False
        for number, stream in self._streams.items():
            if number > last:
                stream.fail(NotProcessed())

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            self._greeted.set()
            for each in self._streams.values():
                each.window.set()
            return
        stream = self._streams.get(getattr(event, "stream_id", 0) or 0)
        if isinstance(event, h2.events.DataReceived):
            self._state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if stream is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            headers = {name.decode(): value.decode() for name, value in event.headers}
            stream.status = int(headers.pop(":status"))
            stream.headers = headers
        elif isinstance(event, h2.events.DataReceived):
            stream.body.append(event.data)
        elif isinstance(event, h2.events.StreamEnded):
            if not stream.done.done():
                stream.done.set_result(None)
            stream.window.set()
        elif isinstance(event, h2.events.StreamReset):
            stream.fail(BrokenAnswer(f"the stream was reset with error {event.error_code}"))

    def _lose(self, reason: str) -> None:
        for stream in self._streams.values():
            stream.fail(BrokenAnswer(reason))


class Http2Client:
    """A client of many requests at once.

    Args:
        target: the gateway.
        opened: is called for each connection that is opened.
        repeated: is called for each request that is sent again because the server never processed it.
    """

    def __init__(self, target: Target, opened: Callable[[], None], repeated: Callable[[], None]) -> None:
        self._target = target
        self._context = target.context("h2")
        self._opened = opened
        self._repeated = repeated
        self._connections: list[Http2Connection] = []
        self._opening = asyncio.Lock()

    async def ask(self, question: Question, body: bytes) -> Answer:
        """Send one request and read its answer; only what the server says it never processed is sent again.

        Args:
            question: what is asked.
            body: its body.

        Raises:
            OSError: there is no connection.
            BrokenAnswer: the answer did not come whole.
        """
        headers = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", f"{self._target.address}:{self._target.port}"),
            (":path", question.target),
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
        ]
        if self._target.key:
            headers.append(("authorization", f"Bearer {self._target.key}"))
        for _ignored in range(REPETITIONS_MAX + 1):
            connection = await self._connection()
            try:
                return await connection.ask(headers, body)
            except NotProcessed:
                self._repeated()
        raise BrokenAnswer(f"the server left it unprocessed {REPETITIONS_MAX + 1} times")

    def close(self) -> None:
        """Close all connections, those too on which the last answers are awaited after a GOAWAY."""
        for connection in self._connections:
            connection.close()

    async def _connection(self) -> Http2Connection:
        async with self._opening:
            self._connections = [connection for connection in self._connections if connection.in_use]
            found = next((connection for connection in self._connections if connection.room), None)
            if found is None:
                self._opened()
                found = await Http2Connection.connect(self._target, self._context)
                self._connections.append(found)
            return found
