# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway of every node runs, comes back after a reboot, and listens on the address that the demo sets."""

from __future__ import annotations

from testinfra.host import Host


def test_gateway_runs_and_is_enabled(host: Host) -> None:
    gateway = host.service("dcta-gateway.service")
    assert gateway.is_running, host.run("journalctl --unit dcta-gateway --lines 30 --no-pager").stdout
    assert gateway.is_enabled


def test_gateway_listens(host: Host) -> None:
    assert host.socket("tcp://0.0.0.0:8443").is_listening


def test_the_site_that_comes_with_nginx_never_ran(host: Host) -> None:
    site = host.service("nginx.service")
    assert host.check_output("systemctl show --property=ActiveEnterTimestamp --value nginx.service") == ""
    assert not site.is_enabled
