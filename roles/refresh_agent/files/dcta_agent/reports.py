# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the agent learns that requests have ended: by datagrams, and where one is lost by the kernel's table."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .hold import Hold
from .question import SEPARATOR

# One line of the gateway's log "ended", after what syslog puts before it.
REPORT = re.compile(rb': (?P<request>[0-9a-f]{32}) "(?P<addresses>[^"]*)" "(?P<statuses>[^"]*)"\s*\Z')
DATAGRAM_BYTES = 8192
# So many at a time, so that a flood of them does not keep questions waiting.
DATAGRAMS_AT_ONCE = 64
# Established, and on its way to be (include/net/tcp_states.h of Linux).
CONNECTED = ("01", "02")


@dataclass(frozen=True)
class Report:
    """One request that has ended.

    Attributes:
        request_id: names it in both logs.
        address: where its last try went.
        status: what was answered there; None if nothing was.
    """

    request_id: str
    address: str
    status: int | None

    @classmethod
    def from_datagram(cls, datagram: bytes) -> Report | None:
        """Read one datagram; return None when it is none of ours."""
        found = REPORT.search(datagram)
        if found is None:
            return None
        addresses, statuses = (SEPARATOR.split(found[name].decode("latin-1")) for name in ("addresses", "statuses"))
        last = statuses[-1].strip()
        status = int(last) if last.isascii() and last.isdigit() else None
        return cls(found["request"].decode(), addresses[-1].strip(), status)


def receive(hold: Hold, receiver: socket.socket) -> None:
    """Hand over what lies in the socket."""
    for _ignored in range(DATAGRAMS_AT_ONCE):
        try:
            datagram = receiver.recv(DATAGRAM_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        report = Report.from_datagram(datagram)
        if report is not None:
            hold.ended(report.request_id, report.address, report.status)


def listen(hold: Hold, receiver: socket.socket) -> None:
    """Hand over all reports from now on.

    Args:
        hold: takes them.
        receiver: the datagram socket that the gateway writes to.
    """
    receiver.setblocking(False)
    asyncio.get_running_loop().add_reader(receiver.fileno(), receive, hold, receiver)


def connections(places: Iterable[tuple[str, int]], table: Path = Path("/proc/self/net/tcp")) -> Counter[str]:
    """Count the connections of others than this process's user to the lanes, by the lane's address.

    Args:
        places: addresses and ports of all replicas.
        table: the kernel's table of IPv4 connections (proc(5)).

    Returns:
        The counts. The gateway keeps no idle connection to a lane where the requests of an account are bounded, so
        each is a request.

    Raises:
        OSError: the table cannot be read.
    """
    # The kernel prints the address as the machine's own 32-bit number.
    numbers = ((address, int.from_bytes(socket.inet_aton(address), sys.byteorder), port) for address, port in places)
    wanted = {f"{number:08X}:{port:04X}": address for address, number, port in numbers}
    own = str(os.getuid())
    found: Counter[str] = Counter()
    for line in table.read_text(encoding="ascii").splitlines()[1:]:
        row = line.split()
        if row[2] in wanted and row[3] in CONNECTED and row[7] != own:
            found[wanted[row[2]]] += 1
    return found
