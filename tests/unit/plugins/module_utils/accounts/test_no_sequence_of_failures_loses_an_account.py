# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any sequence of lost, refused, spoilt and absurd answers, kills, full disks, held locks and moved clocks.

``make fuzz`` runs the same for half an hour.
"""

from __future__ import annotations

import pytest
from fuzz_renewals import run_sequences

SEQUENCES = 2000


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_token_that_may_be_spent_is_sent_again_and_none_that_was_delivered_is_lost(part: int) -> None:
    assert run_sequences(SEQUENCES // 4, seed=part) == SEQUENCES // 4
