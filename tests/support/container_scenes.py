# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of a world in docker mode, as the engine of each node describes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from dcta_load import Clients
from hold_scenes import Scenes, container_of

# An engine that restarts takes most of the two processors for itself.
GENTLE = (Clients(count=4, pause=0.2), Clients(count=4, protocol="h2", pause=0.2))


@dataclass
class Containers:
    """A world in docker mode.

    Attributes:
        scenes: the world.
        settings: what differs from the inventory.
        native_processes: the main process of each replica before, by node.
        native_again: whether the nodes are out of docker mode again.
    """

    scenes: Scenes
    settings: dict[str, Any] = field(repr=False)
    native_processes: dict[str, dict[str, str]]
    native_again: bool = False

    def names(self, node: str) -> list[str]:
        """Return the name that each replica's container must have."""
        return [container_of(unit) for unit in self.scenes.replicas(node)]

    def running(self, node: str) -> list[str]:
        """Return the names of all containers that a node's engine runs."""
        return sorted(self.scenes.world.root_text(node, "docker", "ps", "--format", "{{.Names}}").split())

    def described(self, node: str) -> dict[str, dict[str, Any]]:
        """Return what the engine says about each replica's container, by name."""
        found = json.loads(self.scenes.world.root_text(node, "docker", "inspect", *self.names(node)))
        return {container["Name"].removeprefix("/"): container for container in found}

    def processes(self, node: str) -> dict[str, str]:
        """Return the process id of the program in each container, by the container's name."""
        return {name: str(container["State"]["Pid"]) for name, container in self.described(node).items()}
