# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that is really full, a process that is killed while it writes, a clock that jumps."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import Record
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from identity_fake import EMAIL, Reply, World, me

DAY = 86_400.0
Full = contextlib.AbstractContextManager[None]


@pytest.fixture(params=["a small disk", "a limit of the file size"])
def full(request: pytest.FixtureRequest, world: World) -> Iterator[Callable[[], Full]]:
    """Return what makes the store's disk full for a while; the records themselves stay."""
    if request.param == "a limit of the file size":

        @contextlib.contextmanager
        def limited() -> Iterator[None]:
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)

        yield limited
        return
    options = f"size=128k,mode=0700,uid={os.geteuid()}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(world.folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root of a machine of its own may mount a small disk")

    @contextlib.contextmanager
    def filled() -> Iterator[None]:
        filler = world.folder / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(512))
        try:
            yield
        finally:
            filler.unlink()

    with Store(str(world.folder), me(), sleep=world.clock.sleep) as store:
        world.store = world.renewer.store = store
        yield filled
    subprocess.run(["umount", str(world.folder)], check=True)


def test_a_full_disk_is_one_sentence_and_costs_no_token(world: World, full: Callable[[], Full]) -> None:
    world.renew()
    before = (world.folder / "alice.json").read_bytes()
    world.past_point()
    with full():
        for _ignored in range(3):
            outcome = world.renew()
            assert (outcome.error_class, outcome.usable, outcome.action) == ("store_error", True, "none")
            assert outcome.message.count(". ") == 0
            assert outcome.message.endswith((": No space left on device.", ": File too large."))
            assert "free disk space" in outcome.cure
            assert outcome.next_renewal == world.clock.now + Limits().mandatory_backoff
    assert world.provider.refreshes == 0
    assert (world.folder / "alice.json").read_bytes() == before
    assert world.renew().action == "refresh"


def test_a_disk_that_fills_up_while_the_provider_answers_costs_nothing_and_one_that_is_cut_off_a_login(
    world: World, full: Callable[[], Full], request: pytest.FixtureRequest
) -> None:
    in_use = world.renew().token_fingerprint
    world.past_point()
    has_room = "small disk" in request.node.name
    with contextlib.ExitStack() as disk:

        def fill(fields: dict[str, str]) -> Reply:
            disk.enter_context(full())
            return world.provider.handle("POST", "/oauth/token", fields)

        world.provider.answers["POST /oauth/token"] = fill
        outcome = world.renew()
        assert outcome.usable
        assert (outcome.error_class, outcome.token_fingerprint == in_use) == (
            (None, False) if has_room else ("store_error", True)
        )
    world.provider.answers.clear()
    world.restart()
    world.past_point()
    assert world.renew().action == ("refresh" if has_room else "login")
    assert world.provider.tokens.reuses == 0


def test_a_first_login_on_a_full_disk_sends_no_password(world: World, full: Callable[[], Full]) -> None:
    with full():
        assert world.renew().error_class == "store_error"
    assert world.provider.passwords_seen == []
    assert world.renew().usable


def _records() -> tuple[Record, Record]:
    return (
        Record(name="alice", state="valid", access_token="planted-1" * 400, refresh_token="planted-refresh-1"),
        Record(name="alice", state="valid", access_token="planted-2" * 900, refresh_token="planted-refresh-2"),
    )


def _write_on_and_on(folder: str) -> None:
    with Store(folder, me()) as store:
        while True:
            for record in _records():
                store.save(record)


def test_a_writer_that_is_killed_at_any_moment_leaves_a_whole_record(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    chance = random.Random(11)  # noqa: S311 - a test has to repeat itself
    context = multiprocessing.get_context("fork")
    with Store(str(tmp_path), me()) as store:
        store.save(_records()[0])
        for _ignored in range(40):
            writer = context.Process(target=_write_on_and_on, args=(str(tmp_path),))
            writer.start()
            time.sleep(chance.uniform(0.002, 0.03))
            writer.kill()
            writer.join()
            assert store.load("alice") in _records()
        store.save(_records()[1])
        assert store.load("alice") == _records()[1]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["alice.json"]


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_half_written_record_costs_one_login_and_is_kept_for_the_operator(world: World, part: float) -> None:
    world.renew()
    file = world.folder / "alice.json"
    whole = file.read_text()
    file.write_text(whole[: int(part * len(whole))])
    world.clock.now += 1000
    outcome = world.renew()
    assert (outcome.action, outcome.usable) == ("login", True)
    assert whole.startswith((world.folder / "alice.json.damaged").read_text())
    world.past_point()
    assert world.renew().action == "refresh"


def test_what_a_crash_left_half_written_beside_the_record_is_ignored(world: World) -> None:
    token = world.renew().token_fingerprint
    (world.folder / ".alice.json.tmp").write_text('{"version": 1, "name": "alice", "access_to')
    world.restart()
    assert world.renew().token_fingerprint == token
    world.past_point()
    assert world.renew().action == "refresh"
    assert not (world.folder / ".alice.json.tmp").exists()


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_clock_that_jumps_a_day_and_back_keeps_a_good_token_in_use(world: World, jump: float) -> None:
    world.renew()
    for step in (jump, -jump, jump, -jump):
        world.clock.now += step
        assert world.renew().usable
        assert world.renew().action == "none"
    assert world.provider.logins == 1
    assert world.provider.refreshes <= 4


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_clock_that_jumps_a_day_brings_no_rejected_password_out_again(world: World, jump: float) -> None:
    world.give(email=EMAIL, password="wrong")
    world.renew()
    for step in (jump, -jump, -jump):
        world.clock.now += step
        assert world.renew().state == "quarantined"
    assert world.provider.passwords_seen == ["wrong"]


def test_a_clock_set_back_a_day_frees_no_budget_and_benches_nobody_for_longer_than_a_day(world: World) -> None:
    world.provider.answers["POST /oauth/token"] = Reply(500)
    for _ignored in range(3):
        while world.renew().action != "login":
            world.past_point()
    world.clock.now -= DAY
    for _ignored in range(20):
        world.renew()
        world.clock.now += 60
    assert len(world.provider.passwords_seen) == 3
    world.provider.answers.clear()
    world.clock.now += DAY
    world.renew()
    assert len(world.provider.passwords_seen) == 3
    world.clock.now += DAY
    assert world.renew().usable
    assert len(world.provider.passwords_seen) == 4


def test_a_clock_that_is_behind_for_a_while_opens_no_budget(world: World) -> None:
    world.provider.answers["POST /oauth/token"] = Reply(500)
    for _ignored in range(3):
        while world.renew().action != "login":
            world.past_point()
    world.clock.now -= 365 * DAY
    world.renew()
    world.clock.now += 365 * DAY
    for _ignored in range(20):
        world.renew()
        world.clock.now += 60
    assert len(world.provider.passwords_seen) == 3


def test_a_clock_set_back_a_day_lets_the_next_login_of_the_node_wait_for_one_gap_at_most(world: World) -> None:
    world.renew()
    world.clock.now -= DAY
    world.give(email=EMAIL, password="other")
    world.store.remove("alice")
    assert world.renew().action == "login"
    assert sum(world.clock.slept) <= Limits().longest_gap
