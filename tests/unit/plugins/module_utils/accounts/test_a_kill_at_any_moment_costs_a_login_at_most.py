# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that is really killed, at every call to the system that follows the provider's answer."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from identity_fake import Reply, World

CALLS = ("open", "posix_fallocate", "fchmod", "ftruncate", "fsync", "rename", "unlink", "close", "stat", "listdir")
RECORD = "alice.json"


def _renew_until(world: World, number: int, report: Any) -> None:
    """Renew, and be killed right before a call; tell which calls had returned by then."""
    seen = 0

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*arguments, **options)
            if name == "rename" and arguments[1] == RECORD:
                report.send_bytes(b"renamed")
            return result

        return call

    def answer(fields: dict[str, str]) -> Reply:
        reply = world.provider.handle("POST", "/oauth/token", fields)
        for name in CALLS:
            setattr(os, name, counted(name, getattr(os, name)))
        return reply

    world.provider.answers["POST /oauth/token"] = answer
    world.renew()
    report.send_bytes(b"ended")


def _killed_at(world: World, number: int) -> set[bytes]:
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_renew_until, args=(world, number, writer))
    process.start()
    writer.close()
    said = set()
    try:
        while True:
            said.add(reader.recv_bytes())
    except EOFError:
        process.join(60)
    return said


@pytest.mark.slow
@pytest.mark.parametrize("attempt", ["refresh", "login"])
def test_what_the_provider_delivered_is_there_after_the_first_rename_and_before_it_the_store_says_maybe_spent(
    world: World, attempt: str
) -> None:
    kept = 0
    for number in range(1, 200):
        for file in world.folder.iterdir():
            file.unlink()
        world.provider.answers.clear()
        world.provider.live.clear()
        world.clock.now += 86_400
        if attempt == "refresh":
            world.restart()
            assert world.renew().usable
            world.past_point()
        before = world.store.load("alice")
        said = _killed_at(world, number)
        world.provider.answers.clear()
        after = world.store.load("alice")
        assert after is not None
        assert after.grant is not None or attempt == "login"
        if b"renamed" in said:
            kept += 1
            assert after.grant is not None
            assert after.grant.fate == "unsent"
            assert before is None or after.grant.token != (before.grant and before.grant.token)
        elif attempt == "refresh":
            assert after.grant is not None
            assert after.grant.fate == "maybe_spent"
        # The next process finds its way, and sends nothing twice.
        world.restart()
        world.clock.now += 1000
        outcome = world.renew()
        expected = "none" if b"renamed" in said else "login"
        assert (outcome.action, outcome.usable) == (expected, True)
        if b"ended" in said:
            break
    assert b"ended" in said
    assert kept > 3
    assert number - kept > 3
