# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The module's side of the spool, a small bounded folder through which artifacts pass.

The controller makes the folder as the connecting user (mode 0700) and drives it:

* C(lease) holds a number of seconds. The controller rewrites it again and again; a module that
  sees no change for that long knows that the controller is gone, and clears the spool.
* C(abort) appears when the controller gives up.
* C(state.json) belongs to the module and is replaced atomically.

A producer writes chunks C(000001), C(000002)... and lists them in its state; the controller
deletes those it has stored. A consumer names in its state the artifact it wants under a request
number; the controller feeds files whose name says which request and chunk they are, their size,
digest and whether they are the last; the module deletes those it has read.

The digest of a chunk is the SHA-256 of the artifact up to the chunk's end: one pass over the bytes
proves each chunk and the whole.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import ArtifactReader, Artifacts, as_error
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import check_artifact_path
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_bytes, format_duration

STATE_NAME = "state.json"
LEASE_NAME = "lease"
ABORT_NAME = "abort"

_CHUNK = re.compile(r"[0-9]{6,}")
_FEED = re.compile(r"feed-([0-9]+)-([0-9]+)-([0-9]+)-([0-9a-f]{64})-(more|last)")
_FIRST_LEASE = 300.0
_POLL_SECONDS = 0.05


class Feed(t.NamedTuple):
    """What the name of a fed chunk says."""

    request: int
    number: int
    size: int
    digest: str
    last: bool


def chunk_name(number: int) -> str:
    """Return the file name of a produced chunk."""
    return "%06d" % number


def feed_name(feed: Feed) -> str:
    """Return the file name of a chunk for a consumer."""
    return "feed-%d-%d-%d-%s-%s" % (feed.request, feed.number, feed.size, feed.digest, "last" if feed.last else "more")


def parse_feed(name: str) -> t.Optional[Feed]:
    """Return what the name says, or None for another file."""
    match = _FEED.fullmatch(name)
    if match is None:
        return None
    return Feed(int(match.group(1)), int(match.group(2)), int(match.group(3)), match.group(4), match.group(5) == "last")


class _Spool:
    """What both directions share: the folder, the state file, the lease."""

    def __init__(self, path: str, chunk_size: int, window: int, role: str) -> None:
        self.path = path
        self._chunk_size = chunk_size
        self._window = window
        self._state: dict[str, t.Any] = {"role": role, "done": False}
        self._lease_seen: tuple[int, bytes] = (0, b"")
        self._lease_seconds = _FIRST_LEASE
        self._lease_since = time.monotonic()
        try:
            self._owner = os.stat(path)
            self._save()
        except OSError as exc:
            raise as_error(
                "use the spool",
                path,
                exc,
                "The spool belongs to the user that Ansible connects as: let the task become root, or no other user",
            ) from exc
        # The controller learns that nothing more will come, however the module ends.
        atexit.register(self.close)

    def close(self) -> None:
        """Tell the controller that nothing more will be produced or wanted."""
        atexit.unregister(self.close)
        if not self._state["done"] and os.path.isdir(self.path):
            self._state["done"] = True
            self._save()

    def _save(self) -> None:
        with self._create("state.part") as out:
            out.write(json.dumps(self._state).encode("ascii"))
        os.rename(os.path.join(self.path, "state.part"), os.path.join(self.path, STATE_NAME))

    @contextlib.contextmanager
    def _create(self, name: str) -> t.Iterator[t.Any]:
        """Yield a new file that only the owner of the spool can read."""
        path = os.path.join(self.path, name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb", buffering=0) as out:
            if os.geteuid() != self._owner.st_uid:
                os.fchown(descriptor, self._owner.st_uid, self._owner.st_gid)
            yield out

    def _check_controller(self) -> None:
        """Raise when the controller gave up or is gone.

        :raises StateError: after the spool was cleared where the controller is gone.
        """
        if os.path.lexists(os.path.join(self.path, ABORT_NAME)):
            raise StateError("The controller stopped the transfer", "Its own error message says why")
        try:
            path = os.path.join(self.path, LEASE_NAME)
            with open(path, "rb") as lease:
                seen = (os.fstat(lease.fileno()).st_mtime_ns, lease.read(32))
        except FileNotFoundError:
            seen = self._lease_seen
        if not os.path.isdir(self.path):
            raise self._gone()
        now = time.monotonic()
        if seen != self._lease_seen:
            self._lease_seen, self._lease_since = seen, now
            # A lease that is just being rewritten may look empty.
            self._lease_seconds = float(seen[1]) if seen[1].strip().isdigit() else self._lease_seconds
        elif now - self._lease_since > self._lease_seconds:
            shutil.rmtree(self.path, ignore_errors=True)
            raise StateError(
                "The controller was not heard of for %s" % format_duration(now - self._lease_since),
                "The playbook was interrupted or the connection broke: run it again",
            )

    def _gone(self) -> StateError:
        return StateError("The spool %s is gone" % self.path, "The run that made it has ended or was interrupted")

    def _wait(self, ready: t.Callable[[], bool]) -> None:
        pause = _POLL_SECONDS
        while not ready():
            self._check_controller()
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)


class SpoolWriter:
    """Writes one artifact into the spool; C(size) and C(sha256) describe what was written."""

    def __init__(self, spool: SpoolSink, index: int) -> None:
        self.size = 0
        self._spool = spool
        self._index = index
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of what was written so far."""
        return self._hash.hexdigest()

    def write(self, data: t.Union[bytes, memoryview]) -> int:
        """Append the data whole and return its length; waits while the window is full.

        :raises SpaceError: when the spool's file system is full.
        :raises StateError: when the controller is gone.
        """
        rest = memoryview(data)
        length = len(rest)
        while rest:
            taken = self._spool.append(rest)
            self._hash.update(rest[:taken])
            self.size += taken
            rest = rest[taken:]
            self._spool.publish_if_full(self._index, self.sha256)
        return length


class SpoolSink(_Spool):
    """Artifacts written as chunks that the controller pulls.

    :param path: the spool's folder, made by the controller.
    :param chunk_size: bytes of one chunk.
    :param window: how many chunks may lie in the spool, the growing one included.
    """

    def __init__(self, path: str, chunk_size: int, window: int) -> None:
        self._number = 0
        self._part: t.Any = None
        self._part_size = 0
        self._closing: t.Any = contextlib.ExitStack()
        super().__init__(path, chunk_size, window, "producer")
        self._state.update(chunks=[], artifacts=[])

    @contextlib.contextmanager
    def artifact(self, path: str) -> t.Iterator[SpoolWriter]:
        """Yield a writer; left by an exception, the controller forgets the artifact.

        :param path: relative, as in C(postgresql/authentik.dump).
        """
        index = len(self._state["artifacts"])
        record = {"path": check_artifact_path(path), "state": "open", "size": 0, "sha256": ""}
        self._state["artifacts"].append(record)
        out = SpoolWriter(self, index)
        try:
            yield out
            self._publish(index, out.sha256)
        except BaseException:
            self._drop_part()
            record["state"] = "discarded"
            if os.path.isdir(self.path):
                self._save()
            raise
        record.update(state="closed", size=out.size, sha256=out.sha256)
        self._save()

    def append(self, data: memoryview) -> int:
        """Write as much of the data as the growing chunk takes and return how much."""
        try:
            if self._part is None:
                self._wait(self._has_room)
                self._part = self._closing.enter_context(self._create(self._part_name()))
                self._part_size = 0
            taken = self._part.write(data[: self._chunk_size - self._part_size])
        except OSError as exc:
            raise as_error(
                "write into the spool",
                self.path,
                exc,
                "It needs %s there (chunk_size times window): free space, or set spool_dir, chunk_size or window"
                % format_bytes(self._chunk_size * self._window),
            ) from exc
        self._part_size += taken
        return taken

    def publish_if_full(self, index: int, digest: str) -> None:
        """Hand the growing chunk to the controller when it has reached its size."""
        if self._part_size >= self._chunk_size:
            self._publish(index, digest)

    def close(self) -> None:
        """Tell the controller that nothing more will be produced."""
        self._drop_part()
        super().close()

    def _part_name(self) -> str:
        return chunk_name(self._number + 1) + ".part"

    def _publish(self, index: int, digest: str) -> None:
        if self._part is None:
            return
        self._end_part()
        self._number += 1
        os.rename(
            os.path.join(self.path, chunk_name(self._number) + ".part"),
            os.path.join(self.path, chunk_name(self._number)),
        )
        present = self._present()
        self._state["chunks"] = [chunk for chunk in self._state["chunks"] if chunk["number"] in present]
        self._state["chunks"].append(
            {"number": self._number, "artifact": index, "size": self._part_size, "digest": digest}
        )
        self._part_size = 0
        self._save()

    def _end_part(self) -> None:
        self._closing.close()
        self._part = None

    def _drop_part(self) -> None:
        if self._part is not None:
            name = self._part_name()
            self._end_part()
            self._part_size = 0
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.path, name))

    def _present(self) -> set[int]:
        try:
            return {int(name) for name in os.listdir(self.path) if _CHUNK.fullmatch(name)}
        except FileNotFoundError:
            raise self._gone() from None

    def _has_room(self) -> bool:
        return len(self._present()) < self._window


class _FeedReader:
    """The bytes of one request, chunk after chunk, each deleted when it was read and proved."""

    def __init__(self, spool: SpoolSource, request: int, label: str) -> None:
        self._spool = spool
        self._request = request
        self._label = label
        self._next = 1
        self._feed: t.Optional[Feed] = None
        self._file: t.Any = None
        self._hash = hashlib.sha256()
        self._read = 0
        self._ended = False

    def read(self, size: int, /) -> bytes:
        while not self._ended:
            if self._file is None:
                self._open_next()
            data = self._file.read(size)
            if data:
                self._hash.update(data)
                self._read += len(data)
                return data
            self._finish_chunk()
        return b""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open_next(self) -> None:
        self._feed = self._spool.await_feed(self._request, self._next)
        path = os.path.join(self._spool.path, feed_name(self._feed))
        self._file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0)
        self._read = 0

    def _finish_chunk(self) -> None:
        feed = self._feed
        if feed is None or feed.size != self._read or feed.digest != self._hash.hexdigest():
            raise IntegrityError(
                "Chunk %d of %s did not arrive as it was sent" % (self._next, self._label),
                "The connection or the spool's disk altered it: run the playbook again",
            )
        self.close()
        os.unlink(os.path.join(self._spool.path, feed_name(feed)))
        self._next += 1
        self._ended = feed.last


class SpoolSource(_Spool, Artifacts):
    """Artifacts which the controller feeds when they are asked for, in any order, some again.

    :param path: the spool's folder, made by the controller.
    :param artifacts: the manifest's records of the artifacts.
    """

    def __init__(self, path: str, artifacts: t.Iterable[dict[str, t.Any]]) -> None:
        Artifacts.__init__(self, artifacts)
        self._request = 0
        _Spool.__init__(self, path, 0, 0, "consumer")

    @contextlib.contextmanager
    def artifact(self, path: str) -> t.Iterator[ArtifactReader]:
        """Yield a reader; at its end, or when it is left normally, all of the artifact has been compared.

        :raises IntegrityError: naming the path, what was expected and what was found.
        """
        expected = self.expected(check_artifact_path(path), plain=True)
        self._request += 1
        feed = _FeedReader(self, self._request, path)
        self._want({"request": self._request, "path": path})
        try:
            reader = ArtifactReader(feed, path, expected)
            yield reader
            reader.drain()
        finally:
            feed.close()
            if os.path.isdir(self.path):
                self._want(None)

    def await_feed(self, request: int, number: int) -> Feed:
        """Return the chunk's record once the controller has fed it."""
        found: list[Feed] = []

        def arrived() -> bool:
            for feed in self._fed():
                if (feed.request, feed.number) == (request, number):
                    found.append(feed)
            return bool(found)

        self._wait(arrived)
        return found[0]

    def _fed(self) -> list[Feed]:
        try:
            feeds = [parse_feed(name) for name in os.listdir(self.path)]
        except FileNotFoundError:
            raise self._gone() from None
        return [feed for feed in feeds if feed is not None]

    def _want(self, want: t.Optional[dict[str, t.Any]]) -> None:
        self._state["want"] = want
        self._save()
