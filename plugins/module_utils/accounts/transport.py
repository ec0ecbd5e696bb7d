# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the library expects of an HTTP session, and what it reads from answers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit

from .errors import AccountError, IpBlocked, NetworkError, ProviderError, RateLimited

Form = Sequence[tuple[str, str]]

HTML = "text/html, application/json;q=0.9, */*;q=0.1"
"""What to ask for where a page is expected."""
JSON = "application/json, */*;q=0.1"
"""What to ask for where a JSON object is expected: some providers answer whoever wants HTML with a page, errors too."""

_BLANKS = dict.fromkeys(map(ord, "\r\n\0"), " ")
_LONGEST_DATE = 64


class Response(Protocol):
    """One answer; redirects are answers too."""

    @property
    def status_code(self) -> int:
        """HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Header fields."""

    @property
    def text(self) -> str:
        """Decoded body, or what has arrived of it."""

    @property
    def complete(self) -> bool:
        """Whether the body has arrived to its end."""


class Session(Protocol):
    """One cookie jar and one way to the provider.

    `request` never follows a redirect, sends ``data`` as a form body and raises `errors.NetworkError` when no answer
    came. ``timeout`` is in seconds, for name look-up, proxy, TLS, request and answer together.
    """

    def request(
        self, method: str, url: str, *, data: Form | None = None, accept: str = HTML, timeout: float = 60.0
    ) -> Response:
        """Send one request and return its answer, an incomplete one too."""

    def close(self) -> None:
        """Let go of all connections."""


def header(response: Response, name: str) -> str:
    """Return a header's value, whatever its case, or an empty string.

    A line break or NUL in it counts as a blank (RFC 9110 section 5.5).
    """
    wanted = name.lower()
    value = next((value for key, value in response.headers.items() if key.lower() == wanted), "")
    return value.translate(_BLANKS)


def _http_date(value: str) -> float | None:
    # Only a renewal reads dates; the agent imports this module as well and has to stay small.
    from datetime import UTC  # noqa: PLC0415
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    if len(value) > _LONGEST_DATE:
        return None
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _number(value: str) -> float | None:
    if not (value.isascii() and value.isdigit()):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def retry_after(response: Response, now: float) -> float | None:
    """Read how long the provider wants to be left alone.

    Args:
        response: an answer, usually 429 or 503.
        now: seconds since the epoch.

    Returns:
        Seconds from ``Retry-After`` (RFC 9110 section 10.2.3, number or date), else from ``x-ratelimit-reset`` (a point
        in time or a number of seconds), else None.
    """
    value = header(response, "Retry-After").strip()
    if (seconds := _number(value)) is not None:
        return seconds
    if value and (date := _http_date(value)) is not None:
        return max(0.0, date - now)
    reset = _number(header(response, "x-ratelimit-reset").strip())
    # No provider asks for thirty years of silence: a large number is a point in time.
    return max(0.0, reset - now) if reset is not None and reset > 1e9 else reset


def json_object(response: Response) -> dict[str, Any]:
    """Return the JSON object of the body, or an empty one when it is anything else.

    Every number in it fits a finite float and every text can be sent again (RFC 8259 sections 6 and 8.2).
    """
    try:
        body = json.loads(response.text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _whole(digits: str) -> int:
    _finite(digits)
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits[:9])
    return number


def refusal(response: Response, now: float, what: str) -> AccountError | None:
    """Classify an answer by its status alone.

    Args:
        response: the answer.
        now: seconds since the epoch, for Retry-After.
        what: the subject of the sentence, such as "The token endpoint".

    Returns:
        The error for 403, 429 and 5xx; None for every other status.
    """
    status = response.status_code
    if status == 429:
        return RateLimited(f"{what} answered 429.", retry_after=retry_after(response, now))
    if status >= 500:
        return ProviderError(f"{what} answered {status}.", retry_after=retry_after(response, now))
    if status == 403:
        return IpBlocked(
            f"{what} answered 403: the network address is refused.", retry_after=retry_after(response, now)
        )
    return None


class Client:
    """A session that also watches the provider's clock and the time that is left.

    Args:
        session: where requests go.
        clock: returns seconds since the epoch.
        exchange_timeout: seconds for one request and its answer.
        timer: returns seconds that no setting of the clock changes.
    """

    def __init__(
        self,
        session: Session,
        clock: Callable[[], float],
        *,
        exchange_timeout: float = 60.0,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._exchange_timeout = exchange_timeout
        self._timer = timer
        self._until: float | None = None
        self.clock = clock
        self.skew: float | None = None
        """Seconds by which the provider's Date header is ahead of the node; None before the first answer with one."""

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Let all requests of a block together take no longer than this, waits between them included.

        Args:
            seconds: from now on; an outer block that ends earlier counts all the same.
        """
        outer = self._until
        until = self._timer() + seconds
        self._until = until if outer is None else min(outer, until)
        try:
            yield
        finally:
            self._until = outer

    def send(
        self, method: str, url: str, data: Form | None = None, *, accept: str = HTML, partial: bool = False
    ) -> Response:
        """Send one request.

        Args:
            method: GET or POST.
            url: absolute address.
            data: fields of a form body.
            accept: what to ask for, HTML or JSON.
            partial: whether the beginning of an answer is of use.

        Returns:
            The answer.

        Raises:
            NetworkError: no answer came, or only the beginning of one, or no time is left.
        """
        response = self._session.request(method, url, data=data, accept=accept, timeout=self._seconds())
        date = _http_date(header(response, "Date"))
        if date is not None:
            self.skew = date - self.clock()
        if not (response.complete or partial):
            raise NetworkError(f"The answer of {_host(url)} ended in the middle.", sent=True)
        return response

    def _seconds(self) -> float:
        if self._until is None:
            return self._exchange_timeout
        left = self._until - self._timer()
        if left <= 0:
            raise NetworkError("The requests to the provider took longer than they may all together.")
        return min(self._exchange_timeout, left)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "the provider"
    except ValueError:
        return "the provider"
