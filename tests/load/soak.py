# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens of a minute under steady load on all nodes of the world, for minutes: no request may fail, no account log in.

Run from the repository's root: PYTHONPATH=tests/load:tests/support python tests/load/soak.py [--seconds 600]
"""

from __future__ import annotations

import argparse
import sys
import time

from dcta_load import Clients
from fleet_world import connected_world
from hold_scenes import Scenes, wait_for

GROUPS = (Clients(count=8, pause=0.1), Clients(count=8, pause=1.5), Clients(count=8, protocol="h2", pause=0.1))
REPORT_SECONDS = 60
# The policy renews an account twice within 15 minutes because of 401s; whoever measured before has to wait.
REVOCATION_SECONDS = 960


def soak(scenes: Scenes, seconds: float, lifetime: float) -> bool:
    """Load all nodes while tokens live briefly, and print what is seen.

    Args:
        scenes: the world.
        seconds: how long.
        lifetime: of a token, in seconds.

    Returns:
        Whether no request failed and no account logged in.
    """
    accounts = [account for node in scenes.world.nodes for account in scenes.renewable(node)]
    scenes.calm()
    try:
        for account in accounts:
            scenes.provider("/lifetimes", account, access_token=lifetime)
        print("Renewing every account; one that was renewed twice within 15 minutes has to wait for that", flush=True)
        scenes.renew_all(*scenes.world.nodes, seconds=REVOCATION_SECONDS)
        scenes.forget_counts()
        loads = {node: scenes.load(node, GROUPS, requests=200_000, seconds=seconds) for node in scenes.world.nodes}
        started = time.monotonic()
        for load in loads.values():
            load.__enter__()
        while time.monotonic() < started + seconds:
            time.sleep(min(REPORT_SECONDS, max(0.1, started + seconds - time.monotonic())))
            sent = sum(load.result.sent for load in loads.values())
            failed = sum(load.result.failed for load in loads.values())
            refreshes = sum(scenes.counts("refreshes").values())
            print(
                f"{time.monotonic() - started:4.0f} s: {sent} sent, {failed} failed, {refreshes} refreshes", flush=True
            )
        results = {node: load.stop() for node, load in loads.items()}
        for node, result in results.items():
            print(f"{node}: {result}")
        refreshes_of, logins, refused = scenes.counts("refreshes"), scenes.counts("logins"), scenes.refused()
        print(f"refreshes: {refreshes_of}; logins: {logins or 'none'}; requests that the service refused: {refused}")
        renewed = set(refreshes_of) == set(accounts)
    finally:
        # What lives briefly is replaced by itself, and then lives long.
        scenes.calm()
        wait_for(
            lambda: set(scenes.counts("refreshes")) >= set(accounts), "the next renewal of each account", 2 * lifetime
        )
    return renewed and not logins and not any(result.failed for result in results.values())


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(description="Tokens of a minute under steady load.")
    parser.add_argument("--seconds", type=float, default=600, help="how long (default 600, at most 900)")
    parser.add_argument("--lifetime", type=float, default=60, help="lifetime of a token in seconds (default 60)")
    arguments = parser.parse_args()
    with connected_world() as world:
        good = soak(Scenes(world), arguments.seconds, arguments.lifetime)
    print("ok" if good else "failed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
