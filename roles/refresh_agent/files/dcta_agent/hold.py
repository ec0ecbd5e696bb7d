# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hold: name a good lane at once, wait only when there is none, and end in OpenAI's errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from . import answers
from .answers import Answer
from .config import HoldLimits
from .lane import Lane
from .lessons import Lessons
from .question import Question

# nginx allows ten internal redirects, two for each retry; one more would end in an HTML page of its own.
RETRIES_MAX = 4
# Lanes that were good on sight have failed this request by then: one with a newer token is worth a wait.
RETRIES_ON_SIGHT = 2
# A load balancer waits no longer than some seconds for its answer.
READY_SECONDS, READY_PAUSE = 1.0, 0.05


@dataclass(frozen=True, eq=False)
class _Waiter:
    question: Question
    end: float
    answer: asyncio.Future[Answer]


class Hold:
    """Decides where held requests go.

    Args:
        lanes: all lanes of the node.
        limits: how long a request may wait.
        on_rejected: starts the renewal of a lane whose token was rejected.
        on_rest: makes a lane's rest survive a restart.
        on_down: looks after a lane of which nobody listened.
        on_blocked: told when a lane's address begins or ceases to count as blocked.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        lanes: Iterable[Lane],
        limits: HoldLimits,
        *,
        on_rejected: Callable[[Lane], None],
        on_rest: Callable[[Lane], object],
        on_down: Callable[[Lane], None],
        on_blocked: Callable[[Lane], None] = lambda _lane: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lanes = {lane.address: lane for lane in lanes}
        self._limits = limits
        self._on_blocked = on_blocked
        self._clock = clock
        self._lessons = Lessons(
            self._lanes,
            limits,
            on_rejected=on_rejected,
            on_rest=on_rest,
            on_down=on_down,
            on_blocked=self._blocked_or_not,
            clock=clock,
        )
        # The oldest first.
        self._waiters: dict[_Waiter, None] = {}
        self._choices = 0

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiters)

    @property
    def bounded(self) -> bool:
        """Whether an account answers only so many requests at a time."""
        return self._limits.requests_per_account > 0

    def wake(self) -> None:
        """Look at the lanes again for every waiting request."""
        for waiter in list(self._waiters):
            self._look_for(waiter)

    def ended(self, request_id: str, address: str, status: int | None) -> None:
        """Learn that a request has ended.

        Args:
            request_id: names it.
            address: where its last try went.
            status: what was answered there; None if nothing was.
        """
        self._lessons.ended(address, status)
        self._release(request_id)

    def settled(self) -> dict[str, list[str]]:
        """Return the requests that must have a connection by now unless they have ended, by the lane's address."""
        now = self._clock()
        return {address: lane.settled(now) for address, lane in self._lanes.items()}

    def adopt(self, connections: Mapping[str, int]) -> None:
        """Count requests that were sent before this agent was there; connections by the lane's address."""
        now = self._clock()
        for address, lane in self._lanes.items():
            lane.adopt(connections.get(address, 0), now)

    def recount(self, connections: Mapping[str, int], settled: Mapping[str, Iterable[str]]) -> None:
        """Find requests whose end was not reported.

        Args:
            connections: how many the gateway had to each lane, by the lane's address.
            settled: what was settled at that moment; long enough ago for the reports that were on their way.
        """
        freed = [
            lane.drop_lost(connections.get(address, 0), settled.get(address, ()))
            for address, lane in self._lanes.items()
        ]
        if any(freed):
            self._fill()

    async def answer(self, question: Question) -> Answer:
        """Answer one question, now or when a lane has become good and has a place."""
        self._release(question.request_id)
        self._lessons.learn(question)
        answer = self._answer_at_once(question)
        if answer is not None:
            return answer
        waiter = _Waiter(
            question, time.monotonic() + self._limits.hold_seconds, asyncio.get_running_loop().create_future()
        )
        self._waiters[waiter] = None
        try:
            self._look_for(waiter)
            while not waiter.answer.done():
                # A lane that rests becomes good without an event.
                await asyncio.wait([waiter.answer], timeout=self._next_look(waiter))
                self._look_for(waiter)
            return waiter.answer.result()
        except asyncio.CancelledError:
            # Nobody will send the request to where it was named a lane just now.
            self._waiters.pop(waiter, None)
            self._release(question.request_id)
            raise

    def _answer_at_once(self, question: Question) -> Answer | None:
        now = self._clock()
        if question.answered and question.status not in (401, 429):
            tried = self._lessons.lane_at(question.addresses[-1])
            if question.status != 500 or tried is None or tried.blocked_since is None:
                # It is done, whatever came of it: once more could be twice.
                return answers.unreachable()
            if self._all_blocked(now):
                return self._blocked(now)
        if question.retry > RETRIES_MAX:
            return self._limit(now) if self._all_rest(now) else self._refuse("every account that was tried refused it")
        return None

    def _look_for(self, waiter: _Waiter) -> None:
        """Answer a waiting request if that is possible now."""
        if waiter.answer.done():
            return
        question, now = waiter.question, self._clock()
        deadline = self._deadline(waiter, now)
        awaited = self._is_one_awaited(now, deadline)
        chosen = self._choose(question, now, awaited)
        if chosen is not None:
            waiter.answer.set_result(self._send_to(chosen, question, now))
        elif (question.status == 429 or question.is_new) and not awaited and self._all_rest(now):
            waiter.answer.set_result(self._limit(now))
        elif question.is_new and not awaited and self._all_blocked(now):
            waiter.answer.set_result(self._blocked(now))
        else:
            hopes = self._hopes(now)
            if now >= deadline or not hopes or min(hopes) > deadline:
                waiter.answer.set_result(self._end_of_hold(now))
        if waiter.answer.done():
            self._waiters.pop(waiter, None)

    def _end_of_hold(self, now: float) -> Answer:
        if self._all_rest(now):
            return self._limit(now)
        if self._all_blocked(now):
            return self._blocked(now)
        if any(lane.is_good(now) for lane in self._lanes.values()):
            return self._refuse("every account of this node answers as many requests as it may")
        return self._refuse("no account of this node can answer now")

    def _send_to(self, lane: Lane, question: Question, now: float) -> Answer:
        self._choices += 1
        lane.chosen = self._choices
        if self.bounded:
            lane.serving[question.request_id] = now
        if lane.blocked_since is not None:
            # One request is enough to find out.
            lane.block(now, self._limits.blocked_seconds)
        return answers.go_to(lane.name)

    def _deadline(self, waiter: _Waiter, now: float) -> float:
        # The clock may be set while a request waits.
        return now + waiter.end - time.monotonic()

    def _next_look(self, waiter: _Waiter) -> float:
        now = self._clock()
        later = [at for at in self._hopes(now) if at > now]
        return max(0.01, min([self._deadline(waiter, now), *later]) - now)

    def _hopes(self, now: float) -> list[float]:
        return [at for lane in self._lanes.values() if (at := lane.becomes_good_at(now)) is not None]

    def _has_place(self, lane: Lane) -> bool:
        return not self.bounded or len(lane.serving) < self._limits.requests_per_account

    def _blocked_or_not(self, lane: Lane) -> None:
        self._on_blocked(lane)
        if lane.blocked_since is None:
            self.wake()

    def _release(self, request_id: str) -> None:
        """Give the place of a request to the one that waits longest."""
        freed = [lane.serving.pop(request_id, None) for lane in self._lanes.values()]
        if any(since is not None for since in freed):
            self._fill()

    def _fill(self) -> None:
        for waiter in list(self._waiters):
            now = self._clock()
            if not any(lane.is_good(now) and self._has_place(lane) for lane in self._lanes.values()):
                return
            self._look_for(waiter)

    def _choose(self, question: Question, now: float, awaited: bool) -> Lane | None:
        good = [lane for lane in self._lanes.values() if lane.is_good(now) and self._has_place(lane)]
        if question.status == 401 and question.retry > RETRIES_ON_SIGHT:
            fresh = [lane for lane in good if lane.delivered_at >= question.tried_at]
            good = fresh if fresh or awaited else good
        if not good:
            return None
        return min(good, key=lambda lane: (len(lane.serving), lane.chosen))

    def _is_one_awaited(self, now: float, deadline: float) -> bool:
        """Say whether a lane without a good token may have one in time."""
        hopes = [lane.becomes_good_at(now) for lane in self._lanes.values() if not lane.has_token(now)]
        return any(at is not None and at <= deadline for at in hopes)

    def _all_rest(self, now: float) -> bool:
        able = [lane for lane in self._lanes.values() if lane.has_token(now)]
        return bool(able) and all(now < lane.resting_until for lane in able)

    def _all_blocked(self, now: float) -> bool:
        able = [lane for lane in self._lanes.values() if lane.has_token(now)]
        return bool(able) and all(now < lane.blocked_until for lane in able)

    def _blocked(self, now: float) -> Answer:
        return answers.blocked(min(lane.blocked_until for lane in self._lanes.values() if lane.has_token(now)) - now)

    def _limit(self, now: float) -> Answer:
        return answers.limited(min(lane.resting_until for lane in self._lanes.values() if lane.has_token(now)) - now)

    def _refuse(self, reason: str) -> Answer:
        return answers.refused(reason, self._pause())

    def _pause(self) -> float:
        """Return in how many seconds the first lane may be good."""
        now = self._clock()
        hopes = [
            at - now for lane in self._lanes.values() if (at := lane.becomes_good_at(now)) is not None and at > now
        ]
        return min(hopes, default=self._limits.retry_after_seconds)

    async def readiness(self) -> Answer:
        """Say whether a request can be answered."""
        end = time.monotonic() + READY_SECONDS
        while not any(lane.is_good(self._clock()) for lane in self._lanes.values()):
            # A request would be held meanwhile.
            if time.monotonic() >= end or not any(lane.busy for lane in self._lanes.values()):
                return answers.not_ready(self._pause())
            await asyncio.sleep(READY_PAUSE)
        return answers.ready()
