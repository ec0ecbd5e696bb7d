# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/upgrading.md tells the operator to type is what Molecule's scenario upgrade runs, and nothing else."""

from __future__ import annotations

import first_release
import upgrade_scenes


def test_the_page_on_upgrades_shows_the_tested_commands() -> None:
    page = (first_release.ROOT / "docs/upgrading.md").read_text().splitlines()
    assert {line.strip() for line in page if line.startswith("    ")} == {
        first_release.CHECKOUT,
        upgrade_scenes.BACKUP,
        upgrade_scenes.CHECK,
        upgrade_scenes.DEPLOY,
        upgrade_scenes.LOOK,
    }
