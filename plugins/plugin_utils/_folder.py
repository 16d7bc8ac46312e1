# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A folder of a store, wherever that lies, and the one on the controller's disk.

Everything else of the store is written against :class:`Folder`, so that it does not know what holds the files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import (
    BLOCK,
    ArtifactReader,
    DirectorySink,
    DirectorySource,
    as_error,
    fsync_directory,
    make_private_directories,
    write_private,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import check_artifact_path

#: No small file of a store, the manifest included, is longer.
SMALL = 512 * 1024 * 1024


class StoredFile(t.Protocol):
    """A file that is being written."""

    @property
    def size(self) -> int:
        """Bytes that were written."""

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of what was written."""

    def write(self, data: bytes, /) -> int:
        """Append the data whole and return its length."""


class Source(t.Protocol):
    """Reads artifacts and compares them with their records."""

    def has(self, path: str) -> bool:
        """Tell whether there is such an artifact."""

    def expected(self, path: str, plain: bool) -> tuple[int, str]:
        """Return size and SHA-256: as stored, or plain as it left the host."""

    def artifact(self, path: str) -> contextlib.AbstractContextManager[ArtifactReader]:
        """Yield a reader; when it is left normally, all of the artifact was compared."""


class Sink(t.Protocol):
    """Writes artifacts."""

    def artifact(self, path: str, /) -> contextlib.AbstractContextManager[StoredFile]:
        """Yield a writer; left normally, the artifact is durable under its name, else nothing of it is there."""


class Folder(t.Protocol):
    """Files below one place of a store. All names are relative to it, with slashes."""

    @property
    def location(self) -> str:
        """What an operator calls it: a path, or an address."""

    def at(self, name: str) -> str:
        """Return what an operator calls a file or folder in it."""

    def exists(self) -> bool:
        """Tell whether it is there."""

    def child(self, name: str) -> Folder:
        """Return a folder in it."""

    def names(self) -> list[str]:
        """Return the names of the files and folders in it; of a folder that is not there, none."""

    def files(self) -> dict[str, int]:
        """Return the names of all files in it and below it, with their lengths in bytes."""

    def read(self, name: str, limit: int = SMALL) -> bytes | None:
        """Return a small file, None when it is not there."""

    def write(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """Write a small file: durable, and whole or not at all."""

    def delete(self, name: str) -> None:
        """Remove a file that may not be there."""

    def age(self, name: str = "") -> float | None:
        """Return the seconds since a file, or the folder, was changed last, either way when clocks went back.

        None when it is not there.
        """

    def touch(self, name: str) -> None:
        """Make a file's age zero. A failure is nobody's concern but that of who looks at the age."""

    def source(self, artifacts: t.Sequence[dict[str, t.Any]], cached: bool = True) -> Source:
        """Return what reads and compares these artifacts, as they are stored.

        :param cached: False for what shall come from where it lies, not from memory, where that can be had.
        """

    def sink(self) -> Sink:
        """Return what writes artifacts."""

    def take(self, artifact: dict[str, t.Any], other: Folder) -> None:
        """Take an artifact over from another folder of the same store, cheaper than by reading and writing it.

        :raises IntegrityError: when it is no longer what its record says.
        """

    def remove(self) -> bool:
        """Remove the folder and all below it; tell whether there was anything."""


class Directory:
    """A folder on the controller's disk.

    :param path: where it is or will be.
    """

    def __init__(self, path: str) -> None:
        self.location = path

    def at(self, name: str) -> str:
        """Return the path of a file or folder in it."""
        return os.path.join(self.location, name)

    def exists(self) -> bool:
        """Tell whether it is there."""
        return os.path.isdir(self.location)

    def child(self, name: str) -> Directory:
        """Return a folder in it."""
        return Directory(self.at(name))

    def names(self) -> list[str]:
        """Return the names of the files and folders in it; of a folder that is not there, none."""
        try:
            return os.listdir(self.location)
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise as_error("list", self.location, exc) from exc

    def files(self) -> dict[str, int]:
        """Return the names of all files in it and below it, with their lengths; a link counts as itself."""
        found = {}
        for folder, _folders, names in os.walk(self.location):
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    found[os.path.relpath(path, self.location)] = os.lstat(path).st_size
        return found

    def read(self, name: str, limit: int = SMALL) -> bytes | None:
        """Return a small file, None when it is not there."""
        try:
            # Neither a link nor a pipe is a file of a store, and opening a pipe would wait for ever.
            with open(os.open(self.at(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
                if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                    raise _no_file(self.at(name))
                return stream.read(limit)
        except FileNotFoundError:
            return None
        except OSError as exc:
            if exc.errno in (errno.ELOOP, errno.EISDIR):
                raise _no_file(self.at(name)) from exc
            raise as_error("read", self.at(name), exc) from exc

    def write(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """Write a small file; its folder is made when it is missing."""
        make_private_directories(os.path.dirname(self.at(name)))
        write_private(self.at(name), data, mode)

    def delete(self, name: str) -> None:
        """Remove a file that may not be there."""
        path = self.at(name)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
                fsync_directory(os.path.dirname(path))
        except OSError as exc:
            raise as_error("remove", path, exc) from exc

    def age(self, name: str = "") -> float | None:
        """Return the seconds since a file, or the folder, was changed last; None when it cannot be looked at."""
        try:
            return abs(time.time() - os.stat(self.at(name) if name else self.location).st_mtime)
        except OSError:
            return None

    def touch(self, name: str) -> None:
        """Make a file's age zero."""
        with contextlib.suppress(OSError):
            os.utime(self.at(name))

    def source(self, artifacts: t.Sequence[dict[str, t.Any]], cached: bool = True) -> DirectorySource:
        """Return what reads and compares these artifacts; not cached, it comes from the disk."""
        for artifact in () if cached else artifacts:
            _forget_cache(self.at(artifact["path"]))
        return DirectorySource(self.location, artifacts)

    def sink(self) -> DirectorySink:
        """Return what writes artifacts, read-only."""
        return DirectorySink(self.location, mode=0o400)

    def take(self, artifact: dict[str, t.Any], other: Folder) -> None:
        """Take an artifact over: a hard link, or a copy where links are not possible."""
        path = check_artifact_path(artifact["path"])
        source, target = other.at(path), self.at(path)
        make_private_directories(os.path.dirname(target))
        try:
            os.link(source, target, follow_symlinks=False)
            fsync_directory(os.path.dirname(target))
        except OSError as exc:
            if exc.errno not in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP):
                raise as_error("link the unchanged artifact", source, exc) from exc
            copy(artifact, other, self)

    def remove(self) -> bool:
        """Remove the folder and all below it; tell whether there was anything."""
        if not os.path.lexists(self.location):
            return False
        try:
            shutil.rmtree(self.location)
            fsync_directory(os.path.dirname(self.location))
        except OSError as exc:
            raise as_error("remove", self.location, exc) from exc
        return True


def copy(artifact: dict[str, t.Any], origin: Folder, target: Folder, beat: t.Callable[[], None] = lambda: None) -> None:
    """Copy an artifact as it is stored, and compare it with its record on the way.

    :param beat: called with each block.
    :raises IntegrityError: when it differs; nothing of it is in the target then.
    """
    source, sink = origin.source([artifact]), target.sink()
    with sink.artifact(artifact["path"]) as out, source.artifact(artifact["path"]) as inp:
        while True:
            data = inp.read(BLOCK)
            if not data:
                break
            out.write(data)
            beat()


def _no_file(path: str) -> IntegrityError:
    return IntegrityError("%s is not a regular file" % path, "The set is damaged: use another one")


def _forget_cache(path: str) -> None:
    """Let the next read come from the disk rather than from memory, where the system allows it."""
    try:
        with open(path, "rb") as artifact:
            os.posix_fadvise(artifact.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        # Reading it will tell what is wrong.
        return
