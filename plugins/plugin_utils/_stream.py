# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Artifacts between host and store while the module still works: pulled, pushed, counted and hashed."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import os
import re
import socket
import tempfile
import time
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import BLOCK
from ansible_collections.authentik_ops.recovery.plugins.module_utils._spool import (
    chunk_name,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._encrypted import StoredArtifact, StoreSink
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._job import AsyncJob
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._liveness import playbook_pid, process_start
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
    run = playbook_pid()
    while True:
        _check_run(run)
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
        _check_run(run)
        if result is not None:
            return result
        beat()
        with contextlib.suppress(SpoolGone):
            remote.look()


def _check_run(pid: int) -> None:
    """Refuse to go on when the playbook run was killed: its workers outlive it, and the next run clears up."""
    if playbook_pid() != pid:
        raise StateError("The playbook run %d was killed" % pid, "Run it again: it clears what was left")


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
    """An artifact as it came from the host, and what the manifest says of the file that it became."""

    path: str
    size: int
    sha256: str
    seconds: float
    entry: dict[str, t.Any]


class _Moving(t.NamedTuple):
    """A chunk on its way: fetched by one future, and stored by the next."""

    chunk: dict[str, t.Any]
    local: str
    fetched: concurrent.futures.Future[float]


class Receiver:
    """Pulls chunks and appends them to the artifacts of an unfinished set.

    While some chunks travel, the one before is hashed and written, and the spool is looked at.

    :param folder: private local folder for the chunks on their way.
    :param estimates: expected sizes in bytes by path, from an earlier set.
    """

    def __init__(
        self, remote: RemoteSpool, sink: StoreSink, folder: str, progress: Progress, estimates: dict[str, int]
    ) -> None:
        self.received: dict[str, Received] = {}
        self._remote, self._sink, self._folder = remote, sink, folder
        self._progress, self._estimates = progress, estimates
        self._lanes = [concurrent.futures.ThreadPoolExecutor(1) for _lane in remote.lanes]
        self._writer = concurrent.futures.ThreadPoolExecutor(1)
        self._moving: collections.deque[_Moving] = collections.deque()
        self._writing: tuple[concurrent.futures.Future[None], int] | None = None
        self._acknowledged: list[str] = []
        self._last = 0
        self._artifact = 0
        self._out: t.Any = None
        self._stack = contextlib.ExitStack()

    def finished_files(self) -> list[str]:
        """Return chunks that were stored since the last call."""
        if self._writing is not None and self._writing[0].done():
            self._settle()
        names, self._acknowledged = self._acknowledged, []
        return names

    def step(self, look: Look) -> bool:
        """Start to pull new chunks, store those that came, and close artifacts that are complete."""
        artifacts = (look.state or {}).get("artifacts", [])
        moved = False
        for chunk in (look.state or {}).get("chunks", []):
            if chunk["number"] <= self._last:
                continue
            if self._artifact < chunk["artifact"] or artifacts[self._artifact]["state"] == "discarded":
                # All of the artifact's chunks are known by now.
                break
            if len(self._moving) > len(self._lanes):
                break
            self._pull(chunk, artifacts[chunk["artifact"]])
            moved = True
        if self._moving:
            self._store(self._moving.popleft())
            return True
        moved = moved or self._writing is not None
        self._settle()
        return self._end_artifacts(look, artifacts) or moved

    def close(self) -> None:
        """Stop; an artifact that is not complete leaves nothing."""
        for pool in (*self._lanes, self._writer):
            pool.shutdown(wait=True, cancel_futures=True)
        self._discard()

    def _pull(self, chunk: dict[str, t.Any], artifact: dict[str, t.Any]) -> None:
        if self._out is None:
            self._open(artifact["path"])
        number = self._last = chunk["number"]
        # One more than can be under way: on the lanes, waiting to be written, and being written.
        local = os.path.join(self._folder, "chunk-%d" % (number % (len(self._lanes) + 3)))
        if self._lanes:
            lane = number % len(self._lanes)
            fetched = self._lanes[lane].submit(self._remote.fetch, chunk_name(number), local, self._remote.lanes[lane])
        else:
            fetched = concurrent.futures.Future()
            fetched.set_result(self._remote.fetch(chunk_name(number), local))
        self._moving.append(_Moving(chunk, local, fetched))

    def _store(self, moving: _Moving) -> None:
        """Wait for a chunk to arrive and hand it to the writer."""
        self._remote.moved(moving.fetched.result())
        self._progress.add(moving.chunk["size"])
        self._settle()
        path = self._out.path
        self._writing = (
            self._writer.submit(_append, self._out, moving.local, moving.chunk, path),
            moving.chunk["number"],
        )

    def _settle(self) -> None:
        """Wait until what is being written is stored; then the host may forget it."""
        if self._writing is not None:
            future, number = self._writing
            self._writing = None
            future.result()
            self._acknowledged.append(chunk_name(number))

    def _end_artifacts(self, look: Look, artifacts: list[dict[str, t.Any]]) -> bool:
        """Close the artifacts whose chunks have all been stored; tell whether there was one."""
        moved = False
        waiting = [chunk for chunk in (look.state or {}).get("chunks", []) if chunk["number"] > self._last]
        while self._artifact < len(artifacts) and artifacts[self._artifact]["state"] != "open":
            own = [chunk for chunk in waiting if chunk["artifact"] == self._artifact]
            if artifacts[self._artifact]["state"] == "discarded":
                self._acknowledged += [chunk_name(chunk["number"]) for chunk in own]
                self._last = max([self._last] + [chunk["number"] for chunk in own])
            elif own:
                break
            self._end(artifacts[self._artifact])
            moved = True
        return moved

    def _open(self, path: str) -> None:
        self._out = self._stack.enter_context(self._sink.artifact(path))
        self._progress.begin(path, self._estimates.get(path), estimated=True)

    def _end(self, artifact: dict[str, t.Any]) -> None:
        self._artifact += 1
        if artifact["state"] == "discarded":
            self._discard()
            return
        if self._out is None:
            self._open(artifact["path"])
        if (self._out.size, self._out.sha256) != (artifact["size"], artifact["sha256"]):
            raise IntegrityError(
                "%s arrived with %d bytes and SHA-256 %s; the host sent %d and %s"
                % (artifact["path"], self._out.size, self._out.sha256, artifact["size"], artifact["sha256"])
            )
        out, self._out = self._out, None
        self._stack.close()
        path = artifact["path"]
        self.received[path] = Received(path, out.size, out.sha256, self._progress.seconds, out.entry())

    def _discard(self) -> None:
        self._out = None
        with contextlib.suppress(Discarded), self._stack:
            raise Discarded


class Discarded(Exception):
    """Leaves an artifact's context without keeping what was written."""


def _append(out: StoredArtifact, local: str, chunk: dict[str, t.Any], path: str) -> None:
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
