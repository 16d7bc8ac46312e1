# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of authentik_backup_set_verify: reads or streams a set, and records what came of it."""

from __future__ import annotations

import datetime
import time
import typing as t

from ansible.errors import AnsibleError

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    RecoveryError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import plain_view
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _notes
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._consumer import without_echo
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._opened import decrypting_source, plain_source
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sender import Sender
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._transfer import (
    Failed,
    StreamingAction,
    Target,
)

_LEVELS = ("checksums", "decode", "restore")


class ActionModule(StreamingAction):
    """With backup_set the set is in the store, and the outcome is recorded there; without it in src on the host."""

    _decrypts = True

    def stream(self, where: Target, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Verify the set; a set whose manifest cannot be read has nothing to which an outcome could belong."""
        level = arguments.get("level") or _LEVELS[0]
        if level not in _LEVELS:
            raise InputError("The level of verification is %r" % level, "It is one of %s" % ", ".join(_LEVELS))
        begin = time.monotonic()
        told: dict[str, t.Any] = {"id": where.set_id, "level": level, "outcome": _notes.UNPROVED}
        try:
            backup_set = where.store.get(where.set_id, recheck=True)
            told["id"] = backup_set.set_id
        except RecoveryError as exc:
            told["outcome"] = _notes.FAILED if isinstance(exc, IntegrityError) else _notes.UNPROVED
            raise Failed(dict(exc.as_result(), **told)) from exc
        try:
            result = self._read(where, backup_set, level, arguments, task_vars)
        except Failed as exc:
            cause = str(exc.result.get("cause") or exc.result.get("msg") or "the module did not say why")
            damaged = exc.result.get("error") == IntegrityError.__name__
            told["outcome"] = self._record(where, backup_set, level, cause, damaged)
            raise Failed(dict(exc.result, **told)) from exc
        except RecoveryError as exc:
            told["outcome"] = self._record(where, backup_set, level, exc.cause, isinstance(exc, IntegrityError))
            raise Failed(dict(exc.as_result(), **told)) from exc
        except AnsibleError as exc:
            self._record(where, backup_set, level, str(exc))
            raise
        told.update(bytes=backup_set.size, seconds=round(time.monotonic() - begin, 3))
        told["outcome"] = self._record(where, backup_set, level, bytes=told["bytes"], seconds=told["seconds"])
        return dict(result, **told, changed=False)

    def _read(
        self, where: Target, backup_set: BackupSet, level: str, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        now = datetime.datetime.now(datetime.UTC)
        if level == _LEVELS[0]:
            decrypts = backup_set.recipients and where.identity.given
            content = decrypting_source(backup_set, where.identity) if decrypts else None
            where.store.verify(backup_set, now, record_it=False, content=content)
            return {"artifacts": [artifact["path"] for artifact in backup_set.manifest["artifacts"]]}

        source, seen = plain_source(backup_set, where.identity), plain_view(backup_set.manifest)

        def make_pump(remote: t.Any, folder: str, options: t.Any, progress: t.Any) -> Sender:
            return Sender(remote, source, folder, options.chunk_size, options.window, progress)

        arguments = dict(arguments, manifest=seen)
        result = without_echo(self.transfer(arguments, task_vars, make_pump, lambda: None))
        missing = sorted({artifact["path"] for artifact in seen["artifacts"]} - set(result.get("artifacts") or []))
        if missing:
            raise RecoveryError("The module on the host did not read %s" % ", ".join(missing))
        return result

    def _record(
        self, where: Target, backup_set: BackupSet, level: str, cause: str = "", damaged: bool = False, **more: t.Any
    ) -> str:
        now = datetime.datetime.now(datetime.UTC)
        check = _notes.new_check(level, now, backup_set.manifest_sha256, cause, not damaged)
        if not self._task.check_mode:
            where.store.record(backup_set, dict(check, **more))
        return _notes.outcome_of(check)
