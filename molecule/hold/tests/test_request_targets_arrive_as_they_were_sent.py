# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile but legal request targets (RFC 3986, RFC 9112 section 3.2) reach the program byte for byte, on every way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dcta_load import Question
from hold_scenes import REFRESH, Burst, Scenes, assert_none_failed

NODE = "node1"
FLAG = "/run/dcta/gateway/draining"
ROUNDS = 25

# Those that the program, which decodes them, takes for a chat completion.
COMPLETIONS = (
    "/v1/chat/completions",
    "/v1/chat/completions?",
    "/v1/chat/completions??",
    "/v1/chat/completions?a=b&c=%20d&a=",
    "/v1/chat/completions?x=%0a%0dX-Header:%20y",
    "/v1/chat/completions?q=a/../b/./c//d",
    "/v1/chat/completions?u=https://user@example.org:1/%23#".rstrip("#"),
    "/v1/chat%2Fcompletions",
    "/v1/%63hat/completion%73",
    "/v1/chat%2fcompletions?%25",
)
OTHERS = (
    "/v1/chat//completions",
    "/v1/./chat/completions",
    "/v1/x/../chat/completions",
    "/v1/chat/%2e%2e/completions",
    "/v1/chat/completions%0a",
    "/v1/chat/%0d%0aX-Header:%20y/completions",
    "/v1/chat/completions/",
    "/v1/chat/completions;v=1",
    "/v1/chat/%252e%252e/%2500",
    "/v1/caf%C3%A9/%F0%9F%90%98",
    "/v1/$&'()*+,;=:@!~-._",
)


def asked(label: str, targets: tuple[str, ...] = COMPLETIONS + OTHERS) -> list[Question]:
    """Return a question for each target, half of them for streams."""
    return [
        Question(f"{label}-{number}", stream=(number + turn) % 2 == 1, target=target, known=target in COMPLETIONS)
        for turn in range(2)
        for number, target in enumerate(targets)
    ]


def end(bursts: list[Burst]) -> None:
    results = [burst.end() for burst in bursts]
    assert_none_failed(*results)
    assert all(result.ok for result in results)


@pytest.fixture
def draining(scenes: Scenes) -> Iterator[None]:
    """The gateway as it is before a reload."""
    scenes.world.root_run(NODE, "touch", FLAG)
    yield
    scenes.world.root_run(NODE, "rm", "-f", FLAG)


def send(scenes: Scenes, label: str, targets: tuple[str, ...] = COMPLETIONS + OTHERS) -> list[Burst]:
    return [scenes.burst(NODE, asked(label, targets), protocol) for protocol in ("http/1.1", "h2")]


def through_a_dead_lane(scenes: Scenes) -> None:
    """Send all targets while nobody listens, so that each goes through the hold."""
    before = scenes.replicas(NODE)
    scenes.kill(NODE, *before)
    end(send(scenes, "dead"))
    for unit, process in before.items():
        scenes.wait_for_new_process(NODE, unit, process)


def through_a_renewal(scenes: Scenes) -> None:
    """Send those that reach the chat service while the token is revoked, so that each goes through the hold."""
    [account] = scenes.accounts(NODE)
    scenes.provider("/hold", account, grants=REFRESH)
    scenes.provider("/revoke", account)
    bursts = send(scenes, "revoked", COMPLETIONS)
    scenes.wait_for_held_refreshes(account)
    scenes.wait_until_held(NODE, 4 * len(COMPLETIONS))
    scenes.provider("/release", account, grants=REFRESH)
    end(bursts)


def test_there_are_21_targets() -> None:
    assert len({*COMPLETIONS, *OTHERS}) == 21


def test_targets_arrive_as_they_were_sent(scenes: Scenes) -> None:
    end([burst for number in range(ROUNDS) for burst in send(scenes, f"direct-{number}")])


def test_targets_arrive_as_they_were_sent_through_the_hold(scenes: Scenes) -> None:
    through_a_dead_lane(scenes)
    through_a_renewal(scenes)


@pytest.mark.usefixtures("draining")
def test_targets_arrive_as_they_were_sent_while_draining(scenes: Scenes) -> None:
    end(send(scenes, "draining"))
    through_a_dead_lane(scenes)
    through_a_renewal(scenes)
