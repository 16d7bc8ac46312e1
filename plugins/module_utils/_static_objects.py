# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The objects of a bucket as the directory that an instance with its files on a disk has instead.

authentik names an object as it names the file: what follows the bucket is what follows C(/data), or before 2025.12
C(/media). An object has neither an owner nor a mode, so both are those of the directory that is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import (
    _object_index,
    _static_owners,
    _tar_codec,
    _tree,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import artifacts_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_names import content_names
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tar import Member
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import parse_utc
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import Entry, TreeDigest, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySource
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._spool_source import SpoolSource
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Work
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._tar import Members
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree import Leave


_FOLDER_MODE, _FILE_MODE = 0o755, 0o644
_NAME_BYTES = 255
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: Where only one usage of authentik 2025.12 and later lies in the bucket, only that one's directory is restored.
_OF_ONE_USAGE = {"media": "media", "reports": "extra-reports"}
_PREFIX, _TREE = "prefix", "tree"


class Tree(NamedTuple):
    """What the objects make.

    :ivar listed: the index.
    :ivar folders: each before what it holds.
    :ivar files: by the object's key.
    """

    listed: dict[str, Any]
    folders: list[Entry]
    files: dict[str, Entry]


def record_of(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """The record of the directory that a set's objects make, None where it holds none.

    Its fingerprint is that of the objects: :func:`read` puts that of the tree in its place.
    """
    found = manifest["components"].get(_object_index.COMPONENT)
    if found is None:
        return None
    folders = found["folders"]
    component, prefix = "data" if folders else "media", ""
    if len(folders) == 1 and folders[0] in _OF_ONE_USAGE:
        component, prefix = _OF_ONE_USAGE[folders[0]], folders[0] + "/"
    return {
        "component": component,
        "path": "s3://" + found["bucket"],
        "artifacts": artifacts_of(manifest, _object_index.COMPONENT),
        "fingerprint": found["fingerprint"],
        _PREFIX: prefix,
    }


def are_objects(record: dict[str, Any]) -> bool:
    """Whether a directory's record is one of :func:`record_of`."""
    return _PREFIX in record


def asked_as(record: dict[str, Any]) -> str:
    """The component by which the set holds it."""
    return _object_index.COMPONENT if are_objects(record) else str(record["component"])


def read(work: Work, source: DirectorySource | SpoolSource) -> Work:
    """The same with the tree that the objects make, and its fingerprint; what holds no objects stays as it is.

    :raises IntegrityError: the index is damaged, or names what no file can be called.
    :raises StateError: not all objects can be files side by side, or nobody knows whom they are to belong to.
    """
    if not are_objects(work.record):
        return work
    owner, why = _owner(work)
    index = _object_index.read_index(work.record, source)
    tree, digest = _plant(index, work.record[_PREFIX], owner, _modes(work))
    record = dict(work.record, fingerprint=digest.fingerprint(), **{_TREE: tree})
    said = ["%s: files of S3 have no owner: they are given to %s, %s" % (work.component, owner, why)]
    return work._replace(record=record, said=(*work.said, *said, *_not_saved(work)))


def _not_saved(work: Work) -> list[str]:
    """Say what is in a directory that authentik would not have had in a bucket."""
    live = work.parts[0].place.live
    if work.component != "data" or work.moves or not os.path.isdir(live):
        return []
    others = [printable(os.fsencode(name)) for name in content_names(live) if name not in _OF_ONE_USAGE]
    why = "data: %s holds %s, which is no file of S3: it would be in what is kept of that directory alone"
    return [why % (live, ", ".join(sorted(others)))] if others else []


def _owner(work: Work) -> tuple[_static_owners.Owner, str]:
    if os.geteuid() != 0:
        return _static_owners.Owner(os.geteuid(), os.getegid()), "the user of the task"
    found = _static_owners.owner_here(work)
    if found is None:
        live = work.parts[0].place.live
        raise StateError(
            "Files of S3 have no owner, and there is no %s that would tell whom they are to belong to" % live,
            "Make it, for the user that authentik runs as",
            "install -d -o authentik -g authentik %s" % live,
        )
    return found


def _modes(work: Work) -> dict[bytes, int]:
    """Of folders that become directories of the instance, by path: what is there may keep others out."""
    live = {part.inside or ".": part.place.live for part in work.parts}
    if work.component == "data" and not work.moves:
        live.update((usage, os.path.join(live["."], usage)) for usage in _OF_ONE_USAGE)
    found = {os.fsencode(path): mode_here(directory) for path, directory in live.items()}
    return {path: mode for path, mode in found.items() if mode is not None}


def mode_here(live: str) -> int | None:
    """The mode of a directory that is there, None where none is."""
    # A link of a container leads to something else on the host.
    return stat.S_IMODE(os.stat(live).st_mode) if os.path.isdir(live) and not os.path.islink(live) else None


def _plant(
    index: dict[str, Any], prefix: str, owner: _static_owners.Owner, modes: dict[bytes, int]
) -> tuple[Tree, TreeDigest]:
    files: dict[str, Entry] = {}
    times: dict[bytes, int] = {b".": 0}
    digest = TreeDigest()
    for one in index["objects"]:
        path, time = _path(one, prefix), _time(one)
        files[one["key"]] = Entry(path, "f", _FILE_MODE, *owner, time, one["size"], b"", ())
        digest.add(files[one["key"]], bytes.fromhex(one["sha256"]))
        for folder in _above(path):
            times[folder] = max(times.get(folder, 0), time)
    for entry in files.values():
        if entry.path in times:
            raise StateError(
                "The bucket held both an object %s and others below that name, which no disk can hold as files"
                % printable(entry.path),
                "Restore the set into a bucket, or leave s3 out of the components",
            )
    folders = [
        Entry(path, "d", modes.get(path, _FOLDER_MODE), *owner, time, 0, b"", ())
        for path, time in sorted(times.items())
    ]
    for made in folders:
        digest.add(made, hashlib.sha256().digest())
    return Tree(index, folders, files), digest


def _above(path: bytes) -> Iterator[bytes]:
    """The folders that a path lies in, the tree's root among them."""
    yield b"."
    for found in re.finditer(b"/", path):
        yield path[: found.start()]


def _path(one: dict[str, Any], prefix: str) -> bytes:
    """Where an object goes in the tree. The index is checked: it may have been altered to reach elsewhere."""
    key = one["key"]
    path = key[len(prefix) :].encode("utf-8", "surrogateescape")
    parts = path.split(b"/")
    bad = any(part in (b"", b".", b"..") or b"\0" in part or len(part) > _NAME_BYTES for part in parts)
    if bad or not key.startswith(prefix) or not _SHA256.fullmatch(one["sha256"]):
        raise IntegrityError(
            "%s lists the object %r, which cannot be a file" % (_object_index.INDEX, key),
            "Nothing was restored; choose another backup set",
        )
    return path


def _time(one: dict[str, Any]) -> int:
    """When an object was written, in nanoseconds."""
    try:
        return int(parse_utc(one["modified"]).timestamp()) * 10**9
    except ValueError as exc:
        raise IntegrityError(
            "%s has no time for the object %r: %s" % (_object_index.INDEX, one["key"], exc),
            "Choose another backup set",
        ) from exc


@contextlib.contextmanager
def open_tree(record: dict[str, Any], source: DirectorySource | SpoolSource) -> Iterator[Members]:
    """Yield what reads a component's tree, of an archive or of objects; left normally, all of it was compared."""
    if not are_objects(record):
        with _tar_codec.open_archive(record, source) as reader:
            yield reader
        return
    yield _Objects(record[_TREE], source)


class _Objects:
    """Objects as the members of an archive. Each is compared with the index when the next one is asked for."""

    def __init__(self, tree: Tree, source: DirectorySource | SpoolSource) -> None:
        self._tree = tree
        self._source = source

    def members(self) -> Iterator[Member]:
        for folder in self._tree.folders:
            yield Member(folder, None, None)
        for one, content in _object_index.read_objects(self._tree.listed, self._source):
            yield Member(self._tree.files[one["key"]], None, content)


def holds_others(record: dict[str, Any], root: str, leave: Leave | None) -> bool:
    """Whether a directory holds other files than the set has objects. Owners, modes and times are not compared.

    :raises RecoveryError: it cannot be read.
    """
    found, others = [], False
    fd = _tree.open_root(root)
    try:
        for node in _tree.walk(fd, _tree.Findings(root), leave=leave):
            if node.entry.kind == "f" and node.link_to is None:
                content = hashlib.sha256()
                for chunk in node.chunks():
                    content.update(chunk)
                key = record[_PREFIX] + node.entry.path.decode("utf-8", "surrogateescape")
                found.append({"key": key, "size": node.entry.size, "sha256": content.hexdigest()})
            elif node.entry.kind != "d":
                others = True
    except _tree.ChangedWhileRead:
        others = True
    finally:
        os.close(fd)
    return others or _object_index.fingerprint(found) != record["fingerprint"]
