# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Carry an archive from ``pg_dump`` to its artifact, through a compressor where there is one, and prove it whole.

The archive is looked at as ``pg_dump`` writes it: a compressor ends a stream properly that was cut before it.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, ToolError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._stream_end import (
    CustomArchive,
    ZstdFrames,
)

if TYPE_CHECKING:
    from types import TracebackType
    from typing import IO, Any, Callable, Iterator, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._stream_end import EndCheck

_BLOCK = 1024 * 1024


def stream(
    command: _process.Command, filter_argv: Sequence[str], out: Any, has_data: bool, watch: Callable[[], None]
) -> None:
    """Write what ``pg_dump`` gives to an artifact.

    :param filter_argv: the compressor outside, empty for none.
    :param has_data: the archive holds the data of at least one table.
    :param watch: called now and then; what it raises ends the dump.
    :raises ToolError: when a program failed.
    :raises IntegrityError: when none failed and the output is not whole all the same.
    """
    archive = CustomArchive(has_data)
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(_Compressor(filter_argv, out)) if filter_argv else out
        with _process.Pipeline([command]) as pipeline:
            for piece in _pieces(pipeline.stdout):
                watch()
                archive.feed(piece)
                sink.write(piece)
            _finish(pipeline)
        _check(archive, command.argv)
        if filter_argv:
            sink.finish()


def _finish(pipeline: _process.Pipeline) -> None:
    try:
        pipeline.finish()
    except ToolError as exc:
        raise ToolError(exc.cause, hint=_dump_hint(exc.cause)) from exc


def _check(check: EndCheck, argv: Sequence[str]) -> None:
    problem = check.problem()
    if problem is not None:
        raise IntegrityError(
            "%s ended without an error, but its output is not whole: %s" % (_process.show(argv), problem),
            hint="nothing was kept; look for what stands between the program and the server, and try again",
        )


def _pieces(source: IO[bytes]) -> Iterator[bytes]:
    while True:
        piece: bytes = source.read1(_BLOCK)  # type: ignore[attr-defined]
        if not piece:
            return
        yield piece


class _Compressor:
    """A program between a writer and an artifact; a thread carries what it gives."""

    def __init__(self, argv: Sequence[str], out: Any) -> None:
        self._argv = argv
        self._out = out
        self._pipeline = _process.Pipeline([_process.Command(argv)], stdin=True)
        self._frames = ZstdFrames()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def _carry(self) -> None:
        try:
            for piece in _pieces(self._pipeline.stdout):
                self._frames.feed(piece)
                self._out.write(piece)
        except BaseException as exc:  # noqa: BLE001  raised again where the writer sees it
            self._error = exc
            self._pipeline.kill()  # else the writer would wait for it for ever

    def write(self, data: bytes) -> None:
        """Compress the next piece.

        :raises RecoveryError: what the artifact's writer raised, or how the program failed.
        """
        try:
            self._pipeline.stdin.write(data)
        except BrokenPipeError:
            self._raise()
            raise

    def finish(self) -> None:
        """End the stream and wait until all of it is in the artifact."""
        try:
            self._pipeline.stdin.close()
        except BrokenPipeError:
            self._raise()
            raise
        self._raise()
        self._pipeline.finish()
        _check(self._frames, self._argv)

    def _raise(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> _Compressor:
        self._pipeline.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if exc_type is not None and not isinstance(exc, BrokenPipeError):
            self._pipeline.kill()
        self._thread.join()
        self._pipeline.__exit__(exc_type, exc, trace)


def _dump_hint(cause: str) -> str:
    hints = (
        ("lock timeout", "another session holds or awaits a lock on a table: see pg_stat_activity, and try again"),
        ("server version mismatch", "name the folder of newer programs with postgresql_bin_dir"),
        ("out of shared memory", "raise max_locks_per_transaction on the server: a dump locks every table"),
        (
            "exit status 137",
            "the container was stopped, or its memory used up: see its log, and try again",
        ),
        ("permission denied", "log in as the owner of the database, or as a superuser"),
    )
    return next((hint for fragment, hint in hints if fragment in cause), "")
