# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter plugin account_conflicts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: account_conflicts
short_description: Say why a run of some nodes would give an account two owners
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - A run with C(--limit) must not log an account in on its new node while the old one, outside the run, still uses it.
positional: _input, held, outside
options:
  _input:
    type: dict
    required: true
    description: Node name to names of accounts, as the filter P(dcta.fleet.assign_accounts#filter) gives it.
  held:
    type: dict
    required: true
    description: The nodes of the run, each with the names of the accounts that it holds.
  outside:
    type: dict
    required: true
    description:
      - The nodes that the run leaves out, each with the names of the accounts that it holds, or V(none) when it could
        not be asked.
"""

EXAMPLES = r"""
- name: Refuse an account with two owners
  vars:
    assigned: {node1: [], node2: [alice]}
    held: {node2: []}
    outside: {node1: [alice]}
  ansible.builtin.assert:
    that: assigned | dcta.fleet.account_conflicts(held, outside) | length == 0
"""

RETURN = r"""
_value:
  type: list
  elements: str
  description: One sentence a problem.
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.dcta.fleet.plugins.module_utils.ownership import conflicts


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name to function."""
        return {"account_conflicts": conflicts}
