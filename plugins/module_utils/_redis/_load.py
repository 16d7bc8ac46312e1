# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Puts the keys of an RDB into a running server, one by one, so that it works on any server and with AOF on or off."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import CommandError, ErrorReply
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._crc64 import crc64
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._server import server_milliseconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import Argument, Client
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._rdb import Key, RdbReader

_FUNCTION_OPCODE = b"\xf5"
_BATCH_BYTES = 4 << 20
_BATCH_KEYS = 500


@dataclass
class Loaded:
    """What went into the server.

    :param keys: keys put, per database.
    :param expired: keys left out because their time had passed, per database.
    :param deadlines: expiries of the keys put, in ms since the epoch, per database.
    """

    keys: dict[int, int] = field(default_factory=dict)
    expired: dict[int, int] = field(default_factory=dict)
    deadlines: dict[int, array[int]] = field(default_factory=dict)

    def expected(self, database: int, now_ms: int) -> tuple[int, int]:
        """Return the fewest and the most keys that *database* may have now; they differ by what expired since."""
        most = self.keys.get(database, 0)
        passed = sum(1 for deadline in self.deadlines.get(database, ()) if deadline <= now_ms)
        return most - passed, most


def payload(type_code: int, value: bytes, rdb_version: int) -> bytes:
    """Return what DUMP would give for the value, and RESTORE takes."""
    return _sealed(bytes((type_code,)) + value, rdb_version)


def functions_payload(libraries: list[bytes], rdb_version: int) -> bytes:
    """Return what FUNCTION DUMP would give for the libraries."""
    return _sealed(b"".join(_FUNCTION_OPCODE + library for library in libraries), rdb_version)


def _sealed(body: bytes, rdb_version: int) -> bytes:
    body += rdb_version.to_bytes(2, "little")
    return body + crc64(body).to_bytes(8, "little")


def restore_command(key: Key, rdb_version: int) -> tuple[Argument, ...]:
    """Return the RESTORE command for a key."""
    command: tuple[Argument, ...] = (
        "RESTORE",
        key.name,
        key.expire_ms or 0,
        payload(key.type_code, key.value, rdb_version),
        "REPLACE",
        "ABSTTL",
    )
    if key.idle is not None:
        return (*command, "IDLETIME", key.idle)
    if key.frequency is not None:
        return (*command, "FREQ", key.frequency)
    return command


def load(client: Client, reader: RdbReader, databases: Collection[int]) -> Loaded:
    """Put every key of *databases* from the RDB into the server, replacing keys of the same name.

    Reads the RDB to its end. Functions are left to :func:`load_functions`.
    """
    now = server_milliseconds(client)
    loaded = Loaded()
    batch: list[tuple[Argument, ...]] = []
    current, size = -1, 0
    for key in reader:
        if key.db not in databases:
            continue
        if key.expire_ms is not None and key.expire_ms <= now:
            loaded.expired[key.db] = loaded.expired.get(key.db, 0) + 1
            continue
        if key.db != current or size >= _BATCH_BYTES or len(batch) >= _BATCH_KEYS:
            _flush(client, current, batch)
            batch, size = [], 0
            if key.db != current:
                client.select(key.db)
                current = key.db
        batch.append(restore_command(key, reader.summary.version))
        size += len(key.value)
        loaded.keys[key.db] = loaded.keys.get(key.db, 0) + 1
        if key.expire_ms is not None:
            loaded.deadlines.setdefault(key.db, array("q")).append(key.expire_ms)
    _flush(client, current, batch)
    return loaded


def load_functions(client: Client, libraries: list[bytes], rdb_version: int) -> None:
    """Make the server's function libraries exactly these."""
    if libraries:
        client.command("FUNCTION", "RESTORE", functions_payload(libraries, rdb_version), "FLUSH")
    else:
        client.command("FUNCTION", "FLUSH")


def _flush(client: Client, database: int, batch: list[tuple[Argument, ...]]) -> None:
    for reply in client.pipeline(batch):
        if isinstance(reply, ErrorReply):
            raise _refused(client, database, reply)


def _refused(client: Client, database: int, reply: ErrorReply) -> RecoveryError:
    # The key's name stays out: it can be that of a session.
    error = client.refused("a key of database %d (RESTORE)" % database, reply)
    if isinstance(error, CommandError) and "Bad data format" in error.reply:
        error.hint = "The server does not know this kind of value, or needs a module for it that is not loaded."
    return error


def compare_counts(client: Client, loaded: Loaded, databases: Collection[int]) -> dict[int, int]:
    """Return the number of keys per database; StateError unless it is what was loaded.

    Keys whose time passed since they were put may be gone or not yet; nothing else may differ.
    """
    counts: dict[int, int] = {}
    for database in sorted(databases):
        client.select(database)
        found = int(client.command("DBSIZE"))
        fewest, most = loaded.expected(database, server_milliseconds(client))
        if not fewest <= found <= most:
            raise StateError(
                "Database %d has %d keys after the restore instead of %d." % (database, found, most),
                "Stop what writes to it (authentik), and raise maxmemory where the server evicts keys.",
            )
        counts[database] = found
    return counts
