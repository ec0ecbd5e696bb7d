# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup plugin resolved."""

from __future__ import annotations

DOCUMENTATION = r"""
name: resolved
short_description: Read a variable, or tell what is missing inside it
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - A setting may use other variables, for instance those of a vault. Where one of them is not defined, reading the
    setting fails wherever it happens first. This lookup answers instead, so that a check can say which one is missing.
options:
  _terms:
    type: list
    elements: str
    required: true
    description: Names of variables.
  default:
    type: raw
    default: ""
    description: The value of a variable that is not defined at all.
"""

EXAMPLES = r"""
- name: Say what is missing
  ansible.builtin.debug:
    msg: "{{ (lookup('dcta.fleet.resolved', 'dcta_accounts', default=[])).undefined | default('nothing is missing') }}"
"""

RETURN = r"""
_raw:
  type: list
  elements: raw
  description: For each name the value, or a dictionary whose one key C(undefined) tells which variable is missing.
"""

from typing import Any

from ansible.errors import AnsibleUndefinedVariable
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[Any]:
        """Return one value for each name; see DOCUMENTATION."""
        self.set_options(var_options=variables, direct=kwargs)
        default = self.get_option("default")
        found: list[Any] = []
        for term in terms:
            try:
                found.append(self._templar.template(variables.get(term, default)))
            except AnsibleUndefinedVariable as error:
                found.append({"undefined": str(error)})
        return found
