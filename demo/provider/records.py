# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-ins count and remember for tests."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import time

MAX_EVENTS = 20_000
COUNTERS = (
    "password_submissions",
    "logins",
    "code_exchanges",
    "refreshes",
    "refresh_failures",
    "revocations",
    "reuse_detections",
)


def fingerprint(token: str) -> str:
    """Return a short name for a token that does not give the token away."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]


@dataclasses.dataclass
class _Account:
    counters: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    chat: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    tokens_seen: dict[str, None] = dataclasses.field(default_factory=dict)


class Records:
    """Counters per account, and events in their order with monotonic times in seconds.

    Chat requests without a token count for the account ``anonymous``, those with a foreign one for ``unknown``.
    """

    def __init__(self) -> None:
        self._accounts: collections.defaultdict[str, _Account] = collections.defaultdict(_Account)
        self._events: collections.deque[dict[str, object]] = collections.deque(maxlen=MAX_EVENTS)

    def count(self, counter: str, email: str, **details: object) -> None:
        """Count something for an account and remember it as an event.

        Args:
            counter: one of ``COUNTERS``.
            email: the account.
            details: anything JSON that helps a test.
        """
        if counter not in COUNTERS:
            raise ValueError(f"unknown counter {counter!r}")
        self._accounts[email].counters[counter] += 1
        self.event(counter, email, **details)

    def event(self, event: str, email: str = "", **details: object) -> None:
        """Remember an event."""
        self._events.append({"time": time.monotonic(), "event": event, "email": email, **details})

    def chat(self, email: str, status: int, token: str) -> None:
        """Count a chat request; every token is noted when first seen."""
        account = self._accounts[email]
        account.chat[status] += 1
        if token and (name := fingerprint(token)) not in account.tokens_seen:
            account.tokens_seen[name] = None
            self.event("token_seen", email, token=name)

    def clear(self) -> None:
        """Forget everything counted so far."""
        self._accounts.clear()
        self._events.clear()

    def show(self) -> dict[str, object]:
        """Return all counters and events, for the control API."""
        accounts = {
            email: {
                **{name: account.counters[name] for name in COUNTERS},
                "chat": {str(status): number for status, number in sorted(account.chat.items())},
                "tokens_seen": list(account.tokens_seen),
            }
            for email, account in self._accounts.items()
        }
        return {"accounts": accounts, "events": list(self._events), "now": time.monotonic()}
