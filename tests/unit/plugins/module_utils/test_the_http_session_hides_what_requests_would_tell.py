# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The session asks nobody but its arguments, follows nothing, and its failures name no more than the host."""

from __future__ import annotations

import importlib.util
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils import http_session
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.transport import HTML, JSON, header
from ansible_collections.dcta.fleet.plugins.module_utils.http_session import HttpSession


class Handler(BaseHTTPRequestHandler):
    """Redirects, counts cookies, goes silent, breaks off."""

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Answer by path."""
        if self.path == "/redirect":
            self._answer(302, {"Location": "com.example.app://callback?code=planted", "Set-Cookie": "tx=1; Path=/"})
        elif self.path == "/mine":
            shown = f"{self.headers['Cookie']} {self.headers['User-Agent']} {self.headers['Authorization']} ä"
            self._answer(200, {"Content-Type": "text/html"}, shown.encode())
        elif self.path == "/charset":
            self._answer(200, {"Content-Type": "text/html; charset=klingon"}, b"x")
        elif self.path == "/accept":
            self._answer(200, {}, self.headers["Accept"].encode())
        elif self.path == "/silent":
            threading.Event().wait(1)
        else:
            self.close_connection = True

    def do_POST(self) -> None:
        """Show the form."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, {}, self.headers["Content-Type"].encode() + b" " + body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server uses
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


@pytest.fixture
def session() -> Iterator[HttpSession]:
    made = HttpSession(connect_timeout=2, timeout=0.3)
    yield made
    made.close()


def test_a_redirect_is_an_answer_and_cookies_stay(server: str, session: HttpSession) -> None:
    answer = session.request("GET", f"{server}/redirect")
    assert (answer.status_code, header(answer, "location")) == (302, "com.example.app://callback?code=planted")
    assert session.request("GET", f"{server}/mine").text.startswith("tx=1 ")


def test_a_form_is_sent_in_its_order(server: str, session: HttpSession) -> None:
    answer = session.request("POST", server, data=[("a", "1"), ("b", "2 &"), ("a", "3")])
    assert answer.text == "application/x-www-form-urlencoded a=1&b=2+%26&a=3"


def test_the_environment_has_no_say(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login planted password planted\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    made = HttpSession()
    assert made.request("GET", f"{server}/mine").text == f"None {http_session.USER_AGENT} None ä"
    made.close()


@pytest.mark.parametrize("accept", [HTML, JSON])
def test_an_exchange_asks_for_what_it_can_read(server: str, session: HttpSession, accept: str) -> None:
    assert session.request("GET", f"{server}/accept", accept=accept).text == accept


def test_a_page_is_what_is_asked_for_where_nothing_is_said(server: str, session: HttpSession) -> None:
    assert session.request("GET", f"{server}/accept").text == HTML


def test_an_unknown_charset_is_no_reason_to_fail(server: str, session: HttpSession) -> None:
    assert session.request("GET", f"{server}/charset").text == "x"


@pytest.mark.parametrize(("path", "sent"), [("/silent", True), ("/break", True)])
def test_a_request_that_may_have_arrived_is_marked(server: str, session: HttpSession, path: str, *, sent: bool) -> None:
    with pytest.raises(NetworkError) as caught:
        session.request("GET", server + path)
    assert caught.value.sent is sent


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_request_that_never_left_is_marked_and_nothing_of_its_address_is_told(
    session: HttpSession, scheme: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(NetworkError) as caught:
            session.request("GET", f"{scheme}://127.0.0.1:{unused.getsockname()[1]}/planted?code=planted")
    assert caught.value.sent is False
    assert "planted" not in str(caught.value) + caught.value.cure
    assert caught.value.__context__ is None


def test_a_server_without_tls_fails_as_tls(server: str, session: HttpSession) -> None:
    with pytest.raises(NetworkError, match="TLS") as caught:
        session.request("GET", server.replace("http:", "https:"))
    assert "ca_bundle" in caught.value.cure


def test_a_dead_proxy_is_named_without_its_password() -> None:
    made = HttpSession(proxy="http://user:planted@127.0.0.1:1")
    with pytest.raises(NetworkError, match="proxy") as caught:
        made.request("GET", "http://127.0.0.1/")
    made.close()
    assert "planted" not in str(caught.value) + caught.value.cure
    assert caught.value.__context__ is None
    assert caught.value.sent is False


@pytest.mark.parametrize(
    "proxy", ["planted", "ftp://planted.test", "http://", "http://planted:port", "socks4://planted"]
)
def test_a_proxy_that_is_none_is_refused_without_being_quoted(proxy: str) -> None:
    with pytest.raises(NetworkError, match="no usable address") as caught:
        HttpSession(proxy=proxy)
    assert "planted" not in str(caught.value) + caught.value.cure


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_missing_pysocks_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NetworkError) as caught:
        HttpSession(proxy=f"{scheme}://p.test:1080")
    assert "python3-socks" in caught.value.cure


def test_a_missing_ca_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"none\.pem"):
        HttpSession(ca_bundle=str(tmp_path / "none.pem"))
