# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts: what the records show is compared with what was announced, and the difference goes to the webhook, in order.

Nothing that happens in the agent raises an alert by itself, so none is forgotten and none is raised twice. What was
announced and what is still to be delivered lies on disk before anything is sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from dcta_library.accounts import atomic_file
from dcta_library.accounts.record import Record

log = logging.getLogger(__name__)

Event = Literal["needs_operator", "quarantined", "token_expires", "no_valid_account"]

# What is said of an account, or of the node, when the alert begins and when it ends.
PHRASES: dict[Event, tuple[str, str]] = {
    "needs_operator": ("needs the operator", "no longer needs the operator"),
    "quarantined": ("is quarantined", "is no longer quarantined"),
    "token_expires": ("needs a new access token soon", "no longer needs a new access token"),
    "no_valid_account": ("has no valid account", "has a valid account again"),
}
DAY = 86400.0
# A renewal that succeeds within this time is no reason to wake anybody.
PATIENCE = 60.0
PENDING_MAX = 100
# The last second that a date can name; a clock may be further off.
END_OF_TIME = 253402300799.0
RETRY_FIRST, RETRY_LONGEST = 10.0, 600.0
DELIVERY_SECONDS = 20.0
PROGRAMS = Path(__file__).resolve().parents[1]


class AlertError(Exception):
    """One sentence: why an alert could not be delivered."""


@dataclass(frozen=True)
class Alert:
    """Something that the operator should know as long as it lasts.

    Attributes:
        event: what kind of thing.
        account: whose; "" when it concerns the node.
        error_class: the class of the failure behind it, "" where there is none.
        message: what happened, one sentence.
        cure: what to do about it.
    """

    event: Event
    account: str = ""
    error_class: str = ""
    message: str = ""
    cure: str = ""

    @property
    def key(self) -> str:
        """Names it: another failure of the same account is another alert."""
        return f"{self.event}/{self.account}/{self.error_class}"


NOBODY_LEFT = Alert(
    "no_valid_account",
    message="No account of the node has a valid token, so every request is answered with 503.",
    cure="Do what the alerts of its accounts ask for; journalctl -u dcta-agent tells the rest.",
)


def account_alerts(record: Record, *, by_hand: bool, now: float, days: float) -> Iterable[Alert]:
    """Yield what one account's record gives reason to say.

    Args:
        record: the account's record.
        by_hand: whether only a person can replace its token.
        now: seconds since the epoch.
        days: how early the end of such a token is told.

    Yields:
        The alerts.
    """
    if record.state in ("needs_operator", "quarantined"):
        error = record.error
        yield Alert(
            record.state,
            record.name,
            error.error_class if error else "",
            error.sentence if error else "The account is not tried any more.",
            error.cure if error else "Lift it, or change its entry in the vault.",
        )
    if by_hand and record.access_token and record.expires_at is not None and record.expires_at - now < days * DAY:
        message = f"The access token that was supplied by hand ends at {_rfc3339(record.expires_at)}."
        yield Alert("token_expires", record.name, "", message, "Supply a new access_token.")


async def post(document: dict[str, Any]) -> None:
    """Hand an alert to the webhook in a process of its own: TLS and its certificates stay out of the agent's memory.

    Args:
        document: the JSON document.

    Raises:
        AlertError: it was not taken.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "dcta_agent.webhook",
            cwd=PROGRAMS,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise AlertError(f"no process can be started ({error.strerror})") from None
    try:
        async with asyncio.timeout(DELIVERY_SECONDS):
            output, _ignored = await process.communicate(json.dumps(document).encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AlertError(f"the webhook did not answer within {DELIVERY_SECONDS:.0f} s") from None
    if process.returncode != 0:
        raise AlertError(output.decode(errors="replace").strip() or "the process that sends it ended early")


class Alerts:
    """Tells the operator once what began, and once that it is over.

    Args:
        node: the name of the node.
        days: how early the end of a token that was supplied by hand is told.
        by_hand: the accounts whose token only a person can replace.
        memory: the file that keeps what was announced and what is to be delivered.
        send: delivers one document.
        clock: returns seconds since the epoch.
        timer: returns seconds that no setting of the clock changes.
    """

    def __init__(
        self,
        node: str,
        days: float,
        by_hand: frozenset[str],
        memory: Path,
        *,
        send: Callable[[dict[str, Any]], Awaitable[None]] = post,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._days = days
        self._by_hand = by_hand
        self._memory = memory
        self._send = send
        self._clock = clock
        self._timer = timer
        self._announced: dict[str, Alert] = {}
        self._pending: list[dict[str, Any]] = []
        self._nobody_since: float | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._recall()

    async def update(self, records: Mapping[str, Record | None]) -> None:
        """Announce what began and what ended; deliver what waits, the oldest first.

        Args:
            records: those of all accounts of the node; None for one that cannot be read or is not there yet.
        """
        present = self._present(records)
        begun = [alert for key, alert in present.items() if key not in self._announced]
        ended = [alert for key, alert in self._announced.items() if key not in present]
        if begun or ended:
            # In the order in which they began.
            self._announced = {key: present[key] for key in self._announced if key in present} | present
            self._pending += [self._document(alert, "resolved") for alert in ended]
            self._pending += [self._document(alert, "firing") for alert in begun]
            if len(self._pending) > PENDING_MAX:
                log.warning("%d alerts wait for the webhook: the oldest are dropped", len(self._pending))
                del self._pending[:-PENDING_MAX]
            await self._remember()
        if self._timer() >= self._retry_at:
            await self._deliver()

    def _present(self, records: Mapping[str, Record | None]) -> dict[str, Alert]:
        now = self._clock()
        alerts: list[Alert] = []
        for name, record in records.items():
            if record is None:
                # Nothing is known of it, so nothing is said to be over.
                alerts += [alert for alert in self._announced.values() if alert.account == name]
            else:
                alerts += account_alerts(record, by_hand=name in self._by_hand, now=now, days=self._days)
        if self._is_nobody_left(records, now):
            alerts.append(NOBODY_LEFT)
        return {alert.key: alert for alert in alerts}

    def _is_nobody_left(self, records: Mapping[str, Record | None], now: float) -> bool:
        announced = NOBODY_LEFT.key in self._announced
        if not records or any(record is not None and record.usable(now) for record in records.values()):
            self._nobody_since = None
            return False
        if None in records.values():
            # It may be the one that serves.
            return announced
        if self._nobody_since is None:
            self._nobody_since = self._timer()
        return announced or self._timer() - self._nobody_since >= PATIENCE

    async def _deliver(self) -> None:
        while self._pending:
            try:
                await self._send(self._pending[0])
            except AlertError as error:
                pause = min(RETRY_FIRST * 2 ** min(self._failures, 30), RETRY_LONGEST)
                self._failures += 1
                self._retry_at = self._timer() + pause
                log.warning("an alert was not delivered and is sent again in %.0f s: %s", pause, error)
                return
            self._failures, self._retry_at = 0, 0.0
            delivered = self._pending.pop(0)
            log.info("alert delivered: %s", delivered.get("text"))
            await self._remember()

    def _document(self, alert: Alert, status: Literal["firing", "resolved"]) -> dict[str, Any]:
        subject = f"Account {alert.account} of node {self._node}" if alert.account else f"Node {self._node}"
        began, ended = PHRASES[alert.event]
        summary = f"{subject} {began if status == 'firing' else ended}."
        text = f"{summary} {alert.message} {alert.cure}" if status == "firing" else summary
        return {
            # The same when a delivery is tried again, so that a receiver can tell.
            "id": os.urandom(16).hex(),
            "event": alert.event,
            "status": status,
            "node": self._node,
            "account": alert.account or None,
            "error_class": alert.error_class or None,
            "message": alert.message if status == "firing" else summary,
            "cure": alert.cure if status == "firing" else "",
            "time": _rfc3339(self._clock()),
            "text": text,
        }

    # What survives a restart.

    async def _remember(self) -> None:
        document = {"announced": [asdict(alert) for alert in self._announced.values()], "pending": self._pending}
        try:
            await asyncio.to_thread(atomic_file.replace, str(self._memory), json.dumps(document).encode())
        except OSError as error:
            log.warning(
                "alerts may be sent again after a restart, %s cannot be written: %s", self._memory, error.strerror
            )

    def _recall(self) -> None:
        try:
            document = json.loads(self._memory.read_bytes())
            announced = [Alert(**entry) for entry in document["announced"] if entry["event"] in PHRASES]
            pending = [dict(entry) for entry in document["pending"]]
        except FileNotFoundError:
            return
        except (OSError, ValueError, LookupError, TypeError):
            log.warning("%s cannot be read: what lasts is told again", self._memory)
        else:
            self._announced = {alert.key: alert for alert in announced}
            self._pending = pending


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(min(max(0.0, at), END_OF_TIME), UTC).isoformat(timespec="seconds")
