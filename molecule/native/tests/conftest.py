# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests of the deployed world. Each leaves the world as it found it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_world import Node, World
from testinfra.host import Host


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The world below the repository's root, or below the one that DCTA_WORLD_ROOT names."""
    root = Path(os.environ.get("DCTA_WORLD_ROOT") or Path(__file__).resolve().parents[3])
    with tempfile.TemporaryDirectory(prefix="dcta-") as connections:
        world = World(root, Path(connections))
        with world.connected():
            yield world


@pytest.fixture
def node(host: Host, world: World) -> Node:
    """Each node in turn."""
    return world.nodes[host.backend.get_hostname()]


@pytest.fixture
def provider(world: World) -> Iterator[World]:
    """The world, whose provider forgets its switches afterwards."""
    world.control("/reset", tokens=False)
    yield world
    world.control("/reset", tokens=False)
