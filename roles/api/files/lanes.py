# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs of the lanes share: the description of the node's lanes, and how each variant is fed."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import node_paths
from node_paths import ACCOUNT_NAME, LANES

# The lane-exec and lanes-runner of 0.1.0 import these from here. During an upgrade, and on the way back, they may start
# in the moment in which this file is the new one and they are not replaced yet.
LANE_NAME = re.compile(ACCOUNT_NAME.pattern + r"\Z")  # they ask it by match(), which looks at no end
REPLICAS = node_paths.REPLICAS
LANES_FILE = Path(LANES)

# How each form of token file wraps the one token of a lane: the program's variants differ in nothing else here.
TOKEN_FORMS: dict[str, Callable[[str, str], Any]] = {
    "string_list": lambda _name, token: [token],
    "object_list": lambda _name, token: [{"token": token, "puid": ""}],
    "account_map": lambda name, token: {name: {"token": token, "puid": ""}},
}


class LaneError(Exception):
    """One sentence that names what was wrong and the cure."""


@dataclass(frozen=True)
class Lane:
    """One account's lane: where its two replicas listen and how the program is fed.

    Attributes:
        name: the account.
        address: the loopback address of its replicas.
        ports: their ports by name.
        profile: the program's variant, as the role ``api`` describes it.
    """

    name: str
    address: str
    ports: dict[str, int]
    profile: dict[str, Any]


def load_lanes(path: Path = Path(LANES)) -> dict[str, Lane]:
    """Read all lanes of the node.

    Args:
        path: the file that the role ``api`` writes.

    Returns:
        The lanes by name.

    Raises:
        LaneError: the file cannot be read or does not have the expected form.
    """
    try:
        document = json.loads(path.read_bytes())
        return {
            name: Lane(name=name, address=lane["address"], ports=lane["ports"], profile=document["profile"])
            for name, lane in document["lanes"].items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise LaneError(f"{path} cannot be used ({type(error).__name__}): run the playbook deploy again") from None


def patches_at_start(lane: Lane) -> bool:
    """Say whether the program must get its token over HTTP once more as soon as it has started."""
    return bool(lane.profile.get("patch_at_start"))


def account_names(lane: Lane) -> list[str]:
    """Return by which names the program knows the account: the one it starts with, then the one it goes on with."""
    return [lane.name, f"{lane.name}.patched"] if patches_at_start(lane) else [lane.name]


def token_document(lane: Lane, token: str, *, start: bool = False) -> Any:
    """Return a token in the form that the program takes over HTTP, or reads from its file when it starts.

    Args:
        lane: the lane, whose profile says which form.
        token: the access token.
        start: whether it is for the file.
    """
    return TOKEN_FORMS[lane.profile["token_file"]["form"]](account_names(lane)[0 if start else -1], token)


def check_token(lane: Lane, token: str) -> None:
    """Refuse a token that the program cannot bear.

    Args:
        lane: the lane, whose profile says which form tokens have.
        token: the access token.

    Raises:
        LaneError: it cannot; the sentence does not hold the token.
    """
    pattern = lane.profile.get("token_pattern")
    if pattern and not re.fullmatch(pattern, token):
        raise LaneError(
            f"the token of {lane.name} does not have the form that the profile {lane.profile['name']} takes, "
            f"{pattern}: give the account another token, or choose another profile"
        )


def program_environment(lane: Lane, replica: str, home: str) -> dict[str, str]:
    """Return the environment of the program; nothing in it is secret."""
    return {
        "HOME": home,
        "PATH": "/usr/bin:/bin",
        **lane.profile["environment"],
        "SERVER_HOST": lane.address,
        "SERVER_PORT": str(lane.ports[replica]),
    }


def admin_password(key: bytes, lane: str) -> str:
    """Derive a lane's admin password from the node's own key, so no two lanes share one and none is stored twice."""
    return hmac.new(key.strip(), f"admin password of lane {lane}".encode(), hashlib.sha256).hexdigest()
