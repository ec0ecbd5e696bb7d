# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxies on loopback that open no way: they note what they are asked for and answer as they are told."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Answering = Callable[[socket.socket, "FakeProxy"], None]


@dataclass
class FakeProxy:
    """A listener, and what came in.

    Attributes:
        port: where it listens on 127.0.0.1.
        connections: how many connections came.
        asked: all that was received, one entry a message.
    """

    port: int
    connections: int = 0
    asked: list[bytes] = field(default_factory=list)


@contextmanager
def listening(answering: Answering, context: ssl.SSLContext | None = None) -> Iterator[FakeProxy]:
    """Answer connections until the block ends.

    Args:
        answering: speaks on one connection.
        context: makes the proxy speak TLS.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = FakeProxy(listener.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    connection, _address = listener.accept()
                except OSError:
                    return
                proxy.connections += 1
                try:
                    with context.wrap_socket(connection, server_side=True) if context else connection as speaking:
                        speaking.settimeout(5)
                        answering(speaking, proxy)
                except OSError:
                    continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def http(answer: bytes) -> Answering:
    """Read the head of a request, then send these bytes."""

    def speak(connection: socket.socket, proxy: FakeProxy) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(4096)
            if not piece:
                break
            head += piece
        proxy.asked.append(head)
        connection.sendall(answer)

    return speak


def socks(*answers: bytes) -> Answering:
    """Read one message and send the next of these, in turn."""

    def speak(connection: socket.socket, proxy: FakeProxy) -> None:
        for answer in answers:
            proxy.asked.append(connection.recv(4096))
            connection.sendall(answer)

    return speak


def silent(connection: socket.socket, proxy: FakeProxy) -> None:
    """Read until the other side gives up, and say nothing."""
    while piece := connection.recv(4096):
        proxy.asked.append(piece)
