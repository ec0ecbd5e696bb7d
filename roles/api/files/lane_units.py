# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units of the replicas: what they are called, how they are, and systemctl with one sentence for its failures."""

from __future__ import annotations

import subprocess

from lanes import LaneError

# Above the stop and start limits of the units, so that systemd and not this program decides.
JOB_SECONDS = 180


def unit(lane: str, replica: str) -> str:
    """Return the name of a replica's unit."""
    return f"dcta-api-{replica}@{lane}.service"


def systemctl(*arguments: str) -> str:
    """Run systemctl.

    Args:
        arguments: its arguments, a unit or a pattern of units last.

    Returns:
        What it printed.

    Raises:
        LaneError: it failed or took too long.
    """
    try:
        return subprocess.run(
            ["/usr/bin/systemctl", *arguments], capture_output=True, text=True, timeout=JOB_SECONDS, check=True
        ).stdout
    except subprocess.CalledProcessError as error:
        raise LaneError(f"systemctl {arguments[0]} failed: see journalctl -u {arguments[-1]}") from error
    except subprocess.TimeoutExpired as error:
        raise LaneError(
            f"systemctl {arguments[0]} took more than {JOB_SECONDS} s: see journalctl -u {arguments[-1]}"
        ) from error


def state(lane: str, replica: str) -> tuple[str, str]:
    """Return systemd's two words for how a replica is: ActiveState and SubState."""
    lines = systemctl("show", "--property=ActiveState,SubState", unit(lane, replica)).splitlines()
    words = dict(line.split("=", 1) for line in lines)
    return words["ActiveState"], words["SubState"]


def is_active(lane: str, replica: str) -> bool:
    """Say whether a replica runs and is ready."""
    return state(lane, replica)[0] == "active"
