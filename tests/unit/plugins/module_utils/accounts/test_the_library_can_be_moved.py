# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder works as a plain package in a Python that has nothing but its standard library; logins need lxml."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils import accounts

SOURCE = Path(next(iter(accounts.__path__)))
MODULES = sorted(file.stem for file in SOURCE.glob("*.py") if file.stem != "__init__")

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import importlib
for name in sys.argv[2:]:
    importlib.import_module("accounts." + name)
assert not {name.partition(".")[0] for name in sys.modules} & {"ansible", "ansible_collections", "requests", "urllib3"}
import accounts.renewer, accounts.runtime, accounts.store, pwd, os
store = accounts.store.Store(sys.argv[1] + "/tokens", pwd.getpwuid(os.geteuid()).pw_name)
account = accounts.credentials.Credentials(name="carol", access_token="opaque")
renewer = accounts.renewer.Renewer(
    store=store, provider=accounts.provider.Provider(), credentials={"carol": account},
    runtime=accounts.runtime.Runtime(session=None),
)
print(renewer.renew("carol").action, renewer.renew("carol").state)
"""


def test_a_copy_works_without_any_other_package(tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path / "accounts", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tokens").mkdir(mode=0o700)
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", PROGRAM, str(tmp_path), *MODULES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert (done.stdout, done.stderr) == ("adopt valid\n", "")


AGENT = ("serving", "store", "record", "credentials", "limits", "provider", "schedule", "atomic_file", "node_paths")


def test_what_the_agent_imports_does_not_bring_the_parser_of_pages(tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path / "accounts", ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "import sys, importlib\nsys.path.insert(0, sys.argv[1])\n"
        "[importlib.import_module('accounts.' + name) for name in sys.argv[2:]]\n"
        "assert 'accounts.html_events' not in sys.modules and 'lxml' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-I", "-c", program, str(tmp_path), *AGENT], check=True)


@pytest.mark.parametrize("module", MODULES)
def test_a_file_imports_the_standard_library_and_its_neighbours_only(module: str) -> None:
    for node in ast.walk(ast.parse((SOURCE / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert all(alias.name.partition(".")[0] in sys.stdlib_module_names for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = (node.module or "").partition(".")[0]
            parser = module == "html_events" and package == "lxml"
            assert node.level == 1 or package in sys.stdlib_module_names or parser
