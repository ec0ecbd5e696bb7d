# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests of docker mode: a run of site.yml brings both nodes into it under load, another one brings them back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from container_scenes import Containers
from fleet_world import World, connected_world
from hold_scenes import LIMITS, STEADY, Scenes

SETTINGS: dict[str, Any] = {"dcta_mode": "docker", "dcta_limits": LIMITS}


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The world that the tests look at."""
    with connected_world() as world:
        yield world


@pytest.fixture(scope="session")
def containers(world: World) -> Iterator[Containers]:
    """Both nodes in docker mode, switched under load without a lost request; in the end they are native again."""
    scenes = Scenes(world, SETTINGS)
    scenes.calm()
    containers = Containers(scenes, SETTINGS, {node: scenes.replicas(node) for node in world.nodes})
    with scenes.loaded(*world.nodes, groups=STEADY):
        run = world.playbook("site.yml", settings=SETTINGS)
    assert run.status == 0, run.tail
    for node in world.nodes:
        scenes.wait_until_good(node)
    yield containers
    if not containers.native_again:
        assert world.playbook("site.yml").status == 0
    world.control("/reset", tokens=False)


@pytest.fixture
def scenes(containers: Containers) -> Iterator[Scenes]:
    """The calm world in docker mode: all switches at rest, all counters at 0, every lane good."""
    scenes = containers.scenes
    scenes.calm()
    for node in scenes.world.nodes:
        scenes.wait_until_good(node)
    scenes.forget_counts()
    yield scenes
    scenes.calm()
