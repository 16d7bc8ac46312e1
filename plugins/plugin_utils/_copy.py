# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A set copied from one store to another, byte for byte: it keeps its id, its manifest and its encryption."""

from __future__ import annotations

import datetime
import typing as t

from ansible.utils.display import Display

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder import copy
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._notes import Notes
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._partial import PartialSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._stored import read_back

display = Display()


def is_there(backup_set: BackupSet, target: Store) -> bool:
    """Tell whether the other store has the very set already.

    :raises StateError: when a set of that id is there that is another one, or damaged.
    """
    if not target.published(backup_set.set_id):
        return False
    there = "%s is in %s already, and" % (backup_set.set_id, target.path)
    try:
        other = target.get(backup_set.set_id)
    except IntegrityError as exc:
        raise StateError("%s is damaged: %s" % (there, exc.cause), "Move it away, and copy again") from exc
    if other.manifest_sha256 != backup_set.manifest_sha256:
        raise StateError(
            "%s is not the same set: its manifest differs" % there,
            "Find out which of the two is right before one of them is removed",
        )
    return True


def copy_set(source: Store, set_id: str, target: Store, now: datetime.datetime, pid: int) -> BackupSet:
    """Copy a set, and read back what arrived before it is one.

    :param pid: of the playbook run, which the unfinished copy belongs to.
    :raises IntegrityError: when it is damaged, here or there; nothing of it is visible in the target then.
    """
    backup_set = source.get(set_id)
    if source.path == target.path:
        raise InputError("%s would be copied onto itself" % source.path, "Name another store to copy to")
    partial = target.open_copy(backup_set.set_id, now, pid, backup_set.recipients)
    try:
        _fill(partial, backup_set, target)
        # Before the set is one, so that no prune finds it without.
        if backup_set.pinned:
            Notes(target.backend.sets).save_pin(backup_set.set_id, backup_set.pinned, now)
        return target.adopt(partial, _text(backup_set, _manifest.MANIFEST_NAME), now)
    except BaseException:
        if not target.published(backup_set.set_id):
            partial.discard()
        raise


def _fill(partial: PartialSet, backup_set: BackupSet, target: Store) -> None:
    for artifact in backup_set.manifest["artifacts"]:
        partial.heartbeat()
        if not _taken(partial, artifact, target):
            copy(artifact, backup_set.folder, partial.folder, partial.heartbeat)
    # Whatever else lies in the set is part of it: checksums, the seal, and what tells people how to restore it.
    for name in backup_set.folder.files():
        if "/" not in name and not name.startswith(".") and name != _manifest.MANIFEST_NAME:
            partial.folder.write(name, _text(backup_set, name), 0o400)


def _taken(partial: PartialSet, artifact: dict[str, t.Any], target: Store) -> bool:
    """Take over from the target itself what an earlier set there shares with this one, as far as it is sound there."""
    origin = artifact.get("linked_from")
    if not origin or not target.published(origin):
        return False
    try:
        other = target.get(origin, recheck=True)
        same = [
            one
            for one in other.manifest["artifacts"]
            if all(one[name] == artifact[name] for name in ("path", "size", "sha256"))
        ]
        read_back(other.folder, same, partial.heartbeat)
    except IntegrityError as exc:
        display.warning("%s of set %s is copied anew: %s" % (artifact["path"], partial.set_id, exc.cause))
        return False
    if same:
        partial.link(other.folder, artifact)
    return bool(same)


def _text(backup_set: BackupSet, name: str) -> bytes:
    found = backup_set.folder.read(name)
    if found is None:
        raise IntegrityError("%s is gone" % backup_set.folder.at(name), "Somebody removes the set: copy another one")
    return found
