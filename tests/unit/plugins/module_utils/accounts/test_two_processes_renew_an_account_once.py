# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and the agent meet in the store: whoever comes second finds the work done."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.synchronize import Barrier
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.policy import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.provider import Provider
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.renewal import Reason, Renewer
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from ansible_collections.dcta.fleet.plugins.module_utils.http_session import HttpSession
from identity_fake import me

ROUNDS = 50


class TokenEndpoint(ThreadingHTTPServer):
    """Rotates one refresh token and notes every use of an old one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.guard = threading.Lock()
        self.serial = 0
        self.reused = 0


class Handler(BaseHTTPRequestHandler):
    """Answers the refresh grant."""

    server: TokenEndpoint

    def do_POST(self) -> None:
        """Rotate."""
        fields = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        with self.server.guard:
            good = fields["refresh_token"] == [f"refresh-{self.server.serial}"]
            if good:
                self.server.serial += 1
            else:
                self.server.reused += 1
            serial = self.server.serial
        answer = {"access_token": f"access-{serial}", "refresh_token": f"refresh-{serial}", "expires_in": 3600}
        body = json.dumps(answer if good else {"error": "invalid_grant"}).encode()
        self.send_response(200 if good else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server uses
        """Keep quiet."""


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    server = TokenEndpoint()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def race(folder: str, address: str, barrier: Barrier, failures: str) -> None:
    """Renew in step with the other process; every round the token of the round before is rejected."""
    provider = Provider.from_mapping({"authorization_endpoint": address, "token_endpoint": address})
    limits = Limits(rejection_debounce=0, rejection_fresh=0, rejection_renewals=10**6)
    with Store(folder, me()) as store:
        renewer = Renewer(
            store=store,
            provider=provider,
            credentials={"alice": Credentials(name="alice", refresh_token="refresh-0")},
            session_factory=lambda _account: HttpSession(timeout=10),
            limits=limits,
            rng=random.Random(os.getpid()),  # noqa: S311 - no secret is made here
        )
        token: str | None = None
        for _ignored in range(ROUNDS):
            barrier.wait(30)
            reason: Reason = "expiry" if token is None else "rejected"
            outcome = renewer.renew("alice", reason=reason, token_fingerprint=token)
            if not outcome.usable or outcome.token_fingerprint == token:
                Path(failures).write_text(f"{outcome}", encoding="utf-8")
            token = outcome.token_fingerprint


def test_fifty_races_cost_one_refresh_each(tmp_path: Path, endpoint: TokenEndpoint) -> None:
    folder = tmp_path / "tokens"
    folder.mkdir(mode=0o700)
    failures = tmp_path / "failures"
    address = f"http://127.0.0.1:{endpoint.server_address[1]}/token"
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [
        context.Process(target=race, args=(str(folder), address, barrier, str(failures))) for _ignored in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert not failures.exists()
    assert (endpoint.serial, endpoint.reused) == (ROUNDS, 0)
    with Store(str(folder), me()) as store:
        record = store.load("alice")
    assert record is not None
    assert record.refresh_token == f"refresh-{ROUNDS}"
    assert record.usable(time.time())
