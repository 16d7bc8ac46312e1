# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Extraction into a folder of our own: every name is made new, relative to an open folder, never through a link."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import SpaceError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree import open_folder
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import Entry, TreeDigest, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._tar import Members

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ACL = (b"system.posix_acl_access", b"system.posix_acl_default")
_SELINUX = b"security.selinux"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def watch_members(reader: Members, digest: TreeDigest) -> Iterator[Entry]:
    """Read an archive to its end without writing anything, digesting what it holds; yields the entries."""
    for member in reader.members():
        if member.link_to is not None:
            digest.add_name(member.entry.path, member.link_to)
            continue
        content = hashlib.sha256()
        for chunk in member.chunks():
            content.update(chunk)
        digest.add(member.entry, content.digest())
        yield member.entry


def foreign_owners(entry: Entry) -> str:
    """Why the present user may not create this entry with its owners; empty when it may."""
    if os.geteuid() == 0:
        return ""
    if entry.uid != os.geteuid():
        return "%s belongs to uid %d, the task runs as uid %d" % (printable(entry.path), entry.uid, os.geteuid())
    if entry.gid != os.getegid() and entry.gid not in os.getgroups():
        return "%s belongs to gid %d, which uid %d is not a member of" % (
            printable(entry.path),
            entry.gid,
            os.geteuid(),
        )
    return ""


def make_folder(path: str) -> int:
    """Make a new private folder and open it.

    :raises StateError: something of that name is there already, or what was opened is not what was made.
    """
    try:
        os.mkdir(path, 0o700)
        fd = os.open(path, _FOLDER)
    except OSError as exc:
        raise StateError("%s cannot be made: %s" % (path, exc.strerror), "", "ls -ld %s" % path) from exc
    info = os.fstat(fd)
    if info.st_uid != os.geteuid() or os.listdir(fd):
        os.close(fd)
        raise StateError(
            "%s was replaced right after it was made" % path, "Another user may write to its parent folder"
        )
    _drop_inherited(fd)
    os.fchmod(fd, 0o700)
    return fd


class Extraction:
    """Writes an archive's members below an empty folder.

    Folders stay private to the task's user until :meth:`finish` gives them their modes, owners and times.

    :param root_fd: descriptor of the folder, see :func:`make_folder`.
    :ivar warnings: sentences for the operator.
    """

    def __init__(self, root_fd: int, root: str) -> None:
        self._root_fd = root_fd
        self._root = root
        self._folders: list[Entry] = []
        self._parent = (b"", os.dup(root_fd))
        self._labels = os.path.isdir("/sys/fs/selinux")
        self.warnings: list[str] = []

    def extract(self, reader: Members) -> None:
        """:raises StateError: owners or attributes cannot be set here. :raises SpaceError: the file system is full."""
        for member in reader.members():
            entry = member.entry
            problem = foreign_owners(entry)
            if problem and member.link_to is None:
                raise StateError(problem, "Only root restores owners: run the task with become: true")
            try:
                if member.link_to is not None:
                    self._link(entry.path, member.link_to)
                elif entry.kind == "d":
                    self._directory(entry)
                elif entry.kind == "l":
                    self._symlink(entry)
                else:
                    self._file(entry, member.chunks())
            except OSError as exc:
                raise self._failed(entry, exc) from exc

    def finish(self) -> None:
        """Give the folders their owners, modes, attributes and times, the innermost first; then flush to disk."""
        for entry in reversed(self._folders):
            try:
                parent_fd, name = self._place(entry.path)
                fd = os.open(name, _FOLDER, dir_fd=parent_fd)
                try:
                    self._dress(fd, entry)
                finally:
                    os.close(fd)
            except OSError as exc:
                raise self._failed(entry, exc) from exc
        os.sync()

    def close(self) -> None:
        os.close(self._parent[1])

    def _place(self, path: bytes) -> tuple[int, bytes]:
        """An open descriptor of the folder a name lies in, and the name. The last folder used stays open."""
        parent, _sep, name = path.rpartition(b"/")
        if parent != self._parent[0]:
            fd = open_folder(self._root_fd, parent)
            os.close(self._parent[1])
            self._parent = (parent, fd)
        return self._parent[1], name

    def _directory(self, entry: Entry) -> None:
        if entry.path != b".":
            parent_fd, name = self._place(entry.path)
            os.mkdir(name, 0o700, dir_fd=parent_fd)
        self._folders.append(entry)

    def _file(self, entry: Entry, chunks: object) -> None:
        parent_fd, name = self._place(entry.path)
        fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent_fd)
        try:
            for chunk in chunks:  # type: ignore[attr-defined]
                view = memoryview(chunk)
                while view:
                    view = view[os.write(fd, view) :]
            self._dress(fd, entry)
        finally:
            os.close(fd)

    def _symlink(self, entry: Entry) -> None:
        parent_fd, name = self._place(entry.path)
        os.symlink(entry.target, name, dir_fd=parent_fd)
        info = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        if (info.st_uid, info.st_gid) != (entry.uid, entry.gid):
            os.chown(name, entry.uid, entry.gid, dir_fd=parent_fd, follow_symlinks=False)
        place = "/proc/self/fd/%d/%s" % (parent_fd, os.fsdecode(name))
        for key, value in self._wanted(entry):
            self._label(key, entry, lambda key=key, value=value: os.setxattr(place, key, value, follow_symlinks=False))
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent_fd, follow_symlinks=False)

    def _link(self, path: bytes, first: bytes) -> None:
        parent_fd, name = self._place(first)
        source_fd = os.dup(parent_fd)
        try:
            parent_fd, new = self._place(path)
            os.link(name, new, src_dir_fd=source_fd, dst_dir_fd=parent_fd, follow_symlinks=False)
        finally:
            os.close(source_fd)

    def _dress(self, fd: int, entry: Entry) -> None:
        # This order matters: a change of owner clears setuid and capabilities, and everything moves the times.
        info = os.fstat(fd)
        if (info.st_uid, info.st_gid) != (entry.uid, entry.gid):
            os.fchown(fd, entry.uid, entry.gid)
        wanted = self._wanted(entry)
        # Without root these take the right to write, which the mode may deny to the owner.
        first = [pair for pair in wanted if pair[0].startswith(b"user.")]
        self._set_attributes(fd, entry, first)
        os.fchmod(fd, entry.mode)
        self._set_attributes(fd, entry, [pair for pair in wanted if pair not in first])
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def _set_attributes(self, fd: int, entry: Entry, attributes: list[tuple[bytes, bytes]]) -> None:
        for key, value in attributes:
            self._label(key, entry, lambda key=key, value=value: os.setxattr(fd, key, value))

    def _wanted(self, entry: Entry) -> list[tuple[bytes, bytes]]:
        return [(key, value) for key, value in entry.xattrs if key != _SELINUX or self._labels]

    def _label(self, key: bytes, entry: Entry, setter: object) -> None:
        """Set one attribute. A label this host's SELinux policy does not know is said; anything else is an error."""
        try:
            setter()  # type: ignore[operator]
        except OSError as exc:
            if key == _SELINUX:
                text = "SELinux labels could not be restored below %s (%s); run: restorecon -R %s"
                text = text % (self._root, exc.strerror, self._root)
                if text not in self.warnings:
                    self.warnings.append(text)
                return
            raise StateError(
                "The extended attribute %s of %s cannot be set below %s: %s"
                % (printable(key), printable(entry.path), self._root, exc.strerror),
                "Attributes other than user.* need root, and the file system must keep them"
                " (ext4, xfs and btrfs do, many network file systems do not)",
            ) from exc

    def _failed(self, entry: Entry, exc: OSError) -> Exception:
        text = "%s cannot be written: %s" % (os.path.join(self._root, printable(entry.path)), exc.strerror)
        if exc.errno in _FULL:
            return SpaceError(text, "Free some space or choose another place with paths", "df -h %s" % self._root)
        return StateError(text)


def _drop_inherited(fd: int) -> None:
    """A default ACL of the folder above would spread to everything made in here."""
    try:
        for name in os.listxattr(fd):
            if os.fsencode(name) in _ACL:
                os.removexattr(fd, name)
    except OSError as exc:
        if exc.errno != errno.ENOTSUP:
            raise
