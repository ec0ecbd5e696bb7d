# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of site.yml changes reaches the clients, and the run itself reaches none of them."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fleet_world import World
from hold_scenes import EXTRA, LEFT_OUT, STEADY, FirstRun, Scenes

BRANCH = "refs/heads/second"
SOURCE = b"package main\n\n// What makes this program another one.\nconst second = true\n"
CANARY = "/root/canary"
NOWHERE = "/root/made-through-a-link"

# An agent that was taken over puts links wherever it may write, and keeps the record for later.
PLANT = f"""
cd /var/lib/dcta/tokens
mv {EXTRA}.json ../agent/kept
ln -sf {CANARY} {EXTRA}.json
ln -sf {CANARY} {EXTRA}.lock
ln -s {NOWHERE} {EXTRA}.json.damaged
cd ../agent
rm -f lanes.json lanes.new
ln -s {CANARY} lanes.json
ln -s {NOWHERE} lanes.new
"""
CLEAN = f"""
cd /var/lib/dcta/agent
rm -f lanes.json lanes.new ../tokens/{EXTRA}.json ../tokens/{EXTRA}.lock ../tokens/{EXTRA}.json.damaged
mv kept ../tokens/{EXTRA}.json
"""


@pytest.fixture(scope="module")
def second_commit(world: World) -> Iterator[str]:
    """The program's repository with one commit more, which changes the program."""
    repository = world.state / "git/upstream.git"
    index = world.state / "second-index"
    environment = {"PATH": os.environ["PATH"], "GIT_DIR": str(repository), "GIT_INDEX_FILE": str(index)}
    for role in ("AUTHOR", "COMMITTER"):
        environment[f"GIT_{role}_NAME"] = "a test"
        environment[f"GIT_{role}_EMAIL"] = "test@dcta.test"

    def git(*arguments: str, stdin: bytes = b"") -> str:
        return (
            subprocess.run(["git", *arguments], env=environment, input=stdin, capture_output=True, check=True)
            .stdout.decode()
            .strip()
        )

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


@contextmanager
def links_of_a_taken_over_agent(world: World, node: str) -> Iterator[None]:
    """Plant links to files of root wherever the agent's user may, and a canary where they lead."""
    world.root_run(node, "install", "-m", "600", "/dev/stdin", CANARY, stdin=b"nobody may touch this\n")
    world.root_run(node, "runuser", "-u", "dcta-agent", "--", "sh", "-e", "-s", stdin=PLANT.encode())
    try:
        yield
    finally:
        world.root_run(node, "runuser", "-u", "dcta-agent", "--", "sh", "-e", "-s", stdin=CLEAN.encode())
        world.root_run(node, "rm", "-f", CANARY, NOWHERE)


def test_new_settings_keys_accounts_and_certificate_move_no_other_lane(first_run: FirstRun, world: World) -> None:
    assert min(first_run.run.changed.values()) > 3
    for node in world.nodes:
        before, after = first_run.processes_before[node], first_run.processes_after[node]
        kept = before.keys() & after.keys()
        assert kept == {unit for unit in before if f"@{LEFT_OUT}." not in unit}
        assert {unit: before[unit] for unit in kept} == {unit: after[unit] for unit in kept}
    assert {f"dcta-api-{replica}@{EXTRA}.service" for replica in "ab"} <= first_run.processes_after["node2"].keys()
    units = [f"dcta-api-{replica}@{LEFT_OUT}.service" for replica in "ab"]
    for node in world.nodes:
        states = world.root_run(node, "systemctl", "is-active", *units, check=False).stdout.split()
        assert states == [b"inactive", b"inactive"]


def test_the_new_certificate_and_both_api_keys_are_in_use(scenes: Scenes, first_run: FirstRun) -> None:
    world = scenes.world
    for node in world.nodes.values():
        assert ssl.get_server_certificate((node.address, node.port)).strip() == first_run.certificate.strip()
        for key in (world.api_key, first_run.new_key):
            with world.client(node, key=key) as client:
                assert client.models.list().data
    assert EXTRA in scenes.accounts("node2")
    assert scenes.counts("refreshes") == {}


def test_a_new_commit_drops_no_request_and_planted_links_lead_root_nowhere(
    scenes: Scenes, first_run: FirstRun, second_commit: str
) -> None:
    world = scenes.world
    before = {node: scenes.replicas(node) for node in world.nodes}
    look = ["stat", "--format=%U %G %a %h %s %Y %Z", CANARY]
    with links_of_a_taken_over_agent(world, "node2"):
        canary = world.root_text("node2", *look)
        with scenes.loaded(*world.nodes, groups=STEADY):
            run = world.playbook("site.yml", settings={**first_run.settings, "api_build_commit": second_commit})
        assert world.root_text("node2", *look) == canary
        assert world.root_text("node2", "cat", CANARY) == "nobody may touch this"
        assert world.root_run("node2", "test", "-e", NOWHERE, check=False).returncode == 1
        assert "nobody may touch this" not in run.text
    assert run.status == 0, run.tail
    for node in world.nodes:
        scenes.wait_until_good(node)
        after = scenes.replicas(node)
        assert not set(before[node].values()) & set(after.values())
        programs = world.root_text(
            node, "readlink", *(f"/proc/{process}/exe" for process in after.values())
        ).splitlines()
        assert all(second_commit[:12] in program for program in programs), programs
    assert scenes.counts("logins") == {}
