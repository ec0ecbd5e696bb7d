# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet whose release changes under load: who deploys it, and what is seen of its accounts before and after."""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet_world import Run, World
from hold_scenes import STEADY, Scenes, fresh_secret, wait_for

# What docs/upgrading.md tells the operator to type.
BACKUP = "ansible-playbook playbooks/backup_tokens.yml -i inventories/prod --ask-vault-pass"
CHECK = "ansible-playbook site.yml -i inventories/prod --ask-vault-pass --check --diff"
DEPLOY = "ansible-playbook site.yml -i inventories/prod --ask-vault-pass"
LOOK = "ansible dcta_nodes -i inventories/prod --ask-vault-pass --become -m dcta.fleet.account_info"
# A test has an inventory and a vault password of its own.
OWN = {"-i", "inventories/prod", "--ask-vault-pass"}

# Beside the accounts of the vault there is one in each kind of trouble.
WRONG_PASSWORD, AWAY, CAPTCHA = "mallory", "wendy", "carl"
NODE_OF = {WRONG_PASSWORD: "node1", CAPTCHA: "node1", AWAY: "node2"}
TROUBLE = {WRONG_PASSWORD: "quarantined", AWAY: "waiting", CAPTCHA: "needs_operator"}
# Of the vault's accounts one has tokens that live a minute, one is renewed by the tests, and of one a refresh is open.
SHORT_LIVED, RENEWED, OPEN = "alice", "bob", "dave"
SHORT_SECONDS = 60.0
AWAY_SECONDS = 7200
# The tests report 401s more often than the policy allows.
LIMITS = {
    "login_gap": 0,
    "login_gap_random": 0,
    "rejection_debounce": 0,
    "rejection_fresh": 0,
    "rejection_renewals": 99,
}

TOKENS = "/var/lib/dcta/tokens"
CODE = "/usr/local/lib/dcta"
# What a release hands over of an account.
BUDGET = {"state", "submissions", "code_step", "supplied_access", "rejected_login"}
TOKEN = {"access_token", "refresh_token", "expires_at", "not_before", "refresh_sent_at", "rejected_token"}
READ = "import glob, json; print(json.dumps({file[:-5]: json.load(open(file)) for file in glob.glob('*.json')}))"
# An installed release writes every record once; by itself it writes those that change.
REWRITE = """
import sys
sys.path.insert(0, "/usr/local/lib/dcta")
from dcta_library.accounts.store import Store
with Store("/var/lib/dcta/tokens", "dcta-agent") as store:
    for name in store.names():
        with store.lock(name, 60):
            store.save(store.load(name))
"""
SEND = """
import json, sys, time
with open(sys.argv[1], "r+") as file:
    record = json.load(file)
    file.seek(0)
    json.dump({**record, "refresh_sent_at": time.time()}, file)
    file.truncate()
"""


@dataclass(frozen=True)
class Operator:
    """Somebody who has a release and types what docs/upgrading.md says.

    Attributes:
        world: the world, whose inventory and secrets they use.
        tree: the release.
    """

    world: World
    tree: Path

    def enter(self, line: str, settings: Mapping[str, Any] | None = None) -> Run:
        """Run a line of the page.

        Args:
            line: the line.
            settings: variables that go before those of the inventory.

        Returns:
            What it did.
        """
        world = copy.copy(self.world)
        collections = f"{self.tree / 'collections'}:{world.state / 'collections'}"
        world.environment = {
            **world.environment,
            "ANSIBLE_CONFIG": str(self.tree / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": collections,
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        }
        program, *words = (word for word in shlex.split(line) if word not in OWN)
        arguments = [str(self.tree / word) if word.endswith(".yml") else word for word in words]
        return world.playbook(*arguments, settings=settings, program=program)

    def accounts(self) -> dict[str, dict[str, Any]]:
        """Return how every account is, as module account_info says."""
        run = self.enter(LOOK)
        assert run.status == 0, run.tail
        answers = re.findall(r"^\S+ \| SUCCESS => (\{.*?^\})", run.text, re.MULTILINE | re.DOTALL)
        return {account["name"]: account for answer in answers for account in json.loads(answer)["accounts"]}


@dataclass(frozen=True)
class Seen:
    """What is to be seen of the fleet at a moment.

    Attributes:
        accounts: how each account is, by name.
        records: what the store holds of it.
        counts: what the provider counted of it, by counter and name.
        families: the families of refresh tokens that the provider knows of it.
        code: the digest of every program file, by node and path.
        units: the units that start at boot, by node.
    """

    accounts: dict[str, dict[str, Any]]
    records: dict[str, dict[str, Any]] = field(repr=False)
    counts: dict[str, dict[str, int]]
    families: dict[str, set[str]]
    code: dict[str, dict[str, str]] = field(repr=False)
    units: dict[str, set[str]]

    def condition(self, account: str) -> tuple[Any, ...]:
        """Return how an account is, without times."""
        return tuple(self.accounts[account][key] for key in ("kind", "state", "usable", "error_class"))


@dataclass(frozen=True)
class Move:
    """A release that follows another one under load.

    Attributes:
        run: the run of site.yml.
        sent: how many requests were sent meanwhile.
        failed: how many of them were not answered right.
        before: what was seen before.
        after: what was seen when the release had renewed accounts and written every record.
    """

    run: Run
    sent: int
    failed: int
    before: Seen
    after: Seen

    def differing(self, account: str, keys: set[str]) -> list[str]:
        """Return which values of an account's record are not what they were, by name: some are secret."""
        before, after = self.before.records[account], self.after.records[account]
        return sorted(key for key in keys if before.get(key) != after.get(key))


class Fleet:
    """The world's nodes, and accounts that are well or in each kind of trouble.

    Args:
        world: the world.
        docker_node: the node that is in docker mode.
    """

    def __init__(self, world: World, docker_node: str) -> None:
        self.world = world
        self.docker_node = docker_node
        self.inventory = {"dcta_mode": f"{{{{ 'docker' if inventory_hostname == '{docker_node}' else 'native' }}}}"}
        own = [{"name": name, "email": f"{name}@example.org", "node": node} for name, node in NODE_OF.items()]
        self.accounts = [{**account, "password": fresh_secret()} for account in own]
        everybody = [*world.vault["dcta_accounts"], *self.accounts]
        self.settings = {**self.inventory, "dcta_accounts": everybody, "dcta_limits": LIMITS}
        self.scenes = Scenes(world, self.settings)

    def prepare_provider(self) -> None:
        """Let the provider know the accounts, and refuse each in its way."""
        scenes = self.scenes
        scenes.calm()
        for account in self.accounts:
            wrong = account["name"] == WRONG_PASSWORD
            password = fresh_secret() if wrong else account["password"]
            self.world.control("/users", email=account["email"], password=password)
        away = {"kind": "unavailable", "retry_after": AWAY_SECONDS}
        scenes.provider("/switches", AWAY, switches={"identifier_answer": away})
        scenes.provider("/switches", CAPTCHA, switches={"captcha": "identifier"})

    def prepare_accounts(self) -> None:
        """Bring the accounts of the vault where tests need them: tokens that end soon, a refresh without an answer."""
        self.scenes.provider("/lifetimes", SHORT_LIVED, access_token=SHORT_SECONDS)
        for account in (SHORT_LIVED, RENEWED):
            self.renew(account)
        node = self.node_of(OPEN)
        self.world.stop_agent(node)
        self.world.root_run(node, "python3", "-", f"{TOKENS}/{OPEN}.json", stdin=SEND.encode())
        self.world.start_agent(node)

    def node_of(self, account: str) -> str:
        """Return where an account lives."""
        return next(node for node in self.world.nodes if account in self.scenes.accounts(node))

    def containers(self, node: str) -> int:
        """Return how many containers a node runs."""
        return int(self.world.root_text(node, "sh", "-c", "docker ps --quiet 2>/dev/null | wc -l"))

    def renewals(self, account: str) -> int:
        """Return how often an account was renewed."""
        return self.scenes.counts("refreshes").get(account, 0)

    def renew(self, account: str) -> None:
        """Revoke an account's token and wait until requests have brought it a new one."""
        node, before = self.node_of(account), self.renewals(account)
        self.scenes.provider("/revoke", account)
        wait_for(
            lambda: self.scenes.answer(node).status_code == 200 and self.renewals(account) > before,
            f"the renewal of {account}",
        )

    def look(self, operator: Operator) -> Seen:
        """See how everything is, with the eyes of somebody who has a release."""
        world, records, families = self.world, {}, defaultdict(set)
        accounts = operator.accounts()
        for node in world.nodes:
            records.update(json.loads(world.root_text(node, "env", "-C", TOKENS, "python3", "-c", READ)))
        statistics = world.control("/statistics")
        for event in statistics["events"]:
            if "family" in event:
                families[event["email"].partition("@")[0]].add(event["family"])
        counted = {name for counters in statistics["accounts"].values() for name in counters} - {"chat", "tokens_seen"}
        counts = {counter: self.scenes.counts(counter) for counter in counted}
        code = {node: self._code(node) for node in world.nodes}
        units = {node: self._units(node) for node in world.nodes}
        return Seen(accounts, records, counts, dict(families), code, units)

    def move(self, before: Seen, operator: Operator, *, settings: Mapping[str, Any], renewals: bool = True) -> Move:
        """Let somebody deploy a release under load, and let it renew accounts and write the record of each.

        Args:
            before: what was seen before.
            operator: who has the release.
            settings: those of the run.
            renewals: whether 401s may start renewals.

        Returns:
            What happened.
        """
        seen = self.renewals(SHORT_LIVED)
        with self.scenes.loaded(*self.world.nodes, groups=STEADY) as loads:
            run = operator.enter(DEPLOY, settings)
        assert run.status == 0, run.tail
        for account in (SHORT_LIVED, RENEWED) if renewals else ():
            self.renew(account)
        wait_for(lambda: self.renewals(SHORT_LIVED) > seen, f"a renewal of {SHORT_LIVED}", 2 * SHORT_SECONDS)
        for node in self.world.nodes:
            self.world.root_run(node, "python3", "-B", "-", stdin=REWRITE.encode())
        results = [load.result for load in loads]
        after = self.look(operator)
        return Move(
            run, sum(result.sent for result in results), sum(result.failed for result in results), before, after
        )

    def _code(self, node: str) -> dict[str, str]:
        find = f"cd {CODE} && find . -name __pycache__ -prune -o -type f -exec sha256sum {{}} +"
        lines = self.world.root_text(node, "sh", "-c", find).splitlines()
        return {path: digest for digest, path in (line.split(maxsplit=1) for line in lines)}

    def _units(self, node: str) -> set[str]:
        command = ["systemctl", "list-unit-files", "--state=enabled", "--no-legend", "--plain", "dcta-*"]
        return {line.split()[0] for line in self.world.root_text(node, *command).splitlines()}
