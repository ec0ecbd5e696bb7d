#!/usr/bin/python
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module port_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: port_info
short_description: Say who listens on a TCP port
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - Reads the kernel's tables, so it needs no further program on the host. Needs root to see the processes of others.
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return the same information.
  diff_mode:
    support: N/A
    description: Does not change anything.
options:
  port:
    description: The port.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Look who listens on the gateway's port
  dcta.fleet.port_info:
    port: 8443
  register: result
"""

RETURN = r"""
listeners:
  description: One entry for each process that listens on the port on any address.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: The process id, 0 when it cannot be seen.
      type: int
      returned: success
    process:
      description: The name of the process.
      type: str
      returned: success
    unit:
      description: The systemd unit that the process belongs to, or nothing.
      type: str
      returned: success
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

LISTEN_STATE = "0A"


def listening_inodes(port: int) -> set[str]:
    """Return the inodes of the sockets that listen on a port (proc(5), net/tcp)."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net", table)
        for row in path.read_text().splitlines()[1:] if path.exists() else []:
            columns = row.split()
            if columns[3] == LISTEN_STATE and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(columns[9])
    return inodes


def holders(inodes: set[str]) -> Iterator[int]:
    """Yield the processes that hold one of the sockets."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(descriptor.readlink()) in wanted for descriptor in (process / "fd").iterdir()):
                yield int(process.name)
        except OSError:  # it ended, or it is somebody else's
            continue


def describe(pid: int) -> dict[str, Any]:
    """Return name and unit of a process."""
    process = Path("/proc", str(pid))
    try:
        units = re.findall(r"/([^/\n]+\.service)", (process / "cgroup").read_text())
        return {"pid": pid, "process": (process / "comm").read_text().strip(), "unit": units[-1] if units else ""}
    except OSError:
        return {"pid": pid, "process": "a process that just ended", "unit": ""}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"port": {"type": "int", "required": True}}, supports_check_mode=True)
    inodes = listening_inodes(module.params["port"])
    listeners = [describe(pid) for pid in holders(inodes)]
    if inodes and not listeners:
        listeners = [{"pid": 0, "process": "a process that cannot be seen", "unit": ""}]
    module.exit_json(changed=False, listeners=listeners)


if __name__ == "__main__":
    main()
