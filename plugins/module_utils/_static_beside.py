# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The copy lies beside the directory, and the two are exchanged by rename.

All state is in two names: ``<dir>.new-<restore id>`` and ``<dir>.before-<restore id>``. Where no directory was before,
an empty *file* takes the second name, so that undo knows. What was written into a restored directory before it was
undone is in no backup: such a directory stays, as ``<dir>.undone-<restore id>``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import fsync_directory, write_private
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_move import remove
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_names import beside, free_name
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_way import Way

if TYPE_CHECKING:
    from collections.abc import Callable


class Beside(Way):
    """Exchange by rename of the whole directory."""

    def folder(self) -> str:
        parent = os.path.dirname(self.place.live)
        while not os.path.isdir(parent):
            parent = os.path.dirname(parent)
        return parent

    def blockers(self) -> list[str]:
        parent = self.folder()
        if os.access(parent, os.W_OK | os.X_OK):
            return []
        return ["%s: %s may not be written to; run the task with become: true" % (self.place.component, parent)]

    def fate(self, names: list[str]) -> list[str]:
        place = self.place
        if os.path.lexists(place.live):
            return ["%s: the present directory would be kept as %s" % (place.component, place.before)]
        return ["%s: there is no %s now; it would be made" % (place.component, place.live)]

    def make_room(self) -> None:
        parent = os.path.dirname(self.place.live)
        if not os.path.isdir(parent):
            os.makedirs(parent)

    def clear(self) -> None:
        remove(self.place.new)
        remove(self.place.whole)

    def swap(self) -> bool:
        place = self.place
        if not os.path.lexists(place.new):
            if os.path.lexists(place.before) and os.path.lexists(place.live):
                return False
            raise StateError(
                "%s: nothing is prepared (%s does not exist)" % (place.component, place.new), "Run step: prepare first"
            )
        if not os.path.lexists(place.before):
            if os.path.lexists(place.live):
                os.rename(place.live, place.before)
            else:
                write_private(place.before, b"", 0o400)
        elif os.path.lexists(place.live):
            raise StateError(
                "%s was made anew while this restore was half swapped; %s holds what was there before"
                % (place.live, place.before),
                "Run step: undo, which keeps both, and start again",
            )
        os.rename(place.new, place.live)
        fsync_directory(os.path.dirname(place.live))
        return True

    def undo(self, why: Callable[[], str], pretend: bool) -> list[str]:
        said = []
        place = self.place
        if os.path.lexists(place.before):
            aside, reason = self._aside(why)
            nothing_before = os.path.isfile(place.before)
            if os.path.lexists(place.live):
                said.append("%s: %s was moved out of the way" % (place.component, place.live))
                if reason:
                    said.append("%s: %s; it is kept as %s" % (place.component, reason, aside))
            said.append(
                "%s: %s was put back%s"
                % (place.component, place.live, ", that is, there is none as before" if nothing_before else "")
            )
            if not pretend:
                self._put_back(aside, nothing_before)
        if os.path.lexists(place.new):
            said.append("%s: the copy %s was removed" % (place.component, place.new))
            if not pretend:
                remove(place.new)
        return said

    def _put_back(self, aside: str, nothing_before: bool) -> None:
        place = self.place
        if os.path.lexists(place.live):
            os.rename(place.live, aside)
        if nothing_before:
            os.unlink(place.before)
        else:
            os.rename(place.before, place.live)
        fsync_directory(os.path.dirname(place.live))

    def _aside(self, why: Callable[[], str]) -> tuple[str, str]:
        """Where undo moves the live directory, and why it is kept; empty where it need not be."""
        place = self.place
        if not os.path.lexists(place.live):
            return place.new, ""
        if os.path.lexists(place.new):
            return free_name(beside(place.live, "found", place.restore_id)), "it was made during the restore"
        reason = why()
        return (free_name(beside(place.live, "undone", place.restore_id)), reason) if reason else (place.new, "")
