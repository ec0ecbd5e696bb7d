# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program's files in one go: the four steps, whole files, nothing left of an older version."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dcta.fleet.plugins.modules import program_files

Run = Callable[..., dict[str, Any]]
FILES = {"agent/__init__.py": "", "agent/work.py": "print('ä')\n", "start": "#!/usr/bin/python3\n"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setattr(program_files, "OWNER", os.getuid())

    def execute(files: dict[str, str], *, check: bool = False, diff: bool = False) -> dict[str, Any]:
        modes = {"_ansible_check_mode": check, "_ansible_diff": diff}
        given = {"path": str(tmp_path / "lib"), "files": files, "only": ["agent"], **modes}
        with patch_module_args(given), pytest.raises(SystemExit):
            program_files.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return execute


def test_check_real_check_again_real_again(tmp_path: Path, run: Run) -> None:
    foretold = run(FILES, check=True)
    assert not (tmp_path / "lib").exists()
    done = run(FILES)
    assert (foretold["changed"], foretold["written"]) == (True, done["written"])
    assert done["written"] == sorted(str(tmp_path / "lib" / name) for name in FILES)
    assert run(FILES, check=True)["changed"] is False
    assert run(FILES)["changed"] is False


def test_all_may_read_the_files_and_only_the_owner_may_write(tmp_path: Path, run: Run) -> None:
    old = os.umask(0o077)
    try:
        run(FILES)
    finally:
        os.umask(old)
    for name, content in FILES.items():
        path = tmp_path / "lib" / name
        assert path.read_text(encoding="utf-8") == content
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


@pytest.mark.parametrize("what", ["content", "mode", "link", "missing"])
def test_a_file_that_is_not_as_wanted_is_written_again_and_no_other(tmp_path: Path, run: Run, what: str) -> None:
    run(FILES)
    path = tmp_path / "lib/agent/work.py"
    if what == "content":
        path.write_text("print('b')\n")
    elif what == "mode":
        path.chmod(0o666)
    else:
        path.unlink()
    if what == "link":
        (tmp_path / "target").write_text(FILES["agent/work.py"])
        path.symlink_to(tmp_path / "target")
    assert run(FILES)["written"] == [str(path)]
    assert not path.is_symlink()
    assert run(FILES)["changed"] is False


def test_all_files_are_written_before_the_first_takes_its_place_and_they_do_in_the_order_given(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that starts meanwhile must not mix the old with the new; what another file imports is there first."""
    placed: list[str] = []
    rename, files = os.rename, {"z.py": "", "b": "import z", "a": "import b"}

    def remember(draft: str, path: str) -> None:
        placed.append(path)
        drafts = [tmp_path / "lib" / f".{name}.tmp" for name in files]
        assert sum(draft.exists() for draft in drafts) == len(files) + 1 - len(placed)
        rename(draft, path)

    monkeypatch.setattr(os, "rename", remember)
    run(files)
    assert placed == [str(tmp_path / "lib" / name) for name in files]


def test_a_file_that_cannot_be_written_leaves_all_as_they_were(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(FILES)
    fsync, left = os.fsync, [2]

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    assert run({name: f"{content}# new\n" for name, content in FILES.items()})["failed"] is True
    assert {name: (tmp_path / "lib" / name).read_text(encoding="utf-8") for name in FILES} == FILES
    assert not list((tmp_path / "lib").rglob("*.tmp"))


@pytest.mark.parametrize("name", ["work.py", ".work.py.tmp"])
def test_a_link_that_somebody_planted_is_replaced_and_not_followed(tmp_path: Path, run: Run, name: str) -> None:
    (tmp_path / "lib/agent").mkdir(parents=True)
    (tmp_path / "lib/agent" / name).symlink_to(tmp_path / "elsewhere")
    run(FILES)
    assert (tmp_path / "lib/agent/work.py").read_text(encoding="utf-8") == FILES["agent/work.py"]
    assert not (tmp_path / "elsewhere").exists()


def test_what_an_older_version_left_is_removed_but_not_what_python_compiled(tmp_path: Path, run: Run) -> None:
    run({**FILES, "agent/old.py": "", "agent/sub/older.py": ""})
    (tmp_path / "lib/other.py").write_text("of another program")
    foretold = run(FILES, check=True)
    result = run(FILES)
    assert result["removed"] == foretold["removed"]
    assert result["removed"] == [str(tmp_path / "lib" / name) for name in ("agent/old.py", "agent/sub/older.py")]
    assert (tmp_path / "lib/other.py").exists()
    assert list((tmp_path / "lib/agent/__pycache__").glob("work.*.pyc"))
    assert run(FILES)["changed"] is False


def test_a_difference_shows_what_is_written_and_what_is_removed(tmp_path: Path, run: Run) -> None:
    run({**FILES, "agent/old.py": "print('old')\n"})
    new = {**FILES, "agent/work.py": "print('b')\n"}
    shown = run(new, check=True, diff=True)["diff"]
    changes = {change["after_header"]: (change["before"], change["after"]) for change in shown}
    folder = tmp_path / "lib/agent"
    assert changes == {
        str(folder / "work.py"): ("print('ä')\n", "print('b')\n"),
        str(folder / "old.py"): ("print('old')\n", ""),
    }
    assert run(new)["diff"] == []


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, run: Run) -> None:
    (tmp_path / "lib").write_text("a file")
    result = run(FILES)
    assert result["failed"] is True
    assert "check the disk and run again" in result["msg"]
