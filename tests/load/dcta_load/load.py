# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A load: some clients that ask one question after the other until a bound is reached."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from .http1 import BrokenAnswer, Http1Client
from .http2 import Http2Client
from .question import Question, questions
from .result import Result
from .target import Target

ANSWER_SECONDS = 150.0
REQUESTS_MAX = 200_000
SECONDS_MAX = 900.0

Protocol = Literal["http/1.1", "h2"]


@dataclass(frozen=True, kw_only=True)
class Clients:
    """Clients of one kind; every second one asks for streams.

    Attributes:
        count: how many.
        protocol: what they speak; those of HTTP/2 share connections.
        pause: seconds between an answer and the next request.
    """

    count: int
    protocol: Protocol = "http/1.1"
    pause: float = 0.0


class Load:
    """Clients at work in a thread of their own; as a context manager from its beginning to its end.

    Args:
        target: the gateway.
        groups: the clients.
        requests: ends the load when so many were sent.
        seconds: ends it after this time; answers under way are waited for.
        answer_seconds: an answer that takes longer counts as failed.

    Raises:
        ValueError: a bound is above what a load may ever be.
    """

    def __init__(
        self,
        target: Target,
        groups: Sequence[Clients],
        *,
        requests: int = 20_000,
        seconds: float = 120.0,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        if not 0 < requests <= REQUESTS_MAX or not 0 < seconds <= SECONDS_MAX:
            raise ValueError(f"a load has at most {REQUESTS_MAX} requests and {SECONDS_MAX:.0f} s")
        self._target = target
        self._groups = groups
        self._requests = requests
        self._seconds = seconds
        self._answer_seconds = answer_seconds
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self.run()), name="load", daemon=True)
        self.result = Result()

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        """End."""
        self.stop()

    def stop(self) -> Result:
        """Let every client finish its request and return what became of all."""
        self._stopping = True
        self._thread.join()
        if self.result.sent != self.result.ok + self.result.failed:
            self.result.fail("the load itself broke off")
        return self.result

    def reach(self, requests: int) -> None:
        """Wait until so many requests were sent, or until the load came to one of its bounds."""
        while self._thread.is_alive() and self.result.sent < requests:
            time.sleep(0.02)

    async def run(self) -> Result:
        """Ask until a bound is reached; for callers with an event loop of their own."""
        started = time.monotonic()
        self._end = started + self._seconds
        used: list[Http1Client | Http2Client] = []
        async with asyncio.TaskGroup() as tasks:
            for number, group in enumerate(self._groups):
                clients = self._clients(group.protocol, group.count)
                used += clients
                for place, client in enumerate(clients):
                    asked = questions(f"g{number}c{place}", stream=place % 2 == 1)
                    tasks.create_task(self._work(client, asked, group.pause))
        await _close(used)
        self.result.took = time.monotonic() - started
        return self.result

    async def burst(self, asked: Sequence[Question], protocol: Protocol = "http/1.1") -> Result:
        """Send all questions at once, those of HTTP/1.1 each on a connection of its own.

        Args:
            asked: the questions.
            protocol: what is spoken.
        """
        started = time.monotonic()
        if len(asked) > self._requests:
            raise ValueError(f"this load has at most {self._requests} requests")
        clients = self._clients(protocol, len(asked))
        await asyncio.gather(*(self._ask(client, each) for client, each in zip(clients, asked, strict=True)))
        await _close(clients)
        self.result.took = time.monotonic() - started
        return self.result

    def _clients(self, protocol: Protocol, count: int) -> Sequence[Http1Client | Http2Client]:
        if protocol == "h2":
            return [Http2Client(self._target, self._opened, self._repeated)] * count
        return [Http1Client(self._target, self._opened) for _ignored in range(count)]

    def _opened(self) -> None:
        self.result.connections += 1

    def _repeated(self) -> None:
        self.result.repeated_after_goaway += 1

    async def _work(self, client: Http1Client | Http2Client, asked: Iterator[Question], pause: float) -> None:
        for question in asked:
            if self._stopping or self.result.sent >= self._requests or time.monotonic() >= self._end:
                break
            await self._ask(client, question)
            # Nobody is served while a coroutine that never waits runs.
            await asyncio.sleep(pause)

    async def _ask(self, client: Http1Client | Http2Client, question: Question) -> None:
        result, body = self.result, question.body()
        result.sent += 1
        result.streams += question.stream
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._answer_seconds):
                answer = await client.ask(question, body)
        except TimeoutError:
            result.fail(f"{question.word}: no answer in {self._answer_seconds:.0f} s")
        except (OSError, BrokenAnswer) as error:
            reason = str(error) if isinstance(error, BrokenAnswer) else type(error).__name__
            result.fail(f"{question.word}: {reason} ({time.monotonic() - started:.1f} s after it began)")
        else:
            if fault := question.fault(answer, body):
                result.fail(f"{question.word}: {fault}")
            else:
                result.succeed(None if question.pause else time.monotonic() - started)


async def _close(clients: Sequence[Http1Client | Http2Client]) -> None:
    for client in clients:
        client.close()
    # The loop closes the sockets in its next turns.
    await asyncio.sleep(0.02)
