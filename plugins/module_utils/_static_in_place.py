# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The directory is emptied before its copy is unpacked, for a file system that does not hold both.

Where the copy is unpacked is as in the way that the place would have else, beside or inside. Nothing is kept, so there
is nothing that an undo could put back: only a backup set brings back what was there. The directory itself stays, with
its owner, until the copy takes its place.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import fsync_directory
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_inside import immovable
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_journal import dress_root, read_root
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_move import remove
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_names import content_names, content_rule
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_way import Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Place


class InPlace(Way):
    """Remove, then restore.

    :param way: how the place would be exchanged otherwise: where its copy is unpacked is the same.
    """

    def __init__(self, place: Place, way: Way) -> None:
        super().__init__(place)
        self._way = way

    def folder(self) -> str:
        return self._way.folder()

    def blockers(self) -> list[str]:
        said = self._way.blockers()
        component, live = self.place.component, self.place.live
        if os.path.islink(live):
            said.append(
                "%s: %s is a symbolic link that is replaced itself; restore it side by side" % (component, live)
            )
        elif os.path.isdir(live) and os.geteuid() != 0:
            said += [
                "%s: %s belongs to another user, so what it holds cannot be removed; run the task with become: true"
                % (component, folder)
                for folder in _folders_of_others(live)[:1]
            ]
        return said

    def fate(self, names: list[str]) -> list[str]:
        place = self.place
        return [
            "%s: what %s holds now would be REMOVED before the copy is unpacked, and only the safety set brings it back"
            % (place.component, place.live),
            *self.left_alone(names),
        ]

    def left_alone(self, names: list[str]) -> list[str]:
        return self._way.left_alone(names)

    def make_room(self) -> None:
        self._way.make_room()

    def clear(self) -> None:
        self._way.clear()

    def empty(self, pretend: bool) -> list[str]:
        """Remove what is live, but for the directory itself; a sentence saying so, none when nothing was there.

        :param pretend: only say it.
        """
        names = content_names(self.place.live)
        if not pretend:
            for name in names:
                remove(os.path.join(self.place.live, name))
            fsync_directory(self.place.live)
        return ["%s: what %s held was removed" % (self.place.component, self.place.live)] if names else []

    def swap(self) -> bool:
        place = self.place
        if not os.path.lexists(place.new):
            raise StateError(
                "%s: nothing is prepared (%s does not exist)" % (place.component, place.new), "Run step: prepare first"
            )
        if content_names(place.live):
            raise StateError(
                "Something was made in %s while this restore was under way" % place.live,
                "Stop what writes there, and start again with step: clear",
            )
        if place.inside:
            self._move_in()
        else:
            # An empty directory gives way to another one.
            os.rename(place.new, place.live)
            fsync_directory(os.path.dirname(place.live))
        return True

    def _move_in(self) -> None:
        place, itself = self.place, read_root(self.place.new)
        stuck = [] if os.geteuid() == 0 else immovable(place.new)
        if stuck:
            raise StateError("%s: %s" % (place.component, "; ".join(stuck)), "Run the task with become: true")
        why = content_rule(place.live)
        for name in sorted(os.listdir(place.new)):
            if why(os.fsencode(name)) is None:
                os.rename(os.path.join(place.new, name), os.path.join(place.live, name))
        fsync_directory(place.live)
        self.clear()
        dress_root(place.live, itself)

    def undo(self, why: Callable[[], str], pretend: bool) -> list[str]:
        # There is nothing that was live before: only what was prepared is removed.
        return self._way.undo(why, pretend)


def _folders_of_others(live: str) -> list[str]:
    """The folders from which only root, or another user, may remove something."""
    return [folder for folder, _folders, _files in os.walk(live) if os.stat(folder).st_uid != os.geteuid()]
