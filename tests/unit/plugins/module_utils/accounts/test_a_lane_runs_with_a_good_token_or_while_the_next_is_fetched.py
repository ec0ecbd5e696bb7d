# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agent and module lanes agree on when a lane may run."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import Record, State
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.serving import may_run

NOW = 1_700_000_000.0
GOOD = Record(name="alice", state="valid", access_token="planted", expires_at=NOW + 1)
EXPIRED = replace(GOOD, expires_at=NOW)
REJECTED = replace(GOOD, rejected_token=GOOD.token_fingerprint)


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("state", get_args(State))
def test_a_good_token_serves_whatever_became_of_its_renewal(state: State, running: bool) -> None:
    assert may_run(replace(GOOD, state=state), NOW, running=running)
    assert may_run(replace(GOOD, state=state, expires_at=None), NOW, running=running)


@pytest.mark.parametrize("record", [EXPIRED, REJECTED])
@pytest.mark.parametrize("state", get_args(State))
def test_a_token_that_cannot_serve_keeps_up_only_a_lane_whose_next_token_is_awaited(
    record: Record, state: State
) -> None:
    assert may_run(replace(record, state=state), NOW, running=True) is (state in ("valid", "waiting"))
    assert not may_run(replace(record, state=state), NOW, running=False)


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize(
    "record", [None, *(Record(name="alice", state=state) for state in get_args(State) if state != "new")]
)
def test_without_a_token_nothing_runs(record: Record | None, running: bool) -> None:
    assert not may_run(record, NOW, running=running)


def test_a_lane_whose_record_was_lost_to_damage_runs_on_until_the_login_is_over() -> None:
    blank = Record(name="alice", entry="e", identity="i")
    assert may_run(blank, NOW, running=True)
    assert not may_run(blank, NOW, running=False)


def test_a_lane_whose_token_was_dropped_for_another_e_mail_does_not_run_on() -> None:
    assert not may_run(Record(name="alice", rejected_token=GOOD.token_fingerprint), NOW, running=True)
