# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The uploaded files of a directory as objects: of an instance with files on a disk, for one that has them in S3.

The archive is read and proved as a whole before anything is said of what lies in it, and then read again for what is
sent. A hard link is an object of its own, as is a symbolic link that leads to a file of the archive.
"""

from __future__ import annotations

import hashlib
import mimetypes
import posixpath
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _static_restore, _tar_codec
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    StateError,
    ToolError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._object_index import Checked
from ansible_collections.authentik_ops.recovery.plugins.module_utils._process import find_program
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import DEFAULT_TENANT, is_old_layout
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tar import Member
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import (
    TreeDigest,
    differences,
    printable,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_objects import (
    MEDIA,
    REPORTS,
    Entry,
    Saved,
    left_out,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Location

#: Directories of uploaded files: before authentik 2025.12, and since.
COMPONENTS = ("media", "data")
# With room for the folder in which a bucket has what lay in the directory media.
_ROOM = Location("bucket", "media")
_TYPES = mimetypes.MimeTypes()
_UNKNOWN = "application/octet-stream"
_MOST_LINKS = 40


def of_files(manifest: dict[str, t.Any], source: t.Any, component: str) -> Saved:
    """Return the files of a directory of the set as objects.

    :param manifest: with the paths of plain artifacts.
    :param source: gives these.
    :param component: one of C(COMPONENTS).
    :raises InputError: when the set does not hold it.
    :raises IntegrityError: when the archive is not what the manifest says.
    :raises StateError: when a symbolic link leads elsewhere than to a file of it.
    """
    chosen, said = _static_restore.choose(manifest, [component])
    if not chosen:
        raise InputError("The backup set %s holds no files of %s" % (manifest["id"], component), " ".join(said))
    record = chosen[0]
    if record["artifacts"][0]["compression"] == "zstd" and find_program("zstd") is None:
        raise ToolError(
            "The program zstd is not installed on the controller, which reads %s there" % component,
            "Install the package zstd on the controller",
        )
    tree = _Tree(record, source)
    modern = component == "data"
    usages = tuple(one for one in (MEDIA, REPORTS) if one in tree.folders) if modern else (MEDIA,)
    told, below = "s3: the files of %s become objects" % component, ""
    if not modern and is_old_layout(tree.folders):
        told += " of %s/, since they have no folder per tenant yet (authentik before 2024.2)" % DEFAULT_TENANT
        below = DEFAULT_TENANT + "/"
    objects, no_place, no_name = [], [], []
    for path in tree.files():
        key = below + path.decode("utf-8", "surrogateescape")
        if modern and key.partition("/")[0] not in usages:
            no_place.append(key)
        elif not _can_be_key(key):
            no_name.append(key)
        else:
            objects.append(dict(tree.facts_of(path), key=key, about=_about(key)))
    said = [told]
    if no_place:
        said.append(left_out(no_place, "a bucket has no place for what is neither media nor reports,"))
    if no_name:
        said.append(left_out(no_name, "no object can be named so,"))
    return Saved(objects, usages, modern, tree.read, tuple(said), component)


def _can_be_key(name: str) -> bool:
    try:
        name.encode("utf-8")
        _ROOM.key(name)
    except (InputError, UnicodeEncodeError):
        return False
    return True


def _about(key: str) -> dict[str, str]:
    """Return what an upload by authentik gives an object besides its content."""
    kind, encoding = _TYPES.guess_type(key, strict=False)
    return {"ContentType": kind or _UNKNOWN, **({"ContentEncoding": encoding} if encoding else {})}


class _Tree:
    """An archive that was read to its end and proved.

    :ivar folders: names of the directories right below the root.
    """

    def __init__(self, record: dict[str, t.Any], source: t.Any) -> None:
        self._record = record
        self._source = source
        self._path = record["artifacts"][0]["path"]
        # Path of a file or hard link -> facts of its content; path of a symbolic link -> its target.
        self._facts: dict[bytes, Entry] = {}
        self._targets: dict[bytes, bytes] = {}
        self.folders: list[str] = []
        digest = TreeDigest()
        with _tar_codec.open_archive(record, source) as reader:
            for member in reader.members():
                self._see(member, digest)
        said = differences(record["fingerprint"], digest.fingerprint())
        if said:
            raise IntegrityError(
                "%s is not equal to the backup's fingerprint: %s" % (self._path, "; ".join(said)),
                "Use another backup set; `list` shows them",
            )

    def _see(self, member: Member, digest: TreeDigest) -> None:
        path, kind = member.entry.path, member.entry.kind
        if member.link_to is not None:
            self._facts[path] = self._facts[member.link_to]
            digest.add_name(path, member.link_to)
            return
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        for chunk in member.chunks():
            sha256.update(chunk)
            md5.update(chunk)
        digest.add(member.entry, sha256.digest())
        if kind == "f":
            facts = {"size": member.entry.size, "sha256": sha256.hexdigest(), "etag": '"%s"' % md5.hexdigest()}
            self._facts[path] = dict(facts, pack=self._path, stored=path)
        elif kind == "l":
            self._targets[path] = member.entry.target
        elif b"/" not in path:
            self.folders.append(path.decode("utf-8", "surrogateescape"))

    def files(self) -> list[bytes]:
        """Return the paths of files and links, sorted."""
        return sorted([*self._facts, *self._targets])

    def facts_of(self, path: bytes) -> Entry:
        """Return what an entry of an index has of a file; of a symbolic link, what it has of the one that it leads to.

        :raises StateError: when it leads to none.
        """
        found = self._facts.get(self._follow(path))
        if found is None:
            raise StateError(
                "%s of %s is a symbolic link to %s, which is no file of it, and S3 has no links"
                % (printable(path), self._record["component"], printable(self._targets[path])),
                "Leave %s out of authentik_components, and put its files into the bucket by hand"
                % self._record["component"],
            )
        return found

    def _follow(self, path: bytes) -> bytes:
        for _link in range(_MOST_LINKS):
            target = self._targets.get(path)
            if target is None:
                break
            # No file lies behind a link to a directory, which none of them may be.
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        return path

    def read(self, entries: list[Entry]) -> t.Iterator[tuple[Entry, Checked]]:
        """Yield entries with their content; what has several names takes as many passes.

        :raises IntegrityError: when the content is not what was proved.
        """
        left = list(entries)
        while left:
            wanted = {entry["stored"]: entry for entry in left}
            left = [entry for entry in left if wanted[entry["stored"]] is not entry]
            with _tar_codec.open_archive(self._record, self._source) as reader:
                for member in reader.members():
                    entry = wanted.pop(member.entry.path, None)
                    if entry is not None:
                        content = Checked(_Chunks(member), entry)
                        yield entry, content
                        content.drain()
            if wanted:
                raise IntegrityError(
                    "%s does not hold %s any more" % (self._path, printable(min(wanted))),
                    "Somebody changed it while it was read: see who writes to the store, and repeat the restore",
                )


class _Chunks:
    """A member's content as something to read."""

    def __init__(self, member: Member) -> None:
        self._chunks = member.chunks()

    def read(self, _size: int) -> bytes:
        """Return the next part of it; nothing at the end."""
        return next(self._chunks, b"")
