# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What has to be known of a Redis server before its content is saved or replaced."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ConnectError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import Client

# RDB version that a release writes and the highest it reads, from the release on.
_RDB_VERSIONS = [((7, 4), 12), ((7, 2), 11), ((7, 0), 10), ((5, 0), 9), ((4, 0), 8), ((3, 2), 7)]
_PROBE_LIMIT = 1 << 20


@dataclass(frozen=True)
class ServerFacts:
    """What INFO says.

    :param version: ``6.2.14``; of a fork the Redis version that it is compatible with.
    :param role: ``master`` or ``slave``, as Redis calls them.
    :param used_memory: bytes of the data, without the server's own.
    :param maxmemory: bytes, 0 for no limit.
    :param keys: number of keys per database, as the server counts them.
    """

    version: str
    run_id: str
    role: str
    primary_link_up: bool
    cluster: bool
    used_memory: int
    maxmemory: int
    eviction: str
    keys: dict[int, int] = field(default_factory=dict)

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version."""
        parts = (self.version + ".0").split(".")
        return int(parts[0]), int(parts[1])


def parse_info(text: str) -> dict[str, str]:
    """Return the fields of an INFO reply."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))
    return {name: value.strip() for name, value in pairs}


def parse_facts(info: dict[str, str]) -> ServerFacts:
    """Return the facts from the fields of INFO."""
    keys = {}
    for name, value in info.items():
        if name[:2] == "db" and name[2:].isdigit() and value.startswith("keys="):
            keys[int(name[2:])] = int(value.split(",")[0][5:])
    return ServerFacts(
        version=info.get("redis_version", ""),
        run_id=info.get("run_id", ""),
        role=info.get("role", "master"),
        primary_link_up=info.get("master_link_status", "up") == "up",
        cluster=info.get("cluster_enabled") == "1" or info.get("redis_mode") == "cluster",
        used_memory=int(info.get("used_memory_dataset") or info.get("used_memory") or 0),
        maxmemory=int(info.get("maxmemory") or 0),
        eviction=info.get("maxmemory_policy", "noeviction"),
        keys=keys,
    )


def read_info(client: Client) -> dict[str, str]:
    """Ask for INFO."""
    return parse_info(client.command("INFO").decode("utf-8", "replace"))


def read_facts(client: Client) -> ServerFacts:
    """Return the server's facts; ConnectError while it loads, StateError for a kind of server that is not served."""
    info = read_info(client)
    if info.get("loading") == "1":
        raise ConnectError(
            "Redis is still loading its data from disk.", "Run again when `INFO persistence` says loading:0."
        )
    if info.get("redis_mode") == "sentinel":
        raise StateError("This is a Redis Sentinel, which holds no data.", "Name the data server in redis_host.")
    facts = parse_facts(info)
    if facts.cluster:
        raise StateError(
            "Redis runs in cluster mode, so one node holds a part of the keys only.",
            "authentik does not use a cluster; name the server that it uses in redis_host.",
        )
    return facts


def server_milliseconds(client: Client) -> int:
    """Return the server's clock in ms since the epoch."""
    seconds, micros = client.command("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def config_value(client: Client, name: str) -> str | None:
    """Return a setting, or None where CONFIG is forbidden, renamed or does not know the name."""
    try:
        pair = client.command("CONFIG", "GET", name)
    except CommandError:
        return None
    return pair[1].decode("utf-8", "surrogateescape") if pair else None


def rdb_version_of(version: str) -> int | None:
    """Return the RDB version that a Redis release reads and writes, None for a release too old."""
    parts = (version + ".0").split(".")
    release = (int(parts[0]), int(parts[1])) if parts[0].isdigit() and parts[1].isdigit() else (0, 0)
    return next((rdb for since, rdb in _RDB_VERSIONS if release >= since), None)


def readable_rdb_version(client: Client, facts: ServerFacts) -> int:
    """Return the highest RDB version that the server accepts.

    Learnt from what it writes itself (the DUMP of a key ends with the version), which is right for forks and for
    releases that did not exist yet; from the release where there is no key to ask about.
    """
    for database in sorted(facts.keys):
        client.select(database)
        try:
            name = client.command("RANDOMKEY")
            if name is None or (client.command("MEMORY", "USAGE", name) or _PROBE_LIMIT) >= _PROBE_LIMIT:
                continue
            dump = client.command("DUMP", name)
        except CommandError:
            break
        if dump:
            return int.from_bytes(dump[-10:-8], "little")
    known = rdb_version_of(facts.version)
    if known is None:
        raise StateError("Redis %s is too old: it cannot take keys one by one with their expiry." % facts.version)
    return known
