# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One account that cannot log in stops no other; a run fails only where no account is left, and then it says why."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fleet_world import Run, World

STORE = "/var/lib/dcta/tokens"
ALIVE = ("active", "active")


def states(world: World, node: str) -> dict[str, tuple[str, ...]]:
    """Return the states of both replicas of each lane of a node."""
    lanes = list(world.lanes(node))
    units = [f"dcta-api-{replica}@{lane}.service" for lane in lanes for replica in "ab"]
    lines = world.root_text(node, "systemctl", "show", "--property=ActiveState", "--value", *units).split()
    return {lane: (lines[2 * number], lines[2 * number + 1]) for number, lane in enumerate(lanes)}


def passwords(world: World, node: str) -> list[str]:
    """Return the accounts of a node that log in with a password."""
    kinds = {entry["name"]: "password" in entry for entry in world.vault["dcta_accounts"]}
    return [name for name in world.lanes(node) if kinds[name]]


@pytest.fixture
def crowded(world: World) -> str:
    """A node with several accounts, one of them at least with a password."""
    return next(name for name in world.nodes if len(world.lanes(name)) > 1 and passwords(world, name))


@pytest.fixture
def uniform(world: World) -> str:
    """A node all of whose accounts log in with a password."""
    return next(name for name in world.nodes if passwords(world, name) == list(world.lanes(name)) != [])


@pytest.fixture
def _kept_tokens(provider: World) -> Iterator[None]:
    """Give every node its tokens back, and its lanes with them."""
    world = provider
    copy = "/var/lib/dcta/tokens-of-a-test"
    for node in world.nodes:
        world.root_run(node, "cp", "--archive", STORE, copy)
    yield
    world.control("/reset", tokens=False)
    for node in world.nodes:
        # The folder itself stays: the agent holds it open.
        world.stop_agent(node)
        restore = f"find {STORE} -mindepth 1 -delete && cp --archive {copy}/. {STORE} && rm --recursive {copy}"
        world.root_run(node, "sh", "-c", restore)
        world.start_agent(node)
        run = world.module(node, "dcta.fleet.lanes", {"names": list(world.lanes(node))})
        assert run.status == 0, run.tail
        assert set(states(world, node).values()) == {ALIVE}


def forget(world: World, node: str, accounts: list[str]) -> None:
    """Take the tokens of some accounts away, as if they had never been logged in, until a run looks at them."""
    world.stop_agent(node)
    world.root_run(node, "rm", "--force", *(f"{STORE}/{account}.json" for account in accounts))


def says(run: Run, account: str, error_class: str) -> bool:
    """Tell whether a run's text names an account with its class, a sentence and a cure."""
    text = re.sub(r"\s+", " ", run.text)
    return bool(re.search(rf"{account}(:| is) \w+ \({error_class}\):? [A-Z][^.]+\. [A-Z][^.]+\.", text))


@pytest.mark.usefixtures("_kept_tokens")
def test_a_refused_password_stops_one_lane_and_no_run(provider: World, crowded: str) -> None:
    world = provider
    bad, *_ = passwords(world, crowded)
    good = [name for name in world.lanes(crowded) if name != bad]
    world.control("/users", email=world.email(bad), password="another-one-than-in-the-vault")
    forget(world, crowded, [bad])
    run = world.playbook("site.yml", "--limit", crowded)
    assert run.status == 0, run.tail
    assert says(run, bad, "bad_credentials"), run.tail
    assert set(run.changed) == {crowded}
    assert states(world, crowded) == {bad: ("inactive", "inactive")} | dict.fromkeys(good, ALIVE)
    with world.client(world.nodes[crowded]) as client:
        answer = client.chat.completions.create(
            model="gpt-3.5-turbo", messages=[{"role": "user", "content": "Say hello"}]
        )
    assert answer.choices[0].message.content


@pytest.mark.usefixtures("_kept_tokens")
def test_a_node_without_any_account_fails_and_comes_back_when_the_cause_is_gone(provider: World, uniform: str) -> None:
    world = provider
    accounts = list(world.lanes(uniform))
    world.control("/switches", switches={"password_error": "user-blocked"})
    forget(world, uniform, accounts)
    run = world.playbook("site.yml", "--limit", uniform, settings={"smoke_test_run": "always"})
    assert run.status != 0
    failure = run.text[run.text.index("FAILED!") :]
    assert f"{uniform} has no account that can serve" in re.sub(r"\s+", " ", failure), run.tail
    assert [name for name in accounts if not says(Run(run.status, failure), name, "account_blocked")] == [], run.tail
    assert states(world, uniform) == dict.fromkeys(accounts, ("inactive", "inactive"))

    world.control("/reset", tokens=False)
    forget(world, uniform, accounts)
    run = world.playbook("playbooks/rotate_accounts.yml", "--limit", uniform)
    assert run.status == 0, run.tail
    assert set(run.changed) == {uniform}
    assert states(world, uniform) == dict.fromkeys(accounts, ALIVE)
