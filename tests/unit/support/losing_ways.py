# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One POST on a way that loses it somewhere, and a check that what is told of it agrees with what was seen."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
from ansible_collections.dcta.fleet.plugins.module_utils.http_session import Answer, HttpSession
from loopback_trust import Trust
from losing_servers import (
    LOOPBACK,
    NAME,
    Script,
    Server,
    Wire,
    http_proxy,
    serving,
    socks_proxy,
)

FORM = [("grant_type", "refresh_token"), ("refresh_token", "planted-refresh-1")]
TOKENS = json.dumps({"refresh_token": "planted-refresh-2", "access_token": "planted-access-2", "more": "x" * 4000})
CUT = TOKENS[:2000].encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + f"Content-Length: {len(TOKENS)}\r\n\r\n{TOKENS}".encode()
PLAIN, TLS = "http", "https"
SCHEMES = (PLAIN, TLS)
PROXIES = ("", "http", *(pytest.param(name, marks=pytest.mark.slow) for name in ("https", "socks5", "socks5h")))
LATE = 0.3
"""Seconds until a deadline that shall strike."""


@dataclass
class Told:
    """What the session told and what the provider saw.

    Attributes:
        provider: the provider.
        answer: what the session returned, if it did.
        error: what it raised, if it did.
        proxy: the proxy, where there is one.
    """

    provider: Server
    answer: Answer | None = None
    error: NetworkError | None = None
    proxy: Server | None = None

    def assert_true(self) -> None:
        """Assert that nothing that was seen is denied, whatever came later."""
        sent = self.error is None or self.error.sent
        assert sent or self.provider.seen == b"", "the provider saw bytes of a request that counts as unsent"
        assert sent or not self.provider.requests
        if self.error is not None:
            assert "planted" not in f"{self.error!r} {self.error.cure}"
            assert self.error.__context__ is None, "a traceback would show the address with all that is in it"
            assert self.error.sentence.endswith(".")


def exchange_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "exchange"]


def wait_for_exchanges() -> None:
    """Wait until no abandoned exchange is left."""
    for thread in exchange_threads():
        thread.join(20)
    assert not exchange_threads()


def at_its_deadline(post: Callable[..., Told], far_enough: Callable[[Told], object]) -> Told:
    """Let the deadline of a POST strike; a later one where the machine was too busy to get so far."""
    told = post(LATE)
    for seconds in (1, 4, 16):
        if far_enough(told):
            break
        told = post(seconds)
    return told


def proxy_script(scheme: str) -> Script:
    return http_proxy if scheme.startswith("http") else socks_proxy


@contextmanager
def way(
    trust: Trust,
    proxy: str,
    scheme: str,
    script: Script,
    *,
    through: Script | None = None,
    trusted: Trust | None = None,
) -> Iterator[tuple[Told, Callable[..., Told]]]:
    """Yield a function that sends one POST through a kind of proxy to a provider with this script.

    Args:
        trust: whose certificates the servers show.
        proxy: its scheme, empty for a direct way.
        scheme: the provider's.
        script: what the provider does.
        through: what the proxy does, if not its work.
        trusted: whose certificates the session believes, if not the same.
    """
    with ExitStack() as stack:
        provider = stack.enter_context(serving(script, trust.server if scheme == TLS else None))
        told = Told(provider)
        url = ""
        if proxy:
            context = trust.server if proxy == "https" else None
            told.proxy = stack.enter_context(serving(through or proxy_script(proxy), context))
            url = f"{proxy}://{LOOPBACK}:{told.proxy.port}"
        session = HttpSession(proxy=url or None, ca_bundle=str((trusted or trust).bundle))
        stack.callback(session.close)
        host = NAME if proxy == "socks5h" else LOOPBACK

        def post(timeout: float = 20) -> Told:
            told.answer = told.error = None
            try:
                told.answer = session.request(
                    "POST", f"{scheme}://{host}:{provider.port}/planted", data=FORM, timeout=timeout
                )
            except NetworkError as error:
                told.error = error
            return told

        try:
            yield told, post
        finally:
            provider.hang_up()
            if told.proxy is not None:
                told.proxy.hang_up()
            wait_for_exchanges()
    told.assert_true()


# What a provider or a proxy does.


def answering(data: bytes) -> Script:
    """Read the whole request, send this and close."""

    def script(wire: Wire) -> None:
        wire.secure()
        wire.request()
        wire.send(data)

    return script


def nothing(wire: Wire) -> None:
    wire.secure()
    wire.request()


def reset(wire: Wire) -> None:
    wire.secure()
    wire.request()
    wire.reset()


def reset_amid_request(wire: Wire) -> None:
    wire.secure()
    wire.read()
    wire.reset()


def silent(wire: Wire) -> None:
    wire.secure()
    wire.request()
    wire.wait()


def dripping(data: bytes, first: bytes = b"") -> Script:
    """Read the whole request, send some bytes and then others without end."""

    def script(wire: Wire) -> None:
        wire.secure()
        wire.request()
        wire.send(first)
        wire.drip(data)

    return script


def broken_record(data: bytes) -> Script:
    """Send the beginning of an answer and then a TLS record that nobody can decrypt."""

    def script(wire: Wire) -> None:
        wire.secure()
        wire.request()
        if data:
            wire.send(data)
        wire.below(b"\x17\x03\x03\x00\x20" + bytes(32))

    return script


def close_at_once(wire: Wire) -> None:
    """Close without a word."""


def reset_at_once(wire: Wire) -> None:
    wire.reset()


def connect_then(*, close: bool = False, answer: bytes = b"", drips: bytes = b"") -> Script:
    """Read what a proxy is asked for, then do this in place of it."""

    def script(wire: Wire) -> None:
        wire.secure()
        wire.head()
        if close:
            return
        wire.send(answer)
        if drips:
            wire.drip(drips)

    return script


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = HEAD + b"Content-Length: 9000\r\n\r\n"


def without_loss(text: str) -> bool:
    return text.startswith('{"refresh_token": "planted-refresh-2", "access_token": "planted-access-2"')
