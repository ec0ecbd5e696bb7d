# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin token_restore: opens a backup and hands it to the module of the same name."""

from __future__ import annotations

import contextlib
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.dcta.fleet.plugins.plugin_utils import private_files


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Bring the accounts of a backup back; see the module's DOCUMENTATION."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        path = private_files.controller_path(str(self._task.args["path"]))
        content = private_files.decrypt(self._loader, path)
        self._refuse_files()
        answer = private_files.answer_of(
            self._execute_module(module_args={**self._task.args, "content": content}, task_vars=task_vars)
        )
        return {**result, "changed": answer["changed"], "accounts": answer["accounts"]}

    def _refuse_files(self) -> None:
        """Make sure that the module travels through a pipe: otherwise Ansible lays it down, on this machine first."""
        with contextlib.suppress(KeyError):
            self._connection.set_option("pipelining", True)
        if not self._is_pipelining_enabled("new"):
            raise AnsibleActionFail(
                "The tokens would lie in a temporary file on their way: use a connection and a become method with "
                "pipelining, and do not set ANSIBLE_KEEP_REMOTE_FILES."
            )
