# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The objects of a bucket in a backup set: an index that lists all of them, and packs that hold their content.

A pack is a plain tar of the objects that were new or changed in one run, by their keys. What did not change since lies
in the packs of earlier runs, which each later set holds too: so each set is whole by itself.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import BLOCK

if TYPE_CHECKING:
    from typing import Any, Iterable, Iterator

COMPONENT = "s3"
INDEX = "s3/index.json"
FORMAT = 1
FORMULA = "authentik-recovery-objects-1"
#: What is kept of an object besides its content, by the names of the S3 API.
KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Metadata")

_HINT = "Use another backup set; `list` shows them"
_FIELDS = {
    "key": str,
    "size": int,
    "etag": str,
    "version_id": str,
    "modified": str,
    "sha256": str,
    "about": dict,
    "pack": str,
    "member": int,
}
_TOP = {"bucket": str, "endpoint": str, "folders": list, "objects": list}
_PACK = re.compile(r"s3/objects-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}\.tar")


def pack_path(set_id: str) -> str:
    """The path of the pack that a set makes."""
    return "s3/objects-%s.tar" % set_id


def dump(index: dict[str, Any]) -> bytes:
    """The index as it is stored."""
    return (json.dumps(dict(index, format=FORMAT), indent=0, sort_keys=True) + "\n").encode("ascii")


def load(text: bytes) -> dict[str, Any]:
    """The index from its text.

    :raises IntegrityError: it is none, or of a newer version.
    """
    try:
        index = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise IntegrityError("%s is not valid JSON: %s" % (INDEX, exc), _HINT) from exc
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise IntegrityError("%s has a format that this version cannot read" % INDEX, "Use a newer version")
    _check_fields(index, _TOP, "")
    seen = set()
    for number, entry in enumerate(index["objects"]):
        where = "objects[%d]." % number
        if not isinstance(entry, dict):
            raise _invalid(where + " is no object")
        _check_fields(entry, _FIELDS, where)
        if entry["key"] in seen or not _PACK.fullmatch(entry["pack"]) or entry["size"] < 0:
            raise _invalid("%s names %r in %r" % (where, entry["key"], entry["pack"]))
        if not set(entry["about"]) <= set(KEPT):
            raise _invalid("%sabout holds %s" % (where, ", ".join(sorted(set(entry["about"]) - set(KEPT)))))
        seen.add(entry["key"])
    return index


def _check_fields(value: dict[str, Any], fields: dict[str, Any], where: str) -> None:
    for name, kind in fields.items():
        if not isinstance(value.get(name), kind):
            raise _invalid("%s%s is missing, or not what it should be" % (where, name))


def _invalid(reason: str) -> IntegrityError:
    return IntegrityError("%s is not valid: %s" % (INDEX, reason), _HINT)


def fingerprint(objects: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """How many objects there are, their bytes, and a digest of their keys and contents."""
    digest, number, size = hashlib.sha256(), 0, 0
    for entry in sorted(objects, key=lambda one: one["key"]):
        digest.update(("%s %s\0" % (entry["sha256"], entry["key"])).encode("utf-8", "surrogateescape"))
        number, size = number + 1, size + entry["size"]
    return {"files": number, "bytes": size, "digest": digest.hexdigest(), "formula": FORMULA}


def header(key: str, size: int, modified: float) -> bytes:
    """What stands before an object's content in a pack."""
    member = tarfile.TarInfo(key)
    member.size, member.mtime, member.mode = size, int(modified), 0o600
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """What stands after that many bytes of content."""
    return b"\0" * (-size % tarfile.BLOCKSIZE)


#: What ends a pack.
END = b"\0" * (2 * tarfile.BLOCKSIZE)


def members(reader: Any, path: str) -> Iterator[tuple[str, int, Any]]:
    """Yield key, number among the members of that key, and a stream of the content, of all that a pack holds.

    :raises IntegrityError: it is no whole tar.
    """
    seen: dict[str, int] = {}
    try:
        archive: Any
        with tarfile.open(fileobj=reader, mode="r|", bufsize=BLOCK) as archive:
            for member in archive:
                # Else all that passed by stays in memory.
                archive.members = []
                content = archive.extractfile(member)
                if content is None:
                    raise IntegrityError("%s holds %s, which is no object" % (path, member.name), _HINT)
                number = seen.get(member.name, 0)
                seen[member.name] = number + 1
                yield member.name, number, _Content(content, path)
    except (tarfile.TarError, EOFError) as exc:
        raise _not_whole(path, exc) from exc


def _not_whole(path: str, exc: Exception) -> IntegrityError:
    return IntegrityError("%s is no whole archive: %s" % (path, exc), _HINT)


class _Content:
    """A member's content, whose end is told when it is missing."""

    def __init__(self, stream: Any, path: str) -> None:
        self._stream = stream
        self._path = path

    def read(self, size: int = -1) -> bytes:
        """Up to size bytes; none at the end."""
        try:
            data: bytes = self._stream.read(size)
        except (tarfile.TarError, EOFError) as exc:
            raise _not_whole(self._path, exc) from exc
        return data


class Checked:
    """Hashes an object's content while somebody reads it, and compares it with the index at the end.

    :raises IntegrityError: when it ends, and differs.
    """

    def __init__(self, content: Any, entry: dict[str, Any]) -> None:
        self._content = content
        self._entry = entry
        self._hash = hashlib.sha256()
        self._size = 0

    def read(self, size: int) -> bytes:
        """Up to size bytes; none at the end."""
        data: bytes = self._content.read(size)
        self._hash.update(data)
        self._size += len(data)
        if not data and (self._size, self._hash.hexdigest()) != (self._entry["size"], self._entry["sha256"]):
            raise IntegrityError(
                "The object %s in %s has %d bytes and SHA-256 %s; the index says %d and %s"
                % (
                    self._entry["key"],
                    self._entry["pack"],
                    self._size,
                    self._hash.hexdigest(),
                    self._entry["size"],
                    self._entry["sha256"],
                ),
                _HINT,
            )
        return data

    def drain(self) -> None:
        """Read to the end."""
        while self.read(BLOCK):
            pass


def read_index(record: dict[str, Any], source: Any) -> dict[str, Any]:
    """The index of a set, compared with the fingerprint of the component's record in its manifest."""
    with source.artifact(INDEX) as reader:
        parts = []
        while True:
            data = reader.read(BLOCK)
            if not data:
                break
            parts.append(data)
    index = load(b"".join(parts))
    found = fingerprint(index["objects"])
    if found != record["fingerprint"]:
        raise IntegrityError(
            "%s lists %d objects with digest %s; the manifest says %s"
            % (INDEX, found["files"], found["digest"], record["fingerprint"]),
            _HINT,
        )
    return index


def read_objects(index: dict[str, Any], source: Any, wanted: Iterable[str] | None = None) -> Iterator[Any]:
    """Yield the entry and the content of each object, pack by pack; what is left of a content is read and compared.

    An entry whose key is not the one in the pack has that as ``stored``.

    :param wanted: the keys of some; None for all. Packs that hold none of them are not read.
    :raises IntegrityError: one differs from the index, or is missing.
    """
    keys = None if wanted is None else set(wanted)
    left = {
        (entry["pack"], entry.get("stored", entry["key"]), entry["member"]): entry
        for entry in index["objects"]
        if keys is None or entry["key"] in keys
    }
    for path in sorted({entry["pack"] for entry in left.values()}):
        if not source.has(path):
            raise IntegrityError("The set does not hold %s, which its index names" % path, _HINT)
        with source.artifact(path) as reader:
            for key, number, content in members(reader, path):
                entry = left.pop((path, key, number), None)
                if entry is not None:
                    checked = Checked(content, entry)
                    yield entry, checked
                    checked.drain()
    if left:
        raise IntegrityError("No pack holds the object %s of the index" % sorted(left)[0][1], _HINT)


def decode(record: dict[str, Any], artifacts: Iterable[dict[str, Any]], source: Any) -> list[str]:
    """Read all of the component and return the paths of its artifacts.

    :raises IntegrityError: anything is not what the manifest and the index say.
    """
    index = read_index(record, source)
    for _entry, _content in read_objects(index, source):
        pass
    used = {entry["pack"] for entry in index["objects"]} | {INDEX}
    for artifact in artifacts:
        # Of a run in which all that was new had gone again, there is a pack that nothing refers to.
        if artifact["path"] not in used:
            with source.artifact(artifact["path"]) as reader:
                for _key, _number, _content in members(reader, artifact["path"]):
                    pass
    return [artifact["path"] for artifact in artifacts]
