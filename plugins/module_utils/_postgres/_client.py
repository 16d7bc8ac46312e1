# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""One way to run SQL: psycopg2 where it can be imported, a ``psql`` coprocess otherwise, with the same results.

Rows come as JSON from the server itself, so both give identical values: text, numbers, booleans, None, lists and
dicts. Cast what JSON numbers cannot carry (a big ``numeric``) to text.
"""

from __future__ import annotations

import abc
import contextlib
import json
import os
import re
import secrets
from typing import TYPE_CHECKING, Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, RecoveryError, ToolError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _tools
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import (
    APPLICATION_NAME,
    CONNECT_TIMEOUT_SECONDS,
    Connection,
    connect_error,
    default_host,
    passfile_line,
    quote_literal,
)

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Iterator

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import PostgresSettings

CLIENTS = ("auto", "psycopg2", "psql")
INSUFFICIENT_PRIVILEGE = "42501"
LOCK_NOT_AVAILABLE = "55P03"

_END_SECONDS = 10
_ROWS_AT_A_TIME = 5000
_LOST_HINT = "the server or its container was stopped, or something between ended the connection: see the server's log"

# A session of ours may wait long for a dump or a restore: no timeout of the role or the database may end it.
_SESSION_SETTINGS = """
SELECT set_config(name, value, false) FROM (VALUES
    ('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_in_transaction_session_timeout', '0'),
    ('idle_session_timeout', '0'), ('transaction_timeout', '0'), ('client_min_messages', 'warning'),
    ('standard_conforming_strings', 'on'), ('client_connection_check_interval', '5s'),
    ('tcp_keepalives_idle', '60')
) AS wanted (name, value) WHERE name IN (SELECT name FROM pg_catalog.pg_settings)
"""


class QueryError(RecoveryError):
    """The server refused a statement; ``sqlstate`` is its five-character code, "" when the connection was lost."""

    def __init__(self, cause: str, hint: str = "", command: str = "", sqlstate: str = "") -> None:
        super().__init__(cause, hint, command)
        self.sqlstate = sqlstate


def connect(
    settings: PostgresSettings, database: str | None = None, client: str = "auto", bin_dir: str | None = None
) -> Session:
    """Open a session on ``database`` (the instance's own when None).

    :param client: ``psycopg2`` or ``psql`` to insist on one; ``auto`` takes psycopg2 where it is importable and the
        session need not run as another operating system user or in a container.
    :param bin_dir: folder to look for ``psql`` in first.
    :raises ConnectError: with what libpq said and what that means.
    """
    if client not in CLIENTS:
        raise InputError("%r is no PostgreSQL client" % client, hint="it is one of %s" % ", ".join(CLIENTS))
    if settings.container is not None:
        if client == "psycopg2":
            raise InputError(
                "psycopg2 cannot be used inside a container", hint="use client auto or psql: the container has one"
            )
        client = "psql"
    if client == "auto":
        client = "psycopg2" if psycopg2 is not None and settings.run_as is None else "psql"
    session = _PsycopgSession(settings, database) if client == "psycopg2" else _PsqlSession(settings, database, bin_dir)
    try:
        session.rows(_SESSION_SETTINGS)
    except BaseException:
        session.close()
        raise
    return session


class Session(abc.ABC):
    """An open session, as a context manager; every statement commits by itself unless a transaction was begun."""

    client = ""

    @abc.abstractmethod
    def execute(self, sql: str) -> None:
        """Run one or more statements and drop what they return.

        :raises QueryError: when the server refuses one.
        """

    @abc.abstractmethod
    def _values(self, sql: str) -> list[str]:
        """Return the first column of a query, as text."""

    @abc.abstractmethod
    def close(self) -> None:
        """End the session; an open transaction is rolled back."""

    @abc.abstractmethod
    def cancel(self) -> None:
        """Make a statement that another thread waits for fail; the session is of no further use."""

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of one SELECT as dicts.

        :raises QueryError: when the server refuses it.
        """
        return [json.loads(value) for value in self._values(_as_json(sql))]

    def stream(self, sql: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of one SELECT, of which only some are held at a time; a transaction has to have begun."""
        self.execute("DECLARE streamed NO SCROLL CURSOR FOR " + _as_json(sql))
        values = self._values("FETCH %d FROM streamed" % _ROWS_AT_A_TIME)
        while values:
            for value in values:
                yield json.loads(value)
            values = self._values("FETCH %d FROM streamed" % _ROWS_AT_A_TIME)
        self.execute("CLOSE streamed")

    def begin_snapshot(self) -> str:
        """Begin a read-only transaction and return the id under which others can see exactly the same data."""
        self.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return self.export_snapshot()

    def export_snapshot(self) -> str:
        """Return the snapshot id of the transaction that has begun."""
        return str(self.rows("SELECT pg_catalog.pg_export_snapshot() AS id")[0]["id"])

    def use_snapshot(self, snapshot: str) -> None:
        """Begin a read-only transaction that sees the data of an exported snapshot."""
        self.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        self.execute("SET TRANSACTION SNAPSHOT %s" % quote_literal(snapshot))

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _as_json(sql: str) -> str:
    return "SELECT pg_catalog.to_jsonb(q)::text FROM (%s\n) AS q" % sql.strip().rstrip(";")


def _query_error(message: str, sqlstate: str) -> QueryError:
    hints = {
        INSUFFICIENT_PRIVILEGE: "the role lacks a privilege: use the owner of the database, or a superuser",
        LOCK_NOT_AVAILABLE: "another session holds a lock: see pg_stat_activity and try again when it is done",
        "53200": "when it says 'out of shared memory', raise max_locks_per_transaction on the server",
        "53100": "the server's disk is full",
    }
    text = " ".join(message.split())
    return QueryError("PostgreSQL refused: %s" % text, hint=hints.get(sqlstate, ""), sqlstate=sqlstate)


class _PsycopgSession(Session):
    client = "psycopg2"

    def __init__(self, settings: PostgresSettings, database: str | None) -> None:
        if psycopg2 is None:
            raise ToolError(
                "the Python package psycopg2 cannot be imported on this host",
                hint="install it for the Python that Ansible uses there, or let psql be used",
            )
        if settings.password is not None:
            passfile_line(settings.password)  # refuse the same passwords whatever the client
        options = {
            "host": default_host(settings) or None,
            "port": settings.port,
            "user": settings.user,
            "password": settings.password,
            "dbname": settings.name if database is None else database,
            "sslmode": settings.sslmode,
            "sslrootcert": settings.sslrootcert,
            "sslcert": settings.sslcert,
            "sslkey": settings.sslkey,
            "application_name": APPLICATION_NAME,
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "client_encoding": "UTF8",
        }
        given: dict[str, Any] = {name: value for name, value in options.items() if value not in (None, "")}
        try:
            with _no_libpq_variables():
                self._connection = psycopg2.connect(**given)
        except psycopg2.Error as exc:
            raise connect_error(settings, database, str(exc)) from exc
        self._connection.autocommit = True

    def execute(self, sql: str) -> None:
        with self._cursor() as cursor:
            cursor.execute(sql)

    def _values(self, sql: str) -> list[str]:
        with self._cursor() as cursor:
            cursor.execute(sql)
            return [row[0] for row in cursor.fetchall()]

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:
        try:
            with self._connection.cursor() as cursor:
                yield cursor
        except psycopg2.Error as exc:
            diagnostics = getattr(exc, "diag", None)
            if self._connection.closed:
                raise QueryError("the connection to PostgreSQL was lost: %s" % exc, hint=_LOST_HINT) from exc
            primary = diagnostics.message_primary if diagnostics is not None else None
            raise _query_error(primary or str(exc), exc.pgcode or "") from exc

    def cancel(self) -> None:
        self._connection.cancel()

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def _no_libpq_variables() -> Iterator[None]:
    """Hide PG* variables of the ambient environment: the settings alone decide where to connect."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if re.match(r"PG[A-Z]+$", name)}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _find_psql(settings: PostgresSettings, bin_dir: str | None) -> str:
    if settings.container is not None:
        return _tools.installed(settings, "psql", bin_dir)[0].path("psql")
    program = _process.find_program("psql", [bin_dir] if bin_dir else [])
    if program is None:
        raise ToolError(
            "neither psql nor the Python package psycopg2 is installed on this host",
            hint="install the PostgreSQL client programs (postgresql-client on Debian, postgresql on RHEL), "
            "or name their folder with postgresql_bin_dir",
        )
    return program


class _PsqlSession(Session):
    client = "psql"

    def __init__(self, settings: PostgresSettings, database: str | None, bin_dir: str | None) -> None:
        self._settings = settings
        self._database = database
        self._connected = False
        self._marker = "end-%s" % secrets.token_hex(16)
        argv = [_find_psql(settings, bin_dir), "-X", "-q", "-A", "-t", "--no-password"]
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(Connection(settings))
            command = connection.command(argv, database)
            self._psql = stack.enter_context(_process.Pipeline([command], stdin=True))
            self._stack = stack.pop_all()

    def execute(self, sql: str) -> None:
        self._values(sql)

    def _values(self, sql: str) -> list[str]:
        # psql tells how the statement went in its variables; the message may have several lines.
        told = "\\echo {0} :ERROR :SQLSTATE\n\\echo :LAST_ERROR_MESSAGE\n\\echo {0}\n".format(self._marker)
        try:
            self._psql.stdin.write(("%s\n\\g\n%s" % (sql.strip().rstrip(";"), told)).encode("utf-8"))
            self._psql.stdin.flush()
        except BrokenPipeError as exc:
            raise self._lost() from exc
        values = self._lines_until(self._marker)
        status = values.pop().split()
        message = self._lines_until(self._marker)[:-1]
        self._connected = True
        if status[1] == "true":
            raise _query_error("\n".join(message), status[2])
        return values

    def _lines_until(self, marker: str) -> list[str]:
        lines: list[str] = []
        while not lines or not lines[-1].startswith(marker):
            line = self._psql.stdout.readline()
            if not line.endswith(b"\n"):
                raise self._lost()
            lines.append(line[:-1].decode("utf-8"))
        return lines

    def _lost(self) -> RecoveryError:
        """psql ended by itself: it never got a connection, or lost it."""
        ended = self._psql.finish(timeout=_END_SECONDS, check=False)
        said = re.sub(r"^psql: (error: )?", "", _process.last_lines(ended[0].stderr, 5))
        if not said:
            said = "psql ended with status %d and did not say why" % ended[0].status
        if self._connected:
            return QueryError("the connection to PostgreSQL was lost: %s" % said, hint=_LOST_HINT)
        return connect_error(self._settings, self._database, said)

    def cancel(self) -> None:
        self._psql.kill()

    def close(self) -> None:
        with self._stack:
            # A failure of a statement was raised by that statement; how psql leaves says nothing more.
            self._psql.finish(timeout=_END_SECONDS, check=False)
