# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Takes a server's whole content as a replica would: an RDB over the connection, without touching its disk."""

from __future__ import annotations

import time

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ConnectError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import (
    CommandError,
    ErrorReply,
    encode,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import Client

# The server says something (a newline) at least every repl-ping-replica-period, 10 s by default.
_SILENCE_SECONDS = 60.0
_MARKER_BYTES = 40
_PIECE = 1 << 18


class ReplicaStream:
    """The RDB that a server sends to a new replica, as a source of bytes: ``read(n)``, nothing at its end.

    The connection is used up afterwards: commands of the replication may follow on it.

    :param limit: seconds to wait for the server to begin.
    """

    def __init__(self, client: Client, limit: float) -> None:
        self._client = client
        self._limit = limit
        self._left: int | None = None
        self._marker = b""
        self._held = b""
        self._ended = False
        client.set_timeout(_SILENCE_SECONDS)
        self._begin()

    def read(self, count: int) -> bytes:
        """Return at most *count* bytes of the RDB, none at its end; ConnectError when the server stops before it."""
        if self._ended:
            return b""
        return self._read_marked(count) if self._left is None else self._read_counted(count)

    def _begin(self) -> None:
        client = self._client
        # Without eof the server writes a file first. rdb-only (since 7.0) spares it to queue further commands for us.
        for option in (("capa", "eof", "capa", "psync2"), ("rdb-only", "1")):
            client.send(encode(("REPLCONF", *option)))
            reply = client.reply()
            if isinstance(reply, ErrorReply) and reply.code in ("NOPERM", "NOAUTH"):
                raise _not_allowed("REPLCONF", client, reply)
        deadline = time.monotonic() + self._limit
        client.send(encode(("PSYNC", "?", "-1")))
        line = self._next_line(deadline)
        if line.startswith(b"-"):
            raise _not_allowed("PSYNC", client, ErrorReply(line[1:].decode("utf-8", "replace")))
        if not line.startswith(b"+FULLRESYNC"):
            raise ConnectError("Redis answered PSYNC with %r instead of a full synchronisation." % line[:80])
        header = self._next_line(deadline)
        if header.startswith(b"$EOF:") and len(header) == 5 + _MARKER_BYTES:
            self._marker = header[5:]
        elif header.startswith(b"$") and header[1:].isdigit():
            self._left = int(header[1:])
        elif header.startswith(b"-"):
            raise client.refused("PSYNC", ErrorReply(header[1:].decode("utf-8", "replace")))
        else:
            raise ConnectError("Redis announced its dump with %r, which is not understood." % header[:80])

    def _next_line(self, deadline: float) -> bytes:
        """Return the next line that says something; empty ones tell that the server is still busy saving."""
        while True:
            line = self._client.line()
            if line:
                return line
            if time.monotonic() > deadline:
                raise StateError(
                    "Redis did not begin to send its dump within %g seconds." % self._limit,
                    "Raise the timeout, or look in its log for what keeps the fork or the save.",
                )

    def _read_counted(self, count: int) -> bytes:
        data = self._piece(min(count, self._left or 0)) if self._left else b""
        self._left = (self._left or 0) - len(data)
        self._ended = self._left == 0
        return data

    def _read_marked(self, count: int) -> bytes:
        # The last 40 bytes are held back until it is known whether they are the marker. Nothing follows the marker
        # before a replica acknowledges, which this one never does.
        while True:
            self._held += self._piece(max(1, min(count, _PIECE)))
            if self._held.endswith(self._marker):
                data, self._held, self._ended = self._held[:-_MARKER_BYTES], b"", True
                return data
            data, self._held = self._held[:-_MARKER_BYTES], self._held[-_MARKER_BYTES:]
            if data:
                return data

    def _piece(self, count: int) -> bytes:
        data = self._client.read_some(count)
        if not data:
            raise ConnectError(
                "Redis closed the connection in the middle of its dump.",
                "It gives up on a replica that is too slow (client-output-buffer-limit, repl-timeout), or it stopped; "
                "its log says which.",
            )
        return data


def _not_allowed(command: str, client: Client, reply: ErrorReply) -> Exception:
    error = client.refused(command, reply)
    if isinstance(error, CommandError) and not error.hint:
        error.hint = "Use method bgsave where the server's files can be read on this host."
    elif isinstance(error, CommandError) and error.code == "NOPERM":
        error.hint = "A replica needs the ACL rules +psync +replconf: grant them, or use method bgsave."
    return error
