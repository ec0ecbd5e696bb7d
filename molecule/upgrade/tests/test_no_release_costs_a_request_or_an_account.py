# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the first release to the present one and back, under load: no request is lost, and no account logs in."""

from __future__ import annotations

import pytest
from hold_scenes import ENOUGH
from upgrade_scenes import (
    BUDGET,
    DEPLOY,
    OPEN,
    RENEWED,
    SHORT_LIVED,
    TOKEN,
    TROUBLE,
    WRONG_PASSWORD,
    Fleet,
    Move,
    Operator,
    Seen,
)


def test_the_first_release_left_accounts_in_every_state(fleet: Fleet, deployed: Seen) -> None:
    well = {account["name"]: "valid" for account in fleet.world.vault["dcta_accounts"]}
    assert {name: account["state"] for name, account in deployed.accounts.items()} == well | TROUBLE
    assert {name for name, account in deployed.accounts.items() if account["usable"]} == set(well)
    assert deployed.records[OPEN]["refresh_sent_at"] is not None
    assert deployed.counts["password_submissions"][WRONG_PASSWORD] == 1


def test_one_node_is_in_docker_mode(fleet: Fleet, deployed: Seen) -> None:
    usable = {name for name, account in deployed.accounts.items() if account["usable"]}
    for node in fleet.world.nodes:
        here = usable & set(fleet.scenes.accounts(node))
        assert here
        assert fleet.containers(node) == (2 * len(here) if node == fleet.docker_node else 0)


def test_no_request_is_lost(move: Move) -> None:
    assert move.sent >= ENOUGH
    assert move.failed == 0


def test_every_account_is_as_it_was(move: Move) -> None:
    accounts = move.after.accounts.keys()
    assert {name: move.after.condition(name) for name in accounts} == {
        name: move.before.condition(name) for name in accounts
    }
    changed = {name: move.differing(name, BUDGET) for name in accounts}
    changed |= {name: move.differing(name, BUDGET | TOKEN) for name in accounts - {SHORT_LIVED, RENEWED}}
    assert {name: keys for name, keys in changed.items() if keys} == {}


def test_every_account_stays_where_the_inventory_has_it(fleet: Fleet, upgraded: Move, returned: Move) -> None:
    everybody = {account["name"] for account in fleet.settings["dcta_accounts"]}
    assert upgraded.after.accounts.keys() == returned.after.accounts.keys() == everybody


def test_nobody_is_logged_in_and_no_refresh_token_is_used_twice(move: Move, deployed: Seen) -> None:
    for counter in deployed.counts.keys() - {"refreshes"}:
        assert move.after.counts[counter] == deployed.counts[counter], counter
    assert move.after.counts["reuse_detections"] == move.after.counts["refresh_failures"] == {}


def test_renewals_go_on_in_the_family_of_the_first_login(move: Move, deployed: Seen) -> None:
    assert move.after.families == deployed.families
    assert {len(families) for families in move.after.families.values()} == {1}
    assert move.after.counts["refreshes"][SHORT_LIVED] > move.before.counts["refreshes"][SHORT_LIVED]


def test_each_release_renews_a_token_that_the_service_rejects(deployed: Seen, upgraded: Move, returned: Move) -> None:
    renewals = [seen.counts["refreshes"][RENEWED] for seen in (deployed, upgraded.after, returned.after)]
    assert renewals[0] < renewals[1] < renewals[2]


def test_each_run_brings_the_code_of_its_release(deployed: Seen, upgraded: Move, returned: Move) -> None:
    for node, files in deployed.code.items():
        assert files != upgraded.after.code[node]
        assert files.items() <= returned.after.code[node].items()


def test_no_unit_of_the_newer_release_stays_enabled(deployed: Seen, returned: Move) -> None:
    assert returned.after.units == deployed.units


@pytest.mark.exhaustive
def test_accounts_may_leave_in_the_run_that_upgrades(fleet: Fleet, upgraded: Move, again: Move) -> None:
    assert again.after.accounts.keys() == {account["name"] for account in fleet.world.vault["dcta_accounts"]}
    assert again.after.code == upgraded.after.code


@pytest.mark.exhaustive
def test_a_second_run_changes_nothing(fleet: Fleet, present: Operator, again: Move) -> None:
    del again
    run = present.enter(DEPLOY, fleet.inventory)
    assert run.status == 0, run.tail
    assert set(run.changed.values()) == {0}
