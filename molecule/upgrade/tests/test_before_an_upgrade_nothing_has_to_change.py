# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator may do on nodes of the first release before they get another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from upgrade_scenes import BACKUP, CHECK, SHORT_LIVED, Fleet, Operator, Seen


def test_the_first_release_keeps_a_copy_of_the_tokens(
    fleet: Fleet, first: Operator, deployed: Seen, tmp_path: Path
) -> None:
    run = first.enter(BACKUP, {"dcta_backup_directory": str(tmp_path)})
    assert run.status == 0, run.tail
    assert {file.stem for file in tmp_path.iterdir()} == set(fleet.world.nodes)
    assert [name for name in deployed.records if name not in run.text] == []


@pytest.mark.exhaustive
def test_a_check_run_of_the_present_release_tells_and_changes_nothing(
    fleet: Fleet, present: Operator, first: Operator, deployed: Seen
) -> None:
    run = present.enter(CHECK, fleet.settings)
    assert run.status == 0, run.tail
    assert min(run.changed.values()) > 0
    seen = fleet.look(first)
    assert (seen.code, seen.units) == (deployed.code, deployed.units)
    assert [
        name for name in deployed.records.keys() - {SHORT_LIVED} if seen.records[name] != deployed.records[name]
    ] == []
