# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tokens of a node are kept, its store is lost, and a restore brings every account back without a login."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_world import World
from hold_scenes import Scenes

NODE = "node1"
TOKENS = "/var/lib/dcta/tokens"


@pytest.fixture
def node(world: World) -> Iterator[Scenes]:
    """The calm world, in which the agent of the node runs again afterwards."""
    scenes = Scenes(world)
    scenes.calm()
    scenes.wait_until_good(NODE)
    yield scenes
    world.start_agent(NODE)
    scenes.wait_until_good(NODE)


def records(world: World) -> dict[str, str]:
    """Return the records of the node's accounts, by file."""
    program = "import glob; print({file: open(file).read() for file in glob.glob('*.json')})"
    found: dict[str, str] = ast.literal_eval(world.root_text(NODE, "env", "-C", TOKENS, "python3", "-", stdin=program))
    return found


def test_a_backup_brings_an_empty_node_back_without_a_login(node: Scenes, world: World, tmp_path: Path) -> None:
    settings = {"dcta_backup_directory": str(tmp_path)}
    world.stop_agent(NODE)  # what it wrote after the backup would be no part of it
    before = records(world)
    runs = [world.playbook("playbooks/backup_tokens.yml", "-vvv", "--limit", NODE, settings=settings)]
    assert runs[0].status == 0, runs[0].tail
    [backup] = tmp_path.iterdir()
    assert backup.read_bytes().startswith(b"$ANSIBLE_VAULT;")
    assert backup.stat().st_mode & 0o777 == 0o600

    for account in node.accounts(NODE):
        node.lane_runner(NODE, "stop", account)
    world.root_run(NODE, "find", TOKENS, "-mindepth", "1", "-delete")
    left = sorted(records(world))
    assert left == []
    runs.append(world.playbook("playbooks/restore_tokens.yml", "-vvv", "--limit", NODE, settings=settings))
    assert runs[1].status == 0, runs[1].tail
    after = records(world)
    lost = sorted(file for file in before | after if before.get(file) != after.get(file))
    assert lost == []
    world.start_agent(NODE)
    node.wait_until_good(NODE)
    for counter in ("logins", "password_submissions", "refreshes"):
        assert not set(node.counts(counter)) & set(node.accounts(NODE)), counter
    tokens = [json.loads(record)[kind] for record in before.values() for kind in ("access_token", "refresh_token")]
    assert not [run.status for run in runs if any(token and token in run.text for token in tokens)]
