# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A full disk on the controller leaves the old file or nothing; links and somebody's folder are not written to."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.dcta.fleet.plugins.plugin_utils import private_files

FILES = {"hosts.yml": (b"hosts", 0o644), "group_vars/dcta_nodes/vault.yml": (b"vault", 0o600)}


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_the_old_file_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "node1.bak").write_bytes(b"old")
    with pytest.raises(AnsibleActionFail, match="No space left"):
        private_files.replace_file(tmp_path / "node1.bak", b"new")
    with pytest.raises(AnsibleActionFail, match="No space left"):
        private_files.new_folder(tmp_path / "mine", FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["node1.bak"]
    assert (tmp_path / "node1.bak").read_bytes() == b"old"


def test_a_file_is_the_operators_alone_also_where_it_replaces_an_open_one(tmp_path: Path) -> None:
    file = tmp_path / "node1.bak"
    file.write_bytes(b"old")
    file.chmod(0o644)
    private_files.replace_file(file, b"new")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"new", 0o600)


def test_a_new_folder_has_all_files_in_their_modes(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    private_files.new_folder(tmp_path / "mine", FILES)
    assert {name: (tmp_path / "mine" / name).stat().st_mode & 0o700 for name in FILES} == dict.fromkeys(FILES, 0o600)
    assert (tmp_path / "mine/group_vars/dcta_nodes/vault.yml").stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("kind", ["file", "folder with a file", "link to nowhere", "link to an empty folder"])
def test_nothing_is_written_over_or_through_what_is_there(kind: str, tmp_path: Path) -> None:
    mine, empty = tmp_path / "mine", tmp_path / "empty"
    empty.mkdir()
    if kind == "file":
        mine.touch()
    elif kind == "folder with a file":
        mine.mkdir()
        (mine / ".hidden").touch()
    else:
        mine.symlink_to(empty if kind == "link to an empty folder" else tmp_path / "nowhere")
    with pytest.raises(AnsibleActionFail, match="exists already and nothing is overwritten"):
        private_files.new_folder(mine, FILES)
    assert list(empty.iterdir()) == []
    assert not (tmp_path / "nowhere").exists()
