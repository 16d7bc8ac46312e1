# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of authentik_kept_copies: looks after what restores keep in the bucket of an instance's files."""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _bucket_kept
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_action import BucketAction
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_read import Bucket


class ActionModule(BucketAction):
    """The host judges all of it, and removes its own first: by then its records say that there is no way back."""

    def work(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """List, and remove what goes."""
        if arguments.get("bucket_copies") is not None:
            raise InputError("bucket_copies is set by the action plugin alone", "Leave it out")
        given = arguments.pop("storage_s3", None)
        told = self._ask(arguments, task_vars)
        storage = told.pop("storage", None)
        if storage is None:
            return told
        bucket, copies, warnings = self._look(storage, given)
        result = self._ask(dict(arguments, bucket_copies=copies), task_vars)
        result.pop("invocation", None)
        if bucket is not None and result.get("changed") and not result.get("failed") and not self._task.check_mode:
            _bucket_kept.remove(bucket, result["copies"], warnings.append)
        result["warnings"] = [*result.get("warnings", []), *dict.fromkeys(warnings)]
        return result

    def _look(self, storage: dict[str, t.Any], given: t.Any) -> tuple[Bucket | None, list[dict[str, t.Any]], list[str]]:
        """Return the bucket, what is kept there, and warnings."""
        try:
            bucket, warnings = self.connect(storage, given).bucket, list[str]()
            return bucket, _bucket_kept.find(bucket, warnings.append), warnings
        except RecoveryError as exc:
            # Where no restore has kept anything there, the host is looked after all the same.
            if storage["restored"]:
                raise
            return None, [], ["What restores may have kept in the bucket of the files is not looked for: %s" % exc]
