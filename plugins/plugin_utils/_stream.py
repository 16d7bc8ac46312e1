# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Artifacts between host and store while the module still works: pulled, pushed, counted and hashed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import re
import socket
import tempfile
import time
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import (
    BLOCK,
    ArtifactReader,
    DirectorySink,
    DirectorySource,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._spool import (
    Feed,
    chunk_name,
    feed_name,
    parse_feed,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._job import AsyncJob
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._partial import process_start
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._progress import Progress
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._remote_spool import Look, RemoteSpool, SpoolGone

_SHORTEST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
# A silent spool may mean a long computation or a killed module: asking costs about half a second.
_ASK_AFTER_SECONDS = 15.0
# A module that refuses its options never touches the spool.
_ASK_AT_START_SECONDS = 1.5
_TEMPORARY = "authentik_recovery-"


class Pump(t.Protocol):
    """One direction of a transfer."""

    def finished_files(self) -> list[str]:
        """Return names in the spool that are done with."""

    def step(self, look: Look) -> bool:
        """Move what can be moved; tell whether anything was."""


def drive(remote: RemoteSpool, job: AsyncJob, pump: Pump, beat: t.Callable[[], None]) -> dict[str, t.Any]:
    """Move artifacts until the module has ended, and return its result.

    :param beat: called at every look, to keep the unfinished set alive.
    :raises RecoveryError: when either end finds bytes altered, the store full, the host gone.
    """
    pause, asked = _SHORTEST_PAUSE, time.monotonic()
    while True:
        beat()
        try:
            look = remote.look(pump.finished_files())
        except SpoolGone:
            # A module clears the spool only when it fails: its own result says more.
            result = job.wait(30)
            if result is not None and result.get("failed"):
                return result
            raise
        if pump.step(look):
            pause, asked = _SHORTEST_PAUSE, time.monotonic()
            continue
        if look.state is not None and look.state["done"]:
            break
        patience = _ASK_AT_START_SECONDS if look.state is None else _ASK_AFTER_SECONDS
        if time.monotonic() - asked > patience:
            asked = time.monotonic()
            if job.result() is not None and not pump.step(remote.look(pump.finished_files())):
                break
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    while True:
        # Between "nothing more to stream" and its end a module may still work for long.
        result = job.wait(_ASK_AFTER_SECONDS)
        if result is not None:
            return result
        beat()
        with contextlib.suppress(SpoolGone):
            remote.look()


@contextlib.contextmanager
def temporary_folder(parent: str) -> t.Iterator[str]:
    """Yield a private folder for two chunks; clears those of killed runs of this machine."""
    prefix = "%s%s-" % (_TEMPORARY, re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:60])
    for name in os.listdir(parent):
        match = re.fullmatch(re.escape(prefix) + r"([0-9]+)-\w+", name)
        if match is not None and not process_start(int(match.group(1))):
            folder = os.path.join(parent, name)
            with contextlib.suppress(OSError):
                for chunk in os.listdir(folder):
                    os.unlink(os.path.join(folder, chunk))
                os.rmdir(folder)
    with tempfile.TemporaryDirectory(prefix="%s%d-" % (prefix, os.getpid()), dir=parent) as folder:
        yield folder


class Received(t.NamedTuple):
    """An artifact as it was stored."""

    path: str
    size: int
    sha256: str
    seconds: float


class Receiver:
    """Pulls chunks and appends them to the artifacts of an unfinished set.

    While one chunk travels, the one before is hashed and written.

    :param estimates: expected sizes in bytes by path, from an earlier set.
    """

    def __init__(
        self, remote: RemoteSpool, sink: DirectorySink, folder: str, window: int, progress: Progress,
        estimates: dict[str, int],
    ) -> None:
        self.received: dict[str, Received] = {}
        self._remote, self._sink, self._folder = remote, sink, folder
        self._batch = max(1, window // 2)
        self._progress, self._estimates = progress, estimates
        self._pool = concurrent.futures.ThreadPoolExecutor(1)
        self._pending: tuple[concurrent.futures.Future[None], int] | None = None
        self._acknowledged: list[str] = []
        self._last = 0
        self._artifact = 0
        self._out: t.Any = None
        self._stack = contextlib.ExitStack()

    def finished_files(self) -> list[str]:
        """Return chunks that were stored since the last call."""
        if self._pending is not None and self._pending[0].done():
            self._settle()
        names, self._acknowledged = self._acknowledged, []
        return names

    def step(self, look: Look) -> bool:
        """Pull some of the new chunks, and close artifacts that are complete."""
        state = look.state or {}
        artifacts = state.get("artifacts", [])
        chunks = [chunk for chunk in state.get("chunks", []) if chunk["number"] > self._last]
        for chunk in chunks[: self._batch]:
            while self._artifact < chunk["artifact"]:
                self._end(artifacts[self._artifact])
            if artifacts[self._artifact]["state"] == "discarded":
                self._acknowledged.append(chunk_name(chunk["number"]))
            else:
                self._pull(chunk, artifacts[self._artifact])
            self._last = chunk["number"]
        if chunks:
            return True
        moved = self._pending is not None
        self._settle()
        while self._artifact < len(artifacts) and artifacts[self._artifact]["state"] != "open":
            self._end(artifacts[self._artifact])
            moved = True
        return moved

    def close(self) -> None:
        """Stop; an artifact that is not complete leaves nothing."""
        self._pool.shutdown(wait=True)
        self._discard()

    def _pull(self, chunk: dict[str, t.Any], artifact: dict[str, t.Any]) -> None:
        if self._out is None:
            self._open(artifact["path"])
        local = os.path.join(self._folder, "chunk-%d" % (chunk["number"] % 2))
        began = time.monotonic()
        self._remote.fetch(chunk_name(chunk["number"]), local)
        self._remote.moved(time.monotonic() - began)
        self._progress.add(chunk["size"])
        self._settle()
        self._pending = (self._pool.submit(_append, self._out, local, chunk, artifact["path"]), chunk["number"])

    def _settle(self) -> None:
        if self._pending is not None:
            future, number = self._pending
            self._pending = None
            future.result()
            self._acknowledged.append(chunk_name(number))

    def _open(self, path: str) -> None:
        self._out = self._stack.enter_context(self._sink.artifact(path))
        self._progress.begin(path, self._estimates.get(path), estimated=True)

    def _end(self, artifact: dict[str, t.Any]) -> None:
        self._settle()
        self._artifact += 1
        if artifact["state"] == "discarded":
            self._discard()
            return
        if self._out is None:
            self._open(artifact["path"])
        if (self._out.size, self._out.sha256) != (artifact["size"], artifact["sha256"]):
            raise IntegrityError("%s arrived with %d bytes and SHA-256 %s; the host sent %d and %s" % (
                artifact["path"], self._out.size, self._out.sha256, artifact["size"], artifact["sha256"]))
        out, self._out = self._out, None
        self._stack.close()
        path = artifact["path"]
        self.received[path] = Received(path, out.size, out.sha256, self._progress.seconds)

    def _discard(self) -> None:
        self._out = None
        with contextlib.suppress(_Discarded), self._stack:
            raise _Discarded


class _Discarded(Exception):
    pass


def _append(out: t.Any, local: str, chunk: dict[str, t.Any], path: str) -> None:
    """Append a chunk to an artifact and prove it: its digest is that of the artifact up to its end."""
    before = out.size
    with open(local, "rb", buffering=0) as source:
        while True:
            data = source.read(BLOCK)
            if not data:
                break
            out.write(data)
    if out.size - before != chunk["size"] or out.sha256 != chunk["digest"]:
        raise IntegrityError(
            "Chunk %d of %s did not arrive as it was sent: %d of %d bytes, SHA-256 up to its end %s instead of %s"
            % (chunk["number"], path, out.size - before, chunk["size"], out.sha256, chunk["digest"]),
            "The connection, or a disk at either end, altered it: run the backup again",
        )


class Sender:
    """Pushes the artifacts that a module asks for, from the store to the spool.

    While one chunk travels, the next is read and hashed.

    :param chunk_size: bytes of one chunk.
    :param window: how many chunks may lie in the spool.
    """

    def __init__(
        self, remote: RemoteSpool, source: DirectorySource, folder: str, chunk_size: int, window: int,
        progress: Progress,
    ) -> None:
        self._remote, self._source, self._folder = remote, source, folder
        self._chunk_size, self._window, self._progress = chunk_size, window, progress
        self._pool = concurrent.futures.ThreadPoolExecutor(1)
        self._prepared: concurrent.futures.Future[Feed] | None = None
        self._request = self._number = 0
        self._reader: ArtifactReader | None = None
        self._total = 0
        self._stack = contextlib.ExitStack()
        self._stale: list[str] = []

    def finished_files(self) -> list[str]:
        """Return fed chunks of requests that the module has given up."""
        names, self._stale = self._stale, []
        return names

    def step(self, look: Look) -> bool:
        """Push the next chunk of the artifact that the module wants, when the window has room."""
        want = (look.state or {}).get("want") or {"request": 0, "path": ""}
        feeds = [feed for feed in map(parse_feed, look.names) if feed is not None]
        self._stale = [feed_name(feed) for feed in feeds if feed.request != want["request"]]
        if want["request"] and want["request"] != self._request:
            self._begin(want)
        elif not want["request"]:
            self._stop()
        if self._prepared is None or len(feeds) >= self._window:
            return False
        feed = self._prepared.result()
        began = time.monotonic()
        local = self._local(feed.number)
        # The next chunk is read while this one travels.
        self._prepared = None if feed.last else self._prepare()
        self._remote.push(local, feed_name(feed))
        self._remote.moved(time.monotonic() - began)
        self._progress.add(feed.size)
        return True

    def close(self) -> None:
        """Stop reading."""
        self._stop()
        self._pool.shutdown(wait=True)

    def _begin(self, want: dict[str, t.Any]) -> None:
        self._stop()
        self._request, self._number = want["request"], 0
        self._total = self._source.expected(want["path"], plain=False)[0]
        self._reader = self._stack.enter_context(self._source.artifact(want["path"]))
        self._progress.begin(want["path"], self._total, estimated=False)
        self._prepared = self._prepare()

    def _stop(self) -> None:
        if self._prepared is not None:
            concurrent.futures.wait([self._prepared])
        self._prepared = self._reader = None
        with contextlib.suppress(_Discarded), self._stack:
            raise _Discarded

    def _prepare(self) -> concurrent.futures.Future[Feed]:
        self._number += 1
        return self._pool.submit(self._read_chunk, self._number)

    def _read_chunk(self, number: int) -> Feed:
        """Copy the next chunk of the artifact to its local file; at the artifact's end compare all of it."""
        reader = self._reader
        if reader is None:
            raise IntegrityError("No artifact is open")
        before = reader.size
        with open(self._local(number), "wb", buffering=0) as out:
            while reader.size - before < self._chunk_size:
                data = reader.read(min(BLOCK, self._chunk_size - (reader.size - before)))
                if not data:
                    break
                out.write(data)
        last = reader.size >= self._total
        digest = reader.sha256
        if last:
            reader.drain()
        return Feed(self._request, number, reader.size - before, digest, last)

    def _local(self, number: int) -> str:
        return os.path.join(self._folder, "chunk-%d" % (number % 2))
