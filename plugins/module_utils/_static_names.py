# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The names that restores of a directory leave on the disk: the one home of how they are made and found again.

Beside the directory: ``<dir>.<kind>-<restore id>``. Inside one that cannot be renamed:
``<dir>/.authentik-<kind>-<restore id>``, a private folder whose ``tree`` is the copy. The kinds: ``new`` is being
prepared, ``before`` is what was live before, ``undone`` what was restored and then changed, ``found`` what was made
while a restore was under way. The last three are kept until the operator removes them.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _mounts
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import ID_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable

#: In a folder inside a directory: the copy itself.
TREE = "tree"
LOST_FOUND = "lost+found"
_REST = r"(?P<kind>new|before|undone|found)-(?P<id>%s)(?:\.whole)?(?:_[0-9]+)?" % ID_PATTERN
_INSIDE = re.compile(r"\.authentik-" + _REST)
_BESIDE = re.compile(r"(?P<name>.+)\." + _REST, re.DOTALL)


class Copy(NamedTuple):
    """Something that a restore left.

    :ivar kind: ``new``, ``before``, ``undone`` or ``found``.
    :ivar path: beside the directory: the copy itself, or an empty *file* where there was no directory before.
        Inside it: the private folder that holds the copy, and nothing else of use.
    """

    path: str
    kind: str
    restore_id: str
    inside: bool


def beside(live: str, kind: str, restore_id: str) -> str:
    return "%s.%s-%s" % (live, kind, restore_id)


def inside(live: str, kind: str, restore_id: str) -> str:
    return os.path.join(live, ".authentik-%s-%s" % (kind, restore_id))


def is_ours(name: str) -> bool:
    """Whether a name right below a directory is one that restores leave, and no content of the directory."""
    return bool(_INSIDE.fullmatch(name) or _BESIDE.fullmatch(name))


def find_copies(live: str) -> list[Copy]:
    """What restores left of a directory, sorted by path.

    :param live: the directory, without symbolic links in its path; it need not exist.
    """
    parent, own = os.path.split(live)
    found = []
    for name in _names(parent):
        match = _BESIDE.fullmatch(name)
        if match and match.group("name") == own:
            found.append(Copy(os.path.join(parent, name), match.group("kind"), match.group("id"), False))
    for name in _names(live):
        match = _INSIDE.fullmatch(name)
        if match:
            found.append(Copy(os.path.join(live, name), match.group("kind"), match.group("id"), True))
    return sorted(found)


def kept_copies(live: str) -> list[Copy]:
    """What is kept of a directory until the operator removes it, as :func:`find_copies`."""
    return [copy for copy in find_copies(live) if copy.kind != "new"]


def abandoned_copies(live: str) -> list[Copy]:
    """Copies of a directory that restores prepared and never swapped in."""
    found = find_copies(live)
    # Where the other name exists, that restore was half swapped: undoing it is the operator's to decide.
    begun = {copy.restore_id for copy in found if copy.kind == "before"}
    return [copy for copy in found if copy.kind == "new" and copy.restore_id not in begun]


def free_name(wanted: str) -> str:
    """Return ``wanted``, or the first of ``wanted_2``, ``wanted_3`` ... that is not taken."""
    name, number = wanted, 1
    while os.path.lexists(name):
        number += 1
        name = "%s_%d" % (wanted, number)
    return name


def content_rule(root: str) -> Callable[[bytes], str | None]:
    """Return a function that tells why a name right below a live directory is no content of it.

    It returns None for content, else a sentence for the operator, or an empty text where there is nothing to say.
    """
    mounted = _mounts.is_mount_point(root)

    def why(name: bytes) -> str | None:
        path = os.path.join(root, os.fsdecode(name))
        if is_ours(os.fsdecode(name)):
            return "%s was left by a restore; it is not in this backup" % path
        if mounted and name == LOST_FOUND.encode() and os.path.isdir(path) and not os.path.islink(path):
            return "%s belongs to the file system; what it holds is not in this backup" % path if _names(path) else ""
        return None

    return why


def content_names(root: str) -> list[str]:
    """The names right below a live directory that are its content, sorted.

    :raises OSError: it cannot be listed.
    """
    why = content_rule(root)
    return [name for name in sorted(os.listdir(root)) if why(os.fsencode(name)) is None]


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
