#!/usr/bin/python
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module token_restore: the action of the same name opens the backup, the node's part brings its records back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: token_restore
short_description: Bring the tokens of a backup back to a node
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - Decrypts a file that M(dcta.fleet.token_backup) made, on the controller, and writes the records of the node's
    accounts into its token store, each under the account's lock. Nothing is logged in.
  - A record whose token is newer than the backup's stays, and so does the account's budget of password submissions.
  - What is sent to the node never lies in a file on the way; a connection that cannot do that is refused.
  - A refresh token is stale when the node used it after the backup. The provider then refuses it at the next renewal,
    and the account is logged in with its password, within its budget.
  - Set C(no_log) on the task.
attributes:
  check_mode:
    support: full
    description: Says what would be brought back, also for a host that was never touched.
  diff_mode:
    support: none
    description: What changes is secret.
  platform:
    support: full
    platforms: posix
    description: The file is on the controller, the store on the node.
options:
  path:
    description: The encrypted file on the controller.
    type: path
    required: true
  accounts:
    description: Names of the accounts that the node owns. Others are left out.
    type: list
    elements: str
    required: true
  force:
    description:
      - Bring the backup's tokens back over newer ones too, and into a store that was made anew since and has been used.
    type: bool
    default: false
  content:
    description: The decrypted backup. It is taken from O(path); whatever is given here is ignored.
    type: str
  store:
    description: Folder on the node that holds one file per account. It is made by the role C(node).
    type: path
    default: /var/lib/dcta/tokens
  owner:
    description: User that owns the store; root works in it only as this user.
    type: str
    default: dcta-agent
"""

EXAMPLES = r"""
- name: Bring the tokens back
  dcta.fleet.token_restore:
    path: "{{ inventory_dir }}/tokens.bak/{{ inventory_hostname }}.bak"
    accounts: [alice, bob]
  no_log: true
"""

RETURN = r"""
accounts:
  description: One entry for each of O(accounts) and for each account of the backup, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The account.
      returned: always
      type: str
      sample: alice
    action:
      description:
        - V(restored), or would be in check mode; V(unchanged) where the node has these tokens already; V(kept) where
          the node's record stays; V(missing) where the backup has none; V(left_out) where the node does not own it.
      returned: always
      type: str
      sample: restored
    message:
      description: Why the account was not restored, empty if it was.
      returned: always
      type: str
      sample: ''
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcta.fleet.plugins.module_utils import token_backup
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import AccountsError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store


def bring_back(module: AnsibleModule) -> list[token_backup.Restored]:
    """Restore, or tell what would be restored."""
    params = module.params
    backup = token_backup.Backup.from_json(params["content"] or "")
    if module.check_mode and not Path(params["store"]).exists():
        return token_backup.restore(None, backup, params["accounts"], dry=True)
    with Store(params["store"], params["owner"]) as store:
        return token_backup.restore(store, backup, params["accounts"], force=params["force"], dry=module.check_mode)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "accounts": {"type": "list", "elements": "str", "required": True},
            "force": {"type": "bool", "default": False},
            "content": {"type": "str", "no_log": True},
            "store": {"type": "path", "default": "/var/lib/dcta/tokens"},
            "owner": {"type": "str", "default": "dcta-agent"},
        },
        supports_check_mode=True,
    )
    try:
        done = bring_back(module)
    except AccountsError as error:
        module.fail_json(msg=f"{error.sentence} {error.cure}")
    module.exit_json(
        changed=any(account.action == "restored" for account in done),
        accounts=[{"name": account.name, "action": account.action, "message": account.message} for account in done],
    )


if __name__ == "__main__":
    main()
