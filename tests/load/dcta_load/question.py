# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked, and what the stand-in program must answer, byte for byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

COMPLETIONS = "/v1/chat/completions"
MODEL = "gpt-3.5-turbo"
ANSWER_ID = "chatcmpl-stand-in"
ANSWER_MODEL = "gpt-3.5-turbo-0301"
NO_SUCH_PAGE = b'{"error":"There is no such page."}'


@dataclass(frozen=True)
class Answer:
    """One whole answer.

    Attributes:
        status: its status.
        headers: its headers, names in lower case.
        body: its body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Question:
    """One chat completion.

    Attributes:
        word: makes the question and its answer different from all others.
        stream: whether the answer shall come as server-sent events.
        count: of how many pieces the answer consists; 0 for an echo of the question.
        pause: seconds between two pieces.
        padding: bytes that make the body larger, without a consequence for the answer.
        target: the request target, sent as it is.
        known: whether the program knows the target.
    """

    word: str
    stream: bool = False
    count: int = 0
    pause: float = 0.0
    padding: int = 0
    target: str = COMPLETIONS
    known: bool = True

    @property
    def prompt(self) -> str:
        """What the user says."""
        if not self.count:
            return self.word
        return f"repeat {self.count}{f' every {self.pause:g}' if self.pause else ''}: {self.word}"

    @property
    def pieces(self) -> list[str]:
        """The answer in the pieces in which it must come."""
        if not self.count:
            return ["You said: ", self.word]
        return [f"{' ' if number > 1 else ''}{self.word} {number};" for number in range(1, self.count + 1)]

    def body(self) -> bytes:
        """Return the body of the request."""
        messages = [{"role": "user", "content": self.prompt}]
        if self.padding:
            messages.insert(0, {"role": "system", "content": "p" * self.padding})
        return json.dumps({"model": MODEL, "stream": self.stream, "messages": messages}).encode()

    def expected(self) -> bytes:
        """Return the body that must come back, whole."""
        if not self.known:
            return NO_SUCH_PAGE
        if not self.stream:
            message = {"role": "assistant", "content": "".join(self.pieces)}
            return _json(
                {
                    "id": ANSWER_ID,
                    "object": "chat.completion",
                    "created": 0,
                    "model": ANSWER_MODEL,
                    "usage": {"completion_tokens": 0, "prompt_tokens": 0, "total_tokens": 0},
                    "choices": [_sorted({"index": 0, "message": _sorted(message), "finish_reason": None})],
                }
            )
        # The service begins with an empty piece.
        events = [_event({"role": "assistant"}), *(_event({"content": piece}) for piece in self.pieces)]
        # The service repeats the whole text when it is done, which adds nothing, and then says so.
        events += [_event({}), _event({}, "stop"), b"data: [DONE]\n\n"]
        return b"".join(events)

    def fault(self, answer: Answer, body: bytes) -> str:
        """Say what is wrong with an answer, or return nothing.

        Args:
            answer: what came.
            body: the body that was sent.
        """
        if answer.status != (200 if self.known else 404):
            return f"status {answer.status} ({_code(answer.body)})"
        if strange := self._strange_at_the_program(answer, body):
            return f"{strange} arrived at the program"
        expected = self.expected()
        if self.stream and self.known and not answer.body.endswith(b"data: [DONE]\n\n"):
            return f"the stream ends without [DONE] after {len(answer.body)} of {len(expected)} bytes"
        if answer.body != expected:
            same = next(
                (at for at, pair in enumerate(zip(answer.body, expected, strict=False)) if pair[0] != pair[1]), None
            )
            at = min(len(answer.body), len(expected)) if same is None else same
            return f"the answer differs at byte {at}; it has {len(answer.body)} bytes and should have {len(expected)}"
        return ""

    def _strange_at_the_program(self, answer: Answer, body: bytes) -> str:
        """Compare what the program says has arrived with what was sent."""
        if answer.headers.get("x-stand-in-target") != self.target:
            return "another request target"
        if answer.headers.get("x-stand-in-body-sha256") != hashlib.sha256(body).hexdigest():
            return "another body"
        return "" if answer.headers.get("x-stand-in-authorization") == "absent" else "the API key"


def questions(label: str, *, stream: bool) -> Iterator[Question]:
    """Return an endless mixture of questions: short ones, answers of many pieces and answers that take their time.

    Args:
        label: makes them different from those of other clients.
        stream: whether the answers shall come as server-sent events.
    """
    number = 0
    while True:
        number += 1
        word = f"{label}-{number}"
        if number % 8 == 0:
            yield Question(word, stream=stream, count=8, pause=0.03)
        elif number % 4 == 0:
            yield Question(word, stream=stream, count=20, padding=2000)
        else:
            yield Question(word, stream=stream)


def _event(delta: Mapping[str, str], finish: str | None = None) -> bytes:
    chunk = {
        "id": ANSWER_ID,
        "object": "chat.completion.chunk",
        "created": 0,
        "model": ANSWER_MODEL,
        "choices": [_sorted({"index": 0, "delta": delta, "finish_reason": finish})],
    }
    return b"data: " + _json(chunk) + b"\n\n"


def _json(document: Mapping[str, Any]) -> bytes:
    """Write JSON as Go's encoding/json does it: maps are sorted, and only the delta of an event is none there."""
    return json.dumps(_sorted(document), separators=(",", ":"), ensure_ascii=False).encode()


def _sorted(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(mapping.items()))


def _code(body: bytes) -> str:
    """Return the code of an error in OpenAI's form, which never holds a secret."""
    try:
        return str(json.loads(body)["error"]["code"])[:60]
    except (ValueError, LookupError, TypeError):
        return "no error of OpenAI's form"
