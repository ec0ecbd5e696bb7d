# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of an alert, with a real process, a real receiver and real TLS; no failure shows the webhook's address."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from dcta_agent import alerts, webhook
from dcta_agent.alerts import AlertError, post
from dcta_agent.webhook import WebhookError
from node_modules import lay_out
from world.prepare import make_certificate

SECRET = "planted-T0KEN-in-the-address"
DOCUMENT = {"event": "quarantined", "text": "Account älice is quarantined."}


@dataclass
class Receiver:
    """What a receiver got, and what it answers."""

    port: int = 0
    status: int = 204
    silent: bool = False
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver on loopback."""
    receiver = Receiver()
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            if receiver.silent:
                over.wait(10)
                return
            self.send_response(receiver.status)
            self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            over.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The credential that holds the webhook's address, on a node."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setattr(alerts, "PROGRAMS", lay_out(programs))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    return tmp_path / "alert_webhook"


def deliver() -> None:
    async def run() -> None:
        try:
            await post(DOCUMENT)
        finally:
            await asyncio.sleep(0.1)  # the loop sees the end of the process and of its pipes

    asyncio.run(run())


def test_a_document_arrives_as_json_directly_whatever_proxy_the_environment_names(
    receiver: Receiver, address: Path
) -> None:
    address.write_text(f"http://127.0.0.1:{receiver.port}/hook/{SECRET}?channel=a%20b\n")
    deliver()
    [(path, headers, body)] = receiver.requests
    assert path == f"/hook/{SECRET}?channel=a%20b"
    assert headers["content-type"] == "application/json"
    assert "authorization" not in headers
    assert json.loads(body) == DOCUMENT


def test_user_and_password_of_the_address_are_sent_as_a_header(receiver: Receiver, address: Path) -> None:
    address.write_text(f"http://us%40er:{SECRET}@127.0.0.1:{receiver.port}")
    deliver()
    [(path, headers, _body)] = receiver.requests
    assert path == "/"
    assert headers["authorization"] == f"Basic {base64.b64encode(f'us@er:{SECRET}'.encode()).decode()}"


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_every_2xx_is_a_success(receiver: Receiver, status: int) -> None:
    receiver.status = status
    webhook.send(f"http://127.0.0.1:{receiver.port}/", b"{}")
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [301, 307, 400, 404, 429, 500, 503])
def test_anything_else_is_none_and_no_redirect_is_followed(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(WebhookError, match=rf"the webhook answered {status}: check"):
        webhook.send(f"http://127.0.0.1:{receiver.port}/{SECRET}", b"{}")
    assert len(receiver.requests) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "unusable|cannot be reached"),
        (f"http://127.0.0.1:1/{SECRET}", "cannot be reached"),
        (f"http://nowhere.invalid/{SECRET}", "cannot be reached"),
        (f"http://127.0.0.1:PORT/{SECRET} x", "unusable"),
        (f"http://127.0.0.1:PORT/{SECRET}ä", "unusable"),
        (f"http://127.0.0.1:99999/{SECRET}", "unusable"),
        (f"http://127.0.0.1:{SECRET}/", "unusable"),
        (f"http://[::1/{SECRET}", "unusable"),
        (f"https://127.0.0.1:PORT/{SECRET}", "cannot be reached"),
    ],
)
def test_a_failure_is_one_sentence_without_the_address(
    receiver: Receiver,
    address: Path,
    capfd: pytest.CaptureFixture[str],
    url: str,
    words: str,
) -> None:
    address.write_text(url.replace("PORT", str(receiver.port)))
    with pytest.raises(AlertError, match=words) as caught:
        deliver()
    printed = capfd.readouterr()
    said = str(caught.value) + repr(caught.value) + printed.out + printed.err
    assert SECRET not in said
    assert "\n" not in str(caught.value)


def test_a_receiver_that_stays_silent_is_given_up(
    receiver: Receiver, address: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.silent = True
    monkeypatch.setattr(webhook, "SECONDS", 0.2)
    with pytest.raises(WebhookError, match="did not answer"):
        webhook.send(f"http://127.0.0.1:{receiver.port}/", b"{}")
    address.write_text(f"http://127.0.0.1:{receiver.port}/")
    monkeypatch.setattr(alerts, "DELIVERY_SECONDS", 0.5)
    with pytest.raises(AlertError, match="did not answer"):
        deliver()


def test_a_node_without_processes_to_spare_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python3")
    with pytest.raises(AlertError, match="no process can be started"):
        deliver()


def test_a_certificate_of_the_nodes_bundle_is_trusted_and_no_other(tmp_path: Path) -> None:
    make_certificate(tmp_path, "ca", ["Authority of a test"], None)
    make_certificate(tmp_path, "receiver", ["127.0.0.1", "localhost"], tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "receiver.crt", tmp_path / "receiver.key")
    with receiving(context) as receiver:
        url = f"https://127.0.0.1:{receiver.port}/{SECRET}"
        webhook.send(url, b"{}", tmp_path / "ca.crt")
        with pytest.raises(WebhookError, match="certificate cannot be verified") as caught:
            webhook.send(url, b"{}", tmp_path / "none.pem")
    assert len(receiver.requests) == 1
    assert SECRET not in str(caught.value)
