# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an agent that was taken over may do in its folders: plant links to files of root where root will work later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fleet_world import World

CANARY = "/root/canary"
NOWHERE = "/root/made-through-a-link"
CONTENT = "nobody may touch this"

# An account's record and lock, what would replace a damaged record, and the draft of the agent's own memory.
PLANT = """
cd /var/lib/dcta/tokens
test ! -e ACCOUNT.json || mv ACCOUNT.json ../agent/kept
ln -sf CANARY ACCOUNT.json
ln -sf CANARY ACCOUNT.lock
ln -sf NOWHERE ACCOUNT.json.damaged
cd ../agent
ln -sf NOWHERE .lanes.json.tmp
"""
CLEAN = """
cd /var/lib/dcta/tokens
rm -f ACCOUNT.json ACCOUNT.lock ACCOUNT.json.damaged
cd ../agent
rm -f .lanes.json.tmp
test ! -e kept || mv kept ../tokens/ACCOUNT.json
"""


@dataclass
class Canary:
    """The file that the links lead to.

    Attributes:
        untouched: whether it is as it was, and no other file was made through a link.
    """

    untouched: bool = False


@contextmanager
def planted_links(world: World, node: str, account: str) -> Iterator[Canary]:
    """Plant links as the agent's user, and take them away again.

    Args:
        world: the world.
        node: where.
        account: whose record and lock become links.
    """

    def as_agent(script: str) -> None:
        text = script.replace("ACCOUNT", account).replace("CANARY", CANARY).replace("NOWHERE", NOWHERE)
        world.root_run(node, "runuser", "-u", "dcta-agent", "--", "sh", "-e", "-s", stdin=text.encode())

    def look() -> str:
        return world.root_text(node, "stat", "--format=%U %G %a %h %s %Y %Z", CANARY) + world.root_text(
            node, "cat", CANARY
        )

    canary = Canary()
    world.root_run(node, "install", "-m", "600", "/dev/stdin", CANARY, stdin=CONTENT.encode())
    as_agent(PLANT)
    try:
        before = look()
        yield canary
        made = world.root_run(node, "test", "-e", NOWHERE, check=False).returncode == 0
        canary.untouched = look() == before and not made
    finally:
        as_agent(CLEAN)
        world.root_run(node, "rm", "-f", CANARY, NOWHERE)
