# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Signs of life of a restore, and the end of a run that another one has taken for dead.

The role gives every module of a restore the place of its record and the id of its owner in the environment. While a
module works it renews the time of the record's last change, which is the sign of life.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _restore_record
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, StateError

if TYPE_CHECKING:
    from typing import Any, Mapping

FOLDER, OWNER = "AUTHENTIK_RECOVERY_RESTORE", "AUTHENTIK_RECOVERY_OWNER"
_BEAT_SECONDS = 10.0


def environment(work_dir: str, record: dict[str, Any]) -> dict[str, str]:
    """Return the environment that lets the modules of a run keep its restore alive; empty where it has no owner."""
    if not record["owner"]:
        return {}
    return {FOLDER: os.path.join(work_dir, record["restore_id"]), OWNER: record["owner"]["id"]}


def keep_alive(given: Mapping[str, str]) -> None:
    """Renew the sign of life of the restore that the environment names, until this process ends.

    :raises StateError: the restore is another run's now, or nobody's.
    """
    folder = given.get(FOLDER)
    if not folder:
        return
    work_dir, restore_id = os.path.split(folder)
    record = None
    with contextlib.suppress(IntegrityError):
        record = _restore_record.read(work_dir, restore_id)
    if record is not None and record["owner"].get("id") != given.get(OWNER):
        raise StateError(
            "This run was taken for dead, after too long without a sign of life, and another one went on:"
            " the restore %s is not its own any more" % restore_id,
            "This run changes nothing more. Look what the other one did, or take this restore back",
            "ansible-playbook authentik_ops.recovery.rollback -e authentik_restore_id=%s" % restore_id,
        )
    path = os.path.join(folder, _restore_record.NAME)
    # A module may end before its thread begins.
    _renew(path)
    threading.Thread(target=_beat, args=(path,), daemon=True).start()


def _beat(path: str) -> None:
    while True:
        time.sleep(_BEAT_SECONDS)
        _renew(path)


def _renew(path: str) -> None:
    with contextlib.suppress(OSError):
        os.utime(path)
