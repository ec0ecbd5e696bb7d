# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a provider sends, the session returns an answer or raises its one error, in time and without a traceback."""

from __future__ import annotations

import gc
import gzip
import random
import threading
from collections.abc import Iterator

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.transport import (
    JSON,
    header,
    json_object,
    retry_after,
)
from ansible_collections.dcta.fleet.plugins.module_utils.http_body import text_of
from ansible_collections.dcta.fleet.plugins.module_utils.http_session import Answer, HttpSession
from loopback_trust import Trust
from losing_servers import LOOPBACK, Server, Wire, serving

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"Connection: close\r\nContent-Length: 0\r\n\r\n"


class Provider:
    """Answers every request with what it is told, and closes."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = f"http://{LOOPBACK}:{server.port}/"
        self.answer = b""

    def asked(self, session: HttpSession, answer: bytes, url: str = "", timeout: float = 20) -> Answer | NetworkError:
        """Return what the session makes of an answer; every other exception fails the test."""
        self.answer = answer
        try:
            return session.request("POST", url or self.url, data=[("a", "b")], accept=JSON, timeout=timeout)
        except NetworkError as error:
            return error


@pytest.fixture
def provider() -> Iterator[Provider]:
    made: list[Provider] = []

    def script(wire: Wire) -> None:
        wire.request()
        wire.send(made[0].answer)

    with serving(script) as server:
        made.append(Provider(server))
        yield made[0]


@pytest.fixture
def session() -> Iterator[HttpSession]:
    made = HttpSession()
    yield made
    made.close()


@pytest.mark.parametrize(
    "cookie",
    [
        b"a=b; expires=Thu, 01 Jan 99999 00:00:00 GMT",
        b"a=b; expires=Thu, 01 Jxx 2030 00:00:00 GMT",
        b"a=b; expires=Thu, 01 Jan 0000 00:00:00 GMT",
        b"a=b; expires=Thu, 32 Jan 2030 25:61:61 GMT",
        b"a=b; Max-Age=" + b"9" * 5000,
        b"a=b; Max-Age=-" + b"9" * 400,
        b"a=b; Version=" + b"9" * 5000,
        b"a=b; Port=" + b"9" * 5000,
        b"a=b; Domain=.." + b"a." * 900,
        b"a=b; Path=" + b"/" * 5000,
        b"=b;;;=;",
        b"\xff\xfe=\x80\x81",
        b'a="',
    ],
)
def test_a_cookie_that_cannot_be_read_is_left_out(
    provider: Provider, session: HttpSession, cookie: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    for _count in range(2):
        told = provider.asked(session, OK + b"Set-Cookie: " + cookie + b"\r\nSet-Cookie: good=1; Path=/\r\n" + EMPTY)
        assert isinstance(told, Answer)
        assert told.status_code == 200
    shown = capfd.readouterr()
    assert shown.out + shown.err == ""


def test_what_urllib3_would_log_of_an_answer_is_kept_quiet(
    provider: Provider, session: HttpSession, caplog: pytest.LogCaptureFixture
) -> None:
    told = provider.asked(session, OK + b"no header\r\nSet-Cookie: planted\r\n" + EMPTY)
    assert isinstance(told, Answer)
    assert not caplog.records


def test_a_cookie_that_cannot_be_sent_back_is_an_error_of_one_sentence(
    provider: Provider, session: HttpSession
) -> None:
    provider.asked(session, OK + b"Set-Cookie: a=b\x00\x01planted\r\n" + EMPTY)
    told = provider.asked(session, OK + EMPTY)
    assert isinstance(told, Answer) or "planted" not in str(told) + told.cure


@pytest.mark.parametrize(
    "location",
    [
        b"https://[planted",
        b"//[::1",
        b"http://planted:99999999/",
        b"\xff\xfe\x00",
        b"http://" + b"a" * 300 + b".test/",
        b"com.example.app://callback?code=planted",
        b"http:" + b"/" * 3000,
    ],
)
def test_a_redirect_to_anywhere_is_only_an_answer(provider: Provider, session: HttpSession, location: bytes) -> None:
    told = provider.asked(session, b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\n" + EMPTY)
    assert isinstance(told, Answer)
    assert (told.status_code, told.complete) == (302, True)
    assert header(told, "Location")


@pytest.mark.parametrize(
    "url",
    [
        "planted",
        "planted://x/",
        "http://",
        "http://[planted/",
        "http://127.0.0.1:99999/planted",
        "http://127.0.0.1:x/planted",
        f"http://{'a' * 300}.test/planted",
        f"http://{'a' * 64}.test/planted",
        "http://a..b.test/planted",
        "http://xn--\u00e9.test/planted",
        "http://\u2100.test/planted",
        "http://*.test/planted",
        "http:// /planted",
        "http://a\x00b/planted",
    ],
)
def test_an_address_that_is_none_is_an_unsent_request(provider: Provider, session: HttpSession, url: str) -> None:
    told = provider.asked(session, OK + EMPTY, url)
    assert isinstance(told, NetworkError)
    assert told.sent is False
    assert told.__context__ is None
    assert "/planted" not in str(told) + told.cure
    assert provider.server.seen == b""


@pytest.mark.parametrize(
    "charset",
    [
        "punycode",
        "idna",
        "unicode_escape",
        "undefined",
        "rot13",
        "hex",
        "../../x",
        "a" * 40,
        "utf-8",
        "UTF8",
        "planted",
    ],
)
def test_a_charset_that_is_none_of_the_web_counts_as_utf_8(charset: str) -> None:
    text = "ä" + r"\x41" * 9
    assert text_of(text.encode(), coding="", content_type=f"text/html; charset={charset}") == (text, True)


@pytest.mark.parametrize("content_type", ['text/html; charset="iso-8859-1"', "text/html;charset=latin1;x=y"])
def test_a_charset_of_the_web_is_believed(content_type: str) -> None:
    assert text_of("ä".encode("latin-1"), coding="", content_type=content_type) == ("ä", True)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "planted"])
def test_a_coding_that_nobody_asked_for_is_no_complete_answer(coding: str) -> None:
    assert text_of(b"x", coding=coding, content_type="") == ("", False)


def test_more_after_a_compressed_body_is_no_complete_answer() -> None:
    assert text_of(gzip.compress(b"x") + b"y", coding="gzip", content_type="") == ("x", False)


BODY = b'{"access_token": "a", "refresh_token": "r", "expires_in": 864000, "t": "' + b"x" * 300 + b'"}'
DATE = b"Date: Tue, 15 Nov 2033 08:12:31 GMT\r\n"
FIELDS = DATE + b"Content-Type: application/json; charset=utf-8\r\nRetry-After: 7\r\nx-ratelimit-reset: 2000000000\r\n"
COOKIE = b"Set-Cookie: a=b; Path=/; Max-Age=5; expires=Tue, 15 Nov 2033 08:12:31 GMT; Secure\r\n"
ANSWERS = (
    OK + FIELDS + COOKIE + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
    OK
    + FIELDS
    + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n3;a=b\r\nxyz\r\n0\r\nX: y\r\n\r\n" % (len(BODY), BODY),
    OK + FIELDS + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(BODY, mtime=0),
    b"HTTP/1.1 302 Found\r\n" + FIELDS + COOKIE + b"Location: /u/login?state=TX\r\n" + EMPTY,
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Too Many\r\n" + FIELDS + b"Content-Length: 2\r\n\r\n{}",
)
WORDS = (
    b"\r\n", b"\n", b"\r", b"\0", b":", b" ", b"\t", b";", b",", b"=", b'"', b"%", b"[", b"{", b"-1", b"0x", b"1_0",
    b"9" * 30, b"9" * 400, b"9" * 5000, b"\xff\xfe", b"\xc3", b"HTTP/1.1 ", b"HTTP/9.9 ", b"Content-Length: 5\r\n",
    b"Content-Length: 7, 8\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"Content-Encoding: deflate\r\n", b"Content-Encoding: gzip\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Set-Cookie: x=y; expires=1 Jan 99999\r\n", b"X" * 70_000,
    b"charset=punycode", b"charset=utf-16", b" folded\r\n", b"A: b\r\n" * 120, b"[" * 10_000, b"204 ", b"304 ", b"101 ",
)  # fmt: skip


def mutated(rng: random.Random) -> bytes:
    """Return an answer with one to six wounds."""
    data = bytearray(rng.choice(ANSWERS))
    for _count in range(rng.randint(1, 6)):
        at, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        match rng.randrange(6):
            case 0 if at < len(data):
                data[at] = rng.randrange(256)
            case 1:
                data[at:at] = rng.choice(WORDS)
            case 2:
                del data[at : min(end, at + 40)]
            case 3:
                data[at:at] = data[at : min(end, at + 200)]
            case 4:
                del data[at:]
            case _:
                data[at : at + 1] = rng.choice(WORDS)
    return bytes(data)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket")
def test_five_thousand_broken_answers_are_answers_or_errors(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(20)  # noqa: S311 - a test has to repeat itself
    kinds = {True: 0, False: 0, None: 0}
    for number in range(5000):
        if number % 50 == 0:
            session = HttpSession()
        answer = mutated(rng)
        told = provider.asked(session, answer)
        if isinstance(told, Answer):
            assert isinstance(json_object(told), dict)
            seconds = retry_after(told, 1.8e9)
            assert seconds is None or 0 <= seconds < float("inf"), answer
            kinds[told.complete] += 1
        else:
            assert told.__context__ is None
            assert "in time" not in told.sentence, answer
            kinds[None] += 1
        if number % 50 == 49:
            session.close()
    assert min(kinds.values()) > 100, kinds
    assert not [thread for thread in threading.enumerate() if thread.name == "exchange"]
    assert not caplog.records, "they quote header fields"
    # urllib3 leaves some sockets to Python, such as those of an answer with two lengths.
    gc.collect()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Exception ignored in. <(ssl.SSLS|socket.s)ocket")
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_a_thousand_broken_answers_of_a_proxy_are_unsent_requests(trust: Trust, scheme: str) -> None:
    rng = random.Random(21)  # noqa: S311 - a test has to repeat itself

    def script(wire: Wire) -> None:
        wire.read()
        if scheme == "http":
            wire.send(mutated(rng))
        else:
            wire.send(bytes([5, *rng.choices([0, 1, 2, 3, 4, 5, 255], (90, 5, 1, 1, 1, 1, 1), k=rng.randrange(30))]))

    with serving(script) as server:
        for _count in range(1000):
            proxy = f"{scheme}://user:planted@{LOOPBACK}:{server.port}"
            session = HttpSession(proxy=proxy, ca_bundle=str(trust.bundle))
            with pytest.raises(NetworkError) as caught:
                session.request("POST", "https://127.0.0.9:443/planted", data=[("a", "b")])
            session.close()
            assert caught.value.sent is False
            assert "planted" not in str(caught.value) + caught.value.cure
    gc.collect()
