# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What is noted on the disk about an exchange inside a directory, and what a directory itself is besides its entries.

The journal is a small file which is written once, before anything is moved. How far the exchange got is in its name,
because a rename also works where the disk is full.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _tree
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import fsync_directory, write_private
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import Entry, Findings

if TYPE_CHECKING:
    from typing import Any

#: Present entries go out, new ones come in, all done; then undo: what is live is put aside to be dropped, or is kept,
#: and what was before comes back.
OUT, IN, DONE, ASIDE, KEEP, BACK = "out", "in", "done", "aside", "keep", "back"
#: Labels follow the policy of the host, and are left as they are.
_LEFT_ALONE = b"security.selinux"
_NAME = "journal-"


class Facts(NamedTuple):
    """What the journal holds.

    :ivar old: the directory itself, as it was.
    :ivar new: the directory itself, as it shall be.
    :ivar names: what comes in.
    :ivar over: ids of other restores that were half swapped in here when this one began.
    """

    old: Entry
    new: Entry
    names: list[str]
    over: list[str]


class Journal:
    """The journal in a folder.

    :raises StateError: there is none.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        found = [name for name in sorted(os.listdir(folder)) if name.startswith(_NAME)]
        if len(found) != 1:
            raise StateError(
                "%s holds no journal of its restore" % folder,
                "What was live before is in its folder tree: move it back by hand, with authentik stopped",
                "ls -la %s" % folder,
            )
        self.phase = found[0][len(_NAME) :]

    def enter(self, phase: str) -> None:
        """Note durably that the exchange is in this phase from now on."""
        if phase == self.phase:
            return
        os.rename(os.path.join(self.folder, _NAME + self.phase), os.path.join(self.folder, _NAME + phase))
        fsync_directory(self.folder)
        self.phase = phase

    def facts(self) -> Facts:
        with open(os.path.join(self.folder, _NAME + self.phase), encoding="ascii") as stream:
            data = json.load(stream)
        return Facts(_entry(data["old"]), _entry(data["new"]), data["names"], data["over"])


def find_journal(folder: str) -> Journal | None:
    """The journal in a folder; None where there is no such folder, or none in it."""
    with contextlib.suppress(OSError, StateError):
        return Journal(folder)
    return None


def is_half_swapped(folder: str) -> bool:
    """Whether the exchange that a folder is of has begun and is not at its end."""
    journal = find_journal(folder)
    return journal is not None and journal.phase != DONE


def begin(folder: str, facts: Facts) -> None:
    """Write the journal of an exchange that begins into its folder."""
    data = {"old": _plain(facts.old), "new": _plain(facts.new), "names": facts.names, "over": facts.over}
    write_private(os.path.join(folder, _NAME + OUT), json.dumps(data).encode("ascii"))


def _plain(entry: Entry) -> dict[str, Any]:
    pairs = [[base64.b64encode(part).decode("ascii") for part in pair] for pair in entry.xattrs]
    return {"mode": entry.mode, "uid": entry.uid, "gid": entry.gid, "mtime_ns": entry.mtime_ns, "xattrs": pairs}


def _entry(data: dict[str, Any]) -> Entry:
    pairs = tuple((base64.b64decode(name), base64.b64decode(value)) for name, value in data["xattrs"])
    return Entry(b".", "d", data["mode"], data["uid"], data["gid"], data["mtime_ns"], 0, b"", pairs)


def read_root(path: str) -> Entry:
    """A directory itself: mode, owners, time and extended attributes."""
    fd = _tree.open_root(path)
    try:
        entry = _tree.root_node(fd, Findings(path)).entry
    finally:
        os.close(fd)
    return entry._replace(xattrs=tuple(pair for pair in entry.xattrs if pair[0] != _LEFT_ALONE))


def dress_root(path: str, wanted: Entry) -> None:
    """Make a directory itself what :func:`read_root` returned, durably.

    :raises OSError: not all of it can be set.
    """
    present = read_root(path)
    fd = _tree.open_root(path)
    try:
        # This order matters: a change of owner clears bits of the mode, an ACL is more than the mode, and what is done
        # to attributes leaves the time alone.
        if (present.uid, present.gid) != (wanted.uid, wanted.gid):
            os.fchown(fd, wanted.uid, wanted.gid)
        for name, _value in present.xattrs:
            if name not in dict(wanted.xattrs):
                os.removexattr(fd, name)
        os.fchmod(fd, wanted.mode)
        present = read_root(path)
        for name, value in wanted.xattrs:
            if (name, value) not in present.xattrs:
                os.setxattr(fd, name, value)
        os.utime(fd, ns=(wanted.mtime_ns, wanted.mtime_ns))
    finally:
        os.close(fd)
    fsync_directory(path)
