# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lane-exec and lanes-runner share: the description of the node's lanes in /etc/dcta/lanes.json."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LANES_FILE = Path("/etc/dcta/lanes.json")
LANE_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}\Z")
REPLICAS = ("a", "b")

# How each form of token file wraps the one token of a lane: the program's variants differ in nothing else here.
TOKEN_FORMS: dict[str, Callable[[str, str], Any]] = {
    "object_list": lambda _name, token: [{"token": token, "puid": ""}],
}


class LaneError(Exception):
    """One sentence that names what was wrong and the cure."""


@dataclass(frozen=True)
class Lane:
    """One account's lane: where its two replicas listen and how the program is fed."""

    name: str
    address: str
    ports: dict[str, int]
    profile: dict[str, Any]


def load_lanes(path: Path = LANES_FILE) -> dict[str, Lane]:
    """Read all lanes of the node.

    :param path: the file that the role ``api`` writes.
    :returns: lanes by name.
    :raises LaneError: when the file cannot be read or does not have the expected form.
    """
    try:
        document = json.loads(path.read_bytes())
        return {
            name: Lane(name=name, address=lane["address"], ports=lane["ports"], profile=document["profile"])
            for name, lane in document["lanes"].items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise LaneError(f"{path} cannot be used ({type(error).__name__}): run the playbook deploy again") from None


def token_document(lane: Lane, token: str) -> Any:
    """Return a token in the form that the program reads from its file and takes over HTTP."""
    return TOKEN_FORMS[lane.profile["token_file"]["form"]](lane.name, token)


def admin_password(key: bytes, lane: str) -> str:
    """Derive a lane's admin password from the node's own key, so no two lanes share one and none is stored twice."""
    return hmac.new(key.strip(), f"admin password of lane {lane}".encode(), hashlib.sha256).hexdigest()
