# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Files that appear whole or not at all, and artifacts that are counted and hashed on the way."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import tempfile
import time
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    RecoveryError,
    SpaceError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import check_artifact_path

BLOCK = 1024 * 1024

_SUFFIX = ".partial"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_WRONG = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)


class Reader(t.Protocol):
    """What :meth:`ArtifactReader.read` and files have in common."""

    def read(self, size: int, /) -> bytes:
        """Return up to size bytes, nothing at the end."""


def as_error(doing: str, path: str, exc: OSError, hint: str = "") -> RecoveryError:
    """Return the error that tells an operator about a failed file operation.

    :param doing: what was tried, as in C(write) or C(make the folder).
    :param hint: replaces the usual hint for a full or unwritable place.
    """
    cause = "Cannot %s %s: %s" % (doing, path, exc.strerror or exc)
    if exc.errno in _FULL:
        return SpaceError(cause, hint or "Free space there, or raise the quota or file size limit", "df -h %s" % path)
    if exc.errno in _REFUSED:
        return InputError(cause, hint or "Check owner and mode of each folder of that path, and for a read-only mount")
    if exc.errno in _WRONG:
        return InputError(cause, hint or "Check that the path is spelled right and that each part of it is a folder")
    return StateError(cause, hint)


def default_work_dir() -> str:
    """Return where restores keep their files: a system folder for root, else one in the home directory."""
    if os.geteuid() == 0:
        return "/var/lib/authentik-recovery"
    return os.path.join(os.path.expanduser("~"), ".local", "state", "authentik-recovery")


def fsync_directory(path: str) -> None:
    """Make names that were created, renamed or removed in the folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        # Some network file systems have no such operation for folders.
        if exc.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def free_bytes(path: str) -> int:
    """Return how many bytes an unprivileged writer may still use where the path is or will be."""
    place = os.path.abspath(path)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    figures = os.statvfs(place)
    return figures.f_bavail * figures.f_frsize


def make_private_directories(path: str) -> None:
    """Make the folder and its missing parents with mode 0700.

    :raises RecoveryError: when one of them cannot be made or is something else than a folder.
    """
    missing = []
    place = os.path.abspath(path)
    while not os.path.lexists(place):
        missing.append(place)
        place = os.path.dirname(place)
    try:
        if not os.path.isdir(place):
            raise NotADirectoryError(errno.ENOTDIR, "%s is not a folder" % place)
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o700)
            fsync_directory(os.path.dirname(folder))
    except OSError as exc:
        raise as_error("make the folder", path, exc) from exc


def write_private(path: str, data: bytes, mode: int = 0o600) -> None:
    """Publish a small file: whole under its name, durable, or not there at all.

    :raises RecoveryError: when it cannot be written; a file of that name stays as it was.
    """
    with AtomicFile(path, mode) as out:
        out.write(data)


class AtomicFile:
    """A file that gets its name when the context is left normally, and leaves no trace otherwise.

    C(size) and C(sha256) describe what was written.
    """

    def __init__(self, path: str, mode: int = 0o600) -> None:
        self.path = path
        self.mode = mode
        self.size = 0
        self._hash = hashlib.sha256()
        self._descriptor = -1
        self._temporary = ""

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of what was written so far."""
        return self._hash.hexdigest()

    def open(self) -> AtomicFile:
        """Create the temporary file beside the final name.

        :raises RecoveryError: when the folder does not accept it.
        """
        folder, name = os.path.split(os.path.abspath(self.path))
        try:
            prefix = ".%s." % name[:100]
            remove_abandoned(folder, prefix)
            self._descriptor, self._temporary = tempfile.mkstemp(prefix=prefix, suffix=_SUFFIX, dir=folder)
        except OSError as exc:
            raise as_error("write", self.path, exc) from exc
        # Not every file system has locks; without one nothing is ever taken for abandoned.
        with contextlib.suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self

    def write(self, data: t.Union[bytes, memoryview]) -> int:
        """Append the data whole and return its length in bytes.

        :raises SpaceError: when the file system or a limit is full.
        """
        rest = memoryview(data)
        length = len(rest)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as exc:
            raise as_error("write", self.path, exc) from exc
        self._hash.update(data)
        self.size += length
        return length

    def publish(self) -> None:
        """Check the size, make the content durable and give the file its name."""
        try:
            found = os.fstat(self._descriptor).st_size
            if found != self.size:
                raise IntegrityError("%s holds %d bytes although %d were written" % (self.path, found, self.size))
            os.fchmod(self._descriptor, self.mode)
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            os.rename(self._temporary, self.path)
            self._temporary = ""
            fsync_directory(os.path.dirname(os.path.abspath(self.path)))
        except OSError as exc:
            raise as_error("write", self.path, exc) from exc

    def discard(self) -> None:
        """Remove the temporary file, if it is still there."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._temporary)
            self._temporary = ""

    def __enter__(self) -> AtomicFile:
        return self.open()

    def __exit__(self, kind: t.Optional[type[BaseException]], exc: t.Any, trace: t.Any) -> None:
        try:
            if kind is None:
                self.publish()
        finally:
            self.discard()


def remove_abandoned(folder: str, prefix: str = ".", silence: float = 0) -> None:
    """Remove temporary files of writers that were killed: a living one holds a lock on its file.

    :param prefix: how their names begin.
    :param silence: seconds since the last change; a writer that has just begun has no lock yet.
    """
    for name in os.listdir(folder):
        if not (name.startswith(prefix) and name.endswith(_SUFFIX)):
            continue
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if abs(time.time() - os.fstat(descriptor).st_mtime) >= silence:
                    os.unlink(path)
            finally:
                os.close(descriptor)


class DirectorySink:
    """Artifacts written as files below a folder.

    :param dest: the folder; made with mode 0700 when it does not exist.
    :param mode: mode of each artifact.
    """

    def __init__(self, dest: str, mode: int = 0o600) -> None:
        self.dest = dest
        self.mode = mode
        make_private_directories(dest)

    @contextlib.contextmanager
    def artifact(self, path: str) -> t.Iterator[AtomicFile]:
        """Yield a writer with C(write), C(size) and C(sha256).

        Left normally, the artifact is durable under its name; left by an exception, nothing of it is.

        :param path: relative, as in C(postgresql/authentik.dump).
        """
        target = os.path.join(self.dest, check_artifact_path(path))
        make_private_directories(os.path.dirname(target))
        with AtomicFile(target, self.mode) as out:
            yield out

    def close(self) -> None:
        """End the use of the sink."""


class ArtifactReader:
    """Counts and hashes what is read of an artifact, and compares it with its record at the end.

    :param label: names the artifact in errors.
    :param expected: size in bytes and hexadecimal SHA-256.
    """

    def __init__(self, source: Reader, label: str, expected: tuple[int, str]) -> None:
        self.label = label
        self.size = 0
        self._source = source
        self._expected = expected
        self._hash = hashlib.sha256()
        self._ended = False

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of what was read so far."""
        return self._hash.hexdigest()

    def read(self, size: int) -> bytes:
        """Return exactly size bytes, fewer only before the end, none at the end.

        :raises IntegrityError: at the end, when size or checksum differ from the record.
        """
        parts = []
        wanted = size
        while wanted > 0 and not self._ended:
            try:
                data = self._source.read(wanted)
            except OSError as exc:
                raise as_error("read", self.label, exc) from exc
            if not data:
                self._ended = True
                self._compare()
            self._hash.update(data)
            self.size += len(data)
            if self.size > self._expected[0]:
                self._compare()
            wanted -= len(data)
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def drain(self) -> None:
        """Read what is left, so that all of the artifact has been checked."""
        while self.read(BLOCK):
            pass

    def _compare(self) -> None:
        size, sha256 = self._expected
        hint = "The artifact was truncated or altered after it was saved: use another backup set"
        if self.size != size:
            raise IntegrityError(
                "%s holds %s%d bytes; %d were recorded"
                % (self.label, "at least " if self.size > size else "", self.size, size),
                hint,
            )
        if self.sha256 != sha256:
            raise IntegrityError("%s has SHA-256 %s; %s was recorded" % (self.label, self.sha256, sha256), hint)


@contextlib.contextmanager
def naming(path: str) -> t.Iterator[None]:
    """Have what turns out to be wrong with an artifact name it, whichever program or parser found it."""
    try:
        yield
    except IntegrityError as exc:
        if path not in exc.cause:
            exc.cause = "%s: %s" % (path, exc.cause)
        raise


class Artifacts:
    """The records of the artifacts that a source can deliver."""

    def __init__(self, records: t.Iterable[dict[str, t.Any]]) -> None:
        self._records = {record["path"]: record for record in records}

    def has(self, path: str) -> bool:
        """Tell whether the set holds the artifact."""
        return path in self._records

    def expected(self, path: str, plain: bool) -> tuple[int, str]:
        """Return size and SHA-256: as stored, or plain as it left the host.

        :raises InputError: when the set has no such artifact.
        """
        record = self._records.get(path)
        if record is None:
            known = ", ".join(sorted(self._records))
            raise InputError("The backup set holds no artifact %s" % path, "It holds: %s" % known)
        if plain and "plain_size" in record:
            return record["plain_size"], record["plain_sha256"]
        return record["size"], record["sha256"]


class DirectorySource(Artifacts):
    """Artifacts read from files below a folder.

    :param src: the folder of a backup set.
    :param artifacts: their records, with C(path), C(size) and C(sha256).
    """

    def __init__(self, src: str, artifacts: t.Iterable[dict[str, t.Any]]) -> None:
        super().__init__(artifacts)
        self.src = src

    @contextlib.contextmanager
    def artifact(self, path: str) -> t.Iterator[ArtifactReader]:
        """Yield a reader; at its end, or when it is left normally, all of the artifact has been compared.

        :raises IntegrityError: naming the path, what was expected and what was found.
        """
        expected = self.expected(check_artifact_path(path), plain=False)
        full = os.path.join(self.src, path)
        try:
            # Neither a link nor a pipe is an artifact, and opening a pipe would wait for ever.
            source = os.fdopen(os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb", buffering=0)
        except FileNotFoundError:
            raise IntegrityError("The artifact %s is missing" % full, "The set is damaged: use another one") from None
        except OSError as exc:
            raise as_error("read", full, exc) from exc
        with source:
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                raise IntegrityError("%s is not a regular file" % full, "The set is damaged: use another one")
            reader = ArtifactReader(source, full, expected)
            with naming(path):
                yield reader
                reader.drain()

    def close(self) -> None:
        """End the use of the source."""
