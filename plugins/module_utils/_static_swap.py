# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Prepared directories are swapped in, and out again, each in the way that its place allows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _mounts, _static_move
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_beside import Beside
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_in_place import InPlace
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_inside import Inside
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_move import remove

if TYPE_CHECKING:
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Part, Place, Work
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_way import Way


def way_of(place: Place) -> Way:
    """How the copy of this place is swapped in and out."""
    way = Inside(place) if place.inside else Beside(place)
    return InPlace(place, way) if place.in_place else way


def clear(work: list[Work], pretend: bool) -> list[str]:
    """Remove what is live, where it is restored in place; sentences saying what was removed.

    :param pretend: only say it.
    :raises StateError: it cannot be removed, or not all of it.
    """
    said = []
    for place in [part.place for item in work for part in item.parts]:
        way = way_of(place)
        if isinstance(way, InPlace):
            try:
                said += way.empty(pretend)
            except OSError as exc:
                raise _failed(place, "emptied", exc) from exc
    return said


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
    blockers = target_blockers(place) if os.path.lexists(place.new) else []
    if blockers:
        raise StateError("; ".join(blockers))
    try:
        return way_of(place).swap()
    except OSError as exc:
        raise _failed(place, "swapped in", exc) from exc


def undo(work: Work, pretend: bool = False) -> list[str]:
    """Put back what was before and drop what was prepared; sentences saying what was done, none when nothing was.

    :param pretend: only say it.
    :raises StateError: a file system is not mounted, so that what was done cannot be seen.
    """
    said = []
    for part in reversed(work.parts):
        missing = _not_mounted(part.place)
        if missing:
            raise StateError("; ".join(missing))
        said += _undo(work, part, pretend)
    whole = work.parts[0].place.whole
    if os.path.lexists(whole) and not work.parts[0].place.inside:
        said.append("%s: the copy %s was removed" % (work.component, whole))
        if not pretend:
            remove(whole)
    return said


def _undo(work: Work, part: Part, pretend: bool) -> list[str]:
    try:
        return way_of(part.place).undo(lambda: _static_move.changed(work.record, part), pretend)
    except OSError as exc:
        raise _failed(part.place, "put back", exc) from exc


def _failed(place: Place, what: str, exc: OSError) -> StateError:
    return StateError(
        "%s: %s could not be %s: %s" % (place.component, place.live, what, exc),
        "Some of it is gone: its safety set brings it back, once the reason is gone"
        if place.in_place
        else "How far it got is on the disk: step undo goes back from there, once the reason is gone",
        "ls -la %s" % place.live,
    )


def target_blockers(place: Place) -> list[str]:
    """Why nothing can be restored to a place, in sentences."""
    component, live = place.component, place.live
    blockers = _not_mounted(place)
    # A link here is one that is itself replaced.
    if os.path.lexists(live) and not (os.path.isdir(live) or os.path.islink(live)):
        blockers.append("%s: %s is not a directory" % (component, live))
    for point in _mounts.below(live):
        blockers.append(
            "%s: %s is a mount point, which cannot be swapped by rename with the rest of %s; restore to another"
            " directory with paths: {%s: /path} and move the content, or unmount it first"
            % (component, point, live, component)
        )
    way = way_of(place)
    if _mounts.is_read_only(way.folder()):
        blockers.append(
            "%s: %s is on a file system that is mounted read-only; mount it writable (mount -o remount,rw %s), or"
            " restore to another directory with paths: {%s: /path}"
            % (component, way.folder(), _mounts.mount_of(way.folder()), component)
        )
    else:
        blockers += way.blockers()
    return blockers


def _not_mounted(place: Place) -> list[str]:
    point = _mounts.missing_mount(place.live)
    if not point:
        return []
    return [
        "%s: /etc/fstab has a file system for %s that is not mounted, so %s is not the directory that authentik uses;"
        " mount it first (mount %s)" % (place.component, point, place.live, point)
    ]
