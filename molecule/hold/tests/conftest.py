# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests of the hold, on the world as scenario native left it; DCTA_TEST_MODE=docker runs them in docker mode.

Three runs of site.yml happen under load: the first brings other settings, accounts, keys and another certificate, one
in between another commit, the last one the state of the inventory again. All other tests lie between them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from fleet_world import World, connected_world
from hold_scenes import EXTRA, HOLD_SECONDS, LEFT_OUT, LIMITS, REST_SECONDS, STEADY, FirstRun, Scenes, fresh_secret
from planted_links import planted_links
from world.prepare import make_certificate

MODE = os.environ.get("DCTA_TEST_MODE") or "native"


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The world that the tests look at."""
    with connected_world() as world:
        yield world


@pytest.fixture(scope="session")
def first_run(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstRun]:
    """Change settings, account list, API keys and certificate by a run under load, and change them back in the end."""
    folder = tmp_path_factory.mktemp("certificate")
    names = [*world.nodes, *(node.address for node in world.nodes.values())]
    make_certificate(folder, "node", names, world.state / "ca")
    certificate, password, key = (folder / "node.crt").read_text(), fresh_secret(), fresh_secret()
    accounts = [account for account in world.vault["dcta_accounts"] if account["name"] != LEFT_OUT]
    accounts.append({"name": EXTRA, "email": f"{EXTRA}@example.org", "password": password, "node": "node2"})
    settings: dict[str, Any] = {
        "dcta_accounts": accounts,
        "dcta_api_keys": [*world.vault["dcta_api_keys"], {"name": "second", "key": key}],
        "dcta_tls_certificate": certificate,
        "dcta_tls_private_key": (folder / "node.key").read_text(),
        "dcta_limits": LIMITS,
        "refresh_agent_hold": {"hold_seconds": HOLD_SECONDS, "rest_seconds": REST_SECONDS},
    }
    if MODE != "native":
        settings["dcta_mode"] = MODE
        run = world.playbook("site.yml", settings={"dcta_mode": MODE})
        assert run.status == 0, run.tail
    scenes = Scenes(world, settings)
    scenes.calm()
    before = {node: scenes.replicas(node) for node in world.nodes}
    with planted_links(world, "node2", EXTRA) as canary, scenes.loaded(*world.nodes, groups=STEADY):
        run = world.playbook("site.yml", settings=settings)
    assert run.status == 0, run.tail
    for node in world.nodes:
        scenes.wait_until_good(node)
    after = {node: scenes.replicas(node) for node in world.nodes}
    yield FirstRun(settings, run, before, after, key, certificate, canary.untouched)
    scenes.calm()
    with scenes.loaded(*world.nodes, groups=STEADY):
        run = world.playbook("site.yml")
    assert run.status == 0, run.tail
    world.control("/reset", tokens=False)


@pytest.fixture
def scenes(world: World, first_run: FirstRun) -> Iterator[Scenes]:
    """The calm world: nothing held back, all switches at rest, all counters at 0, every lane good."""
    scenes = Scenes(world, first_run.settings)
    scenes.calm()
    for node in world.nodes:
        scenes.wait_until_good(node)
    scenes.calm()
    yield scenes
    scenes.calm()
