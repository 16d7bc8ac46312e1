# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies backup sets from one store to another."""

from __future__ import annotations

import datetime
import typing as t

from ansible.utils.display import Display

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import count, format_bytes
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._controller_action import ControllerAction
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._copy import copy_set, is_there
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._liveness import playbook_pid
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._selection import select
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import LATEST
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import STORE_SPEC, Store, open_store

_SPEC: dict[str, t.Any] = {
    **STORE_SPEC,
    "to_store": {"type": "str", "required": True},
    "to_s3": {"type": "dict"},
    "sets": {"type": "list", "elements": "str", "default": [LATEST]},
    "allow_ephemeral": {"type": "bool", "default": False},
}

display = Display()


class ActionModule(ControllerAction):
    """Works on the controller; the host is not contacted."""

    spec = _SPEC

    def work(self, options: dict[str, t.Any], result: dict[str, t.Any], task_vars: dict[str, t.Any]) -> None:
        """Copy the sets."""
        result.update(copied=[], present=[], failures=[])
        try:
            self._copy(options, result)
        finally:
            result["changed"] = bool(result["copied"])

    def _copy(self, options: dict[str, t.Any], result: dict[str, t.Any]) -> None:
        source = open_store(options["store"], options["instance"], options["s3"])
        target = open_store(options["to_store"], options["instance"], options["to_s3"])
        if not options["allow_ephemeral"]:
            target.backend.check_lasting()
        now = datetime.datetime.now(datetime.UTC)
        # The oldest first: what a later one shares with it is there already then.
        for set_id in reversed(select(source, options["sets"], "checksums", datetime.timedelta(0), now)):
            try:
                self._one(source, target, set_id, now, result)
            except RecoveryError as exc:
                # The others may be all that is left of the instance elsewhere.
                result["failures"].append({"id": set_id, "reason": str(exc)})
        word = "would be copied" if self._task.check_mode else "copied"
        result["msg"] = "%s %s to %s, %d there already" % (
            count(len(result["copied"]), "set"),
            word,
            target.path,
            len(result["present"]),
        )
        if result["failures"]:
            told = "; ".join("%s: %s" % (one["id"], one["reason"]) for one in result["failures"])
            raise IntegrityError("%s could not be copied: %s" % (count(len(result["failures"]), "set"), told))

    def _one(self, source: Store, target: Store, set_id: str, now: datetime.datetime, result: dict[str, t.Any]) -> None:
        backup_set = source.get(set_id)
        if is_there(backup_set, target):
            result["present"].append(set_id)
            return
        if not self._task.check_mode:
            display.display("Copying %s, %s, to %s" % (set_id, format_bytes(backup_set.size), target.path))
            copy_set(source, set_id, target, now, playbook_pid())
        result["copied"].append(set_id)
