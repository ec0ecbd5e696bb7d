# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployed world as a test reaches it: its inventory, its nodes, the playbooks and the stand-ins' control API."""

from __future__ import annotations

import json
import os
import re
import shlex
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import openai

# What an inventory leaves to the default of dcta_listen.
DEFAULT_PORT = 8443
CONTROL_PORT = 8081
RUN_SECONDS = 600
ANSWER_SECONDS = 30
RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Node:
    """A node of the world: its name in the inventory, and where its gateway listens."""

    name: str
    address: str
    port: int

    @property
    def url(self) -> str:
        """The base URL that a client of OpenAI is given."""
        return f"https://{self.address}:{self.port}/v1"


@dataclass(frozen=True)
class Run:
    """What a run of Ansible's left behind; its text can be long and stays out of the representation."""

    status: int
    text: str = field(repr=False)

    @property
    def changed(self) -> dict[str, int]:
        """How many tasks changed something, by host."""
        return {host: int(changed) for host, changed, _ignored, _ignored in RECAP.findall(self.text)}

    @property
    def tail(self) -> str:
        """The end of the text, for the message of an assertion."""
        return self.text[-3000:]


class World:
    """The world that lies below a repository's root.

    Args:
        root: the repository's root; its folder ``.state`` holds the keys of the world.
        connections: an empty folder with a short path, for the sockets of SSH.
    """

    def __init__(self, root: Path, connections: Path) -> None:
        self.root = root
        self.state = root / ".state"
        self._socket = connections / "%C"
        # Nothing of the caller's settings may reach a run, Molecule's own ansible.cfg among them.
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": os.environ["HOME"],
            "LANG": "C.UTF-8",
            "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": f"{root / 'collections'}:{self.state / 'collections'}",
            "ANSIBLE_VAULT_PASSWORD_FILE": str(self.state / "vault-password"),
        }

    # ---- what the inventory says ----

    @cached_property
    def inventory(self) -> dict[str, Any]:
        """The inventory with the vault opened, as ``ansible-inventory --list`` gives it."""
        command = ["ansible-inventory", "--inventory", "inventories/demo", "--list"]
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True, check=True, timeout=60
        )
        inventory: dict[str, Any] = json.loads(done.stdout)
        return inventory

    def variables(self, host: str) -> dict[str, Any]:
        """Return the variables of a host, not templated."""
        variables: dict[str, Any] = self.inventory["_meta"]["hostvars"][host]
        return variables

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """All nodes by name."""
        nodes = {}
        for name in self.inventory["dcta_nodes"]["hosts"]:
            listen = str(self.variables(name).get("dcta_listen", f"0.0.0.0:{DEFAULT_PORT}"))
            port = int(listen.rpartition(":")[2])
            nodes[name] = Node(name=name, address=self.variables(name)["ansible_host"], port=port)
        return nodes

    @property
    def first(self) -> Node:
        """The first node, for what is the same on all of them."""
        return next(iter(self.nodes.values()))

    @cached_property
    def vault(self) -> dict[str, Any]:
        """What the operator keeps in the vault: dcta_accounts, dcta_api_keys, dcta_tls_private_key."""
        variables = self.variables(self.first.name)
        return {name: variables[name] for name in ("dcta_accounts", "dcta_api_keys", "dcta_tls_private_key")}

    @property
    def api_key(self) -> str:
        """The first API key."""
        return str(self.vault["dcta_api_keys"][0]["key"])

    def email(self, account: str) -> str:
        """Return the e-mail address under which the provider knows an account."""
        found = next(entry for entry in self.vault["dcta_accounts"] if entry["name"] == account)
        return str(found.get("email", f"{account}@example.org"))

    # ---- runs ----

    def playbook(
        self,
        *arguments: str,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        program: str = "ansible-playbook",
    ) -> Run:
        """Run a playbook on the demo's inventory.

        Args:
            arguments: the playbook, and options.
            settings: variables that go before those of the inventory; they stay out of the command line.
            environment: environment variables beside the usual ones.
            program: another ``ansible-playbook``.

        Returns:
            The exit status and all that was printed.
        """
        with tempfile.TemporaryDirectory() as folder:
            options: list[str] = []
            if settings:
                file = Path(folder, "settings.json")
                file.touch(mode=0o600)
                file.write_text(json.dumps(settings), encoding="utf-8")
                options = ["--extra-vars", f"@{file}"]
            return self._run([program, "--inventory", "inventories/demo", *options, *arguments], environment)

    def module(self, pattern: str, name: str, arguments: Mapping[str, Any] | None = None) -> Run:
        """Run one module as root.

        Args:
            pattern: the hosts.
            name: the module's full name.
            arguments: its arguments, none of them secret.

        Returns:
            The exit status and all that was printed.
        """
        command = ["ansible", "--inventory", "inventories/demo", "--become", pattern, "--module-name", name]
        return self._run([*command, *(["--args", json.dumps(arguments)] if arguments else [])], None)

    def _run(self, command: list[str], environment: Mapping[str, str] | None) -> Run:
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=RUN_SECONDS,
            check=False,
        )
        return Run(done.returncode, done.stdout.decode(errors="replace"))

    # ---- hosts ----

    def ssh(self, host: str) -> list[str]:
        """Return the command that runs what follows on a host, as the user of the inventory."""
        options = ["-o", "ControlMaster=auto", "-o", f"ControlPath={self._socket}", "-o", "BatchMode=yes"]
        return ["ssh", "-F", str(self.state / "ssh/config"), *options, host]

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Keep one connection to each host, so that a command costs no handshake."""
        hosts = [*self.nodes, *self.inventory["demo_provider"]["hosts"]]

        def connection(host: str, *options: str, check: bool) -> None:
            *command, name = self.ssh(host)
            # Not captured: the connection in the background would keep a pipe open.
            subprocess.run(
                [*command, *options, name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=60,
                check=check,
            )

        for host in hosts:
            connection(host, "-f", "-N", "-M", check=True)
        try:
            yield
        finally:
            for host in hosts:
                connection(host, "-O", "exit", check=False)

    def root_run(
        self, host: str, *command: str, stdin: bytes = b"", check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program on a host as root.

        Args:
            host: its name.
            command: the program and its arguments, which the host's process list shows.
            stdin: what the program reads.
            check: whether a status other than 0 is an error.

        Returns:
            What the program did.

        Raises:
            AssertionError: it failed.
        """
        line = shlex.join(["sudo", "env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *command])
        done = subprocess.run([*self.ssh(host), line], input=stdin, capture_output=True, timeout=300, check=False)
        assert done.returncode == 0 or not check, (
            f"{command[0]} on {host}: {done.stderr.decode(errors='replace')[-1000:]}"
        )
        return done

    def root_text(self, host: str, *command: str, stdin: str = "") -> str:
        """Run a program on a host as root and return what it printed, without blanks at the ends."""
        return self.root_run(host, *command, stdin=stdin.encode()).stdout.decode(errors="replace").strip()

    def stop_agent(self, node: str) -> None:
        """Keep a node's agent from repairing what a test is about to break; a run of site.yml starts it again."""
        # A renewal under way outlives the agent.
        ended = "while grep -qs 'renew-accoun[t]' /proc/[0-9]*/cmdline; do sleep 0.1; done"
        self.root_run(
            node, "sh", "-c", f"systemctl stop dcta-agent.socket dcta-agent-log.socket dcta-agent.service && {ended}"
        )

    def start_agent(self, node: str) -> None:
        """Let a node's agent work again."""
        self.root_run(node, "systemctl", "start", "dcta-agent.socket", "dcta-agent-log.socket", "dcta-agent.service")

    def lanes(self, node: str) -> dict[str, Any]:
        """Return the lanes of a node as they are described there."""
        lanes: dict[str, Any] = json.loads(self.root_text(node, "cat", "/etc/dcta/lanes.json"))["lanes"]
        return lanes

    # ---- the provider and the gateways ----

    def control(self, request: str, **body: Any) -> dict[str, Any]:
        """Ask the stand-ins' control API.

        Args:
            request: the path of the request.
            body: its body; without one the request is a GET.

        Returns:
            The answer.
        """
        address = self.variables("provider")["ansible_host"]
        data = json.dumps(body).encode() if body else None
        headers = {"Content-Type": "application/json"}
        question = urllib.request.Request(f"http://{address}:{CONTROL_PORT}{request}", data, headers)
        with urllib.request.urlopen(question, timeout=ANSWER_SECONDS) as answer:
            reply: dict[str, Any] = json.load(answer)
        return reply

    @property
    def trust(self) -> ssl.SSLContext:
        """A fresh TLS context that trusts the demo's authority alone; a client changes the one that it gets."""
        return ssl.create_default_context(cafile=str(self.state / "ca/ca.crt"))

    def browser(self, *, http2: bool = False) -> httpx.Client:
        """Return an HTTP client that trusts the demo's authority alone."""
        return httpx.Client(verify=self.trust, http2=http2, trust_env=False, timeout=ANSWER_SECONDS)

    @contextmanager
    def client(self, node: Node, *, key: str = "", base_url: str = "") -> Iterator[openai.OpenAI]:
        """Open a client of OpenAI that never tries twice.

        Args:
            node: the node to ask.
            key: another API key than the first of the vault.
            base_url: another base URL than the node's.
        """
        browser = openai.DefaultHttpxClient(verify=self.trust, trust_env=False, timeout=ANSWER_SECONDS)
        with openai.OpenAI(
            base_url=base_url or node.url, api_key=key or self.api_key, max_retries=0, http_client=browser
        ) as client:
            yield client


@contextmanager
def connected_world() -> Iterator[World]:
    """Reach the world below this repository, or the one that DCTA_WORLD_ROOT names, until the block ends."""
    root = Path(os.environ.get("DCTA_WORLD_ROOT") or Path(__file__).resolve().parents[2])
    with tempfile.TemporaryDirectory(prefix="dcta-") as connections:
        world = World(root, Path(connections))
        with world.connected():
            yield world
