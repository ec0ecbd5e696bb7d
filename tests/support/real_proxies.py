# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real proxies, tinyproxy and microsocks, that ask for a password and log every connection."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

from fleet_world import World

PROVIDER = "provider"
LOOPBACK = "127.0.0.1"
HTTP_PORT = 3128
SOCKS_PORT = 1080
USER = "egress"
# Who they run as, of the users that every Debian has.
SERVICE_USER = "proxy"
FOLDER = "/run/test-proxies"
UNITS = "/run/systemd/system"

REQUEST = re.compile(r"Request \(file descriptor \d+\): (\S+ \S+)")
ESTABLISHED = re.compile(r'Established connection to host "([^"]+)"')
CONNECTED = re.compile(r"connected to (\S+)$", re.MULTILINE)


def every_character_encoded(text: str) -> str:
    """Return a text in which each character is percent-encoded, also where that is not needed."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


def systemd_word(text: str) -> str:
    """Return a text as one word of a command in a unit (systemd.service(5), systemd.syntax(7))."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + plain.replace("%", "%%").replace("$", "$$") + '"'


@dataclass
class RealProxies:
    """Both proxies, and what they logged since they were started.

    Attributes:
        world: the world.
        host: where they run; on a node they listen on its loopback address alone.
        http_password: the one of the HTTP proxy; tinyproxy's own file allows letters, digits, dots and dashes.
        socks_password: the one of the SOCKS proxy.
    """

    world: World
    host: str = PROVIDER
    http_password: str = field(default_factory=lambda: f"{secrets.token_hex(8)}.-_", repr=False)
    socks_password: str = field(default_factory=lambda: f"{secrets.token_hex(8)} @:/%41?#&=+!$[", repr=False)

    @property
    def address(self) -> str:
        """Where they listen."""
        return LOOPBACK if self.host in self.world.nodes else str(self.world.variables(self.host)["ansible_host"])

    def http_url(self, password: str = "") -> str:
        """Return the URL of the HTTP proxy, with its own or another password."""
        encoded = every_character_encoded(password or self.http_password)
        return f"http://{USER}:{encoded}@{self.address}:{HTTP_PORT}"

    def socks_url(self) -> str:
        """Return the URL of the SOCKS proxy, which resolves names."""
        return f"socks5h://{USER}:{quote(self.socks_password, safe='')}@{self.address}:{SOCKS_PORT}"

    def texts(self) -> dict[str, str]:
        """Return what nobody may see, by what it is."""
        plain = {"HTTP proxy": self.http_password, "SOCKS proxy": self.socks_password}
        urls = {"HTTP proxy's URL": self.http_url(), "SOCKS proxy's URL": self.socks_url()}
        return plain | {name: url.split(":")[2].partition("@")[0] for name, url in urls.items()}

    def _log(self, name: str) -> str:
        return self.world.root_text(self.host, "cat", f"{FOLDER}/{name}.log")

    def requests(self) -> list[str]:
        """Return the requests that the HTTP proxy read, each as method and target."""
        return REQUEST.findall(self._log("http"))

    def http_hosts(self) -> list[str]:
        """Return the host of each connection that the HTTP proxy opened."""
        return ESTABLISHED.findall(self._log("http"))

    def socks_targets(self) -> list[str]:
        """Return host and port of each connection that the SOCKS proxy opened, the host as it was asked for."""
        return CONNECTED.findall(self._log("socks"))

    def _write(self, path: str, text: str, owner: str = "root") -> None:
        install = ["install", "-o", owner, "-m", "0600", "/dev/stdin", path]
        self.world.root_run(self.host, *install, stdin=text.encode())

    def start(self) -> None:
        """Start both and wait until they listen."""
        commands = {
            "http": ["/usr/bin/tinyproxy", "-d", "-c", f"{FOLDER}/tinyproxy.conf"],
            "socks": [
                "/usr/bin/microsocks",
                "-i",
                self.address,
                "-p",
                str(SOCKS_PORT),
                "-u",
                USER,
                "-P",
                self.socks_password,
            ],
        }
        self.world.root_run(self.host, "install", "-d", "-o", SERVICE_USER, "-m", "0700", FOLDER)
        lines = [
            f"Listen {self.address}",
            f"Port {HTTP_PORT}",
            "LogLevel Connect",
            f"BasicAuth {USER} {self.http_password}",
        ]
        self._write(f"{FOLDER}/tinyproxy.conf", "\n".join([*lines, ""]), SERVICE_USER)
        for name, command in commands.items():
            log = f"append:{FOLDER}/{name}.log"
            words = " ".join(map(systemd_word, command))
            service = f"[Service]\nUser={SERVICE_USER}\nExecStart={words}\nStandardOutput={log}\nStandardError={log}\n"
            self._write(f"{UNITS}/test-proxy-{name}.service", service)
        self.world.root_run(self.host, "systemctl", "daemon-reload")
        self.world.root_run(self.host, "systemctl", "start", *(f"test-proxy-{name}" for name in commands))
        for port in (HTTP_PORT, SOCKS_PORT):
            waiting = f"until ss -Hltn sport = :{port} | grep -q .; do sleep 0.1; done"
            self.world.root_run(self.host, "timeout", "20", "sh", "-c", waiting)

    def stop(self) -> None:
        """Stop both and remove all that belongs to them."""
        self.world.root_run(self.host, "systemctl", "stop", "test-proxy-http", "test-proxy-socks", check=False)
        units = [f"{UNITS}/test-proxy-{name}.service" for name in ("http", "socks")]
        self.world.root_run(self.host, "rm", "-rf", FOLDER, *units)
        self.world.root_run(self.host, "systemctl", "daemon-reload")


@contextmanager
def real_proxies(world: World, host: str = PROVIDER) -> Iterator[RealProxies]:
    """Have both proxies on a host until the block ends."""
    proxies = RealProxies(world, host)
    try:
        proxies.start()
        yield proxies
    finally:
        proxies.stop()


@dataclass
class Guard:
    """Rejects what a node sends straight to the provider's host, and counts it.

    Attributes:
        world: the world.
        node: the node.
        user: whose connections are meant, or ``!=`` and whose are not; empty means everybody's.
    """

    world: World
    node: str
    user: str

    def close(self, *ports: int) -> None:
        """Let nothing go straight to these ports from now on, and to all others."""
        address = self.world.variables(PROVIDER)["ansible_host"]
        whose = f"meta skuid {self.user} " if self.user else ""
        to = f"ip daddr {address} tcp dport {{ {', '.join(map(str, ports))} }}"
        rule = f"{whose}{to} counter name direct reject with tcp reset"
        script = f"flush chain inet test_guard output\nadd rule inet test_guard output {rule}\n"
        self.world.root_run(self.node, "nft", "-f", "-", stdin=script.encode())

    @property
    def packets(self) -> int:
        """How many packets were rejected so far."""
        listed = self.world.root_text(self.node, "nft", "list", "counter", "inet", "test_guard", "direct")
        return int(listed.partition("packets ")[2].split()[0])

    def assert_it_counts(self) -> None:
        """Assert that a connection that does go straight is rejected and seen."""
        before = self.packets
        address = self.world.variables(PROVIDER)["ansible_host"]
        straight = self.world.root_run(self.node, "bash", "-c", f": </dev/tcp/{address}/443", check=False)
        assert straight.returncode != 0
        assert self.packets > before


@contextmanager
def guarded(world: World, node: str, *ports: int, user: str = "") -> Iterator[Guard]:
    """Guard a node until the block ends.

    Args:
        world: the world.
        node: the node.
        ports: those of the provider's host that are closed from the beginning.
        user: whose connections are meant, or ``!=`` and whose are not; empty means everybody's.
    """
    guard = Guard(world, node, user)
    chain = "chain output {\ntype filter hook output priority 0;\n}"
    table = f"table inet test_guard {{\ncounter direct {{\n}}\n{chain}\n}}\n"
    world.root_run(node, "nft", "-f", "-", stdin=table.encode())
    try:
        guard.close(*ports)
        yield guard
    finally:
        world.root_run(node, "nft", "delete", "table", "inet", "test_guard")
