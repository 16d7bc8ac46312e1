# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dumps of real servers, proved by loading them with PostgreSQL's own programs and comparing by an oracle."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _client, _fingerprint
from tests.support import authentik_data, oracle
from tests.support.pg_dumps import load_dump, plain_text, record_of, run_dump
from tests.support.postgres import Database, Server

OWN = "authentik"


@pytest.fixture
def filled(database18: Database) -> Database:
    """An authentik-shaped database with a tenant, owned by a plain role."""
    authentik_data.load(database18.psql, rows=60)
    return database18


def fingerprint_of(server: Server, name: str, client: str = "psycopg2") -> dict[str, Any]:
    database = Database(server, name, "postgres", server.password)
    with _client.connect(database.settings(), client=client, bin_dir=str(server.bin)) as session:
        return _fingerprint.collect(session)


def copied_rows(text: str) -> dict[str, int]:
    """Return the number of rows of each table in a dump's text."""
    return {
        re.sub(r"^COPY (.*?)( \((?!.*\) \().*)? FROM stdin;$", r"\1", line): len(rows)
        for line, rows in oracle.split(text)[1].items()
    }


@pytest.mark.parametrize("compression", ["auto", "gzip"])
@pytest.mark.parametrize("major", [16, 18])
def test_what_is_dumped_comes_back_and_equals_its_fingerprint(
    request: pytest.FixtureRequest, tmp_path: Path, major: int, compression: str
) -> None:
    server: Server = request.getfixturevalue("fresh%d" % major)
    database = server.create_database()
    authentik_data.load(database.psql, rows=60)
    record = record_of(run_dump(database, tmp_path, compression=compression))
    assert record["artifacts"][0]["tool"] == "pg_dump %s" % record["server_version"]
    assert record["artifacts"][0]["compression"] == ("pg_dump:gzip" if compression == "gzip" else "zstd")
    load_dump(server, tmp_path, record["artifact"], "again", OWN)
    assert oracle.differences(oracle.take(server, OWN), oracle.take(server, "again")) == []
    assert _fingerprint.compare(record["fingerprint"], fingerprint_of(server, "again")) == []
    rows = {name: table["rows"] for name, table in record["fingerprint"]["tables"].items()}
    assert rows == copied_rows(plain_text(server, tmp_path, record["artifact"]))
    assert sum(rows.values()) > 500


@pytest.mark.parametrize("client", ["psycopg2", "psql"])
def test_a_single_changed_value_is_found_and_named(filled: Database, tmp_path: Path, client: str) -> None:
    record = record_of(run_dump(filled, tmp_path))
    load_dump(filled.server, tmp_path, record["artifact"], "again", OWN)
    changes = {
        "public.authentik_core_user": "UPDATE authentik_core_user SET name = name || ' ' WHERE id = 3",
        "t_acme.authentik_events_event": "UPDATE t_acme.authentik_events_event SET action = action || 'x' "
        "WHERE ctid = (SELECT min(ctid) FROM t_acme.authentik_events_event)",
    }
    for number, (table, sql) in enumerate(changes.items()):
        filled.server.psql("SET session_replication_role = replica; " + sql, "again")
        differences = _fingerprint.compare(record["fingerprint"], fingerprint_of(filled.server, "again", client))
        assert table in [difference.name for difference in differences]
        assert len([difference for difference in differences if difference.what == "table"]) == number + 1


def test_swapped_values_and_null_are_not_the_same(database18: Database) -> None:
    database18.psql(
        "CREATE TABLE t (a text, b text); INSERT INTO t VALUES ('x', 'y'), (NULL, ''), ('p', 'q'), ('p', 'q')"
    )
    seen = []
    for change in (
        "SELECT 1",
        "UPDATE t SET a = 'y', b = 'x' WHERE a = 'x'",
        "UPDATE t SET a = '', b = NULL WHERE b = ''",
        "UPDATE t SET a = 'xy', b = '' WHERE a = 'y'",
        "UPDATE t SET a = 'r' WHERE a = 'p'",
    ):
        database18.psql(change)
        seen.append(fingerprint_of(database18.server, OWN)["tables"]["public.t"]["digest"])
    assert len(set(seen)) == len(seen)


def test_both_clients_and_all_settings_give_the_same_fingerprint(filled: Database) -> None:
    server = filled.server
    first = fingerprint_of(server, OWN, "psycopg2")
    assert fingerprint_of(server, OWN, "psql") == first
    settings = {"DateStyle": "'German'", "TimeZone": "'Asia/Tokyo'", "IntervalStyle": "'sql_standard'"}
    settings.update(bytea_output="'escape'", extra_float_digits="-5", search_path="t_acme")
    for setting in settings.items():
        server.psql("ALTER ROLE postgres SET %s = %s" % setting)
    try:
        assert fingerprint_of(server, OWN, "psycopg2") == first
        assert fingerprint_of(server, OWN, "psql") == first
    finally:
        server.psql("ALTER ROLE postgres RESET ALL")


def test_a_dump_of_16_equals_its_fingerprint_on_18(fresh16: Server, fresh18: Server, tmp_path: Path) -> None:
    database = fresh16.create_database()
    authentik_data.load(database.psql, rows=60)
    record = record_of(run_dump(database, tmp_path, postgresql_bin_dir=str(fresh16.bin)))
    fresh18.create_role(OWN)
    load_dump(fresh18, tmp_path, record["artifact"], "again", OWN)
    assert record["fingerprint"]["server_version"] // 10000 == 16
    assert _fingerprint.compare(record["fingerprint"], fingerprint_of(fresh18, "again")) == []


@pytest.fixture
def writers(filled: Database) -> Iterator[threading.Event]:
    """A session that inserts, updates, deletes and draws from sequences all the time."""
    filled.psql("CREATE TABLE busy (id serial, note text); CREATE SEQUENCE drawn INCREMENT -1")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            filled.psql(
                "INSERT INTO busy (note) SELECT 'x' FROM generate_series(1, 50); SELECT nextval('drawn'); "
                "UPDATE busy SET note = note || 'y' WHERE id % 7 = 0; DELETE FROM busy WHERE id % 11 = 0; "
                "UPDATE authentik_core_user SET name = name || '.' WHERE id < 10"
            )

    thread = threading.Thread(target=write)
    thread.start()
    yield stop
    stop.set()
    thread.join()


def test_a_dump_amid_writes_equals_its_fingerprint(filled: Database, writers: threading.Event, tmp_path: Path) -> None:
    for attempt in range(3):
        dest, name = tmp_path / str(attempt), "again%d" % attempt
        record = record_of(run_dump(filled, dest))
        load_dump(filled.server, dest, record["artifact"], name, OWN)
        restored = fingerprint_of(filled.server, name)
        assert _fingerprint.compare(record["fingerprint"], restored) == []
        rows = {table: entry["rows"] for table, entry in record["fingerprint"]["tables"].items()}
        assert rows == copied_rows(plain_text(filled.server, dest, record["artifact"]))
        assert record["fingerprint"]["tables"]["public.busy"] == restored["tables"]["public.busy"]
    assert "earliest" in record["fingerprint"]["sequences"]["public.busy_id_seq"]
    writers.set()
    now = fingerprint_of(filled.server, OWN)
    assert any(difference.name == "public.busy" for difference in _fingerprint.compare(record["fingerprint"], now))


def test_materialized_views_are_recorded_as_a_refresh_will_fill_them(database18: Database, tmp_path: Path) -> None:
    database18.psql(
        "CREATE TABLE t (n int); INSERT INTO t VALUES (1); "
        "CREATE MATERIALIZED VIEW fresh AS SELECT n, n * 2 AS double FROM t; "
        "CREATE MATERIALIZED VIEW stale (one, two) AS SELECT n, n FROM t; INSERT INTO t VALUES (2); "
        "REFRESH MATERIALIZED VIEW fresh; CREATE MATERIALIZED VIEW empty AS SELECT n FROM t WITH NO DATA"
    )
    result = run_dump(database18, tmp_path)
    record = record_of(result)
    views = record["fingerprint"]["matviews"]
    assert {name: (view["rows"], view["populated"], view.get("stale")) for name, view in views.items()} == {
        "public.fresh": (2, True, False),
        "public.stale": (2, True, True),
        "public.empty": (0, False, None),
    }
    assert "public.stale" in str(result["warnings"])
    load_dump(database18.server, tmp_path, record["artifact"], "again", OWN)
    assert _fingerprint.compare(record["fingerprint"], fingerprint_of(database18.server, "again")) == []


def test_large_objects_are_saved_and_compared(database18: Database, tmp_path: Path) -> None:
    database18.psql("SELECT lo_from_bytea(0, decode(repeat('00ff', 5000), 'hex')) FROM generate_series(1, 3)")
    record = record_of(run_dump(database18, tmp_path))
    assert record["fingerprint"]["large_objects"]["number"] == 3
    load_dump(database18.server, tmp_path, record["artifact"], "again", OWN)
    assert _fingerprint.compare(record["fingerprint"], fingerprint_of(database18.server, "again")) == []
    database18.server.psql("SELECT lo_put(oid, 3, '\\x01') FROM pg_largeobject_metadata LIMIT 1", "again")
    changed = _fingerprint.compare(record["fingerprint"], fingerprint_of(database18.server, "again"))
    assert [difference.name for difference in changed] == ["large objects"]


def test_what_else_a_database_may_hold(database18: Database, tmp_path: Path) -> None:
    database18.psql(
        'CREATE SCHEMA "Odd ""schema"; CREATE TABLE "Odd ""schema"."select" ("a""b" int, "order" text); '
        'INSERT INTO "Odd ""schema"."select" VALUES (1, \'x\'); CREATE TABLE none (); '
        "CREATE UNLOGGED TABLE fast (n int); INSERT INTO fast VALUES (1); "
        "CREATE TABLE parts (n int, t text) PARTITION BY HASH (n); "
        "CREATE TABLE parts0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0); "
        "CREATE TABLE parts1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1); "
        "INSERT INTO parts SELECT n, n FROM generate_series(1, 9) n;"
        "CREATE TABLE made (a int, twice int GENERATED ALWAYS AS (a * 2) STORED, id int GENERATED ALWAYS AS IDENTITY); "
        "INSERT INTO made (a) VALUES (3); ALTER TABLE made ADD gone int; ALTER TABLE made DROP gone; "
        "CREATE TYPE mood AS ENUM ('ok'); "
        "CREATE TABLE typed (m mood, r int4range, j json, p point, f float8[], i interval, v numeric, "
        "e mood[]); INSERT INTO typed VALUES ('ok', '[1,5)', '{\"a\":  1}', '(1,2)', '{1e300,NaN,0.1}', "
        "'1 mon -2 days', 'NaN', '{ok}')"
    )
    record = record_of(run_dump(database18, tmp_path))
    tables = record["fingerprint"]["tables"]
    assert tables['"Odd ""schema".select']["rows"] == 1
    assert tables["public.fast"]["rows"] == 1
    assert "public.parts" not in tables
    load_dump(database18.server, tmp_path, record["artifact"], "again", OWN)
    assert oracle.differences(oracle.take(database18.server, OWN), oracle.take(database18.server, "again")) == []
    assert _fingerprint.compare(record["fingerprint"], fingerprint_of(database18.server, "again")) == []


def test_inherited_columns_may_come_back_in_another_order(database18: Database, tmp_path: Path) -> None:
    database18.psql(
        "CREATE TABLE base (a int); CREATE TABLE heir (b int) INHERITS (base); ALTER TABLE base ADD c int; "
        "INSERT INTO heir VALUES (1, 2, 3); INSERT INTO base VALUES (4, 5)"
    )
    record = record_of(run_dump(database18, tmp_path))
    assert [table["rows"] for table in record["fingerprint"]["tables"].values()] == [1, 1]
    load_dump(database18.server, tmp_path, record["artifact"], "again", OWN)
    assert _fingerprint.compare(record["fingerprint"], fingerprint_of(database18.server, "again")) == []


def test_an_empty_database_can_be_saved(database18: Database, tmp_path: Path) -> None:
    record = record_of(run_dump(database18, tmp_path, compression="gzip"))
    load_dump(database18.server, tmp_path, record["artifact"], "again", OWN)
    assert _fingerprint.compare(record["fingerprint"], fingerprint_of(database18.server, "again")) == []


def test_settings_privileges_and_comment_of_the_database_are_recorded(database18: Database, tmp_path: Path) -> None:
    database18.admin(
        'ALTER DATABASE authentik SET search_path = "$user", public; '
        "ALTER ROLE authentik IN DATABASE authentik SET work_mem = '8MB'; "
        "COMMENT ON DATABASE authentik IS 'sso'; CREATE ROLE reader; GRANT CONNECT ON DATABASE authentik TO reader; "
        "ALTER DATABASE authentik CONNECTION LIMIT 77"
    )
    found = record_of(run_dump(database18, tmp_path))["fingerprint"]
    assert found["settings"] == [
        {"role": None, "name": "search_path", "value": '"$user", public'},
        {"role": "authentik", "name": "work_mem", "value": "8MB"},
    ]
    assert (found["comment"], found["connection_limit"], found["owner"]) == ("sso", 77, "authentik")
    assert any(entry.startswith("reader=c/") for entry in found["acl"])
    assert {"authentik", "reader"} <= set(found["roles"])
