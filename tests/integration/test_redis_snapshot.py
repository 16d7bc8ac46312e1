# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of real Redis servers, proved by loading them into another server, not by our reader."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import RedisSettings
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    IntegrityError,
    RecoveryError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis import _snapshot
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import CommandError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._rdb import RdbReader
from tests.support.redis import RedisServer, TlsFront, make_certificates
from tests.support.redis_data import fill
from tests.support.redis_module import options_for, run_module

MakeRedis = Callable[..., RedisServer]


def settings_of(server: RedisServer, **more: object) -> RedisSettings:
    return RedisSettings(host="127.0.0.1", port=server.port, password=server.password or None, **more)  # type: ignore[arg-type]


def snapshot(server: RedisServer, method: str, limit: float = 30, **more: object) -> tuple[bytes, _snapshot.Snapshot]:
    out = io.BytesIO()
    taken = _snapshot.take_snapshot(settings_of(server, **more), out, method, limit)
    return out.getvalue(), taken


@pytest.mark.parametrize("method", _snapshot.METHODS)
@pytest.mark.parametrize(
    "options", [["repl-diskless-sync no"], ["repl-diskless-sync yes", "rdbcompression no"]], ids=["disk", "diskless"]
)
def test_another_server_loads_every_key(
    make_redis: MakeRedis, redis_program: str, method: str, options: list[str], tmp_path: Path
) -> None:
    server = make_redis(program=redis_program, options=options)
    fill(server)
    data, taken = snapshot(server, method)
    fingerprint = taken.summary.fingerprint()
    counts = {str(db): len(server.keys(db)) for db in (0, 1, 9)}
    assert fingerprint["keys"] == counts
    assert fingerprint["expiring"] == {"1": 100, "9": 2}
    assert fingerprint["checksum"] == "ok"
    assert str(fingerprint["redis_version"]).startswith("%d.%d." % server.version)
    assert taken.warnings == []

    (tmp_path / "dump.rdb").write_bytes(data)
    loaded = make_redis(program=redis_program, options=options, directory=tmp_path)
    assert loaded.content() == server.content()
    if server.version >= (7, 0):
        assert loaded.send("FUNCTION", "DUMP") == server.send("FUNCTION", "DUMP")


@pytest.mark.parametrize("method", _snapshot.METHODS)
def test_empty_server(redis: RedisServer, method: str) -> None:
    _data, taken = snapshot(redis, method)
    assert taken.summary.keys == {}


def test_bgsave_does_not_take_an_earlier_save_for_its_own(make_redis: MakeRedis) -> None:
    server = make_redis()
    for number in range(3):
        server.send("SET", "latest", number)
        server.send("SAVE")
        server.send("SET", "written after the save %d" % number, "x")
        data, _taken = snapshot(server, "bgsave")
        assert b"written after the save %d" % number in data


def test_bgsave_waits_for_one_that_runs_and_for_an_aof_rewrite(make_redis: MakeRedis) -> None:
    server = make_redis(options=["appendonly yes", "rdb-key-save-delay 3000"])
    server.send_all([("SET", "key %d" % n, "x" * 50) for n in range(400)])
    server.send("BGREWRITEAOF")
    server.send("SET", "after the fork", "x")
    data, _taken = snapshot(server, "bgsave")
    assert b"after the fork" in data
    server.send("BGSAVE")
    server.send("SET", "after the second fork", "x")
    data, _taken = snapshot(server, "bgsave")
    assert b"after the second fork" in data


@pytest.mark.parametrize("method", ["bgsave", "replication"])
def test_the_limit_is_kept(make_redis: MakeRedis, method: str) -> None:
    server = make_redis(options=["rdb-key-save-delay 100000", "repl-diskless-sync no", "repl-ping-replica-period 1"])
    server.send_all([("SET", "key %d" % n, "x") for n in range(200)])
    began = time.monotonic()
    with pytest.raises(StateError, match=r"within 0\.5 seconds.*timeout"):
        snapshot(server, method, limit=0.5)
    assert time.monotonic() - began < 5


def test_failed_bgsave_is_an_error(make_redis: MakeRedis) -> None:
    server = make_redis()
    server.send("SET", "key", "x")
    # Renaming over a folder fails, as a full disk or a folder without rights does; root is stopped by it too.
    (server.directory / "taken").mkdir()
    (server.directory / "taken" / "inside").mkdir()
    server.send("CONFIG", "SET", "dbfilename", "taken")
    with pytest.raises(StateError, match=r"did not finish the save: its status is err.*log"):
        snapshot(server, "bgsave")


def test_server_killed_while_it_saves(make_redis: MakeRedis) -> None:
    for method in ("bgsave", "replication"):
        server = make_redis(options=["rdb-key-save-delay 5000", "repl-ping-replica-period 1"])
        server.send_all([("SET", "key %d" % n, "x" * 1000) for n in range(400)])
        killer = threading.Timer(0.4, server.stop, kwargs={"hard": True})
        killer.start()
        with pytest.raises(ConnectError, match=r"closed the connection|cannot be reached"):
            snapshot(server, method)
        killer.join()


def test_child_killed_while_it_saves(make_redis: MakeRedis) -> None:
    server = make_redis(options=["rdb-key-save-delay 20000"])
    server.send_all([("SET", "key %d" % n, "x") for n in range(400)])

    def kill() -> None:
        while server.info("rdb_bgsave_in_progress") != "1":
            time.sleep(0.05)
        children = Path("/proc/%d/task/%d/children" % (server.pid, server.pid)).read_text().split()
        os.kill(int(children[0]), 9)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StateError, match="status is err"):
        snapshot(server, "bgsave")
    killer.join()


def test_replication_survives_keepalives_before_the_dump(make_redis: MakeRedis) -> None:
    server = make_redis(options=["repl-diskless-sync no", "rdb-key-save-delay 5000", "repl-ping-replica-period 1"])
    server.send_all([("SET", "key %d" % n, "x") for n in range(500)])
    _data, taken = snapshot(server, "replication")
    assert taken.summary.keys == {0: 500}


def fake_primary(answer: bytes) -> tuple[socket.socket, int]:
    """Listen as a server that answers PSYNC with *answer* and closes the connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    info = b"# Server\r\nredis_version:7.0.15\r\nrun_id:x\r\nrole:master\r\n"

    def serve() -> None:
        link, _peer = listener.accept()
        with link:
            link.recv(1000)
            link.sendall(b"$%d\r\n%s\r\n" % (len(info), info))
            for _option in range(2):
                link.recv(1000)
                link.sendall(b"+OK\r\n")
            link.recv(1000)
            link.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return listener, int(listener.getsockname()[1])


@pytest.mark.parametrize("marker", [True, False], ids=["marker", "length"])
def test_replication_cut_short_anywhere_is_noticed(make_redis: MakeRedis, marker: bool) -> None:
    server = make_redis()
    server.send("SET", "key", "value")
    server.send("SAVE")
    dump = server.dump_file.read_bytes()
    end = b"0123456789" * 4
    head = b"\n\n+FULLRESYNC " + b"a" * 40 + b" 0\r\n\n" + (b"$EOF:" + end if marker else b"$%d" % len(dump)) + b"\r\n"
    whole = head + dump + (end if marker else b"")
    for cut in (0, 1, len(dump) // 2, len(dump) + (0 if marker else -1)):
        answer = whole[: len(head) + cut]
        listener, port = fake_primary(answer)
        with listener, pytest.raises((ConnectError, IntegrityError)):
            _snapshot.take_snapshot(RedisSettings(host="127.0.0.1", port=port), io.BytesIO(), "replication", 5)
    listener, port = fake_primary(whole + (b"" if marker else b"*1\r\n$4\r\nPING\r\n"))
    out = io.BytesIO()
    with listener:
        _snapshot.take_snapshot(RedisSettings(host="127.0.0.1", port=port), out, "replication", 5)
    assert out.getvalue() == dump


def test_config_forbidden_names_the_other_method(make_redis: MakeRedis) -> None:
    rights = "+info +time +lastsave +bgsave +psync +replconf +select"
    server = make_redis(users=["backup on >word ~* %s" % rights])
    server.send("SET", "key", "x")
    settings = RedisSettings(host="127.0.0.1", port=server.port, username="backup", password="word")
    with pytest.raises(StateError, match=r"CONFIG GET is forbidden.*method replication"):
        _snapshot.take_snapshot(settings, io.BytesIO(), "bgsave", 30)
    assert _snapshot.take_snapshot(settings, io.BytesIO(), "replication", 30).summary.keys == {0: 1}


@pytest.mark.parametrize(
    ("rights", "method", "words"),
    [
        ("+info +time +lastsave +config", "bgsave", r"BGSAVE.*NOPERM.*\+bgsave"),
        ("+info", "replication", r"NOPERM.*\+psync \+replconf"),
        ("+info +replconf", "replication", r"NOPERM.*\+psync \+replconf"),
        ("+time", "bgsave", "INFO.*NOPERM"),
    ],
)
def test_acl_user_that_lacks_commands(make_redis: MakeRedis, rights: str, method: str, words: str) -> None:
    server = make_redis(users=["backup on >word ~* %s" % rights])
    settings = RedisSettings(host="127.0.0.1", port=server.port, username="backup", password="word")
    with pytest.raises(CommandError, match=words):
        _snapshot.take_snapshot(settings, io.BytesIO(), method, 30)


def test_a_file_of_another_server_is_refused(make_redis: MakeRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    server, other = make_redis(), make_redis()
    server.send("SET", "key", "x")
    other.send("SET", "of the other", "x")
    other.send("SAVE")
    time.sleep(1.1)
    # As where the server runs in a container or on another host: its path is another file here, or none.
    monkeypatch.setattr(_snapshot, "_dump_path", lambda client: str(other.dump_file))
    with pytest.raises(StateError, match=r"not the dump of this server.*method replication"):
        snapshot(server, "bgsave")
    monkeypatch.setattr(_snapshot, "_dump_path", lambda client: str(other.directory / "none.rdb"))
    with pytest.raises(StateError, match=r"none\.rdb.*cannot be read on this host.*method replication"):
        snapshot(server, "bgsave")


def test_checksum_switched_off_is_said(make_redis: MakeRedis) -> None:
    server = make_redis(options=["rdbchecksum no"])
    server.send("SET", "key", "x")
    _data, taken = snapshot(server, "save")
    assert taken.summary.checksum == "disabled"
    assert "no checksum" in taken.warnings[0]


def test_cluster_and_orphaned_replica_are_refused_and_a_replica_is_said(make_redis: MakeRedis) -> None:
    with pytest.raises(StateError, match="cluster mode"):
        snapshot(make_redis(options=["cluster-enabled yes"]), "replication")
    primary = make_redis()
    primary.send("SET", "key", "x")
    replica = make_redis(options=["replicaof 127.0.0.1 %d" % primary.port])
    limit = time.monotonic() + 20
    while replica.info("master_link_status") != "up" and time.monotonic() < limit:
        time.sleep(0.1)
    _data, taken = snapshot(replica, "bgsave")
    assert taken.summary.keys == {0: 1}
    assert "replica" in taken.warnings[0]
    primary.stop()
    limit = time.monotonic() + 20
    while replica.info("master_link_status") == "up" and time.monotonic() < limit:
        time.sleep(0.1)
    with pytest.raises(StateError, match="lost its primary"):
        snapshot(replica, "bgsave")


def test_damage_on_the_way_into_the_file_is_noticed(make_redis: MakeRedis) -> None:
    server = make_redis()
    fill(server, more=0)
    server.send("SAVE")
    good = server.dump_file.read_bytes()
    for bad in (good[:-1], good[:100], good + b"\n", good[:5000] + bytes([good[5000] ^ 1]) + good[5001:]):
        with pytest.raises(RecoveryError):
            RdbReader(io.BytesIO(bad)).finish()


@pytest.mark.parametrize("method", _snapshot.METHODS)
def test_module(make_redis: MakeRedis, tmp_path: Path, method: str) -> None:
    server = make_redis(password="secret")
    fill(server, more=10)
    options = options_for(server, dest=str(tmp_path / "set"), method=method)
    result = run_module("authentik_redis_snapshot", options)
    record = result["components"][0]
    assert (result["changed"], result["redis"], record["method"]) == (True, True, method)
    artifact = record["artifacts"][0]
    data = (tmp_path / "set" / "redis" / "dump.rdb").read_bytes()
    assert (artifact["path"], artifact["size"]) == ("redis/dump.rdb", len(data))
    digest = subprocess.run(["sha256sum"], input=data, capture_output=True, check=True).stdout.split()[0].decode()
    assert artifact["sha256"] == digest
    assert record["fingerprint"]["keys"]["1"] == 110
    # The server itself says how it was asked.
    counted = str(server.send("INFO", "commandstats"))
    asked = [name for name in ("bgsave", "save", "psync") if "cmdstat_%s:" % name in counted]
    assert asked == ["psync" if method == "replication" else method]
    assert "secret" not in str(result).replace("secret_key", "")


@pytest.mark.parametrize(
    ("wanted", "place", "deployment", "method"),
    [
        ("auto", {"host": "localhost"}, "host", "bgsave"),
        ("auto", {"host": "127.0.0.2"}, "host", "bgsave"),
        ("auto", {"host": "::1"}, "host", "bgsave"),
        ("auto", {"host": "cache.example.com", "socket": "/run/redis.sock"}, "host", "bgsave"),
        ("auto", {"host": "cache.example.com"}, "host", "replication"),
        ("auto", {"host": "10.0.0.7"}, "host", "replication"),
        ("auto", {"host": "172.18.0.3"}, "compose", "replication"),
        # A container with the host's network: its files are its own all the same.
        ("auto", {"host": "127.0.0.1"}, "compose", "replication"),
        ("save", {"host": "172.18.0.3"}, "compose", "save"),
    ],
)
def test_the_method_that_is_chosen(wanted: str, place: dict[str, str], deployment: str, method: str) -> None:
    assert _snapshot.choose_method(wanted, RedisSettings(**place), deployment) == method  # type: ignore[arg-type]


def test_module_chooses_the_method(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis()
    fill(server, more=10)
    result = run_module("authentik_redis_snapshot", options_for(server, dest=str(tmp_path / "set")))
    assert result["components"][0]["method"] == "bgsave"
    counted = str(server.send("INFO", "commandstats"))
    assert ("cmdstat_bgsave:" in counted, "cmdstat_psync:" in counted) == (True, False)


def test_module_in_check_mode_saves_nothing(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis()
    fill(server, more=10)
    before = server.info("rdb_changes_since_last_save")
    result = run_module("authentik_redis_snapshot", options_for(server, dest=str(tmp_path / "set")), check=True)
    assert result["changed"]
    assert "%d keys" % (len(server.keys(0)) + len(server.keys(1)) + len(server.keys(9))) in result["plan"][0]
    assert not (tmp_path / "set").exists()
    assert server.info("rdb_changes_since_last_save") == before


def test_module_without_redis(make_redis: MakeRedis, tmp_path: Path) -> None:
    options = {**options_for(make_redis(), dest=str(tmp_path / "set")), "redis_enabled": False}
    result = run_module("authentik_redis_snapshot", options)
    assert (result.get("failed"), result["changed"], result["redis"], result["components"]) == (None, False, False, [])


def test_module_that_fails_leaves_no_artifact(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis(options=["rdb-key-save-delay 100000"])
    server.send_all([("SET", "key %d" % n, "x") for n in range(200)])
    result = run_module("authentik_redis_snapshot", options_for(server, dest=str(tmp_path / "set"), timeout=1))
    assert result["failed"]
    assert "within 1 seconds" in result["msg"]
    assert not (tmp_path / "set" / "redis" / "dump.rdb").exists()


def test_module_over_tls_and_over_a_socket(make_redis: MakeRedis, tmp_path: Path) -> None:
    server = make_redis(password="secret", users=["saver on >word ~* +@all"])
    certificates = make_certificates(tmp_path, "localhost")
    login = {"redis_username": "saver", "redis_password": "word", "method": "replication"}
    with TlsFront(server.port, certificates) as front:
        way = {"redis_host": "localhost", "redis_port": front.port, "redis_tls": True, "redis_tls_reqs": "required"}
        options = options_for(server, dest=str(tmp_path / "tls"), **{**login, **way})
        refused = run_module("authentik_redis_snapshot", options)
        assert "not accepted" in refused["msg"]
        result = run_module("authentik_redis_snapshot", {**options, "redis_tls_ca_cert": certificates["ca"]})
        assert result["changed"], result
    over_socket = {**login, "redis_host": "host.invalid", "redis_socket": server.socket}
    result = run_module("authentik_redis_snapshot", options_for(server, dest=str(tmp_path / "socket"), **over_socket))
    assert result["changed"], result
