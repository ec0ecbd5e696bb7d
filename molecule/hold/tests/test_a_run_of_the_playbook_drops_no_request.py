# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of site.yml changes reaches the clients, and the run itself reaches none of them."""

from __future__ import annotations

import ssl

from fleet_world import World
from hold_scenes import EXTRA, LEFT_OUT, FirstRun, Scenes
from planted_links import CONTENT


def test_new_settings_keys_accounts_and_certificate_move_no_other_lane(first_run: FirstRun, world: World) -> None:
    assert min(first_run.run.changed.values()) > 3
    for node in world.nodes:
        before, after = first_run.processes_before[node], first_run.processes_after[node]
        kept = before.keys() & after.keys()
        assert kept == {unit for unit in before if f"@{LEFT_OUT}." not in unit}
        assert {unit: before[unit] for unit in kept} == {unit: after[unit] for unit in kept}
    assert {f"dcta-api-{replica}@{EXTRA}.service" for replica in "ab"} <= first_run.processes_after["node2"].keys()
    units = [f"dcta-api-{replica}@{LEFT_OUT}.service" for replica in "ab"]
    for node in world.nodes:
        states = world.root_run(node, "systemctl", "is-active", *units, check=False).stdout.split()
        assert states == [b"inactive", b"inactive"]


def test_the_new_certificate_and_both_api_keys_are_in_use(scenes: Scenes, first_run: FirstRun) -> None:
    world = scenes.world
    for node in world.nodes.values():
        assert ssl.get_server_certificate((node.address, node.port)).strip() == first_run.certificate.strip()
        for key in (world.api_key, first_run.new_key):
            with world.client(node, key=key) as client:
                assert client.models.list().data


def test_links_of_a_taken_over_agent_lead_root_nowhere_and_cost_no_other_account(first_run: FirstRun) -> None:
    assert first_run.links_led_nowhere
    assert CONTENT not in first_run.run.text
    # The account whose record was a link came back by itself.
    assert {unit for unit in first_run.processes_after["node2"] if EXTRA in unit}
