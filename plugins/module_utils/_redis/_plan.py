# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a restore of Redis would do, and what stands in its way: reading and comparing, no change."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import CommandError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._rdb import RdbReader, Summary
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._server import (
    ServerFacts,
    config_value,
    read_facts,
    readable_rdb_version,
    server_milliseconds,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import count, format_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import Argument, Client
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._rdb import ByteSource

OLDEST_RELEASE = (5, 0)  # the first whose RESTORE takes ABSTTL
_VALUE_LIMIT = 512 << 20  # proto-max-bulk-len, where it cannot be asked
_PAYLOAD_EXTRA = 11  # type, version and checksum around a value


@dataclass
class Contents:
    """What a dump holds, with the expiries (ms since the epoch) of its keys per database."""

    summary: Summary
    deadlines: dict[int, array[int]] = field(default_factory=dict)

    def expired(self, now_ms: int) -> dict[int, int]:
        """Return per database how many keys have expired by now."""
        return {db: sum(1 for end in ends if end <= now_ms) for db, ends in self.deadlines.items()}


@dataclass(frozen=True)
class Target:
    """The server to restore into.

    :param rdb_version: the highest that it reads.
    :param value_limit: bytes of the largest value that it takes.
    :param now_ms: its clock.
    :param refusals: what it says to the commands of a restore, where it does not allow them.
    """

    facts: ServerFacts
    rdb_version: int
    value_limit: int
    now_ms: int
    refusals: list[CommandError] = field(default_factory=list)


def read_contents(source: ByteSource) -> Contents:
    """Read a dump to its last byte."""
    reader = RdbReader(source)
    contents = Contents(reader.summary)
    for key in reader:
        if key.expire_ms is not None:
            contents.deadlines.setdefault(key.db, array("q")).append(key.expire_ms)
    return contents


def read_target(client: Client, databases: list[int], with_functions: bool) -> Target:
    """Ask the server whether it can take a restore of *databases*."""
    facts = read_facts(client)
    if facts.release < OLDEST_RELEASE:
        raise StateError(
            "Redis %s is too old: keys with their expiry can be put into Redis 5.0 and later only." % facts.version
        )
    if facts.role == "slave":
        raise StateError(
            "Redis is a replica: what is restored into it would be overwritten by its primary.",
            "Name the primary in redis_host, or make this server a primary first (REPLICAOF NO ONE).",
        )
    refusals = [error for error in (_probe(client, *probe) for probe in _probes(databases, with_functions)) if error]
    limit = config_value(client, "proto-max-bulk-len")
    return Target(
        facts=facts,
        rdb_version=readable_rdb_version(client, facts),
        value_limit=int(limit) if limit and limit.isdigit() else _VALUE_LIMIT,
        now_ms=server_milliseconds(client),
        refusals=refusals,
    )


def _probes(databases: list[int], with_functions: bool) -> list[tuple[tuple[Argument, ...], str]]:
    """Return commands that cannot change anything, each with what an allowed one answers.

    All are wrong on purpose: the server looks at rights, memory and role before it looks at the arguments.
    """
    probes: list[tuple[tuple[Argument, ...], str]] = [(("SELECT", database), "") for database in databases]
    probes += [
        (("SELECT", databases[0]), ""),
        (("FLUSHDB", "authentik-recovery-probe"), "syntax error"),
        (("RESTORE", "authentik-recovery-probe", 0, b""), "payload"),
    ]
    if with_functions:
        probes.append((("FUNCTION", "RESTORE", b""), "payload"))
    return probes


def _probe(client: Client, command: tuple[Argument, ...], allowed: str) -> CommandError | None:
    try:
        client.command(*command)
    except CommandError as error:
        # OOM says nothing here: the restore empties the databases first.
        if error.code != "OOM" and not (allowed and allowed in error.reply):
            return error
    return None


def blockers(contents: Contents, target: Target) -> list[StateError]:
    """Return why the restore cannot be done."""
    found = [StateError(error.cause, error.hint) for error in target.refusals]
    summary = contents.summary
    if summary.version > target.rdb_version:
        found.append(
            StateError(
                "The dump has RDB version %d (%s), Redis %s reads up to %d."
                % (summary.version, writer(summary), target.facts.version, target.rdb_version),
                "Restore into the version of Redis that wrote it, or a later one.",
            )
        )
    if summary.largest + _PAYLOAD_EXTRA > target.value_limit:
        found.append(
            StateError(
                "The dump holds a value of %s, the server takes %s at most."
                % (format_bytes(summary.largest), format_bytes(target.value_limit)),
                "Raise proto-max-bulk-len in redis.conf.",
            )
        )
    return found


def writer(summary: Summary) -> str:
    """Return the server that wrote the dump, for messages."""
    if "valkey-ver" in summary.aux:
        return "Valkey %s" % summary.aux["valkey-ver"]
    return "Redis %s" % summary.aux.get("redis-ver", "of an unknown version")


def sentences(contents: Contents, target: Target, databases: list[int]) -> list[str]:
    """Return the plan as sentences for people."""
    summary, facts = contents.summary, target.facts
    plan = [
        "Redis: the dump was read to its last byte: %s, %s, RDB version %d of %s, checksum %s."
        % (
            count(sum(summary.keys.values()), "key"),
            format_bytes(summary.size),
            summary.version,
            writer(summary),
            summary.checksum,
        )
    ]
    expired = contents.expired(target.now_ms)
    for database in databases:
        present = facts.keys.get(database, 0)
        text = "Redis database %d: %s %s replaced by %d" % (
            database,
            count(present, "key"),
            "is" if present == 1 else "are",
            summary.keys.get(database, 0) - expired.get(database, 0),
        )
        if expired.get(database):
            text += " (%d more have expired since and are left out)" % expired[database]
        plan.append(text + ".")
    plan += [
        "Redis database %d: left alone, and the set's %d keys of it are not restored; name it in redis_databases if it "
        "belongs to this instance." % (database, summary.keys[database])
        for database in sorted(set(summary.keys) - set(databases))
    ]
    if takes_functions(contents, facts, databases):
        plan.append("Redis functions: all libraries are replaced by the %d of the set." % len(summary.functions))
    elif summary.functions:
        plan.append(
            "Redis functions: left alone, and the set's %d libraries are not restored, because the server is shared."
            % len(summary.functions)
        )
    return plan


def takes_functions(contents: Contents, facts: ServerFacts, databases: list[int]) -> bool:
    """Tell whether function libraries are replaced: they belong to the whole server, so only where nobody shares it."""
    return bool(contents.summary.functions) and not {*contents.summary.keys, *facts.keys} - set(databases)


def warnings(contents: Contents, target: Target, databases: list[int], own: list[int]) -> list[str]:
    """Return what an operator should look at before going on.

    :param own: the databases that belong to the instance.
    """
    summary, facts = contents.summary, target.facts
    found = [
        "Redis database %d is replaced too, as redis_databases says; this instance's configuration does not name it."
        % database
        for database in databases
        if database not in own and (summary.keys.get(database) or facts.keys.get(database))
    ]
    if summary.keys and not set(summary.keys) & set(databases):
        found.append(
            "The set holds no key of Redis database %s, which is emptied. It holds keys of %s: if the instance used "
            "those when it was saved, give redis_db or redis_databases."
            % (", ".join(map(str, databases)), ", ".join(map(str, sorted(summary.keys))))
        )
    if summary.checksum == "disabled":
        found.append("The dump carries no checksum of its own; SHA-256 alone vouches for it.")
    used = int(summary.aux.get("used-mem", "0") or 0)
    if facts.maxmemory and used > facts.maxmemory:
        found.append(
            "Redis used %s when the dump was taken, its limit here is %s (%s)."
            % (format_bytes(used), format_bytes(facts.maxmemory), facts.eviction)
        )
    return found
