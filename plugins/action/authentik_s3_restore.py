# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores the objects of a backup set into an instance's bucket; the host only tells where that is."""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _object_index as index_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import artifacts_of, plain_view
from ansible_collections.authentik_ops.recovery.plugins.module_utils._object_storage import NotInS3
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_action import BucketAction, Storage
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_objects import Saved, of_packs
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_restore import BucketRestore, not_there
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._objects_of_files import of_files
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._opened import plain_source
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._transfer import Failed, Target, target

_STEPS = ("check", "prepare", "swap", "undo")


class ActionModule(BucketAction):
    """The objects go from the store to the bucket through the controller; the endpoint exchanges what is live."""

    def work(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Do one step; check mode makes C(check) of each but C(undo), which says what it would do."""
        step, given = arguments.get("step"), arguments.pop("backup_set", None)
        component = arguments.get("component") or index_of.COMPONENT
        if step not in _STEPS:
            raise InputError("step is %r" % step, "It is one of %s" % ", ".join(_STEPS))
        swapped = arguments.get("swapped")
        if swapped and step != "undo":
            raise InputError("swapped is given with step %s" % step, "It is for undo alone")
        where = target(given, decrypts=True) if step in ("check", "prepare") else None
        try:
            storage, result = self.storage(arguments, task_vars)
        except Failed as exc:
            if where is None or component != index_of.COMPONENT or exc.result.get("error") != NotInS3.__name__:
                raise
            raise not_there(where.store.get(where.set_id).set_id) from exc
        with self.going(task_vars) as check:
            restore = BucketRestore(storage.bucket, str(arguments["restore_id"]), check)
            result.update(self._do(step, restore, storage, where, component, swapped))
            return dict(result, warnings=[*result.get("warnings", []), *restore.warnings])

    def _do(
        self,
        step: str,
        restore: BucketRestore,
        storage: Storage,
        where: Target | None,
        component: str,
        swapped: t.Any,
    ) -> dict[str, t.Any]:
        kept = storage.bucket.place.url(restore.before)
        if step == "undo":
            said = restore.undo(self._task.check_mode, swapped)
            return {"changed": bool(said), "plan": said}
        if where is None:
            changed = self._task.check_mode or restore.swap()
            return {"changed": changed, "plan": [], **({"kept": kept} if changed else {})}
        backup_set = where.store.get(where.set_id)
        prepares = step == "prepare" and not self._task.check_mode
        saved = _read(backup_set, plain_source(backup_set, where.identity), component, decodes=not prepares)
        changes = restore.prepare(saved) if prepares else restore.changes(saved)
        changed = bool(changes.put or changes.removed)
        plan = changes.lines(storage.bucket)
        told = restore.told(changes)
        return {"changed": changed and step != "check", "plan": plan, "kept": kept, "swapped": told}


def _read(backup_set: BackupSet, source: t.Any, component: str, decodes: bool) -> Saved:
    """Return what the set has of the files.

    :param decodes: read all of it.
    """
    manifest = plain_view(backup_set.manifest)
    if component != index_of.COMPONENT:
        # To know what lies in an archive, all of it has to be read.
        return of_files(manifest, source, component)
    record = manifest["components"].get(component)
    if not record:
        raise InputError("The backup set %s holds no files of S3" % backup_set.set_id, "Leave out s3")
    saved = of_packs(record, source)
    if decodes:
        index_of.decode(record, artifacts_of(manifest, component), source)
    return saved
