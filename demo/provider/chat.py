# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The conversations of the chat service, in the form that ChatGPT-to-API reads: each event holds the text so far."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import secrets
import time
import typing

from aiohttp import web

from . import faults
from .grants import Grants
from .records import Records
from .switches import Switches

PATH = "/backend-api/conversation"
MAX_BODY = 64 * 2**20
MAX_PIECES = 20_000
_REPEAT = re.compile(r"repeat (\d{1,5})(?: every (\d{1,3}(?:\.\d{1,3})?))?: (\S+)")


def pieces_of(prompt: str) -> tuple[list[str], float | None]:
    """Make the answer to a prompt.

    Args:
        prompt: the user's last message; ``repeat N: WORD`` and ``repeat N every SECONDS: WORD`` bring N numbered
            pieces.

    Returns:
        The pieces of the answer, and the pause between them in seconds if the prompt asks for one. No beginning of
        the answer comes again later in it: the program in front cuts a beginning out wherever it finds it.
    """
    if match := _REPEAT.fullmatch(prompt.strip()):
        count, pause, word = match.groups()
        pieces = [
            f"{word} {number};" if number == 1 else f" {word} {number};"
            for number in range(1, min(int(count), MAX_PIECES) + 1)
        ]
        return pieces, None if pause is None else float(pause)
    lead = "You said: "
    return ([lead, prompt] if prompt and lead not in prompt else [lead + prompt]), None


class _BadBody(Exception):
    """The request's body is not what the program sends."""


def _prompt(body: typing.Any) -> str:
    try:
        users = [message for message in body["messages"] if message["author"]["role"] == "user"]
        text = users[-1]["content"]["parts"][0]
    except (TypeError, KeyError, IndexError) as error:
        raise _BadBody from error
    if not isinstance(text, str):
        raise _BadBody
    return text


@dataclasses.dataclass(frozen=True)
class Caller:
    """Whose request it is: an account, ``anonymous`` without a token, or the last owner of a token that is not good."""

    email: str
    token: str = dataclasses.field(repr=False)
    known: bool


class ChatBackEnd:
    """The web application of the chat back end, at the address that ``API_REVERSE_PROXY`` names.

    Args:
        grants: shared state: a token is good only while the identity provider says so.
        switches: variants and faults.
        records: counters and events.
    """

    def __init__(self, grants: Grants, switches: Switches, records: Records) -> None:
        self._grants = grants
        self._switches = switches
        self._records = records
        self._unfinished: dict[str, tuple[list[str], float | None]] = {}

    def application(self) -> web.Application:
        """Build the application."""
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_post(PATH, self.conversation)
        return application

    def caller(self, request: web.Request) -> Caller:
        """Tell whose request it is."""
        header = request.headers.get("Authorization", "")
        token = header[7:] if header.startswith("Bearer ") else ""
        if email := self._grants.account_of(token):
            return Caller(email, token, known=True)
        if token:
            return Caller(self._grants.last_owner(token), token, known=False)
        return Caller("anonymous", "", known=self._switches.flag("anonymous_chat"))

    async def conversation(
        self, request: web.Request, demand: typing.Callable[[Caller], web.Response | None] | None = None
    ) -> web.StreamResponse:
        """Answer one prompt.

        Args:
            request: the request.
            demand: what else must be right with the request of a known caller; returns the refusal.
        """
        if self._switches.flag("chat_down"):
            return faults.drop(request)
        raw = await request.read()
        caller = self.caller(request)
        email, token = caller.email, caller.token
        refusal: web.Response | None = None
        if not caller.known:
            refusal = unauthorized()
        elif token:
            await asyncio.sleep(self._switches.seconds("chat_delay", email))
            refusal = self._fault(request, email)
        if refusal is None and demand is not None:
            refusal = demand(caller)
        if refusal is None:
            try:
                pieces, pause, conversation = self._plan(json.loads(raw))
            except (_BadBody, ValueError):
                refusal = web.json_response({"detail": "The body does not hold a user's message."}, status=422)
        if refusal is not None:
            self._records.chat(email, refusal.status, token)
            return refusal
        self._records.chat(email, 200, token)
        return await self._stream(request, email, pieces, pause, conversation)

    def _fault(self, request: web.Request, email: str) -> web.Response | None:
        fault = self._switches.take_fault("chat", email)
        if fault is None:
            return None
        limit: dict[str, object] = {"detail": "Too many requests in 1 hour. Try again later."}
        return faults.answer(request, fault, faults.Refusals(error=refused, limit_body=limit))

    def _plan(self, body: typing.Any) -> tuple[list[str], float | None, str]:
        """Return the pieces to send, the pause between them and the conversation's id."""
        if isinstance(body, dict) and body.get("action") == "continue":
            known = self._unfinished.pop(str(body.get("conversation_id")), None)
            if known is None:
                raise _BadBody
            return *known, str(body["conversation_id"])
        return *pieces_of(_prompt(body)), secrets.token_hex(16)

    async def _stream(
        self, request: web.Request, email: str, pieces: list[str], pause: float | None, conversation: str
    ) -> web.StreamResponse:
        finish = "stop"
        if len(pieces) > 1 and self._switches.take_count("max_tokens", email):
            finish, half = "max_tokens", len(pieces) // 2
            self._unfinished[conversation] = (pieces[half:], pause)
            pieces = pieces[:half]
        if pause is None:
            pause = self._switches.seconds("piece_delay", email)
        answer = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        )
        await answer.prepare(request)
        event = _Event(conversation)
        # The service begins with an empty piece of the message, and one variant of the program reads no other message.
        waiting = event.preamble() + event.line("")
        text = ""
        for number, piece in enumerate(pieces):
            if pause and number:
                await answer.write(waiting)
                waiting = b""
                await asyncio.sleep(pause)
            text += piece
            waiting += event.line(text)
            if len(waiting) > 2**16:
                await answer.write(waiting)
                waiting = b""
        await answer.write(waiting + event.line(text, finish=finish) + b"data: [DONE]\n\n")
        await answer.write_eof()
        return answer


class _Event:
    """The lines of one answer; only text and end differ between those of one message."""

    def __init__(self, conversation: str) -> None:
        self._id = secrets.token_hex(16)
        self._created = time.time()
        self._conversation = conversation

    def preamble(self) -> bytes:
        """Return the event of a message before the answer, which no program shows."""
        return self._line(secrets.token_hex(16), "system", "", "")

    def line(self, text: str, *, finish: str = "") -> bytes:
        """Return one event with the text so far."""
        return self._line(self._id, "assistant", text, finish)

    def _line(self, identity: str, role: str, text: str, finish: str) -> bytes:
        details = {"type": finish, "stop": "<|im_end|>" if finish == "stop" else ""} if finish else None
        message = {
            "id": identity,
            "author": {"role": role, "name": None, "metadata": {}},
            "create_time": self._created,
            "content": {"content_type": "text", "parts": [text]},
            "end_turn": None,
            "weight": 1.0,
            "metadata": {
                "message_type": "next",
                "model_slug": "text-davinci-002-render-sha",
                "finish_details": details,
            },
            "recipient": "all",
        }
        body = {"message": message, "conversation_id": self._conversation, "error": None}
        return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def refused(detail: str, status: int) -> web.Response:
    """Return a refusal in the service's form."""
    return web.json_response({"detail": detail}, status=status)


def unauthorized() -> web.Response:
    """Return the refusal of a token that is not good, or of none."""
    detail = {
        "message": "Your authentication token has expired. Please try signing in again.",
        "type": "invalid_request_error",
        "param": None,
        "code": "token_expired",
    }
    return web.json_response({"detail": detail}, status=401)
