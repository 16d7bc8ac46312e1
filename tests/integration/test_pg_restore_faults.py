# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Damaged sets, killed restores, missing rights, stubborn clients: the live database stays, or comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import authentik_data, oracle
from tests.support.pg_sets import (
    CWD,
    SUFFIX,
    admin_options,
    arguments,
    command,
    make_set,
    read_manifest,
    restore,
    write_manifest,
)
from tests.support.postgres import Database, Server

NEW, BEFORE = "authentik_new_" + SUFFIX, "authentik_before_" + SUFFIX
LOAD, UNDONE = "authentik_load_" + SUFFIX, "authentik_undone_" + SUFFIX
COUNT = "SELECT count(*) FROM authentik_events_event"


@pytest.fixture
def filled(database18: Database) -> Database:
    authentik_data.load(database18.psql, rows=60, tenants=())
    return database18


def artifact_of(folder: Path) -> Path:
    return next((folder / "postgresql").glob("authentik.dump*"))


def steps(database: Database, folder: Path, *names: str, **options: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name in names:
        result = restore(database, name, folder, **options)
        assert not result.get("failed"), result
    return result


def flip(path: Path, share: float) -> None:
    """Change one bit of the byte at a share of the file."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * share)] ^= 0x10
    path.write_bytes(bytes(data))


def cut(path: Path, share: float) -> None:
    """Keep the first share of the file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize(
    ("damage", "share"), [(cut, 0.1), (cut, 0.5), (cut, 0.99), (flip, 0.002), (flip, 0.5), (flip, 0.97)]
)
def test_a_damaged_artifact_is_found_and_nothing_happens(
    filled: Database, tmp_path: Path, damage: Callable[[Path, float], None], share: float, compression: str
) -> None:
    folder = make_set(tmp_path / "set", filled, compression=compression)
    damage(artifact_of(folder), share)
    for step in ("check", "prepare"):
        result = restore(filled, step, folder)
        assert result["error"] == "IntegrityError", result
        assert artifact_of(folder).name in result["msg"]
        assert "recorded" in result["msg"], "the checksum says it, not a program that stumbled over the bytes"
        assert filled.server.databases() == ["authentik"]
    assert filled.psql(COUNT) == "60"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_dump_that_was_stored_truncated_is_found_by_decoding_it(
    filled: Database, tmp_path: Path, share: float, compression: str
) -> None:
    folder = make_set(tmp_path / "set", filled, compression=compression)
    cut(artifact_of(folder), share)
    write_manifest(folder, read_manifest(folder)["components"]["postgresql"])
    for step in ("check", "prepare"):
        result = restore(filled, step, folder)
        assert artifact_of(folder).name in result["msg"], result
        assert filled.server.databases() == ["authentik"]
    assert filled.psql(COUNT) == "60"


def test_damage_behind_what_pg_restore_reads_is_found_by_the_compression(filled: Database, tmp_path: Path) -> None:
    """With fewer entries in its table of contents pg_restore ends early, and nobody would ask for zstd's checksum."""
    noise = "INSERT INTO public.noise SELECT encode(sha256(n::text::bytea), 'hex') FROM generate_series(1, 100000) n"
    filled.psql("CREATE TABLE public.noise (x text); ALTER TABLE public.noise OWNER TO authentik; " + noise)
    folder = make_set(tmp_path / "set", filled)
    artifact = artifact_of(folder)
    assert artifact.suffix == ".zst", "the servers of the tests have no zstd of their own"
    plain = subprocess.run(["zstd", "-dc", artifact], check=True, capture_output=True).stdout
    artifact.chmod(0o600)
    artifact.write_bytes(
        subprocess.run(["zstd", "-c"], input=with_entries(plain, 3), check=True, capture_output=True).stdout
    )
    write_manifest(folder, read_manifest(folder)["components"]["postgresql"])
    assert "zstd" not in restore(filled, "check", folder).get("msg", ""), "the compression is right so far"
    flip(artifact, 1 - 1 / artifact.stat().st_size)
    write_manifest(folder, read_manifest(folder)["components"]["postgresql"])
    result = restore(filled, "check", folder)
    assert result["error"] == "IntegrityError", result
    assert "zstd" in result["msg"]


def with_entries(dump: bytes, entries: int) -> bytes:
    """Change the number of entries in the head of a dump of the custom format."""
    size = dump[8]
    assert dump[:5] == b"PGDMP"
    position = 11
    position += 1 if dump[6] >= 15 else size + 1  # how it is compressed
    position += 7 * (size + 1)  # when it was made
    for _text in range(3):
        length = int.from_bytes(dump[position + 1 : position + 1 + size], "little")
        position += size + 1 + length
    return dump[: position + 1] + entries.to_bytes(size, "little") + dump[position + 1 + size :]


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_damaged_roles_are_found_although_a_restore_does_not_load_them(
    filled: Database, tmp_path: Path, damage: str, recorded: bool
) -> None:
    """Whoever needs them needs them on a new server, when no other set can be made any more."""
    folder = make_set(tmp_path / "set", filled)
    globals_of = next((folder / "postgresql").glob("globals.sql*"))
    if damage == "flipped":
        flip(globals_of, 0.5)
    else:
        os.truncate(globals_of, globals_of.stat().st_size // 2)
    if recorded:
        write_manifest(folder, read_manifest(folder)["components"]["postgresql"])
    result = restore(filled, "check", folder)
    assert "postgresql/globals.sql" in result["msg"]
    assert "another backup set" in result["msg"]


def test_a_copy_that_differs_from_the_fingerprint_is_dropped(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    record = read_manifest(folder)["components"]["postgresql"]
    record["fingerprint"]["tables"]["public.authentik_core_user"]["digest"] = "1"
    record["fingerprint"]["tables"]["public.authentik_core_token"]["rows"] += 1
    write_manifest(folder, record)
    result = restore(filled, "prepare", folder)
    assert result["error"] == "IntegrityError"
    assert "public.authentik_core_user" in result["msg"]
    assert "public.authentik_core_token" in result["msg"]
    assert filled.server.databases() == ["authentik"]
    assert "nothing was prepared" in restore(filled, "swap", folder)["msg"]


def test_undo_after_each_step_and_twice(filled: Database, tmp_path: Path) -> None:
    server = filled.server
    folder = make_set(tmp_path / "set", filled)
    picture = oracle.take(server, "authentik")
    assert steps(filled, folder, "undo")["changed"] is False

    steps(filled, folder, "prepare")
    assert server.databases() == ["authentik", NEW]
    outlook = restore(filled, "undo", folder, check=True)
    assert outlook["dropped"] == [NEW]
    assert server.databases() == ["authentik", NEW], "check mode did it"
    undone = steps(filled, folder, "undo")
    assert (undone["dropped"], undone["left"]) == ([NEW], [])
    assert steps(filled, folder, "undo")["changed"] is False
    assert server.databases() == ["authentik"]

    steps(filled, folder, "prepare")
    assert restore(filled, "swap", folder, check=True)["renamed"] == [["authentik", BEFORE], [NEW, "authentik"]]
    assert server.databases() == ["authentik", NEW], "check mode did it"
    steps(filled, folder, "swap")
    assert steps(filled, folder, "swap")["changed"] is False
    filled.psql("DELETE FROM authentik_events_notification")
    assert restore(filled, "undo", folder, check=True)["kept"] == [UNDONE]
    undone = steps(filled, None, "undo")  # type: ignore[arg-type]
    assert (undone["changed"], undone["left"], undone["kept"]) == (True, [], [UNDONE])
    again = steps(filled, folder, "undo")
    assert (again["changed"], again["left"]) == (False, []), "it was put back before"
    assert again["kept"] == [UNDONE], "the first one may have been killed before it could say so"
    assert server.databases() == ["authentik", UNDONE], "what was written after the restore is kept"
    assert oracle.differences(picture, oracle.take(server, "authentik")) == []
    cleared = steps(filled, folder, "undo", keep_undone=False)
    assert (cleared["dropped"], cleared["kept"]) == ([UNDONE], [])
    assert server.databases() == ["authentik"]


def test_undo_drops_what_was_live_when_told_to(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    filled.psql("DELETE FROM authentik_events_notification")
    steps(filled, folder, "prepare", "swap")
    steps(filled, folder, "undo", keep_undone=False)
    assert filled.server.databases() == ["authentik"]
    assert filled.psql("SELECT count(*) FROM authentik_events_notification") == "0"


def test_a_restore_that_is_live_is_not_prepared_again(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    steps(filled, folder, "prepare", "prepare", "swap")  # preparing anew is fine until the swap
    result = restore(filled, "prepare", folder)
    assert BEFORE in result["msg"]
    assert "Undo it" in result["msg"]
    assert filled.server.databases() == ["authentik", BEFORE]


def test_killed_while_loading(filled: Database, tmp_path: Path) -> None:
    server = filled.server
    folder = make_set(tmp_path / "set", filled)
    given = {"ANSIBLE_MODULE_ARGS": arguments(filled, "prepare", folder, **admin_options(server))}
    with blocked_load(server):
        module = subprocess.Popen(command(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=CWD)
        assert module.stdin is not None
        module.stdin.write(json.dumps(given).encode())
        module.stdin.close()
        wait_for(lambda: LOAD in server.databases() and connected(server, LOAD))
        busy = restore(filled, "prepare", folder)
        os.kill(module.pid, signal.SIGKILL)
        module.wait()
    assert "another restore of database authentik is under way" in busy["msg"]
    wait_for(lambda: not connected(server, LOAD))
    assert server.databases() == ["authentik", LOAD]
    assert "nothing was prepared" in restore(filled, "swap", folder)["msg"]
    assert filled.psql(COUNT) == "60"
    assert steps(filled, folder, "undo")["dropped"] == [LOAD]
    assert server.databases() == ["authentik"]


def test_the_next_restore_clears_what_a_killed_one_left(filled: Database, tmp_path: Path) -> None:
    server = filled.server
    folder = make_set(tmp_path / "set", filled)
    gone = ("authentik_load_20260101t000000z_ffff", "authentik_new_20260102t000000z_ffff")
    kept = ("authentik_load_2026", "authentik_loader", "authentik_before_20260101t000000z_ffff")
    for name in (LOAD, *gone, *kept):
        server.psql('CREATE DATABASE "%s"' % name)
    steps(filled, folder, "prepare")
    assert server.databases() == sorted(["authentik", NEW, *kept])


@contextmanager
def blocked_load(server: Server) -> Iterator[None]:
    """Hold up the load as soon as its database exists: by the lock on a catalog that every CREATE TABLE writes to."""
    sql = (
        """BEGIN;
DO $$ BEGIN
    WHILE NOT EXISTS (SELECT FROM pg_database WHERE datname = '%s') LOOP PERFORM pg_sleep(0.003); END LOOP;
END $$;
LOCK TABLE pg_shdepend IN SHARE MODE;
"""
        % LOAD
    )
    psql = [str(server.bin / "psql"), "-X", "-q", "-d", "postgres"]
    with subprocess.Popen(psql, stdin=subprocess.PIPE, env=server.environment()) as session:
        assert session.stdin is not None
        session.stdin.write(sql.encode())
        session.stdin.flush()
        try:
            yield
        finally:
            session.stdin.close()


def connected(server: Server, name: str) -> bool:
    return server.psql("SELECT count(*) FROM pg_stat_activity WHERE datname = '%s'" % name) != "0"


def wait_for(ready: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def test_clients_that_come_back_at_once_lose_nothing_but_their_connection(filled: Database, tmp_path: Path) -> None:
    """As authentik does when it was not stopped; a superuser's clients may connect even where others may not."""
    folder = make_set(tmp_path / "set", filled)
    steps(filled, folder, "prepare")
    stop = threading.Event()
    seen: list[str] = []

    def hammer(user: str, password: str) -> None:
        psql = [str(filled.server.bin / "psql"), "-X", "-A", "-t", "-d", "authentik"]
        sql = "SELECT oid FROM pg_database WHERE datname = current_database(); SELECT pg_sleep(60)"
        while not stop.is_set():
            done = subprocess.run(
                [*psql, "-c", sql], env=filled.server.environment(user, password), capture_output=True, check=False
            )
            seen.extend(done.stdout.decode().split())

    logins = [(filled.owner, filled.password), ("postgres", filled.server.password)] * 2
    threads = [threading.Thread(target=hammer, args=login) for login in logins]
    for thread in threads:
        thread.start()
    wait_for(lambda: filled.server.psql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'authentik'") == "4")
    result = restore(filled, "swap", folder)
    wait_for(lambda: filled.server.psql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'authentik'") == "4")
    stop.set()
    for _time in range(3):
        filled.server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'authentik'")
        time.sleep(0.2)
    for thread in threads:
        thread.join()
    assert not result.get("failed"), result
    assert result["cut_over_seconds"] < 5
    oid = filled.admin("SELECT oid FROM pg_database WHERE datname = 'authentik'")
    assert set(seen[-4:]) == {oid}, "clients that came back are in the restored database"
    kept = "SELECT datallowconn FROM pg_database WHERE datname = '%s'" % BEFORE
    assert filled.server.psql(kept) == "f", "nobody writes to what is kept"


def test_nobody_may_create_databases(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    result = restore(filled, "check", folder, admin_user=None, admin_password=None)
    assert "no CREATEDB" in result["msg"]
    assert "admin_user" in result["msg"]
    assert "admin_run_as" in result["msg"]
    assert restore(filled, "check", folder, admin_password="not it")["error"] == "ConnectError"


def test_a_role_with_createdb_that_is_a_member_of_the_owner_is_enough(filled: Database, tmp_path: Path) -> None:
    server = filled.server
    password = server.create_role("operator", options="CREATEDB")
    folder = make_set(tmp_path / "set", filled)
    refused = restore(filled, "check", folder, admin_user="operator", admin_password=password)
    assert "no member of authentik" in refused["msg"]
    server.psql("GRANT authentik TO operator")
    picture = oracle.take(server, "authentik")
    steps(filled, folder, "prepare", "swap", admin_user="operator", admin_password=password)
    assert oracle.differences(picture, oracle.take(server, "authentik")) == []


def test_the_servers_own_user_over_the_socket(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    login = {"admin_user": None, "admin_password": None, "admin_run_as": filled.server.os_user}
    login["postgresql_host"] = filled.server.socket_dir
    steps(filled, folder, "prepare", "swap", **login)
    assert filled.server.databases() == ["authentik", BEFORE]


def test_privileges_of_a_role_that_the_server_lacks(filled: Database, tmp_path: Path) -> None:
    server = filled.server
    server.psql("CREATE ROLE auditor")
    filled.psql("GRANT SELECT ON authentik_core_user TO auditor")
    folder = make_set(tmp_path / "set", filled)
    filled.psql("REVOKE ALL ON authentik_core_user FROM auditor")
    server.psql("DROP ROLE auditor")
    for step in ("check", "prepare"):
        result = restore(filled, step, folder)
        assert "auditor" in result["msg"]
        assert "skip_privileges" in result["msg"]
        assert server.databases() == ["authentik"]
    steps(filled, folder, "check", "prepare", "swap", skip_privileges=True)
    assert filled.psql(COUNT) == "60"


def test_a_prepared_transaction_forbids_the_swap_in_advance(tmp_path: Path) -> None:
    with Server(18, settings={"max_prepared_transactions": "2"}) as server:
        database = server.create_database()
        database.psql("CREATE TABLE t (a int)")
        folder = make_set(tmp_path / "set", database)
        database.psql("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'half'")
        assert "prepared transactions hold authentik" in restore(database, "check", folder)["msg"]
        database.psql("COMMIT PREPARED 'half'")
        assert not restore(database, "check", folder).get("failed")


def test_free_space_is_judged_where_it_can_be_seen(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    plan = "\n".join(restore(filled, "check", folder)["plan"])
    assert str(filled.server.data) in plan
    record = read_manifest(folder)["components"]["postgresql"]
    record["database_bytes"] = 2**60
    write_manifest(folder, record)
    result = restore(filled, "check", folder)
    assert "1.0 EiB" in result["msg"] or "1024.0 PiB" in result["msg"]
    assert "free" in result["msg"]
