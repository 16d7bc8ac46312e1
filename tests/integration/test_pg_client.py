# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""psycopg2 and psql against a real server: the same results, the same errors, and the password nowhere to be seen."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ConnectError, InputError, ToolError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _client
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._client import QueryError, Session
from tests.support.postgres import Database, Server, free_port

CLIENTS = ("psycopg2", "psql")
PRINTABLE = "".join(chr(code) for code in range(32, 127))


def connect(database: Database, client: str, **changes: Any) -> Session:
    settings = database.settings(**changes)
    return _client.connect(settings, client=client, bin_dir=str(database.server.bin))


@pytest.fixture(params=CLIENTS)
def session(request: pytest.FixtureRequest, database18: Database) -> Iterator[Session]:
    with connect(database18, request.param) as opened:
        yield opened


def test_values_are_the_same_whatever_the_client(database18: Database) -> None:
    sql = """
        SELECT 1 AS number, 9007199254740993 AS big, true AS yes, NULL::text AS nothing,
            E'tab\\t line\\n cr\\r \\\\ "''' AS text,
            'Ünï 日本 👩‍👩‍👧‍👦' AS unicode, ARRAY['a', NULL, 'b,"c'] AS list, '{"a": [1.50, "\\u0041"]}'::json AS json,
            '{"x":
 1}'::json AS spread, '12345678901234567890.10'::numeric::text AS exact, ':name :''quoted'' \\x' AS psql_syntax,
            (ARRAY[1, 2, 3])[2:3] AS slice, E'\\x01\\x7f' AS control, '' AS empty
        """
    found = []
    for client in CLIENTS:
        with connect(database18, client) as session:
            assert session.client == client
            found.append(
                (session.rows(sql), session.rows("SELECT 1 AS a WHERE false;"), session.rows("VALUES (1), (2)"))
            )
    assert found[0] == found[1]
    row = found[0][0][0]
    assert row["text"] == "tab\t line\n cr\r \\ \"'"
    assert row["big"] == 9007199254740993
    assert row["list"] == ["a", None, 'b,"c']
    assert found[0][2] == [{"column1": 1}, {"column1": 2}]


@pytest.mark.parametrize("number", [0, 3, 5000, 10_001])
def test_a_stream_gives_every_row_once_and_can_be_repeated(session: Session, number: int) -> None:
    session.execute("BEGIN")
    sql = "SELECT n, E'a\\n\\tb' AS text FROM generate_series(1, %d) AS n;" % number
    for _repeated in range(2):
        assert [row["n"] for row in session.stream(sql)] == list(range(1, number + 1))
    assert [row["text"] for row in session.stream(sql)][:1] == ["a\n\tb"][:number]
    session.execute("COMMIT")


def test_psycopg2_is_preferred_but_not_for_another_user(database18: Database) -> None:
    with _client.connect(database18.settings()) as session:
        assert session.client == "psycopg2"


def test_psql_is_used_where_psycopg2_is_missing(database18: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "psycopg2", None)
    with _client.connect(database18.settings(), bin_dir=str(database18.server.bin)) as session:
        assert session.client == "psql"
        assert session.rows("SELECT current_user AS me") == [{"me": "authentik"}]
    with pytest.raises(ToolError, match="psycopg2 cannot be imported"):
        _client.connect(database18.settings(), client="psycopg2")
    with pytest.raises(InputError, match="no PostgreSQL client"):
        _client.connect(database18.settings(), client="pgcli")


def test_another_operating_system_user_logs_in_by_peer(fresh18: Server) -> None:
    database = fresh18.create_database(peer=True)
    programs = Path(fresh18._program("psql")).parent
    settings = database.settings(host=fresh18.socket_dir, password=None, run_as=fresh18.os_user)
    with _client.connect(settings, bin_dir=str(programs)) as session:
        assert session.client == "psql"
        assert session.rows("SELECT current_user AS me") == [{"me": "authentik"}]


def test_a_password_reaches_psql_that_runs_as_another_user(fresh18: Server) -> None:
    database = fresh18.create_database()
    programs = Path(fresh18._program("psql")).parent
    with _client.connect(database.settings(run_as=fresh18.os_user), bin_dir=str(programs)) as session:
        assert session.rows("SELECT current_user AS me") == [{"me": "authentik"}]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "password", [PRINTABLE, " lead and trail ", "Pässwörd €😀", "::\\\\:", "x" * 900, "a b'c\"d`e$f%s{g}"]
)
def test_awkward_passwords(fresh18: Server, client: str, password: str) -> None:
    database = fresh18.create_database(password=password)
    with connect(database, client) as session:
        assert session.rows("SELECT 1 AS one") == [{"one": 1}]
    with pytest.raises(ConnectError):
        connect(database, client, password=password[:-1] + "~~")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"password": "wrong"}, "the password is wrong"),
        ({"password": ""}, "postgresql_password"),
        ({"name": "nowhere"}, "the name is wrong"),
        ({"user": "nobody_such"}, "the password is wrong, or the role does not exist"),
        ({"host": "/nonexistent"}, "no server listens on that socket"),
        ({"sslmode": "verify-full", "sslrootcert": "/nonexistent/ca.pem"}, "TLS options"),
        ({"password": "line\nbreak"}, "stray line break"),
    ],
)
def test_refused_logins(database18: Database, client: str, changes: dict[str, str], hint: str) -> None:
    with pytest.raises((ConnectError, InputError)) as caught:
        connect(database18, client, **changes)
    assert hint in caught.value.hint
    assert database18.password not in str(caught.value)


@pytest.mark.parametrize("client", CLIENTS)
def test_unreachable_server(database18: Database, client: str) -> None:
    port = free_port()
    with pytest.raises(ConnectError) as caught:
        connect(database18, client, port=port)
    assert "on 127.0.0.1 port %d" % port in caught.value.cause
    assert "no server listens there" in caught.value.hint


@pytest.mark.parametrize(
    ("sql", "sqlstate", "said"),
    [
        ("SELECT 1/0 AS x", "22012", "division by zero"),
        ("SELECT * FROM nowhere", "42P01", 'relation "nowhere" does not exist'),
        ("SELECT (1", "42601", "syntax error"),
        ("SELECT rolpassword FROM pg_authid", _client.INSUFFICIENT_PRIVILEGE, "permission denied for table pg_authid"),
        ("DO $$ BEGIN RAISE EXCEPTION E'two\\nlines'; END $$", "P0001", "two lines"),
    ],
)
def test_refused_statements(session: Session, sql: str, sqlstate: str, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        session.execute(sql)
    assert caught.value.sqlstate == sqlstate
    assert said in caught.value.cause
    assert session.rows("SELECT 1 AS still") == [{"still": 1}]


def test_a_snapshot_is_shared(database18: Database, session: Session) -> None:
    database18.psql("CREATE TABLE t (n int)")
    with connect(database18, "psql") as other:
        snapshot = session.begin_snapshot()
        database18.psql("INSERT INTO t VALUES (1)")
        other.use_snapshot(snapshot)
        assert session.rows("SELECT count(*) AS n FROM t") == other.rows("SELECT count(*) AS n FROM t") == [{"n": 0}]
        with pytest.raises(QueryError, match="read-only"):
            other.execute("INSERT INTO t VALUES (2)")
        other.execute("ROLLBACK")
        assert other.rows("SELECT count(*) AS n FROM t") == [{"n": 1}]


def test_no_timeout_of_the_role_ends_a_session(fresh18: Server) -> None:
    database = fresh18.create_database()
    for name in ("idle_in_transaction_session", "statement", "idle_session", "transaction"):
        fresh18.psql("ALTER ROLE authentik SET %s_timeout = '250ms'" % name)
    for client in CLIENTS:
        with connect(database, client) as session:
            time.sleep(0.3)
            session.begin_snapshot()
            time.sleep(0.4)
            session.execute("SELECT pg_sleep(0.3)")


def test_a_lost_connection_is_told(database18: Database, session: Session) -> None:
    pid = session.rows("SELECT pg_backend_pid() AS pid")[0]["pid"]
    database18.admin("SELECT pg_terminate_backend(%d)" % pid)
    with pytest.raises(QueryError, match="connection to PostgreSQL was lost") as caught:
        session.rows("SELECT 1 AS one")
    assert caught.value.sqlstate == ""


def test_another_thread_can_end_a_statement(session: Session) -> None:
    threading.Timer(0.3, session.cancel).start()
    started = time.monotonic()
    with pytest.raises(QueryError):
        session.execute("SELECT pg_sleep(60)")
    assert time.monotonic() - started < 20


def test_ambient_libpq_variables_do_not_matter(database18: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("PGHOST", "/nonexistent"),
        ("PGOPTIONS", "-c bogus=1"),
        ("PGSERVICE", "none"),
        ("PGUSER", "x"),
    ):
        monkeypatch.setenv(name, value)
    for client in CLIENTS:
        with connect(database18, client) as session:
            assert session.rows("SELECT current_user AS me") == [{"me": "authentik"}]
    assert os.environ["PGSERVICE"] == "none"


def children(pid: int) -> list[Path]:
    found = []
    for task in Path("/proc/%d/task" % pid).iterdir():
        found += [Path("/proc/" + child) for child in (task / "children").read_text().split()]
    return found


def test_the_password_of_psql_is_in_no_argument_variable_or_named_file(fresh18: Server) -> None:
    database = fresh18.create_database(password="find:me\\anywhere")
    with connect(database, "psql"):
        psql = [child for child in children(os.getpid()) if b"psql" in (child / "cmdline").read_bytes()]
        assert len(psql) == 1
        seen = (psql[0] / "cmdline").read_bytes() + (psql[0] / "environ").read_bytes()
        assert b"find" not in seen
        assert b"PGPASSFILE=/proc/self/fd/" in seen
        files = [os.readlink(entry) for entry in (psql[0] / "fd").iterdir()]
        assert any("memfd:pgpass" in name for name in files)
