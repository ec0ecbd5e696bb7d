# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the agent, or check its settings: refresh-agent [--check-config FILE]."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from dcta_library.accounts.credentials import load_credentials
from dcta_library.accounts.errors import AccountsError
from dcta_library.accounts.node_paths import AGENT_MEMORY, AGENT_SETTINGS, ALERT_MEMORY, TOKENS, TOKENS_OWNER
from dcta_library.accounts.store import Store
from lanes import LaneError, load_lanes

from .agent import Agent
from .alerts import Alerts
from .config import Config, ConfigError, load_config
from .reports import listen
from .server import serve

# sd_listen_fds(3): the first socket that systemd passes, and what the sockets are called.
LISTEN_FD = 3
QUESTIONS, REPORTS = "dcta-agent.socket", "dcta-agent-log.socket"
# asyncio sets the backlog of a socket anew, also of one that systemd made.
BACKLOG = 1024


def make_agent() -> Agent:
    """Put the agent together from what systemd and the role laid down."""
    credentials, config = Path(os.environ["CREDENTIALS_DIRECTORY"]), load_config(Path(AGENT_SETTINGS))
    admin_key = (credentials / "admin_key").read_bytes()
    alerts = make_alerts(credentials, config)
    return Agent(load_lanes(), config, Store(TOKENS, TOKENS_OWNER), admin_key, Path(AGENT_MEMORY), alerts=alerts)


def make_alerts(credentials: Path, config: Config) -> Alerts | None:
    """Return what tells the operator, or None where no webhook is set."""
    webhook = credentials / "alert_webhook"
    if not webhook.exists() or not webhook.read_text(encoding="utf-8").strip():
        return None
    # Of all that the file holds only these names stay in memory.
    accounts = load_credentials(str(credentials / "accounts"))
    by_hand = frozenset(name for name, account in accounts.items() if account.kind == "access_token")
    return Alerts(config.node, config.alerts.days, by_hand, Path(ALERT_MEMORY))


def passed_sockets() -> dict[str, socket.socket]:
    """Return the sockets that systemd passed, by name.

    Raises:
        ConfigError: one of them is missing.
    """
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    if not {QUESTIONS, REPORTS} <= set(names):
        raise ConfigError("the agent has no sockets: start it with systemctl start dcta-agent.service")
    return {name: socket.socket(fileno=LISTEN_FD + names.index(name)) for name in (QUESTIONS, REPORTS)}


async def work(sockets: Mapping[str, socket.socket], agent: Agent) -> None:
    """Serve the sockets and keep the lanes until SIGTERM."""
    listen(agent.hold, sockets[REPORTS])
    # Questions are held until the lanes are known.
    await asyncio.start_unix_server(
        lambda reader, writer: serve(agent.hold, reader, writer), sock=sockets[QUESTIONS], backlog=BACKLOG
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    lanes = asyncio.create_task(agent.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({lanes, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if lanes.done():
        traceback.print_exception(lanes.exception())
    # Held requests are asked again: the gateway has the socket several times. To wait for them would only delay that,
    # and an orderly end of the loop would end the renewals under way.
    os._exit(1 if lanes.done() else 0)


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(prog="refresh-agent", description="Keep the tokens of this node's accounts fresh.")
    parser.add_argument("--check-config", type=Path, metavar="FILE", help="check settings and end")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        if arguments.check_config:
            load_config(arguments.check_config)
        else:
            asyncio.run(work(passed_sockets(), make_agent()))
    except (ConfigError, LaneError, AccountsError) as error:
        cure = f" {error.cure}" if isinstance(error, AccountsError) else ""
        print(f"refresh-agent: {error}{cure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
