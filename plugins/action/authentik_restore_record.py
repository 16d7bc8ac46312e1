# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of authentik_restore_record: hands over the manifest of a backup set, and whose restore it is."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import plain_view
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._consumer import without_echo
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._owner import decided
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._transfer import target


class ActionModule(ActionBase):
    """With backup_set the restore begins, and its record gets the set's manifest. No artifact is moved."""

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task and return its result."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        try:
            if arguments.get("manifest") is not None:
                raise InputError("manifest is set by the action plugin alone", "Use backup_set")
            backup_set = arguments.pop("backup_set", None)
            if backup_set is not None:
                where = target(backup_set, decrypts=False)
                # A restore whose set was checked is about to begin; in check mode nothing is read of it either.
                arguments["manifest"] = plain_view(where.store.get(where.set_id, recheck=False).manifest)
            found = decided(arguments, lambda more: self._execute_module(module_args=more, task_vars=task_vars))
            result.update(without_echo(found))
        except RecoveryError as exc:
            result.update(exc.as_result(), failed=True)
        return result
