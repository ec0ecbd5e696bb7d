# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the hold do to a world: load on a node, and everything that may happen to it meanwhile."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from dcta_load import Clients, Load, Question, Result, Target
from fleet_world import Node, Run, World

# An account that only these tests know, so that node2 has three that can renew.
EXTRA = "erin"
# carol has nothing but a token by hand, which cannot be revoked and come back.
LEFT_OUT = "carol"
ENOUGH = 2000
WAIT_SECONDS = 60.0

# Tests revoke far more often than the policy allows; its defaults are asserted with the library.
LIMITS = {
    "login_gap": 0,
    "login_gap_random": 0,
    "login_interval": 0,
    "login_submissions": 100,
    "rejection_debounce": 0,
    "rejection_fresh": 0,
    "rejection_renewals": 1000,
    "mandatory_backoff": 1,
    "mandatory_backoff_cap": 2,
    "breaker_accounts": 0,
}
HOLD_SECONDS = 12
REST_SECONDS = 3
REFRESH = ["refresh_token"]
# A run of site.yml must have room beside it.
STEADY = (Clients(count=4, pause=0.5), Clients(count=4, pause=1.2), Clients(count=4, protocol="h2", pause=0.5))
MIXED = (Clients(count=4), Clients(count=6, pause=0.4), Clients(count=6, protocol="h2"))

LANE_RUNNER = """
import json, sys
sys.path.insert(0, "/usr/local/lib/dcta")
from dcta_library.lane_runner import LaneRunner
print(json.dumps(LaneRunner().ask(*sys.argv[1:3])))
"""


@dataclass
class FirstRun:
    """What the run that brought the settings of these tests was seen to do.

    Attributes:
        settings: what was set.
        run: the run.
        processes_before: the main process of each replica before it, by node.
        processes_after: the same after it.
        new_key: the API key that was added.
        certificate: the new certificate.
        links_led_nowhere: whether root touched nothing through the links that were planted before it.
    """

    settings: dict[str, Any] = field(repr=False)
    run: Run
    processes_before: dict[str, dict[str, str]]
    processes_after: dict[str, dict[str, str]]
    new_key: str = field(repr=False)
    certificate: str
    links_led_nowhere: bool


def container_of(unit: str) -> str:
    """Return the name of the container that a replica's unit runs in docker mode."""
    return unit.removesuffix(".service").replace("@", "-")


def wait_for(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait until something holds.

    Args:
        condition: is asked again and again.
        what: what is waited for, for the message.
        seconds: the longest wait.

    Raises:
        AssertionError: it did not come.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)


class Burst:
    """Questions that are all sent at once and answered in the background."""

    def __init__(self, load: Load, asked: Sequence[Question], protocol: Any) -> None:
        self._load = load
        self._thread = threading.Thread(target=lambda: asyncio.run(load.burst(asked, protocol)), daemon=True)
        self._thread.start()

    def end(self) -> Result:
        """Wait for the answers."""
        self._thread.join()
        return self._load.result

    @property
    def answered(self) -> int:
        """How many answers came so far."""
        return self._load.result.ok + self._load.result.failed


@dataclass
class Scenes:
    """A world with load on it.

    Attributes:
        world: the world.
        settings: what differs from the inventory while these tests run.
        baseline: counters of the provider that count as 0.
    """

    world: World
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    baseline: dict[str, dict[str, int]] = field(default_factory=dict, repr=False)

    # ---- load ----

    def target(self, node: str) -> Target:
        """Return where a node's gateway listens."""
        place: Node = self.world.nodes[node]
        return Target(
            place.address,
            place.port,
            key=self.world.api_key,
            authority=self.world.state / "ca/ca.crt",
            inventory=self.world.root / "inventories/demo/hosts.yml",
        )

    def load(
        self, node: str, groups: Sequence[Clients] = MIXED, *, requests: int = 20_000, seconds: float = 120
    ) -> Load:
        """Return a load on a node that has not begun yet."""
        return Load(self.target(node), groups, requests=requests, seconds=seconds)

    def burst(self, node: str, asked: Sequence[Question], protocol: str = "http/1.1") -> Burst:
        """Send questions to a node, all at once, in the background."""
        return Burst(self.load(node), asked, protocol)

    @contextmanager
    def loaded(self, *nodes: str, groups: Sequence[Clients] = MIXED, enough: int = ENOUGH) -> Iterator[list[Load]]:
        """Load nodes while something happens, and until there were enough requests; none of them may fail.

        Args:
            nodes: their names.
            groups: the clients of each.
            enough: the requests that must be sent altogether.
        """
        loads = [self.load(node, groups, seconds=400) for node in nodes]
        for load in loads:
            load.__enter__()
        try:
            for load in loads:
                load.reach(200)
            yield loads
            for load in loads:
                load.reach(enough // len(loads) + 1)
        finally:
            results = [load.stop() for load in loads]
        for node, result in zip(nodes, results, strict=True):
            print(f"{node}: {result}")
        assert_none_failed(*results, enough=enough)

    # ---- the provider ----

    def provider(self, request: str, account: str = "", **body: Any) -> dict[str, Any]:
        """Ask the control API, about one account or all."""
        named = {"email": f"{account}@example.org"} if account else {}
        return self.world.control(request, **named, **body)

    def calm(self) -> None:
        """Bring switches, holds, lifetimes and counters of the provider back to the start; tokens stay as they are."""
        self.world.control("/reset", tokens=False)
        self.baseline = {}
        for account in self.settings.get("dcta_accounts", []):
            if account["name"] == EXTRA:
                self.world.control("/users", email=account["email"], password=account["password"])

    def counts(self, counter: str) -> dict[str, int]:
        """Return one of the provider's counters since the calm, of all accounts for which it is above 0."""
        now = self.world.control("/statistics")["accounts"]
        grown = {
            email: counters[counter] - self.baseline.get(email, {}).get(counter, 0) for email, counters in now.items()
        }
        return {email.partition("@")[0]: count for email, count in grown.items() if count}

    def forget_counts(self) -> None:
        """Begin all counters at 0, with everything else as it is."""
        self.baseline = self.world.control("/statistics")["accounts"]

    def chats(self, node: str) -> Counter[str]:
        """Return how many chats the service has answered so far, by account of a node."""
        seen = self.world.control("/statistics")["accounts"]
        return Counter(
            {
                account: sum(seen.get(f"{account}@example.org", {}).get("chat", {}).values())
                for account in self.accounts(node)
            }
        )

    def refused(self) -> int:
        """Return how many chat requests since the calm the service answered with another status than 200."""

        def count(accounts: Mapping[str, Any]) -> int:
            chats = [counters["chat"] for counters in accounts.values()]
            return sum(number for chat in chats for status, number in chat.items() if status != "200")

        return count(self.world.control("/statistics")["accounts"]) - count(self.baseline)

    @contextmanager
    def provider_out_of_reach(self, node: str) -> Iterator[None]:
        """Let a node's connections to the identity provider be refused."""
        address = self.world.variables("provider")["ansible_host"]
        table = "\n".join(
            [
                "table inet test {",
                "chain output {",
                "type filter hook output priority 0;",
                f"ip daddr {address} tcp dport 443 reject with tcp reset",
                "}",
                "}",
            ]
        )
        self.world.root_run(node, "nft", "-f", "-", stdin=f"{table}\n".encode())
        try:
            yield
        finally:
            self.world.root_run(node, "nft", "delete", "table", "inet", "test")

    def waiting(self) -> dict[str, int]:
        """Return how many refreshes of which e-mail address the provider holds back."""
        found: dict[str, int] = self.world.control("/statistics")["waiting"]["refresh_token"]
        return found

    def wait_for_held_refreshes(self, *accounts: str) -> None:
        """Wait until exactly one refresh of each of these accounts waits at the provider."""
        wanted = {f"{account}@example.org": 1 for account in accounts}
        wait_for(lambda: self.waiting() == wanted, f"one refresh each of {', '.join(accounts)}")

    def renewable(self, node: str) -> list[str]:
        """Return the accounts of a node that can get a new token by themselves."""
        accounts = self.settings.get("dcta_accounts", self.world.vault["dcta_accounts"])
        here = self.accounts(node)
        return [account["name"] for account in accounts if account["name"] in here and "password" in account]

    def renew_all(self, *nodes: str, seconds: float = WAIT_SECONDS) -> None:
        """Let every account of some nodes have a token of now.

        Args:
            nodes: their names.
            seconds: the longest wait for one account.
        """
        for node in nodes:
            for account in self.renewable(node):
                before = self.counts("refreshes").get(account, 0)
                self.provider("/revoke", account)

                def renewed(name: str = account, count: int = before, place: str = node) -> bool:
                    # While the only account of a node waits the answer does as well.
                    with suppress(httpx.TimeoutException):
                        return self.answer(place).status_code == 200 and self.counts("refreshes").get(name, 0) > count
                    return False

                wait_for(renewed, f"the renewal of {account}", seconds)
            self.wait_until_good(node)

    # ---- nodes ----

    @property
    def in_containers(self) -> bool:
        """Say whether the nodes are in docker mode while these tests run."""
        return self.settings.get("dcta_mode") == "docker"

    def accounts(self, node: str) -> list[str]:
        """Return the names of a node's accounts."""
        return sorted(self.world.lanes(node))

    def processes(self, node: str, *units: str) -> dict[str, str]:
        """Return the main process of each unit."""
        ids = self.world.root_text(node, "systemctl", "show", "--property=MainPID", "--value", *units).split()
        return dict(zip(units, ids, strict=True))

    def wait_for_new_process(self, node: str, unit: str, old: str) -> None:
        """Wait until a unit has another main process than before."""
        wait_for(lambda: self.processes(node, unit)[unit] not in (old, "0"), f"another process of {unit}")

    def programs(self, node: str) -> list[str]:
        """Return what each replica of a node runs: the program's path, or the image of its container."""
        replicas = self.replicas(node)
        if self.in_containers:
            inspect = ["docker", "inspect", "--format={{.Config.Image}}", *map(container_of, replicas)]
            return self.world.root_text(node, *inspect).splitlines()
        paths = [f"/proc/{process}/exe" for process in replicas.values()]
        return self.world.root_text(node, "readlink", *paths).splitlines()

    def kill(self, node: str, *units: str, signal: str = "KILL") -> None:
        """Send a signal to the main process of each unit; to the program itself where a container is around it."""
        if self.in_containers and units[0].startswith("dcta-api-"):
            self.world.root_run(node, "docker", "kill", f"--signal={signal}", *map(container_of, units))
        else:
            self.world.root_run(node, "systemctl", "kill", "--kill-who=main", f"--signal={signal}", *units)

    def all_run(self, node: str) -> bool:
        """Say whether all replicas of a node are ready."""
        states = self.world.root_run(node, "systemctl", "is-active", *self.replicas(node), check=False).stdout.split()
        return set(states) == {b"active"}

    def replicas(self, node: str) -> dict[str, str]:
        """Return the main process of each replica of a node."""
        units = [f"dcta-api-{replica}@{account}.service" for account in self.accounts(node) for replica in "ab"]
        return self.processes(node, *units)

    def lane_runner(self, node: str, operation: str, lane: str) -> dict[str, Any]:
        """Ask a node's lane runner through its socket."""
        answer: dict[str, Any] = json.loads(
            self.world.root_text(node, "python3", "-", operation, lane, stdin=LANE_RUNNER)
        )
        return answer

    def reboot(self, node: str) -> None:
        """Restart a node's container."""
        address = self.world.nodes[node].address
        running = subprocess.run(["docker", "ps", "--quiet"], capture_output=True, text=True, check=True).stdout.split()
        inspect = ["docker", "inspect", *running]
        found = json.loads(subprocess.run(inspect, capture_output=True, text=True, check=True).stdout)
        [container] = [
            one["Id"]
            for one in found
            if address in {network["IPAddress"] for network in one["NetworkSettings"]["Networks"].values()}
        ]
        subprocess.run([*self.world.ssh(node)[:-1], "-O", "exit", node], capture_output=True, check=False)
        subprocess.run(["docker", "restart", "--time=30", container], capture_output=True, check=True)
        ping = [*self.world.ssh(node), "true"]
        wait_for(lambda: subprocess.run(ping, capture_output=True, check=False).returncode == 0, f"{node} again")

    def wait_until_good(self, node: str) -> None:
        """Wait until all replicas of a node run and its gateway answers."""
        wait_for(lambda: self.all_run(node), f"all replicas of {node}")
        wait_for(lambda: self.answer(node).status_code == 200, f"an answer of {node}")

    def wait_until_held(self, node: str, requests: int) -> None:
        """Wait until so many requests wait at a node's agent, or in its socket."""

        def held() -> int:
            # Field 6 is the state: 03 connected, 02 the same while nobody has accepted it yet (af_unix.c of Linux).
            lines = self.world.root_text(node, "cat", "/proc/net/unix").splitlines()
            ours = [line for line in lines if line.endswith(" /run/dcta/agent.sock")]
            return sum(line.split()[5] in ("02", "03") for line in ours)

        wait_for(lambda: held() >= requests, f"{requests} held requests")

    def answer(self, node: str) -> httpx.Response:
        """Ask a node one short question."""
        body = {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Say hello"}]}
        headers = {"Authorization": f"Bearer {self.world.api_key}"}
        with self.world.browser() as browser:
            return browser.post(f"{self.world.nodes[node].url}/chat/completions", json=body, headers=headers)


def assert_none_failed(*results: Result, enough: int = 0) -> None:
    """Assert that no request failed, that there were enough, and that half of them were streams."""
    lines = "\n".join(str(result) for result in results)
    assert sum(result.failed for result in results) == 0, lines
    sent = sum(result.sent for result in results)
    assert sent >= enough, lines
    assert 0.4 * sent < sum(result.streams for result in results) < 0.6 * sent, lines


def fresh_secret() -> str:
    """Return a random text that is good as a password and as an API key."""
    return secrets.token_hex(24)
