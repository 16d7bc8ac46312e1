# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores into real Redis servers: what the server itself says of every key, before the disaster and after."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    RecoveryError,
    StateError,
)
from tests.support.redis import RedisServer
from tests.support.redis_data import FURTHER, fill
from tests.support.redis_module import write_set
from tests.support.redis_restore import Restore, disaster

MakeRedis = Callable[..., RedisServer]


def functions(server: RedisServer) -> object:
    return server.send("FUNCTION", "DUMP")[:-10] if server.version >= (7, 0) else b""  # type: ignore[index]


@pytest.mark.parametrize("aof", ["no", "yes"])
def test_everything_comes_back_and_survives_a_restart(
    make_redis: MakeRedis, redis_program: str, aof: str, tmp_path: Path
) -> None:
    server = make_redis(program=redis_program, options=["appendonly %s" % aof])
    fill(server)
    before = server.content()
    restore = Restore(server, tmp_path, FURTHER)
    disaster(server)
    lost, lost_functions = server.content(), functions(server)

    plan = restore.check(server)
    assert server.content() == lost
    assert plan["databases"] == [0, 1, 9]
    assert plan["keys_present"]["0"] == 21
    assert any("database 1: 0 keys are replaced by 300" in sentence for sentence in plan["plan"])
    prepared = restore.prepare(server)
    assert server.content() == lost
    assert prepared["work_folder"] == restore.folder.path
    swapped = restore.swap(server)
    foreign = {name: value for name, value in lost.items() if name[0] == 4}
    assert server.content() == {**before, **foreign}
    # Database 4 is somebody else's, so the functions may be, too.
    assert functions(server) == lost_functions
    assert swapped["changed"]
    assert swapped["keys"] == {"0": len(server.keys(0)), "1": 300, "9": 5}

    if aof == "no":
        server.send("SAVE")
    server.restart(hard=aof == "no")
    assert server.content() == {**before, **foreign}

    undone = restore.undo(server)
    assert server.content() == lost
    assert undone["changed"]
    assert not os.path.exists(restore.folder.path)
    assert restore.undo(server) == {"changed": False, "keys": {}}
    assert server.content() == lost


def test_functions_come_back_where_nobody_else_uses_the_server(
    make_redis: MakeRedis, redis_program: str, tmp_path: Path
) -> None:
    server = make_redis(program=redis_program)
    fill(server)
    before = functions(server)
    restore = Restore(server, tmp_path, FURTHER)
    if before:
        server.send("FUNCTION", "FLUSH")
    restore.prepare(server)
    restore.swap(server)
    assert functions(server) == before


def test_onto_a_newer_release(make_redis: MakeRedis, redis_program: str, tmp_path: Path) -> None:
    old, new = make_redis(), make_redis(program=redis_program)
    fill(old)
    restore = Restore(old, tmp_path, FURTHER)
    restore.prepare(new)
    restore.swap(new)
    for db in (0, 1, 9):
        assert new.keys(db) == old.keys(db)
        for name in old.keys(db):
            assert new.send("TYPE", name, db=db) == old.send("TYPE", name, db=db)
    assert new.send("XINFO", "GROUPS", "stream")[0][1] == b"workers"  # type: ignore[index]
    assert new.send("XRANGE", "stream", "-", "+") == old.send("XRANGE", "stream", "-", "+")
    old_scores, new_scores = (server.send("ZRANGE", "zset big", 0, -1, "WITHSCORES") for server in (old, new))
    assert new_scores[::2] == old_scores[::2]  # type: ignore[index]
    # Releases print the same number differently.
    assert list(map(float, new_scores[1::2])) == list(map(float, old_scores[1::2]))  # type: ignore[index]
    assert new.send("LRANGE", "list big", 0, -1) == old.send("LRANGE", "list big", 0, -1)


def test_onto_an_older_release_is_refused(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis()
    server.send("SET", "key", "x")
    restore = Restore(server, tmp_path)
    data = bytearray((restore.set / "redis" / "dump.rdb").read_bytes())
    data[5:9] = b"0099"
    data[-8:] = b"\x00" * 8
    shutil.rmtree(restore.set)
    write_set(
        restore.set,
        bytes(data),
        {
            "rdb_version": 99,
            "keys": {"0": 1},
            "expiring": {},
            "functions": 0,
            "redis_version": None,
            "checksum": "disabled",
        },
    )
    with pytest.raises(StateError, match=r"RDB version 99 .*reads up to 9.*later one"):
        restore.check(server)
    # Without any key to learn from, the release tells.
    server.send("FLUSHALL")
    with pytest.raises(StateError, match=r"RDB version 99 .*reads up to 9.*later one"):
        restore.check(server)


def test_expired_keys_are_left_out_and_counted(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis()
    server.send_all([("SET", "short %d" % n, "x", "PX", 500) for n in range(30)])
    server.send_all([("SET", "long %d" % n, "x", "PX", 500000) for n in range(20)])
    server.send("SET", "always", "x")
    restore = Restore(server, tmp_path)
    time.sleep(0.6)
    assert restore.check(server)["keys_expired"] == {"0": 30}
    restore.prepare(server)
    result = restore.swap(server)
    assert (result["keys"], result["keys_expired"]) == ({"0": 21}, {"0": 30})
    assert len(server.keys()) == 21
    assert 400000 < int(server.send("PTTL", "long 3")) <= 500000  # type: ignore[call-overload]


def test_keys_that_expire_while_they_are_restored_are_no_mistake(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis()
    server.send_all([("SET", "key %d" % n, "x", "PX", 2000 + n // 4) for n in range(20000)])
    restore = Restore(server, tmp_path)
    restore.prepare(server)
    while server.send("GET", "key 0"):
        time.sleep(0.005)
    result = restore.swap(server)
    assert result["keys_expired"]["0"] + result["keys"]["0"] <= 20000


def test_databases_of_whatever_shares_the_server_are_left_alone(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis()
    server.send("SET", "mine", "old")
    server.send("SET", "other", "old", db=3)
    restore = Restore(server, tmp_path)
    server.send("SET", "mine", "new")
    server.send("SET", "other", "new", db=3)
    checked = restore.check(server)
    assert checked["databases"] == [0]
    assert any(line.startswith("Redis database 3: left alone") for line in checked["plan"])
    restore.prepare(server)
    restore.swap(server)
    assert (server.send("GET", "mine"), server.send("GET", "other", db=3)) == (b"old", b"new")
    restore.undo(server)
    assert (server.send("GET", "mine"), server.send("GET", "other", db=3)) == (b"new", b"new")


def test_a_database_that_is_named_is_restored(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis()
    server.send("SET", "mine", "old")
    server.send("SET", "other", "old", db=3)
    restore = Restore(server, tmp_path)
    server.send("SET", "mine", "new")
    server.send("SET", "other", "new", db=3)
    restore.databases = [3]
    assert "as redis_databases says" in restore.check(server)["warnings"][0]
    restore.prepare(server)
    restore.swap(server)
    assert (server.send("GET", "mine"), server.send("GET", "other", db=3)) == (b"new", b"old")


def test_database_of_the_instance_is_emptied_although_the_set_has_no_key_of_it(
    make_redis: MakeRedis, tmp_path: Path
) -> None:
    server = make_redis()
    server.send("SET", "key", "x", db=2)
    restore = Restore(server, tmp_path)
    server.send("SET", "leftover", "x", db=5)
    assert "holds keys of 2" in restore.prepare(server, db=5)["warnings"][0]
    assert restore.swap(server, db=5)["keys"] == {"5": 0}
    assert server.keys(5) == []


@pytest.mark.parametrize("options", [["maxmemory 6mb"], ["maxmemory 6mb", "maxmemory-policy allkeys-lru"]])
def test_server_without_room_gets_its_content_back(make_redis: MakeRedis, tmp_path: Path, options: list[str]) -> None:
    full, small = make_redis(), make_redis(options=options)
    full.send_all([("SET", "key %d" % n, "x%d" % n * 500) for n in range(6000)])
    small.send_all([("SET", "kept %d" % n, "x") for n in range(50)])
    before = small.content()
    restore = Restore(full, tmp_path)
    restore.prepare(small)
    with pytest.raises(RecoveryError, match=r"maxmemory") as caught:
        restore.swap(small)
    assert "The previous content of Redis was put back" in str(caught.value)
    assert small.content() == before
    assert restore.undo(small)["changed"]
    assert small.content() == before


def test_a_writer_in_between_is_noticed(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis()
    fill(server, more=2000)
    restore = Restore(server, tmp_path, FURTHER)
    restore.prepare(server)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            server.send("SET", "written %d" % number, "x")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(StateError, match=r"instead of.*Stop what writes.*run step undo"):
            restore.swap(server)
    finally:
        stop.set()
        writer.join()
    restore.undo(server)
    assert len(server.keys(1)) == 2100
