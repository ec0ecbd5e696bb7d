# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a fault switch turns into an answer, in place of an endpoint's work or after it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
import typing

from aiohttp import web

from . import pages
from .records import Records
from .switches import AFTERWARDS, Fault, Switches

Work = typing.Callable[[], web.Response]
Handler = typing.Callable[[web.Request], typing.Awaitable[web.StreamResponse]]

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


def _broken(status: int) -> web.Response:
    return html_page(pages.message("Something broke", f"The server answered {status}."), status)


@dataclasses.dataclass(frozen=True)
class Refusals:
    """How an endpoint words what a fault makes it say.

    Args:
        error: makes a refusal from an OAuth error code and a status; None on HTML endpoints.
        limit_body: the JSON body of a 429, or None for HTML.
        unknown_page: where the fault ``unknown_page`` leads.
    """

    error: typing.Callable[[str, int], web.Response] | None = None
    limit_body: dict[str, object] | None = None
    unknown_page: str = "/"


def answer(request: web.Request, fault: Fault, refusals: Refusals) -> web.Response:
    """Return the answer of a fault that comes in place of the work.

    Args:
        request: the request that meets it.
        fault: one of ``INSTEAD``.
        refusals: the endpoint's own words.
    """
    if fault.kind == "close":
        return drop(request)
    if refusals.error and fault.kind in _OAUTH_STATUS:
        return refusals.error(fault.kind, _OAUTH_STATUS[fault.kind])
    makers: dict[str, typing.Callable[[], web.Response]] = {
        "rate_limit": lambda: rate_limited(fault.retry_after, refusals.limit_body),
        "bot_wall": bot_wall,
        "unavailable": lambda: _unavailable(fault.retry_after),
        "bad_gateway": lambda: _broken(fault.status),
        "unknown_page": lambda: web.Response(status=302, headers={"Location": refusals.unknown_page}),
    }
    return makers.get(fault.kind, lambda: _broken(500))()


async def spoil(request: web.Request, fault: Fault, done: web.Response) -> web.StreamResponse:
    """Return what becomes of the answer when the work is done.

    Args:
        request: the request that was served.
        fault: one of ``AFTERWARDS``.
        done: the answer that a client would have got.
    """
    body = bytes(done.body) if isinstance(done.body, bytes) else b""
    match fault.kind:
        case "lost_bad_gateway":
            return _broken(fault.status)
        case "empty":
            return web.Response(content_type=done.content_type)
        case "no_access_token":
            return web.json_response({k: v for k, v in json.loads(body).items() if k != "access_token"})
        case "cut" | "drip":
            answer = web.StreamResponse(status=done.status, headers={"Content-Type": done.content_type})
            answer.content_length = len(body)
            await answer.prepare(request)
            if fault.kind == "cut":
                await answer.write(body[: len(body) // 2])
                drop(request)
                return answer
            for position in range(len(body)):
                await answer.write(body[position : position + 1])
                await asyncio.sleep(fault.pause)
            return answer
        case _:
            return drop(request)


class Faults:
    """What comes between a request and its answer.

    Args:
        switches: delays and faults.
        records: where a fault that was met becomes an event.
    """

    def __init__(self, switches: Switches, records: Records) -> None:
        self._switches = switches
        self._records = records

    async def meet(
        self, request: web.Request, endpoint: str, email: str, work: Work, refusals: Refusals
    ) -> web.StreamResponse:
        """Do an endpoint's work after its delay, unless a fault takes its place or its answer.

        Args:
            request: the request.
            endpoint: one of ``ENDPOINTS``.
            email: the account it is about, empty when unknown.
            work: does it and returns the answer.
            refusals: the endpoint's own words.
        """
        await asyncio.sleep(self._switches.seconds(f"{endpoint}_delay", email))
        fault = self._switches.take_fault(endpoint, email)
        if fault is None:
            return work()
        self._records.event("fault", email, endpoint=endpoint, kind=fault.kind)
        if fault.kind in AFTERWARDS:
            return await spoil(request, fault, work())
        return answer(request, fault, refusals)
