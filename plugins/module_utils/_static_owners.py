# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Whom the files of a set of another deployment belong to: authentik is another user on each.

Only what belonged to the owner of the saved directory is given away; files of others keep their numbers.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Work

#: The user and the group of authentik in its own image.
_IMAGE_USER = 1000


class Owner(NamedTuple):
    """A user and a group, as numbers."""

    uid: int
    gid: int

    def __str__(self) -> str:
        return "%d:%d" % (self.uid, self.gid)


def owner_of(path: str) -> Owner:
    """The owner of a directory."""
    info = os.stat(path)
    return Owner(info.st_uid, info.st_gid)


def owner_here(work: Work) -> tuple[Owner, str] | None:
    """Who owns a directory of elsewhere here, and why as a part of a sentence; None where it is not known."""
    if not work.moved_to or os.geteuid() != 0:
        return None
    live = work.parts[0].place.live
    # What this instance keeps in another directory of its own need not be there yet.
    model = next((path for path in [live] + [os.path.dirname(live)] * bool(work.said) if os.path.isdir(path)), "")
    found = owner_of(model) if model else None
    if work.moved_to == "compose" and (found is None or found.uid == 0):
        # Docker makes the folders of bind mounts for root, who is not whom authentik runs as.
        return Owner(_IMAGE_USER, _IMAGE_USER), "authentik's user in its image"
    return (found, "the owner of %s" % model) if found else None


def describe(work: Work, saved: Owner | None) -> list[str]:
    """A sentence for the plan, none where every owner stays.

    :param saved: the owner of the saved directory.
    """
    found = owner_here(work)
    if saved is None or found is None or found[0] == saved:
        return []
    return ["%s: what belonged to %s is given to %s, %s" % (work.component, saved, *found)]


def give(work: Work, copy: str) -> None:
    """Give the unpacked and proved copy to whom it belongs here."""
    found = owner_here(work)
    saved = owner_of(copy)
    if found is None or found[0] == saved:
        return
    root = os.fsencode(copy)
    _give(root, saved, found[0])
    for folder, names, files in os.walk(root):
        for name in names + files:
            _give(os.path.join(folder, name), saved, found[0])


def _give(path: bytes, saved: Owner, new: Owner) -> None:
    info = os.lstat(path)
    uid = new.uid if info.st_uid == saved.uid else info.st_uid
    gid = new.gid if info.st_gid == saved.gid else info.st_gid
    if (uid, gid) == (info.st_uid, info.st_gid):
        return
    os.chown(path, uid, gid, follow_symlinks=False)
    if stat.S_ISREG(info.st_mode) and info.st_mode & (stat.S_ISUID | stat.S_ISGID):
        os.chmod(path, stat.S_IMODE(info.st_mode))  # which a change of the owner takes away
