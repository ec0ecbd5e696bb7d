# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin run_py_import: everything happens on the controller."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.dcta.fleet.plugins.plugin_utils import private_files
from ansible_collections.dcta.fleet.plugins.plugin_utils.run_py import (
    LARGEST,
    Migration,
    RunPyError,
    migrate,
    yaml_text,
)

ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "inventory": {"type": "path", "required": True},
    "address": {"type": "str", "default": "localhost"},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the inventory; see the module's DOCUMENTATION."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _ignored, arguments = self.validate_argument_spec(ARGUMENTS)
        inventory = private_files.controller_path(arguments["inventory"])
        private_files.refuse_what_exists(inventory)
        migration = self._migration(arguments["path"], arguments["address"])
        files = self._files(migration)
        if not self._task.check_mode:
            private_files.new_folder(inventory, files)
        return {
            **result,
            "changed": True,
            "accounts": list(migration.accounts),
            "notes": list(migration.notes),
            "files": [str(inventory / name) for name in files],
        }

    def _migration(self, path: str, address: str) -> Migration:
        source = private_files.controller_path(path)
        try:
            with source.open("rb") as stream:
                content = stream.read(LARGEST + 1)
        except OSError as error:
            raise AnsibleActionFail(f"{source} cannot be read: {os.strerror(error.errno or 0)}.") from None
        if len(content) > LARGEST:
            raise AnsibleActionFail(f"{source} is too large to be the run.py of Deploy-ChatGPT-to-API.")
        try:
            return migrate(content, source.parent, address)
        except RunPyError as error:
            raise AnsibleActionFail(str(error)) from None

    def _files(self, migration: Migration) -> dict[str, tuple[bytes, int]]:
        """Return content and mode of each file; what is secret is encrypted already."""
        vault = yaml_text(migration.vault, "The secrets that were in run.py.")
        settings = yaml_text(migration.settings, "The settings that were in run.py; all others: docs/variables.md.")
        hosts = yaml_text(migration.hosts, "The nodes. Ansible must reach each host and become root there.")
        return {
            "hosts.yml": (hosts.encode(), 0o644),
            "group_vars/dcta_nodes/main.yml": (settings.encode(), 0o644),
            "group_vars/dcta_nodes/vault.yml": (private_files.encrypt(self._loader, vault), 0o600),
        }
