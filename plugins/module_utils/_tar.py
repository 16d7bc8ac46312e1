# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Archives: POSIX tar (PAX) written and read with the standard library's ``tarfile``.

What ``tarfile`` would round or lose travels in PAX records of our own: times in nanoseconds, extended attributes
(``SCHILY.xattr.*``, as GNU tar and bsdtar read them), names that are not UTF-8 as the bytes they are.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import (
    Entry,
    TreeDigest,
    leads_outside,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree import Node

    class Readable(Protocol):
        def read(self, size: int, /) -> bytes:
            """Return at most ``size`` bytes, none at the end."""

    class Writable(Protocol):
        def write(self, data: bytes, /) -> object:
            """Take all of ``data``."""

    class Members(Protocol):
        def members(self) -> Iterator[Member]:
            """Yield what a tree is made of, a folder before what it holds."""


BLOCK = 512
CHUNK = 256 * 1024
_XATTR = "SCHILY.xattr."
_TYPES = {"d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "f": tarfile.REGTYPE}
_OCTAL_7 = 8**7 - 1
_OCTAL_11 = 8**11 - 1


class TarWriter:
    """Writes nodes of a walk as members, digesting exactly what it writes.

    :param comment: text for a PAX global header, skipped by every tar program.
    """

    def __init__(self, out: Writable, digest: TreeDigest, comment: str = "") -> None:
        self._out = out
        self._digest = digest
        if comment:
            out.write(pax_block(tarfile.XGLTYPE, {b"comment": comment.encode()}))

    def add(self, node: Node) -> None:
        """:raises ChangedWhileRead: a big file changed; the archive is unusable from here on."""
        entry = node.entry
        self._out.write(member_header(entry, node.link_to))
        if node.link_to is not None:
            self._digest.add_name(entry.path, node.link_to)
            return
        content = hashlib.sha256()
        if entry.kind == "f":
            for chunk in node.chunks():
                content.update(chunk)
                self._out.write(chunk)
            self._out.write(bytes(-entry.size % BLOCK))
        self._digest.add(entry, content.digest())

    def finish(self) -> None:
        self._out.write(bytes(2 * BLOCK))


def member_header(entry: Entry, link_to: bytes | None = None) -> bytes:
    """The header blocks of one member."""
    info = tarfile.TarInfo()
    info.type = tarfile.LNKTYPE if link_to is not None else _TYPES[entry.kind]
    info.mode = entry.mode
    pax: dict[bytes, bytes] = {}
    name = entry.path + b"/" if entry.kind == "d" else entry.path
    info.name = _text_or_pax(pax, b"path", name)
    info.linkname = _text_or_pax(pax, b"linkpath", link_to if link_to is not None else entry.target)
    info.uid = _number_or_pax(pax, b"uid", entry.uid, _OCTAL_7)
    info.gid = _number_or_pax(pax, b"gid", entry.gid, _OCTAL_7)
    info.size = 0 if link_to is not None else _number_or_pax(pax, b"size", entry.size, _OCTAL_11)
    seconds, nanoseconds = divmod(entry.mtime_ns, 10**9)
    if nanoseconds or not 0 <= seconds <= _OCTAL_11:
        pax[b"mtime"] = _seconds(entry.mtime_ns).encode()
    info.mtime = seconds if 0 <= seconds <= _OCTAL_11 else 0
    for key, value in entry.xattrs:
        pax[_XATTR.encode() + key.replace(b"%", b"%25").replace(b"=", b"%3D")] = value
    head = pax_block(tarfile.XHDTYPE, pax) if pax else b""
    return head + info.tobuf(tarfile.USTAR_FORMAT, "ascii", "replace")


def pax_block(kind: bytes, records: dict[bytes, bytes]) -> bytes:
    """A PAX header with its records. Values are written as the bytes they are, as GNU tar does."""
    body = b"".join(_record(key, value) for key, value in records.items())
    info = tarfile.TarInfo("././@PaxHeader")
    info.type = kind
    info.size = len(body)
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "replace") + body + bytes(-len(body) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while length != len(rest) + len(b"%d" % length):
        length = len(rest) + len(b"%d" % length)
    return b"%d" % length + rest


def _text_or_pax(pax: dict[bytes, bytes], key: bytes, value: bytes) -> str:
    """A name for the plain header; one that does not fit there goes into a record, too."""
    if len(value) > 100 or any(byte > 126 for byte in value):
        pax[key] = value
    return value[:100].decode("ascii", "replace").replace("\ufffd", "?")


def _number_or_pax(pax: dict[bytes, bytes], key: bytes, value: int, limit: int) -> int:
    if value <= limit:
        return value
    pax[key] = b"%d" % value
    return 0


def _seconds(ns: int) -> str:
    whole, part = divmod(abs(ns), 10**9)
    text = "%d.%09d" % (whole, part) if part else "%d" % whole
    return "-" + text if ns < 0 else text


class Member(NamedTuple):
    """One member of an archive; ``chunks()`` may be read until the next member is asked for."""

    entry: Entry
    link_to: bytes | None
    file: Readable | None

    def chunks(self) -> Iterator[bytes]:
        left = self.entry.size
        while left and self.file is not None:
            try:
                chunk = self.file.read(min(left, CHUNK))
            except tarfile.TarError as exc:
                raise _broken("%s inside %s" % (exc, printable(self.entry.path))) from exc
            left -= len(chunk)
            yield chunk


class TarReader:
    """Reads an archive forwards, refusing every member that could reach outside the tree it describes.

    Refused: names with ``..`` or an absolute path, members below anything but a directory of this archive (so never
    through a symbolic link), two members of one name, device nodes, FIFOs, sparse and unknown kinds, hard links to
    anything but an earlier regular file, symbolic links leading outside that are not in ``outside_links``.

    :param outside_links: printable path -> printable target, as recorded by the backup.
    :ivar comment: the global header's text, known once the first member was read.
    """

    def __init__(self, stream: Readable, outside_links: dict[str, str]) -> None:
        self._stream = _Tail(stream)
        self._outside_links = outside_links
        self._kinds: dict[bytes, str] = {}
        self.comment = ""

    def members(self) -> Iterator[Member]:
        """:raises IntegrityError: not an archive, cut short, or a member as above."""
        try:
            # No "with": leaving it would read on, and hide the error that made us leave.
            archive = tarfile.open(  # noqa: SIM115
                fileobj=self._stream,  # type: ignore[call-overload]
                mode="r|",
                bufsize=CHUNK,
                encoding="utf-8",
                errors="surrogateescape",
            )
            while True:
                info = archive.next()
                if info is None:
                    if not self._stream.is_blank_from(archive.offset):  # tarfile takes rubbish for the end
                        raise _broken("it has no proper end at byte %d" % archive.offset)
                    return
                archive.members = []
                self.comment = archive.pax_headers.get("comment", "")
                member = Member(*self._accept(info), archive.extractfile(info) if info.isreg() else None)
                yield member
        except (tarfile.TarError, ValueError, OverflowError) as exc:
            raise _broken(str(exc)) from exc

    def _accept(self, info: tarfile.TarInfo) -> tuple[Entry, bytes | None]:
        path = _without_dot(info.name.encode("utf-8", "surrogateescape"))
        kind = self._kind(info, path)
        self._check_path(path)
        target = info.linkname.encode("utf-8", "surrogateescape")
        link_to = None
        if info.islnk():
            link_to = _without_dot(target)
            if self._kinds.get(link_to) != "f":
                raise _unsafe(path, "is a hard link to %s, which is no earlier file of it" % printable(link_to))
        elif kind == "l":
            self._check_target(path, target)
        if info.size < 0 or (info.size and kind != "f"):
            raise _unsafe(path, "has a size of %d" % info.size)
        self._kinds[path] = kind
        entry = Entry(
            path=path,
            kind=kind,
            mode=info.mode & 0o7777,
            uid=info.uid,
            gid=info.gid,
            mtime_ns=_mtime(info),
            size=info.size if info.isreg() else 0,
            target=target if kind == "l" else b"",
            xattrs=_xattrs(info),
        )
        return entry, link_to

    def _kind(self, info: tarfile.TarInfo, path: bytes) -> str:
        if info.ischr() or info.isblk():
            raise _unsafe(path, "is a device node")
        if info.isfifo():
            raise _unsafe(path, "is a FIFO")
        if info.issparse():
            raise _unsafe(path, "is stored sparse, which the backup never writes")
        kind = "d" if info.isdir() else "l" if info.issym() else "f" if info.isreg() or info.islnk() else ""
        if not kind:
            raise _unsafe(path, "is of the unknown kind %r" % info.type)
        return kind

    def _check_path(self, path: bytes) -> None:
        if path.startswith(b"/"):
            raise _unsafe(path, "has an absolute path")
        parts = path.split(b"/")
        if b".." in parts:
            raise _unsafe(path, "has '..' in its path")
        if path != b"." and (b"." in parts or b"" in parts or b"\0" in path):
            raise _unsafe(path, "has an empty, '.' or NUL part in its path")
        if path in self._kinds:
            raise _unsafe(path, "is there twice")
        parent = path.rpartition(b"/")[0] or b"."
        above = self._kinds.get(parent)
        if above == "l":
            raise _unsafe(path, "lies behind the symbolic link %s" % printable(parent))
        if path != b"." and above != "d":
            raise _unsafe(path, "lies in %s, which is no earlier directory of it" % printable(parent))

    def _check_target(self, path: bytes, target: bytes) -> None:
        if not target or b"\0" in target:
            raise _unsafe(path, "is a symbolic link to nothing")
        recorded = self._outside_links.get(printable(path))
        if leads_outside(path, target) and recorded != printable(target):
            raise _unsafe(
                path,
                "is a symbolic link that leads outside, to %s, and the backup did not record it" % printable(target),
            )


class _Tail:
    """A stream that can look back at the last bytes it gave out."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._last = (b"", b"")
        self._total = 0

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._last = (self._last[1], data)
        self._total += len(data)
        return data

    def is_blank_from(self, offset: int) -> bool:
        """Whether two zero blocks or more, and nothing else, follow ``offset``. Reads to the end."""
        kept = b"".join(self._last)
        rest = kept[offset - (self._total - len(kept)) :]
        size = 0
        while rest:
            if rest.strip(b"\0"):
                return False
            size += len(rest)
            rest = self._stream.read(CHUNK)
        return size >= 2 * BLOCK


def _without_dot(path: bytes) -> bytes:
    """GNU tar, called by hand, writes ``./a`` for ``a``."""
    path = path.rstrip(b"/") or path
    return path[2:] if path.startswith(b"./") else path


def _mtime(info: tarfile.TarInfo) -> int:
    text = info.pax_headers.get("mtime")
    if text is None:
        return int(info.mtime) * 10**9
    found = re.match(r"^(-?)(\d{1,18})(?:\.(\d*))?$", text)
    if not found:
        raise ValueError("a modification time of %r" % text)
    ns = int(found.group(2)) * 10**9 + int(((found.group(3) or "") + "0" * 9)[:9])
    return -ns if found.group(1) else ns


def _xattrs(info: tarfile.TarInfo) -> tuple[tuple[bytes, bytes], ...]:
    kept = []
    for key, value in info.pax_headers.items():
        if key.startswith(_XATTR):
            name = key[len(_XATTR) :].encode("utf-8", "surrogateescape")
            name = name.replace(b"%3D", b"=").replace(b"%25", b"%")
            kept.append((name, value.encode("utf-8", "surrogateescape")))
    return tuple(sorted(kept))


def _unsafe(path: bytes, what: str) -> IntegrityError:
    return IntegrityError(
        "The archive's member %s %s" % (printable(path), what),
        "The collection never writes such an archive: it was altered or made by something else; nothing was restored",
    )


def _broken(what: str) -> IntegrityError:
    return IntegrityError(
        "The archive cannot be read to its end: %s" % what, "It is damaged; choose another backup set"
    )
