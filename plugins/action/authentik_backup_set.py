# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opens, publishes and discards backup sets in the store on the controller."""

from __future__ import annotations

import datetime
import os
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest, _mounts
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import count, format_bytes
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._age import check_recipients
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._controller_action import ControllerAction
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._facts import created_by, instance_facts
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._liveness import playbook_pid
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import STORE_SPEC, Store, open_store

_SPEC: dict[str, t.Any] = {
    **STORE_SPEC,
    "state": {"type": "str", "required": True, "choices": ["open", "published", "discarded", "pinned", "unpinned"]},
    "id": {"type": "str"},
    "instance_facts": {"type": "dict", "default": {}},
    "restore_id": {"type": "str"},
    "allow_ephemeral": {"type": "bool", "default": False},
    "reason": {"type": "str"},
    "encryption_recipients": {"type": "list", "elements": "str", "default": []},
    "require_encryption": {"type": "bool", "default": False},
}
_REQUIRED = [
    *(("state", state, ["id"]) for state in ("published", "discarded", "unpinned")),
    ("state", "pinned", ["id", "reason"]),
]


class ActionModule(ControllerAction):
    """Works on the controller; the host is not contacted."""

    spec = _SPEC
    required_if = _REQUIRED

    def work(self, options: dict[str, t.Any], result: dict[str, t.Any], task_vars: dict[str, t.Any]) -> None:
        """Do what the state asks for."""
        store = open_store(options["store"], options["instance"], options["s3"])
        now = datetime.datetime.now(datetime.UTC)
        work = {
            "open": self._open,
            "published": self._publish,
            "discarded": self._discard,
            "pinned": self._pin,
            "unpinned": self._pin,
        }
        result.update(work[options["state"]](store, options, now))

    def _open(self, store: Store, options: dict[str, t.Any], now: datetime.datetime) -> dict[str, t.Any]:
        if not options["allow_ephemeral"]:
            store.backend.check_lasting()
        recipients = check_recipients(options["encryption_recipients"])
        if options["require_encryption"] and not recipients:
            raise InputError(
                "The backup set would not be encrypted, and authentik_require_encryption asks for that",
                "Name the public keys that it is to be encrypted to with authentik_encryption_recipients",
            )
        if self._task.check_mode:
            store.backend.check_writable()
            set_id, done = store.propose(now, os.urandom(2)), "Would open"
        else:
            set_id, done = store.open(now, os.urandom(2), playbook_pid(), recipients).set_id, "Opened"
        free = store.backend.free()
        # What is no disk has no file system that others could share.
        place = None if free is None else _mounts.file_system(store.backend.sets.location)._asdict()
        room = "" if free is None else "; %s are free in the store" % format_bytes(free)
        return {
            "changed": True,
            "id": set_id,
            "path": store.backend.sets.at(set_id),
            "free_bytes": free,
            "file_system": place,
            "recipients": recipients,
            "msg": "%s backup set %s%s" % (done, set_id, room),
        }

    def _publish(self, store: Store, options: dict[str, t.Any], now: datetime.datetime) -> dict[str, t.Any]:
        set_id = options["id"]
        if self._task.check_mode:
            return {"changed": True, "id": set_id, "msg": "Would publish backup set %s" % set_id}
        if store.published(set_id):
            return dict(_described(store.get(set_id)), changed=False, msg="Backup set %s is published" % set_id)
        partial = store.partial(set_id)
        records = partial.records()
        if not records:
            raise StateError(
                "No component was saved into backup set %s" % set_id,
                "Run the producers with backup_set before it is published",
            )
        components = {name: saved["record"] for name, saved in records.items()}
        manifest = _manifest.build(
            set_id,
            instance_facts(options["instance"], options["instance_facts"], components),
            partial.started,
            now,
            created_by(),
            [artifact for saved in records.values() for artifact in saved["artifacts"]],
            components,
            options["restore_id"] or "",
        )
        backup_set = store.publish(partial, manifest, now)
        message = "Published backup set %s: %s in %s, all read back" % (
            set_id,
            format_bytes(backup_set.size),
            count(len(manifest["artifacts"]), "artifact"),
        )
        return dict(_described(backup_set), changed=True, msg=message)

    def _discard(self, store: Store, options: dict[str, t.Any], now: datetime.datetime) -> dict[str, t.Any]:
        set_id = options["id"]
        partial = store.unfinished(set_id)
        if partial is None:
            return {"changed": False, "id": set_id, "msg": "There is no unfinished backup set %s" % set_id}
        if not self._task.check_mode:
            partial.discard()
        return {"changed": True, "id": set_id, "msg": "Discarded the unfinished backup set %s" % set_id}

    def _pin(self, store: Store, options: dict[str, t.Any], now: datetime.datetime) -> dict[str, t.Any]:
        set_id, reason = options["id"], ""
        if options["state"] == "pinned":
            reason = options["reason"].strip()
            if not reason:
                raise InputError("The pin of %s has no reason" % set_id, "Say for others why the set is kept")
        changed = store.pin(set_id, reason, now, pretend=self._task.check_mode)
        said = "pinned: %s" % reason if reason else "not pinned"
        return {"changed": changed, "id": set_id, "msg": "Backup set %s is %s" % (set_id, said)}


def _described(backup_set: t.Any) -> dict[str, t.Any]:
    return {
        "id": backup_set.set_id,
        "path": backup_set.path,
        "size": backup_set.size,
        "seconds": backup_set.manifest["seconds"],
        "components": sorted(backup_set.manifest["components"]),
        "artifacts": backup_set.manifest["artifacts"],
        "recipients": backup_set.recipients,
    }
