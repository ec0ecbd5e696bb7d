# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests of upgrades, on fresh hosts; one node is in docker mode, which DCTA_TEST_DOCKER_NODE names.

The first release deploys the nodes. Runs of site.yml follow under load: the present release, the first one again, and,
where there is time, the present one with nothing but the inventory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import first_release
import pytest
from fleet_world import World, connected_world
from upgrade_scenes import DEPLOY, Fleet, Move, Operator, Seen

DOCKER_NODE = os.environ.get("DCTA_TEST_DOCKER_NODE") or "node2"


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The world that the tests look at."""
    with connected_world() as world:
        yield world


@pytest.fixture(scope="session")
def present(world: World) -> Operator:
    """Somebody who has the present release."""
    return Operator(world, world.root)


@pytest.fixture(scope="session")
def first(world: World) -> Operator:
    """Somebody who has the first release."""
    tree = world.state / "first-release"
    shutil.rmtree(tree, ignore_errors=True)
    first_release.check_out(tree)
    return Operator(world, tree)


@pytest.fixture(scope="session")
def fleet(world: World, first: Operator) -> Iterator[Fleet]:
    """The first release on hosts that nothing has touched, with accounts in every state."""
    for node in world.nodes:
        untouched = world.root_run(node, "test", "!", "-e", "/etc/dcta", check=False).returncode == 0
        assert untouched, f"{node} was deployed before: run make molecule-upgrade, which begins with fresh hosts"
    fleet = Fleet(world, DOCKER_NODE)
    fleet.prepare_provider()
    run = first.enter(DEPLOY, fleet.settings)
    assert run.status == 0, run.tail
    fleet.prepare_accounts()
    yield fleet
    world.control("/reset", tokens=False)


@pytest.fixture(scope="session")
def deployed(fleet: Fleet, first: Operator) -> Seen:
    """What the first release left."""
    return fleet.look(first)


@pytest.fixture(scope="session")
def upgraded(fleet: Fleet, present: Operator, deployed: Seen) -> Move:
    """The present release follows the first one."""
    return fleet.move(deployed, present, settings=fleet.settings)


@pytest.fixture(scope="session")
def returned(fleet: Fleet, first: Operator, upgraded: Move) -> Move:
    """The first release follows the present one."""
    return fleet.move(upgraded.after, first, settings=fleet.settings)


@pytest.fixture(scope="session")
def again(fleet: Fleet, present: Operator, returned: Move) -> Move:
    """The present release once more; the accounts in trouble are gone from the inventory."""
    return fleet.move(returned.after, present, settings=fleet.inventory, renewals=False)


@pytest.fixture(params=["upgraded", "returned", pytest.param("again", marks=pytest.mark.exhaustive)])
def move(request: pytest.FixtureRequest) -> Move:
    """Each move in turn."""
    move: Move = request.getfixturevalue(request.param)
    return move
