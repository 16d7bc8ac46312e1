# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What restores keep on a host, of every component, and its removal.

Each component knows its own names; here they are put together. All is found by names again after an interruption.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _mounts, _restore_record, _static_names
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import as_error
from ansible_collections.authentik_ops.recovery.plugins.module_utils._kept import RECORD, Copy
from ansible_collections.authentik_ops.recovery.plugins.module_utils._object_index import COMPONENT
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import open_admin
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_names import find_copies
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._work_folder import WorkFolder
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_move import remove as remove_tree
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import is_id
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import from_printable

if TYPE_CHECKING:
    import datetime
    from typing import Iterable, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import Request

# What lies in a bucket is the controller's to remove.
_NO_PATHS = ("postgresql", COMPONENT)
_FOLDERS = ("redis", "config", "compose")


class Where(NamedTuple):
    """Where to look.

    :ivar request: how the database is reached; None for an instance whose database is not known.
    :ivar databases: live names.
    :ivar directories: live paths.
    :ivar files: live paths of configuration files.
    :ivar records: those of the instance.
    """

    work_dir: str
    request: Request | None
    databases: Sequence[str]
    directories: Sequence[str]
    files: Sequence[str]
    records: Sequence[dict[str, Any]]


def look(
    work_dir: str, instance: str, request: Request | None, directories: Iterable[str], files: Iterable[str]
) -> Where:
    """Return where copies may lie: where the instance has its data now, and where its restores put it."""
    records = _restore_record.find(work_dir, instance).records
    databases = [request.settings.name] if request is not None else []
    folders, paths = list(directories), list(files)
    for record in records:
        databases += record["databases"]
        folders += record["directories"]
        paths += _files_of(os.path.join(work_dir, record["restore_id"], "config"))
    resolved = sorted({os.path.realpath(path) for path in folders})
    return Where(work_dir, request, sorted(set(databases)), resolved, sorted(set(paths)), records)


def _files_of(folder: str) -> list[str]:
    """Return the files that a restore of the configuration replaces or makes."""
    try:
        with open(os.path.join(folder, "plan.json"), encoding="utf-8") as stream:
            items = json.load(stream)["items"]
        return [os.fsdecode(from_printable(item["path"])) for item in items if item["action"] != "mkdir"]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # nothing was prepared, or it is damaged: what it names is left alone


def find(where: Where) -> list[Copy]:
    """Return all that restores of the instance keep."""
    found = _databases(where)
    for component, paths in (("directory", where.directories), ("config", where.files)):
        for path in paths:
            for copy in _static_names.find_copies(path):
                # Whoever names a live directory like that has to look after it.
                live = any((other + "/").startswith(copy.path + "/") for other in (*where.directories, *where.files))
                if is_id(copy.restore_id) and not live:
                    found.append(Copy(copy.restore_id, component, copy.kind, copy.path, path, size_of(copy.path)))
    for record in where.records:
        restore_id = record["restore_id"]
        folder = os.path.join(where.work_dir, restore_id)
        for name in _FOLDERS:
            path = os.path.join(folder, name)
            if os.path.isdir(path):
                found.append(Copy(restore_id, name, "before", path, name, size_of(path)))
        found.append(Copy(restore_id, RECORD, RECORD, folder, RECORD, size_of(folder)))
    return found


def _databases(where: Where) -> list[Copy]:
    if where.request is None:
        return []
    with open_admin(
        where.request.settings, where.request.admin, [where.request.app_role], where.request.bin_dir
    ) as admin:
        present = admin.databases()
    return [
        Copy(restore_id, "postgresql", kind, name, live, present[name]["bytes"] or 0)
        for live in where.databases
        for name, kind, restore_id in find_copies(live, present)
        if name not in where.databases
    ]


def remove(where: Where, copies: Sequence[Copy], now: datetime.datetime) -> None:
    """Remove copies. First it is written down that their restores cannot be taken back, last their records go.

    Of those in a bucket only that is written down.

    :raises StateError: a restore is under way, or something is mounted in a copy.
    """
    for copy in copies:
        mounted = [] if copy.component in _NO_PATHS else _mounts.below(copy.name)
        if mounted:
            raise StateError(
                "%s is not removed: %s is mounted in it" % (copy.name, mounted[0]), "Unmount it, then repeat"
            )
    _drop(where, copies, now)
    # What the work folder holds is how the rest is found.
    for copy in sorted(copies, key=lambda one: (one.component == RECORD, one.name.startswith(where.work_dir))):
        try:
            if copy.component == RECORD:
                _restore_record.forget(where.work_dir, copy.restore_id)
            elif copy.component == "redis":
                WorkFolder(where.work_dir, copy.restore_id).remove()
            elif copy.component not in _NO_PATHS:
                remove_tree(copy.name)
        except OSError as exc:
            raise as_error("remove", copy.name, exc, "Repeat the cleanup once the cause is gone") from exc


def _drop(where: Where, copies: Sequence[Copy], now: datetime.datetime) -> None:
    """Drop the databases, while no restore of the live ones can begin."""
    if where.request is None:
        _mark(where, copies, now)
        return
    with open_admin(
        where.request.settings, where.request.admin, [where.request.app_role], where.request.bin_dir
    ) as admin:
        admin.lock(where.databases)
        _mark(where, copies, now)
        for copy in copies:
            if copy.component == "postgresql":
                admin.drop(copy.name)


def _mark(where: Where, copies: Sequence[Copy], now: datetime.datetime) -> None:
    recorded = {record["restore_id"] for record in where.records}
    for restore_id in sorted({copy.restore_id for copy in copies if copy.kind == "before"} & recorded):
        _restore_record.update(where.work_dir, restore_id, {"state": _restore_record.CLEANED}, now)


def size_of(path: str) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    try:
        total = 0 if os.path.isdir(path) and not os.path.islink(path) else os.lstat(path).st_size
    except FileNotFoundError:
        return 0
    for folder, _names, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue  # nothing stands still on a live host
    return total
