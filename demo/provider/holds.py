# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests at the token endpoint that wait until a test lets them go."""

from __future__ import annotations

import asyncio
import collections
import typing

GRANTS = ("authorization_code", "refresh_token")
POLL = 0.1


class Holds:
    """Which grants are held, for everybody (the empty e-mail) or for one account."""

    def __init__(self) -> None:
        self._held: set[tuple[str, str]] = set()
        self._changed = asyncio.Event()
        self._waiting: dict[str, collections.Counter[str]] = {grant: collections.Counter() for grant in GRANTS}

    def hold(self, grants: typing.Iterable[str], email: str = "") -> None:
        """Make requests wait from now on."""
        self._held.update((grant, email) for grant in grants)

    def release(self, grants: typing.Iterable[str], email: str = "") -> None:
        """End a hold; the global release also ends those of single accounts."""
        wanted = set(grants)
        self._held = {(grant, who) for grant, who in self._held if grant not in wanted or (email and who != email)}
        self._changed.set()
        self._changed = asyncio.Event()

    def _is_held(self, grant: str, email: str) -> bool:
        return (grant, "") in self._held or (grant, email) in self._held

    async def wait(self, grant: str, email: str, alive: typing.Callable[[], bool]) -> bool:
        """Wait until a grant is not held.

        Args:
            grant: one of ``GRANTS``.
            email: the account it is about.
            alive: tells whether the client is still there.

        Returns:
            False when the client left meanwhile; its request then counts as never arrived.
        """
        if not self._is_held(grant, email):
            return True
        self._waiting[grant][email] += 1
        try:
            while self._is_held(grant, email):
                if not alive():
                    return False
                try:
                    await asyncio.wait_for(self._changed.wait(), POLL)
                except TimeoutError:
                    continue
            return alive()
        finally:
            self._waiting[grant][email] -= 1

    def show(self) -> dict[str, object]:
        """Return how many requests wait, per grant and account, for the control API."""
        return {grant: {email: n for email, n in who.items() if n} for grant, who in self._waiting.items()}
