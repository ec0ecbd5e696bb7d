# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes leave by one egress, and whose turn is when: the provider sees one address, so it gets one login pace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit


def egress_of(account: Mapping[str, Any], node: str, proxy: str = "", label: str = "") -> tuple[str, str]:
    """Return by which way an account's logins leave.

    Args:
        account: an entry of ``dcta_accounts``; only its ``proxy`` is read.
        node: the node that owns it.
        proxy: the proxy of the node's accounts that name none.
        label: the operator's name for the egress of the node.

    Returns:
        Two accounts leave by the same egress when this is the same. It holds no user and no password.
    """
    url = str(account.get("proxy") or proxy)
    if url:
        return "proxy", _host_and_port(url)
    return ("label", label) if label else ("node", node)


def _host_and_port(url: str) -> str:
    address = url.rpartition("@")[2] if "@" in url else url.rpartition("//")[2]
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:  # role preflight refuses it
        return address
    return f"{host}:{port}"


def login_turns(
    accounts: Sequence[Mapping[str, Any]],
    owners: Mapping[str, Sequence[str]],
    proxies: Mapping[str, str],
    labels: Mapping[str, str],
) -> dict[str, str]:
    """Return the login turns of the accounts whose node shares its egress with others.

    Args:
        accounts: the entries of ``dcta_accounts``. One without a password never logs in and counts for nothing.
        owners: node name to the names of its accounts, for all nodes of the fleet.
        proxies: node name to the proxy of its accounts that name none; empty for none.
        labels: node name to the operator's name for its egress; empty for none.

    Returns:
        Account name to the place of its node among those that leave by the same egress, such as ``2/10``.
    """
    node_of = {name: node for node, names in owners.items() for name in names}
    egresses = {}
    for account in accounts:
        name = str(account["name"])
        # Only asked for, because a value of its own in the vault takes its time to be decrypted.
        if "password" in account and name in node_of:
            node = node_of[name]
            egresses[name] = egress_of(account, node, str(proxies.get(node) or ""), str(labels.get(node) or ""))
    nodes: dict[tuple[str, str], set[str]] = {}
    for name, egress in egresses.items():
        nodes.setdefault(egress, set()).add(node_of[name])
    order = {egress: sorted(sharing) for egress, sharing in nodes.items() if len(sharing) > 1}
    return {
        name: f"{order[egress].index(node_of[name]) + 1}/{len(order[egress])}"
        for name, egress in egresses.items()
        if egress in order
    }
