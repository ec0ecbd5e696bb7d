# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first release comes out of the repository's own history; a clone without it is told how to get it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import first_release
import pytest


@pytest.mark.slow
def test_its_playbooks_find_the_collection_of_its_own_tree(tmp_path: Path) -> None:
    first_release.check_out(tmp_path / "first")
    collection = tmp_path / "first/collections/ansible_collections/dcta/fleet"
    assert {link.name: link.resolve() for link in collection.iterdir()} == {
        name: tmp_path / "first" / name for name in ("galaxy.yml", "meta", "playbooks", "plugins", "roles")
    }
    assert (tmp_path / "first/site.yml").is_file()


@pytest.mark.slow
def test_a_clone_without_history_is_refused_in_one_sentence(tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    clone = ["git", "clone", "--quiet", "--depth=1", f"file://{first_release.ROOT}", str(shallow)]
    subprocess.run(clone, check=True, capture_output=True)
    with pytest.raises(first_release.HistoryMissing, match=r"git fetch --unshallow.*fetch-depth: 0") as refusal:
        first_release.check_out(tmp_path / "first", shallow)
    assert str(refusal.value).count(". ") == 0
    assert not (tmp_path / "first").exists()
