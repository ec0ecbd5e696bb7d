# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first repair comes at once, each further one after twice the pause; a quiet while begins anew."""

from __future__ import annotations

from dcta_agent.backoff import Backoff


class Timer:
    """Seconds that a test turns."""

    now = 1000.0

    def __call__(self) -> float:
        """Return them."""
        return self.now


def test_the_first_repair_needs_no_pause_and_the_pauses_double_up_to_the_longest() -> None:
    timer = Timer()
    backoff = Backoff(30, 600, timer=timer)
    pauses = []
    for _ignored in range(7):
        assert backoff.may()
        pauses.append(backoff.tried())
        timer.now += pauses[-1] - 0.1
        assert not backoff.may()
        timer.now += 0.1
    assert pauses == [30, 60, 120, 240, 480, 600, 600]


def test_an_hour_of_a_crash_loop_sees_few_repairs() -> None:
    timer, repairs = Timer(), 0
    backoff = Backoff(30, 600, timer=timer)
    for _ignored in range(3600):
        if backoff.may():
            backoff.tried()
            repairs += 1
        timer.now += 1
    assert repairs == 10


def test_a_quiet_while_makes_the_next_repair_the_first() -> None:
    timer = Timer()
    backoff = Backoff(30, 600, timer=timer)
    assert [backoff.tried(), backoff.tried()] == [30, 60]
    timer.now += 60 + 599
    assert backoff.tried() == 120
    timer.now += 120 + 600
    assert backoff.tried() == 30


def test_what_made_it_fail_may_have_changed() -> None:
    timer = Timer()
    backoff = Backoff(30, 600, timer=timer)
    backoff.tried()
    assert not backoff.may()
    backoff.forget()
    assert backoff.may()
    assert backoff.tried() == 30
