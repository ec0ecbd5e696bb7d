# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts: each thing is told once when it begins and once when it is over, in order, whoever restarts or is away."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from agent_node import Node, on_a_node, until
from dcta_agent import pauses
from dcta_agent.alerts import PATIENCE, PENDING_MAX, RETRY_FIRST, RETRY_LONGEST, AlertError, Alerts
from dcta_library.accounts import atomic_file
from dcta_library.accounts.record import LastError, Record, State

NOW = 1_700_000_000.0
DAY = 86400.0
CAPTCHA = LastError(error_class="captcha_required", sentence="It shows a captcha.", cure="Log in by hand.", at=NOW)
REJECTED = LastError(error_class="bad_credentials", sentence="Rejected.", cure="Correct it.", at=NOW)


def record(name: str, state: State = "valid", *, left: float = 30 * DAY, error: LastError | None = None) -> Record:
    """Return an account's record with some seconds left of its token."""
    return Record(name=name, state=state, access_token=f"planted-{name}", expires_at=NOW + left, error=error)


class Scene:
    """Alerts with a clock that tests turn and a receiver that may be away."""

    def __init__(self, folder: Path, *by_hand: str) -> None:
        self.folder = folder
        self.by_hand = frozenset(by_hand)
        self.now = NOW
        self.timer = 1000.0
        self.tries = 0
        self.away = False
        self.got: list[dict[str, Any]] = []
        self.alerts = self.restarted()

    def restarted(self) -> Alerts:
        """Return what a restart of the agent makes."""
        self.alerts = Alerts(
            "node1",
            3.0,
            self.by_hand,
            self.folder / "alerts.json",
            send=self.send,
            clock=lambda: self.now,
            timer=lambda: self.timer,
        )
        return self.alerts

    async def send(self, document: dict[str, Any]) -> None:
        """Receive."""
        self.tries += 1
        if self.away:
            raise AlertError("the webhook answered 503")
        self.got.append(document)

    def see(self, *records: Record, missing: tuple[str, ...] = ()) -> list[tuple[str, str, str | None]]:
        """Let the agent look at some records; return what was delivered."""
        found: Mapping[str, Record | None] = {one.name: one for one in records} | dict.fromkeys(missing)
        self.got.clear()
        asyncio.run(self.alerts.update(found))
        return [(document["event"], document["status"], document["account"]) for document in self.got]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path, "carol")


GOOD = record("bob")


def test_nothing_is_told_of_accounts_that_are_well(scene: Scene) -> None:
    assert scene.see(record("alice"), GOOD) == []
    assert not (scene.folder / "alerts.json").exists()


@pytest.mark.parametrize(("state", "error"), [("needs_operator", CAPTCHA), ("quarantined", REJECTED)])
def test_trouble_is_told_once_and_its_end_once(scene: Scene, state: State, error: LastError) -> None:
    bad = record("alice", state, error=error)
    assert scene.see(bad, GOOD) == [(state, "firing", "alice")]
    assert scene.see(bad, GOOD) == []
    assert scene.see(record("alice"), GOOD) == [(state, "resolved", "alice")]
    assert scene.see(record("alice"), GOOD) == []
    assert scene.see(bad, GOOD) == [(state, "firing", "alice")]


def test_a_restart_tells_nothing_twice_and_forgets_nothing(scene: Scene) -> None:
    bad = record("alice", "quarantined", error=REJECTED)
    scene.see(bad, GOOD)
    scene.restarted()
    assert scene.see(bad, GOOD) == []
    scene.restarted()
    assert scene.see(record("alice"), GOOD) == [("quarantined", "resolved", "alice")]
    scene.restarted()
    assert scene.see(record("alice"), GOOD) == []


def test_another_failure_of_the_same_account_is_another_alert(scene: Scene) -> None:
    scene.see(record("alice", "needs_operator", error=CAPTCHA), GOOD)
    blocked = LastError(error_class="account_blocked", sentence="Blocked.", cure="Unblock it.", at=NOW)
    expected = [("needs_operator", "resolved", "alice"), ("needs_operator", "firing", "alice")]
    assert scene.see(record("alice", "needs_operator", error=blocked), GOOD) == expected
    assert [document["error_class"] for document in scene.got] == ["captcha_required", "account_blocked"]


def test_a_document_says_all_and_reads_as_a_sentence(scene: Scene) -> None:
    scene.see(record("alice", "needs_operator", error=CAPTCHA), GOOD)
    [document] = scene.got
    assert len(document.pop("id")) == 32
    assert document == {
        "event": "needs_operator",
        "status": "firing",
        "node": "node1",
        "account": "alice",
        "error_class": "captcha_required",
        "message": "It shows a captcha.",
        "cure": "Log in by hand.",
        "time": "2023-11-14T22:13:20+00:00",
        "text": "Account alice of node node1 needs the operator. It shows a captcha. Log in by hand.",
    }
    assert datetime.fromisoformat(document["time"]).timestamp() == NOW
    scene.see(record("alice"), GOOD)
    assert scene.got[0]["text"] == "Account alice of node node1 no longer needs the operator."


def test_a_halted_record_without_a_reason_is_told_all_the_same(scene: Scene) -> None:
    assert scene.see(record("alice", "quarantined"), GOOD) == [("quarantined", "firing", "alice")]
    assert scene.got[0]["message"]
    assert scene.got[0]["error_class"] is None


def test_the_end_of_a_token_by_hand_is_told_days_before_and_until_there_is_another(scene: Scene) -> None:
    assert scene.see(record("carol", left=3 * DAY + 1), GOOD) == []
    scene.now += 2
    assert scene.see(record("carol", left=3 * DAY + 1), GOOD) == [("token_expires", "firing", "carol")]
    assert "2023-11-17T22:13:21+00:00" in scene.got[0]["text"]
    scene.now += 4 * DAY
    over = record("carol", "needs_operator", left=3 * DAY + 1, error=CAPTCHA)
    assert scene.see(over, GOOD) == [("needs_operator", "firing", "carol")]
    expected = [("token_expires", "resolved", "carol"), ("needs_operator", "resolved", "carol")]
    assert scene.see(record("carol"), GOOD) == expected


def test_a_token_by_hand_from_before_all_time_ends_no_agent(scene: Scene) -> None:
    assert scene.see(record("carol", left=-1e11), GOOD) == [("token_expires", "firing", "carol")]


@pytest.mark.parametrize("now", [1e12, 1e18, -1e18])
def test_a_clock_beyond_all_time_keeps_no_alert_back(scene: Scene, now: float) -> None:
    scene.now = now
    assert scene.see(record("alice", "quarantined", error=REJECTED), GOOD)


def test_tokens_that_renew_themselves_are_not_told_of(scene: Scene) -> None:
    assert scene.see(record("alice", left=60), record("bob", left=60)) == []


def test_the_last_valid_account_is_told_after_a_minute_and_its_return_at_once(scene: Scene) -> None:
    lost = record("bob", "waiting", left=-1)
    assert scene.see(lost) == []
    scene.timer += PATIENCE - 1
    assert scene.see(lost) == []
    scene.timer += 1
    assert scene.see(lost) == [("no_valid_account", "firing", None)]
    assert scene.got[0]["text"].startswith("Node node1 has no valid account. ")
    assert scene.see(lost) == []
    scene.restarted()
    assert scene.see(lost) == []
    assert scene.see(GOOD) == [("no_valid_account", "resolved", None)]


def test_a_renewal_that_succeeds_within_a_minute_wakes_nobody(scene: Scene) -> None:
    for _ignored in range(3):
        assert scene.see(record("bob", left=-1)) == []
        scene.timer += PATIENCE - 1
        assert scene.see(GOOD) == []


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_jumps_shortens_no_patience(scene: Scene, hours: int) -> None:
    lost = record("bob", "waiting", left=-30 * DAY)
    scene.see(lost)
    scene.now += hours * 3600
    assert scene.see(lost) == []
    scene.timer += PATIENCE
    assert scene.see(lost) == [("no_valid_account", "firing", None)]


def test_a_node_without_accounts_lacks_none(scene: Scene) -> None:
    scene.see()
    scene.timer += PATIENCE
    assert scene.see() == []


def test_of_a_record_that_cannot_be_read_nothing_begins_and_nothing_ends(scene: Scene) -> None:
    bad = record("alice", "quarantined", left=-1, error=REJECTED)
    scene.see(bad, GOOD)
    assert scene.see(GOOD, missing=("alice",)) == []
    scene.timer += PATIENCE
    assert scene.see(bad, missing=("bob",)) == []
    scene.timer += PATIENCE
    assert scene.see(bad, missing=("bob",)) == []


def test_an_account_that_left_the_node_is_no_trouble_any_more(scene: Scene) -> None:
    scene.see(record("alice", "quarantined", error=REJECTED), GOOD)
    assert scene.see(GOOD) == [("quarantined", "resolved", "alice")]


# Delivery.


def test_what_the_receiver_missed_is_sent_in_order_when_it_is_back(scene: Scene) -> None:
    scene.away = True
    assert scene.see(record("alice", "quarantined", error=REJECTED), GOOD) == []
    assert scene.see(record("alice"), GOOD) == []
    scene.restarted()
    scene.away = False
    expected = [("quarantined", "firing", "alice"), ("quarantined", "resolved", "alice")]
    assert scene.see(record("alice"), GOOD) == expected


def test_a_delivery_that_is_tried_again_keeps_its_name_and_time(scene: Scene) -> None:
    scene.away = True
    scene.see(record("alice", "quarantined", error=REJECTED), GOOD)
    kept = json.loads((scene.folder / "alerts.json").read_text())["pending"]
    scene.away, scene.now, scene.timer = False, scene.now + 100, scene.timer + 100
    scene.see(record("alice", "quarantined", error=REJECTED), GOOD)
    assert scene.got == kept


def test_a_receiver_that_is_away_is_asked_ever_less_often_and_never_given_up(scene: Scene) -> None:
    scene.away = True
    bad = record("alice", "quarantined", error=REJECTED)
    asked: list[float] = []
    for _ignored in range(3600):
        before = scene.tries
        scene.see(bad, GOOD)
        if scene.tries > before:
            asked.append(scene.timer)
        scene.timer += 1
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses == [RETRY_FIRST * factor for factor in (1, 2, 4, 8, 16, 32)] + [RETRY_LONGEST] * (len(pauses) - 6)
    scene.away, scene.timer = False, scene.timer + RETRY_LONGEST
    assert scene.see(bad, GOOD) == [("quarantined", "firing", "alice")]


def test_no_more_than_so_many_wait_and_the_newest_stay(scene: Scene) -> None:
    scene.away = True
    bad = record("alice", "quarantined", error=REJECTED)
    for _ignored in range(PENDING_MAX):
        scene.see(bad, GOOD)
        scene.see(record("alice"), GOOD)
    scene.see(bad, GOOD)
    scene.away, scene.timer = False, scene.timer + RETRY_LONGEST
    statuses = [status for _event, status, _account in scene.see(bad, GOOD)]
    assert len(statuses) == PENDING_MAX
    assert statuses[-2:] == ["resolved", "firing"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "null",
        "\0",
        '{"announced": [1], "pending": []}',
        '{"announced": [{"event": []}], "pending": []}',
        '{"announced": [{"event": "unheard_of"}], "pending": []}',
        '{"announced": [], "pending": ["x"]}',
    ],
)
def test_a_damaged_memory_costs_one_alert_more_and_nothing_else(scene: Scene, text: str) -> None:
    bad = record("alice", "quarantined", error=REJECTED)
    scene.see(bad, GOOD)
    (scene.folder / "alerts.json").write_text(text)
    scene.restarted()
    assert scene.see(bad, GOOD) == [("quarantined", "firing", "alice")]


def test_a_full_disk_keeps_no_alert_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    bad = record("alice", "quarantined", error=REJECTED)
    with monkeypatch.context() as patch:
        patch.setattr(atomic_file, "replace", full)
        assert scene.see(bad, GOOD) == [("quarantined", "firing", "alice")]
        assert scene.see(bad, GOOD) == []
    assert scene.see(record("alice"), GOOD) == [("quarantined", "resolved", "alice")]
    scene.restarted()
    assert scene.see(record("alice"), GOOD) == []


def test_a_crash_while_the_memory_is_written_leaves_the_old_one_whole(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    scene.see(record("alice", "quarantined", error=REJECTED), GOOD)
    before = (scene.folder / "alerts.json").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        scene.see(record("alice"), GOOD)
    assert (scene.folder / "alerts.json").read_text() == before


# The agent.


def test_the_agent_tells_of_an_account_that_is_quarantined_and_well_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "ALERT_SECONDS", 0.02)
    monkeypatch.setattr(pauses, "REPAIR_SECONDS", 0.1)
    got: list[str] = []

    async def send(document: dict[str, Any]) -> None:
        got.append(f"{document['event']} {document['status']} {document['account']}")

    async def test(node: Node) -> None:
        node.alerts = Alerts("node1", 3.0, frozenset(), tmp_path / "alerts.json", send=send)
        node.agent = node.new_agent()
        node.save("alice")
        node.save("bob")
        async with node.at_work():
            await until(lambda: node.is_settled("alice") and node.is_settled("bob"))
            node.save("bob", state="quarantined", error=REJECTED)
            await until(lambda: got == ["quarantined firing bob"])
            (tmp_path / "tokens/alice.json").write_text("{")
            await asyncio.sleep(0.1)
            node.save("bob")
            await until(lambda: len(got) == 2)
        assert got == ["quarantined firing bob", "quarantined resolved bob"]

    on_a_node(tmp_path, test, ("alice", "bob"))
