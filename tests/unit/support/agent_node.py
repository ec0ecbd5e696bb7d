# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node in one process: replicas on loopback, a lane runner and renewals made of functions, a real store."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import pwd
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dcta_agent.agent import Agent
from dcta_agent.alerts import Alerts
from dcta_agent.answers import Answer
from dcta_agent.config import Config, HealthLimits, HoldLimits
from dcta_agent.question import Question
from dcta_agent.renewals import RenewalError
from dcta_agent.runner import Runner as Client
from dcta_library.accounts.errors import AccountsError
from dcta_library.accounts.outcome import Outcome
from dcta_library.accounts.record import Record
from dcta_library.accounts.store import Store
from dcta_library.lane_runner import LaneRunnerError
from lanes import Lane as Description
from lanes import admin_password

ADMIN_KEY = b"planted-admin-key\n"
QUICK: dict[str, Any] = {"ping_interval": 0.05, "ping_timeout": 0.1, "converge_interval": 0.2, "renewal_timeout": 5}
Renew = Callable[[dict[str, Any]], Awaitable[Record]]
Test = Callable[["Node"], Coroutine[Any, Any, None]]


class Replica:
    """The program: /ping, PATCH /admin/tokens; it may refuse, hang, stall a PATCH, and heed SIGTERM or not."""

    def __init__(self, node: Node, lane: str, name: str, address: str) -> None:
        self.node, self.lane, self.name, self.address = node, lane, name, address
        with socket.socket() as probe:
            probe.bind((address, 0))
            self.port = int(probe.getsockname()[1])
        self.token = ""
        self.refuses = self.hangs = self.stalls = self.heeds = False
        # How many looks there were, and how long an answer to one takes.
        self.pings, self.pause = 0, 0.0
        # How many processes there were, how many PATCHes stalled, and what each process was handed.
        self.process = self.stalled = 0
        self.handed: list[tuple[int, str]] = []
        self.server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def active(self) -> bool:
        """Whether it runs."""
        return self.server is not None

    async def start(self) -> None:
        """Start with what was laid down."""
        self.process += 1
        self.token = self.node.laid_down[self.lane]
        self.hangs = self.stalls = False
        self.server = await asyncio.start_server(self._serve, self.address, self.port)

    async def stop(self) -> None:
        """Stop at once."""
        if self.server is not None:
            self.server.close()
            self.server = None
        for writer in self._writers:
            writer.close()

    def give(self, tokens: str) -> None:
        """Let it hold what it was handed."""
        self.token = tokens
        self.handed.append((self.process, tokens))
        self.node.log.append(f"patch {self.lane} {self.name}")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
            body = await reader.readexactly(int(fields.get("Content-Length", 0)))
            while self.hangs:  # noqa: ASYNC110 - tests set it
                await asyncio.sleep(0.01)
            status = 200
            if head.startswith("PATCH /admin/tokens "):
                status = await self._patch(fields["Authorization"], body.decode())
            else:
                self.pings += 1
                await asyncio.sleep(self.pause)
            writer.write(f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        writer.close()
        self._writers.discard(writer)

    async def _patch(self, password: str, tokens: str) -> int:
        process = self.process
        self.stalled += self.stalls
        while self.stalls and process == self.process:  # noqa: ASYNC110 - tests set it
            await asyncio.sleep(0.01)
        if self.refuses or password != admin_password(ADMIN_KEY, self.lane):
            return 403
        # What has ended carries nothing out any more.
        if process == self.process and self.active:
            self.give(tokens)
        return 200


class Runner(Client):
    """The lane runner, without a socket: it reaches the replicas in the loop."""

    def __init__(self, node: Node) -> None:
        super().__init__("/nonexistent")
        self._node = node
        self.broken = False
        self.started_at = time.time()
        self.starting: set[str] = set()
        self.work: set[asyncio.Task[None]] = set()

    async def ask(self, operation: str, lane: str, **arguments: str) -> dict[str, Any]:
        """Answer as the lane runner does."""
        await asyncio.sleep(0)
        if self.broken:
            raise LaneRunnerError("the lane runner does not answer")
        if operation == "status":
            return self._status(lane)
        # It ends what it has begun, whether anybody waits for that or not.
        work = asyncio.create_task(self._act(operation, lane, arguments))
        self.work.add(work)
        work.add_done_callback(self.work.discard)
        await asyncio.shield(work)
        return {}

    async def _act(self, operation: str, lane: str, arguments: dict[str, str]) -> None:
        node, replicas = self._node, self._node.replicas[lane]
        node.log.append(" ".join([operation, lane, *(value for name, value in arguments.items() if name == "replica")]))
        if operation == "put":
            node.laid_down[lane] = arguments["token"]
        elif operation == "kill" or (operation == "end" and replicas[arguments["replica"]].heeds):
            await replicas[arguments["replica"]].stop()
        elif operation != "end":
            if operation == "stop":
                node.laid_down.pop(lane, None)
            for name, replica in replicas.items():
                if arguments.get("replica", name) != name:
                    continue
                if operation in ("stop", "roll"):
                    await replica.stop()
                if operation in ("start", "roll") and not replica.active:
                    await replica.start()
                    self.started_at = time.time()

    def _status(self, lane: str) -> dict[str, Any]:
        token = self._node.laid_down.get(lane, "")
        return {
            "token": hashlib.sha256(token.encode()).hexdigest() if token else "",
            "replicas": {
                name: {
                    "active": replica.active,
                    "starting": name in self.starting,
                    "current": True,
                    "started_at": self.started_at,
                }
                for name, replica in self._node.replicas[lane].items()
            },
        }


class Node:
    """One node; ``log`` tells in which order things happened."""

    def __init__(self, folder: Path, names: tuple[str, ...] = ("alice",), **health: Any) -> None:
        self.folder = folder
        self.log: list[str] = []
        self.laid_down: dict[str, str] = {}
        self.renewals: list[dict[str, Any]] = []
        self.renew: Renew = self.issue
        self.login_due: set[str] = set()
        self.issued = 0
        self.alerts: Alerts | None = None
        self.clock: Callable[[], float] = time.time
        (folder / "tokens").mkdir(mode=0o700, exist_ok=True)
        self.store = Store(str(folder / "tokens"), pwd.getpwuid(os.getuid()).pw_name)
        self.replicas = {
            name: {which: Replica(self, name, which, f"127.64.{os.getpid() % 250}.{number}") for which in ("a", "b")}
            for number, name in enumerate(names, 1)
        }
        self.runner = Runner(self)
        self.profile: dict[str, Any] = {"token_file": {"form": "object_list"}, "max_token_file_age": 1000}
        self.health = HealthLimits(**{**QUICK, **health})
        self.agent = self.new_agent()

    def new_agent(self) -> Agent:
        """Return an agent as a restart makes it."""
        descriptions = {
            name: Description(name, pair["a"].address, {which: pair[which].port for which in pair}, self.profile)
            for name, pair in self.replicas.items()
        }
        config = Config(hold=HoldLimits(hold_seconds=5), health=self.health)
        memory = self.folder / "memory.json"
        return Agent(
            descriptions,
            config,
            self.store,
            ADMIN_KEY,
            memory,
            alerts=self.alerts,
            clock=self.now,
            runner=self.runner,
            renew=self._renew,
        )

    def now(self) -> float:
        """Return what the clock says; a test may set another clock at any time."""
        return self.clock()

    def save(self, name: str, **changes: Any) -> Record:
        """Write an account's record; without changes it is good for an hour."""
        now = time.time()
        record = Record(
            name=name, state="valid", access_token=f"planted-{name}-0", issued_at=now - 60, expires_at=now + 3600
        )
        record = replace(record, **changes)
        self.store.save(record)
        return record

    async def _renew(self, request: dict[str, Any], _timeout: float) -> dict[str, Any]:
        self.renewals.append(request)
        try:
            await self.renew(request)
            record = self.store.load(request["name"])
        except AccountsError as error:
            raise RenewalError(error.sentence) from None
        assert record is not None
        halted = record.state in ("quarantined", "needs_operator")
        outcome = Outcome(
            name=record.name,
            kind="password",
            state=record.state,
            usable=record.usable(time.time()),
            action="none",
            changed=False,
            next_renewal=None if halted else record.not_before or self.now() + 1000,
            token_fingerprint=record.token_fingerprint,
        )
        return {**asdict(outcome), "login_due": request["name"] in self.login_due and not request["log_in"]}

    async def issue(self, request: dict[str, Any]) -> Record:
        """Renew as the provider does: a new token for one that was rejected or is missing, else nothing."""
        name = request["name"]
        record = self.store.load(name)
        if record is not None and record.usable(time.time()) and request["reason"] == "expiry":
            return record
        self.issued += 1
        self.log.append(f"store {name}")
        return self.save(name, access_token=f"planted-{name}-{self.issued}", issued_at=time.time())

    def token(self, lane: str, replica: str) -> str:
        """Return what a replica serves with."""
        return self.replicas[lane][replica].token

    def question(self, lane: str, status: int = 401, **changes: Any) -> Question:
        """Return the question about a request that a lane could not answer."""
        address = f"{self.replicas[lane]['a'].address}:8081"
        question = Question("r", (address,), status, answered=True, tried_at=time.time(), retry_after=None, retry=1)
        return replace(question, **changes)

    async def ask(self, lane: str, status: int = 401, **changes: Any) -> Answer:
        """Ask the agent where such a request may go."""
        await asyncio.sleep(0.002)
        return await asyncio.wait_for(self.agent.hold.answer(self.question(lane, status, **changes)), 10)

    def is_good(self, lane: str) -> bool:
        """Say whether the agent would send a request there."""
        return self.agent.lanes[lane].is_good(self.now())

    def is_settled(self, lane: str) -> bool:
        """Say whether a lane is good and the agent has nothing left to do for it."""
        return self.is_good(lane) and not self.agent.lanes[lane].busy

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Run the agent, and end it as its unit does."""
        task = asyncio.create_task(self.agent.run())
        try:
            yield
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Stop everything."""
        await asyncio.gather(*self.runner.work)
        for pair in self.replicas.values():
            for replica in pair.values():
                replica.hangs = replica.stalls = False
                await replica.stop()
        self.store.close()
        await asyncio.sleep(0.05)
        # A connection that was just taken is closed by the task that took it.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=5)


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0.005)


def on_a_node(folder: Path, test: Test, names: tuple[str, ...] = ("alice",), **health: float) -> None:
    """Run a test on a node of its own."""

    async def run() -> None:
        node = Node(folder, names, **health)
        try:
            await test(node)
        finally:
            await node.close()

    asyncio.run(run())
