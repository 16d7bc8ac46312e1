# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Rows of a few tables out of an archive, by a second ``pg_restore`` that gets the same bytes as the first.

It passes over what it is not asked for without decoding it, so all of it costs hardly more than the full decode alone.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _process

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Callable, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import Connection

_PIECE = 256 * 1024


class Rows:
    """A wish for rows: of the entries whose ``lines`` of the table of contents are given.

    :param take: gets the SQL text piece by piece, in a thread of its own.
    :ivar problem: why not everything came, "" when it did.
    """

    def __init__(self, lines: Sequence[str], take: Callable[[bytes], None]) -> None:
        self.lines = lines
        self.take = take
        self.problem = ""


class Beside:
    """The second ``pg_restore``, as a context manager; nothing that happens to it ends the first one.

    :param before: the programs that decompress the archive.
    """

    def __init__(self, before: Sequence[_process.Command], pg_restore: str, connection: Connection, rows: Rows) -> None:
        self._commands = list(before)
        self._pg_restore = pg_restore
        self._connection = connection
        self._rows = rows
        self._reads = True
        self._stack = contextlib.ExitStack()
        self._pipeline: _process.Pipeline
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Beside:
        with self._stack:
            name, descriptors = self._stack.enter_context(self._connection.list_file(self._rows.lines))
            argv = [self._pg_restore, "-L", name, "-f", "-"]
            command = self._connection.command(argv, login=False, pass_fds=descriptors)
            self._pipeline = self._stack.enter_context(_process.Pipeline([*self._commands, command], stdin=True))
            self._thread.start()
            self._stack = self._stack.pop_all()
        return self

    def feed(self, data: bytes) -> None:
        """Pass on the next bytes of the archive."""
        if self._reads:
            try:
                self._pipeline.stdin.write(data)
            except BrokenPipeError:
                self._reads = False  # it has all it was asked for, or failed: its exit status tells

    def finish(self) -> None:
        """Wait until everything was taken; what went wrong is in ``rows.problem``."""
        with contextlib.suppress(BrokenPipeError):
            self._pipeline.stdin.close()
        self._thread.join()
        ended = self._pipeline.finish(check=False)[-1]
        if ended.status != 0 and not self._rows.problem:
            self._rows.problem = _process.describe_failure(ended.argv, ended.status, ended.stderr)

    def _read(self) -> None:
        """Read to the end in any case: a program that cannot write does not end."""
        stdout = self._pipeline.stdout
        while True:
            data = stdout.read(_PIECE)
            if not data:
                return
            if not self._rows.problem:
                try:
                    self._rows.take(data)
                except (LookupError, ValueError) as exc:
                    self._rows.problem = "its rows are not of the form that was expected: %s" % exc

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(exc_type, exc, trace)
