# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of authentik_restore_record: hands over the manifest of a backup set."""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import plain_view
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._consumer import without_echo
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._transfer import StreamingAction, Target


class ActionModule(StreamingAction):
    """With backup_set the restore begins, and its record gets the set's manifest. No artifact is moved."""

    def stream(self, where: Target, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Run the module with the set's manifest."""
        # A restore whose set was checked is about to begin; in check mode nothing is read of it either.
        manifest = where.store.get(where.set_id, recheck=False).manifest
        arguments["manifest"] = plain_view(manifest)
        return without_echo(self._execute_module(module_args=arguments, task_vars=task_vars))
