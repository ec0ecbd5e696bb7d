# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and the agent meet in the store: whoever comes second finds the work done."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import SourceFileLoader
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.provider import Provider
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.renewer import Reason, Renewer
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.runtime import Runtime
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from ansible_collections.dcta.fleet.plugins.module_utils.http_session import HttpSession
from ansible_collections.dcta.fleet.plugins.modules import account_login
from identity_fake import APPLICATION, START, me

pytestmark = pytest.mark.slow

ROUNDS = 50
ENTRY_ROUNDS = 1000
LIFETIME = 3600.0
ROOT = Path(__file__).resolve().parents[5]
Entry = Callable[[], tuple[str, str]]
"""Renews the account once by one of the two entries; returns what was done and which token is in use then."""


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
    provider = Provider.from_mapping({"authorization_endpoint": address, "token_endpoint": address, **APPLICATION})
    limits = Limits(rejection_debounce=0, rejection_fresh=0, rejection_renewals=10**6, refresh_gap=0)
    with Store(folder, me()) as store:
        renewer = Renewer(
            store=store,
            provider=provider,
            credentials={"alice": Credentials(name="alice", refresh_token="refresh-0")},
            runtime=Runtime(session=lambda _account: HttpSession()),
            limits=limits,
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


def by_module(folder: Path, address: str) -> Entry:
    """Return the entry that a run of Ansible takes: the module, with all that it reads."""
    params = {
        "accounts": ["alice"],
        "credentials": str(folder / "accounts"),
        "store": str(folder / "tokens"),
        "owner": me(),
        "ca_bundle": "",
        "timeout": 10,
        "lift": False,
        "wait": 900,
    }
    provider = Provider.from_mapping({"authorization_endpoint": address, "token_endpoint": address, **APPLICATION})

    def renew() -> tuple[str, str]:
        (outcome,) = account_login.supply(params, Limits(), provider)
        assert outcome.usable, outcome
        return outcome.action, outcome.token_fingerprint or ""

    return renew


def by_agent(folder: Path, address: str) -> Entry:
    """Return the entry that the agent takes: the program renew-account, with all that it reads."""
    library = ModuleType("dcta_library")
    library.__path__ = [str(ROOT / "plugins/module_utils")]
    sys.modules["dcta_library"] = library
    path = str(ROOT / "roles/refresh_agent/files/renew-account")
    specification = importlib.util.spec_from_loader("renew_account", SourceFileLoader("renew_account", path))
    assert specification is not None
    assert specification.loader is not None
    program: Any = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(program)
    settings = folder / "agent.json"
    program.AGENT_SETTINGS, program.TOKENS, program.TOKENS_OWNER = str(settings), str(folder / "tokens"), me()
    settings.write_text(
        json.dumps({"provider": {"authorization_endpoint": address, "token_endpoint": address, **APPLICATION}}),
        encoding="utf-8",
    )
    os.environ["CREDENTIALS_DIRECTORY"] = str(folder)

    def renew() -> tuple[str, str]:
        sys.stdin = io.StringIO(json.dumps({"name": "alice", "reason": "expiry"}))
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            program.main()
        outcome = json.loads(shown.getvalue())
        assert outcome["usable"], outcome
        return outcome["action"], outcome["token_fingerprint"]

    return renew


def race_by_entry(which: str, folder: str, address: str, barrier: Barrier) -> None:
    """Renew by one entry in step with the other process; every round the token of the round before has run out."""
    entry = {"module": by_module, "agent": by_agent}[which](Path(folder), address)
    library = {"module": account_login.__name__.rpartition(".modules.")[0] + ".module_utils", "agent": "dcta_library"}
    defaults = importlib.import_module(library[which] + ".accounts.runtime").Runtime.__init__.__kwdefaults__
    # No power is cut here, and who waits for the lock looks often.
    os.fsync = lambda _descriptor: None  # type: ignore[assignment]
    vars(importlib.import_module(library[which] + ".accounts.private_folder"))["_POLL"] = 0.001
    rounds = []
    for number in range(ENTRY_ROUNDS):
        defaults["clock"] = lambda number=number: START + number * LIFETIME
        barrier.wait(30)
        rounds.append(entry())
    Path(folder, which).write_text(json.dumps(rounds), encoding="utf-8")


def test_module_and_agent_race_a_thousand_times_for_one_refresh_each(tmp_path: Path, endpoint: TokenEndpoint) -> None:
    (tmp_path / "tokens").mkdir(mode=0o700)
    (tmp_path / "accounts").write_text(json.dumps({"accounts": [{"name": "alice", "refresh_token": "refresh-0"}]}))
    address = f"http://127.0.0.1:{endpoint.server_address[1]}/token"
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [
        context.Process(target=race_by_entry, args=(which, str(tmp_path), address, barrier))
        for which in ("module", "agent")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    rounds = list(zip(*(json.loads((tmp_path / which).read_text()) for which in ("module", "agent")), strict=True))
    assert all(sorted(action for action, _token in both) == ["none", "refresh"] for both in rounds)
    assert all(mine == other for (_action, mine), (_other, other) in rounds)
    assert len({token for ((_action, token), _other) in rounds}) == ENTRY_ROUNDS
    assert {action for ((action, _token), _other) in rounds} == {"none", "refresh"}
    assert (endpoint.serial, endpoint.reused) == (ENTRY_ROUNDS, 0)
    with Store(str(tmp_path / "tokens"), me()) as store:
        record = store.load("alice")
    assert record is not None
    assert record.refresh_token == f"refresh-{ENTRY_ROUNDS}"
