# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any sequence of lost, refused, spoilt and absurd answers, kills, full disks, held locks and moved clocks.

``make fuzz`` runs the same for half an hour.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from fuzz_renewals import run_sequences
from renewal_simulation import Simulation

SEQUENCES = 2000


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_token_that_may_be_spent_is_sent_again_and_none_that_was_delivered_is_lost(part: int) -> None:
    assert run_sequences(SEQUENCES // 4, seed=part) == SEQUENCES // 4


def test_a_token_that_may_be_spent_is_the_last_resort_of_a_rejected_password(tmp_path: Path) -> None:
    """A sequence that ``make fuzz`` found: the account is not halted any more, and still no login is possible."""
    simulation = Simulation(tmp_path / "tokens", "password")
    with closing(simulation):
        simulation.happen(("attempt", ("due", ["instead lost", "instead lost"], "", "")))
        simulation.happen(("password", False))
        for trouble in ([], [], ["instead lost"]):
            simulation.happen(("attempt", ("due", trouble, "", "")))
        assert (simulation.halted, simulation.may_log_in()) == (False, False)
        simulation.recover()
