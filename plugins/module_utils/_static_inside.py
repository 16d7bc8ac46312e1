# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The copy lies inside a directory that cannot be renamed, such as a mount point; the entries of both are exchanged.

``<dir>/.authentik-new-<restore id>`` holds the copy, ``<dir>/.authentik-before-<restore id>`` a journal and what was
live before. First all present entries move out, then the new ones in, and the directory itself gets the new owners,
mode, times and attributes. Each move is one rename; the journal says which of the two goes on. Undo is the same the
other way. Copies of other restores and the file system's ``lost+found`` stay where they are.

Making and removing our folders moves the directory's own time of modification, which is set back at once. A kill right
between the two is the one thing that leaves a trace: that time.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _tar_extract
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import fsync_directory
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_journal import (
    ASIDE,
    BACK,
    DONE,
    IN,
    KEEP,
    OUT,
    Facts,
    Journal,
    begin,
    dress_root,
    find_journal,
    is_half_swapped,
    read_root,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_move import remove
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_names import (
    LOST_FOUND,
    TREE,
    content_names,
    content_rule,
    find_copies,
    free_name,
    inside,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_way import Way, keeping_time
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Place


class Inside(Way):
    """Exchange entry by entry, inside the directory."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._work = os.path.dirname(place.new)
        self._kept = os.path.join(place.before, TREE)
        # Where the folder of what was live is while it is no more, or not yet, at its place.
        self._aside = os.path.join(self._work, "before")

    def folder(self) -> str:
        return self.place.live

    def blockers(self) -> list[str]:
        if os.geteuid() == 0:
            return []
        component, live = self.place.component, self.place.live
        said = []
        if not os.access(live, os.R_OK | os.W_OK | os.X_OK):
            said.append("%s: %s may not be written to; run the task with become: true" % (component, live))
        elif _tar_extract.foreign_owners(read_root(live)):
            said.append("%s: %s belongs to another user; run the task with become: true" % (component, live))
        else:
            said += ["%s: %s; run the task with become: true" % (component, stuck) for stuck in immovable(live)]
        return said

    def fate(self, names: list[str]) -> list[str]:
        place = self.place
        said = [
            "%s: %s cannot be renamed (it is a mount point, or the folder above may not be written to), so what it"
            " holds would be exchanged entry by entry" % (place.component, place.live),
            "%s: what is in it now would be kept in %s" % (place.component, place.before),
        ]
        return said + self.left_alone(names)

    def left_alone(self, names: list[str]) -> list[str]:
        place, said = self.place, []
        why = content_rule(place.live)
        if why(LOST_FOUND.encode()) is not None:
            said.append("%s: %s of the file system stays as it is" % (place.component, LOST_FOUND))
        left = sorted(printable(os.fsencode(name)) for name in names if why(os.fsencode(name)) is not None)
        if left:
            said.append("%s: left out, because the name is taken there: %s" % (place.component, ", ".join(left)))
        return said

    def make_room(self) -> None:
        with keeping_time(self.place.live):
            os.close(_tar_extract.make_folder(self._work))

    def clear(self) -> None:
        if not os.path.lexists(self._work):
            return
        journal = find_journal(self._aside)
        with keeping_time(self.place.live, journal.facts().old.mtime_ns if journal else None):
            remove(self._work)

    def swap(self) -> bool:
        place = self.place
        if not os.path.lexists(place.before):
            if not os.path.lexists(place.new):
                raise StateError(
                    "%s: nothing is prepared (%s does not exist)" % (place.component, place.new),
                    "Run step: prepare first",
                )
            self._begin()
        journal = Journal(place.before)
        if journal.phase == DONE:
            return False
        if journal.phase not in (OUT, IN):
            raise StateError("%s: this restore is half undone" % place.live, "Run step: undo, which goes on with that")
        facts = journal.facts()
        if journal.phase == OUT:
            self._move_out()
            journal.enter(IN)
        self._move_in(facts)
        self.clear()
        dress_root(place.live, facts.new)
        dress_root(self._kept, facts.old)
        journal.enter(DONE)
        return True

    def _begin(self) -> None:
        """Make the folder for what is live, which gets its name only when its journal is whole."""
        live = self.place.live
        stuck = [] if os.geteuid() == 0 else immovable(self.place.new)
        if stuck:
            raise StateError("%s: %s" % (self.place.component, "; ".join(stuck)), "Run the task with become: true")
        remove(self._aside)
        _make_tree(self._aside)
        why = content_rule(live)
        names = [name for name in sorted(os.listdir(self.place.new)) if why(os.fsencode(name)) is None]
        over = [copy.restore_id for copy in find_copies(live) if copy.inside and is_half_swapped(copy.path)]
        begin(self._aside, Facts(read_root(live), read_root(self.place.new), names, over))
        with keeping_time(live):
            os.rename(self._aside, self.place.before)
        fsync_directory(live)

    def _move_out(self) -> None:
        live = self.place.live
        names = content_names(live)
        while names:
            for name in names:
                self._move(name, live, self._kept)
            names = content_names(live)
        fsync_directory(self._kept)
        fsync_directory(live)

    def _move_in(self, facts: Facts) -> None:
        live, new = self.place.live, self.place.new
        for name in facts.names:
            if os.path.lexists(os.path.join(new, name)):
                self._move(name, new, live)
            elif not os.path.lexists(os.path.join(live, name)):
                raise StateError(
                    "%s went away while this restore was half swapped" % os.path.join(live, name),
                    "Run step: undo, and start again",
                )
        if set(content_names(live)) - set(facts.names):
            raise self._made_anew()
        fsync_directory(live)

    def _move(self, name: str, source: str, target: str) -> None:
        if os.path.lexists(os.path.join(target, name)):
            raise self._made_anew()
        os.rename(os.path.join(source, name), os.path.join(target, name))

    def _made_anew(self) -> StateError:
        return StateError(
            "Something was made in %s while this restore was half swapped; %s holds what was there before"
            % (self.place.live, self.place.before),
            "Run step: undo, which keeps both, and start again",
        )

    def undo(self, why: Callable[[], str], pretend: bool) -> list[str]:
        place = self.place
        said = []
        if os.path.lexists(place.before):
            journal = Journal(place.before)
            self._check_order(journal)
            reason = why() if journal.phase == DONE else ""
            said += self._say(journal, reason)
            if not pretend:
                self._go_back(journal, reason)
        if os.path.lexists(self._work):
            said.append("%s: the copy %s was removed" % (place.component, self._work))
            if not pretend:
                self.clear()
        return said

    def _check_order(self, journal: Journal) -> None:
        """Refuse what a later restore stands on: what is live is that one's, and what was live is in two places."""
        mine = self.place.restore_id
        for copy in find_copies(self.place.live):
            later = find_journal(copy.path) if copy.inside else None
            if journal.phase != DONE and later is not None and mine in later.facts().over:
                raise StateError(
                    "%s: the restore %s was swapped in over this one, which was half swapped"
                    % (self.place.live, copy.restore_id),
                    "Undo the restore %s first" % copy.restore_id,
                )

    def _say(self, journal: Journal, reason: str) -> list[str]:
        place = self.place
        said = []
        if journal.phase in (IN, DONE, ASIDE, KEEP):
            said.append("%s: what is in %s was moved out of the way" % (place.component, place.live))
        if journal.phase == KEEP or reason:
            reason = reason or "it was changed since it was restored"
            said.append("%s: %s; it is kept as %s" % (place.component, reason, self._undone(journal)))
        if self._strays(journal):
            found = inside(place.live, "found", place.restore_id)
            said.append("%s: what was made in it during the restore is kept in %s" % (place.component, found))
        said.append("%s: what was in %s before was put back" % (place.component, place.live))
        return said

    def _undone(self, journal: Journal) -> str:
        """The folder for what is kept of a restored directory: a new one, or the one that a killed undo has begun."""
        wanted = inside(self.place.live, "undone", self.place.restore_id)
        name, last, number = wanted, "", 1
        while os.path.lexists(name):
            number += 1
            last, name = name, "%s_%d" % (wanted, number)
        return last if last and (journal.phase == KEEP or _is_empty(last)) else name

    def _strays(self, journal: Journal) -> list[str]:
        """Names in the directory that somebody else made there while the exchange was under way."""
        if journal.phase == DONE:
            return []
        present = content_names(self.place.live)
        # Where a name goes, or came from, it is only once, unless it was made anew.
        other = {OUT: self._kept, BACK: self._kept, IN: self.place.new, ASIDE: self.place.new}.get(
            journal.phase, os.path.join(self._undone(journal), TREE)
        )
        strays = [name for name in present if os.path.lexists(os.path.join(other, name))]
        if journal.phase in (IN, ASIDE):
            strays += sorted(set(present) - set(journal.facts().names) - set(strays))
        return strays

    def _go_back(self, journal: Journal, reason: str) -> None:
        place, live = self.place, self.place.live
        self._find(self._strays(journal))
        if journal.phase in (IN, DONE, ASIDE, KEEP):
            self._put_aside(journal, reason)
        if journal.phase != BACK:
            journal.enter(BACK)
        for name in sorted(os.listdir(self._kept)):
            os.rename(os.path.join(self._kept, name), os.path.join(live, name))
        self._make_own(self._work)
        dress_root(live, journal.facts().old)
        with keeping_time(live):
            os.rename(place.before, self._aside)
        fsync_directory(live)

    def _put_aside(self, journal: Journal, reason: str) -> None:
        if reason or journal.phase == KEEP:
            target = self._make_own(self._undone(journal))
            journal.enter(KEEP)
        else:
            # In this order: a folder of ours that is made first, and a kill, would look like a change of the directory.
            journal.enter(ASIDE)
            target = self._make_own(self._work)
        for name in content_names(self.place.live):
            self._move(name, self.place.live, target)
        fsync_directory(target)
        fsync_directory(self.place.live)

    def _find(self, names: list[str]) -> None:
        for name in names:
            tree = self._make_own(inside(self.place.live, "found", self.place.restore_id))
            os.rename(os.path.join(self.place.live, name), free_name(os.path.join(tree, name)))

    def _make_own(self, folder: str) -> str:
        with keeping_time(self.place.live):
            return _make_tree(folder)


def immovable(folder: str) -> list[str]:
    """Folders that only root can move to another one, because their owner may not write to them."""
    paths = [folder] + [os.path.join(folder, name) for name in content_names(folder)]
    return [
        "%s may not be written to by its owner, so it cannot be moved" % path
        for path in paths
        if os.path.isdir(path) and not os.path.islink(path) and not os.access(path, os.W_OK)
    ]


def _make_tree(folder: str) -> str:
    """Make one of our folders with its tree, as far as they are not there; returns the tree."""
    tree = os.path.join(folder, TREE)
    for path in (folder, tree):
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
    return tree


def _is_empty(folder: str) -> bool:
    tree = os.path.join(folder, TREE)
    return not os.path.isdir(tree) or not os.listdir(tree)
