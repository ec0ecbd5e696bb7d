# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are on a node, and the form of the names that become files there. Every program of a node reads this."""

from __future__ import annotations

import re

ACCOUNT_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")
"""Form of an account's name (fullmatch); it becomes a file name and a unit's instance, so nothing else is accepted."""

REPLICAS = ("a", "b")

# Settings, written by the roles.
AGENT_SETTINGS = "/etc/dcta/agent.json"
CA_BUNDLE = "/etc/dcta/ca-bundle.pem"
CREDENTIALS = "/etc/dcta/credentials"
LANES = "/etc/dcta/lanes.json"

# What the agent keeps.
TOKENS = "/var/lib/dcta/tokens"
TOKENS_OWNER = "dcta-agent"
AGENT_MEMORY = "/var/lib/dcta/agent/lanes.json"
ALERT_MEMORY = "/var/lib/dcta/agent/alerts.json"

# What the lane runner lays down and listens on.
LANE_RUNNER_SOCKET = "/run/dcta-lanes.sock"
LANE_RUNNER_FOLDER = "/run/dcta-lanes"
