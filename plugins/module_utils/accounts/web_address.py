# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Web addresses read so strictly that every HTTP client asks the host that was checked.

Parsers of addresses disagree on backslashes, user names, blanks and odd forms of a number, and the one that decides
where a password goes is never the one that checked. So nothing of that kind is accepted here, and a client is only
given an address that was put together again from the parts that were checked.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin

DEFAULT_PORTS = {"https": 443, "http": 80}
_LOOPBACK = frozenset({"127.0.0.1", "[::1]", "localhost"})

_UNREADABLE = re.compile(r"[\x00-\x20\x7f-\xa0\\\s\ud800-\udfff]")
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?:#.*)?",
    re.IGNORECASE | re.ASCII,
)
_NETWORK_PLACE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
_SAFE_IN_PATH = "/%:@!$&'()*+,;=~[]"
_SAFE_IN_QUERY = _SAFE_IN_PATH + "?"


class UnusableAddressError(ValueError):
    """Not an address of the web, or one that two parsers may read in two ways."""

    def __init__(self) -> None:
        super().__init__("not a usable web address")


@dataclass(frozen=True, kw_only=True)
class WebAddress:
    """An address whose parts were checked.

    Attributes:
        scheme: ``https`` or ``http``.
        host: in lower case; an IPv6 address stands in brackets.
        port: the port, also where the address names none.
        target: path and query, percent-encoded, as a request line has them.
    """

    scheme: str
    host: str
    port: int
    target: str

    def __str__(self) -> str:
        """Return the address put together again."""
        return f"{self.scheme}://{self.place}{self.target}"

    @property
    def place(self) -> str:
        """Host and port as a Host header has them: without the port that the scheme implies."""
        return self.host if self.port == DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def path(self) -> str:
        """The path alone."""
        return self.target.partition("?")[0]

    @property
    def confidential(self) -> bool:
        """Whether nobody on the way can read along: https, or a host of the node's own."""
        return self.scheme == "https" or self.host in _LOOPBACK

    def with_query(self, query: str) -> WebAddress:
        """Return the address with another query."""
        return WebAddress(scheme=self.scheme, host=self.host, port=self.port, target=_target(self.path, f"?{query}"))


def read(address: str) -> WebAddress:
    """Read an absolute address.

    Args:
        address: a text from anywhere.

    Returns:
        Its parts; the fragment is left out, since it is never sent.

    Raises:
        UnusableAddressError: another scheme than http and https; user name, backslash, blank or control character; a
            host that is empty, percent-encoded, not ASCII, ends with a dot, or is a number that is not written in the
            one usual form; a port out of range.
    """
    found = None if _UNREADABLE.search(address) else _ADDRESS.fullmatch(address)
    if found is None:
        raise UnusableAddressError
    scheme = found["scheme"].lower()
    return WebAddress(
        scheme=scheme,
        host=_host(found["host"]),
        port=_port(found["port"], scheme),
        target=_target(found["path"] or "/", found["query"] or ""),
    )


def read_place(place: str, scheme: str) -> str:
    """Read ``host`` or ``host:port``.

    Args:
        place: a text from the operator.
        scheme: ``https`` or ``http``, for the port that it implies.

    Returns:
        The place as `WebAddress.place` writes it.

    Raises:
        UnusableAddressError: it is anything else.
    """
    found = _NETWORK_PLACE.fullmatch(place)
    if found is None:
        raise UnusableAddressError
    port = _port(found["port"], scheme)
    return WebAddress(scheme=scheme, host=_host(found["host"]), port=port, target="/").place


def join(base: str, reference: str) -> str:
    """Resolve what a page or a redirect refers to (RFC 3986 section 5).

    Args:
        base: address of the page, as `read` returns it.
        reference: absolute, or relative to it; blanks around it do not count.

    Returns:
        The absolute address, not checked yet: its scheme may be any.

    Raises:
        UnusableAddressError: a reference that browsers and libraries resolve in different ways.
    """
    reference = reference.strip("\t\n\f\r ")
    if _UNREADABLE.search(reference) or reference.startswith("///"):
        raise UnusableAddressError
    if _SCHEME.match(reference):
        # "https:path" and "https:/path" lead to the same host in one parser and to another host in the next.
        return reference
    try:
        return urljoin(base, reference)
    except ValueError:
        raise UnusableAddressError from None


def shown_address(address: Any) -> str:
    """Return host and path of an address that a provider told, for a message, or say that it cannot be read."""
    try:
        parts = read(address) if isinstance(address, str) else None
    except UnusableAddressError:
        parts = None
    return "an unreadable address" if parts is None else f"{parts.scheme}://{parts.place}{plain_path(parts.path)}"


def plain_path(path: str) -> str:
    """Return a path as a message shows it: short, of plain letters, without e-mail addresses."""
    path = re.sub(r"[^/]*(?:@|%40)[^/]*", "...", path[:500])
    return re.sub(r"[^A-Za-z0-9/._\-]", "?", path)[:80] or "/"


def _host(host: str) -> str:
    host = host.lower()
    try:
        if host.startswith("["):
            if str(ipaddress.IPv6Address(host[1:-1])) != host[1:-1]:
                raise UnusableAddressError
            return host
        labels = host.split(".")
        if _NUMBER.fullmatch(labels[-1]):
            # Resolvers take 127.1, 0x7f.0.0.1 and 2130706433 for 127.0.0.1.
            return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise UnusableAddressError from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UnusableAddressError
    return host


def _port(port: str | None, scheme: str) -> int:
    if port is None:
        return DEFAULT_PORTS[scheme]
    number = int(port)
    if not 0 < number < 65536 or str(number) != port:
        raise UnusableAddressError
    return number


def _target(path: str, query: str) -> str:
    path, query = (_STRAY_PERCENT.sub("%25", part) for part in (path, query))
    return quote(path, safe=_SAFE_IN_PATH) + quote(query, safe=_SAFE_IN_QUERY)
