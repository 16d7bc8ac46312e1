# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A consumer's side of the spool: it asks for an artifact, and the controller feeds it chunk by chunk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import ArtifactReader, Artifacts, naming
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import check_artifact_path
from ansible_collections.authentik_ops.recovery.plugins.module_utils._spool import (
    Feed,
    Spool,
    feed_name,
    parse_feed,
)


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


class SpoolSource(Spool, Artifacts):
    """Artifacts which the controller feeds when they are asked for, in any order, some again.

    :param path: the spool's folder, made by the controller.
    :param artifacts: the manifest's records of the artifacts.
    """

    def __init__(self, path: str, artifacts: t.Iterable[dict[str, t.Any]]) -> None:
        Artifacts.__init__(self, artifacts)
        self._request = 0
        Spool.__init__(self, path, 0, 0, "consumer")

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
            with naming(path):
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
