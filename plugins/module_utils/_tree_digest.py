# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a file tree is, as values: entries, printable names and the tree digest. Nothing here touches a disk."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from typing import Any, NamedTuple

#: Names the digest's recipe; a change of recipe needs a new name, so that old sets are never compared by it.
FORMULA = "authentik-recovery-tree-1"

#: Labels follow the policy of the host, not the data: they are carried along but two trees may differ in them.
_NOT_COMPARED = (b"security.selinux",)


class Entry(NamedTuple):
    """One name in a tree.

    :ivar path: bytes relative to the root, ``b"."`` for the root itself.
    :ivar kind: ``d`` directory, ``f`` regular file, ``l`` symbolic link.
    :ivar mode: permission bits with setuid, setgid and sticky.
    :ivar mtime_ns: modification time in nanoseconds since 1970, may be negative.
    :ivar size: bytes of content, 0 for anything but a regular file.
    :ivar target: of a symbolic link, else empty.
    :ivar xattrs: (name, value) sorted by name.
    """

    path: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    target: bytes
    xattrs: tuple[tuple[bytes, bytes], ...]


class Findings:
    """What a walk has to say besides the entries.

    :ivar warnings: sentences for the operator, each once.
    :ivar outside_links: symbolic links that lead out of the tree: printable path -> printable target.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.warnings: list[str] = []
        self.outside_links: dict[str, str] = {}
        self._setuid = False

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def leaves_out(self, why: str | None) -> bool:
        """Whether a name is left out: ``why`` is then a warning, or empty; None for one that is not."""
        if why:
            self.warn(why)
        return why is not None

    def name(self, path: bytes) -> str:
        """The path as an operator would type it."""
        return self.root if path in (b"", b".") else os.path.join(self.root, printable(path))

    def see(self, entry: Entry) -> None:
        if entry.kind == "l" and leads_outside(entry.path, entry.target):
            self.outside_links[printable(entry.path)] = printable(entry.target)
        if entry.kind == "f" and entry.mode & (stat.S_ISUID | stat.S_ISGID) and not self._setuid:
            self._setuid = True
            self.warn("%s is setuid or setgid; it is saved, and will be restored, as such" % self.name(entry.path))


class TreeDigest:
    """Digest and counts of a tree, whatever order its entries are given in.

    Every inode gives one line: SHA-256 over kind, its name or (hard links) sorted names, mode, uid, gid, mtime in ns,
    size, link target, extended attributes and the SHA-256 of its content, each field with its length in front.
    The digest is the SHA-256 over the formula's name and the sorted lines; with a key it is an HMAC of the same.
    """

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._files: dict[bytes, bytes] = {}
        self._links: dict[bytes, list[bytes]] = {}
        self.counts = {"files": 0, "directories": 0, "links": 0, "bytes": 0}

    def add(self, entry: Entry, content: bytes = b"") -> None:
        """:param content: SHA-256 (32 bytes) of a regular file's content."""
        attributes = [part for name, value in entry.xattrs if name not in _NOT_COMPARED for part in (name, value)]
        numbers = (entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.size)
        facts = [b"%d" % number for number in numbers] + [entry.target, content] + attributes
        meta = hashlib.sha256(_fields(facts)).digest()
        if entry.kind == "f":
            self.counts["files"] += 1
            self.counts["bytes"] += entry.size
            self._files[entry.path] = meta
        else:
            self.counts["directories" if entry.kind == "d" else "links"] += 1
            self._lines.append(_line(entry.kind.encode(), [entry.path], meta))

    def add_name(self, path: bytes, first: bytes) -> None:
        """A further name of the file already added as ``first``."""
        self.counts["files"] += 1
        self._links.setdefault(first, []).append(path)

    def fingerprint(self, key: bytes | None = None) -> dict[str, Any]:
        """``files`` (names of regular files), ``directories``, ``links``, ``bytes``, ``digest`` (hex), ``formula``."""
        lines = list(self._lines)
        for first, meta in self._files.items():
            lines.append(_line(b"f", sorted([first] + self._links.get(first, [])), meta))
        message = FORMULA.encode() + b"".join(sorted(lines))
        if key is None:
            digest = hashlib.sha256(message).hexdigest()
        else:
            digest = hmac.new(key, message, hashlib.sha256).hexdigest()
        return dict(self.counts, digest=digest, formula=FORMULA)


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Sentences saying how two fingerprints differ; empty when they are equal."""
    said = []
    for key in ("files", "directories", "links", "bytes"):
        if expected.get(key) != found.get(key):
            said.append("%s: expected %s, found %s" % (key, expected.get(key), found.get(key)))
    if expected.get("formula") != found.get("formula"):
        said.append("digest formula: expected %s, found %s" % (expected.get("formula"), found.get("formula")))
    elif expected.get("digest") != found.get("digest"):
        said.append(
            "tree digest (content, owners, modes, times, links, attributes): expected %s, found %s"
            % (expected.get("digest"), found.get("digest"))
        )
    return said


def leads_outside(path: bytes, target: bytes) -> bool:
    """Whether a symbolic link at ``path`` could lead out of the tree.

    A ``..`` after a name counts as outside: what it means depends on whether that name is itself a link.
    """
    if target.startswith(b"/"):
        return True
    depth = path.count(b"/")
    named = False
    for part in target.split(b"/"):
        if part == b"..":
            depth -= 1
            if named or depth < 0:
                return True
        elif part not in (b"", b"."):
            named = True
    return False


def printable(path: bytes) -> str:
    """A name as text that survives JSON, terminals and logs; bytes that cannot be shown become ``%XX``."""
    shown = []
    for char in path.decode("utf-8", "surrogateescape"):
        if char == "%" or not (char.isprintable() or char == " "):
            raw = char.encode("utf-8", "surrogateescape")
            shown.append("".join("%%%02X" % byte for byte in raw))
        else:
            shown.append(char)
    return "".join(shown)


def from_printable(text: str) -> bytes:
    """The bytes that :func:`printable` showed."""
    return re.sub(rb"%([0-9A-F]{2})", lambda found: bytes([int(found.group(1), 16)]), text.encode("utf-8"))


def _fields(fields: list[bytes]) -> bytes:
    return b"".join(b"%d:%s," % (len(field), field) for field in fields)


def _line(kind: bytes, names: list[bytes], meta: bytes) -> bytes:
    return hashlib.sha256(_fields([kind, b"%d" % len(names)] + names + [meta])).digest()
