# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts of a Redis server, and the plan of a restore, from values alone."""

from __future__ import annotations

import os
from array import array
from dataclasses import replace

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _files
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import RedisSettings
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis import (
    _plan,
    _restore,
    _server,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import CommandError, encode
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._rdb import Summary

INFO = (
    "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nredis_mode:standalone\r\n\r\n# Memory\r\nused_memory:900\r\n"
    "used_memory_dataset:700\r\nmaxmemory:2000\r\nmaxmemory_policy:allkeys-lru\r\n# Replication\r\nrole:slave\r\n"
    "master_link_status:down\r\n# Cluster\r\ncluster_enabled:0\r\n# Keyspace\r\n"
    "db0:keys=12,expires=3,avg_ttl=0\r\ndb11:keys=1,expires=0,avg_ttl=0,subexpiry=0\r\n"
)


def test_facts() -> None:
    facts = _server.parse_facts(_server.parse_info(INFO))
    assert facts == _server.ServerFacts(
        version="7.0.15",
        run_id="abc",
        role="slave",
        primary_link_up=False,
        cluster=False,
        used_memory=700,
        maxmemory=2000,
        eviction="allkeys-lru",
        keys={0: 12, 11: 1},
    )
    assert facts.release == (7, 0)


@pytest.mark.parametrize(
    ("version", "rdb"),
    [
        ("2.8.1", None),
        ("3.2.0", 7),
        ("5.0.14", 9),
        ("6.2.14", 9),
        ("7.0.15", 10),
        ("7.2.4", 11),
        ("7.4.1", 12),
        ("8.0.2", 12),
    ],
)
def test_rdb_versions_by_release(version: str, rdb: int | None) -> None:
    assert _server.rdb_version_of(version) == rdb


def target(**more: object) -> _plan.Target:
    facts = _server.parse_facts(_server.parse_info(INFO))
    return replace(_plan.Target(facts, rdb_version=10, value_limit=512 << 20, now_ms=1000), **more)  # type: ignore[arg-type]


def contents() -> _plan.Contents:
    summary = Summary(
        version=9,
        aux={"redis-ver": "6.2.14", "used-mem": "4000"},
        keys={0: 10, 3: 5},
        expiring={0: 4},
        checksum="ok",
        largest=100,
        size=2048,
    )
    return _plan.Contents(summary, {0: array("q", [500, 1000, 1001, 5000])})


def test_plan() -> None:
    assert _plan.sentences(contents(), target(), [0, 3]) == [
        "Redis: the dump was read to its last byte: 15 keys, 2.0 KiB, RDB version 9 of Redis 6.2.14, checksum ok.",
        "Redis database 0: 12 keys are replaced by 8 (2 more have expired since and are left out).",
        "Redis database 3: 0 keys are replaced by 5.",
    ]
    assert _plan.sentences(contents(), target(), [0])[2:] == [
        "Redis database 3: left alone, and the set's 5 keys of it are not restored; name it in redis_databases if it "
        "belongs to this instance.",
    ]
    full = "Redis used 3.9 KiB when the dump was taken, its limit here is 2.0 KiB (allkeys-lru)."
    assert _plan.warnings(contents(), target(), [0, 3], own=[0, 3]) == [full]
    assert _plan.warnings(contents(), target(), [0, 3], own=[0]) == [
        "Redis database 3 is replaced too, as redis_databases says; this instance's configuration does not name it.",
        full,
    ]
    assert _plan.warnings(contents(), target(), [11], own=[11]) == [
        "The set holds no key of Redis database 11, which is emptied. It holds keys of 0, 3: "
        "if the instance used those when it was saved, give redis_db or redis_databases.",
        full,
    ]


def test_functions_of_a_shared_server_are_left_alone() -> None:
    held = contents()
    held.summary.functions.append(b"library")
    server = target()
    assert _plan.takes_functions(held, server.facts, [0, 3, 11])
    assert not _plan.takes_functions(held, server.facts, [0, 3])
    assert "left alone" in _plan.sentences(held, server, [0, 3])[-1]
    assert "replaced by the 1" in _plan.sentences(held, server, [0, 3, 11])[-1]
    assert not _plan.takes_functions(contents(), server.facts, [0, 3, 11])


def test_blockers() -> None:
    refused = CommandError("Redis refused FLUSHDB: NOPERM", "Grant it.", "NOPERM", "NOPERM")
    assert _plan.blockers(contents(), target()) == []
    found = _plan.blockers(contents(), target(rdb_version=8, value_limit=110, refusals=[refused]))
    assert [error.cause.split()[0:2] for error in found] == [["Redis", "refused"], ["The", "dump"], ["The", "dump"]]
    assert _plan.blockers(contents(), target(value_limit=111)) == []


@pytest.mark.parametrize(("chosen", "expected"), [(None, [1, 2]), ([5, 3, 5], [3, 5]), ([], [1, 2])])
def test_databases(chosen: list[int] | None, expected: list[int]) -> None:
    assert _restore.Request(RedisSettings(db=2, further_dbs=(1, 2)), chosen, 1).chosen == expected


def test_default_work_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert _files.default_work_dir() == "/var/lib/authentik-recovery"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert _files.default_work_dir() == "/home/someone/.local/state/authentik-recovery"


def test_commands_are_binary_safe() -> None:
    assert encode(("SET", b"\r\n\x00", "ä", 7)) == b"*4\r\n$3\r\nSET\r\n$3\r\n\r\n\x00\r\n$2\r\n\xc3\xa4\r\n$1\r\n7\r\n"
