# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder that somebody copied back without its hidden files: fingerprints change, tokens and budgets stay."""

from __future__ import annotations

import json

import pytest
from identity_fake import EMAIL, PASSWORD, World

OF_NOW = ("salt", "settings", "proxy")


def _restored_by_hand(world: World) -> None:
    for file in world.folder.iterdir():
        if file.name.startswith("."):
            file.unlink()


@pytest.mark.parametrize("record", ["of now", "of the first release"])
def test_a_lost_salt_costs_neither_a_token_nor_a_login_budget(world: World, record: str) -> None:
    world.renew()
    before = world.store.load("alice")
    assert before is not None
    if record == "of the first release":
        file = world.folder / "alice.json"
        kept = {key: value for key, value in json.loads(file.read_text()).items() if key not in OF_NOW}
        file.write_text(json.dumps(kept))
    _restored_by_hand(world)
    world.restart()
    outcome = world.renew()
    after = world.store.load("alice")
    assert after is not None
    assert (after.access_token, after.refresh_token) == (before.access_token, before.refresh_token)
    assert after.submissions == before.submissions
    assert (outcome.action, outcome.usable) == ("none", True)
    assert any("salt was lost" in warning for warning in outcome.warnings) == (record == "of the first release")
    assert world.renew().warnings == ()
    assert world.provider.logins == 1


@pytest.mark.parametrize("record", ["of now", "of the first release"])
def test_a_lost_salt_brings_no_rejected_password_out_again(world: World, record: str) -> None:
    world.give(email=EMAIL, password="wrong")
    assert world.renew().state == "quarantined"
    if record == "of the first release":
        file = world.folder / "alice.json"
        file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k not in OF_NOW}))
    _restored_by_hand(world)
    world.restart()
    for _ignored in range(5):
        world.clock.now += 86_400
        assert world.renew().state == "quarantined"
    assert world.provider.passwords_seen == ["wrong"]


def test_another_salt_changes_nothing_either(world: World) -> None:
    world.renew()
    (world.folder / ".salt").write_text("ab" * 32 + "\n")
    assert (world.renew().action, world.renew().usable) == ("none", True)
    world.give(email="other@example.test", password=PASSWORD)
    outcome = world.renew()
    assert not outcome.usable
