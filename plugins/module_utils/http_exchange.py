# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request and its answer: it ends at its deadline, and it knows whether the request has left.

No library bounds an exchange as a whole: a name server, a SOCKS proxy or an answer that drips can each take for ever.
So the exchange runs in a thread of its own, and whoever started it stops waiting at the deadline.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from io import BufferedReader
from typing import Any


class Exchange:
    """What became of one request. The thread that waits reads it after `run`; nothing changes from then on.

    Attributes:
        sent: whether a byte of the request may have left on an established way to the provider.
        late: whether the deadline struck before the exchange had ended.
        head: status and header fields, None until all of them have arrived.
        body: what has arrived of the body, its transfer coding removed.
        whole: whether the body has arrived to its end.
        error: why the exchange ended early, None if it did not.
    """

    def __init__(self) -> None:
        self.sent = False
        self.late = False
        self.head: tuple[int, Mapping[str, str]] | None = None
        self.body = bytearray()
        self.whole = False
        self.error: Exception | None = None
        self._lock = threading.Lock()
        self._over = False
        self._ended = threading.Event()
        self._socket: Any = None

    def run(self, work: Callable[[], None], seconds: float) -> None:
        """Do the work in a thread and wait for it, but not longer than this.

        Args:
            work: sends the request over connections of class `Connection` and notes the answer here.
            seconds: for all of it.

        Raises:
            RuntimeError: no thread can be started.
        """
        # A daemon, because a look-up of a name cannot be interrupted and must not keep the program from ending.
        thread = threading.Thread(target=self._do, args=(work,), name="exchange", daemon=True)
        try:
            thread.start()
            self.late = not self._ended.wait(seconds)
        finally:
            with self._lock:
                self._over = True
            if not self._ended.is_set():
                self._hang_up()

    def _do(self, work: Callable[[], None]) -> None:
        _CURRENT.set(self)
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a hostile answer makes the layers below raise whatever they can
            with self._lock:
                if not self._over:
                    self.error = error
        finally:
            self._ended.set()

    def _hang_up(self) -> None:
        # What wraps TLS in TLS has no shutdown of its own. That of SSLSocket would first switch encryption off, and the
        # other thread may be in the middle of sending.
        connected = getattr(self._socket, "socket", self._socket)
        if isinstance(connected, socket.socket):
            try:
                socket.socket.shutdown(connected, socket.SHUT_RDWR)
            except OSError:
                return

    def reaching(self, connected: Any) -> None:
        """Note that a proxy is about to be asked for a way.

        Args:
            connected: the socket, which is shut down at the deadline.

        Raises:
            ConnectionAbortedError: nobody waits for the exchange any more.
        """
        with self._lock:
            self._refuse_when_over()
            self._socket = connected

    def leaving(self, connected: Any) -> None:
        """Note that bytes of the request are about to leave.

        Args:
            connected: the socket, which is shut down at the deadline.

        Raises:
            ConnectionAbortedError: nobody waits for the exchange any more, so the bytes must not leave.
        """
        with self._lock:
            self._refuse_when_over()
            self._socket = connected
            self.sent = True

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Note the head of the answer.

        Args:
            status: HTTP status.
            headers: header fields.

        Raises:
            ConnectionAbortedError: nobody waits for the exchange any more.
        """
        with self._lock:
            self._refuse_when_over()
            self.head = status, headers

    def received(self, piece: bytes) -> None:
        """Note the next piece of the body.

        Args:
            piece: bytes, as they arrived.

        Raises:
            ConnectionAbortedError: nobody waits for the exchange any more.
        """
        with self._lock:
            self._refuse_when_over()
            self.body += piece

    def finished(self) -> None:
        """Note that the body has arrived to its end.

        Raises:
            ConnectionAbortedError: nobody waits for the exchange any more.
        """
        with self._lock:
            self._refuse_when_over()
            self.whole = True

    def _refuse_when_over(self) -> None:
        if self._over:
            raise ConnectionAbortedError


_CURRENT: ContextVar[Exchange] = ContextVar("exchange")
"""The exchange of this thread."""


class _Lines:
    """Reads lines; an end where another line has to follow is an error, and http.client takes it for an empty line."""

    def __init__(self, source: BufferedReader) -> None:
        self._source = source

    def readline(self, limit: int) -> bytes:
        line = self._source.readline(limit)
        if not line.endswith(b"\n") and len(line) < limit:
            raise http.client.RemoteDisconnected("")
        return line


class _Response(http.client.HTTPResponse):
    """Takes a head that is cut for none at all: what decides on the body may be missing."""

    def begin(self) -> None:
        source = self.fp
        self.fp = _Lines(source)  # type: ignore[assignment]
        try:
            super().begin()
        finally:
            self.fp = source


class Connection(http.client.HTTPConnection):
    """Tells the exchange of its thread what it sends; goes before a connection class of urllib3 as its first base."""

    response_class = _Response
    _connecting = False

    def connect(self) -> None:
        """Open the way to the provider: TCP, a proxy's handshake, TLS."""
        self._connecting = True
        try:
            super().connect()
        finally:
            self._connecting = False
        # RFC 9112 section 8: a body that only TLS's own end can end is incomplete without it.
        if hasattr(self.sock, "suppress_ragged_eofs"):
            self.sock.suppress_ragged_eofs = False

    def send(self, data: Any) -> None:
        """Send bytes: those of a CONNECT while the way is being opened, those of the request afterwards.

        Args:
            data: as `http.client.HTTPConnection.send` takes it.

        Raises:
            ConnectionAbortedError: nobody waits for the exchange any more.
        """
        if self._connecting:
            _CURRENT.get().reaching(self.sock)
        else:
            # The way comes first, so that its failure is none of the request.
            if self.sock is None and self.auto_open:
                self.connect()
            _CURRENT.get().leaving(self.sock)
        super().send(data)
