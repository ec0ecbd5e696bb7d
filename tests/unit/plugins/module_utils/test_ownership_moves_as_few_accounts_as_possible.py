# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The promises of assign_accounts."""

from __future__ import annotations

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.ownership import arrivals, assign, conflicts, owner

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


def test_the_fifth_node_gets_a_fifth_of_1000_accounts() -> None:
    before, after = _owners(NODES[:4]), _owners(NODES[:5])
    moved = {name for name in before if before[name] != after[name]}
    assert {after[name] for name in moved} == {"node5"}
    assert abs(len(moved) - 200) < 40


ASSIGNED = {"node1": ["alice"], "node2": ["bob", "carol"], "node3": []}


def test_an_account_arrives_where_it_is_not_held_yet() -> None:
    held = {"node1": ["alice", "bob"], "node2": ["carol"]}
    assert arrivals(ASSIGNED, held) == {"bob": "node2"}


def test_an_account_that_lives_outside_the_run_is_refused_by_name() -> None:
    [sentence] = conflicts(ASSIGNED, {"node2": ["carol"]}, {"node1": ["alice", "bob"], "node3": []})
    assert sentence.startswith("account bob still lives on node1 and would live on node2 too: run without --limit")


def test_a_node_outside_the_run_that_cannot_be_asked_is_refused_with_the_setting() -> None:
    [sentence] = conflicts(ASSIGNED, {"node2": ["carol"]}, {"node1": None, "node3": []})
    assert sentence.startswith("node1 cannot be asked whether it still uses bob: ")
    assert "dcta_lost_nodes" in sentence


def test_a_run_to_which_nothing_arrives_asks_nobody_and_is_never_refused() -> None:
    assert conflicts(ASSIGNED, {"node2": ["bob", "carol", "zoe"]}, {"node1": None, "node3": ["bob"]}) == []
