# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages are the provider's, or of whoever stands before it: none takes long, none ends in a traceback."""

from __future__ import annotations

import random
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts import web_address
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import AccountError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.forms import LONGEST_PAGE, MOST_PARTS, Page, parse
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.login import log_in
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.login_pages import LoginPage
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.shown_text import Shown
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.transport import Client
from hostile_pages import SHAPES, json_soup, soup
from identity_fake import (
    EMAIL,
    PASSWORD,
    TOTP_SECRET,
    Clock,
    FakeProvider,
    Reply,
    World,
    example_provider,
    form,
    page,
    redirect,
)

PAGES = 5_000
SEED = 20260702


def lines_run(work: Callable[[], object]) -> int:
    """Count the lines of Python that a piece of work runs through."""
    count = 0

    def trace(_frame: Any, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def all_that_is_asked_of(html: str) -> None:
    account = Credentials(name="alice", email=EMAIL, password=PASSWORD)
    address = web_address.read("https://login.example.test/u/login")
    shown = LoginPage(example_provider(), address, Reply(text=html), Shown(account))
    _asked = shown.captcha, shown.fields, shown.unknown_fields(), shown.obstacle(), shown.describe(), shown.asks


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_four_times_the_page_is_four_times_the_work(shape: Callable[[int], str]) -> None:
    small, large = (lines_run(partial(all_that_is_asked_of, shape(size))) for size in (4_000, 16_000))
    assert large <= 4.2 * small + 500


@pytest.mark.slow
def test_what_four_times_the_page_costs_in_time_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    measured = []
    for name, shape in SHAPES.items():
        seconds = []
        for size in (LONGEST_PAGE // 32, LONGEST_PAGE // 8):
            html = shape(size)[:size]
            begun = time.process_time()
            assert isinstance(parse(html, "data-error-code"), Page)
            seconds.append(time.process_time() - begun)
        measured.append((seconds[1], seconds[1] / max(seconds[0], 1e-6), name))
    with capsys.disabled():
        print(f"\n{len(measured)} hostile pages of {LONGEST_PAGE >> 13} KiB; the slowest, and against a quarter of it:")
        for longest, ratio, name in sorted(measured, reverse=True)[:5]:
            print(f"  {longest:5.2f} s of processor, {ratio:4.1f} times: {name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["again and again '<div>'", "many attributes", "again and again '&'", "many ids", "a select of many"]
)
def test_a_page_takes_little_more_memory_than_it_is_long(name: str) -> None:
    html = SHAPES[name](1 << 20)
    tracemalloc.start()
    parse(html, "data-error-code")
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24 << 20


MALFORMED = [
    "<![ endif]>",
    "<![]>",
    "<!",
    "</",
    "<",
    "<a b='",
    "<![CDATA[",
    "<!--",
    "&#" + "9" * 5_000 + ";",
    "\0",
    "\ud800",
    "",
]


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_markup_ends_no_login_but_its_own(world: World, text: str) -> None:
    world.provider.answers["GET /authorize"] = Reply(200, {"Content-Type": "text/html"}, text)
    outcome = world.renew()
    assert (outcome.error_class, outcome.state) == ("unknown_page", "needs_operator")
    assert outcome.message == "The page /authorize shows no form that can be filled in."


@pytest.mark.parametrize("text", MALFORMED)
def test_a_form_behind_malformed_markup_is_read_if_a_browser_reads_it(text: str) -> None:
    shown = parse(f"{text}><form><input name=a></form>", "data-error-code")
    assert len(shown.forms) == (0 if text == "<a b='" else 1)


@pytest.mark.parametrize(
    "html",
    [
        "<form>" + "<input name=a>" * (MOST_PARTS + 1),
        "<form></form>" * (MOST_PARTS + 1),
        "<form><select name=a>" + "<option>" * (MOST_PARTS + 1),
        "<form><input name=a>" + "<div>" * (MOST_PARTS + 1),
        "<form><input name=a></form>" + " " * LONGEST_PAGE,
    ],
)
def test_what_no_page_of_a_login_has_is_an_empty_page(html: str) -> None:
    assert parse(html, "data-error-code") == Page()


class Unsteady:
    """A provider between which and the account somebody stands: answers are the provider's own, or anybody's."""

    def __init__(self, rng: random.Random, provider: FakeProvider) -> None:
        self.rng = rng
        self.provider = provider
        self.passwords = 0
        self.urls: list[str] = []
        self.announced = 0

    last_code_step: int | None = None

    def password_submission(self) -> None:
        """Hear that a password goes out."""
        self.announced += 1

    def code_submission(self, step: int) -> None:
        """Hear that a code goes out."""
        self.last_code_step = step

    def request(self, method: str, url: str, *, data: Any = None, **how: Any) -> Reply:
        """Answer."""
        self.urls.append(url)
        self.passwords += any(value == PASSWORD for _name, value in data or ())
        if urlsplit(url).path == "/oauth/token" or self.rng.random() < 0.5:
            try:
                return self.provider.request(method, url, data=data, **how)
            except (KeyError, AssertionError):
                return page("<h1>What is this?</h1>", 400)
        status = self.rng.choice([200, 200, 200, 200, 400, 401, 403, 422, 429, 500])
        kind = self.rng.random()
        if kind < 0.1:
            return redirect(
                self.rng.choice(
                    ["/u/login/password", "https://evil.test\\@login.example.test/", "\0", "//", "https://[x"]
                )
            )
        if kind < 0.25:
            return Reply(status, {"content-type": "application/json; x"}, json_soup(self.rng))
        if kind < 0.4:
            return page(
                form(
                    *self.rng.sample(
                        ["<input name=username>", "<input type=password name=password>", soup(self.rng)], 2
                    )
                ),
                status,
            )
        return Reply(status, {"Content-Type": "text/html"}, soup(self.rng))

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.slow
def test_thousands_of_hostile_pages_end_in_errors_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(SEED)  # noqa: S311 - a test has to repeat itself
    clock, ends = Clock(), Counter[str]()
    account = Credentials(name="alice", email=EMAIL, password=PASSWORD, totp_secret=TOTP_SECRET)
    for _ignored in range(PAGES):
        parse(soup(rng), "data-error-code")
        parse(json_soup(rng), "data-error-code")
        somebody = Unsteady(rng, FakeProvider(clock))
        somebody.provider.mfa = rng.random() < 0.5
        try:
            log_in(
                Client(somebody, clock),
                example_provider(),
                account,
                journal=somebody,
                limits=Limits(),
                sleep=clock.sleep,
                rng=rng,
            )
        except AccountError as error:
            ends[error.error_class] += 1
            told = f"{error.sentence} {error.cure}"
            assert told.isprintable()
            assert len(told) < 1_500
            assert not any(word in told for word in (PASSWORD, EMAIL, "secretmail", TOTP_SECRET))
        else:
            ends["tokens"] += 1
        assert all(urlsplit(url).netloc == "login.example.test" for url in somebody.urls)
        assert not any({EMAIL, PASSWORD} & set(dict(parse_qsl(urlsplit(url).query)).values()) for url in somebody.urls)
        assert somebody.announced <= 1
        # A redirect may send the form on, twice at most.
        assert somebody.passwords <= 3 * somebody.announced
    with capsys.disabled():
        print(f"\n{PAGES} logins among hostile pages: {dict(ends.most_common())}")
    wanted = {
        "tokens",
        "unknown_page",
        "consent_required",
        "captcha_required",
        "bad_credentials",
        "provider_error",
        "rate_limited",
    }
    assert wanted <= set(ends)
