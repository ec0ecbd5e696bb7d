# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fails before the first byte of a request costs no refresh token: it counts as unsent, and nothing was seen."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
from ansible_collections.dcta.fleet.plugins.module_utils.http_session import HttpSession
from loopback_trust import Trust
from losing_servers import (
    ESTABLISHED,
    LOOPBACK,
    OTHER_NAME,
    Script,
    Wire,
    http_proxy,
    serving,
    socks_request,
)
from losing_ways import (
    FORM,
    PLAIN,
    PROXIES,
    SCHEMES,
    TLS,
    WHOLE,
    answering,
    close_at_once,
    connect_then,
    proxy_script,
    reset_at_once,
    silent,
    way,
)


@pytest.fixture
def dropped_by_python() -> Iterator[None]:
    """Let go of the sockets that Python's ssl and http.client leave open when a handshake or CONNECT fails (3.11)."""
    yield
    gc.collect()


def mark_never_sent(test: Callable[..., None]) -> Callable[..., None]:
    pytest.mark.filterwarnings("ignore:Exception ignored in. <(ssl.SSLS|socket.s)ocket")(test)
    pytest.mark.usefixtures("dropped_by_python")(test)
    return test


def close_amid_handshake(wire: Wire) -> None:
    wire.connected.recv(1 << 14)


def no_tls(wire: Wire) -> None:
    wire.connected.recv(1 << 14)
    wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@mark_never_sent
@pytest.mark.parametrize("script", [close_at_once, reset_at_once, close_amid_handshake, no_tls])
@pytest.mark.parametrize("proxy", PROXIES)
def test_what_fails_in_the_handshake_of_tls_is_unsent(trust: Trust, proxy: str, script: Script) -> None:
    with way(trust, proxy, TLS, script) as (_told, post):
        error = post().error
        assert error is not None
        assert error.sent is False


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_certificate_that_is_not_trusted_is_unsent(trust: Trust, other_trust: Trust, proxy: str) -> None:
    with way(trust, proxy, TLS, silent, trusted=other_trust) as (_told, post):
        error = post().error
        assert error is not None
        assert error.sent is False
        assert proxy == "https" or "certificate" in error.sentence


@pytest.mark.parametrize("proxy", ["http", "socks5h"])
def test_a_certificate_of_another_name_is_unsent(trust: Trust, proxy: str) -> None:
    with serving(silent, trust.server) as provider, serving(proxy_script(proxy)) as through:
        session = HttpSession(proxy=f"{proxy}://{LOOPBACK}:{through.port}", ca_bundle=str(trust.bundle))
        with pytest.raises(NetworkError, match=f"certificate of {OTHER_NAME}") as caught:
            session.request("POST", f"https://{OTHER_NAME}:{provider.port}/planted", data=FORM)
        session.close()
    assert caught.value.sent is False
    assert provider.seen == b""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_https_proxy_that_is_not_trusted_gets_neither_password_nor_request(
    trust: Trust, other_trust: Trust, scheme: str
) -> None:
    with serving(http_proxy, trust.server) as proxy:
        session = HttpSession(proxy=f"https://user:planted@{LOOPBACK}:{proxy.port}", ca_bundle=str(other_trust.bundle))
        with pytest.raises(NetworkError) as caught:
            session.request("POST", f"{scheme}://{LOOPBACK}:1/planted", data=FORM)
        session.close()
    assert caught.value.sent is False
    assert proxy.seen == b""


NO_TUNNEL: dict[str, Script] = {
    "closed at once": close_at_once,
    "reset at once": reset_at_once,
    "closed after CONNECT": connect_then(close=True),
    "403": connect_then(answer=b"HTTP/1.1 403 planted\r\n\r\n"),
    "407": connect_then(answer=b"HTTP/1.1 407 planted\r\n\r\n"),
    "no HTTP": connect_then(answer=b"SSH-2.0-planted\r\n"),
    "cut amid its answer": connect_then(answer=ESTABLISHED[:-2]),
    "a line without end": connect_then(answer=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000),
    "closed after its answer": connect_then(answer=ESTABLISHED),
    "no TLS behind it": connect_then(answer=ESTABLISHED + b"planted planted planted"),
}


@mark_never_sent
@pytest.mark.parametrize("lost", NO_TUNNEL)
@pytest.mark.parametrize("proxy", ["http", "https"])
def test_a_tunnel_that_is_never_made_is_unsent(trust: Trust, proxy: str, lost: str) -> None:
    with way(trust, proxy, TLS, silent, through=NO_TUNNEL[lost]) as (_told, post):
        error = post().error
        assert error is not None
        assert error.sent is False


def socks_then(*answers: bytes) -> Script:
    """Answer the messages of a handshake with these, and close."""

    def script(wire: Wire) -> None:
        for answer in answers:
            wire.read()
            wire.send(answer)

    return script


def socks_loses_its_answer(wire: Wire) -> None:
    socks_request(wire)


NO_SOCKS: dict[str, Script] = {
    "closed at once": close_at_once,
    "reset at once": reset_at_once,
    "closed amid the greeting": socks_then(b"\x05"),
    "asks for a password": socks_then(b"\x05\x02"),
    "takes no method": socks_then(b"\x05\xff"),
    "no SOCKS": socks_then(b"HTTP/1.1 400 planted\r\n\r\n"),
    "closed after the request": socks_loses_its_answer,
    "refused": socks_then(b"\x05\x00", b"\x05\x02\x00\x01" + bytes(6)),
    "an unknown reply": socks_then(b"\x05\x00", b"\x05\x63\x00\x09" + bytes(6)),
}


@mark_never_sent
@pytest.mark.parametrize("lost", NO_SOCKS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("proxy", ["socks5", "socks5h"])
def test_a_socks_handshake_that_fails_is_unsent(trust: Trust, proxy: str, scheme: str, lost: str) -> None:
    with way(trust, proxy, scheme, silent, through=NO_SOCKS[lost]) as (_told, post):
        error = post().error
        assert error is not None
        assert error.sent is False
        assert "proxy" in error.sentence


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("proxy", PROXIES)
def test_where_nobody_listens_nothing_is_sent(trust: Trust, proxy: str, scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind((LOOPBACK, 0))
        dead = f"{LOOPBACK}:{unused.getsockname()[1]}"
        session = HttpSession(proxy=f"{proxy}://{dead}" if proxy else None, ca_bundle=str(trust.bundle))
        with pytest.raises(NetworkError) as caught:
            session.request("POST", f"{scheme}://{dead}/planted", data=FORM)
        session.close()
    assert caught.value.sent is False


def test_where_no_thread_can_be_started_nothing_is_sent(trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    with way(trust, "", PLAIN, answering(WHOLE)) as (told, _post):
        session = HttpSession()

        def full(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", full)
            with pytest.raises(NetworkError, match="thread") as caught:
                session.request("POST", f"http://{LOOPBACK}:{told.provider.port}/", data=FORM)
        session.close()
        assert caught.value.sent is False
        assert "TasksMax" in caught.value.cure


def test_a_ca_bundle_without_certificates_is_unsent_and_named(trust: Trust, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("planted\n")
    with way(trust, "", TLS, answering(WHOLE)) as (told, _post):
        session = HttpSession(ca_bundle=str(bundle))
        with pytest.raises(NetworkError, match="TLS") as caught:
            session.request("POST", f"https://{LOOPBACK}:{told.provider.port}/", data=FORM)
        session.close()
        assert caught.value.sent is False
        assert "ca_bundle" in caught.value.cure
