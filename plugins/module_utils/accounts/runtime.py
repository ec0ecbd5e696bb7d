# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a renewal takes from its surroundings: time, sleep, randomness, the way to the provider."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .credentials import Credentials
from .limits import Limits
from .transport import Client, Session


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """The surroundings, replaced as a whole in tests.

    Attributes:
        session: makes a session with an empty cookie jar that leaves through the account's proxy.
        clock: returns seconds since the epoch; an operator or NTP may set it at any moment.
        timer: returns seconds that no setting of the clock changes.
        sleep: waits some seconds.
        rng: source of randomness; `random.SystemRandom` outside of tests.
    """

    session: Callable[[Credentials], Session]
    clock: Callable[[], float] = time.time
    timer: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    rng: random.Random = field(default_factory=random.SystemRandom)

    @contextlib.contextmanager
    def client(self, credentials: Credentials, limits: Limits) -> Iterator[Client]:
        """Open a session of an account and close it afterwards.

        Args:
            credentials: the account.
            limits: the policy, for how long a request may take.

        Raises:
            NetworkError: there is no way to the provider, such as an unusable proxy.
        """
        session = self.session(credentials)
        try:
            yield Client(session, self.clock, timer=self.timer, exchange_timeout=limits.exchange_timeout)
        finally:
            session.close()
