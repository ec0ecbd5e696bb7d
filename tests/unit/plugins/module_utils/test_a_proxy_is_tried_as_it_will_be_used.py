# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handshake with a proxy, over real sockets: what is sent, and one sentence without a secret for each refusal."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils import proxy_handshake
from ansible_collections.dcta.fleet.plugins.module_utils.proxy_handshake import Proxy, ProxyRefusal, reach
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from proxy_fakes import Answering, http, listening, silent, socks

HOST, PORT = "login.example.test", 443
USER, PASSWORD = "planted-user", "planted p@ss:w/rd%"
CREDENTIALS = "planted-user:planted%20p%40ss%3Aw%2Frd%25@"
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
# RFC 1928: version and method; version, reply, reserved, IPv4, address, port.
NO_METHOD, PASSWORD_METHOD, ACCEPTED = b"\x05\x00", b"\x05\x02", b"\x01\x00"
DONE = b"\x05\x00\x00\x01" + bytes(6)


def refusal(answering: Answering, scheme: str, credentials: str = "", timeout: float = 10) -> str:
    """Let a proxy refuse and return its sentence."""
    with listening(answering) as proxy, pytest.raises(ProxyRefusal) as caught:
        reach(Proxy.from_url(f"{scheme}://{credentials}127.0.0.1:{proxy.port}"), HOST, PORT, timeout=timeout)
    assert "planted" not in str(caught.value) + repr(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__cause__ is None
    assert ": " in str(caught.value), "the cure follows a colon"
    return str(caught.value)


def test_an_http_proxy_is_asked_to_connect_with_decoded_credentials() -> None:
    with listening(http(OPEN)) as proxy:
        reach(Proxy.from_url(f"http://{CREDENTIALS}127.0.0.1:{proxy.port}"), HOST, PORT)
    [head] = proxy.asked
    lines = head.decode().split("\r\n")
    assert lines[:2] == [f"CONNECT {HOST}:{PORT} HTTP/1.1", f"Host: {HOST}:{PORT}"]
    assert lines[2] == "Proxy-Authorization: Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def test_a_proxy_without_user_is_sent_none() -> None:
    with listening(http(OPEN)) as proxy:
        reach(Proxy.from_url(f"http://127.0.0.1:{proxy.port}"), HOST, PORT)
    assert b"Authorization" not in proxy.asked[0]


def test_socks5h_lets_the_proxy_resolve_the_name() -> None:
    with listening(socks(PASSWORD_METHOD, ACCEPTED, DONE)) as proxy:
        reach(Proxy.from_url(f"socks5h://{CREDENTIALS}127.0.0.1:{proxy.port}"), HOST, PORT)
    greeting, credentials, request = proxy.asked
    assert greeting == b"\x05\x02\x00\x02"
    assert credentials == b"\x01\x0c" + USER.encode() + b"\x12" + PASSWORD.encode()
    assert request == b"\x05\x01\x00\x03" + bytes([len(HOST)]) + HOST.encode() + b"\x01\xbb"


def test_socks5_resolves_the_name_here() -> None:
    with listening(socks(NO_METHOD, DONE)) as proxy:
        reach(Proxy.from_url(f"socks5://127.0.0.1:{proxy.port}"), "127.0.0.9", PORT)
    assert proxy.asked == [b"\x05\x01\x00", b"\x05\x01\x00\x01\x7f\x00\x00\x09\x01\xbb"]


def test_a_socks_proxy_may_do_without_the_user_it_is_offered() -> None:
    with listening(socks(NO_METHOD, DONE)) as proxy:
        reach(Proxy.from_url(f"socks5h://{CREDENTIALS}127.0.0.1:{proxy.port}"), HOST, PORT)
    assert len(proxy.asked) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answering", "scheme", "credentials", "sentence"),
    [
        (http(b"HTTP/1.1 407 No\r\n\r\n"), "http", CREDENTIALS, "rejects its user and password: correct them"),
        (http(b"HTTP/1.0 401 No\r\n\r\n"), "http", CREDENTIALS, "rejects its user and password: correct them"),
        (http(b"HTTP/1.1 407 No\r\n\r\n"), "http", "", "asks for a user and a password: write scheme://user:password@"),
        (http(b"HTTP/1.1 403 No\r\n\r\n"), "http", "", f"does not let through to {HOST}:443 (HTTP status 403): allow"),
        (http(b"HTTP/1.1 502 No\r\n\r\n"), "http", "", f"does not let through to {HOST}:443 (HTTP status 502): allow"),
        (http(b"SSH-2.0-planted\r\n"), "http", "", "does not speak HTTP: correct the scheme"),
        (http(b""), "http", "", "does not speak HTTP: correct the scheme"),
        (http(b"HTTP/1.1 200"), "https", "", "does not speak TLS: correct the scheme"),
        (socks(b"\x05\xff"), "socks5h", "", "asks for a user and a password: write scheme://user:password@"),
        (socks(b"\x05\x02"), "socks5h", "", "asks for a user and a password: write scheme://user:password@"),
        (socks(b"\x05\xff"), "socks5h", CREDENTIALS, "rejects its user and password: correct them"),
        (socks(PASSWORD_METHOD, b"\x01\x01"), "socks5h", CREDENTIALS, "rejects its user and password: correct them"),
        (socks(PASSWORD_METHOD, b""), "socks5h", CREDENTIALS, "rejects its user and password: correct them"),
        (socks(b"HTTP/1.1 400"), "socks5h", "", "does not speak SOCKS5: correct the scheme"),
        (socks(b"\x04\x00"), "socks5h", "", "does not speak SOCKS5: correct the scheme"),
        (socks(b""), "socks5h", "", "does not speak SOCKS5: correct the scheme"),
        (socks(NO_METHOD, b""), "socks5h", "", "does not speak SOCKS5: correct the scheme"),
        (
            socks(NO_METHOD, b"\x05\x02" + DONE[2:]),
            "socks5h",
            "",
            f"does not let through to {HOST}:443 (SOCKS reply 2, not allowed by its rules): allow",
        ),
        (
            socks(NO_METHOD, b"\x05\x63" + DONE[2:]),
            "socks5h",
            "",
            f"does not let through to {HOST}:443 (SOCKS reply 99, unknown): allow",
        ),
    ],
)
def test_each_refusal_has_its_sentence(answering: Answering, scheme: str, credentials: str, sentence: str) -> None:
    assert refusal(answering, scheme, credentials).startswith(sentence)


def test_each_reply_of_the_rfc_has_its_words() -> None:
    assert sorted(proxy_handshake.REPLIES) == list(range(1, 9))


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
def test_a_silent_proxy_is_given_up_in_time(scheme: str) -> None:
    began = time.monotonic()
    assert refusal(silent, scheme, CREDENTIALS, timeout=0.3).startswith("does not answer within 0.3 s: start it")
    assert time.monotonic() - began < 3


def test_a_proxy_that_drips_is_given_up_in_time() -> None:
    def drip(connection: socket.socket, _proxy: object) -> None:
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    assert refusal(drip, "http", timeout=0.3).startswith("does not answer within 0.3 s")


def test_a_proxy_that_never_ends_its_answer_is_refused() -> None:
    assert refusal(http(b"HTTP/1.1 999 " + b"x" * (1 << 17)), "http").startswith("does not let through")


def test_a_proxy_that_is_not_there_is_named_by_the_reason() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxy = Proxy.from_url(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(ProxyRefusal, match=r"^cannot be reached \(connection refused\): start it, or correct"):
            reach(proxy, HOST, PORT)


@pytest.mark.parametrize("host", ["proxy.invalid", "a..planted"])
def test_a_name_that_nobody_knows_is_told_apart(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: object, **_options: object) -> None:
        raise UnicodeError if ".." in host else socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ProxyRefusal, match=r"^has a name that the node cannot resolve: correct its host"):
        reach(Proxy.from_url(f"http://{host}:3128"), HOST, PORT)


def test_a_node_that_cannot_resolve_is_sent_to_socks5h(monkeypatch: pytest.MonkeyPatch) -> None:
    original = socket.getaddrinfo

    def unknown(host: str, *arguments: object, **options: object) -> object:
        if host == HOST:
            raise socket.gaierror
        return original(host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    sentence = refusal(socks(NO_METHOD, DONE), "socks5")
    assert sentence.endswith(f"the node cannot resolve {HOST}: write socks5h, which lets the proxy resolve names")


@pytest.mark.parametrize(
    "url",
    ["", "planted", "planted:1080", "ftp://planted:1", "http://planted", "http://:1", "http://planted:x", "http://["],
)
def test_what_is_no_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ProxyRefusal, match=r"^is no URL with scheme, host and port: write") as caught:
        Proxy.from_url(url)
    assert "planted" not in str(caught.value)


def test_a_proxy_shows_neither_user_nor_password() -> None:
    proxy = Proxy.from_url(f"http://{CREDENTIALS}[::1]:3128")
    assert proxy.address == "[::1]:3128"
    assert "planted" not in repr(proxy)


def certificate(folder: Path) -> tuple[str, ssl.SSLContext]:
    """Return the certificate of a TLS proxy on 127.0.0.1, and what the proxy needs to show it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "proxy")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    file = folder / "proxy.pem"
    file.write_bytes(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return pem.decode(), context


def test_an_https_proxy_is_spoken_to_through_tls(tmp_path: Path) -> None:
    pem, context = certificate(tmp_path)
    with listening(http(OPEN), context) as proxy:
        target = Proxy.from_url(f"https://{CREDENTIALS}127.0.0.1:{proxy.port}")
        reach(target, HOST, PORT, ca_certificates=f"# Főtanúsítvány\n{pem}\n")
        with pytest.raises(ProxyRefusal, match=r"^has a certificate that the node does not trust: check dcta_"):
            reach(target, HOST, PORT)
        for bundle in ("none", "-----BEGIN CERTIFICATE-----\nxxxx\n-----END CERTIFICATE-----"):
            with pytest.raises(ProxyRefusal, match="dcta_ca_bundle holds no certificates in PEM: correct it"):
                reach(target, HOST, PORT, ca_certificates=bundle)
    assert len(proxy.asked) == 1
