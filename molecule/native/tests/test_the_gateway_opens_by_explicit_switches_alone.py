# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Without API keys, or without TLS, the gateway serves where a switch of its own says so, and no longer than that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fleet_world import World

pytestmark = pytest.mark.exhaustive

ASKED = {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Say hello"}]}
SITE = "nginx.service"


def run(world: World, **settings: Any) -> None:
    done = world.playbook("site.yml", "--limit", world.first.name, settings={"smoke_test_run": "always", **settings})
    assert done.status == 0, done.tail


def ask(world: World, scheme: str, path: str = "/v1/chat/completions", key: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with world.browser() as browser:
        return browser.post(f"{scheme}://{world.first.address}:{world.first.port}{path}", json=ASKED, headers=headers)


def is_an_answer(answer: httpx.Response) -> bool:
    return answer.status_code == 200 and bool(answer.json()["choices"][0]["message"]["content"])


@pytest.fixture(scope="module")
def site(world: World) -> Iterator[str]:
    """The main process of the distribution's own nginx, which the host is made to use before the first run."""
    node = world.first.name
    # It came with the gateway's package, which must not have started it.
    assert world.root_run(node, "systemctl", "is-active", SITE, check=False).stdout == b"inactive\n"
    assert world.root_run(node, "systemctl", "is-enabled", SITE, check=False).stdout == b"disabled\n"
    world.root_run(node, "systemctl", "enable", "--now", SITE)
    try:
        yield world.root_text(node, "systemctl", "show", "-P", "MainPID", SITE)
    finally:
        world.root_run(node, "systemctl", "disable", "--now", SITE)


@pytest.fixture(scope="module", autouse=True)
def _closed_again(world: World, site: str) -> Iterator[None]:
    yield
    run(world)
    assert ask(world, "https").status_code == 401
    assert is_an_answer(ask(world, "https", key=world.api_key))
    # nginx says so of a request that came without TLS.
    assert ask(world, "http", key=world.api_key).status_code == 400
    assert world.root_text(world.first.name, "systemctl", "show", "-P", "MainPID", SITE) == site


def test_without_tls_a_key_is_needed_as_before(world: World) -> None:
    run(world, dcta_tls=False, dcta_tls_certificate="", dcta_tls_private_key="")
    assert ask(world, "http").status_code == 401
    assert is_an_answer(ask(world, "http", key=world.api_key))
    with pytest.raises(httpx.ConnectError):
        ask(world, "https", key=world.api_key)


def test_without_keys_everybody_is_answered_and_the_programs_own_pages_stay_closed(world: World) -> None:
    run(world, dcta_require_api_key=False, dcta_api_keys=[])
    assert is_an_answer(ask(world, "https"))
    assert is_an_answer(ask(world, "https", key="of-whoever"))
    assert ask(world, "https", "/admin/tokens").status_code == 404
    log = world.root_text(world.first.name, "tail", "-n", "2", "/var/log/dcta/authentication.log")
    assert all(json.loads(line)["key"] == "" for line in log.splitlines())


def test_a_site_of_the_host_is_served_by_the_same_process_all_the_time(world: World, site: str) -> None:
    node = world.first.name
    assert world.root_text(node, "systemctl", "show", "-P", "MainPID", SITE) == site
    assert world.root_text(node, "systemctl", "is-enabled", SITE) == "enabled"
    with world.browser() as browser:
        assert browser.get(f"http://{world.first.address}/").status_code == 200
