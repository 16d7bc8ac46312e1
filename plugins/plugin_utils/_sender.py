# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Artifacts from the store to the host: the module asks, the controller pushes."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import os
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import (
    BLOCK,
    ArtifactReader,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._spool import Feed, feed_name, parse_feed
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder import Source
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._progress import Progress
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._remote_spool import PART, Look, RemoteSpool
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._stream import Discarded


class Sender:
    """Pushes the artifacts that a module asks for, from the store to the spool.

    While some chunks travel, the next is read and hashed.

    :param folder: private local folder for the chunks on their way.
    :param chunk_size: bytes of one chunk.
    :param window: how many chunks may lie in the spool.
    """

    def __init__(
        self,
        remote: RemoteSpool,
        source: Source,
        folder: str,
        chunk_size: int,
        window: int,
        progress: Progress,
    ) -> None:
        self._remote, self._source, self._folder = remote, source, folder
        self._chunk_size, self._window, self._progress = chunk_size, window, progress
        self._lanes = [concurrent.futures.ThreadPoolExecutor(1) for _lane in remote.lanes]
        self._preparer = concurrent.futures.ThreadPoolExecutor(1)
        self._prepared: concurrent.futures.Future[Feed] | None = None
        self._moving: collections.deque[tuple[Feed, concurrent.futures.Future[float]]] = collections.deque()
        self._request = self._number = 0
        self._reader: ArtifactReader | None = None
        self._total = 0
        self._stack = contextlib.ExitStack()
        self._stale: list[str] = []
        # Pushed in vain: they take room until the next look removes them.
        self._abandoned: list[str] = []

    def finished_files(self) -> list[str]:
        """Return fed chunks of requests that the module has given up."""
        names, self._stale = self._stale + [name + PART for name in self._abandoned], []
        self._abandoned = []
        return names

    def step(self, look: Look) -> bool:
        """Push the next chunks of the artifact that the module wants, as far as the window has room."""
        want = (look.state or {}).get("want") or {"request": 0, "path": ""}
        if want["request"] and want["request"] != self._request:
            self._begin(want)
        elif not want["request"]:
            self._stop()
        feeds = [feed for feed in map(parse_feed, (name.replace(PART, "") for name in look.names)) if feed is not None]
        self._stale = [
            name + ending
            for name in (feed_name(feed) for feed in feeds if feed.request != want["request"])
            for ending in ("", PART)
        ]
        present = {feed_name(feed) for feed in feeds}.union(self._abandoned)
        while (
            self._prepared is not None
            and len(self._moving) <= len(self._lanes)
            and len(present.union(feed_name(feed) for feed, _pushed in self._moving)) < self._window
        ):
            feed = self._prepared.result()
            # The next chunk is read while this one travels.
            self._prepared = None if feed.last else self._prepare()
            self._push(feed)
        if not self._moving:
            return False
        feed, pushed = self._moving.popleft()
        self._remote.moved(pushed.result())
        self._remote.rename(feed_name(feed))
        self._progress.add(feed.size)
        return True

    def close(self) -> None:
        """Stop reading and pushing."""
        self._stop()
        for pool in (*self._lanes, self._preparer):
            pool.shutdown(wait=True, cancel_futures=True)

    def _push(self, feed: Feed) -> None:
        local, name = self._local(feed.number), feed_name(feed)
        if self._lanes:
            lane = feed.number % len(self._lanes)
            pushed = self._lanes[lane].submit(self._remote.push, local, name, self._remote.lanes[lane])
        else:
            pushed = concurrent.futures.Future()
            pushed.set_result(self._remote.push(local, name))
        self._moving.append((feed, pushed))

    def _begin(self, want: dict[str, t.Any]) -> None:
        self._stop()
        self._request, self._number = want["request"], 0
        self._total = self._source.expected(want["path"], plain=False)[0]
        self._reader = self._stack.enter_context(self._source.artifact(want["path"]))
        self._progress.begin(want["path"], self._total, estimated=False)
        self._prepared = self._prepare()

    def _stop(self) -> None:
        concurrent.futures.wait([future for _feed, future in self._moving])
        if self._prepared is not None:
            concurrent.futures.wait([self._prepared])
        self._abandoned += [feed_name(feed) for feed, _pushed in self._moving]
        self._moving.clear()
        self._prepared = self._reader = None
        with contextlib.suppress(Discarded), self._stack:
            raise Discarded

    def _prepare(self) -> concurrent.futures.Future[Feed]:
        self._number += 1
        return self._preparer.submit(self._read_chunk, self._number)

    def _read_chunk(self, number: int) -> Feed:
        """Copy the next chunk of the artifact to its local file; at the artifact's end compare all of it."""
        reader = self._reader
        if reader is None:
            raise StateError("No artifact is open to be read")
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
        # One being read, one more than there are lanes on the way.
        return os.path.join(self._folder, "chunk-%d" % (number % (len(self._lanes) + 3)))
