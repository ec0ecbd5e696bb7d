#!/usr/bin/python

# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that tells how a node's accounts are."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: account_info
short_description: Tell which accounts a node holds and how they are
version_added: 0.1.0
author:
  - The dcta.fleet authors (@dcta-fleet)
description:
  - Reads the token store and the credentials file of a node. Nothing is written and nothing is sent to the provider.
  - An account is shown as the next renewal would find it, so a token that has run out meanwhile counts as such.
  - A host that is no node yet holds no account.
attributes:
  check_mode:
    support: full
    description: The module only reads.
  diff_mode:
    support: none
    description: The module changes nothing.
  platform:
    support: full
    platforms: posix
    description: The module reads files of the node, usually as root.
extends_documentation_fragment:
  - dcta.fleet.accounts
options:
  accounts:
    description:
      - Names of the accounts to tell about.
        Left out, all that have a record in the store or an entry in the credentials file.
    type: list
    elements: str
  credentials:
    description:
      - JSON file on the node with the accounts' credentials, as for M(dcta.fleet.account_login).
    type: path
    default: /etc/dcta/credentials/accounts.json
seealso:
  - module: dcta.fleet.account_login
"""

EXAMPLES = r"""
- name: See how the accounts of this node are
  dcta.fleet.account_info:
  register: info

- name: Name those that need somebody
  ansible.builtin.debug:
    msg: "{{ info.accounts | selectattr('state', 'in', ['quarantined', 'needs_operator']) | map(attribute='name') }}"
"""

RETURN = r"""
accounts:
  description: One entry for each account, sorted by name. No entry holds a secret or an e-mail address.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The account.
      returned: always
      type: str
      sample: alice
    kind:
      description:
        - How the account gets a new token, one of V(password), V(refresh_token) and V(access_token).
        - V(none) if the node has no credentials of it.
      returned: always
      type: str
      sample: password
    state:
      description:
        - V(new) if nothing was tried yet, V(valid) after a success, V(waiting) after a failure that passes,
          V(quarantined) until the credentials change, V(needs_operator) until a person has acted.
      returned: always
      type: str
      sample: valid
    usable:
      description: Whether the account has a token that a lane may run with.
      returned: always
      type: bool
      sample: true
    expires_at:
      description: When the token runs out, in UTC. V(none) if there is no token or nobody knows.
      returned: always
      type: str
      sample: '2026-11-23T02:00:00Z'
    next_renewal:
      description: When the next renewal is due, in UTC. V(none) if only the operator can change something.
      returned: always
      type: str
      sample: '2026-11-22T18:00:00Z'
    error_class:
      description: Class of the last failure as M(dcta.fleet.account_login) names it, V(none) if all is well.
      returned: always
      type: str
      sample: bad_credentials
    message:
      description: One sentence on the state.
      returned: always
      type: str
      sample: The token is good.
    cure:
      description: What to do, empty if there is nothing to do.
      returned: always
      type: str
      sample: ''
"""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcta.fleet.plugins.module_utils.account_results import condition_of
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import load_credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import ConfigurationError, StoreError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.outcome import Outcome, forecast
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.provider import Provider
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import Record
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.situation import Situation
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store


def without_credentials(record: Record) -> Outcome:
    """Tell how an account is that the node cannot renew, because nobody told it how."""
    return Outcome(
        name=record.name,
        kind=None,
        state=record.state,
        usable=record.usable(time.time()),
        action="none",
        changed=False,
        expires_at=record.expires_at,
        error_class=None if record.error is None else record.error.error_class,
        message="The node has no credentials of the account.",
        cure="Run the playbook deploy: it gives the node the credentials, or lets the account go.",
    )


def look(params: Mapping[str, Any], limits: Limits, provider: Provider | None) -> list[Outcome]:
    """Read how the accounts are.

    Args:
        params: the module's parameters.
        limits: the policy.
        provider: the identity provider; None where it is not given.

    Returns:
        One outcome for each account.

    Raises:
        ConfigurationError: an existing credentials file cannot be used.
        StoreError: an existing store cannot be read.
    """
    credentials = load_credentials(params["credentials"]) if Path(params["credentials"]).exists() else {}
    with contextlib.ExitStack() as stack:
        store = None
        if Path(params["store"]).exists():
            store = stack.enter_context(Store(params["store"], params["owner"]))
        names = params["accounts"]
        if names is None:
            names = [*credentials, *(store.names() if store else [])]
        outcomes = []
        for name in sorted(set(names)):
            record = store.load(name) if store else None
            if name in credentials:
                situation = Situation(
                    credentials=credentials[name],
                    provider=provider,
                    salt=store.salt_for(record) if store else b"",
                    now=time.time(),
                    limits=limits,
                )
                outcomes.append(forecast(record, situation))
            else:
                outcomes.append(without_credentials(record or Record(name=name)))
        return outcomes


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "accounts": {"type": "list", "elements": "str"},
            "credentials": {"type": "path", "default": "/etc/dcta/credentials/accounts.json", "no_log": False},
            "store": {"type": "path", "default": "/var/lib/dcta/tokens"},
            "owner": {"type": "str", "default": "dcta-agent"},
            "provider": {"type": "dict", "default": {}},
            "limits": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        limits = Limits.from_mapping(module.params["limits"])
        # Without its settings nothing can be said of what their change would lift.
        provider = Provider.from_mapping(module.params["provider"]) if module.params["provider"] else None
        outcomes = look(module.params, limits, provider)
    except (ConfigurationError, StoreError) as error:
        module.fail_json(msg=f"{error.sentence} {error.cure}")
    module.exit_json(changed=False, accounts=[condition_of(outcome) for outcome in outcomes])


if __name__ == "__main__":
    main()
