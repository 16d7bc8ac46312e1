# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists, describes and verifies the backup sets of the store on the controller."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import (
    format_bytes,
    format_duration,
    id_time,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._controller_action import ControllerAction
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._identity import IdentitySource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._notes import UNPROVED, outcome_of, proved
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._opened import decrypting_source, plain_source
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._selection import select
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import LATEST, BackupSet, Problem
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import STORE_SPEC, Store, open_store

_SPEC: dict[str, t.Any] = {
    **STORE_SPEC,
    "backup_id": {"type": "str"},
    "verify": {"type": "bool", "default": False},
    "select": {"type": "list", "elements": "str", "default": []},
    "select_level": {"type": "str", "choices": ["checksums", "decode", "restore"], "default": "checksums"},
    "select_days": {"type": "int", "default": 0},
    "readable": {"type": "bool", "default": False},
    "identity_file": {"type": "path"},
    "identity_command": {"type": "list", "elements": "str"},
}


class ActionModule(ControllerAction):
    """Works on the controller; the host is not contacted."""

    spec = _SPEC

    def work(self, options: dict[str, t.Any], result: dict[str, t.Any], task_vars: dict[str, t.Any]) -> None:
        """List the sets, or describe one."""
        if options["readable"] and options["backup_id"] is None:
            raise InputError("readable is about one set", "Name it, or give latest, with backup_id")
        store = open_store(options["store"], options["instance"], options["s3"])
        now = datetime.datetime.now(datetime.UTC)
        work = self._all if options["backup_id"] is None else self._one
        result.update(work(store, options, now), changed=False)
        result["selected"] = select(
            store, options["select"], options["select_level"], datetime.timedelta(days=options["select_days"]), now
        )

    def _one(self, store: Store, options: dict[str, t.Any], now: datetime.datetime) -> dict[str, t.Any]:
        passed_over: list[Problem] = []
        safety: list[BackupSet] = []
        if options["backup_id"] == LATEST:
            backup_set, passed_over = store.latest()
            safety = store.safety_sets_after(backup_set)
        else:
            backup_set = store.get(options["backup_id"], recheck=options["verify"])
        if options["readable"]:
            plain_source(backup_set, _identity(options))
        if options["verify"]:
            self._verify(store, backup_set, options, now)
            backup_set = store.get(backup_set.set_id)
        result = {
            "sets": [described(backup_set, now)],
            "problems": [dataclasses.asdict(problem) for problem in passed_over],
            "safety_sets": [described(one, now) for one in safety],
            "manifest": backup_set.manifest,
        }
        if passed_over:
            unusable = "; ".join("%s (%s)" % (problem.name, problem.reason) for problem in passed_over)
            result["warnings"] = [_unusable(backup_set) % (backup_set.set_id, unusable)]
        return result

    def _verify(self, store: Store, backup_set: BackupSet, options: dict[str, t.Any], now: datetime.datetime) -> None:
        identity = _identity(options)
        # An identity that does not fit says nothing about the set, so it is met before anything is recorded.
        content = decrypting_source(backup_set, identity) if backup_set.recipients and identity.given else None
        store.verify(backup_set, now, not self._task.check_mode, content)

    def _all(self, store: Store, options: dict[str, t.Any], now: datetime.datetime) -> dict[str, t.Any]:
        sets, problems = store.list_sets(recheck=options["verify"])
        if options["verify"]:
            failed = []
            for backup_set in sets:
                try:
                    self._verify(store, store.get(backup_set.set_id, recheck=True), options, now)
                except RecoveryError as exc:
                    failed.append(Problem(backup_set.set_id, exc.cause))
            damaged = {problem.name for problem in failed}
            sets = [store.get(one.set_id, recheck=True) for one in sets if one.set_id not in damaged]
            problems += failed
        return {
            "sets": [described(backup_set, now) for backup_set in sets],
            "problems": [dataclasses.asdict(problem) for problem in problems],
        }


def _identity(options: dict[str, t.Any]) -> IdentitySource:
    return IdentitySource(options["identity_file"], options["identity_command"])


def _unusable(backup_set: BackupSet) -> str:
    if backup_set.restore_id:
        return "There is no usable backup set, so the latest safety set %s is taken; not usable: %s"
    return "The latest backup set is %s; newer, and not usable: %s"


def described(backup_set: BackupSet, now: datetime.datetime) -> dict[str, t.Any]:
    """Return what a list shows of a set."""
    manifest = backup_set.manifest
    age = max(int((now - id_time(backup_set.set_id)).total_seconds()), 0)
    version = manifest["instance"]["authentik_version"]
    return {
        "id": backup_set.set_id,
        "purpose": _manifest.SAFETY if backup_set.restore_id else "backup",
        "restore_id": backup_set.restore_id or None,
        "path": backup_set.path,
        "age_seconds": age,
        "age": format_duration(age),
        "authentik_version": version["value"] if version else None,
        "size": backup_set.size,
        "size_text": format_bytes(backup_set.size),
        "encryption": _manifest.AGE if backup_set.recipients else "none",
        "recipients": backup_set.recipients,
        "components": [name for name in sorted(manifest["components"]) if manifest["components"][name]["artifacts"]],
        "seconds": manifest["seconds"],
        "verified": [{"level": check["level"], "time": check.get("time")} for check in proved(backup_set.verified)],
        "unproved": [
            {"level": check["level"], "time": check.get("time"), "reason": check.get("error")}
            for check in backup_set.verified
            if outcome_of(check) == UNPROVED
        ],
        "pinned": backup_set.pinned or None,
    }
