#!/usr/bin/python
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module program_files."""

from __future__ import annotations

DOCUMENTATION = r"""
module: program_files
short_description: Write all files of a program, or its units, in one go
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - Every execution of a module costs a node a quarter of a second, so a program of twenty files is written by one.
  - The files belong to root and all may read them. Python modules are compiled at once, because the services that use
    them may not write there.
attributes:
  check_mode:
    support: full
    description: Says what would be written.
  diff_mode:
    support: full
    description: Shows each file that is written or removed, before and after.
options:
  path:
    description: The folder.
    type: path
    required: true
  files:
    description: >-
      Path below the folder to content. All are written before the first takes its place, and they take their places in
      this order within a moment, because a program may start meanwhile.
    type: dict
    required: true
  only:
    description: Subfolders that are this program's alone. Other files there are removed.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Install the agent
  dcta.fleet.program_files:
    path: /usr/local/lib/dcta
    files: "{{ lookup('dcta.fleet.text_files', role_path ~ '/files/dcta_agent') }}"
    only: [dcta_agent]

- name: Install its units
  dcta.fleet.program_files:
    path: /etc/systemd/system
    files:
      dcta-agent.socket: "{{ lookup('ansible.builtin.template', 'dcta-agent.socket.j2') }}"
      dcta-agent.service: "{{ lookup('ansible.builtin.template', 'dcta-agent.service.j2') }}"
"""

RETURN = r"""
written:
  description: The files that were written.
  returned: success
  type: list
  elements: str
removed:
  description: The files that were removed.
  returned: success
  type: list
  elements: str
"""

import py_compile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcta.fleet.plugins.module_utils.accounts import atomic_file

MODE = 0o644
OWNER = 0


def is_as_wanted(path: Path, content: str) -> bool:
    """Say whether a file needs no writing."""
    try:
        status = path.lstat()
        return path.read_bytes() == content.encode() and (status.st_mode & 0o7777, status.st_uid) == (MODE, OWNER)
    except OSError:
        return False


def make_folder(path: Path) -> None:
    """Make a folder that all may read, whatever the umask is, and those above it."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir()
        path.chmod(0o755)


def write(contents: dict[Path, str]) -> None:
    """Replace files whole, and in one moment: a program that starts meanwhile would mix the old with the new."""
    for path in contents:
        make_folder(path.parent)
    atomic_file.replace_all({str(path): content.encode() for path, content in contents.items()}, mode=MODE)
    for path in contents:
        if path.suffix == ".py":
            py_compile.compile(str(path), quiet=2)


def difference(path: Path, content: str) -> dict[str, str]:
    """Return what ``--diff`` shows of a file that gets another content, or none."""
    try:
        before = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        before = ""
    return {"before": before, "after": content, "before_header": str(path), "after_header": str(path)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
            "only": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    top = Path(module.params["path"])
    files: dict[Path, str] = {top / name: content for name, content in module.params["files"].items()}
    written = [path for path, content in files.items() if not is_as_wanted(path, content)]
    present = [path for name in module.params["only"] for path in (top / name).rglob("*")]
    removed = [path for path in present if path.is_file() and path not in files and path.suffix != ".pyc"]
    changes = [difference(path, files.get(path, "")) for path in [*written, *removed]] if module._diff else []
    try:
        if not module.check_mode:
            write({path: files[path] for path in written})
            for path in removed:
                path.unlink()
    except OSError as error:
        module.fail_json(msg=f"{error.filename} cannot be written ({error.strerror}): check the disk and run again")
    module.exit_json(
        changed=bool(written or removed),
        written=sorted(str(path) for path in written),
        removed=sorted(str(path) for path in removed),
        diff=changes,
    )


if __name__ == "__main__":
    main()
