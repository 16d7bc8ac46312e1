# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""One file of the configuration: compared with what is there, put in place, taken back.

Everything happens relative to an open folder that was reached through no symbolic link: a folder on the way may
belong to a user who is not trusted.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _tree
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import as_error
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import (
    Entry,
    from_printable,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {"d": "directory", "f": "file", "l": "symbolic link"}


class Item(NamedTuple):
    """What is to be done for one name.

    :ivar path: printable, absolute.
    :ivar action: ``mkdir``, ``create``, ``replace``, ``keep`` (differs, is left alone) or ``none`` (equal).
    :ivar reason: in what a file that is there differs.
    :ivar blocker: why it cannot be done; empty when it can.
    :ivar target: of a symbolic link, printable.
    :ivar xattrs: (name, value) in hexadecimal.
    :ivar content: the new content's file, relative to the work folder.
    """

    path: str
    kind: str
    action: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    target: str
    xattrs: list[list[str]]
    reason: str = ""
    blocker: str = ""
    content: str = ""

    def sentence(self, restore_id: str) -> str:
        """For the plan; empty when there is nothing to say."""
        what = _KINDS[self.kind]
        if self.action in ("mkdir", "create"):
            return "config: the %s %s is missing; it is put back (mode %04o, owner %d:%d)" % (
                what,
                self.path,
                self.mode,
                self.uid,
                self.gid,
            )
        if self.action == "replace":
            return "config: %s differs (%s); it is replaced and kept as %s" % (
                self.path,
                self.reason,
                os.path.basename(self.path) + ".before-" + restore_id,
            )
        if self.action == "keep":
            return "config: %s differs (%s); it is left as it is, since overwrite is false" % (self.path, self.reason)
        return ""


def compare(entry: Entry, content: bytes, overwrite: bool) -> Item:
    """Compare an entry of the archive with what is at its place, changing nothing."""
    item = Item(
        path="/" + printable(entry.path),
        kind=entry.kind,
        action="none",
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        mtime_ns=entry.mtime_ns,
        target=printable(entry.target),
        xattrs=[[name.hex(), value.hex()] for name, value in entry.xattrs if name != b"security.selinux"],
    )
    missing = item._replace(action="mkdir" if entry.kind == "d" else "create")
    try:
        with _parent(item.path) as (folder, name):
            try:
                info = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return missing
            reason = _difference(item, content, info, folder, name)
    except FileNotFoundError:
        return missing
    except OSError as exc:
        return item._replace(blocker="%s cannot be reached: %s" % (item.path, exc.strerror))
    if not reason:
        return item
    exchangeable = entry.kind != "d" and not stat.S_ISDIR(info.st_mode)
    return item._replace(action="replace" if overwrite and exchangeable else "keep", reason=reason)


def _difference(item: Item, content: bytes, info: os.stat_result, folder: int, name: bytes) -> str:
    """In what the file that is there differs from the one in the backup; empty when in nothing that matters."""
    kinds = {"d": stat.S_ISDIR, "f": stat.S_ISREG, "l": stat.S_ISLNK}
    if not kinds[item.kind](info.st_mode):
        return "it is no %s" % _KINDS[item.kind]
    if item.kind == "d":
        return ""
    if item.kind == "l":
        target = printable(os.readlink(name, dir_fd=folder))
        return "" if target == item.target else "it leads to %s, in the backup to %s" % (target, item.target)
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(fd, "rb") as stream:
        if stream.read(len(content) + 1) != content:
            return "content"
    if (info.st_uid, info.st_gid) != (item.uid, item.gid):
        return "owner %d:%d, in the backup %d:%d" % (info.st_uid, info.st_gid, item.uid, item.gid)
    if stat.S_IMODE(info.st_mode) != item.mode:
        return "mode %04o, in the backup %04o" % (stat.S_IMODE(info.st_mode), item.mode)
    return ""


def put(item: Item, work_folder: str, restore_id: str) -> list[str]:
    """Put one name in place; sentences, none when that was done before.

    :raises StateError: something appeared at its place since the restore was prepared.
    """
    try:
        with _parent(item.path) as (folder, name):
            if item.action == "mkdir":
                return _make_folder(item, folder, name)
            if _is_ours(item, work_folder, folder, name):
                return []
            before = name + b".before-" + restore_id.encode()
            if _exists(folder, name):
                if item.action == "create":
                    raise StateError(
                        "%s was made since the restore was prepared" % item.path, "Run step: undo, then prepare again"
                    )
                if not _exists(folder, before):
                    os.link(name, before, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            fresh = name + b".new-" + restore_id.encode()
            _write(item, work_folder, folder, fresh)
            os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
    except OSError as exc:
        raise as_error("restore", item.path, exc) from exc
    return [item.sentence(restore_id)]


def take_back(item: Item, work_folder: str, restore_id: str, pretend: bool) -> list[str]:
    """Undo :func:`put`; sentences, none when there is nothing to undo. What was changed since is kept."""
    try:
        with _parent(item.path) as (folder, name):
            return _take_back(item, work_folder, restore_id, pretend, folder, name)
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise as_error("put back", item.path, exc) from exc


def _take_back(item: Item, work_folder: str, restore_id: str, pretend: bool, folder: int, name: bytes) -> list[str]:
    before, fresh = (name + suffix + restore_id.encode() for suffix in (b".before-", b".new-"))
    if not pretend and _exists(folder, fresh):
        os.unlink(fresh, dir_fd=folder)
    if item.action == "mkdir":
        if not _exists(folder, name) or (not pretend and not _remove_folder(folder, name)):
            return []
        return ["config: the directory %s was removed" % item.path]
    if _exists(folder, before):
        kept = _keep_changed(item, work_folder, restore_id, pretend, folder, name)
        if not pretend:
            os.rename(before, name, src_dir_fd=folder, dst_dir_fd=folder)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(before, dir_fd=folder)  # rename leaves both names where they are one file
            os.fsync(folder)
        return [*kept, "config: %s was put back as it was" % item.path]
    if item.action == "create" and _exists(folder, name):
        if not _is_ours(item, work_folder, folder, name):
            return ["config: %s was changed since it was restored; it is left as it is" % item.path]
        if not pretend:
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)
        return ["config: %s, which was not there before, was removed" % item.path]
    return []


def _keep_changed(item: Item, work_folder: str, restore_id: str, pretend: bool, folder: int, name: bytes) -> list[str]:
    """Move a file aside that was changed since it was restored: it is in no backup."""
    if not _exists(folder, name) or _is_ours(item, work_folder, folder, name):
        return []
    before = name + b".before-" + restore_id.encode()
    stats = [os.stat(one, dir_fd=folder, follow_symlinks=False) for one in (name, before)]
    if os.path.samestat(*stats):
        return []  # killed before the exchange
    wanted = aside = name + b".undone-" + restore_id.encode()
    number = 1
    while _exists(folder, aside):
        number += 1
        aside = b"%s_%d" % (wanted, number)
    if not pretend:
        os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
    return ["config: %s was changed since it was restored; it is kept as %s" % (item.path, printable(aside))]


def _make_folder(item: Item, folder: int, name: bytes) -> list[str]:
    if _exists(folder, name):
        return []
    os.mkdir(name, 0o700, dir_fd=folder)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        _dress(item, fd)
    finally:
        os.close(fd)
    os.fsync(folder)
    return [item.sentence("")]


def _remove_folder(folder: int, name: bytes) -> bool:
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError:
        return False  # something else lies in it by now
    return True


def _write(item: Item, work_folder: str, folder: int, name: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    if item.kind == "l":
        os.symlink(from_printable(item.target), name, dir_fd=folder)
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if (info.st_uid, info.st_gid) != (item.uid, item.gid):
            os.chown(name, item.uid, item.gid, dir_fd=folder, follow_symlinks=False)
        os.utime(name, ns=(item.mtime_ns, item.mtime_ns), dir_fd=folder, follow_symlinks=False)
        return
    with os.fdopen(os.open(name, _NEW_FILE, 0o600, dir_fd=folder), "wb") as out:
        out.write(_content(item, work_folder))
        out.flush()
        _dress(item, out.fileno())
        os.fsync(out.fileno())


def _dress(item: Item, fd: int) -> None:
    info = os.fstat(fd)
    if (info.st_uid, info.st_gid) != (item.uid, item.gid):
        os.fchown(fd, item.uid, item.gid)
    attributes = [(bytes.fromhex(name), bytes.fromhex(value)) for name, value in item.xattrs]
    # Without root these take the right to write, which the mode may deny to the owner.
    first = [pair for pair in attributes if pair[0].startswith(b"user.")]
    for name, value in first:
        os.setxattr(fd, name, value)
    os.fchmod(fd, item.mode)
    for name, value in attributes:
        if (name, value) not in first:
            os.setxattr(fd, name, value)
    os.utime(fd, ns=(item.mtime_ns, item.mtime_ns))


def _is_ours(item: Item, work_folder: str, folder: int, name: bytes) -> bool:
    """Whether what is there is what this restore puts there."""
    if not _exists(folder, name):
        return False
    content = _content(item, work_folder) if item.kind == "f" else b""
    return not _difference(item, content, os.stat(name, dir_fd=folder, follow_symlinks=False), folder, name)


def _content(item: Item, work_folder: str) -> bytes:
    with open(os.path.join(work_folder, item.content), "rb") as stream:
        return stream.read()


def _exists(folder: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def _parent(path: str) -> Iterator[tuple[int, bytes]]:
    """The open folder that a name lies in, and the name."""
    parent, _slash, name = from_printable(path).strip(b"/").rpartition(b"/")
    root = _tree.open_root("/")
    try:
        folder = _tree.open_folder(root, parent)
    finally:
        os.close(root)
    try:
        yield folder, name
    finally:
        os.close(folder)
