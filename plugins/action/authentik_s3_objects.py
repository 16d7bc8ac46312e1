# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Saves the objects of an instance's bucket into a backup set; the host only tells where they are."""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_action import BucketAction, display
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_save import Saving, would_save
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._progress import Progress
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._transfer import target


class ActionModule(BucketAction):
    """The objects go from the bucket to the store, through the controller."""

    def work(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Save them; in check mode they are only counted."""
        where = target(arguments.pop("backup_set", None), decrypts=False)
        storage, result = self.storage(arguments, task_vars)
        if self._task.check_mode:
            return dict(result, changed=True, plan=[would_save(storage.bucket)])
        partial = where.store.partial(where.set_id)
        newest = where.store.latest_backup()
        earlier = [newest] if newest and newest.recipients == partial.recipients else []
        progress = Progress(display.display, str(task_vars.get("inventory_hostname", "?")))
        with self.going(task_vars) as check:

            def beat() -> None:
                check()
                partial.heartbeat()

            saved = Saving(storage.bucket, partial, storage.index_key, progress, beat).save(earlier)
        warnings = [*result.get("warnings", []), *saved["warnings"]]
        return dict(result, changed=bool(saved["read"]), components=[saved], warnings=warnings)
