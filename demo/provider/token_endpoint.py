# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints without pages: codes and refresh tokens become tokens, and tokens are revoked."""

from __future__ import annotations

import urllib.parse

from aiohttp import web

from . import faults, pages
from .accept import prefers_html
from .grants import Grants, OAuthError
from .holds import Holds
from .records import Records
from .switches import Switches

FORM = "application/x-www-form-urlencoded"
_UNCACHED = {"Cache-Control": "no-store", "Pragma": "no-cache"}


async def read_form(request: web.Request) -> dict[str, str] | None:
    """Return the fields of a form body; None when it is no form or names a field twice (RFC 6749 section 3.2)."""
    if request.content_type != FORM:
        return None
    fields = urllib.parse.parse_qsl(await request.text(), keep_blank_values=True)
    return dict(fields) if len({name for name, _ in fields}) == len(fields) else None


class TokenEndpoint:
    """The token endpoint and the revocation endpoint (RFC 6749 section 3.2, RFC 7009 section 2).

    Args:
        grants: shared state.
        switches: variants and faults.
        holds: what waits here.
        records: counters and events.
    """

    def __init__(self, grants: Grants, switches: Switches, holds: Holds, records: Records) -> None:
        self._grants = grants
        self._switches = switches
        self._holds = holds
        self._records = records
        self._faults = faults.Faults(switches, records)

    async def token(self, request: web.Request) -> web.StreamResponse:
        """Serve the two grants."""
        form = await read_form(request)
        if form is None:
            return self._refuse(request, "invalid_request", 400, "A form body with each parameter once is expected")
        if form.get("client_id") != self._grants.client.id:
            return self._refuse(request, "invalid_client", 401, "Unknown client")
        grant = form.get("grant_type", "")
        if grant == "authorization_code":
            endpoint, needed = "code", ["code", "redirect_uri", "code_verifier"]
            email = self._grants.peek_code(form.get("code", ""))
        elif grant == "refresh_token":
            endpoint, needed = "refresh", ["refresh_token"]
            email = self._grants.peek_refresh(form.get("refresh_token", ""))
        else:
            code = "unsupported_grant_type" if grant else "invalid_request"
            return self._refuse(request, code, 400, "Unknown grant type")
        if missing := [name for name in needed if not form.get(name)]:
            return self._refuse(request, "invalid_request", 400, f"Parameter {missing[0]} is missing")
        self._records.event(f"{endpoint}_requested", email)
        if not await self._holds.wait(grant, email, lambda: request.transport is not None):
            self._records.event(f"{endpoint}_abandoned", email)
            return faults.drop(request)

        def work() -> web.Response:
            try:
                if grant == "authorization_code":
                    issued = self._grants.exchange(form["code"], form["code_verifier"], form["redirect_uri"])
                else:
                    rotate = self._switches.flag("rotate", email)
                    issued = self._grants.refresh(form["refresh_token"], rotate=rotate)
            except OAuthError as refusal:
                status = self._switches.number("invalid_grant_status", email)
                return self._refuse(request, refusal.code, status, refusal.description)
            expires_in = self._switches.value("expires_in", email)
            told = {} if expires_in is None else {"expires_in": expires_in}
            return web.json_response({**issued.answer(), **told}, headers=_UNCACHED)

        return await self._faults.meet(request, endpoint, email, work, self._refusals(request))

    async def revoke(self, request: web.Request) -> web.StreamResponse:
        """Serve a revocation."""
        form = await read_form(request)
        if form is None or not form.get("token"):
            return self._refuse(request, "invalid_request", 400, "A form body with a token is expected")
        if form.get("client_id") != self._grants.client.id:
            return self._refuse(request, "invalid_client", 401, "Unknown client")
        token = form["token"]
        email = self._grants.peek_refresh(token) or self._grants.account_of(token)

        def work() -> web.Response:
            self._grants.revoke_token(token)
            return web.Response()

        return await self._faults.meet(request, "revoke", email, work, self._refusals(request))

    def _is_html_wanted(self, request: web.Request) -> bool:
        return self._switches.flag("html_errors") and prefers_html(request.headers.get("Accept", ""))

    def _refuse(
        self, request: web.Request, code: str, status: int, description: str = "The request was refused."
    ) -> web.Response:
        """Return an error (RFC 6749 section 5.2), as a page where the client would rather read one."""
        if self._is_html_wanted(request):
            return faults.html_page(pages.message(code, description), status)
        body = {"error": code, "error_description": description}
        return web.json_response(body, status=status, headers={"Cache-Control": "no-store"})

    def _refusals(self, request: web.Request) -> faults.Refusals:
        limit = {"error": "too_many_requests", "error_description": "Too many requests"}
        return faults.Refusals(
            error=lambda code, status: self._refuse(request, code, status),
            limit_body=None if self._is_html_wanted(request) else {**limit},
        )
