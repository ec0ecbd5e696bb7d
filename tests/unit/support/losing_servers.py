# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A provider and proxies on loopback that lose answers where they are told, and know which bytes really arrived."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"
NAME, OTHER_NAME = "login.example.test", "other.example.test"
"""Names that only the proxies here can resolve."""
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
DRIP_SECONDS = 0.02


@dataclass
class Wire:
    """One connection to a server, from the server's side.

    Attributes:
        server: the server.
        connected: what is spoken over, TLS or not.
        buffered: bytes that were read beyond what was asked for.
    """

    server: Server
    connected: socket.socket
    buffered: bytes = b""

    def secure(self) -> None:
        """Do a TLS handshake if the server speaks TLS."""
        if self.server.context is not None and not isinstance(self.connected, ssl.SSLSocket):
            self.connected = self.server.context.wrap_socket(self.connected, server_side=True)

    def read(self) -> bytes:
        """Return what is there next, nothing at the end; the server remembers it."""
        piece = self.connected.recv(1 << 14)
        self.server.seen += piece
        return piece

    def head(self) -> bytes:
        """Read up to the empty line."""
        while b"\r\n\r\n" not in self.buffered and (piece := self.read()):
            self.buffered += piece
        head, _separator, self.buffered = self.buffered.partition(b"\r\n\r\n")
        return head

    def request(self) -> bytes:
        """Read a request to its end, and count it."""
        head = self.head()
        lines = head.lower().split(b"\r\n")
        length = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)
        while len(self.buffered) < length and (piece := self.read()):
            self.buffered += piece
        if head and len(self.buffered) >= length:
            self.server.requests.append(head + b"\r\n\r\n" + self.buffered[:length])
            self.server.whole.set()
        self.buffered = self.buffered[length:]
        return head

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.connected.sendall(data)

    def drip(self, data: bytes) -> None:
        """Send one byte at a time, over and over, until the other side is gone."""
        while True:
            for byte in data:
                self.connected.sendall(bytes([byte]))
                if self.server.closing.wait(DRIP_SECONDS):
                    return

    def below(self, data: bytes) -> None:
        """Send bytes below TLS."""
        with socket.socket(fileno=os.dup(self.connected.fileno())) as plain:
            plain.sendall(data)

    def wait(self) -> None:
        """Say nothing until the other side is gone."""
        while self.read():
            pass

    def reset(self) -> None:
        """Close with a reset."""
        self.connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # SSLSocket.close says nothing to the other side, so this is all that it sees.
        self.connected.close()


Script = Callable[[Wire], None]


@dataclass
class Server:
    """A listener, and what came in.

    Attributes:
        script: speaks on one connection, which is closed afterwards.
        context: makes it speak TLS from the beginning of a script that calls `Wire.secure`.
        port: where it listens on 127.0.0.1.
        seen: every byte that its scripts read, TLS removed.
        requests: every request that came to its end.
        whole: set when one has.
        closing: set when the test is over.
        wires: every connection that came.
    """

    script: Script
    context: ssl.SSLContext | None = None
    port: int = 0
    seen: bytearray = field(default_factory=bytearray)
    requests: list[bytes] = field(default_factory=list)
    whole: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)
    wires: list[Wire] = field(default_factory=list)

    def speak(self, wire: Wire) -> None:
        """Serve one connection."""
        # Whoever is lost in the middle is what these servers are for.
        with contextlib.suppress(OSError, ValueError):
            self.script(wire)
        wire.connected.close()

    def hang_up(self) -> None:
        """End all connections."""
        self.closing.set()
        for wire in self.wires:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(wire.connected, socket.SHUT_RDWR)


@contextmanager
def serving(script: Script, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Answer connections until the block ends; then every byte that was sent has been seen.

    Args:
        script: speaks on one connection.
        context: for TLS.
    """
    server = Server(script, context)
    threads: list[threading.Thread] = []

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                connected, _address = listener.accept()
            except OSError:
                return
            connected.settimeout(20)
            # What was sent before a reset has left before it.
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.wires.append(Wire(server, connected))
            threads.append(threading.Thread(target=server.speak, args=(server.wires[-1],), daemon=True))
            threads[-1].start()

    with socket.create_server((LOOPBACK, 0)) as listener:
        server.port = listener.getsockname()[1]
        acceptor = threading.Thread(target=accept, args=(listener,), daemon=True)
        acceptor.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            server.hang_up()
            for thread in threads:
                thread.join()


# Proxies.


def _connect(host: bytes, port: int) -> socket.socket:
    # The one who resolves names knows only loopback.
    assert host.decode() in (NAME, OTHER_NAME, LOOPBACK), host
    return socket.create_connection((LOOPBACK, port), 20)


def _relay(wire: Wire, target: socket.socket) -> None:
    """Pass bytes on in both directions until one side ends; its reset is passed on as a reset."""
    with target:
        target.sendall(wire.buffered)
        while True:
            ready, _writable, _failed = select.select([wire.connected, target], [], [])
            if target in ready:
                try:
                    piece = target.recv(1 << 14)
                except ConnectionResetError:
                    wire.reset()
                    return
                if not piece:
                    return
                wire.send(piece)
            if wire.connected in ready:
                piece = wire.connected.recv(1 << 16)
                if not piece:
                    return
                while isinstance(wire.connected, ssl.SSLSocket) and wire.connected.pending():
                    piece += wire.connected.recv(1 << 16)
                target.sendall(piece)


def http_proxy(wire: Wire) -> None:
    """Serve CONNECT and absolute addresses (RFC 9110 section 9.3.6, RFC 9112 section 3.2.2)."""
    wire.secure()
    head = wire.head()
    method, target = head.split(b" ")[:2]
    if method == b"CONNECT":
        host, _colon, port = target.rpartition(b":")
        connected = _connect(host, int(port))
        wire.send(ESTABLISHED)
        _relay(wire, connected)
    else:
        host, _colon, port = target.split(b"/")[2].rpartition(b":")
        wire.buffered = head + b"\r\n\r\n" + wire.buffered
        _relay(wire, _connect(host, int(port)))


def socks_proxy(wire: Wire) -> None:
    """Serve SOCKS5 without credentials (RFC 1928)."""
    host, port = socks_request(wire)
    connected = _connect(host, port)
    wire.send(b"\x05\x00\x00\x01" + bytes(6))
    _relay(wire, connected)


def socks_request(wire: Wire) -> tuple[bytes, int]:
    """Read what a client of SOCKS5 wants, and return host and port."""
    while len(wire.buffered) < 3:
        wire.buffered += _some(wire)
    wire.buffered = b""
    wire.send(b"\x05\x00")
    while len(wire.buffered) < 10:
        wire.buffered += _some(wire)
    request, wire.buffered = wire.buffered, b""
    port = int.from_bytes(request[-2:], "big")
    if request[3] == 1:
        return socket.inet_ntoa(request[4:8]).encode(), port
    return request[5 : 5 + request[4]], port


def _some(wire: Wire) -> bytes:
    piece = wire.read()
    if not piece:
        raise ConnectionError
    return piece
