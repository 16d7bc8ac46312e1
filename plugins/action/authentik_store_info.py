# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells of which instances a store holds backup sets."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._instances import instances
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import STORE_SPEC

_SPEC = {name: spec for name, spec in STORE_SPEC.items() if name != "instance"}


class ActionModule(ActionBase):
    """Works on the controller; the host is not contacted."""

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task and return its result."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _checked, options = self.validate_argument_spec(_SPEC)
        try:
            location, names = instances(options["store"], options["s3"])
            result.update(changed=False, location=location, instances=names)
        except RecoveryError as exc:
            result.update(exc.as_result(), failed=True)
        return result
