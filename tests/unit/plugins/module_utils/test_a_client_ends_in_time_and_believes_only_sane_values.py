# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All requests of a login share one limit, half an answer is none, and no number or date in one breaks anything."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, formatdate

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.transport import (
    HTML,
    JSON,
    Client,
    Form,
    header,
    json_object,
    refusal,
    retry_after,
)
from identity_fake import START, Clock, Reply

URL = "https://login.example.test/oauth/token?planted"


@dataclass
class Sessions:
    """A session that takes its time.

    Attributes:
        clock: moved on by every request.
        reply: the answer.
        takes: seconds for each request, unless less are left.
        asked: what each was given.
    """

    clock: Clock = field(default_factory=Clock)
    reply: Reply = field(default_factory=Reply)
    takes: float = 0.0
    asked: list[tuple[str, float]] = field(default_factory=list)

    def request(
        self, method: str, url: str, *, data: Form | None = None, accept: str = HTML, timeout: float = 60.0
    ) -> Reply:
        """Answer after a while."""
        self.asked.append((accept, timeout))
        self.clock.now += min(self.takes, timeout)
        return self.reply

    def close(self) -> None:
        """Nothing is open."""

    def client(self, exchange_timeout: float = 60.0) -> Client:
        """Return a client whose two clocks are one."""
        return Client(self, self.clock, exchange_timeout=exchange_timeout, timer=self.clock)


def test_each_exchange_has_its_own_limit_and_a_page_is_asked_for() -> None:
    sessions = Sessions()
    Client(sessions, sessions.clock).send("GET", URL)
    sessions.client(7).send("GET", URL)
    assert sessions.asked == [(HTML, 60.0), (HTML, 7)]


def test_json_is_asked_for_first_where_it_is_expected() -> None:
    sessions = Sessions()
    sessions.client().send("POST", URL, [("a", "b")], accept=JSON)
    assert sessions.asked == [(JSON, 60.0)]
    assert JSON.startswith("application/json,")
    assert HTML.startswith("text/html,")


def test_all_requests_of_a_block_share_its_limit() -> None:
    sessions = Sessions(takes=50.0)
    client = sessions.client()
    with client.within(130):
        for _count in range(2):
            client.send("GET", URL)
        sessions.clock.now += 5
        client.send("GET", URL)
        with pytest.raises(NetworkError) as caught:
            client.send("GET", URL)
    assert [seconds for _accept, seconds in sessions.asked] == [60, 60, 25]
    assert caught.value.sent is False
    assert "longer" in caught.value.sentence
    client.send("GET", URL)
    assert sessions.asked[-1] == (HTML, 60)


def test_a_block_within_another_cannot_last_longer() -> None:
    sessions = Sessions(takes=1.0)
    client = sessions.client()
    with client.within(20):
        with client.within(300):
            client.send("GET", URL)
        with client.within(5):
            client.send("GET", URL)
        client.send("GET", URL)
    assert [seconds for _accept, seconds in sessions.asked] == [20, 5, 18]


def test_a_limit_ends_with_its_block_even_when_that_fails() -> None:
    sessions = Sessions(takes=10.0)
    client = sessions.client()

    def fail() -> None:
        with client.within(10):
            client.send("GET", URL)
            client.send("GET", URL)

    with pytest.raises(NetworkError):
        fail()
    client.send("GET", URL)
    assert len(sessions.asked) == 2


def test_a_limit_is_none_of_the_clock_that_operators_set() -> None:
    sessions = Sessions()
    client = Client(sessions, sessions.clock)
    with client.within(30):
        sessions.clock.now += 1e9
        client.send("GET", URL)
    [(_accept, seconds)] = sessions.asked
    assert 0 < seconds <= 30


def test_half_an_answer_is_none_unless_the_half_is_of_use() -> None:
    sessions = Sessions(reply=Reply(200, {"Date": formatdate(START + 90, usegmt=True)}, '{"a', complete=False))
    client = sessions.client()
    with pytest.raises(NetworkError) as caught:
        client.send("GET", URL)
    assert caught.value.sent is True
    assert "planted" not in caught.value.sentence
    assert "login.example.test" in caught.value.sentence
    assert client.send("POST", URL, partial=True).text == '{"a'
    assert client.skew == 90


MANY = "9" * 10_000
NO_DATES = [
    "Thu, 01 Jan 99999 00:00:00 GMT",
    "Thu, 01 Jan 2030 99:99:99 GMT",
    "Thu, 01 Jan 2030 00:00:00 +999999",
    f"Thu, 01 Jan 2030 00:00:00 +{MANY}",
    f"Thu, {MANY} Jan 2030 00:00:00 GMT",
    f"Thu, 01 Jan {MANY} 00:00:00 GMT",
    "Thu, 99 Feb 2030 00:00:00 GMT",
    ",",
    " ",
    "Jan",
    "\x00",
    "( (",
    "-5",
    "1e5",
    "٣",
    "NaN",
    "inf",
    "9" * 400,
    MANY,
    "GMT " * 5000,
]


@pytest.mark.parametrize("value", NO_DATES)
def test_a_value_that_is_no_time_counts_as_none(value: str) -> None:
    assert retry_after(Reply(429, {"Retry-After": value}), START) is None
    assert retry_after(Reply(429, {"x-ratelimit-reset": value}), START) is None
    error = refusal(Reply(429, {"Retry-After": value}), START, "It")
    assert error is not None
    assert error.retry_after is None
    sessions = Sessions(reply=Reply(200, {"Date": value}))
    client = sessions.client()
    client.send("GET", URL)
    assert client.skew is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "0"}, 0),
        ({"retry-after": " 120 "}, 120),
        ({"Retry-After": "9" * 300}, float("9" * 300)),
        ({"Retry-After": formatdate(START + 60, usegmt=True)}, 60),
        ({"Retry-After": formatdate(START - 60, usegmt=True)}, 0),
        ({"Retry-After": "Thu, 01 Jan 0000 00:00:00 GMT"}, 0),
        ({"Retry-After": "Thu, 01 Jan 0001 00:00:00 GMT"}, 0),
        ({"Retry-After": "planted", "X-RateLimit-Reset": "30"}, 30),
        ({"x-ratelimit-reset": f"{START + 30:.0f}"}, 30),
        ({"x-ratelimit-reset": f"{START - 30:.0f}"}, 0),
    ],
)
def test_a_time_to_wait_is_a_finite_number_of_seconds(headers: dict[str, str], seconds: float) -> None:
    found = retry_after(Reply(429, headers), START)
    assert found == seconds
    assert found is not None
    assert math.isfinite(found)


def test_a_date_of_no_zone_is_in_universal_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        value = formatdate(START + 60)
        assert value.endswith("-0000")
        assert retry_after(Reply(429, {"Retry-After": value}), START) == 60
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_last_day_of_the_calendar_is_a_date() -> None:
    value = format_datetime(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), usegmt=True)
    assert retry_after(Reply(429, {"Retry-After": value}), 0.0) == 253402300799.0


def test_a_header_is_one_line_whatever_the_provider_sends() -> None:
    reply = Reply(302, {"LOCATION": "/a\r\n b\x00c\nd"})
    assert header(reply, "Location") == "/a   b c d"
    assert header(reply, "location-x") == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "planted",
        "[1]",
        '"a"',
        "[" * 10_000,
        '{"a":' * 10_000,
        '{"a":' * 10_000 + "1" + "}" * 10_000,
        f'{{"expires_in": {"9" * 400}}}',
        f'{{"expires_in": -{MANY}}}',
        f'{{"expires_in": {MANY}}}',
        f'{{"expires_in": {MANY}.5}}',
        '{"expires_in": 1e999}',
        '{"expires_in": NaN}',
        '{"expires_in": -Infinity}',
        r'{"refresh_token": "\ud800"}',
        r'{"\udfff": 1}',
        '{"refresh_token": "a',
        "\x00",
        "\ufeff{}",
    ],
)
def test_a_body_that_is_no_sane_json_object_is_an_empty_one(text: str) -> None:
    assert json_object(Reply(200, {}, text)) == {}


def test_a_sane_json_object_is_returned_as_it_is() -> None:
    sane = {"expires_in": 864_000, "x": -1.5e3, "large": 10**300, "text": "ä😀", "list": [None, True, {}]}
    assert json_object(Reply(200, {}, json.dumps(sane))) == sane
