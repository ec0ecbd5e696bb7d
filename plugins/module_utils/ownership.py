# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node owns which account: weighted rendezvous hashing, so a new node takes its share and nothing else moves."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any


def _score(account: str, node: str, weight: float) -> float:
    digest = hashlib.sha256(f"{node}\0{account}".encode()).digest()
    uniform = (int.from_bytes(digest[:7], "big") + 0.5) / 2**56
    return -weight / math.log(uniform)


def owner(account: Mapping[str, Any], nodes: Sequence[str], weights: Mapping[str, float] | None = None) -> str:
    """Return the node that owns an account.

    The node with the highest score wins. A score depends on one account and one node only, so adding a node moves
    only what
    the new node wins, and removing one moves only what it had.

    Args:
        account: an entry of ``dcta_accounts``; its ``node``, when set, pins it.
        nodes: the names of all nodes of the fleet.
        weights: a node's share relative to the others; 1 when not named. A node of weight 0 gets pinned accounts
            only.

    Returns:
        The name of one node.

    Raises:
        ValueError: when there is no node to choose from.
    """
    pinned = account.get("node")
    if pinned:
        return str(pinned)
    share = {node: float((weights or {}).get(node, 1)) for node in nodes}
    candidates = [node for node in nodes if share[node] > 0]
    if not candidates:
        raise ValueError("no node may take an account: give at least one node of the group dcta_nodes a weight above 0")
    name = str(account["name"])
    return max(candidates, key=lambda node: (_score(name, node, share[node]), node))


def assign(
    accounts: Sequence[Mapping[str, Any]], nodes: Sequence[str], weights: Mapping[str, float] | None = None
) -> dict[str, list[str]]:
    """Return the names of the accounts of every node.

    Args:
        accounts: the entries of ``dcta_accounts``.
        nodes: the names of all nodes of the fleet.
        weights: as in :func:`owner`.

    Returns:
        Node name to sorted account names; every node is there.
    """
    result: dict[str, list[str]] = {node: [] for node in nodes}
    for account in accounts:
        result.setdefault(owner(account, nodes, weights), []).append(str(account["name"]))
    return {node: sorted(names) for node, names in result.items()}


def arrivals(assigned: Mapping[str, Sequence[str]], held: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the accounts that some nodes are about to get.

    Args:
        assigned: node name to the names of the accounts that shall live there, as :func:`assign` gives it.
        held: the nodes of a run, each with the names of the accounts that it holds now.

    Returns:
        Account name to the node that does not hold it yet.
    """
    return {name: node for node, present in held.items() for name in assigned[node] if name not in present}


def conflicts(
    assigned: Mapping[str, Sequence[str]],
    held: Mapping[str, Sequence[str]],
    outside: Mapping[str, Sequence[str] | None],
) -> list[str]:
    """Return why a run of some nodes would give an account a second owner.

    Args:
        assigned: as for :func:`arrivals`.
        held: as for :func:`arrivals`.
        outside: the nodes that the run leaves out, each with the names of the accounts that it holds, or nothing
            when it could not be asked.

    Returns:
        One sentence a problem; none when no account is about to arrive anywhere.
    """
    arriving = arrivals(assigned, held)
    problems = []
    for node, names in outside.items():
        if names is None and arriving:
            problems.append(
                f"{node} cannot be asked whether it still uses {', '.join(sorted(arriving))}: bring it back, or make "
                "sure that it is off for good and name it in dcta_lost_nodes"
            )
        problems += [
            f"account {name} still lives on {node} and would live on {arriving[name]} too: run without --limit, or "
            f"with both nodes in it"
            for name in sorted(set(names or ()) & set(arriving))
        ]
    return problems
