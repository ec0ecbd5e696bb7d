# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an account through sequences of bad luck that Hypothesis makes, in a bounded number or for a bounded time.

python tests/unit/support/fuzz_renewals.py --minutes 30
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
from hypothesis import strategies
from renewal_simulation import Simulation
from simulated_provider import DAY, DEFINITE, FRONT_END, LEEWAY, SPOILT

CHUNK = 500

# Each kind is as likely as the others, however many there are of it.
TROUBLES = strategies.one_of(
    strategies.sampled_from([f"{place} {kind}" for place in ("instead", "after") for kind in FRONT_END]),
    strategies.sampled_from(["instead lost", "after lost", "killed-before", "killed-after"]),
    strategies.sampled_from([*(f"instead {kind}" for kind in DEFINITE), "unsent"]),
    strategies.sampled_from([f"spoilt {kind}" for kind in SPOILT]),
    strategies.sampled_from(["locked", "foreign", ""]),
)


def _event(name: str, argument: Any) -> strategies.SearchStrategy[tuple[str, Any]]:
    return strategies.tuples(strategies.just(name), argument)


ATTEMPTS = strategies.tuples(
    strategies.sampled_from(["due", "due", "due", "now", "rejected", "quick", "lift"]),
    strategies.lists(TROUBLES, max_size=3),
    strategies.sampled_from(["", "", "", "captcha", "unreachable", "down"]),
    strategies.sampled_from(["", "", "", "full disk", "crowded", "locked"]),
)
EVENTS = strategies.one_of(
    _event("attempt", ATTEMPTS),
    _event("attempt", ATTEMPTS),
    _event("attempt", ATTEMPTS),
    _event("wait", strategies.sampled_from([1.0, 15.0, 40.0, 1000.0, DAY, 4 * DAY, 11 * DAY])),
    _event("clock", strategies.sampled_from([-30 * DAY, -DAY, -3600.0, 3600.0, DAY, 30 * DAY])),
    _event("errors", strategies.booleans()),
    _event("revoke", strategies.none()),
    _event("salt", strategies.none()),
    _event("breaker", strategies.none()),
    _event("password", strategies.booleans()),
    _event("settings", strategies.none()),
)
# A folder in memory where there is one: these tests wait for no disk.
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a folder of its own is made there


def run_sequences(count: int, *, seed: int, shortest: bool = True) -> int:
    """Run some sequences.

    Args:
        count: how many.
        seed: another one makes other sequences.
        shortest: whether the shortest sequence that fails is looked for.

    Returns:
        How many were run.

    Raises:
        Broken: a promise does not hold; Hypothesis prints the shortest sequence that shows it.
    """
    done = 0

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        print_blob=False,
        phases=[hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if shortest else [])],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(
        strategies.sampled_from(["password", "password", "refresh_token"]),
        strategies.sampled_from([0.0, LEEWAY]),
        strategies.lists(EVENTS, min_size=1, max_size=14),
    )
    def run(kind: str, leeway: float, events: list[tuple[str, Any]]) -> None:
        nonlocal done
        done += 1
        with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch, mock.patch("os.fsync"):
            simulation = Simulation(Path(scratch) / "tokens", kind, leeway)
            try:
                for event in events:
                    simulation.happen(event)
                simulation.recover()
            finally:
                simulation.close()

    run()
    return done


def main() -> int:
    """Run until the time is over; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0, help="the first seed; the next chunk takes the next one")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    done, seed = 0, arguments.seed
    workers = os.cpu_count() or 1
    with ProcessPoolExecutor(workers) as pool:
        while time.monotonic() < end:
            for count in pool.map(_chunk, range(seed, seed + workers)):
                done += count
            seed += workers
            print(
                f"{done} sequences, seeds {arguments.seed} to {seed - 1}: nothing lost, nothing spent twice", flush=True
            )
    return 0


def _chunk(seed: int) -> int:
    return run_sequences(CHUNK, seed=seed)


if __name__ == "__main__":
    sys.exit(main())
