# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter plugin assign_accounts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: assign_accounts
short_description: Decide which node owns which account
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - Every account has exactly one owner node, chosen by weighted rendezvous hashing of the names. The answer depends on
    nothing but the input, so every run and every controller gives the same, whatever the order of accounts and nodes.
  - Adding a node to make n of them moves about 1/n of the accounts, all of them to the new node. Removing a node moves
    only the accounts it had. Changing a node's weight moves accounts only to it or only from it.
  - An account with the key C(node) stays on that node.
positional: _input, nodes
options:
  _input:
    type: list
    elements: dict
    required: true
    description: Accounts as in C(dcta_accounts); only the keys C(name) and C(node) are read.
  nodes:
    type: list
    elements: str
    required: true
    description: All nodes of the fleet, also those that a C(--limit) leaves out.
  weights:
    type: dict
    default: {}
    description: A node's share relative to the others. 1 when a node is not named, 0 for pinned accounts only.
"""

EXAMPLES = r"""
- name: Show who owns what
  ansible.builtin.debug:
    msg: "{{ [{'name': 'alice'}, {'name': 'bob', 'node': 'node2'}] | dcta.fleet.assign_accounts(['node1', 'node2']) }}"
"""

RETURN = r"""
_value:
  type: dict
  description: For every node the sorted names of its accounts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.dcta.fleet.plugins.module_utils.ownership import assign


def assign_accounts(
    accounts: Sequence[Mapping[str, Any]], nodes: Sequence[str], weights: Mapping[str, float] | None = None
) -> dict[str, list[str]]:
    """Return node name to account names; see DOCUMENTATION."""
    try:
        return assign(accounts, nodes, weights)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name to function."""
        return {"assign_accounts": assign_accounts}
