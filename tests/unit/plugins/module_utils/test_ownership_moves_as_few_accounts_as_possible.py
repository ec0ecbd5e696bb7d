# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The promises of assign_accounts."""

from __future__ import annotations

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.ownership import assign, owner

ACCOUNTS = [{"name": f"account-{number}"} for number in range(1000)]
NODES = [f"node{number}" for number in range(1, 11)]


def _owners(nodes: list[str], weights: dict[str, float] | None = None) -> dict[str, str]:
    return {account["name"]: owner(account, nodes, weights) for account in ACCOUNTS}


def test_every_account_has_exactly_one_owner() -> None:
    names = [name for names in assign(ACCOUNTS, NODES).values() for name in names]
    assert sorted(names) == sorted(account["name"] for account in ACCOUNTS)


def test_a_new_node_takes_about_its_share_and_nothing_else_moves() -> None:
    before, after = _owners(NODES), _owners([*NODES, "node11"])
    moved = {name for name in before if before[name] != after[name]}
    assert {after[name] for name in moved} == {"node11"}
    assert 0.5 / 11 < len(moved) / len(ACCOUNTS) < 1.7 / 11


def test_a_removed_node_gives_away_only_what_it_had() -> None:
    before, after = _owners(NODES), _owners(NODES[:-1])
    assert all(before[name] == after[name] for name in before if before[name] != NODES[-1])


def test_order_of_nodes_and_accounts_does_not_matter() -> None:
    assert _owners(NODES) == _owners(NODES[::-1])
    assert assign(ACCOUNTS, NODES) == assign(ACCOUNTS[::-1], NODES)


def test_a_node_of_double_weight_gets_about_double() -> None:
    owners = list(_owners(["node1", "node2"], {"node2": 2}).values())
    assert 1.6 < owners.count("node2") / owners.count("node1") < 2.5


def test_a_pin_decides_and_weight_zero_takes_pins_only() -> None:
    accounts = [*ACCOUNTS, {"name": "pinned", "node": "node2"}]
    assert assign(accounts, ["node1", "node2"], {"node2": 0})["node2"] == ["pinned"]


def test_no_candidate_is_one_sentence_with_the_cure() -> None:
    with pytest.raises(ValueError, match="give at least one node"):
        owner({"name": "alice"}, ["node1"], {"node1": 0})
