# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What the action plugins have in common that work on the controller alone: the host is not contacted."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError


class ControllerAction(ActionBase):
    """Checks the options, does the work, and returns a foreseen failure as the task's result.

    :cvar spec: the argument spec.
    :cvar required_if: as Ansible takes it.
    """

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True
    spec: t.ClassVar[dict[str, t.Any]]
    required_if: t.ClassVar[list[tuple[str, str, list[str]]]] = []

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task and return its result."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _checked, options = self.validate_argument_spec(self.spec, required_if=self.required_if)
        try:
            self.work(options, result, task_vars or {})
        except RecoveryError as exc:
            result.update(exc.as_result(), failed=True)
        return result

    def work(self, options: dict[str, t.Any], result: dict[str, t.Any], task_vars: dict[str, t.Any]) -> None:
        """Do it, and put into the result what came of it, also before a failure.

        :raises RecoveryError: what becomes the failure of the task.
        """
        raise NotImplementedError
