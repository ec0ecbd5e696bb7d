# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens that live for a minute under steady load, and a provider that is away when they run out."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest
from dcta_load import Question
from fleet_world import World
from hold_scenes import HOLD_SECONDS, LIMITS, MIXED, STEADY, Scenes, assert_none_failed

NODE_WITH_ONE = "node1"
LIFETIME = 60
WATCHED_SECONDS = 120
SHORT = 6


BRANCH = "refs/heads/second"
SOURCE = b"package main\n\n// What makes this program another one.\nconst second = true\n"


@pytest.fixture
def second_commit(world: World) -> Iterator[str]:
    """The program's repository with one commit more, which changes the program."""
    index = world.state / "second-index"
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_DIR": str(world.state / "git/upstream.git"),
        "GIT_INDEX_FILE": str(index),
    }
    for role in ("AUTHOR", "COMMITTER"):
        environment[f"GIT_{role}_NAME"] = "a test"
        environment[f"GIT_{role}_EMAIL"] = "test@dcta.test"

    def git(*arguments: str, stdin: bytes = b"") -> str:
        done = subprocess.run(["git", *arguments], env=environment, input=stdin, capture_output=True, check=True)
        return done.stdout.decode().strip()

    git("read-tree", "main")
    blob = git("hash-object", "-w", "--stdin", stdin=SOURCE)
    git("update-index", "--add", "--cacheinfo", f"100644,{blob},second.go")
    commit = git("commit-tree", git("write-tree"), "-p", "main", "-m", "Change the program")
    git("update-ref", BRANCH, commit)
    git("update-server-info")
    index.unlink()
    yield commit
    git("update-ref", "-d", BRANCH)
    git("update-server-info")


@pytest.fixture
def short_tokens(scenes: Scenes) -> Iterator[Scenes]:
    """The world, in which tokens live long again afterwards."""
    yield scenes
    scenes.calm()
    scenes.renew_all(*scenes.world.nodes)


def test_tokens_of_a_minute_and_a_new_commit_under_steady_load_cost_no_login_and_no_request(
    short_tokens: Scenes, second_commit: str
) -> None:
    scenes, world = short_tokens, short_tokens.world
    accounts = [account for node in world.nodes for account in scenes.accounts(node)]
    before = {node: scenes.replicas(node) for node in world.nodes}
    scenes.provider("/lifetimes", access_token=LIFETIME)
    scenes.renew_all(*world.nodes)
    scenes.forget_counts()
    end = time.monotonic() + WATCHED_SECONDS
    with scenes.loaded(*world.nodes, groups=STEADY):
        run = world.playbook("site.yml", settings={**scenes.settings, "api_build_commit": second_commit})
        time.sleep(max(0.0, end - time.monotonic()))
    watched = time.monotonic() - end + WATCHED_SECONDS
    refreshes = scenes.counts("refreshes")
    # They are renewed after two thirds of their lifetime, a little more or less, first before the watch began.
    assert set(refreshes) == set(accounts)
    assert all(watched // LIFETIME <= count <= watched / (LIFETIME / 2) for count in refreshes.values()), refreshes
    assert scenes.counts("logins") == scenes.counts("password_submissions") == {}
    assert scenes.refused() == 0
    assert run.status == 0, run.tail
    for node in world.nodes:
        after = scenes.replicas(node)
        assert not set(before[node].values()) & set(after.values())
        assert all(second_commit[:12] in program for program in scenes.programs(node)), scenes.programs(node)


def test_requests_are_held_while_the_provider_is_away_and_then_refused_as_openai_does(short_tokens: Scenes) -> None:
    scenes = short_tokens
    [account] = scenes.accounts(NODE_WITH_ONE)
    scenes.provider("/lifetimes", account, access_token=SHORT)
    scenes.renew_all(NODE_WITH_ONE)
    scenes.forget_counts()
    with scenes.loaded(NODE_WITH_ONE) as [load]:
        with scenes.provider_out_of_reach(NODE_WITH_ONE):
            time.sleep(SHORT + 1)
            scenes.wait_until_held(NODE_WITH_ONE, sum(group.count for group in MIXED) // 2)
        load.reach(load.result.sent + 300)
    asked = [Question(f"away-{number}", stream=number % 2 == 1) for number in range(50)]
    with scenes.provider_out_of_reach(NODE_WITH_ONE):
        time.sleep(SHORT + 1)
        started = time.monotonic()
        answer = scenes.answer(NODE_WITH_ONE)
        # It ends a little early where the next attempt would come too late for it.
        latest_pause = LIMITS["mandatory_backoff_cap"] * 1.25
        assert HOLD_SECONDS - latest_pause - 1 <= time.monotonic() - started <= HOLD_SECONDS + 5
        assert answer.status_code == 503, answer.text
        assert answer.json()["error"]["code"] == "no_account_available"
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
        assert int(answer.headers["Retry-After"]) >= 1
        burst = scenes.burst(NODE_WITH_ONE, asked)
        scenes.wait_until_held(NODE_WITH_ONE, len(asked))
    assert_none_failed(burst.end())
    assert scenes.counts("refreshes")[account] >= 2
    assert scenes.counts("logins") == {}
