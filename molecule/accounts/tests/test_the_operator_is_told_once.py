# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An account in trouble: its node says so, to the operator once and to load balancers, and comes back by itself."""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from fleet_world import Run, World
from hold_scenes import Scenes, wait_for
from world.prepare import make_certificate

STORE = "/var/lib/dcta/tokens"
# The agent looks at its accounts every 5 s.
LOOK_SECONDS = 8.0
PLAYBOOK = """
- hosts: dcta_nodes
  become: true
  gather_facts: false
  roles: [dcta.fleet.refresh_agent]
"""


@dataclass
class Receiver:
    """What came in at the webhook."""

    secret: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    url: str = field(default="", repr=False)
    paths: set[str] = field(default_factory=set, repr=False)
    alerts: list[dict[str, Any]] = field(default_factory=list)

    def of(self, *accounts: str) -> list[tuple[str, str, str, str]]:
        """Return event, status, account and class of the alerts of some accounts in the order of their coming."""
        return [
            (alert["event"], alert["status"], alert["account"], alert["error_class"])
            for alert in self.alerts
            if alert["account"] in accounts
        ]


@contextmanager
def receiving(address: str, certificate: Path) -> Iterator[Receiver]:
    """Receive alerts over TLS at an address of the controller."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.paths.add(self.path)
            receiver.alerts.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing: the path is a secret."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    with ThreadingHTTPServer((address, 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        receiver.url = f"https://{address}:{server.server_address[1]}/hook/{receiver.secret}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield receiver
        server.shutdown()


@dataclass
class Told:
    """A node all of whose accounts log in with a password, and the receiver of its alerts."""

    node: str
    accounts: list[str]
    receiver: Receiver
    run: Run


@pytest.fixture(scope="module")
def told(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Give a node a webhook by the agent's role, and take it away again."""
    kinds = {entry["name"]: "password" in entry for entry in world.vault["dcta_accounts"]}
    node = min(
        (name for name in world.nodes if all(map(kinds.get, world.lanes(name)))), key=lambda n: len(world.lanes(n))
    )
    folder = tmp_path_factory.mktemp("receiver")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        route.connect((world.nodes[node].address, 9))
        address = route.getsockname()[0]
    make_certificate(folder, "receiver", [address], world.state / "ca")
    playbook = folder / "agent.yml"
    playbook.write_text(PLAYBOOK)
    with receiving(address, folder / "receiver.crt") as receiver:
        settings = {"dcta_alert_webhook": receiver.url, "refresh_agent_health": {"converge_interval": 3}}
        run = world.playbook(str(playbook), "--limit", node, "--diff", "-vvv", settings=settings)
        assert run.status == 0, run.tail
        yield Told(node, list(world.lanes(node)), receiver, run)
        world.control("/reset", tokens=False)
        run = world.playbook(str(playbook), "--limit", node)
        assert run.status == 0, run.tail


def ready(world: World, node: str) -> httpx.Response:
    """Ask a node for its readiness as a load balancer does, without a key."""
    place = world.nodes[node]
    with world.browser() as browser:
        return browser.get(f"https://{place.address}:{place.port}/ready")


def units(accounts: list[str]) -> list[str]:
    return [f"dcta-api-{replica}@{account}.service" for account in accounts for replica in "ab"]


def test_the_operator_is_told_once_when_an_account_is_quarantined_and_once_when_it_is_well(
    world: World, told: Told
) -> None:
    node, accounts, receiver = told.node, told.accounts, told.receiver
    scenes = Scenes(world)
    wait_for(lambda: ready(world, node).status_code == 200, f"{node} ready")
    for account in accounts:
        world.control("/users", email=world.email(account), password="another-one-than-in-the-vault")
    world.stop_agent(node)
    world.root_run(node, "rm", "--force", *(f"{STORE}/{account}.json" for account in accounts))
    world.start_agent(node)

    firing = [("quarantined", "firing", account, "bad_credentials") for account in accounts]
    wait_for(lambda: sorted(receiver.of(*accounts)) == sorted(firing), "one alert an account")
    # The last account is gone: no lane runs, clients and load balancers are told.
    assert set(world.root_run(node, "systemctl", "is-active", *units(accounts), check=False).stdout.split()) == {
        b"inactive"
    }
    refused, unready = scenes.answer(node), ready(world, node)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_account_available")
    assert int(refused.headers["Retry-After"]) > 0
    assert (unready.status_code, unready.json()) == (503, {"status": "not ready"})
    assert int(unready.headers["Retry-After"]) > 0

    world.root_run(node, "systemctl", "restart", "dcta-agent.service")
    time.sleep(LOOK_SECONDS)
    assert sorted(receiver.of(*accounts)) == sorted(firing)

    # The cause is gone and the operator lifts it: the node comes back without anything else.
    world.control("/reset", tokens=False)
    arguments = {
        "accounts": accounts,
        "credentials": "/etc/dcta/credentials/accounts.json",
        "provider": "{{ dcta_provider }}",
        "limits": {"login_gap": 0, "login_gap_random": 0, "login_interval": 0},
        "ca_bundle": "/etc/dcta/ca-bundle.pem",
        "lift": True,
    }
    run = world.module(node, "dcta.fleet.account_login", arguments)
    assert run.status == 0, run.tail
    resolved = [("quarantined", "resolved", account, "bad_credentials") for account in accounts]
    wait_for(lambda: sorted(receiver.of(*accounts)[len(firing) :]) == sorted(resolved), "one all-clear an account")
    scenes.wait_until_good(node)
    wait_for(lambda: ready(world, node).status_code == 200, f"{node} ready again")
    assert len(receiver.of(*accounts)) == 2 * len(accounts)


def test_an_alert_names_the_account_the_failure_and_the_cure_and_nobody(world: World, told: Told) -> None:
    alert = next(alert for alert in told.receiver.alerts if alert["status"] == "firing")
    account = alert["account"]
    assert alert["node"] == told.node
    assert alert["text"] == f"Account {account} of node {told.node} is quarantined. {alert['message']} {alert['cure']}"
    assert alert["message"]
    assert alert["cure"]
    assert not [email for email in map(world.email, told.accounts) if email in json.dumps(told.receiver.alerts)]


def test_readiness_needs_no_key_and_says_nothing_of_the_accounts(world: World, told: Told) -> None:
    answer = ready(world, told.node)
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
    place = world.nodes[told.node]
    with world.browser() as browser:
        for path in ("/ready/", "/Ready", "/ready%0a", "/ready/..%2fv1/models", "/v1/ready"):
            assert browser.get(f"https://{place.address}:{place.port}{path}").status_code in (401, 404)


def test_the_webhooks_address_is_seen_nowhere(world: World, told: Told) -> None:
    secret = told.receiver.secret
    assert told.receiver.paths == {f"/hook/{secret}"}
    assert secret not in told.run.text
    looked_at = {
        "journal": ("journalctl", "--no-pager", "--boot"),
        "units": ("systemctl", "show", "dcta-agent.service", "dcta-agent.socket"),
        "settings": ("grep", "--recursive", "", "/etc/dcta/agent.json", "/etc/systemd/system"),
        "processes": ("sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '"),
        "memory": ("cat", "/var/lib/dcta/agent/alerts.json"),
    }
    found = [where for where, command in looked_at.items() if secret in world.root_text(told.node, *command)]
    assert found == []
    mode = world.root_text(told.node, "stat", "--format=%U:%G %a", "/etc/dcta/credentials/alert_webhook")
    assert mode == "root:root 600"
