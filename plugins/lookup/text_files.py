# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup plugin text_files."""

from __future__ import annotations

DOCUMENTATION = r"""
name: text_files
short_description: Read the text files below some folders of the controller
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - Gives a program's files to M(dcta.fleet.program_files), which writes them in one go.
options:
  _terms:
    type: list
    elements: path
    required: true
    description:
      - Files and folders on the controller. Of a folder only names that end in C(.py), or have no ending, are taken.
"""

EXAMPLES = r"""
- name: Show which files there are
  ansible.builtin.debug:
    msg: "{{ lookup('dcta.fleet.text_files', 'files/agent').keys() }}"
"""

RETURN = r"""
_raw:
  type: list
  elements: dict
  description: One dictionary, from the path below the folder (with the folder's own name) to the content.
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, str]]:
        """Return relative path to content; see DOCUMENTATION."""
        found: dict[str, str] = {}
        for term in terms:
            top = Path(term)
            if not top.exists():
                raise AnsibleLookupError(f"{term} does not exist: install the collection dcta.fleet again")
            files = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.suffix in ("", ".py"))
            found |= {str(path.relative_to(top.parent)): path.read_text() for path in files if path.is_file()}
        return [found]
