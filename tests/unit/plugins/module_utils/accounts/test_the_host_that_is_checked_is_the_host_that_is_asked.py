# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever an address looks like: a login asks an allowed host, or nobody."""

from __future__ import annotations

import io
import random
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts import web_address
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import ConfigurationError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.provider import Provider
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.web_address import UnusableAddressError
from ansible_collections.dcta.fleet.plugins.module_utils.http_session import HttpSession
from identity_fake import (
    APPLICATION,
    HOST,
    IDENTIFIER,
    PASSWORD_FIELD,
    World,
    document,
    example_provider,
    form,
    page,
    redirect,
)

ADDRESSES = 100_000
ALLOWED_HOSTS = ["pages.example.test", "other.example.test:8443", "[2001:db8::1]", "192.0.2.7:8000"]
ALLOWED = {
    ("login.example.test", 443),
    ("pages.example.test", 443),
    ("other.example.test", 8443),
    ("2001:db8::1", 443),
    ("192.0.2.7", 8000),
}


class Wire:
    """Sockets that reach nobody: they write down where they were connected to, and answer every request."""

    def __init__(self) -> None:
        self.connected: list[tuple[str, int]] = []
        self.server_names: list[str] = []
        self.sent = b""

    def getaddrinfo(self, host: str, port: int, *_ignored: Any, **_also: Any) -> list[Any]:
        """Resolve every name, and keep it."""
        self.connected.append((host, port))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]

    def socket(self, *_ignored: Any, **_also: Any) -> Wire:
        """Make a socket."""
        return self

    def wrap_socket(self, *_ignored: Any, server_hostname: str, **_also: Any) -> Wire:
        """Begin TLS."""
        self.server_names.append(server_hostname)
        return self

    def sendall(self, data: bytes) -> None:
        """Take a request."""
        self.sent += data

    def makefile(self, *_ignored: Any, **_also: Any) -> io.BytesIO:
        """Answer it."""
        return io.BytesIO(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    def asked(self) -> tuple[str, int, str, str | None]:
        """Return where the only request went: host, port, Host header and the name in TLS; then forget it."""
        ((host, port),) = self.connected
        fields = [line.partition(b": ") for line in self.sent.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
        (header,) = [value.decode() for name, _colon, value in fields if name.lower() == b"host"]
        name = self.server_names[0] if self.server_names else None
        self.connected, self.server_names, self.sent = [], [], b""
        return host, port, header, name

    def __getattr__(self, _name: str) -> Callable[..., None]:
        """Do nothing for everything else that a socket does."""
        return lambda *_ignored, **_also: None


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    wire = Wire()
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", wire.getaddrinfo)
        patch.setattr(socket, "socket", wire.socket)
        patch.setattr(ssl.SSLContext, "wrap_socket", lambda _self, *given, **named: wire.wrap_socket(*given, **named))
        # Thousands of connections would read the same certificates again and again.
        patch.setattr(ssl.SSLContext, "load_verify_locations", lambda *_ignored, **_also: None)
        yield wire


# Each part of an address: what is usual, and what somebody could try.
# fmt: off
PARTS: list[tuple[list[str], list[str]]] = [
    (["https"], ["HTTPS", "hTTps", "http", "ftp", "javascript", "ws", "", "ht\ttps", "https:https"]),
    (["://"], [":", ":/", ":///", ":\\\\", ":/\\", "://\t", "//", ":// ", ":\n//", "\\\\", "/\\", "://\\"]),
    ([""], ["user@", "user:pw@", "login.example.test@", "login.example.test\\@", "login.example.test%40", "@", ":@",
            "a@b@"]),
    (
        ["login.example.test", "pages.example.test", "LOGIN.Example.TEST", "other.example.test:8443", "[2001:db8::1]",
         "192.0.2.7:8000"],
        ["[x]", "[2001:DB8::1]", "[2001:db8:0:0::1]", "[2001:db8::1%25eth0]", "[2001:db8::1%eth0]",
         "[::ffff:192.0.2.7]", "192.0.2.7", "192.0.2.007:8000", "192.0.519:8000",
         "0xc0.0.2.7:8000", "3221225991:8000", "0300.0.2.7:8000",
         "192.0.2.7.:8000", "evil.test", "login.example.test.", "xn--lgin-5qa.test",
         "login.example.test.x.test",
         "evil.test\\.login.example.test", "evil.test\\login.example.test", "login%2eexample.test", "", ".", "-", "[",
         "]", "l\N{CYRILLIC SMALL LETTER O}gin.example.test", "login.example\N{IDEOGRAPHIC FULL STOP}test",
         "login.exam\N{SOFT HYPHEN}ple.test", "\N{FULLWIDTH LATIN SMALL LETTER L}ogin.example.test",
         "lógin.example.test", "login.example.test\0.evil.test", "login.exa mple.test", "login.exa\tmple.test",
         "login.exa\nmple.test", "login.example.test;evil.test", "login.example.test,evil.test",
         "evil.test&login.example.test", "*.example.test", "login..example.test", ".login.example.test",
         "login.example.test\r\nHost: evil.test", "login.example.test%00"],
    ),
    ([""], [":443", ":8443", ":8000", ":80", ":", ":0", ":65536", ":65979", ":99999999999", ":0443", ":+443",
            ":\uff14\uff14\uff13", ":44 3", ":-1"]),
    (["", "/", "/u/login"], ["/a b", "/@evil.test/", "//evil.test/", "/\\evil.test", "/%2f%2fevil.test", "/ä",
                             "/\u2028x", "/a;b", "/%zz", "/..//evil.test", "/\x7f", "/a:443@evil.test",
                             "/%2e%2e/%40evil.test"]),
    (["", "?x=1"], ["?@evil.test", "?x=\\@evil.test", "#@evil.test", "#x", "?a=[b]&c={d}", "?ä=ö", ";@evil.test",
                    "?\tx", "@evil.test", ":80@evil.test", "\\@evil.test", "?x#y?z@evil.test"]),
]
# fmt: on
NOISE = list("\\/@:?#;%\t\n\r \0[]&.\uff0e\N{IDEOGRAPHIC FULL STOP}\u200b\ud800é")


def an_address(rng: random.Random) -> str:
    address = "".join(rng.choice(odd if rng.random() < 0.3 else usual) for usual, odd in PARTS)
    for _ignored in range(rng.choice([0, 0, 0, 1, 2])):
        place = rng.randrange(len(address) + 1)
        address = address[:place] + rng.choice(NOISE) + address[place + rng.randrange(2) :]
    return rng.choice(["", "", "", "", "", "", " ", "\t", "\x01"]) + address


@pytest.mark.slow
def test_every_accepted_address_is_asked_at_an_allowed_place(wire: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(20260701)  # noqa: S311 - a test has to repeat itself
    provider = example_provider(allowed_hosts=ALLOWED_HOSTS)
    session = HttpSession()
    accepted = refused = 0
    for _ignored in range(ADDRESSES):
        address = an_address(rng)
        if not provider.allows(address):
            refused += 1
            assert provider.allowed(address) is None
            continue
        accepted += 1
        # As it was given, and as a login asks for it.
        for asked in dict.fromkeys([address, str(provider.allowed(address))]):
            session.request("GET", asked)
            host, port, header, name = wire.asked()
            assert (host, port) in ALLOWED, (asked, host, port)
            place = host if ":" not in host else f"[{host}]"
            assert header.lower() in {place, f"{place}:{port}"}, (asked, header)
            assert name == host, (asked, name)
    with capsys.disabled():
        print(f"\n{ADDRESSES} addresses: {accepted} asked at their places, {refused} refused")
    assert accepted > ADDRESSES / 100
    assert refused > ADDRESSES / 2


TRICKS = [
    "https://evil.example\\@login.example.test/u/login",
    "https://login.example.test\\@evil.example/",
    "https://evil.example@login.example.test/",
    "https://login.example.test@evil.example/",
    "https:\\\\evil.example/",
    "https:/\\evil.example/",
    "https:evil.example",
    "https:/evil.example/",
    "https:///evil.example/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "https://login.example.test:443@evil.example/",
    "https://login.example.test%2eevil.example/",
    "https://login.example.test%00.evil.example/",
    "https://login.example.test\t.evil.example/",
    "https://login.example.test;evil.example/",
    "https://l\N{CYRILLIC SMALL LETTER O}gin.example.test/",
    "https://login.example.test./",
    "https://login.example.test:0443/",
    "https://login.example.test:65979/",
    "https://login.example.test:/",
    "http://login.example.test/",
    "ftp://login.example.test/",
    "javascript:alert(1)",
    "data:text/html,x",
]


@pytest.mark.parametrize("address", TRICKS)
@pytest.mark.parametrize("where", ["redirect", "form", "button", "base"])
def test_a_password_follows_no_trick(world: World, address: str, where: str) -> None:
    shown = {
        "redirect": redirect(address),
        "form": page(form(IDENTIFIER, PASSWORD_FIELD, action=address)),
        "button": page(form(IDENTIFIER, PASSWORD_FIELD, button=f'<button formaction="{address}">Go</button>')),
        "base": page(form(IDENTIFIER, PASSWORD_FIELD, action="u/login"), before=f'<base href="{address}">'),
    }[where]
    asked: list[str] = []
    given = world.provider.request

    def note(method: str, url: str, **fields: Any) -> Any:
        asked.append(url)
        return given(method, url, **fields)

    world.provider.request = note  # type: ignore[method-assign]
    world.provider.answers["GET /authorize"] = shown
    outcome = world.renew()
    assert {urlsplit(url).netloc for url in asked} == {"login.example.test"}
    assert all("@" not in url and "\\" not in url for url in asked)
    if where != "base" and address not in {"https:evil.example", "https:/evil.example/"}:
        assert outcome.error_class == "unknown_page"
        assert world.provider.passwords_seen == []


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("https://LOGIN.example.test:443/A?b=C#d", "https://login.example.test/A?b=C"),
        ("HTTPS://login.example.test", "https://login.example.test/"),
        ("https://login.example.test?x", "https://login.example.test/?x"),
        ("https://login.example.test/ü?ü=%C3%BC", "https://login.example.test/%C3%BC?%C3%BC=%C3%BC"),
        ("https://login.example.test/a|b%zz", "https://login.example.test/a%7Cb%25zz"),
        (
            "https://login.example.test//evil.example/?u=https://x@y",
            "https://login.example.test//evil.example/?u=https://x@y",
        ),
        ("https://[2001:DB8::1]:8443/", "https://[2001:db8::1]:8443/"),
        ("http://192.0.2.7:80/", "http://192.0.2.7/"),
    ],
)
def test_an_address_is_put_together_again(given: str, asked: str) -> None:
    assert str(web_address.read(given)) == asked
    assert str(web_address.read(asked)) == asked


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.", "127.0.0.256", "1.2.3.4.5", "[0:0::1]"]
)
def test_a_number_is_a_host_in_one_form_only(host: str) -> None:
    with pytest.raises(UnusableAddressError):
        web_address.read(f"http://{host}/")


@pytest.mark.parametrize(
    ("reference", "address"),
    [
        ("", "https://h.test/a/b?c"),
        ("x", "https://h.test/a/x"),
        ("../x", "https://h.test/x"),
        ("?x", "https://h.test/a/b?x"),
        (" /x \n", "https://h.test/x"),
        ("//other.test/x", "https://other.test/x"),
        ("com.example.app:/callback?code=1", "com.example.app:/callback?code=1"),
    ],
)
def test_a_reference_is_resolved_as_browsers_do(reference: str, address: str) -> None:
    assert web_address.join("https://h.test/a/b?c", reference) == address


@pytest.mark.parametrize("name", ["issuer", "authorization_endpoint", "token_endpoint", "revocation_endpoint"])
@pytest.mark.parametrize(
    "address", ["https://a@h.test/", "https://h.test\\x", "https://ä.test/", "http://h.test/", "h.test"]
)
def test_an_endpoint_that_parsers_may_read_in_two_ways_is_refused_by_name(name: str, address: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Provider.from_mapping({name: address})


@pytest.mark.parametrize("place", ["https://h.test", "h.test/", "a@h.test", "h.test:0", "*.h.test", "", "h.test\\x"])
def test_an_allowed_host_is_a_host(place: str) -> None:
    with pytest.raises(ConfigurationError, match="allowed_hosts"):
        Provider.from_mapping({"allowed_hosts": [place]})


@pytest.mark.parametrize(
    "endpoint", ["https://h.test\\@evil.test/", "https://evil.test@h.test/", "http://h.test/x", 5, None]
)
def test_a_metadata_document_with_such_an_endpoint_is_refused(world: World, endpoint: object) -> None:
    world.renewer.provider = Provider.from_mapping({"issuer": HOST, **APPLICATION})
    world.provider.answers["GET /.well-known/openid-configuration"] = document(
        {"issuer": HOST, "authorization_endpoint": f"{HOST}/authorize", "token_endpoint": endpoint}
    )
    outcome = world.renew()
    assert outcome.error_class == "provider_error"
    assert "token_endpoint" in outcome.message


def test_an_own_endpoint_is_asked_as_it_was_checked() -> None:
    provider = example_provider(token_endpoint="https://LOGIN.example.test:443/Token#x")
    assert provider.token_endpoint == "https://login.example.test/Token"
