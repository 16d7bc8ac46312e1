# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A producer's side of the spool: an artifact becomes chunks, which the controller pulls."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import as_error
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import check_artifact_path
from ansible_collections.authentik_ops.recovery.plugins.module_utils._spool import Spool, chunk_name
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_bytes

_CHUNK = re.compile(r"[0-9]{6,}")


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


class SpoolSink(Spool):
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
