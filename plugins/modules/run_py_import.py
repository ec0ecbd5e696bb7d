#!/usr/bin/python
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action run_py_import, which works on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_py_import
short_description: Turn a run.py of Deploy-ChatGPT-to-API into an inventory
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - Reads the values that an operator wrote into C(run.py) of the project Deploy-ChatGPT-to-API, and writes an inventory
    with them. The secrets are encrypted with the run's own vault password before they touch the disk.
  - The file is parsed and never executed. Only values that are written out are read, such as C(accounts),
    C(access_tokens), C(custom_API_key), C(proxy), C(server_port) and the certificate pair in C(certifications).
  - What cannot be carried over is named in RV(notes), without a value. An API key that the gateway would refuse is
    replaced by a fresh one.
  - Nothing is overwritten, so a second run with the same O(inventory) fails.
attributes:
  check_mode:
    support: full
    description: Says what would be written and what would be left out.
  diff_mode:
    support: none
    description: What changes is secret.
  platform:
    support: full
    platforms: posix
    description: Everything happens on the controller.
options:
  path:
    description: The C(run.py) on the controller. The folders C(certifications) and C(cache) are looked for beside it.
    type: path
    required: true
  inventory:
    description: The folder on the controller that is made. It must not exist, or be empty.
    type: path
    required: true
  address:
    description: Address of the host that becomes the node; V(localhost) for the machine that Ansible runs on.
    type: str
    default: localhost
"""

EXAMPLES = r"""
- name: Turn the run.py into an inventory
  dcta.fleet.run_py_import:
    path: /root/Deploy-ChatGPT-to-API/run.py
    inventory: inventories/mine
    address: 192.0.2.11
  register: migration
"""

RETURN = r"""
accounts:
  description: The names that the accounts were given.
  returned: success
  type: list
  elements: str
  sample: [alice, token]
notes:
  description: What was not carried over or needs attention, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["server_host is not carried over, because it is no IP address: the gateway listens on all addresses."]
files:
  description: The files that were written, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [/root/inventories/mine/hosts.yml]
"""
