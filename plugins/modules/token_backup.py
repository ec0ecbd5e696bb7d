#!/usr/bin/python
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module token_backup: the node's part reads the store; the action of the same name encrypts and keeps it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: token_backup
short_description: Keep an encrypted copy of a node's tokens on the controller
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - Copies the token store of a node, encrypted with the run's own vault password, into a file on the controller.
    Nothing of it touches the controller's disk unencrypted, and a run without a vault password is refused.
  - The file is replaced only when the store has changed, and by one step, so there is always a whole one.
  - An empty store never replaces a backup that holds accounts, and of an account whose record is damaged the last good
    copy stays.
  - Set C(no_log) on the task, because at high verbosity Ansible shows what a node answers.
attributes:
  check_mode:
    support: full
    description: Reads the store and says whether the file would change.
  diff_mode:
    support: none
    description: What changes is secret.
  platform:
    support: full
    platforms: posix
    description: The store is on the node, the file on the controller.
options:
  path:
    description: The file on the controller. Missing folders above it are made, for the operator alone.
    type: path
    required: true
  store:
    description: Folder on the node that holds one file per account.
    type: path
    default: /var/lib/dcta/tokens
  owner:
    description: User that owns the store; root works in it only as this user.
    type: str
    default: dcta-agent
"""

EXAMPLES = r"""
- name: Keep a copy of the tokens
  dcta.fleet.token_backup:
    path: "{{ inventory_dir }}/tokens.bak/{{ inventory_hostname }}.bak"
  no_log: true
"""

RETURN = r"""
path:
  description: The file on the controller.
  returned: success
  type: str
  sample: /root/inventories/prod/tokens.bak/node1.bak
accounts:
  description: The accounts that the backup holds.
  returned: success
  type: list
  elements: str
  sample: [alice, bob]
unreadable:
  description: The accounts whose record on the node is damaged.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcta.fleet.plugins.module_utils import token_backup
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import AccountsError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "store": {"type": "path", "default": "/var/lib/dcta/tokens"},
            "owner": {"type": "str", "default": "dcta-agent"},
        },
        supports_check_mode=True,
    )
    try:
        with Store(module.params["store"], module.params["owner"]) as store:
            found, unreadable = token_backup.read(store)
    except AccountsError as error:
        module.fail_json(msg=f"{error.sentence} {error.cure}")
    # The action takes the content out of the result.
    module.exit_json(changed=False, content=found.to_json(), unreadable=unreadable)


if __name__ == "__main__":
    main()
