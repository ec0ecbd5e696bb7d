# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agent does differently for another variant of the program."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from agent_node import Node, on_a_node, until
from dcta_agent import pauses
from lane_programs import known_profile

MAP = "xqdoo00o_2025_02"
A_WEEK = 7 * 86400


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "REPAIR_SECONDS", 0.1)
    monkeypatch.setattr(pauses, "RENEWAL_GAP", 0.05)
    monkeypatch.setattr(pauses, "PATCH_PAUSE", 0.02)


def speaking(node: Node, profile: str) -> None:
    node.profile = known_profile(profile)
    node.agent = node.new_agent()


async def issue_fitting(node: Node, request: dict[str, Any]) -> None:
    """Renew as a provider whose tokens fit every profile."""
    if request["reason"] == "rejected":
        node.save("alice", access_token="planted.token.two", issued_at=time.time())


@pytest.mark.parametrize(
    ("profile", "document"),
    [
        ("acheong08_2023_07", ["planted.token.two"]),
        ("acheong08_2023_08", [{"token": "planted.token.two", "puid": ""}]),
        (MAP, {"alice.patched": {"token": "planted.token.two", "puid": ""}}),
    ],
)
def test_a_new_token_is_patched_in_the_form_of_the_profile(tmp_path: Path, profile: str, document: Any) -> None:
    async def test(node: Node) -> None:
        speaking(node, profile)
        node.renew = lambda request: issue_fitting(node, request)  # type: ignore[assignment,return-value]
        node.save("alice", access_token="planted.token.one")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            await node.ask("alice")
            for replica in ("a", "b"):
                assert json.loads(node.token("alice", replica)) == document

    on_a_node(tmp_path, test)


@pytest.mark.parametrize("running", [True, False])
def test_a_lane_whose_token_would_end_the_program_does_not_run_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, running: bool
) -> None:
    async def test(node: Node) -> None:
        speaking(node, MAP)
        node.save("alice", access_token="planted-opaque")
        if running:
            node.laid_down["alice"] = "planted.token.one"
            for replica in node.replicas["alice"].values():
                await replica.start()
        async with node.at_work():
            await until(lambda: "does not have the form" in caplog.text)
            await until(lambda: not node.agent.lanes["alice"].busy)
            assert not node.is_good("alice")
            assert not any(replica.active for replica in node.replicas["alice"].values())
            assert "alice" not in node.laid_down
            assert not [entry for entry in node.log if entry.startswith(("put", "start"))]
        assert "planted" not in caplog.text

    on_a_node(tmp_path, test)


def test_a_starting_replica_is_patched_only_after_it_patched_itself(tmp_path: Path) -> None:
    """Else its own patch, with the token that it started with, could come last."""

    async def test(node: Node) -> None:
        speaking(node, MAP)
        node.renew = lambda request: issue_fitting(node, request)  # type: ignore[assignment,return-value]
        node.save("alice", access_token="planted.token.one")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.runner.starting = {"a"}
            node.log.clear()
            asking = asyncio.create_task(node.ask("alice"))
            await until(lambda: "patch alice b" in node.log)
            await asyncio.sleep(0.1)
            assert "patch alice a" not in node.log
            node.runner.starting = set()
            await asking
            assert "planted.token.two" in node.token("alice", "a")

    on_a_node(tmp_path, test)


@pytest.mark.slow
@pytest.mark.parametrize(("profile", "rolled"), [("acheong08_2023_07", 0), ("acheong08_2023_08", 1), (MAP, 0)])
def test_only_a_program_that_forgets_its_file_is_restarted_for_its_age(
    tmp_path: Path, profile: str, rolled: int
) -> None:
    async def test(node: Node) -> None:
        speaking(node, profile)
        node.save("alice", access_token="planted.token.one")
        async with node.at_work():
            await until(lambda: node.is_settled("alice"))
            node.runner.started_at = time.time() - A_WEEK + 3600
            if rolled:
                await until(lambda: "roll alice" in node.log)
                await until(lambda: all(replica.active for replica in node.replicas["alice"].values()))
            await asyncio.sleep(0.6)
            assert node.log.count("roll alice") == rolled

    on_a_node(tmp_path, test)
