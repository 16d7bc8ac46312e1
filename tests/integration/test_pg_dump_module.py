# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dumps that cannot be made say why and leave nothing; options are obeyed; the password is nowhere to be seen."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import authentik_data
from tests.support.pg_dumps import (
    arguments,
    fake_programs,
    load_dump,
    plain_text,
    record_of,
    run_dump,
    start,
)
from tests.support.postgres import Database, Server, free_port


@pytest.fixture
def filled(database18: Database) -> Database:
    """An authentik-shaped database, owned by a plain role."""
    authentik_data.load(database18.psql, rows=60, tenants=())
    return database18


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def check_failure(result: dict[str, Any], *said: str) -> None:
    assert result.get("failed"), result
    for fragment in said:
        assert fragment in result["msg"] + result.get("hint", "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"postgresql_password": "not-this-one"}, "the password is wrong"),
        ({"postgresql_name": "nowhere"}, 'database "nowhere" does not exist'),
        ({"postgresql_host": "127.0.0.1", "postgresql_port": free_port()}, "no server listens there"),
        ({"postgresql_password": "two\nlines"}, "line break"),
        ({"exclude_data": ["tasks"]}, "add task_logs to exclude_data"),
        ({"exclude_data": ["events"]}, "add notifications to exclude_data"),
        ({"exclude_data": ["sessions"]}, "value of exclude_data must be one or more of"),
        ({"exclude_table_data": ["public.authentik_core_user"]}, "leave out the data of all of them, or of none"),
        ({"exclude_table_data": ["nothing_like_it"]}, "is no table of this database"),
        ({"method": "everything"}, "value of method must be one of: dump, dumpall"),
        ({"compression": "lz4"}, "value of compression must be one of"),
        ({"compression": "pg_dump_zstd"}, "built without zstd"),
        ({"postgresql_bin_dir": "/nonexistent"}, "/nonexistent holds no working pg_dump"),
        ({"method": "dumpall", "exclude_databases": ["authentik"]}, "the instance's own database"),
        ({"no_such_option": 1}, "Unsupported parameters"),
        ({"dest": "/proc/nowhere"}, "/proc/nowhere"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(
    filled: Database, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    dest = Path(options.get("dest", tmp_path / "dest"))
    check_failure(run_dump(filled, **{"dest": dest, **options}), said)
    assert not dest.exists() or files_in(dest) == []


def test_tables_and_sequences_the_role_may_not_read_are_named_before_the_dump(filled: Database, tmp_path: Path) -> None:
    password = filled.server.create_role("reader")
    reader: dict[str, Any] = {"postgresql_user": "reader", "postgresql_password": password}
    for grant, hidden in (
        ("SELECT 1", "may not read tables public."),
        ("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", "may not read sequences public."),
        (
            "REVOKE SELECT ON authentik_core_token FROM reader",
            "may not read tables public.authentik_core_token and sequences",
        ),
        (
            "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader",
            "may not read tables public.authentik_core_token.",
        ),
    ):
        filled.psql(grant)
        check_failure(run_dump(filled, tmp_path / "dest", **reader), "role reader " + hidden, "log in as the owner")
    filled.psql("GRANT SELECT ON authentik_core_token TO reader; REVOKE SELECT ON authentik_used_seq FROM reader")
    check_failure(run_dump(filled, tmp_path / "dest", **reader), "may not read sequences public.authentik_used_seq.")
    filled.psql("GRANT SELECT ON authentik_used_seq TO reader")
    assert not (tmp_path / "dest").exists()
    record_of(run_dump(filled, tmp_path / "dest", **reader))


def test_row_level_security_is_no_way_to_lose_rows(database18: Database, tmp_path: Path) -> None:
    database18.psql(
        "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2); ALTER TABLE t ENABLE ROW LEVEL SECURITY; "
        "ALTER TABLE t FORCE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (n = 1)"
    )
    check_failure(run_dump(database18, tmp_path / "dest"), "may not read tables public.t", "row level security")


def test_pg_dump_older_than_the_server(filled: Database, postgres16: Server, tmp_path: Path) -> None:
    result = run_dump(filled, tmp_path / "dest", postgresql_bin_dir=str(postgres16.bin))
    check_failure(
        result, "older than the server, which is PostgreSQL 18", "16.", str(postgres16.bin), "postgresql-client-18"
    )
    assert not (tmp_path / "dest").exists()


def test_newer_programs_dump_an_older_server(fresh16: Server, postgres18: Server, tmp_path: Path) -> None:
    database = fresh16.create_database()
    database.psql("CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
    record = record_of(run_dump(database, tmp_path, postgresql_bin_dir=str(postgres18.bin)))
    assert record["artifacts"][0]["tool"].startswith("pg_dump 18.")


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_a_full_disk_leaves_nothing(filled: Database, tmp_path: Path, compression: str) -> None:
    filled.psql("CREATE TABLE fat AS SELECT md5(n::text) || md5((n + 1)::text) AS t FROM generate_series(1, 40000) n")
    check_failure(run_dump(filled, tmp_path, file_size=300_000, compression=compression), "Cannot write", "Free space")
    assert files_in(tmp_path) == []


BROKEN = {
    "cut short": ('"$REAL" "$@" | head -c 20000; exit 0', "its output is not whole"),
    "empty": ("exit 0", "its output is not whole"),
    "fails at the end": ('"$REAL" "$@"; echo "connection lost" >&2; exit 1', "connection lost"),
    "fails at once": ("echo pg_dump: error: out of shared memory >&2; exit 1", "max_locks_per_transaction"),
    "killed": ('"$REAL" "$@" | head -c 20000; kill -9 $$', "killed by signal SIGKILL"),
}


@pytest.mark.parametrize(("script", "said"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_a_dump_that_is_not_whole_is_never_kept(
    filled: Database, tmp_path: Path, script: str, said: str, compression: str
) -> None:
    programs = fake_programs(tmp_path / "bin", filled.server, script)
    result = run_dump(filled, tmp_path / "dest", postgresql_bin_dir=str(programs), compression=compression)
    check_failure(result, said)
    assert files_in(tmp_path / "dest") == []


def test_a_globals_dump_that_is_not_whole_fails(filled: Database, tmp_path: Path) -> None:
    programs = fake_programs(tmp_path / "bin", filled.server, 'exec "$REAL" "$@"')
    (programs / "pg_dumpall").unlink()
    (programs / "pg_dumpall").write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo 'pg_dumpall (PostgreSQL) 18.4' || echo '--'\n"
    )
    (programs / "pg_dumpall").chmod(0o755)
    result = run_dump(filled, tmp_path / "dest", postgresql_bin_dir=str(programs))
    check_failure(result, "pg_dumpall", "its output is not whole")
    assert "postgresql/globals.sql.zst" not in files_in(tmp_path / "dest")


def test_a_locked_table_is_waited_for_and_its_holder_named(filled: Database, tmp_path: Path) -> None:
    sql = "BEGIN; LOCK TABLE authentik_core_user IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(%d)"
    holder = threading.Thread(target=lambda: filled.psql(sql % 6))
    holder.start()
    time.sleep(1)
    try:
        started = time.monotonic()
        result = run_dump(filled, tmp_path / "dest", lock_timeout=1)
        assert time.monotonic() - started < 5
        check_failure(result, "lock timeout", "authentik_core_user by process", "raise lock_timeout")
        record_of(run_dump(filled, tmp_path / "dest", lock_timeout=60))
    finally:
        holder.join()


def test_the_password_is_in_no_argument_variable_or_file_of_the_programs(fresh18: Server, tmp_path: Path) -> None:
    database = fresh18.create_database(password="find:me\\anywhere")
    database.psql("CREATE TABLE t (n int)")
    seen = tmp_path / "seen"
    seen.mkdir()
    script = (
        "cat /proc/$$/cmdline /proc/$$/environ > %s/words\n"
        "ls -l /proc/$$/fd > %s/descriptors; cat $PGPASSFILE > %s/passfile\n"
        'exec "$REAL" "$@"' % (seen, seen, seen)
    )
    programs = fake_programs(tmp_path / "bin", fresh18, script)
    record_of(run_dump(database, tmp_path / "dest", postgresql_bin_dir=str(programs)))
    words = (seen / "words").read_bytes()
    assert b"find" not in words
    assert b"anywhere" not in words
    assert "memfd:pgpass" in (seen / "descriptors").read_text()
    assert (seen / "passfile").read_text() == "*:*:*:*:find\\:me\\\\anywhere\n"
    for path in (tmp_path / "dest").rglob("*"):
        assert not path.is_file() or b"anywhere" not in path.read_bytes()


def test_sigkill_leaves_nothing_running_and_the_next_run_clears_up(filled: Database, tmp_path: Path) -> None:
    dest, pid_file = tmp_path / "dest", tmp_path / "pid"
    script = "echo $$ > %s; head -c 100000 /dev/urandom; exec sleep 300" % pid_file
    programs = fake_programs(tmp_path / "bin", filled.server, script)
    module = start(arguments(filled, dest, postgresql_bin_dir=str(programs)))
    assert wait_until(lambda: pid_file.exists() and bool(pid_file.read_text().strip()))
    time.sleep(0.5)
    module.send_signal(signal.SIGKILL)
    module.communicate()
    pid = int(pid_file.read_text())
    assert wait_until(lambda: not Path("/proc/%d" % pid).exists())
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'authentik_ops.recovery'"
    assert wait_until(lambda: filled.server.psql(sessions) == "0")
    visible = [name for name in files_in(dest) if not Path(name).name.startswith(".")]
    assert visible == []
    record_of(run_dump(filled, dest))
    assert files_in(dest) == ["postgresql/authentik.dump.zst", "postgresql/globals.sql.zst"]


def wait_until(condition: Any, seconds: float = 20) -> bool:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_data_left_out_is_left_out_and_nothing_else(filled: Database, tmp_path: Path) -> None:
    choices = ["cache", "channels", "tasks", "task_logs", "worker_status", "events", "notifications", "system_tasks"]
    whole = record_of(run_dump(filled, tmp_path / "whole"))
    record = record_of(
        run_dump(filled, tmp_path / "part", exclude_data=choices, exclude_table_data=["authentik_core_token"])
    )
    left_out = set(record["excluded_data"])
    assert {"public.authentik_events_event", "public.authentik_tasks_task", "public.authentik_core_token"} <= left_out
    copied = plain_text(filled.server, tmp_path / "part", record["artifact"])
    for name, table in record["fingerprint"]["tables"].items():
        assert ("COPY %s " % name in copied) == (name not in left_out)
        expected = (
            {"rows": 0, "digest": "0", "data": "excluded"} if name in left_out else whole["fingerprint"]["tables"][name]
        )
        assert table == expected
    load_dump(filled.server, tmp_path / "part", record["artifact"], "again", "authentik")
    assert filled.server.psql("SELECT count(*) FROM authentik_events_event", "again") == "0"


def test_one_choice_leaves_out_one_thing(filled: Database, tmp_path: Path) -> None:
    record = record_of(run_dump(filled, tmp_path, exclude_data=["channels"]))
    assert all("channels" in name for name in record["excluded_data"])
    assert "public.django_channels_postgres_message" in record["excluded_data"]


def test_check_mode_tells_all_and_writes_nothing(filled: Database, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    result = run_dump(filled, dest, check=True, exclude_data=["cache"])
    assert not result.get("failed"), result
    assert (result["changed"], result["components"]) == (True, [])
    plan = " ".join(result["plan"])
    for said in (
        "Database authentik (",
        "on PostgreSQL 18.",
        "postgresql/authentik.dump.zst by pg_dump 18.",
        "compressed by zstd",
        "without the data of public.django_postgres_cache_cacheentry",
        "globals.sql.zst, without passwords",
        "Not saved: the databases postgres",
        "Free in %s: " % dest,
    ):
        assert said in plan
    assert result["estimated_bytes"] > 1_000_000
    assert result["free_bytes"] > 0
    assert not dest.exists()
    streamed = run_dump(filled, None, check=True, spool_dir=str(tmp_path))
    assert "Free in %s: " % tmp_path in " ".join(streamed["plan"])


def test_check_mode_finds_what_a_run_would_trip_over(filled: Database, tmp_path: Path) -> None:
    filled.server.create_role("reader", "pw")
    options: dict[str, Any] = {"postgresql_user": "reader", "postgresql_password": "pw"}
    check_failure(run_dump(filled, tmp_path / "dest", check=True, **options), "may not read")


def test_a_plain_owner_saves_roles_without_passwords_and_says_so(filled: Database, tmp_path: Path) -> None:
    result = run_dump(filled, tmp_path)
    record = record_of(result)
    assert record["globals"] == {"artifact": "postgresql/globals.sql.zst", "role_passwords": False}
    assert "passwords of roles are not saved" in str(result["warnings"])
    text = unpack(tmp_path / "postgresql/globals.sql.zst")
    assert "CREATE ROLE authentik" in text
    assert "PASSWORD" not in text


def unpack(path: Path) -> str:
    return subprocess.run(["zstd", "-d", "-q", "-c", str(path)], capture_output=True, check=True).stdout.decode()


def test_dumpall_saves_every_database_with_its_own_fingerprint(fresh18: Server, tmp_path: Path) -> None:
    database = fresh18.create_database(superuser=True)
    authentik_data.load(database.psql, rows=40, tenants=())
    other = fresh18.create_database("other app/1", "other")
    other.psql(
        "CREATE TABLE django_postgres_cache_cacheentry (n int); INSERT INTO django_postgres_cache_cacheentry VALUES (1)"
    )
    fresh18.psql("CREATE DATABASE scratch")
    result = run_dump(
        database, tmp_path, method="dumpall", exclude_databases=["scratch", "gone"], exclude_data=["cache"]
    )
    record = record_of(result)
    assert files_in(tmp_path) == [
        "postgresql/authentik.dump.zst",
        "postgresql/globals.sql.zst",
        "postgresql/other%20app%2F1.dump.zst",
    ]
    assert record["databases_left_out"] == ["postgres", "scratch"]
    assert "exclude_databases names gone" in str(result["warnings"])
    assert record["excluded_data"] == ["public.django_postgres_cache_cacheentry"]
    theirs = record["other_databases"]["other app/1"]
    assert theirs["fingerprint"]["tables"]["public.django_postgres_cache_cacheentry"]["rows"] == 1
    load_dump(fresh18, tmp_path, theirs["artifact"], "again", "other")
    assert fresh18.psql("SELECT n FROM django_postgres_cache_cacheentry", "again") == "1"
    assert record["globals"]["role_passwords"] is True
    assert "SCRAM-SHA-256$" in unpack(tmp_path / "postgresql/globals.sql.zst")


def test_dumpall_by_a_role_that_may_not_read_all_is_refused(filled: Database, tmp_path: Path) -> None:
    other = filled.server.create_database("other", "other")
    other.psql("CREATE TABLE secret (n int)")
    check_failure(run_dump(filled, tmp_path / "dest", method="dumpall"), "may not read tables public.secret")
    filled.server.psql("REVOKE CONNECT ON DATABASE other FROM public")
    result = run_dump(filled, tmp_path / "dest", method="dumpall")
    check_failure(result, "may not connect to database other", "exclude_databases")
    record_of(run_dump(filled, tmp_path / "dest", method="dumpall", exclude_databases=["other"]))


def test_another_operating_system_user_dumps_by_peer(fresh18: Server, tmp_path: Path) -> None:
    database = fresh18.create_database(peer=True)
    database.psql("CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
    record = record_of(
        run_dump(
            database,
            tmp_path,
            postgresql_host=fresh18.socket_dir,
            postgresql_password=None,
            postgresql_run_as=fresh18.os_user,
            postgresql_bin_dir=str(Path(fresh18._program("psql")).parent),
        )
    )
    assert record["fingerprint"]["tables"]["public.t"]["rows"] == 1


def test_without_zstd_gzip_is_taken(filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.authentik_ops.recovery.plugins.module_utils import _files
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _dump, _tools

    monkeypatch.setattr(_tools, "zstd_program", lambda: None)
    options = _dump.Options(bin_dir=str(filled.server.bin))
    plan = _dump.make_plan(filled.settings(), options)
    record = _dump.dump(filled.settings(), plan, options, _files.DirectorySink(str(tmp_path)))
    assert [(artifact["path"], artifact["compression"]) for artifact in record["artifacts"]] == [
        ("postgresql/authentik.dump", "pg_dump:gzip"),
        ("postgresql/globals.sql", "none"),
    ]
    assert "database cluster dump complete" in (tmp_path / "postgresql/globals.sql").read_text()
    load_dump(filled.server, tmp_path, "postgresql/authentik.dump", "again", "authentik")


def test_a_pg_dump_with_zstd_compresses_by_itself(filled: Database, tmp_path: Path) -> None:
    # No wheel has one. The stand-in accepts the option as such a build does, and compresses by gzip instead.
    script = 'for word; do shift; [ "$word" = --compress=zstd:1 ] && word=--compress=1; set -- "$@" "$word"; done\n'
    programs = fake_programs(tmp_path / "bin", filled.server, script + 'exec "$REAL" "$@"')
    for wanted in ("auto", "pg_dump_zstd"):
        dest = tmp_path / wanted
        record = record_of(run_dump(filled, dest, postgresql_bin_dir=str(programs), compression=wanted))
        assert record["artifact"] == "postgresql/authentik.dump"
        assert record["artifacts"][0]["compression"] == "pg_dump:zstd"
        assert "COPY public.authentik_core_user " in plain_text(filled.server, dest, record["artifact"])
    record = record_of(run_dump(filled, tmp_path / "zstd", postgresql_bin_dir=str(programs), compression="zstd"))
    assert record["artifact"] == "postgresql/authentik.dump.zst"


def test_sets_of_artifacts_are_private(filled: Database, tmp_path: Path) -> None:
    record_of(run_dump(filled, tmp_path / "dest"))
    assert os.stat(tmp_path / "dest" / "postgresql/globals.sql.zst").st_mode & 0o077 == 0
    assert os.stat(tmp_path / "dest" / "postgresql").st_mode & 0o077 == 0
