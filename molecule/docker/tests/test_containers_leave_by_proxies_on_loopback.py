# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container asks leaves by the proxies on its node's own loopback, counted there; and any base image will do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from container_scenes import GENTLE, Containers
from hold_scenes import Scenes
from real_proxies import SERVICE_USER, RealProxies, guarded, real_proxies

NODE = "node2"
BASE = "a-base-of-a-test:1"
# Names, since the proxies resolve them.
PROVIDERS_NAMES = {"login.dcta.test", "chat.dcta.test"}


@pytest.fixture(scope="module")
def proxies(containers: Containers) -> Iterator[RealProxies]:
    """Proxies on the node's own loopback, HTTP for one account and SOCKS for the others; and another base image."""
    scenes, world = containers.scenes, containers.scenes.world
    accounts = [dict(account) for account in world.vault["dcta_accounts"]]
    base = ["sh", "-c", f"tar -cC / etc/debian_version | docker import - {BASE}"]
    for node in world.nodes:
        world.root_run(node, *base)
    with real_proxies(world, NODE) as proxies:
        own = next(account for account in accounts if account["name"] == scenes.accounts(NODE)[0])
        own["proxy"] = proxies.http_url()
        changes = {"dcta_accounts": accounts, "dcta_proxy": proxies.socks_url(), "api_build_base_image": BASE}
        run = world.playbook("site.yml", "--limit", NODE, settings={**containers.settings, **changes})
        assert run.status == 0, run.tail
        scenes.wait_until_good(NODE)
        yield proxies
        run = world.playbook("site.yml", "--limit", NODE, settings=containers.settings)
        assert run.status == 0, run.tail
    for node in world.nodes:
        world.root_run(node, "docker", "image", "rm", BASE)


def test_proxies_on_the_nodes_own_loopback_carry_all_that_its_containers_ask(
    proxies: RealProxies, scenes: Scenes
) -> None:
    own, *_others = scenes.accounts(NODE)
    with guarded(scenes.world, NODE, 443, 8080, user=f"!= {SERVICE_USER}") as guard:
        before = scenes.chats(NODE)
        asked, carried = len(proxies.requests()), len(proxies.socks_targets())
        with scenes.loaded(NODE, groups=GENTLE, enough=100):
            pass
        chats = scenes.chats(NODE)
        chats.subtract(before)
        assert min(chats.values()) >= 1, chats
        # tinyproxy reads one request a connection; a connection through the other one may carry several.
        assert len(proxies.requests()) - asked == chats[own]
        assert len(proxies.socks_targets()) > carried
        assert {target.rpartition(":")[0] for target in proxies.socks_targets()} <= PROVIDERS_NAMES
        assert guard.packets == 0
        guard.assert_it_counts()


@pytest.mark.usefixtures("proxies")
def test_another_base_image_is_what_the_containers_are_made_from(containers: Containers) -> None:
    world = containers.scenes.world
    for name in containers.names(NODE):
        archive = world.root_run(NODE, "docker", "cp", f"{name}:/etc/debian_version", "-").stdout
        assert b"debian_version" in archive
