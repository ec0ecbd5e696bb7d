# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter plugin login_turns."""

from __future__ import annotations

DOCUMENTATION = r"""
name: login_turns
short_description: Share the login pace of an egress between its nodes
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - The provider sees the address that a login comes from. Nodes that leave by the same one therefore begin logins in
    turns, by the clock, so that no two logins are nearer than the C(login_gap) of the renewal policy.
  - An account leaves by its own proxy, else by the proxy of its node, else by the egress that its node is labelled
    with, else by its node's own address. Proxies are the same when host and port are the same.
  - Only nodes that own an account with a password on that egress count.
positional: _input, fleet, owners, proxies, labels
options:
  _input:
    type: list
    elements: dict
    required: true
    description: The accounts that shall get their turns.
  fleet:
    type: list
    elements: dict
    required: true
    description: All accounts of the fleet, as in C(dcta_accounts).
  owners:
    type: dict
    required: true
    description: For every node of the fleet the names of its accounts, as P(dcta.fleet.assign_accounts#filter) tells.
  proxies:
    type: dict
    default: {}
    description: For a node the proxy of its accounts that name none; empty for none.
  labels:
    type: dict
    default: {}
    description: For a node the name of its egress, any text; empty for none.
"""

EXAMPLES = r"""
- name: Show the turns of two nodes behind one address
  ansible.builtin.debug:
    msg: "{{ accounts | dcta.fleet.login_turns(accounts, owners, {}, {'node1': 'office', 'node2': 'office'}) }}"
  vars:
    accounts: [{name: alice, email: a@example.org, password: p}, {name: bob, email: b@example.org, password: q}]
    owners: {node1: [alice], node2: [bob]}
"""

RETURN = r"""
_value:
  type: list
  elements: dict
  description:
    - The accounts. Those whose node shares their egress with others also have C(login_turn), the place of the node
      among these nodes, such as C(2/10).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.dcta.fleet.plugins.module_utils import login_turns as egress


def login_turns(
    accounts: Sequence[Mapping[str, Any]],
    fleet: Sequence[Mapping[str, Any]],
    owners: Mapping[str, Sequence[str]],
    proxies: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> list[Mapping[str, Any]]:
    """Return the accounts with their turns; see DOCUMENTATION."""
    turns = egress.login_turns(fleet, owners, proxies or {}, labels or {})
    return [
        {**account, "login_turn": turns[account["name"]]} if account["name"] in turns else account
        for account in accounts
    ]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name to function."""
        return {"login_turns": login_turns}
