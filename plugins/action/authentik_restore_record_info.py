# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of authentik_restore_record_info: knows which runs of this controller have ended."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._owner import decided


class ActionModule(ActionBase):
    """Reads the records on the host."""

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task and return its result."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        try:
            arguments = dict(self._task.args)
            result.update(decided(arguments, lambda more: self._execute_module(module_args=more, task_vars=task_vars)))
        except RecoveryError as exc:
            result.update(exc.as_result(), failed=True)
        return result
