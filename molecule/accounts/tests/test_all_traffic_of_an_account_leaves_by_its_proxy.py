# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins, renewals, chats and revocation of an account leave by its own proxy, counted there; nothing goes straight."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fleet_world import Run, World
from hold_scenes import Scenes, fresh_secret, wait_for
from real_proxies import HTTP_PORT, Guard, RealProxies, guarded, real_proxies
from rotation_scenes import Fleet
from secret_scan import SecretScan

pytestmark = pytest.mark.exhaustive

# One with a proxy of its own, one that has dcta_proxy like all the others of the node.
OWN, COMMON = "erin", "frank"
LIFETIME = 30
CHATS = 5
LOGIN, CHAT = "login.dcta.test", "chat.dcta.test"
CONNECT = f"CONNECT {LOGIN}:443"
ROTATE = "playbooks/rotate_accounts.yml"


@dataclass
class Scene:
    """A node whose accounts all have proxies.

    Attributes:
        scenes: the world with load on it.
        node: the node.
        proxies: the proxies.
        guard: counts what leaves the node directly.
        run: the run that gave the accounts their proxies.
    """

    scenes: Scenes
    node: str
    proxies: RealProxies
    guard: Guard
    run: Run

    def logins(self, account: str) -> int:
        """Return how often an account logged in since the calm."""
        return self.scenes.counts("logins").get(account, 0)


@pytest.fixture(scope="module")
def proxies(world: World) -> Iterator[RealProxies]:
    """Both proxies."""
    with real_proxies(world) as proxies:
        yield proxies


@pytest.fixture(scope="module")
def settings(fleet: Fleet, world: World, proxies: RealProxies) -> dict[str, Any]:
    """Two accounts more, one with a proxy of its own; both get short tokens, so that they are renewed soon."""
    fleet.scenes.calm()
    passwords = {name: fresh_secret() for name in (OWN, COMMON)}
    new: list[dict[str, Any]] = []
    for name, password in passwords.items():
        email = f"{name}@example.org"
        world.control("/users", email=email, password=password)
        world.control("/lifetimes", email=email, access_token=LIFETIME)
        new.append({"name": name, "email": email, "password": password, "node": fleet.other})
    new[0]["proxy"] = proxies.socks_url()
    return {"dcta_accounts": [*fleet.accounts(), *new], "dcta_proxy": proxies.http_url()}


@pytest.fixture(scope="module")
def scene(fleet: Fleet, world: World, proxies: RealProxies, settings: dict[str, Any]) -> Iterator[Scene]:
    """The node after the run that gave its accounts their proxies; from then on its chats cannot leave directly."""
    with guarded(world, fleet.other, 443) as guard:
        run = world.playbook(ROTATE, "--limit", fleet.other, settings=settings)
        assert run.status == 0, run.tail
        guard.close(443, 8080)
        yield Scene(fleet.scenes, fleet.other, proxies, guard, run)


def assert_no_secret(run: Run, proxies: RealProxies) -> None:
    """Assert that a run showed no password of a proxy, in whatever form."""
    scan = SecretScan()
    scan.plant(proxies.texts())
    found = scan.found_in(run.text.encode())
    assert found == set()


def test_a_wrong_password_of_a_proxy_is_refused_and_the_node_serves_on(
    fleet: Fleet, world: World, proxies: RealProxies, settings: dict[str, Any]
) -> None:
    before = fleet.scenes.replicas(fleet.other)
    wrong = {**settings, "dcta_proxy": proxies.http_url("another-one")}
    run = world.playbook(ROTATE, "--limit", fleet.other, settings=wrong)
    assert run.status != 0
    assert set(run.changed.values()) == {0}
    text = re.sub(r"\s+", " ", run.text)
    address = f"{proxies.address}:{HTTP_PORT}"
    assert re.search(rf"the proxy {address} of accounts [a-z, ]+ rejects its user and password: correct them", text)
    assert_no_secret(run, proxies)
    assert "another-one" not in run.text
    assert fleet.scenes.replicas(fleet.other) == before
    assert fleet.scenes.answer(fleet.other).status_code == 200


def test_a_login_leaves_by_the_proxy_of_its_account(scene: Scene) -> None:
    assert (scene.logins(OWN), scene.logins(COMMON)) == (1, 1)
    # The first connection to each is preflight's.
    assert scene.proxies.socks_targets().count(f"{LOGIN}:443") >= 2
    assert scene.proxies.http_hosts().count(LOGIN) >= 2
    others = [name for name in scene.scenes.accounts(scene.node) if name not in (OWN, COMMON)]
    assert others
    assert {name: scene.logins(name) for name in others} == dict.fromkeys(others, 0)
    assert_no_secret(scene.run, scene.proxies)


def test_a_renewal_leaves_by_the_proxy_of_its_account(scene: Scene) -> None:
    seen = scene.proxies.socks_targets().count(f"{LOGIN}:443"), scene.proxies.requests().count(CONNECT)
    scene.scenes.forget_counts()
    wait_for(lambda: {OWN, COMMON} <= scene.scenes.counts("refreshes").keys(), "a renewal of both accounts")
    assert scene.proxies.socks_targets().count(f"{LOGIN}:443") > seen[0]
    assert scene.proxies.requests().count(CONNECT) > seen[1]
    assert scene.guard.packets == 0


def test_chats_of_an_account_leave_by_its_proxy_and_by_no_other(scene: Scene) -> None:
    posts = f"POST http://{CHAT}:8080/backend-api/conversation"
    before, relayed = scene.scenes.chats(scene.node), scene.proxies.requests().count(posts)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert scene.scenes.answer(scene.node).status_code == 200
        chats = scene.scenes.chats(scene.node)
        chats.subtract(before)
        if min(chats.values()) >= CHATS:
            break
    print(f"chats by account: {dict(chats)}")
    assert min(chats.values()) >= CHATS
    # tinyproxy reads one request a connection, so what it read is what the accounts with dcta_proxy asked.
    assert scene.proxies.requests().count(posts) - relayed == chats.total() - chats[OWN]
    assert set(scene.proxies.socks_targets()) == {f"{LOGIN}:443", f"{CHAT}:8080"}
    assert set(scene.proxies.http_hosts()) == {LOGIN, CHAT}
    assert scene.guard.packets == 0


def test_a_removed_account_is_revoked_through_its_proxy(scene: Scene, world: World) -> None:
    seen = scene.proxies.socks_targets().count(f"{LOGIN}:443"), scene.proxies.http_hosts().count(LOGIN)
    scene.scenes.forget_counts()
    assert scene.guard.packets == 0
    # The accounts that stay have no proxy afterwards.
    scene.guard.close(443)
    run = world.playbook(ROTATE, "--limit", scene.node)
    assert run.status == 0, run.tail
    assert {OWN, COMMON} <= scene.scenes.counts("revocations").keys()
    assert scene.proxies.socks_targets().count(f"{LOGIN}:443") > seen[0]
    assert scene.proxies.http_hosts().count(LOGIN) > seen[1]
    assert scene.guard.packets == 0
    scene.guard.assert_it_counts()
