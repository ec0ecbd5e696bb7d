# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the library expects of an HTTP session, and what it reads from answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from .errors import AccountError, IpBlocked, ProviderError, RateLimited

Form = Sequence[tuple[str, str]]


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
        """Decoded body."""


class Session(Protocol):
    """One cookie jar and one way to the provider.

    `request` never follows a redirect, sends ``data`` as a form body and raises `errors.NetworkError` when no answer
    came.
    """

    def request(self, method: str, url: str, *, data: Form | None = None) -> Response:
        """Send one request and return its answer."""

    def close(self) -> None:
        """Let go of all connections."""


def header(response: Response, name: str) -> str:
    """Return a header's value, whatever its case, or an empty string."""
    wanted = name.lower()
    return next((value for key, value in response.headers.items() if key.lower() == wanted), "")


def _http_date(value: str) -> float | None:
    # Only a renewal reads dates; the agent imports this module as well and has to stay small.
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    try:
        return parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError):
        return None


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
    if value.isascii() and value.isdigit():
        return float(value)
    if value and (date := _http_date(value)) is not None:
        return max(0.0, date - now)
    reset = header(response, "x-ratelimit-reset").strip()
    if reset.isascii() and reset.isdigit():
        seconds = float(reset)
        # No provider asks for thirty years of silence: a large number is a point in time.
        return max(0.0, seconds - now) if seconds > 1e9 else seconds
    return None


def json_object(response: Response) -> dict[str, Any]:
    """Return the JSON object of the body, or an empty one when it is anything else."""
    try:
        body = json.loads(response.text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


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
    """A session that also watches the provider's clock.

    Args:
        session: where requests go.
        clock: returns seconds since the epoch.
    """

    def __init__(self, session: Session, clock: Callable[[], float]) -> None:
        self._session = session
        self.clock = clock
        self.skew: float | None = None
        """Seconds by which the provider's Date header is ahead of the node; None before the first answer with one."""

    def send(self, method: str, url: str, data: Form | None = None) -> Response:
        """Send one request.

        Args:
            method: GET or POST.
            url: absolute address.
            data: fields of a form body.

        Returns:
            The answer.

        Raises:
            NetworkError: no answer came.
        """
        response = self._session.request(method, url, data=data)
        date = _http_date(header(response, "Date"))
        if date is not None:
            self.skew = date - self.clock()
        return response
