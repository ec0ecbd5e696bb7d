# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After all that happened under load no secret stands in a log or in a file that others may read."""

from __future__ import annotations

import json

import pytest
from hold_scenes import FirstRun, Scenes
from secret_scan import SecretScan, leaves

# What only a node knows: the tokens of now, those its lanes started with, and the admin passwords.
KNOWN_TO_THE_NODE = """
import json, pathlib
known = {}
for file in pathlib.Path("/var/lib/dcta/tokens").glob("[!.]*.json"):
    record = json.loads(file.read_text())
    known |= {f"{key} of {file.stem}": record[key] for key in ("access_token", "refresh_token") if record[key]}
for file in pathlib.Path("/run/dcta-lanes").glob("*.json"):
    lane = json.loads(file.read_text())
    known |= {f"{key} of lane {file.stem}": value for key, value in lane.items() if value}
known["admin key"] = pathlib.Path("/etc/dcta/credentials/admin_key").read_text().strip()
print(json.dumps(known))
"""
LOGS = """
journalctl --all --no-pager --output=export --since=-1hour
find /var/log -type f ! -path '/var/log/journal/*' -exec zcat --force {} +
"""
# Where anything of ours may write.
READABLE = """
exec runuser -u nobody -- grep --recursive --files-with-matches --text --fixed-strings --no-messages --devices=skip \\
    --file=- /etc /home /opt /run /srv /tmp /usr/local /var
"""


@pytest.fixture
def scan(scenes: Scenes, first_run: FirstRun) -> SecretScan:
    """A search for every secret of the world."""
    scan = SecretScan()
    secrets = dict(leaves(first_run.settings["dcta_accounts"], "account"))
    secrets |= dict(leaves(first_run.settings["dcta_api_keys"], "API key"))
    scan.plant({name: text for name, text in secrets.items() if not name.endswith((".name", ".node"))})
    for node in scenes.world.nodes:
        scan.plant(json.loads(scenes.world.root_text(node, "python3", "-", stdin=KNOWN_TO_THE_NODE)))
    assert len(scan.names()) > 20
    return scan


def test_no_secret_is_in_a_log(scenes: Scenes, scan: SecretScan) -> None:
    canary = "a canary of the tests of the hold"
    scan.plant({"canary": canary})
    for node in scenes.world.nodes:
        scenes.world.root_run(node, "logger", canary)
        logs = scenes.world.root_run(node, "sh", "-c", LOGS).stdout
        assert len(logs) > 1_000_000
        assert scan.found_in(logs) == {"canary"}


def test_no_secret_is_in_a_file_that_others_may_read(scenes: Scenes, scan: SecretScan) -> None:
    for node in scenes.world.nodes:
        found = scenes.world.root_run(node, "sh", "-c", READABLE, stdin=scan.patterns(), check=False).stdout.decode()
        assert found == ""
