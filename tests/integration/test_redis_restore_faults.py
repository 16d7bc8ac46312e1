# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores of Redis that go wrong, are killed, refused or undone; and the module as a program."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _files
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    InputError,
    IntegrityError,
    SpaceError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis import _restore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._work_folder import WorkFolder
from tests.support.redis import RedisServer
from tests.support.redis_data import FURTHER, fill
from tests.support.redis_module import RESTORE_ID, options_for, run_module, write_set
from tests.support.redis_restore import Restore, disaster

MakeRedis = Callable[..., RedisServer]


def test_killed_in_the_middle_of_the_swap(make_redis: MakeRedis, tmp_path: Path, monkeypatch: Any) -> None:
    server = make_redis()
    fill(server)
    wanted = server.content()
    restore = Restore(server, tmp_path, FURTHER)
    disaster(server)
    before = server.content()
    restore.prepare(server)

    def die(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    # As SIGKILL leaves it: databases emptied, some keys put, no code of ours runs any more.
    with monkeypatch.context() as patch:
        patch.setattr(_restore, "compare_counts", die)
        patch.setattr(_restore, "_back_out", lambda *_arguments: None)
        with pytest.raises(KeyboardInterrupt):
            restore.swap(server)
    server.send("DEL", "list big")
    assert server.content() not in (before, wanted)
    with pytest.raises(StateError, match=r"already begun.*undo"):
        restore.prepare(server)
    restore.swap(server)
    wanted_now = {**wanted, (4, b"foreign"): before[(4, b"foreign")]}
    assert server.content() == wanted_now
    assert restore.swap(server)["changed"] is False
    assert server.content() == wanted_now
    restore.undo(server)
    assert server.content() == before


def test_server_that_dies_in_the_swap_can_be_undone_later(
    make_redis: MakeRedis, tmp_path: Path, monkeypatch: Any
) -> None:
    server = make_redis()
    fill(server)
    restore = Restore(server, tmp_path, FURTHER)
    before = server.content()
    restore.prepare(server)
    server.send("SAVE")

    def kill(*_arguments: Any) -> None:
        server.stop(hard=True)
        raise ConnectError("Redis closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr(_restore, "load", kill)
        with pytest.raises(ConnectError, match=r"failed too.*before\.rdb.*undo"):
            restore.swap(server)
    server.start()
    server.send("SET", "something", "new")
    restore.undo(server)
    assert server.content() == before


def test_what_was_written_after_prepare_is_what_undo_puts_back(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis()
    server.send("SET", "key", "saved")
    restore = Restore(server, tmp_path)
    restore.prepare(server)
    server.send("SET", "key", "after prepare")
    restore.swap(server)
    assert server.send("GET", "key") == b"saved"
    restore.undo(server)
    assert server.send("GET", "key") == b"after prepare"


def test_undo_before_the_swap_leaves_the_server_alone(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis()
    server.send("SET", "key", "saved")
    restore = Restore(server, tmp_path)
    restore.prepare(server)
    server.send("SET", "key", "after prepare")
    assert restore.undo(server) == {"changed": True, "keys": {}}
    assert server.send("GET", "key") == b"after prepare"


@pytest.mark.parametrize("name", ["new.rdb", "before.rdb"])
def test_altered_kept_files_are_refused_before_anything_is_emptied(
    make_redis: MakeRedis, tmp_path: Path, name: str
) -> None:
    server = make_redis()
    server.send("SET", "key", "x")
    restore = Restore(server, tmp_path)
    restore.prepare(server)
    if name == "before.rdb":
        restore.swap(server)
    path = Path(restore.folder.file(name))
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(IntegrityError, match=r"was altered.*not touched"):
        (restore.swap if name == "new.rdb" else restore.undo)(server)
    assert server.send("GET", "key") == b"x"


def test_damaged_artifacts_change_nothing(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis()
    fill(server, more=10)
    restore = Restore(server, tmp_path, FURTHER)
    server.send("SET", "live", "x")
    before = server.content()
    artifact = restore.set / "redis" / "dump.rdb"
    good = artifact.read_bytes()
    for bad in (good[:-1], good[:1000], b"", good + b"\x00", good[:2000] + bytes([good[2000] ^ 4]) + good[2001:]):
        artifact.write_bytes(bad)
        for step in (restore.check, restore.prepare):
            with pytest.raises(IntegrityError):
                step(server)
    artifact.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        restore.check(server)
    with pytest.raises(StateError, match=r"Nothing was prepared.*prepare"):
        restore.swap(server)
    assert server.content() == before
    assert not [name for _path, _folders, names in os.walk(restore.folder.path) for name in names]


def test_manifest_that_says_otherwise(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis()
    server.send("SET", "key", "x")
    restore = Restore(server, tmp_path)
    manifest = restore.manifest
    manifest["components"]["redis"]["fingerprint"]["keys"] = {"0": 2}
    with pytest.raises(IntegrityError, match=r"keys \{'0': 1\}, the manifest says \{'0': 2\}"):
        _restore.check(restore.request(server), restore.source(), manifest, str(tmp_path))


def test_servers_that_cannot_take_a_restore(make_redis: MakeRedis, tmp_path: Path) -> None:
    source = make_redis()
    source.send("SET", "secret-name", os.urandom(2000000))
    source.send("SET", "high", "x", db=12)
    restore = Restore(source, tmp_path, (12,))
    replica = make_redis(options=["replicaof 127.0.0.1 %d" % source.port])
    few = make_redis(options=["databases 4"])
    renamed = make_redis(options=['rename-command FLUSHDB ""'])
    small = make_redis(options=["proto-max-bulk-len 1mb"])
    users = make_redis(users=["weak on >word ~* +@all -restore -flushdb"])
    login = {"username": "weak", "password": "word"}
    limit = time.monotonic() + 20
    while replica.info("master_link_status") != "up" and time.monotonic() < limit:
        time.sleep(0.1)
    for server, more, words in (
        (replica, {}, "is a replica.*REPLICAOF NO ONE"),
        (make_redis(options=["cluster-enabled yes"]), {}, "cluster mode"),
        (few, {}, "SELECT: ERR DB index is out of range"),
        (renamed, {}, "refused FLUSHDB.*renamed"),
        (small, {}, "value of 1.9 MiB.*proto-max-bulk-len"),
        (users, login, "refused FLUSHDB: NOPERM.*refused RESTORE: NOPERM"),
    ):
        with pytest.raises(StateError, match=words) as caught:
            restore.check(server, **more)
        assert "secret-name" not in str(caught.value)


def test_another_server_is_not_undone(make_redis: MakeRedis, tmp_path: Path) -> None:
    server, other = make_redis(), make_redis()
    server.send("SET", "key", "x")
    other.send("SET", "theirs", "x")
    restore = Restore(server, tmp_path)
    restore.prepare(server)
    restore.swap(server)
    for step in (restore.swap, restore.undo):
        with pytest.raises(StateError, match="was prepared for Redis at 127.0.0.1:%d" % server.port):
            step(other)
    assert other.keys() == [b"theirs"]


def test_present_content_is_kept_by_bgsave_where_replication_is_not_allowed(
    make_redis: MakeRedis, tmp_path: Path
) -> None:
    server = make_redis(users=["some on >word ~* +@all -psync -sync", "none on >word ~* +@all -psync -bgsave"])
    server.send("SET", "key", "x")
    restore = Restore(server, tmp_path)
    assert restore.prepare(server, username="some", password="word")["method"] == "bgsave"
    restore.swap(server, username="some", password="word")
    other = WorkFolder(str(tmp_path / "other"), RESTORE_ID)
    request = restore.request(server, username="none", password="word")
    with pytest.raises(StateError, match=r"no way back.*psync.*bgsave"):
        _restore.prepare(request, restore.source(), restore.manifest, other)


def test_work_folder_is_private_and_needs_room(make_redis: MakeRedis, tmp_path: Path, monkeypatch: Any) -> None:
    server = make_redis()
    server.send("SET", "key", "x")
    restore = Restore(server, tmp_path)
    monkeypatch.setattr(_files, "free_bytes", lambda path: 10)
    with pytest.raises(SpaceError, match=r"10 B free.*work_dir"):
        restore.prepare(server)
    monkeypatch.undo()
    restore.prepare(server)
    for path, folders, files in os.walk(tmp_path / "work"):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
        for name in files:
            assert stat.S_IMODE(os.stat(os.path.join(path, name)).st_mode) == 0o600
        assert folders is not None
    with pytest.raises(InputError, match="not the id"):
        WorkFolder(str(tmp_path), "../../etc")


def test_module_through_all_steps(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis(password="secret", options=["appendonly yes"])
    fill(server, more=10)
    before = server.content()
    restore = Restore(server, tmp_path, FURTHER)
    server.send("FLUSHALL")
    server.send("SET", "new", "x")

    def step(name: str, check: bool = False, **more: Any) -> dict[str, Any]:
        options = options_for(server, step=name, restore_id=RESTORE_ID, work_dir=str(tmp_path / "kept"), **more)
        options["redis_databases"] = [0, *FURTHER]
        result = run_module("authentik_redis_restore", options, check=check)
        assert not result.get("failed"), result["msg"]
        return result

    src: Any = {"src": str(restore.set)}
    for result in (step("check", **src), step("prepare", check=True, **src), step("check", check=True, **src)):
        assert result["changed"] is False
        assert "1 key is replaced by %d" % result["keys"]["0"] in result["plan"][1]
    assert not (tmp_path / "kept").exists()
    assert step("swap", check=True)["changed"] is False
    assert step("prepare", **src)["changed"]
    assert step("swap", check=True)["changed"]
    assert server.keys() == [b"new"]
    assert step("swap")["keys"]["1"] == 110
    assert server.content() == before
    assert step("undo", check=True)["changed"]
    assert server.content() == before
    assert step("undo")["changed"]
    assert server.keys() == [b"new"]
    assert step("undo")["changed"] is False
    assert not (tmp_path / "kept" / RESTORE_ID).exists()


def test_a_dump_whose_end_became_zeros_is_not_taken_for_one_without_a_checksum(
    make_redis: MakeRedis, tmp_path: Path
) -> None:
    """What a disk that was full, or a copy that was cut short, leaves; the set's own checksum was taken of it."""
    server = make_redis()
    server.send("SET", "key", "x")
    restore = Restore(server, tmp_path)
    data = (restore.set / "redis" / "dump.rdb").read_bytes()[:-8] + bytes(8)
    fingerprint = restore.manifest["components"]["redis"]["fingerprint"]
    shutil.rmtree(restore.set)
    write_set(restore.set, data, fingerprint)
    with pytest.raises(IntegrityError, match=r"checksum disabled, the manifest says ok"):
        restore.check(server)


def test_module_on_sets_and_instances_without_redis(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis()
    server.send("SET", "key", "x")
    restore = Restore(server, tmp_path)
    options = options_for(server, step="check", src=str(restore.set))
    missing = run_module("authentik_redis_restore", {**options, "redis_enabled": False})
    assert missing["failed"]
    assert "this instance has none" in missing["msg"]
    manifest = restore.manifest
    manifest["components"], manifest["artifacts"] = {}, []
    (restore.set / "manifest.json").write_text(json.dumps(manifest))
    result = run_module("authentik_redis_restore", options)
    assert (result["changed"], result["plan"]) == (False, ["The set holds no Redis: nothing to restore."])


def test_module_options_that_are_needed(make_redis: MakeRedis) -> None:
    server = make_redis()
    for step in ("prepare", "swap", "undo"):
        result = run_module("authentik_redis_restore", options_for(server, step=step))
        assert "restore_id" in result["msg"]
    result = run_module("authentik_redis_restore", options_for(server, step="undo", restore_id="../x"))
    assert "not the id" in result["msg"]


def test_module_options_are_heeded(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis(options=["rdb-key-save-delay 20000", "repl-diskless-sync no"])
    source = make_redis()
    server.send_all([("SET", "key %d" % n, "x") for n in range(200)])
    source.send_all([("SET", "other", "x"), ("SELECT", 3), ("SET", "chosen", "x")])
    restore = Restore(source, tmp_path)
    options = options_for(server, src=str(restore.set), restore_id=RESTORE_ID, redis_databases=[3])
    checked = run_module("authentik_redis_restore", {**options, "step": "check"})
    assert (checked["databases"], checked["keys"]) == ([3], {"3": 1})
    prepare = {**options, "step": "prepare", "work_dir": str(tmp_path / "kept"), "timeout": 1}
    result = run_module("authentik_redis_restore", prepare)
    assert "no way back" in result["msg"]
    assert "within 1 seconds" in result["msg"]
