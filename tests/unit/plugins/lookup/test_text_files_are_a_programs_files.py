# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a program, as the controller holds them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleLookupError
from ansible_collections.dcta.fleet.plugins.lookup.text_files import LookupModule


def look_up(*terms: Path) -> dict[str, str]:
    (found,) = LookupModule().run([str(term) for term in terms])
    return found


def test_a_folder_gives_its_programs_under_its_own_name(tmp_path: Path) -> None:
    for name, text in {"agent/work.py": "ä", "agent/sub/more.py": "b", "agent/start": "c"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert look_up(tmp_path / "agent") == {"agent/work.py": "ä", "agent/sub/more.py": "b", "agent/start": "c"}


def test_compiled_files_and_notes_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "agent/__pycache__").mkdir(parents=True)
    (tmp_path / "agent/__pycache__/work.cpython-311.pyc").write_bytes(b"\xff\xfe")
    (tmp_path / "agent/README.md").write_text("a note")
    (tmp_path / "agent/work.py").write_text("")
    assert look_up(tmp_path / "agent") == {"agent/work.py": ""}


def test_a_file_gives_itself_whatever_its_ending(tmp_path: Path) -> None:
    (tmp_path / "start.sh").write_text("true")
    assert look_up(tmp_path / "start.sh") == {"start.sh": "true"}


def test_several_places_make_one_dictionary(tmp_path: Path) -> None:
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent/work.py").write_text("a")
    (tmp_path / "start").write_text("b")
    assert look_up(tmp_path / "agent", tmp_path / "start") == {"agent/work.py": "a", "start": "b"}


def test_what_is_missing_is_named_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(AnsibleLookupError, match="does not exist: install the collection"):
        look_up(tmp_path / "none")
