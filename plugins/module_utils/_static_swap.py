# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Prepared directories are swapped in by rename, and swapped back.

All state is in two names beside the directory: ``<dir>.new-<restore id>`` and ``<dir>.before-<restore id>``. Where no
directory was before, an empty *file* takes the second name, so that undo knows. What was written into a restored
directory before it was undone is in no backup: such a directory stays, as ``<dir>.undone-<restore id>``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _mounts, _static_move
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import fsync_directory, write_private
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_move import remove
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_names import beside, free_name

if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Part, Place, Work


def swap(work: Work) -> list[Place]:
    """Put the prepared copies in the place of the live ones; returns those for which that was not done already.

    :raises StateError: nothing was prepared, or not to its end.
    """
    first = work.parts[0].place
    if os.path.lexists(first.whole):
        raise StateError(
            "%s: what was prepared is not complete (%s exists)" % (work.component, first.whole),
            "Run step: prepare first",
        )
    # Of the further parts the set may hold none.
    there = [part.place for part in work.parts if part.place == first or _is_begun(part.place)]
    return [place for place in there if _swap(place)]


def _is_begun(place: Place) -> bool:
    return os.path.lexists(place.new) or os.path.lexists(place.before)


def _swap(place: Place) -> bool:
    if not os.path.lexists(place.new):
        if os.path.lexists(place.before) and os.path.lexists(place.live):
            return False
        raise StateError(
            "%s: nothing is prepared (%s does not exist)" % (place.component, place.new), "Run step: prepare first"
        )
    blockers = target_blockers(place)
    if blockers:
        raise StateError("; ".join(blockers))
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


def undo(work: Work, pretend: bool = False) -> list[str]:
    """Put back what was before and drop what was prepared; sentences saying what was done, none when nothing was.

    :param pretend: only say it.
    """
    said = []
    for part in reversed(work.parts):
        said += _undo(work.record, part, pretend)
    whole = work.parts[0].place.whole
    if os.path.lexists(whole):
        said.append("%s: the copy %s was removed" % (work.component, whole))
        if not pretend:
            remove(whole)
    return said


def _undo(record: dict[str, Any], part: Part, pretend: bool) -> list[str]:
    said = []
    place = part.place
    if os.path.lexists(place.before):
        aside, why = _aside(record, part)
        nothing_before = os.path.isfile(place.before)
        if os.path.lexists(place.live):
            said.append("%s: %s was moved out of the way" % (place.component, place.live))
            if why:
                said.append("%s: %s; it is kept as %s" % (place.component, why, aside))
        said.append(
            "%s: %s was put back%s"
            % (place.component, place.live, ", that is, there is none as before" if nothing_before else "")
        )
        if not pretend:
            if os.path.lexists(place.live):
                os.rename(place.live, aside)
            if nothing_before:
                os.unlink(place.before)
            else:
                os.rename(place.before, place.live)
            fsync_directory(os.path.dirname(place.live))
    if os.path.lexists(place.new):
        said.append("%s: the copy %s was removed" % (place.component, place.new))
        if not pretend:
            remove(place.new)
    return said


def _aside(record: dict[str, Any], part: Part) -> tuple[str, str]:
    """Where undo moves the live directory, and why it is kept; empty where it need not be."""
    place = part.place
    restore_id = place.before.rpartition(".before-")[2]
    if not os.path.lexists(place.live):
        return place.new, ""
    if os.path.lexists(place.new):
        return free_name(beside(place.live, "found", restore_id)), "it was made during the restore"
    why = _static_move.changed(record, part)
    return (free_name(beside(place.live, "undone", restore_id)), why) if why else (place.new, "")


def target_blockers(place: Place) -> list[str]:
    blockers = []
    # A link here is one that is itself replaced.
    if os.path.lexists(place.live) and not (os.path.isdir(place.live) or os.path.islink(place.live)):
        blockers.append("%s: %s is not a directory" % (place.component, place.live))
    for point in [place.live] * _mounts.is_mount_point(place.live) + _mounts.below(place.live):
        blockers.append(
            "%s: %s is a mount point, which cannot be swapped by rename; restore to another directory with"
            " paths: {%s: /path} and move the content, or unmount it first" % (place.component, point, place.component)
        )
    parent = existing_parent(place.live)
    if not os.access(parent, os.W_OK | os.X_OK):
        blockers.append("%s: %s may not be written to; run the task with become: true" % (place.component, parent))
    return blockers


def existing_parent(path: str) -> str:
    parent = os.path.dirname(path)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    return parent
