# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A token's way into a lane: read from the store, laid down for the next start, handed to both replicas.

Whoever lays a token down, this agent or the module lanes, holds the account's delivery and reads the store inside it,
so tokens are laid down in the order in which the store had them. The agent hands them over inside it as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from enum import Enum
from typing import Any

from dcta_library.accounts.record import Record
from dcta_library.accounts.serving import may_run
from dcta_library.accounts.store import Store
from dcta_library.lane_runner import LaneRunnerError
from lanes import Lane as Description
from lanes import LaneError, check_token, patches_at_start, token_document

from . import pauses
from .backoff import Backoff
from .lane import Lane
from .memory import Memory
from .program import Patch, patch_tokens
from .runner import Runner

log = logging.getLogger(__name__)


class Damaged(Exception):
    """The account's record cannot be understood; a renewal puts it aside and writes it anew."""


class Postponed(Exception):
    """A replica that needs a restart did not take the one before; the next one comes later."""


class _Handed(Enum):
    """How far a replica is: it has the token, or will start with it; it is asked again; it needs a restart.

    One that runs and was silent is asked again as well, but not for ever.
    """

    DONE = "done"
    LATER = "later"
    SILENT = "silent"
    BY_RESTART = "by restart"


class Supplier:
    """Brings one lane into the state that its account's record asks for.

    Args:
        lane: the lane.
        description: the same lane as its programs know it.
        password: its admin password.
        store: the accounts' records.
        runner: starts and stops lanes.
        memory: keeps what is known of the lanes over a restart.
        starts: says when replicas that do not stay may be started again.
        clock: returns seconds since the epoch.
        on_change: called when the lane may have become good.
    """

    def __init__(
        self,
        lane: Lane,
        description: Description,
        password: str,
        *,
        store: Store,
        runner: Runner,
        memory: Memory,
        starts: Backoff,
        clock: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        self._lane = lane
        self._description = description
        self._password = password
        self._store = store
        self._runner = runner
        self._memory = memory
        self._starts = starts
        self._clock = clock
        self._on_change = on_change

    async def converge(self) -> None:
        """Make the lane run with the token of the store, or not at all where there is none that it may run with.

        Raises:
            Damaged: the record cannot be understood; a lane that runs serves on.
            AccountsError: the store cannot be used.
            LaneRunnerError: the lane runner failed.
            Postponed: a restart that failed is not due again yet.
        """
        lane, known = self._lane, self._lane.attempt_for
        record, status = await self._load(), await self._ask("status")
        if record is not None and not lane.renewing and lane.attempt_for == known != _summary(record):
            # Somebody else changed the account: when it is due now, only a renewal can tell.
            lane.renew_by(self._clock() + pauses.REPAIR_SECONDS)
        if not self._should_run(record, status):
            lane.empty()
            refusal = self._refusal(record)
            if refusal:
                log.error("%s: does not run: %s", lane.name, refusal)
        if not self._is_supplied(record, status):
            record, status = await self._supply()
        if record is None or not record.access_token or not self._should_run(record, status):
            return
        lane.compare(
            rejected=record.rejected, issued_at=record.issued_at, expires_at=record.expires_at, now=self._clock()
        )
        self._on_change()
        if not all(replica["active"] for replica in status["replicas"].values()):
            await self._start()
        elif self._is_old(status):
            log.info("%s: restarted before the program forgets a token file of this age", lane.name)
            await self._ask("roll")

    # What should be and what is.

    async def _load(self) -> Record | None:
        name = self._lane.name
        record = await asyncio.to_thread(self._store.load, name)
        if record is None and name in await asyncio.to_thread(self._store.names):
            raise Damaged
        return record

    def _should_run(self, record: Record | None, status: dict[str, Any]) -> bool:
        return may_run(record, self._clock(), running=_runs(status)) and not self._refusal(record)

    def _refusal(self, record: Record | None) -> str:
        """Return why the program cannot bear an account's token, or nothing."""
        if record is None or not record.access_token:
            return ""
        try:
            check_token(self._description, record.access_token)
        except LaneError as error:
            return str(error)
        return ""

    def _is_supplied(self, record: Record | None, status: dict[str, Any]) -> bool:
        if record is None or not self._should_run(record, status):
            return not status["token"] and not _runs(status)
        if not record.access_token:
            return True
        fingerprint = record.token_fingerprint or ""
        return fingerprint == self._lane.token and str(status["token"]).startswith(fingerprint)

    def _is_old(self, status: dict[str, Any]) -> bool:
        oldest = self._description.profile.get("max_token_file_age")
        started = [
            replica["started_at"] for replica in status["replicas"].values() if replica["started_at"] is not None
        ]
        return bool(oldest and started) and self._clock() - min(started) > oldest

    # Bringing the one to the other.

    async def _supply(self) -> tuple[Record | None, dict[str, Any]]:
        """Bring the token of the store to where the lane starts with it and to both replicas, or stop the lane.

        Returns:
            The account's record, None if the lane was stopped, and how the lane was before.
        """
        lane, fingerprint = self._lane, ""
        handed: dict[str, _Handed] = {}
        silences: Counter[str] = Counter()
        while not handed or _Handed.LATER in handed.values():
            if handed:
                await asyncio.sleep(pauses.PATCH_PAUSE)
            async with self._delivery():
                record, status = await self._load(), await self._ask("status")
                if record is None or not self._should_run(record, status):
                    await self._stop(status)
                    return None, status
                if not record.access_token:
                    # Nothing is known of any token: the lane stays with what it has.
                    return record, status
                if record.token_fingerprint != fingerprint:
                    fingerprint, handed = record.token_fingerprint or "", dict.fromkeys(lane.ports, _Handed.LATER)
                    silences.clear()
                await self._lay_down(record, status)
                handed |= await self._hand_over(record, [one for one, how in handed.items() if how is _Handed.LATER])
            for replica in [one for one, how in handed.items() if how is _Handed.SILENT]:
                silences[replica] += 1
                handed[replica] = self._after_silence(replica, silences[replica])
        await self._restart([replica for replica, how in handed.items() if how is _Handed.BY_RESTART])
        lane.delivered(fingerprint, self._clock())
        self._memory.save()
        return record, status

    @asynccontextmanager
    async def _delivery(self) -> AsyncIterator[None]:
        """Hold the account's delivery."""
        held = ExitStack()
        delivery = self._store.delivery(self._lane.name, pauses.DELIVERY_SECONDS)
        waiting = asyncio.ensure_future(asyncio.to_thread(held.enter_context, delivery))
        try:
            await asyncio.shield(waiting)
            yield
        finally:
            if waiting.done():
                held.close()
            else:
                # The thread goes on when this task is cancelled, and may yet get it.
                waiting.add_done_callback(lambda _done: held.close())

    async def _stop(self, status: dict[str, Any]) -> None:
        self._lane.empty()
        if status["token"] or _runs(status):
            log.warning("%s: stopped, it has no token to run with", self._lane.name)
            self._starts.forget()
            await self._ask("stop")

    async def _lay_down(self, record: Record, status: dict[str, Any]) -> None:
        if not str(status["token"]).startswith(record.token_fingerprint or ""):
            # First, because a crash brings the lane back with it.
            await self._ask("put", token=record.access_token or "")
            self._starts.forget()

    async def _hand_over(self, record: Record, replicas: list[str]) -> dict[str, _Handed]:
        """Hand a token to some replicas; a request may go to either."""
        # No failure ends this before all have answered: a late one would come after the delivery was let go.
        results = await asyncio.gather(
            *(self._hand_to(replica, record) for replica in replicas), return_exceptions=True
        )
        handed: dict[str, _Handed] = {}
        for replica, result in zip(replicas, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            handed[replica] = result
        return handed

    async def _hand_to(self, replica: str, record: Record) -> _Handed:
        lane, fingerprint = self._lane, record.token_fingerprint or ""
        unanswered = lane.unanswered.get(replica)
        if unanswered not in (None, fingerprint):
            # What it did not answer may yet be carried out, and would then come after this.
            return await self._unless_gone(replica, _Handed.BY_RESTART)
        # A replica may yet hand itself the token that it started with, which may be the one before.
        if patches_at_start(self._description) and (await self._replica(replica))["starting"]:
            return _Handed.LATER
        if unanswered is None:
            lane.sends(replica, fingerprint)
            if not self._memory.save():
                # An agent after this one would not know of a token that is left unanswered.
                lane.ended(replica)
                return await self._unless_gone(replica, _Handed.BY_RESTART)
        document = token_document(self._description, record.access_token or "")
        outcome = await patch_tokens(lane.address, lane.ports[replica], self._password, document, pauses.PATCH_SECONDS)
        if outcome is not Patch.UNKNOWN and unanswered is None:
            lane.ended(replica)
        if outcome is Patch.TAKEN:
            return _Handed.DONE
        if outcome is Patch.REFUSED:
            log.warning("%s: replica %s does not take the token", lane.name, replica)
            return _Handed.BY_RESTART
        # It is starting, perhaps still with the token before, or it hangs.
        return await self._unless_gone(replica, _Handed.SILENT if outcome is Patch.UNKNOWN else _Handed.LATER)

    async def _unless_gone(self, replica: str, how: _Handed) -> _Handed:
        """Return how far a replica is; one that neither runs nor starts will start with what was laid down."""
        state = await self._replica(replica)
        if not (state["active"] or state["starting"]):
            self._lane.ended(replica)
            return _Handed.DONE
        return _Handed.LATER if how is _Handed.SILENT and not state["active"] else how

    def _after_silence(self, replica: str, times: int) -> _Handed:
        """Say what becomes of a replica that runs and left the same token unanswered so many times."""
        if times < pauses.PATCHES_UNANSWERED_MAX:
            return _Handed.LATER
        log.warning("%s: replica %s does not answer when it is handed the token", self._lane.name, replica)
        return _Handed.BY_RESTART

    async def _restart(self, replicas: list[str]) -> None:
        """Restart replicas with the token that was laid down, one after the other, so that one serves."""
        for replica in replicas:
            if not self._starts.may():
                raise Postponed
            log.warning("%s: replica %s is restarted with the token", self._lane.name, replica)
            try:
                await self._ask("roll", replica=replica)
            except LaneRunnerError as error:
                pause = self._starts.tried()
                raise LaneRunnerError(f"{error}; replica {replica} is restarted again in {pause:.0f} s") from None
            self._lane.ended(replica)

    async def _start(self) -> None:
        """Start replicas that systemd did not bring back, ever more seldom as long as they do not stay."""
        if not self._starts.may():
            return
        pause = self._starts.tried()
        try:
            await self._ask("start")
        except LaneRunnerError as error:
            # Its next start may be far off, and no request should wait for it.
            log.error("%s: %s; it is started again in %.0f s", self._lane.name, error, pause)

    # Questions to the lane runner.

    async def _ask(self, operation: str, **arguments: str) -> dict[str, Any]:
        return await self._runner.ask(operation, self._lane.name, **arguments)

    async def _replica(self, replica: str) -> dict[str, Any]:
        state: dict[str, Any] = (await self._ask("status"))["replicas"][replica]
        return state


def _runs(status: dict[str, Any]) -> bool:
    return any(replica["active"] for replica in status["replicas"].values())


def _summary(record: Record) -> tuple[str, str]:
    return record.token_fingerprint or "", record.state
