# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small servers that answer as a test wants it, over TLS on this machine."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from dcta_load import Question, Target

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
KEY = "a key that only the server may see"


def make_certificate(folder: Path) -> None:
    """Write tls.crt and tls.key, good for 127.0.0.1 and trusted by those who have the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tls.key").write_bytes(key.private_bytes(*form))
    (folder / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@asynccontextmanager
async def gateway(folder: Path, serve: Serve, protocol: str = "http/1.1") -> AsyncIterator[Target]:
    """Run a server and hand over where it is.

    Args:
        folder: holds tls.crt and tls.key.
        serve: answers one connection.
        protocol: what it offers in ALPN.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.set_alpn_protocols([protocol])
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Target("127.0.0.1", port, key=KEY, authority=folder / "tls.crt")


class Program:
    """Answers as the stand-in program does, or changed by the test.

    Args:
        spoil: gets the right body of an answer and returns the one to send.
        cut: sends only so many bytes of the body and then closes the connection.
        closes: closes the connection without an answer, for every such request (1: each, 3: each third).
        says_close: ends the connection after each answer, and says so.
        idles: seconds after which an idle connection is closed.
    """

    def __init__(
        self,
        spoil: Callable[[bytes], bytes] = lambda body: body,
        *,
        cut: int | None = None,
        closes: int = 0,
        says_close: bool = False,
        idles: float = 30.0,
    ) -> None:
        self._spoil = spoil
        self._cut = cut
        self._closes = closes
        self._says_close = says_close
        self._idles = idles
        self.words: list[str] = []
        self.targets: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        try:
            while True:
                async with asyncio.timeout(self._idles):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                length = next(int(line.split(":")[1]) for line in head if line.startswith("Content-Length:"))
                body = await reader.readexactly(length)
                if not await self._answer(head[0].split(" ")[1], body, writer):
                    break
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, target: str, body: bytes, writer: asyncio.StreamWriter) -> bool:
        request = json.loads(body)
        word = request["messages"][-1]["content"]
        self.words.append(word)
        self.targets.append(target)
        if self._closes and len(self.words) % self._closes == 0:
            return False
        answer = self._spoil(asked(request).expected())
        lines = [
            "HTTP/1.1 200 OK",
            "Transfer-Encoding: chunked",
            *(f"{k}: {v}" for k, v in arrived(target, body).items()),
        ]
        if self._says_close:
            lines.append("Connection: close")
        sent = answer if self._cut is None else answer[: self._cut]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for part in (sent[: len(sent) // 2], sent[len(sent) // 2 :]):
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await writer.drain()
        if self._cut is not None:
            return False
        writer.write(b"0\r\n\r\n")
        return not self._says_close


def arrived(target: str, body: bytes) -> dict[str, str]:
    """Return the headers in which the stand-in program says what arrived."""
    return {
        "x-stand-in-target": target,
        "x-stand-in-body-sha256": hashlib.sha256(body).hexdigest(),
        "x-stand-in-authorization": "absent",
    }


def asked(request: dict[str, Any]) -> Question:
    """Understand a request as the stand-in back end does."""
    prompt = request["messages"][-1]["content"]
    count, _ignored, word = prompt.removeprefix("repeat ").partition(": ")
    if word:
        return Question(word, stream=request["stream"], count=int(count.split()[0]))
    return Question(prompt, stream=request["stream"])


class Http2Program:
    """Speaks HTTP/2 and says GOAWAY once, when so many requests came on the first connection.

    Args:
        away_after: requests of the first connection that are taken as processed.
        expected: requests that must have come before GOAWAY is sent.
        resets: resets each stream instead of answering.
    """

    def __init__(self, *, away_after: int = 0, expected: int = 0, resets: bool = False) -> None:
        self._away_after = away_after
        self._expected = expected
        self._resets = resets
        self._connections = 0
        self.arrived: list[list[str]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        first = not self.arrived
        seen: list[str] = []
        self.arrived.append(seen)
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        state.initiate_connection()
        writer.write(state.data_to_send())
        requests: dict[int, tuple[str, bytearray]] = {}
        whole: list[int] = []
        try:
            while data := await reader.read(65536):
                for event in state.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        target = next(value.decode() for name, value in event.headers if name == b":path")
                        requests[event.stream_id] = (target, bytearray())
                    elif isinstance(event, h2.events.DataReceived):
                        requests[event.stream_id][1].extend(event.data)
                        state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.StreamEnded):
                        whole.append(event.stream_id)
                        seen.append(json.loads(bytes(requests[event.stream_id][1]))["messages"][-1]["content"])
                writer.write(state.data_to_send())
                if first and self._away_after and len(whole) >= self._expected:
                    last = sorted(whole)[self._away_after - 1]
                    # By hand: h2 itself would not send anything after it.
                    writer.write(b"\x00\x00\x08\x07\x00" + bytes(4) + last.to_bytes(4, "big") + bytes(4))
                    await writer.drain()
                    # The streams below go on after it.
                    await asyncio.sleep(0.1)
                    whole = [number for number in whole if number <= last]
                if not (first and self._away_after) or len(seen) >= self._expected:
                    for number in whole:
                        self._answer(state, number, *requests[number])
                    whole = []
                    writer.write(state.data_to_send())
        except ConnectionError:
            pass
        writer.close()

    def _answer(self, state: h2.connection.H2Connection, number: int, target: str, body: bytearray) -> None:
        if self._resets:
            state.reset_stream(number, error_code=7)
            return
        request = json.loads(bytes(body))
        state.send_headers(number, [(":status", "200"), *arrived(target, bytes(body)).items()])
        state.send_data(number, asked(request).expected(), end_stream=True)
