# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a way through a proxy, with the standard library alone: a new node has nothing else yet.

HTTP: CONNECT (RFC 9110, section 9.3.6) with Basic credentials (RFC 7617). SOCKS5: RFC 1928 and RFC 1929.
"""

from __future__ import annotations

import base64
import re
import socket
import ssl
import time
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

LARGEST_HEAD = 1 << 14
"""Bytes of an answer to CONNECT that are read."""

PEM = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

SOCKS_VERSION = 5
CREDENTIALS_VERSION = 1
CONNECT = 1
# RFC 1928, section 3.
METHOD_NONE, METHOD_CREDENTIALS, NO_METHOD = 0, 2, 0xFF
# RFC 1928, sections 4 and 5: the types of addresses, and how long they are.
IPV4, DOMAIN, IPV6 = 1, 3, 4
LONGEST_FIELD = 255
# RFC 1928, section 6.
REPLIES = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}

WHERE = "the account's proxy or dcta_proxy"
CORRECT_CREDENTIALS = f"correct them in {WHERE}, with every special character percent-encoded"
CORRECT_SCHEME = f"correct the scheme or the port in {WHERE}"


class ProxyRefusal(Exception):
    """There is no way through the proxy.

    Args:
        reason: what is wrong with the proxy, as the end of a sentence that begins with its name. Holds no secret.
        cure: what to do.
    """

    def __init__(self, reason: str, cure: str) -> None:
        self.reason = reason
        self.cure = cure
        super().__init__(f"{reason}: {cure}")


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A proxy as its URL describes it.

    Attributes:
        scheme: ``http``, ``https`` (TLS to the proxy), ``socks5`` (names are resolved here) or ``socks5h`` (there).
        host: its name or address.
        port: its port.
        user: the user, decoded; empty for a proxy that asks for none.
        password: the password, decoded.
    """

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def from_url(cls, url: str) -> Proxy:
        """Read a URL.

        Args:
            url: ``scheme://[user:password@]host:port``; user and password are percent-encoded.

        Raises:
            ProxyRefusal: it is no such URL; nothing of it is quoted.
        """
        try:
            parts = urlsplit(url)
            scheme, host, port = parts.scheme, parts.hostname, parts.port
        except ValueError:
            scheme, host, port = "", None, None
        if scheme not in ("http", "https", "socks5", "socks5h") or not host or not port:
            raise ProxyRefusal("is no URL with scheme, host and port", "write http|https|socks5|socks5h://host:port")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(scheme=scheme, host=host, port=port, user=user, password=password)

    @property
    def address(self) -> str:
        """Host and port, which is all that a message may show."""
        return _address(self.host, self.port)


class _Connection:
    """A connection that ends at a point in time, however little and however slowly the other side sends."""

    def __init__(self, connected: socket.socket, seconds: float) -> None:
        self._socket = connected
        self._end = time.monotonic() + seconds

    def _limit(self) -> None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        self._limit()
        self._socket = context.wrap_socket(self._socket, server_hostname=host)

    def send(self, data: bytes) -> None:
        self._limit()
        self._socket.sendall(data)

    def receive(self, size: int) -> bytes:
        """Receive exactly so many bytes, or fewer at the end."""
        data = b""
        while len(data) < size:
            self._limit()
            piece = self._socket.recv(size - len(data))
            if not piece:
                break
            data += piece
        return data

    def head(self) -> bytes:
        """Receive up to the empty line, at most LARGEST_HEAD bytes."""
        data = b""
        while b"\r\n\r\n" not in data and len(data) < LARGEST_HEAD:
            piece = self.receive(1)
            if not piece:
                break
            data += piece
        return data

    def close(self) -> None:
        self._socket.close()


def reach(proxy: Proxy, host: str, port: int, *, timeout: float = 10, ca_certificates: str = "") -> None:
    """Let a proxy connect to a host, and close the connection again.

    Args:
        proxy: the proxy.
        host: the name of the host.
        port: its port.
        timeout: seconds for all of it, the resolution of names aside.
        ca_certificates: certificates in PEM to trust for an ``https`` proxy; empty for those of this machine.

    Raises:
        ProxyRefusal: there is no way through.
    """
    late = ProxyRefusal(
        f"does not answer within {timeout:g} s", f"start it, open the way to it, or correct host and port in {WHERE}"
    )
    try:
        connection = _Connection(socket.create_connection((proxy.host, proxy.port), timeout), timeout)
    except TimeoutError:
        raise late from None
    except (socket.gaierror, UnicodeError):
        raise ProxyRefusal("has a name that the node cannot resolve", f"correct its host in {WHERE}") from None
    except OSError as error:
        raise ProxyRefusal(
            f"cannot be reached ({(error.strerror or 'no connection').lower()})",
            f"start it, or correct its host and port in {WHERE}",
        ) from None
    try:
        if proxy.scheme == "https":
            _secure(connection, proxy, ca_certificates)
        if proxy.scheme.startswith("http"):
            _connect_http(connection, proxy, host, port)
        else:
            _connect_socks(connection, proxy, host, port)
    except TimeoutError:
        raise late from None
    except OSError:
        raise ProxyRefusal("breaks the connection off", CORRECT_SCHEME) from None
    finally:
        connection.close()


def _trust(ca_certificates: str) -> ssl.SSLContext:
    # A bundle has comments in any language between its certificates, and ssl takes ASCII alone.
    certificates = "\n".join(PEM.findall(ca_certificates))
    unusable = ProxyRefusal("cannot be verified, because dcta_ca_bundle holds no certificates in PEM", "correct it")
    if ca_certificates and not certificates:
        raise unusable
    try:
        return ssl.create_default_context(cadata=certificates or None)
    except ssl.SSLError:
        raise unusable from None


def _secure(connection: _Connection, proxy: Proxy, ca_certificates: str) -> None:
    try:
        connection.secure(_trust(ca_certificates), proxy.host)
    except ssl.SSLCertVerificationError:
        raise ProxyRefusal(
            "has a certificate that the node does not trust",
            "check dcta_ca_bundle, the node's package ca-certificates and its clock",
        ) from None
    except ssl.SSLError:
        raise ProxyRefusal("does not speak TLS", CORRECT_SCHEME) from None


def _connect_http(connection: _Connection, proxy: Proxy, host: str, port: int) -> None:
    target = _address(host, port)
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.user:
        credentials = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {credentials}")
    connection.send("\r\n".join([*lines, "", ""]).encode())
    version, code = [*connection.head().split(b" ", 2), b""][:2]
    code = code[:3]
    if not version.startswith(b"HTTP/1.") or not code.isdigit():
        raise ProxyRefusal("does not speak HTTP", CORRECT_SCHEME)
    # 407 is the status for it (RFC 9110, section 15.5.8); tinyproxy answers 401 to a wrong password.
    if code in (b"407", b"401"):
        raise _refused_credentials(proxy)
    if not code.startswith(b"2"):
        raise _refused_destination(target, f"HTTP status {code.decode()}")


def _connect_socks(connection: _Connection, proxy: Proxy, host: str, port: int) -> None:
    methods = [METHOD_NONE, METHOD_CREDENTIALS] if proxy.user else [METHOD_NONE]
    connection.send(bytes([SOCKS_VERSION, len(methods), *methods]))
    version, method = _pair(connection)
    if version != SOCKS_VERSION:
        raise ProxyRefusal("does not speak SOCKS5", CORRECT_SCHEME)
    if method == METHOD_CREDENTIALS and proxy.user:
        user, password = proxy.user.encode(), proxy.password.encode()
        if max(len(user), len(password)) > LONGEST_FIELD:
            raise _refused_credentials(proxy)
        connection.send(bytes([CREDENTIALS_VERSION, len(user)]) + user + bytes([len(password)]) + password)
        if _pair(connection)[1] != 0:
            raise _refused_credentials(proxy)
    elif method != METHOD_NONE:
        raise _refused_credentials(proxy)
    address = _socks_address(host, port, here=proxy.scheme == "socks5")
    connection.send(bytes([SOCKS_VERSION, CONNECT, 0]) + address + port.to_bytes(2, "big"))
    version, reply = _pair(connection)
    if version != SOCKS_VERSION:
        raise ProxyRefusal("does not speak SOCKS5", CORRECT_SCHEME)
    if reply != 0:
        raise _refused_destination(_address(host, port), f"SOCKS reply {reply}, {REPLIES.get(reply, 'unknown')}")


def _pair(connection: _Connection) -> tuple[int, int]:
    data = connection.receive(2)
    # An HTTP proxy that is spoken to in SOCKS closes without a word, or answers in text.
    return (data[0], data[1]) if len(data) == 2 else (0, NO_METHOD)


def _socks_address(host: str, port: int, *, here: bool) -> bytes:
    if here:
        try:
            host = str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
        except (socket.gaierror, UnicodeError):
            raise ProxyRefusal(
                f"gets addresses from the node, because it is socks5, and the node cannot resolve {host}",
                "write socks5h, which lets the proxy resolve names",
            ) from None
    try:
        packed = ip_address(host).packed
    except ValueError:
        name = host.encode("idna")
        return bytes([DOMAIN, len(name)]) + name
    return bytes([IPV4 if len(packed) == 4 else IPV6]) + packed


def _refused_credentials(proxy: Proxy) -> ProxyRefusal:
    if proxy.user:
        return ProxyRefusal("rejects its user and password", CORRECT_CREDENTIALS)
    return ProxyRefusal("asks for a user and a password", f"write scheme://user:password@host:port in {WHERE}")


def _refused_destination(target: str, answer: str) -> ProxyRefusal:
    return ProxyRefusal(
        f"does not let through to {target} ({answer})", "allow this destination there, or use another proxy"
    )


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
