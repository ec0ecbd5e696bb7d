# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hold costs: all requests of a node wait for the renewal of its only account; prints numbers, one run.

The provider keeps the renewal back until all requests are held. Their added time is counted from the moment when the
provider had issued the new token to the end of each answer, so it holds nothing of the provider's own time but the chat
answers themselves, which are measured apart.

Run from the repository's root: PYTHONPATH=tests/load:tests/support python tests/load/bench_hold.py [--held 200 1000]
"""

from __future__ import annotations

import argparse
import functools
import sys
import time

from dcta_load import Clients, Question, percentile
from fleet_world import connected_world
from hold_scenes import REFRESH, Scenes, wait_for

NODE = "node1"
# Long enough for a token not to count as old when the provider at last lets it go.
LIFETIME = 24.0
# The policy renews an account twice within 15 minutes because of 401s; whoever measured before has to wait.
REVOCATION_SECONDS = 960
PSS = """
import pathlib, sys
total = 0
for process in sys.argv[1:]:
    for line in pathlib.Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            total += int(line.split()[1])
print(total)
"""


def memory(scenes: Scenes, *processes: str) -> float:
    """Return the memory of some processes of the node in MB, shared pages divided among those who share them."""
    return int(scenes.world.root_text(NODE, "python3", "-", *processes, stdin=PSS)) / 1024


def memories(scenes: Scenes) -> str:
    """Return the memory of agent, gateway and a lane in one line."""
    units = ("dcta-agent.service", "dcta-gateway.service")
    agent, _ignored = scenes.processes(NODE, *units).values()
    gateway = scenes.world.root_text(NODE, "pgrep", "-u", "dcta-gateway").split()
    lane = scenes.replicas(NODE).values()
    sizes = [f"{memory(scenes, *processes):.1f} MB" for processes in ([agent], gateway, list(lane))]
    return f"agent {sizes[0]}, gateway {sizes[1]}, a lane (two replicas) {sizes[2]}"


def answered_alone(scenes: Scenes) -> str:
    """Return what an answer costs when nothing is held."""
    with scenes.load(NODE, [Clients(count=1)], requests=200, seconds=60) as load:
        load.reach(200)
    return f"p50 {load.result.percentile(0.5) * 1000:.1f} ms, p99 {load.result.percentile(0.99) * 1000:.1f} ms"


def renewal_end(scenes: Scenes, account: str) -> float:
    """Return when the provider issued the last token of an account, on the monotonic clock that all share."""
    events = scenes.world.control("/statistics")["events"]
    times: list[float] = [
        event["time"] for event in events if event["event"] == "refreshes" and account in event["email"]
    ]
    return times[-1]


def hold(scenes: Scenes, account: str, count: int) -> bool:
    """Hold so many requests at once, print what is seen, and return whether all were answered right.

    Args:
        scenes: the world.
        account: the only account of the node; its token lives briefly.
        count: how many requests; half of them streams, half over HTTP/2.
    """
    scenes.forget_counts()
    # The one before came late itself, and counts as older than the provider has it.
    wait_for(lambda: scenes.counts("refreshes").get(account), "a renewal that nobody holds back")
    scenes.forget_counts()
    scenes.provider("/hold", account, grants=REFRESH)
    scenes.wait_for_held_refreshes(account)
    # The renewal began before the end of the token, which is when the provider says.
    time.sleep(max(0.0, renewal_end(scenes, account) + LIFETIME + 0.5 - time.monotonic()))
    asked = [Question(f"held-{number}", stream=number % 2 == 1) for number in range(count // 2)]
    bursts = [scenes.burst(NODE, asked, protocol) for protocol in ("http/1.1", "h2")]
    scenes.wait_until_held(NODE, count)
    size = memories(scenes)
    early = sum(burst.answered for burst in bursts)
    released = time.monotonic()
    scenes.provider("/release", account, grants=REFRESH)
    results = [burst.end() for burst in bursts]
    renewed = renewal_end(scenes, account)
    added = [ended - renewed for result in results for ended in result.ended]
    failed = sum(result.failed for result in results)
    renewals = scenes.counts("refreshes").get(account, 0)
    shares = ", ".join(f"p{share * 100:g} {percentile(added, share) * 1000:.0f} ms" for share in (0.5, 0.99, 1))
    print(f"held at once: {count} ({early} answered before the renewal), failed: {failed}, renewals: {renewals}")
    print(f"  added after the provider had issued the token: {shares} (that took {(renewed - released) * 1000:.0f} ms)")
    print(f"  memory meanwhile: {size}", flush=True)
    for result in results:
        for reason in result.reasons:
            print(f"  {reason}")
    return failed == 0 and early == 0 and renewals == 1


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure the hold.")
    parser.add_argument("--held", type=int, nargs="+", default=[200, 1000], help="requests at once (default 200 1000)")
    arguments = parser.parse_args()
    with connected_world() as world:
        scenes = Scenes(world)
        [account] = scenes.accounts(NODE)
        scenes.calm()
        print(f"nothing held: an answer takes {answered_alone(scenes)}; memory: {memories(scenes)}", flush=True)
        try:
            scenes.provider("/lifetimes", account, access_token=LIFETIME)
            scenes.renew_all(NODE, seconds=REVOCATION_SECONDS)
            good = all(list(map(functools.partial(hold, scenes, account), arguments.held)))
        finally:
            scenes.calm()
            wait_for(lambda: scenes.counts("refreshes").get(account), "the next renewal", 2 * LIFETIME)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
