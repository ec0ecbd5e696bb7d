# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gateway is told about a held request: the lane to go to, or an error in the form that clients know."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What the gateway is told: the lane to go to, or the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def go_to(lane: str) -> Answer:
    """Name the lane where the gateway repeats the request."""
    return Answer(200, {"X-Accel-Redirect": "@retry", "X-Lane": f"lane_{lane}"})


def unreachable() -> Answer:
    """End a request that reached the program, and that nobody may send a second time."""
    sentence = "The program could not reach ChatGPT: try again later."
    return _error(502, "server_error", "bad_gateway", sentence, 1.0)


def blocked(retry_after: float) -> Answer:
    """End a request because ChatGPT refuses the node's addresses; come back after some seconds."""
    sentence = "ChatGPT does not answer this node at present: try again later."
    return _error(503, "server_error", "address_blocked", sentence, retry_after)


def limited(retry_after: float) -> Answer:
    """End a request because every account rests; come back after some seconds."""
    sentence = "Every account of this node is at the limit that ChatGPT sets: try again later."
    return _error(429, "rate_limit_error", "rate_limit_exceeded", sentence, retry_after)


def refused(reason: str, retry_after: float) -> Answer:
    """End a request that waited in vain; come back after some seconds."""
    sentence = f"The request was held, but {reason}: try again later."
    return _error(503, "server_error", "no_account_available", sentence, retry_after)


def ready() -> Answer:
    """Tell a load balancer that the node can answer. Whoever asks has no key, so no account is named or counted."""
    return _answer(200, {"status": "ready"})


def not_ready(retry_after: float) -> Answer:
    """Tell a load balancer that it cannot, and after how many seconds to ask again."""
    return _answer(503, {"status": "not ready"}, retry_after)


def _error(status: int, kind: str, code: str, sentence: str, retry_after: float) -> Answer:
    document = {"error": {"message": sentence, "type": kind, "param": None, "code": code}}
    return _answer(status, document, retry_after)


def _answer(status: int, document: Mapping[str, object], retry_after: float | None = None) -> Answer:
    headers = {"Content-Type": "application/json"}
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    return Answer(status, headers, json.dumps(document).encode())
