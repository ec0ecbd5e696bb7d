#!/usr/bin/python

# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that makes a node forget the accounts that no longer live on it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: account_forget
short_description: Make a node forget accounts that no longer live on it
version_added: 0.1.0
author:
  - The dcta.fleet authors (@dcta-fleet)
description:
  - Every account that the node holds and that is not named in O(keep) is let go. Its lane is stopped, after the
    requests under way were answered. Then its refresh token is revoked at the provider (RFC 7009), and its record, its
    lock and the working folders of its lane are removed.
  - Stop the agent from using such an account before, and take it from the gateway, as the playbooks do.
  - A revocation that fails is a warning that names the class of the failure.
    The tokens are gone from the node all the same.
  - A lane that cannot be stopped, or a record that cannot be removed, fails the module, so that nobody uses the account
    elsewhere while it may still be used here.
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and tell what would be forgotten without a request to the provider.
  diff_mode:
    support: full
    description: Shows the names of the accounts that the node holds, before and after.
  platform:
    support: full
    platforms: posix
    description: The module runs on the node, as root.
extends_documentation_fragment:
  - dcta.fleet.accounts
  - dcta.fleet.accounts.connection
options:
  keep:
    description:
      - Names of the accounts that stay.
    type: list
    elements: str
    required: true
  credentials:
    description:
      - JSON file on the node with the accounts' credentials, as for M(dcta.fleet.account_login).
        An account that is forgotten should still be in it, because the revocation leaves by the account's proxy.
    type: path
    default: /etc/dcta/credentials/accounts.json
seealso:
  - module: dcta.fleet.account_info
  - module: dcta.fleet.account_login
"""

EXAMPLES = r"""
- name: Forget everything but alice and bob
  dcta.fleet.account_forget:
    keep: [alice, bob]
"""

RETURN = r"""
accounts:
  description:
    - One entry for each account that was forgotten, sorted by name. No entry holds a secret or an e-mail address.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The account.
      returned: always
      type: str
      sample: alice
    revoked:
      description:
        - Whether its refresh token was revoked, or would be in check mode. V(false) too if it had none.
      returned: always
      type: bool
      sample: true
    error_class:
      description: Class of the failure of the revocation, V(none) if there was none.
      returned: always
      type: str
      sample: network_error
    message:
      description: One sentence on what happened to its tokens.
      returned: always
      type: str
      sample: The refresh token is revoked.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials, load_credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import AccountsError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.node_paths import (
    LANE_RUNNER_FOLDER,
    LANE_RUNNER_SOCKET,
)
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.provider import Provider
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.renewer import Renewer
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.runtime import Runtime
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from ansible_collections.dcta.fleet.plugins.module_utils.http_session import REQUESTS_IMPORT_ERROR, HttpSession
from ansible_collections.dcta.fleet.plugins.module_utils.lane_runner import LaneRunner, LaneRunnerError, lanes_in

SIDE_BY_SIDE = 16


def running() -> set[str]:
    """Return the accounts whose lanes run."""
    return lanes_in(LANE_RUNNER_FOLDER)


def stop_lanes(module: AnsibleModule, names: list[str]) -> None:
    """Stop lanes side by side, each when its requests are answered, and remove their working folders."""
    # Without the lane runner there has never been a lane.
    if not names or not Path(LANE_RUNNER_SOCKET).exists():
        return
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(lambda name: LaneRunner().ask("stop", name), names))
    # systemd made the folders, for users that exist only while the units run.
    units = [f"dcta-api-{replica}@{name}.service" for name in names for replica in ("a", "b")]
    module.run_command(["systemctl", "clean", "--what=state", *units], check_rc=True)


def renewer_of(module: AnsibleModule, store: Store) -> Renewer:
    """Build the library's entry from the module's parameters."""
    params = module.params
    ca_bundle = params["ca_bundle"] if params["ca_bundle"] and Path(params["ca_bundle"]).is_file() else None

    def session(account: Credentials) -> HttpSession:
        return HttpSession(proxy=account.proxy, ca_bundle=ca_bundle, timeout=params["timeout"])

    return Renewer(
        store=store,
        provider=Provider.from_mapping(params["provider"]),
        credentials=load_credentials(params["credentials"]) if Path(params["credentials"]).exists() else {},
        runtime=Runtime(session=session),
        limits=Limits.from_mapping(params["limits"]),
    )


def forget(module: AnsibleModule, renewer: Renewer, names: list[str]) -> Iterator[dict[str, Any]]:
    """Forget accounts one after the other, or in check mode tell what would become of them."""
    for name in names:
        record = renewer.store.load(name)
        revocable = record is not None and record.refresh_token is not None
        failure = None if module.check_mode else renewer.forget(name)
        if failure is not None:
            module.warn(
                f"The refresh token of account {name} could not be revoked ({failure.error_class}): {failure.sentence} "
                "It is gone from the node; end the session with the provider if it must not live until it runs out."
            )
        message = "The refresh token is revoked." if revocable else "There was no refresh token."
        yield {
            "name": name,
            "revoked": revocable and failure is None,
            "error_class": None if failure is None else failure.error_class,
            "message": message if failure is None else failure.sentence,
        }


def run(module: AnsibleModule) -> None:
    """Forget what does not stay, and report.

    Args:
        module: the module.

    Raises:
        AccountsError: the settings or the store cannot be used.
        LaneRunnerError: a lane could not be stopped.
    """
    keep = set(module.params["keep"])
    if not Path(module.params["store"]).exists():
        module.exit_json(changed=False, accounts=[])
    with Store(module.params["store"], module.params["owner"]) as store:
        renewer = renewer_of(module, store)
        held = sorted({*store.names(), *running()})
        leaving = [name for name in held if name not in keep]
        if not module.check_mode:
            stop_lanes(module, leaving)
        accounts = list(forget(module, renewer, leaving))
    before, after = ("".join(f"{name}\n" for name in names) for names in (held, [n for n in held if n in keep]))
    module.exit_json(changed=bool(leaving), accounts=accounts, diff={"before": before, "after": after})


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "keep": {"type": "list", "elements": "str", "required": True},
            "credentials": {"type": "path", "default": "/etc/dcta/credentials/accounts.json", "no_log": False},
            "store": {"type": "path", "default": "/var/lib/dcta/tokens"},
            "owner": {"type": "str", "default": "dcta-agent"},
            "provider": {"type": "dict", "default": {}},
            "limits": {"type": "dict", "default": {}},
            "ca_bundle": {"type": "path", "default": ""},
            "timeout": {"type": "float", "default": 30.0},
        },
        supports_check_mode=True,
    )
    if REQUESTS_IMPORT_ERROR is not None and not module.check_mode:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    try:
        run(module)
    except AccountsError as error:
        module.fail_json(msg=f"{error.sentence} {error.cure}")
    except LaneRunnerError as error:
        module.fail_json(msg=f"An account could not be let go: {error}.")


if __name__ == "__main__":
    main()
