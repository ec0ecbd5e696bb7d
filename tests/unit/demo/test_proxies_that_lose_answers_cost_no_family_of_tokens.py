# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP, HTTPS and SOCKS proxies that lose what they like, before a provider that detects reuse."""

from __future__ import annotations

import random
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.outcome import Outcome
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.provider import Provider
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.renewer import Renewer
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.runtime import Runtime
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from ansible_collections.dcta.fleet.plugins.module_utils.http_session import HttpSession
from identity_fake import me
from loopback_trust import Trust, make_trust
from losing_servers import ESTABLISHED, LOOPBACK, Wire, serving, socks_request

from .standins import ALICE, AUDIENCE, CLIENT_ID, REDIRECT_URI, StandIns

ROUNDS = 40
LIMITS = Limits(login_gap=0, login_gap_random=0, login_interval=0, login_submissions=1000)


class LosingProxy:
    """Passes connections on, and loses some of them somewhere; a dice of its own says which and where."""

    def __init__(self, scheme: str) -> None:
        self._dice = random.Random(scheme)  # noqa: S311 - a test has to repeat itself
        self._scheme = scheme
        self.well = True
        self.lost: dict[str, int] = {}

    def __call__(self, wire: Wire) -> None:
        """Serve one connection."""
        wire.secure()
        fate = self._fate()
        if fate == "refused":
            return
        with self._target(wire) as target:
            if fate != "closed":
                self._relay(wire, target, fate)

    def _fate(self) -> str:
        fates = ["refused", "closed", "after the request", "no answer", "half an answer", "half an answer"]
        fate = "passed" if self.well or self._dice.random() < 0.4 else self._dice.choice(fates)
        self.lost[fate] = self.lost.get(fate, 0) + 1
        return fate

    def _target(self, wire: Wire) -> socket.socket:
        if self._scheme.startswith("socks"):
            _host, port = socks_request(wire)
            wire.send(b"\x05\x00\x00\x01" + bytes(6))
            return socket.create_connection((LOOPBACK, port), 20)
        head = wire.head()
        method, address = head.split(b" ")[:2]
        if method == b"CONNECT":
            _host, _colon, port_text = address.rpartition(b":")
            wire.send(ESTABLISHED)
            return socket.create_connection((LOOPBACK, int(port_text)), 20)
        host = address.split(b"/")[2]
        wire.buffered = head + b"\r\n\r\n" + wire.buffered
        return socket.create_connection((LOOPBACK, int(host.rpartition(b":")[2])), 20)

    def _relay(self, wire: Wire, target: socket.socket, fate: str) -> None:
        """Pass bytes on until one side ends, or until it is this connection's turn to be lost."""
        target.sendall(wire.buffered)
        answered = 0
        # A handshake of TLS is answered in one piece; what follows it is the provider's answer.
        pieces_before = 2 if wire.server.context is None and not self._plain(wire) else 0
        while True:
            for side in _readable(wire.connected, target):
                piece = side.recv(1 << 16)
                if not piece:
                    return
                if side is not target:
                    target.sendall(piece)
                    continue
                answered += 1
                if answered <= pieces_before or fate == "passed":
                    wire.send(piece)
                elif fate == "half an answer":
                    wire.send(piece[: len(piece) // 2])
                    return
                else:
                    wire.reset()
                    return

    def _plain(self, wire: Wire) -> bool:
        return wire.buffered.startswith((b"GET ", b"POST "))


def _readable(first: socket.socket, second: socket.socket) -> list[socket.socket]:
    if getattr(first, "pending", lambda: 0)():
        return [first]
    ready, _writable, _failed = select.select([first, second], [], [], 20)
    return list(ready)


def _terminator(port: int) -> Callable[[Wire], None]:
    """Speak TLS before the stand-in provider."""

    def script(wire: Wire) -> None:
        wire.secure()
        with socket.create_connection((LOOPBACK, port), 20) as target:
            while True:
                for side in _readable(wire.connected, target):
                    piece = side.recv(1 << 16)
                    if not piece:
                        return
                    (target if side is not target else wire.connected).sendall(piece)

    return script


class Account:
    """Alice behind a proxy; her node's clock and the provider's go on together."""

    def __init__(self, standins: StandIns, folder: Path, *, base: str, proxy: str, trust: Trust) -> None:
        self._standins, self._folder = standins, folder
        self._base, self._proxy, self._trust = base, proxy, trust
        self._ahead = 0.0
        folder.mkdir(mode=0o700)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._ahead += seconds
        self._standins.control("/clock", ahead=self._ahead)

    def now(self) -> float:
        """Return the node's time."""
        return time.time() + self._ahead

    def renew(self) -> Outcome:
        """Renew with nothing but what is on the disk."""
        prefix = urlsplit(self._standins.issuer).path
        provider = {
            "authorization_endpoint": f"{self._base}{prefix}/authorize",
            "token_endpoint": f"{self._base}{prefix}/oauth/token",
            "revocation_endpoint": "",
            "client_id": CLIENT_ID,
            "audience": AUDIENCE,
            "scope": "openid offline_access",
            "redirect_uri": REDIRECT_URI,
        }
        entry = Credentials(name="alice", email=ALICE, password="alice's & password", proxy=self._proxy)
        bundle = str(self._trust.bundle)
        with Store(str(self._folder), me()) as store:
            return Renewer(
                store=store,
                provider=Provider.from_mapping(provider),
                credentials={"alice": entry},
                runtime=Runtime(
                    session=lambda account: HttpSession(proxy=account.proxy, ca_bundle=bundle),
                    clock=self.now,
                    sleep=self.wait,
                ),
                limits=LIMITS,
            ).renew("alice")

    def past_point(self, outcome: Outcome) -> None:
        """Let time pass up to the next renewal."""
        self.wait(max(1.0, (outcome.next_renewal or 0.0) - self.now() + 1))


@pytest.mark.slow
@pytest.mark.parametrize("tls", [True, False], ids=["https provider", "http provider"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
def test_no_family_of_tokens_ends_and_the_account_comes_back(
    standins: StandIns, tmp_path: Path, scheme: str, *, tls: bool
) -> None:
    trust = make_trust(tmp_path / "trust")
    proxy = LosingProxy(scheme)
    with ExitStack() as stack:
        port = urlsplit(standins.issuer).port or 0
        base = f"http://{LOOPBACK}:{port}"
        if tls:
            base = f"https://{LOOPBACK}:{stack.enter_context(serving(_terminator(port), trust.server)).port}"
        server = stack.enter_context(serving(proxy, trust.server if scheme == "https" else None))
        address = f"{scheme}://{LOOPBACK}:{server.port}"
        account = Account(standins, tmp_path / "tokens", base=base, proxy=address, trust=trust)
        outcome = account.renew()
        assert outcome.usable
        proxy.well = False
        for _ignored in range(ROUNDS):
            account.past_point(outcome)
            outcome = account.renew()
        assert standins.count(ALICE, "reuse_detections") == 0
        assert {"refused", "no answer", "half an answer", "passed"} <= set(proxy.lost)
        assert standins.count(ALICE, "refreshes") > 5
        proxy.well = True
        for _ignored in range(3):
            account.past_point(outcome)
            outcome = account.renew()
        assert (outcome.usable, outcome.state) == (True, "valid")
        assert standins.count(ALICE, "reuse_detections") == 0
