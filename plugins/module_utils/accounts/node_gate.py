# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an attempt has to pass because the accounts of a node share an address: breaker, pace, turns to log in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from .breaker import Breaker
from .limits import Limits
from .node_state import Attempt, NodeState
from .runtime import Runtime
from .schedule import login_opens
from .store import Store


class Paused(Exception):
    """The breaker lets nobody through before ``until``, in seconds since the epoch."""

    def __init__(self, until: float) -> None:
        super().__init__()
        self.until = until


class NotYet(Exception):
    """The account's turn to log in is at ``at``, later than this call may wait."""

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at = at


class NodeGate:
    """The node's gate for the attempts of one account.

    Args:
        name: the account.
        store: where the node's state lives.
        runtime: time and randomness.
        limits: the policy.
    """

    def __init__(self, name: str, *, store: Store, runtime: Runtime, limits: Limits) -> None:
        self._name = name
        self._store = store
        self._runtime = runtime
        self._limits = limits
        self.on_trial = False
        """Whether this account tries in spite of a pause of the node."""

    def wait_for_refresh(self, egress: str, *, urgent: bool) -> None:
        """Wait until a refresh may be sent.

        Args:
            egress: names the way to the provider.
            urgent: whether a request waits for it.

        Raises:
            Paused: the breaker is open.
            StoreError: the node's state cannot be used.
        """
        while (wait := self._ask_for_refresh(egress, urgent=urgent)) > 0:
            self._runtime.sleep(wait)

    def _ask_for_refresh(self, egress: str, *, urgent: bool) -> float:
        waits: list[float] = []

        def ask(state: NodeState) -> NodeState:
            now = self._runtime.clock()
            breaker = self._open(state, "refresh", now)
            after, at = state.ask_for_refresh(egress, now, self._limits, urgent=urgent, rng=self._runtime.rng)
            waits.append(at - now)
            return after.with_breaker("refresh", breaker.admit(now, self._limits) if at <= now else breaker)

        self._change(ask)
        return waits[0]

    @contextlib.contextmanager
    def login_turn(self, place: tuple[int, int], patience: Callable[[], float]) -> Iterator[None]:
        """Wait for the account's turn and hold the node's one place for a login from then on.

        Args:
            place: the node's place among those that share the account's egress, and their number.
            patience: returns for how many seconds the turn may be waited for.

        Raises:
            Paused: the breaker is open.
            NotYet: the turn comes later.
            StoreError: the node's state cannot be used.
        """
        while True:
            with self._store.login_lock(self._limits.lock_timeout):
                now = self._runtime.clock()
                gate, at = self._ask_for_login(now, place)
                if gate <= now:
                    yield
                    return
            # Others may log in meanwhile; the gate is looked at again then.
            if at - now > patience():
                raise NotYet(at)
            self._runtime.sleep(at - now)

    def _ask_for_login(self, now: float, place: tuple[int, int]) -> tuple[float, float]:
        turns: list[tuple[float, float]] = []

        def ask(state: NodeState) -> NodeState:
            breaker = self._open(state, "login", now)
            after, turn = state.ask_for_turn(
                self._name,
                now,
                self._limits,
                opens=lambda at: login_opens(at, self._limits, turn=place[0], turns=place[1]),
                rng=self._runtime.rng,
            )
            turns.append((turn.gate, turn.place))
            return after.with_breaker("login", breaker.admit(now, self._limits) if turn.gate <= now else breaker)

        self._change(ask)
        return turns[0]

    def learn(self, attempt: Attempt, error_class: str | None) -> None:
        """Tell the breaker how an attempt ended.

        Args:
            attempt: which kind.
            error_class: class of the failure, None for a success.

        Raises:
            StoreError: the node's state cannot be used.
        """

        def ask(state: NodeState) -> NodeState:
            now = self._runtime.clock()
            breaker = state.breaker(attempt).settled(now, self._limits)
            return state.with_breaker(attempt, breaker.result(self._name, error_class, now, self._limits))

        self._store.change_node(ask)

    def _open(self, state: NodeState, attempt: Attempt, now: float) -> Breaker:
        """Return the breaker if it lets through, its times in order."""
        breaker = state.breaker(attempt).settled(now, self._limits)
        until = breaker.blocked_until(now)
        if until is not None and not self.on_trial:
            raise _Closed(state.with_breaker(attempt, breaker), until)
        return breaker

    def _change(self, change: Callable[[NodeState], NodeState]) -> None:
        closed: list[_Closed] = []

        def keep(state: NodeState) -> NodeState:
            try:
                return change(state)
            except _Closed as found:
                # What was brought in order is kept, or a clock that was set back would move the pause on for ever.
                closed.append(found)
                return found.state

        self._store.change_node(keep)
        if closed:
            raise Paused(closed[0].until)


class _Closed(Exception):
    """The breaker is open; the state as it is to be kept."""

    def __init__(self, state: NodeState, until: float) -> None:
        super().__init__()
        self.state = state
        self.until = until
