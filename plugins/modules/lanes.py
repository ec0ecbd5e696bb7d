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
    setting or the token is another than the one a replica was started with, and stops the lanes of all other
    accounts. A lane that runs stays up while the next token of its account is being fetched.
  - Every token is read from the store right before it is laid down, while the refresh agent delivers none to the same
    lane, so an older one never replaces a newer one.
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

import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import AccountsError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.node_paths import (
    LANE_RUNNER_FOLDER,
    LANE_RUNNER_SOCKET,
    LANES,
    TOKENS,
    TOKENS_OWNER,
)
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import Record
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.serving import may_run
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from ansible_collections.dcta.fleet.plugins.module_utils.lane_runner import LaneRunner, LaneRunnerError, lanes_in

SIDE_BY_SIDE = 16
# The agent holds an account's delivery while it hands over a token; the lane runner may make it wait for a restart.
DELIVERY_SECONDS = 300.0


@dataclass(frozen=True)
class Plan:
    """What brings a lane into its state.

    Attributes:
        action: what the run reports.
        lay: what is asked of the lane runner while no other token is delivered.
        move: what is asked of it afterwards, since that may take minutes.
    """

    action: str = "none"
    lay: Literal["", "put", "stop"] = ""
    move: Literal["", "start", "roll"] = ""


def plan(record: Record | None, status: dict[str, Any], now: float) -> Plan:
    """Decide what to do with a lane.

    Args:
        record: the account's record; None if there is none.
        status: how the lane is.
        now: seconds since the epoch.
    """
    replicas = status["replicas"].values()
    running = [replica for replica in replicas if replica["active"]]
    if record is None or not may_run(record, now, running=bool(running)):
        return Plan("stopped", lay="stop") if running or status["token"] else Plan()
    # Where nothing is known of any token, the lane stays with what it has.
    new_token = not status["token"].startswith(record.token_fingerprint or "")
    stale = [replica for replica in running if new_token or not replica["current"]]
    if len(running) == len(replicas) and not stale:
        return Plan()
    return Plan("rolled" if running else "started", "put" if new_token else "", "roll" if stale else "start")


def converge(runner: LaneRunner, store: Store, name: str, check_mode: bool) -> str:
    """Bring one lane into its state.

    Args:
        runner: starts and stops lanes.
        store: the accounts' records.
        name: the lane.
        check_mode: only tell.

    Returns:
        What was done or, in check mode, would be done.

    Raises:
        AccountsError: the store cannot be used.
        LaneRunnerError: the lane runner failed.
    """
    with contextlib.nullcontext() if check_mode else store.delivery(name, DELIVERY_SECONDS):
        status = runner.ask("status", name)
        record = store.load(name)
        if record is None and name in store.names():
            # It cannot be understood. The agent lets the lane be, and writes the record anew.
            return "none"
        step = plan(record, status, time.time())
        if not check_mode and step.lay == "put" and record is not None:
            runner.ask("put", name, token=record.access_token or "")
        elif not check_mode and step.lay == "stop":
            runner.ask("stop", name)
    if not check_mode and step.move:
        runner.ask(step.move, name)
    return step.action


def forgotten(names: list[str]) -> list[str]:
    """Return the lanes that run though their accounts are not on this node any more."""
    return sorted(lanes_in(LANE_RUNNER_FOLDER) - set(names))


def described() -> set[str]:
    """Return the lanes that the lane runner knows."""
    try:
        return set(json.loads(Path(LANES).read_bytes())["lanes"])
    except FileNotFoundError:
        return set()


def run(module: AnsibleModule) -> None:
    """Converge all lanes side by side and report.

    Args:
        module: the module.

    Raises:
        AccountsError: the store cannot be used at all.
    """
    names: list[str] = module.params["names"]
    if module.check_mode and not Path(LANE_RUNNER_SOCKET).exists():
        module.exit_json(changed=bool(names), lanes=dict.fromkeys(names, "started"), failed_lanes={})
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
                done[name] = converge(runner, store, name, module.check_mode)
            else:
                if not module.check_mode:
                    runner.ask("stop", name)
                done[name] = "stopped"
        except LaneRunnerError as error:
            failed[name] = str(error)
        except AccountsError as error:
            failed[name] = f"{error.sentence} {error.cure}"

    with Store(module.params["store"], module.params["owner"]) as store, ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(work, [*names, *forgotten(names)]))
    module.exit_json(changed=any(action != "none" for action in done.values()), lanes=done, failed_lanes=failed)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "store": {"type": "path", "default": TOKENS},
            "owner": {"type": "str", "default": TOKENS_OWNER},
        },
        supports_check_mode=True,
    )
    try:
        run(module)
    except AccountsError as error:
        module.fail_json(msg=f"{error.sentence} {error.cure}")


if __name__ == "__main__":
    main()
