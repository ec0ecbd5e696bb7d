# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a fault switch turns into an answer, and how a connection is dropped."""

from __future__ import annotations

import time
import typing

from aiohttp import web

from . import pages
from .switches import Fault

_OAUTH_STATUS = {"invalid_grant": 403, "invalid_client": 401}
_DENIED = (
    "<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head>"
    "<body><h1>Checking your browser</h1><p>Access from this address is blocked.</p></body></html>\n"
)


def drop(request: web.Request) -> web.Response:
    """Close the client's connection without an answer; what is returned never reaches it."""
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=500)


def html_page(text: str, status: int = 200) -> web.Response:
    """Return an HTML answer that nobody may cache."""
    return web.Response(text=text, status=status, content_type="text/html", headers={"Cache-Control": "no-store"})


def bot_wall() -> web.Response:
    """Return the 403 page of a guard in front of the provider."""
    return html_page(_DENIED, 403)


def rate_limited(retry_after: int, body: dict[str, object] | None) -> web.Response:
    """Return 429 with Retry-After and the x-ratelimit headers.

    Args:
        retry_after: seconds.
        body: the JSON body, or None for an HTML page.
    """
    answer = (
        web.json_response(body, status=429) if body else html_page(pages.message("Too many requests", "Wait."), 429)
    )
    answer.headers["Retry-After"] = str(retry_after)
    answer.headers["x-ratelimit-limit"] = "10"
    answer.headers["x-ratelimit-remaining"] = "0"
    answer.headers["x-ratelimit-reset"] = str(int(time.time()) + retry_after)
    return answer


def _unavailable(retry_after: int) -> web.Response:
    answer = html_page(pages.message("Service unavailable", "Come back later."), 503)
    answer.headers["Retry-After"] = str(retry_after)
    return answer


def _broken() -> web.Response:
    return html_page(pages.message("Internal server error", "Something broke."), 500)


def answer(
    request: web.Request,
    fault: Fault,
    error: typing.Callable[[str, int], web.Response] | None,
    unknown_page: str,
    limit_body: dict[str, object] | None = None,
) -> web.Response:
    """Return the answer of a fault other than ``lost``.

    Args:
        request: the request that meets it.
        fault: the fault.
        error: makes a JSON refusal from an OAuth error code and a status; None on HTML endpoints.
        unknown_page: where the fault ``unknown_page`` leads.
        limit_body: the JSON body of a 429, or None for HTML.
    """
    if fault.kind == "close":
        return drop(request)
    if error and fault.kind in _OAUTH_STATUS:
        return error(fault.kind, _OAUTH_STATUS[fault.kind])
    makers: dict[str, typing.Callable[[], web.Response]] = {
        "rate_limit": lambda: rate_limited(fault.retry_after, limit_body),
        "bot_wall": bot_wall,
        "unavailable": lambda: _unavailable(fault.retry_after),
        "unknown_page": lambda: web.Response(status=302, headers={"Location": unknown_page}),
    }
    return makers.get(fault.kind, _broken)()
