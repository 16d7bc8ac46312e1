# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""How a set goes: first its name, at once and durably, then what is in it."""

from __future__ import annotations

from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import check_id, is_id
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._backend import (
    DELETING_SUFFIX,
    PARTIAL_SUFFIX,
    Backend,
    SetsLock,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._notes import Notes, note_of


class SetRemoval:
    """Removes sets. Killed at any point, it leaves the whole of a set or nothing that is taken for one.

    :param backend: where the sets of one instance lie.
    :param notes: the notes beside them.
    """

    def __init__(self, backend: Backend, notes: Notes) -> None:
        self._backend = backend
        self._notes = notes

    def lock(self, what: str) -> SetsLock:
        """Return the lock under which sets are removed, for a C(with) statement.

        :param what: what is done meanwhile, for whoever finds it locked.
        """
        return self._backend.lock(what)

    def remove(self, set_id: str) -> None:
        """Remove a set and all notes about it. The artifacts that other sets share with it stay theirs.

        :raises RecoveryError: when it is not there any more, or its name cannot be taken away; then it is as it was.
        """
        self._backend.hide(check_id(set_id))
        self.finish(set_id)

    def left_over(self) -> list[str]:
        """Return the ids of sets whose removal was interrupted, and of those of which only notes are left.

        A set that is being copied has its pin before it is a set.
        """
        names = set(self._backend.names())
        hidden = {name[: -len(DELETING_SUFFIX)] for name in names if name.endswith(DELETING_SUFFIX)}
        unfinished = {name[: -len(PARTIAL_SUFFIX)] for name in names if name.endswith(PARTIAL_SUFFIX)}
        noted = {note_of(name) for name in names} - names - unfinished
        return sorted(filter(is_id, hidden | noted))

    def finish(self, set_id: str) -> None:
        """Remove what is left of a set that has no name of its own any more, and then the notes about it."""
        self._backend.folder(check_id(set_id) + DELETING_SUFFIX).remove()
        if not self._backend.folder(set_id).exists():
            self._notes.forget(set_id)
