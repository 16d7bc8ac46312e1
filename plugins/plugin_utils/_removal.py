# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""How a set goes: first its name, at once and durably, then what is in it."""

from __future__ import annotations

import os
import shutil

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import (
    as_error,
    fsync_directory,
    make_private_directories,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import check_id, is_id
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._lock import Lock
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._notes import Notes, note_of

DELETING_SUFFIX = ".deleting"


class SetRemoval:
    """Removes sets. Killed at any point, it leaves the whole of a set or nothing that is taken for one.

    :param folder: where the sets of one instance lie.
    :param notes: the notes beside them.
    """

    def __init__(self, folder: str, notes: Notes) -> None:
        self._folder = folder
        self._notes = notes

    def lock(self, what: str) -> Lock:
        """Return the lock under which sets are removed, for a C(with) statement.

        :param what: what is done meanwhile, for whoever finds it locked.
        """
        make_private_directories(self._folder)
        return Lock(self._folder, what)

    def remove(self, set_id: str) -> None:
        """Remove a set and all notes about it. The artifacts that other sets share with it stay theirs.

        :raises RecoveryError: when it is not there any more, or may not be renamed; then it is as it was.
        """
        path = os.path.join(self._folder, check_id(set_id))
        try:
            os.rename(path, path + DELETING_SUFFIX)
            fsync_directory(self._folder)
        except FileNotFoundError as exc:
            raise StateError("Backup set %s is not there any more" % path, "Somebody else removed it") from exc
        except OSError as exc:
            raise as_error("remove the backup set", path, exc) from exc
        self.finish(set_id)

    def left_over(self) -> list[str]:
        """Return the ids of sets whose removal was interrupted, and of those of which only notes are left."""
        try:
            names = set(os.listdir(self._folder))
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise as_error("list the store", self._folder, exc) from exc
        hidden = {name[: -len(DELETING_SUFFIX)] for name in names if name.endswith(DELETING_SUFFIX)}
        noted = {note_of(name) for name in names} - names
        return sorted(filter(is_id, hidden | noted))

    def finish(self, set_id: str) -> None:
        """Remove what is left of a set that has no name of its own any more, and then the notes about it."""
        path = os.path.join(self._folder, check_id(set_id))
        try:
            if os.path.lexists(path + DELETING_SUFFIX):
                shutil.rmtree(path + DELETING_SUFFIX)
                fsync_directory(self._folder)
        except OSError as exc:
            raise as_error("remove what is left of the backup set", path + DELETING_SUFFIX, exc) from exc
        if not os.path.lexists(path):
            self._notes.forget(set_id)
