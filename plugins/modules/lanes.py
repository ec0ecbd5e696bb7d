#!/usr/bin/python
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module lanes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lanes
short_description: Bring all lanes of a node into the described state
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - Starts the lanes of accounts with a usable token, restarts one replica after the other where the release, a
    setting or the token
    is another than the one a replica was started with, and stops the lanes of all other accounts.
  - Handles all lanes of the node in one call, because every execution of a module costs a node a quarter of a second.
  - One replica of a lane serves at all times, so no request is lost.
attributes:
  check_mode:
    support: full
    description: Says what would be done.
  diff_mode:
    support: none
    description: Says what was done in RV(lanes).
options:
  names:
    description: The accounts of this node. Lanes of others are stopped.
    type: list
    elements: str
    required: true
  store:
    description: The folder of the accounts' tokens.
    type: path
    default: /var/lib/dcta/tokens
  owner:
    description: The user that the folder belongs to.
    type: str
    default: dcta-agent
"""

EXAMPLES = r"""
- name: Start, roll and stop lanes until all run as described
  dcta.fleet.lanes:
    names: [alice, bob]
"""

RETURN = r"""
lanes:
  description: What was done, or in check mode would be done, with each lane.
  returned: success
  type: dict
  sample: {alice: none, bob: rolled}
  contains:
    NAME:
      description: One of V(none), V(started), V(rolled), V(stopped).
      type: str
      returned: success
failed_lanes:
  description: The lanes that could not be brought into their state, with the reason.
  returned: success
  type: dict
  sample: {bob: "dcta-api-a@bob.service does not run: see journalctl -u dcta-api-a@bob.service"}
"""

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import AccountsError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.node_paths import (
    LANE_RUNNER_FOLDER,
    LANE_RUNNER_SOCKET,
    LANES,
    TOKENS,
    TOKENS_OWNER,
)
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from ansible_collections.dcta.fleet.plugins.module_utils.lane_runner import LaneRunner, LaneRunnerError

SIDE_BY_SIDE = 16


def converge(runner: LaneRunner, name: str, token: str, check_mode: bool) -> str:
    """Bring one lane into its state.

    :param name: the lane's name.
    :param token: the token it shall serve with; nothing when it shall not run.
    :returns: what was done or, in check mode, would be done.
    """
    status = runner.ask("status", name)
    replicas = status["replicas"].values()
    running = [replica for replica in replicas if replica["active"]]
    if not token:
        if not running and not status["token"]:
            return "none"
        if not check_mode:
            runner.ask("stop", name)
        return "stopped"
    new_token = status["token"] != hashlib.sha256(token.encode()).hexdigest()
    if len(running) == len(replicas) and not new_token and all(replica["current"] for replica in replicas):
        return "none"
    action = "rolled" if running else "started"
    if not check_mode:
        if new_token:
            runner.ask("put", name, token=token)
        stale = [replica for replica in running if new_token or not replica["current"]]
        runner.ask("roll" if stale else "start", name)
    return action


def usable_tokens(store: str, owner: str, names: list[str]) -> dict[str, str]:
    """Return the access tokens that a lane may serve with now, by account."""
    with Store(store, owner) as records:
        loaded = [records.load(name) for name in names]
    return {record.name: record.access_token or "" for record in loaded if record and record.usable(time.time())}


def forgotten(names: list[str]) -> list[str]:
    """Return the lanes that run though their accounts are not on this node any more."""
    return sorted({path.stem for path in Path(LANE_RUNNER_FOLDER).glob("*.json")} - set(names))


def described() -> set[str]:
    """Return the lanes that the lane runner knows."""
    try:
        return set(json.loads(Path(LANES).read_bytes())["lanes"])
    except FileNotFoundError:
        return set()


def run(module: AnsibleModule) -> None:
    """Converge all lanes side by side and report."""
    names: list[str] = module.params["names"]
    if module.check_mode and not Path(LANE_RUNNER_SOCKET).exists():
        module.exit_json(changed=bool(names), lanes=dict.fromkeys(names, "started"), failed_lanes={})
    try:
        tokens = usable_tokens(module.params["store"], module.params["owner"], names)
    except AccountsError as error:
        module.fail_json(msg=f"{error.sentence} {error.cure}")
    runner = LaneRunner()
    # A real run would have described all lanes just before.
    new = set(names) - described() if module.check_mode else set()
    done: dict[str, str] = {}
    failed: dict[str, str] = {}

    def work(name: str) -> None:
        try:
            if name in new:
                done[name] = "started"
            elif name in names:
                done[name] = converge(runner, name, tokens.get(name, ""), module.check_mode)
            else:
                if not module.check_mode:
                    runner.ask("stop", name)
                done[name] = "stopped"
        except LaneRunnerError as error:
            failed[name] = str(error)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(work, [*names, *forgotten(names)]))
    module.exit_json(changed=any(action != "none" for action in done.values()), lanes=done, failed_lanes=failed)


def main() -> None:
    """Run the module."""
    run(
        AnsibleModule(
            argument_spec={
                "names": {"type": "list", "elements": "str", "required": True},
                "store": {"type": "path", "default": TOKENS},
                "owner": {"type": "str", "default": TOKENS_OWNER},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
