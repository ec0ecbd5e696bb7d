# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hold: name a good lane at once, wait only when there is none, and end in OpenAI's errors."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .lane import Lane
from .question import Question

# nginx allows ten internal redirects, two for each turn; one more turn would end in an HTML page of its own.
TURNS_MAX = 4
# Lanes that were good on sight have failed this request by then: one with a newer token is worth a wait.
TURNS_ON_SIGHT = 2
# Whatever a lane's answer asks for, it rests a little and not for good.
REST_SECONDS_MIN, REST_SECONDS_MAX = 1.0, 86400.0


@dataclass(frozen=True)
class HoldLimits:
    """How long a request may wait.

    Attributes:
        hold_seconds: for a lane to become good.
        rest_seconds: how long an account rests after a 429 that names no time.
        retry_after_seconds: what a refused client is told when nothing better is known.
    """

    hold_seconds: float = 60.0
    rest_seconds: float = 30.0
    retry_after_seconds: float = 10.0


@dataclass(frozen=True)
class Answer:
    """What the gateway is told: the lane to go to, or the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Hold:
    """Decides where held requests go.

    Args:
        lanes: all lanes of the node.
        limits: how long a request may wait.
        on_rejected: starts the renewal of a lane whose token was rejected.
        on_rest: makes a lane's rest survive a restart.
        on_down: looks after a lane of which nobody listened.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        lanes: Iterable[Lane],
        limits: HoldLimits,
        *,
        on_rejected: Callable[[Lane], None],
        on_rest: Callable[[Lane], None],
        on_down: Callable[[Lane], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lanes = {lane.address: lane for lane in lanes}
        self._limits = limits
        self._on_rejected = on_rejected
        self._on_rest = on_rest
        self._on_down = on_down
        self._clock = clock
        self._changed = asyncio.Event()
        self._choices = 0
        self.waiting = 0

    def wake(self) -> None:
        """Let every waiting request look at the lanes again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def learn(self, question: Question) -> None:
        """Take from a question what it says of the lane that was tried."""
        tried = [
            lane for address in question.addresses if (lane := self._lanes.get(address.rpartition(":")[0])) is not None
        ]
        if question.status == 502 and not question.answered:
            # The gateway comes only when nobody listened at any of the addresses that it tried.
            for lane in tried:
                self._on_down(lane)
        elif tried and question.status == 401:
            lane = tried[-1]
            # A clock that was set back must not make a token newer than it is.
            lane.delivered_at = min(lane.delivered_at, self._clock())
            # The token may have been replaced while the answer was on its way.
            if lane.token and question.tried_at > lane.delivered_at and lane.rejected_at is None:
                lane.rejected_at = question.tried_at
                self._on_rejected(lane)
        elif tried and question.status == 429:
            lane = tried[-1]
            pause = self._limits.rest_seconds if question.retry_after is None else question.retry_after
            pause = min(max(pause, REST_SECONDS_MIN), REST_SECONDS_MAX)
            lane.resting_until = max(lane.resting_until, question.tried_at + pause)
            self._on_rest(lane)

    async def answer(self, question: Question) -> Answer:
        """Answer one question, now or when a lane has become good."""
        self.learn(question)
        if question.answered and question.status not in (401, 429):
            # It is done, whatever came of it: once more could be twice.
            return _error(
                502, "server_error", "bad_gateway", "The program could not reach ChatGPT: try again later.", 1.0
            )
        if question.turn > TURNS_MAX:
            now = self._clock()
            return self._limit(now) if self._all_rest(now) else self._refuse("every account that was tried refused it")
        deadline = self._clock() + self._limits.hold_seconds
        self.waiting += 1
        try:
            while True:
                changed, now = self._changed, self._clock()
                awaited = self._is_one_awaited(now, deadline)
                chosen = self._choose(question, now, awaited)
                if chosen is not None:
                    return Answer(200, {"X-Accel-Redirect": "@retry", "X-Lane": f"lane_{chosen.name}"})
                if question.status == 429 and not awaited and self._all_rest(now):
                    return self._limit(now)
                hopes = [at for lane in self._lanes.values() if (at := lane.becomes_good_at(now)) is not None]
                if now >= deadline or not hopes or min(hopes) > deadline:
                    return (
                        self._limit(now)
                        if self._all_rest(now)
                        else self._refuse("no account of this node can answer now")
                    )
                # A lane that rests becomes good without an event.
                pause = min([deadline, *(at for at in hopes if at > now)]) - now
                try:
                    await asyncio.wait_for(changed.wait(), max(0.01, pause))
                except TimeoutError:
                    continue
        finally:
            self.waiting -= 1

    def _choose(self, question: Question, now: float, awaited: bool) -> Lane | None:
        good = [lane for lane in self._lanes.values() if lane.is_good(now)]
        if question.status == 401 and question.turn > TURNS_ON_SIGHT:
            fresh = [lane for lane in good if lane.delivered_at >= question.tried_at]
            good = fresh if fresh or awaited else good
        if not good:
            return None
        lane = min(good, key=lambda lane: lane.chosen)
        self._choices += 1
        lane.chosen = self._choices
        return lane

    def _is_one_awaited(self, now: float, deadline: float) -> bool:
        """Say whether a lane without a good token may have one in time."""
        hopes = [lane.becomes_good_at(now) for lane in self._lanes.values() if not lane.has_token(now)]
        return any(at is not None and at <= deadline for at in hopes)

    def _all_rest(self, now: float) -> bool:
        able = [lane for lane in self._lanes.values() if lane.has_token(now)]
        return bool(able) and all(now < lane.resting_until for lane in able)

    def _limit(self, now: float) -> Answer:
        until = min(lane.resting_until for lane in self._lanes.values() if lane.has_token(now))
        sentence = "Every account of this node is at the limit that ChatGPT sets: try again later."
        return _error(429, "rate_limit_error", "rate_limit_exceeded", sentence, until - now)

    def _refuse(self, reason: str) -> Answer:
        now = self._clock()
        hopes = [
            at - now for lane in self._lanes.values() if (at := lane.becomes_good_at(now)) is not None and at > now
        ]
        pause = min(hopes, default=self._limits.retry_after_seconds)
        return _error(
            503, "server_error", "no_account_available", f"The request was held, but {reason}: try again later.", pause
        )


def _error(status: int, kind: str, code: str, sentence: str, retry_after: float) -> Answer:
    document = {"error": {"message": sentence, "type": kind, "param": None, "code": code}}
    headers = {"Content-Type": "application/json", "Retry-After": str(max(1, math.ceil(retry_after)))}
    return Answer(status, headers, json.dumps(document).encode())
