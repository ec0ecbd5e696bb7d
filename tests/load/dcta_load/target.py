# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a load may go: to this machine and to the hosts of an inventory, and nowhere else."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


class TargetRefused(Exception):
    """The address is neither this machine's own nor that of a host of the inventory."""


def addresses_of(inventory: Path) -> set[str]:
    """Return the addresses of all hosts of an inventory.

    Args:
        inventory: a YAML inventory; hosts name their address in ``ansible_host``.
    """

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if "ansible_host" in value:
                yield str(value["ansible_host"])
            for inner in value.values():
                yield from walk(inner)

    return set(walk(yaml.safe_load(inventory.read_text(encoding="utf-8"))))


@dataclass(frozen=True)
class Target:
    """A gateway that may be loaded.

    Attributes:
        address: its IP address.
        port: its port.
        key: the API key to send, "" for none.
        authority: the file of the certificate authority that it is trusted by.
        inventory: the hosts that may be loaded; without one only this machine's own addresses.

    Raises:
        TargetRefused: the address is none of those.
    """

    address: str
    port: int
    key: str = field(repr=False)
    authority: Path
    inventory: Path | None = None

    def __post_init__(self) -> None:
        """Refuse a foreign address before anything can be sent there."""
        try:
            own = ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            raise TargetRefused(f"{self.address} is not an IP address: a name could lead anywhere") from None
        if not own and (self.inventory is None or self.address not in addresses_of(self.inventory)):
            raise TargetRefused(f"{self.address} is neither loopback nor a host of the inventory: nothing was sent")

    def context(self, protocol: str) -> ssl.SSLContext:
        """Return a TLS context that offers one protocol.

        Args:
            protocol: its name in ALPN, ``h2`` or ``http/1.1``.
        """
        context = ssl.create_default_context(cafile=str(self.authority))
        context.set_alpn_protocols([protocol])
        return context
