# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edit the vault, run rotate_accounts: no request is lost, no other lane moves, a removed account leaves nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fleet_world import World
from rotation_scenes import NEW, Fleet, Rotation


def units(account: str) -> set[str]:
    """Return the units of an account's lane."""
    return {f"dcta-api-{replica}@{account}.service" for replica in "ab"}


def test_only_the_node_of_the_changed_accounts_changes(fleet: Fleet, rotated: Rotation) -> None:
    assert rotated.run.changed[fleet.one] == 0
    assert rotated.run.changed[fleet.other] > 0
    assert rotated.processes_before[fleet.one] == rotated.processes_after[fleet.one]
    rotated.assert_no_other_lane_moved(fleet.other)


def test_a_new_account_gets_a_lane_and_a_removed_one_loses_all(fleet: Fleet, rotated: Rotation, world: World) -> None:
    assert units(NEW) <= rotated.processes_after[fleet.other].keys()
    assert not units(fleet.removed) & rotated.processes_after[fleet.other].keys()
    assert fleet.traces(fleet.other, fleet.removed) == ""
    assert ("revocations", world.email(fleet.removed)) in rotated.events
    assert ("logins", world.email(fleet.removed)) not in rotated.events


def test_the_run_ends_with_one_line_for_each_account(rotated: Rotation) -> None:
    for account in ("bob", "carol", NEW):
        assert re.search(rf"{account}: valid \[expires in \d+ days", rotated.run.text)


@pytest.mark.exhaustive
def test_the_old_node_forgets_an_account_before_the_new_one_logs_it_in(
    fleet: Fleet, moved: Rotation, world: World
) -> None:
    email = world.email(fleet.changed)
    events = [event for event, whose in moved.events if whose == email]
    assert events.index("revocations") < events.index("password_submissions") < events.index("logins")
    assert units(fleet.changed) <= moved.processes_after[fleet.one].keys()
    assert fleet.traces(fleet.other, fleet.changed) == ""
    for node in world.nodes:
        moved.assert_no_other_lane_moved(node)


@pytest.mark.exhaustive
def test_a_limit_that_would_make_two_owners_is_refused(fleet: Fleet, moved: Rotation, world: World) -> None:
    del moved
    run = world.playbook("playbooks/rotate_accounts.yml", "--limit", fleet.other)
    assert run.status != 0
    assert set(run.changed.values()) == {0}
    sentence = f"account {fleet.changed} still lives on {fleet.one} and would live on {fleet.other} too: run without"
    assert sentence in re.sub(r"\s+", " ", run.text)


@pytest.mark.exhaustive
def test_an_old_node_out_of_reach_is_refused_unless_the_operator_calls_it_lost(
    fleet: Fleet, moved: Rotation, world: World, tmp_path: Path
) -> None:
    del moved
    away = tmp_path / "away.yml"
    away.write_text(json.dumps({"dcta_nodes": {"hosts": {fleet.one: {"ansible_port": 9}}}}))
    question = ("playbooks/parts/check.yml", "--limit", fleet.other, "--inventory", str(away))
    run = world.playbook(*question)
    assert run.status != 0
    assert f"{fleet.one} cannot be asked whether it still uses {fleet.changed}" in re.sub(r"\s+", " ", run.text)
    run = world.playbook(*question, settings={"dcta_lost_nodes": [fleet.one]})
    assert run.status == 0, run.tail


@pytest.mark.exhaustive
def test_an_account_moves_back(fleet: Fleet, returned: Rotation, world: World) -> None:
    assert units(fleet.changed) <= returned.processes_after[fleet.other].keys()
    assert fleet.traces(fleet.one, fleet.changed) == ""
    assert ("revocations", world.email(fleet.changed)) in returned.events
    for node in world.nodes:
        returned.assert_no_other_lane_moved(node)
