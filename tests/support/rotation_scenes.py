# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of rotate_accounts do: runs under load, and what is seen of them on the nodes and at the provider."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fleet_world import Run
from hold_scenes import STEADY, Scenes

NEW = "erin"


@dataclass
class Rotation:
    """A run of rotate_accounts under load, and what it was seen to do.

    Attributes:
        run: the run.
        processes_before: the main process of each replica before it, by node.
        processes_after: the same after it.
        events: what the provider saw meanwhile, in its order: event and e-mail address.
    """

    run: Run
    processes_before: dict[str, dict[str, str]]
    processes_after: dict[str, dict[str, str]]
    events: list[tuple[str, str]] = field(repr=False)

    def assert_no_other_lane_moved(self, node: str) -> None:
        """Assert that the lanes that a node had and has were not touched."""
        before, after = self.processes_before[node], self.processes_after[node]
        kept = before.keys() & after.keys()
        assert kept
        assert {unit: before[unit] for unit in kept} == {unit: after[unit] for unit in kept}


@dataclass
class Fleet:
    """The world, its accounts by where they live, and how to rotate them.

    Attributes:
        scenes: the world with load on it.
        one: a node.
        other: a node with two accounts at least that have a password and no one-time codes.
        removed: one of them.
        changed: another one.
    """

    scenes: Scenes
    one: str
    other: str
    removed: str
    changed: str

    def accounts(self, *names: str, **changes: dict[str, Any]) -> list[dict[str, Any]]:
        """Return accounts of the vault.

        Args:
            names: which of them; none means all.
            changes: by name of an account, what is different.
        """
        vault = self.scenes.world.vault["dcta_accounts"]
        return [
            {**account, **changes.get(account["name"], {})}
            for account in vault
            if not names or account["name"] in names
        ]

    def rotate(self, *accounts: dict[str, Any]) -> Rotation:
        """Run rotate_accounts with other accounts, or with the vault's, under load on all nodes."""
        scenes, world = self.scenes, self.scenes.world
        settings = {"dcta_accounts": list(accounts)} if accounts else {}
        before = {node: scenes.replicas(node) for node in world.nodes}
        seen = len(world.control("/statistics")["events"])
        with scenes.loaded(*world.nodes, groups=STEADY, enough=500):
            run = world.playbook("playbooks/rotate_accounts.yml", settings=settings)
        assert run.status == 0, run.tail
        after = {node: scenes.replicas(node) for node in world.nodes}
        events = [(str(event["event"]), str(event["email"])) for event in world.control("/statistics")["events"][seen:]]
        for node in world.nodes:
            scenes.wait_until_good(node)
        return Rotation(run, before, after, events)

    def traces(self, node: str, account: str) -> str:
        """Return where a node still knows an account: files of that name, and files that name it."""
        find = f"find /var/lib /run /etc/dcta -name '{account}*' -not -path '/run/dcta-lanes/*.lock'"
        grep = f"grep --recursive --files-with-matches --fixed-strings '\"{account}\"' /etc/dcta /run/credentials"
        return self.scenes.world.root_text(node, "sh", "-c", f"{find}; {grep} || true")
