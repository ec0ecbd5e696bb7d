# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway's datagrams, and the kernel's table of connections for those that were lost."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest
from dcta_agent.reports import Report, connections, listen

REQUEST = "0123456789abcdef0123456789abcdef"
START = b"<190>Nov 23 05:05:33 nginx: "
SOCKET = "unix:/run/dcta/agent.sock"


def datagram(addresses: str, statuses: str) -> bytes:
    return START + f'{REQUEST} "{addresses}" "{statuses}"'.encode()


@pytest.mark.parametrize(
    ("addresses", "statuses", "address", "status"),
    [
        ("127.64.0.1:8081", "200", "127.64.0.1:8081", 200),
        (f"{SOCKET} : 127.64.0.1:8081, 127.64.0.1:8082", "200 : 502, 200", "127.64.0.1:8082", 200),
        (f"127.64.0.1:8081 : {SOCKET}", "500 : 502", SOCKET, 502),
        ("127.64.0.1:8081", "-", "127.64.0.1:8081", None),
        ("lanes", "502", "lanes", 502),
    ],
)
def test_a_report_names_the_last_try(addresses: str, statuses: str, address: str, status: int | None) -> None:
    assert Report.from_datagram(datagram(addresses, statuses)) == Report(REQUEST, address, status)


@pytest.mark.parametrize("text", [b"", b"\xff" * 100, START, START + b'short "a" "200"', datagram("a", "200")[:-1]])
def test_what_is_no_report_is_none(text: bytes) -> None:
    assert Report.from_datagram(text) is None


class Listener:
    """Takes the place of the hold."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, int | None]] = []

    def ended(self, request_id: str, address: str, status: int | None) -> None:
        """Remember it."""
        self.heard.append((request_id, address, status))


def test_what_is_received_reaches_the_hold_in_order(tmp_path: Path) -> None:
    async def run(receiver: socket.socket, sender: socket.socket) -> None:
        listen(listener, receiver)  # type: ignore[arg-type]
        for number in range(50):
            sender.send(datagram(f"127.64.0.1:{number}", "200") if number % 2 else b"no report")
            # The queue of a socket is short.
            await asyncio.sleep(0 if number % 5 else 0.002)
        await asyncio.sleep(0.02)

    listener = Listener()
    unix = (socket.AF_UNIX, socket.SOCK_DGRAM)
    with socket.socket(*unix) as receiver, socket.socket(*unix) as sender:
        receiver.bind(str(tmp_path / "log.sock"))
        sender.connect(str(tmp_path / "log.sock"))
        asyncio.run(run(receiver, sender))
    assert listener.heard == [(REQUEST, f"127.64.0.1:{number}", 200) for number in range(1, 50, 2)]


ROW = "   {number}: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {user:5} 0 1 1 0 20 4 30 10 -1"


def table(folder: Path, *rows: tuple[str, str, str, int]) -> Path:
    """Write the kernel's table; addresses as a little-endian machine prints them."""
    lines = [
        ROW.format(number=number, local=local, remote=remote, state=state, user=user)
        for number, (local, remote, state, user) in enumerate(rows)
    ]
    path = folder / "tcp"
    path.write_text("\n".join(["  sl  local_address rem_address   st ...", *lines, ""]))
    return path


def test_connections_are_counted_by_lane_and_only_those_of_others_that_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "byteorder", "little")
    own, other = os.getuid(), os.getuid() + 1
    a, b, foreign, client = "0100407F:1F91", "0100407F:1F92", "0200407F:1F91", "0100007F:C350"
    path = table(
        tmp_path,
        (client, a, "01", other),
        (client, a, "02", other),
        (client, b, "01", other),
        (client, a, "06", other),  # waits for its end
        (client, a, "01", own),  # the agent's own look at the replica
        (a, client, "01", other),  # the lane's side
        (client, foreign, "01", other),
    )
    places = [("127.64.0.1", 8081), ("127.64.0.1", 8082), ("127.64.0.3", 8081)]
    assert connections(places, path) == {"127.64.0.1": 3}


def test_a_real_connection_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # As another user than the one who connects.
    monkeypatch.setattr(os, "getuid", lambda: -1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = ("127.0.0.1", server.getsockname()[1])
        assert connections([place]) == {}
        with socket.create_connection(place):
            assert connections([place]) == {"127.0.0.1": 1}
        server.accept()[0].close()
        assert connections([place]) == {}
