# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Walk a live directory tree without trusting it, and digest what was seen.

The tree may be changing, and may belong to a user who is not trusted. So every
name is opened relative to its already opened folder and never through a
symbolic link, and a file is only believed when it was the same before and
after it was read.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import Entry, Findings, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Optional

    #: Tells of a name right below the root why it is left out (a warning, or an empty text); None for content.
    Leave = Callable[[bytes], Optional[str]]

#: Files up to this size are read whole before anything of them is handed on.
BUFFER = 8 * 1024 * 1024
CHUNK = 1024 * 1024
#: How often a file, or an artifact holding a big file, is read before giving up.
TRIES = 3
#: Folders below one another; each holds a descriptor open while it is walked.
DEPTH = 500
#: A write this soon after another may leave the same timestamp (one kernel tick, generously).
TICK_NS = 20 * 1000 * 1000

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO)
_NO_ATTRIBUTES = (errno.ENOTSUP, errno.ENODATA, errno.ENOENT, errno.EPERM)
_SAVED = (b"user.", b"trusted.", b"system.posix_acl_", b"security.capability", b"security.selinux")
#: Bound to one machine's kernel keys; a copy would be refused or wrong anywhere else.
_MACHINE_BOUND = (b"security.ima", b"security.evm")


class ChangedWhileRead(Exception):
    """A big file changed while it was handed on: what was written of the artifact must be discarded."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Node(NamedTuple):
    """One name of the tree.

    :ivar entry: what it is; for a regular file as it was when its content was read.
    :ivar link_to: for a further name of a file already seen, the first name; its content is not given again.
    :ivar fd: descriptor of a folder or of a big file, else -1.
    :ivar data: content of a small file, else empty.
    """

    entry: Entry
    name: str
    link_to: bytes | None = None
    fd: int = -1
    data: bytes = b""
    identity: tuple[int, int, int, int] | None = None

    def chunks(self) -> Iterator[bytes]:
        """The content of a regular file, exactly ``entry.size`` bytes.

        :raises ChangedWhileRead: the file is not what it was when it was opened.
        """
        if self.fd < 0:
            if self.data:
                yield self.data
            return
        left = self.entry.size
        while left:
            chunk = os.read(self.fd, min(left, CHUNK))
            if not chunk:
                raise ChangedWhileRead(self.name)
            left -= len(chunk)
            yield chunk
        if _identity(os.fstat(self.fd)) != self.identity:
            raise ChangedWhileRead(self.name)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def open_root(path: str) -> int:
    """Open a directory to walk.

    :raises StateError: it is not there, not a directory, or may not be read.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def root_node(root_fd: int, findings: Findings) -> Node:
    """The root itself, under the path ``b"."``."""
    return Node(_entry(b".", os.fstat(root_fd), _attributes(root_fd, findings)), findings.name(b"."))


def open_folder(root_fd: int, path: bytes) -> int:
    """Open a folder below an open one, through no symbolic link.

    :raises OSError: a part of the path is not there, or is no folder.
    """
    fd = os.dup(root_fd)
    for part in path.split(b"/") if path else []:
        try:
            below = os.open(part, _READ | os.O_DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def walk(root_fd: int, findings: Findings, read: bool = True, leave: Leave | None = None) -> Iterator[Node]:
    """Yield the root (path ``b"."``) and everything below it, a folder before what it holds.

    Sockets and FIFOs are reported and left out. A node's descriptors are valid until the next one is asked for.

    :param read: open and read regular files; without it only their metadata is looked at.
    :param leave: what right below the root is left out.
    :raises InputError: a device node, or folders nested deeper than ``DEPTH``.
    :raises StateError: something cannot be read, or a small file changed each of ``TRIES`` times.
    """
    seen: dict[tuple[int, int], bytes] = {}
    yield root_node(root_fd, findings)
    stack = [_Folder(os.dup(root_fd), b"", findings)]
    try:
        while stack:
            folder = stack[-1]
            name = folder.next_name()
            if name is None:
                os.close(stack.pop().fd)
                continue
            if leave is not None and len(stack) == 1 and findings.leaves_out(leave(name)):
                continue
            node = visit(folder.fd, name, folder.join(name), findings, seen, read)
            if node is None:
                continue
            try:
                yield node
                if node.entry.kind == "d":
                    if len(stack) >= DEPTH:
                        raise InputError("%s lies more than %d folders deep" % (node.name, DEPTH))
                    stack.append(_Folder(os.dup(node.fd), node.entry.path, findings))
            finally:
                node.close()
    finally:
        for folder in stack:
            os.close(folder.fd)


def visit(
    parent_fd: int,
    name: bytes,
    path: bytes,
    findings: Findings,
    seen: dict[tuple[int, int], bytes],
    read: bool = True,
) -> Node | None:
    """Look at one name; None when it is left out (reported in ``findings``) or went away meanwhile.

    :param seen: first names of files with several names, by (device, inode); filled here.
    """
    for attempt in range(TRIES):
        try:
            return _look(parent_fd, name, path, findings, seen, read)
        except _Again as again:
            findings.warn(again.reason)
            time.sleep(0.05 * (attempt + 1))
        except OSError as exc:
            if exc.errno not in _GONE:
                raise _unreadable(findings.name(path), exc) from exc
            time.sleep(0.01)
    if _exists(parent_fd, name):
        raise StateError(
            "%s changed while it was read, %d times in a row" % (findings.name(path), TRIES),
            "Something writes to it all the time; stop that writer, or back up while authentik is stopped",
        )
    findings.warn("%s went away while the directory was read; it is not in this backup" % findings.name(path))
    return None


class _Again(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Folder:
    """A folder being walked: its names in byte order, listed again when it changed meanwhile."""

    def __init__(self, fd: int, path: bytes, findings: Findings) -> None:
        self.fd = fd
        self.path = path
        self._findings = findings
        self._done: set[bytes] = set()
        self._rounds = 0
        self._list()

    def join(self, name: bytes) -> bytes:
        return self.path + b"/" + name if self.path else name

    def _list(self) -> None:
        self._rounds += 1
        self._state = self._now()
        try:
            names = [os.fsencode(name) for name in os.listdir(self.fd)]
        except OSError as exc:
            raise _unreadable(self._findings.name(self.path), exc) from exc
        self._names = sorted((name for name in names if name not in self._done), reverse=True)

    def _now(self) -> tuple[int, int]:
        info = os.fstat(self.fd)
        return info.st_mtime_ns, info.st_ctime_ns

    def next_name(self) -> bytes | None:
        if not self._names and self._now() != self._state:
            # A name added or renamed since the listing would otherwise be missing without a word.
            if self._rounds < TRIES:
                self._list()
            else:
                self._findings.warn(
                    "%s kept changing while it was read; names added meanwhile may be missing from this backup"
                    % self._findings.name(self.path)
                )
        if not self._names:
            return None
        name = self._names.pop()
        self._done.add(name)
        return name


def _look(
    parent_fd: int,
    name: bytes,
    path: bytes,
    findings: Findings,
    seen: dict[tuple[int, int], bytes],
    read: bool,
) -> Node | None:
    info = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    shown = findings.name(path)
    if stat.S_ISDIR(info.st_mode):
        fd = os.open(name, _READ | os.O_DIRECTORY, dir_fd=parent_fd)
        return Node(_entry(path, os.fstat(fd), _attributes(fd, findings)), shown, fd=fd)
    if stat.S_ISLNK(info.st_mode):
        target = os.readlink(name, dir_fd=parent_fd)
        attributes = _attributes("/proc/self/fd/%d/%s" % (parent_fd, os.fsdecode(name)), findings)
        node = Node(_entry(path, info, attributes)._replace(target=target), shown)
    elif stat.S_ISREG(info.st_mode):
        first = seen.get((info.st_dev, info.st_ino)) if info.st_nlink > 1 else None
        if first is not None:
            return Node(_entry(path, info, ()), shown, link_to=first)
        node = _regular(parent_fd, name, path, findings) if read else Node(_entry(path, info, ()), shown)
        if info.st_nlink > 1:
            seen[info.st_dev, info.st_ino] = path
    elif stat.S_ISSOCK(info.st_mode) or stat.S_ISFIFO(info.st_mode):
        kind = "socket" if stat.S_ISSOCK(info.st_mode) else "FIFO"
        findings.warn("%s is a %s; it is not in this backup" % (shown, kind))
        return None
    else:
        raise InputError(
            "%s is a device node, which has no place in authentik's data" % shown,
            "Remove it, or leave this directory out of the backup",
            "ls -l %s" % shown,
        )
    findings.see(node.entry)
    return node


def _regular(parent_fd: int, name: bytes, path: bytes, findings: Findings) -> Node:
    """Open a regular file; a small one is read whole and proved unchanged here."""
    fd = _open_file(parent_fd, name)
    try:
        before = _settled(fd)
        shown = findings.name(path)
        if not stat.S_ISREG(before.st_mode):
            raise _Again("%s was replaced while the directory was read; it was looked at again" % shown)
        entry = _entry(path, before, _attributes(fd, findings))
        if before.st_size > BUFFER:
            node = Node(entry, shown, fd=fd, identity=_identity(before))
            fd = -1
            return node
        data = _read_up_to(fd, before.st_size + 1)
        if len(data) != before.st_size or _identity(os.fstat(fd)) != _identity(before):
            raise _Again("%s changed while it was read; it was read again" % shown)
        return Node(entry, shown, data=data)
    finally:
        if fd >= 0:
            os.close(fd)


def _open_file(parent_fd: int, name: bytes) -> int:
    try:
        return os.open(name, _READ | os.O_NOATIME, dir_fd=parent_fd)
    except PermissionError as exc:
        if exc.errno != errno.EPERM:
            raise
        return os.open(name, _READ, dir_fd=parent_fd)  # only the owner may leave the access time alone


def _settled(fd: int) -> os.stat_result:
    """The file's state, taken when one more write would show in its timestamps."""
    info = os.fstat(fd)
    age = time.time_ns() - max(info.st_mtime_ns, info.st_ctime_ns)
    if 0 <= age < TICK_NS:
        time.sleep(TICK_NS / 1e9)
        info = os.fstat(fd)
    return info


def _identity(info: os.stat_result) -> tuple[int, int, int, int]:
    return info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def _read_up_to(fd: int, limit: int) -> bytes:
    parts = []
    while limit > 0:
        part = os.read(fd, min(limit, CHUNK))
        if not part:
            break
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def _entry(path: bytes, info: os.stat_result, xattrs: tuple[tuple[bytes, bytes], ...]) -> Entry:
    kind = "d" if stat.S_ISDIR(info.st_mode) else "l" if stat.S_ISLNK(info.st_mode) else "f"
    return Entry(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        mtime_ns=info.st_mtime_ns,
        size=info.st_size if kind == "f" else 0,
        target=b"",
        xattrs=xattrs,
    )


def _attributes(place: int | str, findings: Findings) -> tuple[tuple[bytes, bytes], ...]:
    """Extended attributes worth keeping, sorted by name. ACLs are among them, in the kernel's own form."""
    kept = []
    try:
        names = sorted(os.fsencode(name) for name in _list_attributes(place))
        for name in names:
            if name.startswith(_SAVED):
                kept.append((name, _get_attribute(place, name)))
            elif name not in _MACHINE_BOUND:
                findings.warn(
                    "Extended attributes named %s (below %s) are not saved" % (printable(name), findings.root)
                )
    except OSError as exc:
        if exc.errno not in _NO_ATTRIBUTES:
            raise
    return tuple(kept)


def _list_attributes(place: int | str) -> list[str]:
    return os.listxattr(place) if isinstance(place, int) else os.listxattr(place, follow_symlinks=False)


def _get_attribute(place: int | str, name: bytes) -> bytes:
    if isinstance(place, int):
        return os.getxattr(place, name)
    return os.getxattr(place, name, follow_symlinks=False)


def _exists(parent_fd: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _unreadable(path: str, exc: OSError) -> StateError:
    hint = "Run the task with become: true" if exc.errno in (errno.EACCES, errno.EPERM) else ""
    return StateError("%s cannot be read: %s" % (path, exc.strerror), hint, "ls -ld %s" % path)
