# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Saves the whole content of a Redis server as one RDB, read to its last byte while it is written."""

from __future__ import annotations

import ipaddress
import os
import time
from dataclasses import dataclass, field

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import Client, CommandError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._rdb import RdbReader, Summary
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._replication import ReplicaStream
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._server import (
    ServerFacts,
    config_value,
    read_facts,
    read_info,
    server_milliseconds,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import RedisSettings
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._rdb import ByteSource

    class Writer(Protocol):
        """Where the RDB goes."""

        def write(self, data: bytes) -> int:
            """Write all of *data*."""


METHODS = ["bgsave", "save", "replication"]
ARTIFACT = "redis/dump.rdb"
_USE_REPLICATION = "Use method replication, which needs no file of the server."
_POLL_SECONDS = 0.1
# The clock of whole seconds, by which Redis dates saves, is behind the finer one of TIME by up to a tick of the kernel.
_CLOCK_LAG_MS = 50


@dataclass(frozen=True)
class Snapshot:
    """A finished snapshot.

    :param facts: what the server said of itself before.
    :param summary: what the RDB holds.
    """

    method: str
    facts: ServerFacts
    summary: Summary
    warnings: list[str] = field(default_factory=list)


class Tee:
    """A source of bytes that writes down whatever is read through it."""

    def __init__(self, source: ByteSource, out: Writer) -> None:
        self._source = source
        self._out = out

    def read(self, n: int) -> bytes:
        """Return at most *n* bytes."""
        data = self._source.read(n)
        if data:
            self._out.write(data)
        return data


def choose_method(wanted: str, settings: RedisSettings | None, deployment: str) -> str:
    """Return the method to use: ``auto`` reads the server's file only where that can lie on this host."""
    if wanted != "auto" or settings is None:
        return wanted
    return "bgsave" if deployment == "host" and _is_local(settings) else "replication"


def _is_local(settings: RedisSettings) -> bool:
    if settings.socket or settings.host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        return False


def look(settings: RedisSettings) -> ServerFacts:
    """Return the facts of a server whose content can be saved; an error otherwise."""
    with Client(settings) as client:
        return _facts(client)


def take_snapshot(settings: RedisSettings, out: Writer, method: str, limit: float) -> Snapshot:
    """Write an RDB of everything the server holds to *out*.

    :param method: one of METHODS.
    :param limit: seconds that the save may take (with replication: until the server begins to send).
    """
    if method not in METHODS:
        raise InputError("There is no method %r." % method, "Use one of %s." % ", ".join(METHODS))
    with Client(settings) as client:
        facts = _facts(client)
        if method == "replication":
            summary = RdbReader(Tee(ReplicaStream(client, limit), out)).finish()
        else:
            started = _save(client, facts, method, limit)
            summary = _copy_file(client, facts, out, started)
    return Snapshot(method, facts, summary, _warnings(facts, summary))


def _facts(client: Client) -> ServerFacts:
    facts = read_facts(client)
    if facts.role == "slave" and not facts.primary_link_up:
        raise StateError(
            "Redis is a replica that lost its primary, so its data may be old.", "Name the primary in redis_host."
        )
    return facts


def _warnings(facts: ServerFacts, summary: Summary) -> list[str]:
    warnings = []
    if facts.role == "slave":
        warnings.append("Redis is a replica: the snapshot may lack the primary's latest writes.")
    if summary.checksum == "disabled":
        warnings.append(
            "The dump carries no checksum (rdbchecksum is no): an altered byte would be noticed by SHA-256 only."
        )
    return warnings


def _save(client: Client, facts: ServerFacts, method: str, limit: float) -> int:
    """Have the server save now, wait until it has, and return the second (its clock) in which that began."""
    deadline = time.monotonic() + limit
    while True:
        _await_idle(client, deadline, limit)
        # LASTSAVE counts seconds: within the second of an earlier save it could not be seen to move.
        before = client.command("LASTSAVE")
        while server_milliseconds(client) < (before + 1) * 1000 + _CLOCK_LAG_MS:
            _pause(deadline, limit)
        started = (server_milliseconds(client) - _CLOCK_LAG_MS) // 1000
        try:
            client.set_timeout(max(60.0, limit))
            client.command(method.upper())
            break
        except CommandError as error:
            # Another save or an AOF rewrite began in between.
            if "in progress" not in error.reply:
                raise _save_refused(method, error) from error
        finally:
            client.set_timeout(60.0)
        _pause(deadline, limit)
    info = _await_idle(client, deadline, limit)
    if info.get("run_id") != facts.run_id:
        raise StateError("Redis was restarted while it saved.", "Run again.")
    if info.get("rdb_last_bgsave_status") != "ok" or client.command("LASTSAVE") <= before:
        raise StateError(
            "Redis did not finish the save: its status is %s." % info.get("rdb_last_bgsave_status"),
            "Its log says why: mostly a full disk, a data folder it may not write, or too little memory for the fork.",
        )
    return started


def _save_refused(method: str, error: CommandError) -> Exception:
    if error.code == "NOPERM":
        error.hint = "Grant the ACL rules +%s +lastsave +info +time +config|get, or use method replication." % method
    elif not error.hint:
        error.hint = "Its log says more; " + _USE_REPLICATION[0].lower() + _USE_REPLICATION[1:]
    return error


def _await_idle(client: Client, deadline: float, limit: float) -> dict[str, str]:
    """Wait until no child of the server saves or rewrites, and return INFO."""
    while True:
        info = read_info(client)
        busy = [name for name in ("rdb_bgsave_in_progress", "aof_rewrite_in_progress") if info.get(name) == "1"]
        if not busy:
            return info
        _pause(deadline, limit, "%s is still 1" % busy[0])


def _pause(deadline: float, limit: float, reason: str = "") -> None:
    if time.monotonic() > deadline:
        raise StateError(
            "Redis did not finish saving within %g seconds%s." % (limit, " (%s)" % reason if reason else ""),
            "Raise the timeout, or look in its log for what keeps it.",
        )
    time.sleep(_POLL_SECONDS)


def _copy_file(client: Client, facts: ServerFacts, out: Writer, started: int) -> Summary:
    path = _dump_path(client)
    try:
        stream = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise StateError(
            "The dump %s that Redis saved cannot be read on this host: %s" % (path, error.strerror), _USE_REPLICATION
        ) from error
    with stream:
        before = os.fstat(stream.fileno())
        reader = RdbReader(Tee(stream, out))
        summary = reader.finish()
        after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise IntegrityError("The dump %s changed while it was read." % path, "Run again. " + _USE_REPLICATION)
    _prove_ours(client, facts, summary, path, started)
    return summary


def _dump_path(client: Client) -> str:
    folder, name = config_value(client, "dir"), config_value(client, "dbfilename")
    if not folder or not name:
        raise StateError(
            "Redis does not tell where it saves: CONFIG GET is forbidden or renamed.",
            "Grant the ACL rule +config|get. Or: " + _USE_REPLICATION,
        )
    return os.path.join(folder, name)


def _prove_ours(client: Client, facts: ServerFacts, summary: Summary, path: str, started: int) -> None:
    """Raise StateError unless the file is what this server saved just now.

    The path is the server's; on another host, or in a container, the same path can hold another server's file.
    """
    saved = int(summary.aux.get("ctime", "0") or 0)
    now = server_milliseconds(client) // 1000
    version = summary.aux.get("redis-ver", facts.version)
    empty = not facts.keys and not read_facts(client).keys
    if not started <= saved <= now:
        reason = "it was saved at second %d, the save asked for now began at %d" % (saved, started)
    elif version != facts.version:
        reason = "Redis %s wrote it, the server is %s" % (version, facts.version)
    elif empty and summary.keys:
        reason = "it holds %d keys, the server none" % sum(summary.keys.values())
    else:
        return
    raise StateError("%s on this host is not the dump of this server: %s." % (path, reason), _USE_REPLICATION)
