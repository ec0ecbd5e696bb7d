# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent at work: one task for each lane that renews and delivers, one for each replica that watches it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dcta_library.accounts import atomic_file
from dcta_library.accounts.errors import AccountsError
from dcta_library.accounts.policy import CLOCK_TOLERANCE
from dcta_library.accounts.record import Record
from dcta_library.accounts.store import Store
from dcta_library.lane_runner import LaneRunner, LaneRunnerError
from lanes import Lane as Description
from lanes import LaneError, admin_password, check_token, patches_at_start, token_document

from .alerts import Alerts
from .backoff import Backoff
from .config import Config
from .hold import REST_SECONDS_MAX, Hold
from .lane import Lane
from .program import Sign, patch_tokens, ping
from .renewals import RenewalError, renewal
from .reports import connections

log = logging.getLogger(__name__)

# A replica takes a token within milliseconds; one that does not is about to go or to come.
PATCH_SECONDS = 5.0
PATCH_PAUSE = 0.2
# How long a replica that hangs has to heed SIGTERM.
HEED_SECONDS = 1.0
# After a failure of the node itself: the lane runner, the disk.
REPAIR_SECONDS = 5.0
# Whatever a provider's tokens say of their lifetime, renewals of one account keep this distance.
RENEWAL_GAP = 1.0
# Each is a process of 20 MB, and all accounts may be rejected at once.
RENEWALS_SIDE_BY_SIDE = 4
# A replica that crashes again and again, or hangs again and again, is repaired ever more seldom.
BACKOFF_LONGEST = 300.0
# Between two looks at the connections to the lanes: the gateway's reports may get lost.
RECOUNT_SECONDS = 2.0
REPORT_SECONDS = 0.5
# Between two looks at what the operator should be told.
ALERT_SECONDS = 5.0


class Agent:
    """Keeps the lanes of a node supplied and says which are good.

    Args:
        descriptions: the lanes of the node.
        config: the settings.
        store: the accounts' records.
        admin_key: the node's key, from which the admin passwords of the lanes follow.
        memory: the file that keeps what must survive a restart.
        alerts: tells the operator; None where there is no webhook.
        runner: starts and stops lanes.
        renew: runs one renewal.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        descriptions: dict[str, Description],
        config: Config,
        store: Store,
        admin_key: bytes,
        memory: Path,
        *,
        alerts: Alerts | None = None,
        runner: LaneRunner | None = None,
        renew: Callable[[dict[str, Any], float], Awaitable[dict[str, Any]]] = renewal,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._descriptions = descriptions
        self._health = config.health
        self._store = store
        self._admin_key = admin_key
        self._memory = memory
        self._alerts = alerts
        self._runner = runner or LaneRunner()
        self._renew = renew
        self._clock = clock
        self._turns = asyncio.Semaphore(RENEWALS_SIDE_BY_SIDE)
        self._wanted = {name: asyncio.Event() for name in descriptions}
        self._looked_for = {name: asyncio.Event() for name in descriptions}
        self._starts = {name: Backoff(config.health.converge_interval, BACKOFF_LONGEST) for name in descriptions}
        self.lanes = {name: Lane(name, lane.address, lane.ports) for name, lane in descriptions.items()}
        self._recall()
        self.hold = Hold(
            self.lanes.values(),
            config.hold,
            on_rejected=self._on_rejected,
            on_rest=self._on_rest,
            on_down=self._on_down,
            on_blocked=self._on_blocked,
            clock=clock,
        )

    async def run(self) -> None:
        """Work until cancelled."""
        self._adopt()
        # The lane runner may take minutes over one lane, and no other lane may wait for that.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(3 * len(self.lanes) + 2))
        async with asyncio.TaskGroup() as tasks:
            for lane in self.lanes.values():
                tasks.create_task(self._keep(lane))
                for replica in lane.ports:
                    tasks.create_task(self._watch(lane, replica))
            tasks.create_task(self._mind_the_clock())
            if self.hold.bounded:
                tasks.create_task(self._keep_count())
            if self._alerts is not None:
                tasks.create_task(self._tell(self._alerts))
            # A node without accounts has an agent all the same.
            await asyncio.Event().wait()

    # What the hold reports.

    def _on_rejected(self, lane: Lane) -> None:
        lane.busy, lane.next_attempt = True, 0.0
        self._wanted[lane.name].set()

    def _on_rest(self, _lane: Lane) -> None:
        self._remember()

    def _on_down(self, lane: Lane) -> None:
        lane.up = dict.fromkeys(lane.ports, False)
        self._looked_for[lane.name].set()

    def _on_blocked(self, lane: Lane) -> None:
        if lane.blocked_since is None:
            log.warning("%s: address_blocked is over, ChatGPT answers again", lane.name)
        else:
            log.warning(
                "%s: address_blocked: ChatGPT gave no proper answer to %d requests: it refuses the address that"
                " they come from, or cannot be reached from there. No restart and no new token helps: look at the"
                " account's proxy and at the node's network, or wait",
                lane.name,
                lane.failures,
            )
        self._remember()

    # Places, where the requests of an account are bounded.

    async def _keep_count(self) -> None:
        while True:
            await asyncio.sleep(RECOUNT_SECONDS)
            settled = self.hold.settled()
            counted = self._adopt()
            if counted is not None:
                # The reports of what ended just before are still on their way.
                await asyncio.sleep(REPORT_SECONDS)
                self.hold.recount(counted, settled)

    def _adopt(self) -> Mapping[str, int] | None:
        """Count what the lanes serve and nobody named them for; return their connections, None if they are unknown."""
        if not self.hold.bounded:
            return None
        places = [(lane.address, port) for lane in self.lanes.values() for port in lane.ports.values()]
        try:
            counted = connections(places)
        except OSError as error:
            log.error("connections to the lanes cannot be counted: %s", error.strerror)
            return None
        self.hold.adopt(counted)
        return counted

    # One lane's supply.

    async def _keep(self, lane: Lane) -> None:
        """Renew when it is due or a 401 asks for it; see to it that the lane runs with the token of the store."""
        first = True
        while True:
            self._wanted[lane.name].clear()
            lane.busy = True
            try:
                # What is good in the store runs before anything is renewed.
                if first or not self._is_due(lane):
                    first = False
                    await self._converge(lane)
                if self._is_due(lane):
                    await self._renew_lane(lane)
                    await self._converge(lane)
                pause, lane.busy = self._pause(lane), self._wanted[lane.name].is_set()
            except (LaneRunnerError, AccountsError, OSError) as error:
                # It stays busy: it may be good as soon as the node itself is.
                log.error("%s: %s", lane.name, error.sentence if isinstance(error, AccountsError) else error)
                pause = REPAIR_SECONDS
            self.hold.wake()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted[lane.name].wait(), pause)

    def _is_due(self, lane: Lane) -> bool:
        return lane.next_attempt is not None and self._clock() >= lane.next_attempt

    def _pause(self, lane: Lane) -> float:
        """Return for how many seconds nothing has to be done for a lane."""
        pause = self._health.converge_interval
        if lane.next_attempt is not None:
            pause = min(pause, max(0.05, lane.next_attempt - self._clock()))
        return pause

    async def _renew_lane(self, lane: Lane) -> None:
        rejected_at = lane.rejected_at
        request: dict[str, Any] = {"name": lane.name, "reason": "expiry"}
        if rejected_at is not None:
            request |= {"reason": "rejected", "token_fingerprint": lane.token, "tried_at": rejected_at}
        try:
            async with self._turns:
                outcome = await self._renew(request, self._health.renewal_timeout)
        except RenewalError as error:
            log.error("%s: %s", lane.name, error)
            lane.next_attempt = self._clock() + REPAIR_SECONDS
            return
        lane.attempt_for = (outcome["token_fingerprint"] or "", outcome["state"])
        next_attempt: float | None = outcome["next_renewal"]
        if rejected_at is not None and outcome["usable"] and outcome["token_fingerprint"] == lane.token:
            # This 401 came too soon after another to count: until it does, only asking again helps.
            next_attempt = min(next_attempt or math.inf, self._clock() + REPAIR_SECONDS)
        if lane.rejected_at == rejected_at:  # else a 401 came meanwhile, and is looked at next
            lane.next_attempt = None if next_attempt is None else max(next_attempt, self._clock() + RENEWAL_GAP)
        if outcome["error_class"]:
            log.warning("%s: %s %s (%s)", lane.name, outcome["message"], outcome["cure"], outcome["error_class"])
        elif outcome["action"] != "none":
            log.info("%s: %s, the new token is good", lane.name, outcome["action"])
        for warning in outcome["warnings"]:
            log.warning("%s: %s", lane.name, warning)

    # One lane's processes.

    async def _converge(self, lane: Lane) -> None:
        """Make the lane run with the token of the store, or not at all where there is none that it may run with."""
        record = await asyncio.to_thread(self._store.load, lane.name)
        status = await self._ask("status", lane)
        active = [replica["active"] for replica in status["replicas"].values()]
        if record is not None and (record.token_fingerprint or "", record.state) != lane.attempt_for:
            # Somebody else changed the account: when it is due now, only a renewal can tell.
            soon = self._clock() + REPAIR_SECONDS
            lane.next_attempt = soon if lane.next_attempt is None else min(lane.next_attempt, soon)
        if record is None and await asyncio.to_thread(self._is_damaged, lane.name):
            # A lane that runs serves on; a renewal puts the file aside and writes the record anew.
            soon = self._clock() + REPAIR_SECONDS
            lane.next_attempt = soon if lane.next_attempt is None else min(lane.next_attempt, soon)
            return
        refusal = self._refusal(lane, record)
        if record is None or refusal or not _may_run(record, self._clock(), running=any(active)):
            lane.token, lane.expires_at, lane.up = "", None, {}
            if refusal:
                log.error("%s: does not run: %s", lane.name, refusal)
            if status["token"] or any(active):
                log.warning("%s: stopped, it has no token to run with", lane.name)
                self._starts[lane.name].forget()
                await self._ask("stop", lane)
            return
        await self._supply(lane, record, str(status["token"]))
        if not all(active):
            await self._start(lane)
        elif self._is_old(lane, status):
            log.info("%s: restarted before the program forgets a token file of this age", lane.name)
            await self._ask("roll", lane)
        if not all(lane.up.get(replica) for replica in lane.ports):
            await asyncio.gather(*(self._look(lane, replica) for replica in lane.ports))

    async def _start(self, lane: Lane) -> None:
        """Start replicas that systemd did not bring back, ever more seldom as long as they do not stay."""
        starts = self._starts[lane.name]
        if not starts.may():
            return
        pause = starts.tried()
        try:
            await self._ask("start", lane)
        except LaneRunnerError as error:
            # Its next start may be far off, and no request should wait for it.
            log.error("%s: %s; it is started again in %.0f s", lane.name, error, pause)

    async def _supply(self, lane: Lane, record: Record, present: str) -> None:
        """Bring the token of the store to where the lane starts with it, and to both replicas."""
        fingerprint, token = record.token_fingerprint or "", record.access_token or ""
        laid_down = present.startswith(fingerprint)
        if not laid_down:
            # First, because a crash brings the lane back with it.
            await self._ask("put", lane, token=token)
            self._starts[lane.name].forget()
        if not laid_down or fingerprint != lane.token:
            await self._deliver(lane, token)
            lane.token, lane.delivered_at, lane.rejected_at = fingerprint, self._clock(), None
            self._remember()
        elif lane.rejected_at is not None and (record.issued_at or 0.0) > lane.rejected_at:
            # The provider issued the same token anew.
            lane.rejected_at = None
        if record.rejected and lane.rejected_at is None:
            lane.rejected_at = self._clock()
        lane.expires_at = record.expires_at
        self.hold.wake()

    async def _deliver(self, lane: Lane, token: str) -> None:
        """Give a token to both replicas, because a request may go to either."""
        # No failure ends this before both have: a late delivery could bring an older token back.
        results = await asyncio.gather(
            *(self._deliver_to(lane, replica, token) for replica in lane.ports), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        if not all(results):
            log.warning("%s: does not take the token while it runs, it is restarted with it", lane.name)
            await self._ask("roll", lane)

    async def _deliver_to(self, lane: Lane, replica: str, token: str) -> bool:
        """Hand a replica a token, or see that it starts with it; return False when it refuses."""
        description = self._descriptions[lane.name]
        password = admin_password(self._admin_key, lane.name)
        document = token_document(description, token)
        while True:
            try:
                if not patches_at_start(description) or not await self._is_starting(lane, replica):
                    return await patch_tokens(lane.address, lane.ports[replica], password, document, PATCH_SECONDS)
            except (OSError, TimeoutError):
                # It is starting, perhaps still with the token before, or it hangs and is about to be ended.
                status = (await self._ask("status", lane))["replicas"][replica]
                if not status["active"] and not status["starting"]:
                    return True
            await asyncio.sleep(PATCH_PAUSE)

    async def _is_starting(self, lane: Lane, replica: str) -> bool:
        """Say whether a replica may yet be handed the token that it started with, which may be the one before."""
        return bool((await self._ask("status", lane))["replicas"][replica]["starting"])

    async def _watch(self, lane: Lane, replica: str) -> None:
        """Ask a replica again and again whether it is there; end it when it takes connections and stays silent."""
        silent = 0
        # The first kill comes as soon as the replica has been silent for long enough.
        kills = Backoff(self._health.converge_interval, BACKOFF_LONGEST)
        while True:
            sign = await self._look(lane, replica)
            silent = silent + 1 if sign is Sign.SILENT else 0
            if silent >= self._health.ping_failures and kills.may():
                silent = 0
                log.warning(
                    "%s: replica %s hangs, it is restarted; not again within %.0f s", lane.name, replica, kills.tried()
                )
                with contextlib.suppress(LaneRunnerError):
                    await self._end(lane, replica)
            pause = PATCH_PAUSE if sign is Sign.ABSENT and lane.token else self._health.ping_interval
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._looked_for[lane.name].wait(), pause)
            self._looked_for[lane.name].clear()

    async def _end(self, lane: Lane, replica: str) -> None:
        """End a replica that hangs, gently when it heeds that: then what it has begun is finished."""
        await self._ask("end", lane, replica=replica)
        await asyncio.sleep(HEED_SECONDS)
        # The program stops to listen as soon as it heeds the signal.
        if await self._look(lane, replica) is Sign.SILENT:
            await self._ask("kill", lane, replica=replica)

    async def _look(self, lane: Lane, replica: str) -> Sign:
        sign = await ping(lane.address, lane.ports[replica], self._health.ping_timeout)
        was_up = lane.up.get(replica)
        lane.up[replica] = sign is Sign.ANSWERS
        if lane.up[replica] and not was_up:
            # By now what an agent before this one has sent is on its way.
            self._adopt()
            self.hold.wake()
        return sign

    def _refusal(self, lane: Lane, record: Record | None) -> str:
        """Return why the program cannot bear an account's token, or nothing."""
        try:
            check_token(self._descriptions[lane.name], (record and record.access_token) or "")
        except LaneError as error:
            return str(error) if record is not None and record.access_token else ""
        return ""

    def _is_damaged(self, name: str) -> bool:
        return name in self._store.names()

    def _is_old(self, lane: Lane, status: dict[str, Any]) -> bool:
        oldest = self._descriptions[lane.name].profile.get("max_token_file_age")
        started = [
            replica["started_at"] for replica in status["replicas"].values() if replica["started_at"] is not None
        ]
        return bool(oldest and started) and self._clock() - min(started) > oldest

    async def _ask(self, operation: str, lane: Lane, **arguments: str) -> dict[str, Any]:
        return await asyncio.to_thread(self._runner.ask, operation, lane.name, **arguments)

    # The node as a whole.

    async def _mind_the_clock(self) -> None:
        """Notice when the clock is set back: nothing may wait for hours that pass a second time."""
        ahead = self._clock() - time.monotonic()
        while True:
            await asyncio.sleep(self._health.ping_interval)
            before, ahead = ahead, self._clock() - time.monotonic()
            if before - ahead > CLOCK_TOLERANCE:
                log.warning("the clock was set back by %.0f s", before - ahead)
                for lane in self.lanes.values():
                    lane.set_back(before - ahead)
                    self._wanted[lane.name].set()
                self._remember()

    async def _tell(self, alerts: Alerts) -> None:
        """Tell the operator what the records of the accounts give reason for."""
        while True:
            await alerts.update(await asyncio.to_thread(self._records))
            await asyncio.sleep(ALERT_SECONDS)

    def _records(self) -> dict[str, Record | None]:
        records: dict[str, Record | None] = dict.fromkeys(self.lanes)
        for name in records:
            with contextlib.suppress(AccountsError):
                records[name] = self._store.load(name)
        return records

    # What survives a restart.

    def _remember(self) -> None:
        document = {lane.name: lane.remembered() for lane in self.lanes.values()}
        try:
            atomic_file.replace(str(self._memory), json.dumps(document).encode(), durable=False)
        except OSError as error:
            log.warning("what was learned cannot be kept over a restart: %s", error.strerror)

    def _recall(self) -> None:
        try:
            document = json.loads(self._memory.read_bytes())
            for name, known in document.items():
                if name in self.lanes:
                    lane = self.lanes[name]
                    lane.token = str(known["token"])
                    # A clock that was set back must not make a token newer, or a rest longer, than it is.
                    lane.delivered_at = min(float(known["delivered_at"]), self._clock())
                    lane.resting_until = min(float(known["resting_until"]), self._clock() + REST_SECONDS_MAX)
                    if known.get("blocked_since") is not None:
                        lane.blocked_since = min(float(known["blocked_since"]), self._clock())
        except FileNotFoundError:
            return
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            log.warning("%s cannot be read: the lanes are looked at anew", self._memory)


def _may_run(record: Record, now: float, *, running: bool) -> bool:
    """Say whether a lane may run: with a good token, or up while the next one is being fetched."""
    if record.usable(now):
        return True
    # A renewal hands its token to a running program, so only a final verdict stops the lane.
    return running and record.access_token is not None and record.state in ("valid", "waiting")
