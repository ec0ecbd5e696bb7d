# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter plugin account_arrivals."""

from __future__ import annotations

DOCUMENTATION = r"""
name: account_arrivals
short_description: Say which accounts some nodes are about to get
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - Compares who shall own which account with what each node of a run holds now.
positional: _input, held
options:
  _input:
    type: dict
    required: true
    description: Node name to names of accounts, as the filter P(dcta.fleet.assign_accounts#filter) gives it.
  held:
    type: dict
    required: true
    description: The nodes of the run, each with the names of the accounts that it holds.
"""

EXAMPLES = r"""
- name: Show that bob is new to node2
  ansible.builtin.debug:
    msg: "{{ {'node1': ['alice'], 'node2': ['bob']} | dcta.fleet.account_arrivals({'node1': ['alice'], 'node2': []}) }}"
"""

RETURN = r"""
_value:
  type: dict
  description: For every account that is about to arrive the name of its new node.
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.dcta.fleet.plugins.module_utils.ownership import arrivals


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name to function."""
        return {"account_arrivals": arrivals}
