# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Reads a Redis RDB file from its first byte to its last, one key at a time.

Pure over a source of bytes (anything with ``read(n)``): the same reader serves a file, a replication stream and a
backup set. A value is not taken apart, only walked through to find its end; its raw bytes are what ``RESTORE`` takes.
The checksum at the end covers every byte before it and is compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._rdb_values import (
    Cursor,
    module_name,
    skip_value,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    class ByteSource(Protocol):
        """Anything that gives at most *n* bytes, and none at its end."""

        def read(self, n: int) -> bytes:
            """Return at most *n* bytes."""


OLDEST_VERSION = 5  # the first with a checksum
NEWEST_VERSION = 12  # Redis 7.4 to 8.2

_SLOT_INFO, _FUNCTION2, _FUNCTION_DRAFT, _MODULE_AUX, _IDLE, _FREQ, _AUX = 244, 245, 246, 247, 248, 249, 250
_RESIZEDB, _EXPIRE_MS, _EXPIRE_S, _SELECTDB, _EOF = 251, 252, 253, 254, 255


@dataclass(frozen=True)
class Key:
    """One key as the file holds it. Names of keys can be secrets (sessions): they never go into a message.

    :param expire_ms: ms since the epoch, or None.
    :param type_code: the RDB type of the value.
    :param value: the value's raw bytes, without the type.
    :param idle: seconds since the last access, where the server's eviction policy recorded them, else None.
    :param frequency: access counter 0..255, likewise.
    """

    db: int
    name: bytes
    expire_ms: int | None
    type_code: int
    value: bytes
    idle: int | None = None
    frequency: int | None = None


@dataclass
class Summary:
    """What a file holds; complete once the reader has come to its end.

    :param keys: number of keys per database.
    :param expiring: number of those that have an expiry.
    :param aux: what the server said of itself (``redis-ver``, ``ctime``, ``used-mem`` ...).
    :param functions: each library as one raw RDB string.
    :param checksum: ``ok``, or ``disabled`` where the server wrote none (``rdbchecksum no``).
    :param largest: bytes of the largest value.
    """

    version: int = 0
    aux: dict[str, str] = field(default_factory=dict)
    keys: dict[int, int] = field(default_factory=dict)
    expiring: dict[int, int] = field(default_factory=dict)
    functions: list[bytes] = field(default_factory=list)
    checksum: str = ""
    largest: int = 0
    size: int = 0

    def fingerprint(self) -> dict[str, object]:
        """Return what a restored server must equal, as JSON values."""
        return {
            "redis_version": self.aux.get("redis-ver") or self.aux.get("valkey-ver"),
            "rdb_version": self.version,
            "checksum": self.checksum,
            "keys": {str(db): count for db, count in sorted(self.keys.items())},
            "expiring": {str(db): count for db, count in sorted(self.expiring.items())},
            "functions": len(self.functions),
        }


class RdbReader:
    """Iterate over it to get every :class:`Key`; :attr:`summary` is complete afterwards.

    Raises IntegrityError for anything that is not a whole, unaltered RDB file, StateError for content that cannot be
    restored key by key (data that a module keeps outside keys).
    """

    def __init__(self, source: ByteSource) -> None:
        self._cursor = Cursor(source)
        self.summary = Summary()
        self._db = 0

    def __iter__(self) -> Iterator[Key]:
        cursor, summary = self._cursor, self.summary
        self._header()
        expire: int | None = None
        idle: int | None = None
        frequency: int | None = None
        while True:
            code = cursor.byte()
            if code == _EOF:
                break
            if code == _EXPIRE_MS:
                expire = cursor.integer(8)
            elif code == _EXPIRE_S:
                expire = cursor.integer(4) * 1000
            elif code == _IDLE:
                idle = cursor.length()
            elif code == _FREQ:
                frequency = cursor.byte()
            elif code >= _SLOT_INFO:
                self._opcode(code)
            else:
                name = cursor.string()
                start = cursor.mark()
                skip_value(cursor, code, summary.version)
                value = cursor.since(start)
                self._count(expire, value)
                yield Key(self._db, name, expire, code, value, idle, frequency)
                expire = idle = frequency = None
        self._footer()

    def finish(self) -> Summary:
        """Read on to the end, whatever was read before, and return the summary."""
        for _key in self:
            pass
        return self.summary

    def _header(self) -> None:
        head = self._cursor.take(9)
        if head[:6] == b"VALKEY":
            raise IntegrityError(
                "The dump was written by Valkey 9 or later (header %s), whose format is its own."
                % head.decode("latin-1"),
                "Redis up to 8 and Valkey up to 8 are supported.",
            )
        if head[:5] != b"REDIS" or not head[5:].isdigit():
            raise IntegrityError(
                "This is not an RDB file: it begins with %r instead of REDIS and a version." % head,
                "The artifact was altered, or another file took its place: use another backup set.",
            )
        version = int(head[5:])
        if version < OLDEST_VERSION:
            raise IntegrityError(
                "RDB version %d is older than %d and carries no checksum." % (version, OLDEST_VERSION),
                "Save again from Redis 5 or later.",
            )
        self.summary.version = version

    def _opcode(self, code: int) -> None:
        cursor, summary = self._cursor, self.summary
        if code == _AUX:
            name = cursor.string().decode("utf-8", "replace")
            summary.aux[name] = cursor.string().decode("utf-8", "replace")
        elif code == _SELECTDB:
            self._db = cursor.length()
        elif code == _RESIZEDB:
            cursor.length()
            cursor.length()
        elif code == _SLOT_INFO:
            for _part in range(3):
                cursor.length()
        elif code == _FUNCTION2:
            start = cursor.mark()
            cursor.skip_string()
            summary.functions.append(cursor.since(start))
        elif code == _MODULE_AUX:
            raise StateError(
                "The dump holds data that the module %s keeps outside keys." % module_name(cursor.length()),
                "Only keys and functions can be restored; save that module's data with its own means.",
            )
        else:
            raise IntegrityError(
                "The dump holds functions in a format that only release candidates of Redis 7.0 wrote.",
                "Save again from a released version.",
            )

    def _count(self, expire: int | None, value: bytes) -> None:
        summary, db = self.summary, self._db
        summary.keys[db] = summary.keys.get(db, 0) + 1
        if expire is not None:
            summary.expiring[db] = summary.expiring.get(db, 0) + 1
        summary.largest = max(summary.largest, len(value))

    def _footer(self) -> None:
        cursor, summary = self._cursor, self.summary
        expected = cursor.checksum()
        found = cursor.integer(8)
        if found and found != expected:
            raise IntegrityError(
                "The checksum of the dump is %016x, its bytes give %016x." % (found, expected),
                "At least one byte was altered; use another backup set.",
            )
        extra = cursor.rest()
        if extra:
            raise IntegrityError(
                "%d bytes or more follow the end of the dump." % extra, "The file was altered; use another backup set."
            )
        summary.checksum = "ok" if found else "disabled"
        summary.size = cursor.position
