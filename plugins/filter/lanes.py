# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter plugin lanes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: lanes
short_description: Turn account names into lanes
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - A lane is what serves one account on its node. Its loopback address follows from the account's name alone, so it
    never moves.
options:
  _input:
    type: list
    elements: str
    required: true
    description: Names of accounts.
"""

EXAMPLES = r"""
- name: Show where alice is served
  ansible.builtin.debug:
    msg: "{{ ['alice'] | dcta.fleet.lanes }}"
"""

RETURN = r"""
_value:
  type: dict
  description: For every name C(address) and C(ports), the ports by the name of the replica.
"""

from collections.abc import Callable, Iterable
from typing import Any

from ansible_collections.dcta.fleet.plugins.module_utils.lane_address import PORTS, lane_address


def lanes(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return name to lane; see DOCUMENTATION."""
    return {str(name): {"address": lane_address(str(name)), "ports": dict(PORTS)} for name in names}


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name to function."""
        return {"lanes": lanes}
