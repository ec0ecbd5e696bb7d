# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin token_backup: encrypts what the module of the same name read on the node."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import ConfigurationError
from ansible_collections.dcta.fleet.plugins.module_utils.token_backup import Backup, merged
from ansible_collections.dcta.fleet.plugins.plugin_utils import private_files


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Keep an encrypted copy of the node's store; see the module's DOCUMENTATION."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        # Refused before the node is asked for secrets.
        private_files.vault_secret(self._loader)
        answer = private_files.answer_of(self._execute_module(task_vars=task_vars))
        path = private_files.controller_path(str(self._task.args["path"]))
        before = self._before(path) if path.exists() else Backup(salt=None, records=())
        now = Backup.from_json(answer["content"])
        if before.records and not (now.records or answer["unreadable"]):
            raise AnsibleActionFail(f"The node has no record to keep, so the backup {path} was left as it is.")
        keep = merged(now, before, answer["unreadable"])
        changed = bool(keep.records) and keep != before
        if changed and not self._task.check_mode:
            private_files.replace_file(path, private_files.encrypt(self._loader, keep.to_json()))
        return {
            **result,
            "changed": changed,
            "path": str(path),
            "accounts": [record.name for record in keep.records],
            "unreadable": answer["unreadable"],
        }

    def _before(self, path: Any) -> Backup:
        try:
            return Backup.from_json(private_files.decrypt(self._loader, path))
        except ConfigurationError as error:
            raise AnsibleActionFail(f"{path}: {error.sentence} {error.cure}") from None
