# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests of rotate_accounts, on the world as scenario hold left it.

Three runs happen under load, one after the other: the first changes accounts of one node, the second undoes that and
moves an account to the other node, the last one moves it back.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleet_world import World, connected_world
from hold_scenes import Scenes, fresh_secret
from rotation_scenes import NEW, Fleet, Rotation


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The world that the tests look at."""
    with connected_world() as world:
        yield world


@pytest.fixture(scope="session")
def fleet(world: World) -> Fleet:
    """The calm fleet."""
    scenes = Scenes(world)
    scenes.calm()
    for node in world.nodes:
        scenes.wait_until_good(node)
    plain = {a["name"] for a in world.vault["dcta_accounts"] if "password" in a and "totp_secret" not in a}
    other = next(node for node in world.nodes if len(plain & set(scenes.accounts(node))) > 1)
    one = next(node for node in world.nodes if node != other)
    removed, changed, *_others = sorted(plain & set(scenes.accounts(other)))
    return Fleet(scenes, one, other, removed, changed)


@pytest.fixture(scope="session")
def rotated(fleet: Fleet, world: World) -> Rotation:
    """One new account, one removed, one with another password, all of one node."""
    new, password = fresh_secret(), fresh_secret()
    world.control("/users", email=world.email(fleet.changed), password=password)
    world.control("/users", email=f"{NEW}@example.org", password=new)
    stay = [account["name"] for account in fleet.accounts() if account["name"] != fleet.removed]
    accounts = fleet.accounts(*stay, **{fleet.changed: {"password": password}})
    return fleet.rotate(*accounts, {"name": NEW, "email": f"{NEW}@example.org", "password": new, "node": fleet.other})


@pytest.fixture(scope="session")
def moved(fleet: Fleet, world: World, rotated: Rotation) -> Rotation:
    """The vault's accounts again, but one lives on another node."""
    del rotated
    world.control("/reset", tokens=False)  # the users of the vault
    return fleet.rotate(*fleet.accounts(**{fleet.changed: {"node": fleet.one}}))


@pytest.fixture(scope="session")
def returned(fleet: Fleet, moved: Rotation) -> Rotation:
    """The vault's accounts, each where it was."""
    del moved
    return fleet.rotate()
