# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests of the deployed world. Each leaves the world as it found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleet_world import Node, World, connected_world
from testinfra.host import Host


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The world that the tests look at."""
    with connected_world() as world:
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
