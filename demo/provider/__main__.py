# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the stand-ins: ``python3 -m provider --config FILE``."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import ssl
import sys
import time
from pathlib import Path

from aiohttp import web

from .chat import PATH, ChatBackEnd
from .config import Config, ConfigError, load
from .control import Control
from .grants import Grants
from .holds import Holds
from .identity import IdentityProvider
from .records import Records
from .service import ChatService
from .switches import Switches

BACKLOG = 1024
STOP_SECONDS = 2.0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def _tls(config: Config) -> ssl.SSLContext | None:
    if not config.identity.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(config.identity.tls_certificate, config.identity.tls_key)
    return context


def _address(listener: socket.socket, scheme: str = "http") -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _by_host(name: str, named: web.Application, other: web.Application) -> web.Application:
    """Return an application that serves one host name with one application and all others with another."""
    application = web.Application()
    application.add_domain(name, named)
    application.add_domain("*", other)
    return application


async def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT; the ready line on stdout is a JSON object with the three addresses.

    Args:
        config: the configuration.

    Raises:
        OSError: an address cannot be used, or certificate and key cannot be read.
    """
    context = _tls(config)
    identity, chat, control = (_listen(c.host, c.port) for c in (config.identity, config.chat, config.control))
    base = config.identity.issuer or _address(identity, "https" if context else "http")
    records, switches, holds = Records(), Switches(), Holds()
    grants = Grants(config, records, time.time)
    grants.issuer = base + config.identity.prefix
    provider = IdentityProvider(config.identity, base, grants, switches=switches, holds=holds, records=records)
    back_end = ChatBackEnd(grants, switches, records)
    front = provider.application(config.git_root)
    if config.chat.name:
        service = ChatService(back_end, switches, records).application()
        front = _by_host(config.chat.name, service, front)
    runners: list[web.AppRunner] = []
    for application, listener, tls in (
        (front, identity, context),
        (back_end.application(), chat, None),
        (Control(grants, switches, holds, records).application(), control, None),
    ):
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.SockSite(runner, listener, ssl_context=tls, backlog=BACKLOG, shutdown_timeout=STOP_SECONDS).start()
        runners.append(runner)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    ready = {"issuer": grants.issuer, "chat": _address(chat) + PATH, "control": _address(control)}
    print(json.dumps(ready), flush=True)
    await stop.wait()
    for runner in runners:
        await runner.cleanup()


def main() -> int:
    """Parse the arguments and serve.

    Returns:
        The exit status: 2 when the configuration or an address cannot be used.
    """
    parser = argparse.ArgumentParser(prog="provider", description="Stand-in identity provider and chat back end.")
    parser.add_argument("--config", type=Path, required=True, help="the JSON configuration file")
    try:
        asyncio.run(serve(load(parser.parse_args().config)))
    except (ConfigError, OSError) as error:
        print(f"provider: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
