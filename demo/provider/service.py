# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chat service under its own name: what a program asks there before each chat, and before a login of its own.

No proof is ever asked of the program: what the service wants to know about browsers is not this project's matter.
"""

from __future__ import annotations

import secrets

from aiohttp import web

from . import faults, pages
from .chat import MAX_BODY, Caller, ChatBackEnd, refused, unauthorized
from .records import Records
from .switches import Switches

REQUIREMENTS_HEADER = "Openai-Sentinel-Chat-Requirements-Token"
LOGIN_PAGE = "https://auth.openai.com/log-in"
"""Where the service sends who wants to log in; nodes keep the program from that host."""


class ChatService:
    """The web application at the name of the chat service.

    Args:
        chat: answers the prompts.
        switches: variants and faults.
        records: events.
    """

    def __init__(self, chat: ChatBackEnd, switches: Switches, records: Records) -> None:
        self._chat = chat
        self._switches = switches
        self._records = records
        self._faults = faults.Faults(switches, records)
        self._permits: dict[str, str] = {}

    def application(self) -> web.Application:
        """Build the application."""
        application = web.Application(client_max_size=MAX_BODY, middlewares=[self._guard])
        add = application.router
        add.add_get("/", self._front_page)
        add.add_get("/api/auth/csrf", self._login_begins)
        add.add_post("/api/auth/signin/openai", self._login_page)
        for access in ("api", "anon"):
            add.add_post(f"/backend-{access}/sentinel/chat-requirements", self._requirements)
            add.add_post(f"/backend-{access}/conversation", self._conversation)
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: faults.Handler) -> web.StreamResponse:
        return faults.drop(request) if self._switches.flag("chat_down") else await handler(request)

    async def _front_page(self, _request: web.Request) -> web.Response:
        self._records.event("front_page")
        return faults.html_page(pages.message("Chat", "What can I help with?"))

    async def _login_begins(self, _request: web.Request) -> web.Response:
        self._records.event("login_begun")
        return web.json_response({"csrfToken": secrets.token_hex(32)})

    async def _login_page(self, _request: web.Request) -> web.Response:
        self._records.event("login_page")
        return web.json_response({"url": LOGIN_PAGE})

    async def _requirements(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        caller = self._chat.caller(request)
        self._records.event("requirements", caller.email)

        def work() -> web.Response:
            if not caller.known:
                return unauthorized() if caller.token else web.json_response({"force_login": True})
            permit = secrets.token_urlsafe(24)
            self._permits[permit] = caller.token
            return web.json_response(
                {"token": permit, "proofofwork": {"required": False}, "turnstile": {"required": False}}
            )

        limit: dict[str, object] = {"detail": "Too many requests in 1 hour. Try again later."}
        refusals = faults.Refusals(error=refused, limit_body=limit)
        return await self._faults.meet(request, "requirements", caller.email, work, refusals)

    async def _conversation(self, request: web.Request) -> web.StreamResponse:
        def demand(caller: Caller) -> web.Response | None:
            permit = request.headers.get(REQUIREMENTS_HEADER, "")
            if self._permits.pop(permit, None) == caller.token:
                return None
            return refused("The chat requirements were not asked before, or by another account.", 403)

        return await self._chat.conversation(request, demand)
