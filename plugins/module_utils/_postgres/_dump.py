# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Dump databases with ``pg_dump`` and take the fingerprint of exactly what is dumped.

One session locks every table, then exports its snapshot: ``pg_dump`` reads that snapshot while the same session
digests it. Locks come first, so that no table can be rewritten between the snapshot and its reader.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import (
    _catalog,
    _client,
    _dump_plan,
    _dump_stream,
    _fingerprint,
    _restore_globals,
    _tools,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import (
    Connection,
    quote_literal,
)

if TYPE_CHECKING:
    from typing import Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import PostgresSettings

_LOCK_ATTEMPTS = 3
_UNDEFINED_TABLE = "42P01"


class Options(NamedTuple):
    """What to dump and how; see the options of the module ``authentik_pg_dump``."""

    method: str = "dump"
    compression: str = "auto"
    exclude_data: Sequence[str] = ()
    exclude_table_data: Sequence[str] = ()
    exclude_databases: Sequence[str] = ()
    lock_timeout: int = 60
    bin_dir: str | None = None


class Target(NamedTuple):
    """One database of a plan: ``excluded`` are the keys of tables whose data is left out."""

    database: str
    path: str
    database_bytes: int
    excluded: list[str]


class Plan(NamedTuple):
    """What a dump would do, worked out without changing anything."""

    server_version: str
    superuser: bool
    pg_dump: _tools.Install
    compression: _dump_plan.Compression
    targets: list[Target]
    left_out: list[str]
    globals_path: str
    warnings: list[str]


def make_plan(settings: PostgresSettings, options: Options) -> Plan:
    """Look at the server and the installed programs, and check that all that is to be saved can be read.

    :raises RecoveryError: for every reason known beforehand why the dump would fail or could not be restored.
    """
    with _client.connect(settings, bin_dir=options.bin_dir) as session:
        server = session.rows(
            "SELECT current_setting('server_version') AS version, rolsuper AS superuser, "
            "current_setting('server_version_num')::int / 10000 AS major "
            "FROM pg_catalog.pg_roles WHERE rolname = current_user"
        )[0]
        listed = session.rows(_DATABASES)
    pg_dump = _tools.choose(_tools.installed(settings, "pg_dump", options.bin_dir), server["major"])
    zstd = _tools.zstd_program()
    compression = _dump_plan.choose_compression(options.compression, _tools.has_own_zstd(settings, pg_dump), zstd)
    chosen: list[str] = [settings.name]
    warnings: list[str] = []
    if options.method == "dumpall":
        chosen, warnings = _dump_plan.split_databases(listed, settings.name, options.exclude_databases)
    if not server["superuser"]:
        warnings.append(
            "role %s is no superuser: the passwords of roles are not saved; set the role's password by hand "
            "where the set is restored on a new server" % settings.user
        )
    sizes = {row["name"]: row["bytes"] for row in listed}
    targets = [_target(settings, name, sizes[name] or 0, compression, options) for name in chosen]
    return Plan(
        server_version=str(server["version"]).split(" ", maxsplit=1)[0],
        superuser=server["superuser"],
        pg_dump=pg_dump,
        compression=compression,
        targets=targets,
        left_out=sorted(row["name"] for row in listed if row["name"] not in chosen and not row["template"]),
        globals_path="postgresql/globals.sql" + (".zst" if zstd else ""),
        warnings=warnings,
    )


_DATABASES = """
SELECT d.datname AS name, d.datistemplate AS template, d.datallowconn AND d.datconnlimit <> -2 AS connectable,
    pg_catalog.has_database_privilege(d.oid, 'CONNECT') AS allowed,
    CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT') THEN pg_catalog.pg_database_size(d.oid) END AS bytes
FROM pg_catalog.pg_database d
"""


def _target(
    settings: PostgresSettings, database: str, size: int, compression: _dump_plan.Compression, options: Options
) -> Target:
    with _client.connect(settings, database, bin_dir=options.bin_dir) as session:
        relations = _catalog.relations(session)
        _catalog.check_readable(relations, settings.user)
        excluded = _excluded(session, relations, database == settings.name, options)
    path = _dump_plan.artifact_path(database, compression)
    return Target(database, path, size, [relation.key for relation in excluded])


def _excluded(
    session: _client.Session, relations: Sequence[_catalog.Relation], is_instance: bool, options: Options
) -> list[_catalog.Relation]:
    if not is_instance:
        return []
    dependents = _catalog.dependents(session) if options.exclude_data or options.exclude_table_data else []
    return _dump_plan.excluded_tables(relations, dependents, options.exclude_data, options.exclude_table_data)


def dump(settings: PostgresSettings, plan: Plan, options: Options, sink: Any) -> dict[str, Any]:
    """Carry out a plan and return the component record.

    :param sink: where artifacts go; ``sink.artifact(path)`` is a context manager that gives a writer.
    """
    artifacts: list[dict[str, Any]] = []
    databases: dict[str, dict[str, Any]] = {}
    for target in plan.targets:
        artifact, fingerprint = _dump_database(settings, plan, options, target, sink)
        artifacts.append(artifact)
        databases[target.database] = {
            "artifact": target.path,
            "database_bytes": target.database_bytes,
            "excluded_data": target.excluded,
            "fingerprint": fingerprint,
        }
    artifacts.append(_dump_globals(settings, plan, options, sink))
    own = databases.pop(settings.name)
    stale = [key for key, view in own["fingerprint"]["matviews"].items() if view.get("stale")]
    warnings = list(plan.warnings)
    if stale:
        warnings.append(
            "what %s hold is not what their query gives now: a restore will hold the latter" % _catalog.names(stale)
        )
    return {
        "component": "postgresql",
        "method": options.method,
        "database": settings.name,
        **own,
        "other_databases": databases,
        "databases_left_out": plan.left_out,
        "globals": {"artifact": plan.globals_path, "role_passwords": plan.superuser},
        "server_version": plan.server_version,
        "artifacts": artifacts,
        "warnings": warnings,
    }


def _dump_database(
    settings: PostgresSettings, plan: Plan, options: Options, target: Target, sink: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    started = time.monotonic()
    with _client.connect(settings, target.database, bin_dir=options.bin_dir) as session:
        relations, snapshot = lock_and_export(session, settings.user, options.lock_timeout)
        excluded = _excluded(session, relations, target.database == settings.name, options)
        before = _fingerprint.read_sequences(session, relations)
        argv = _dump_plan.dump_argv(
            plan.pg_dump.path("pg_dump"), plan.compression, snapshot, excluded, options.lock_timeout
        )
        keys = {relation.key for relation in excluded}
        has_data = any(relation.kind == "r" and relation.key not in keys for relation in relations)
        with Connection(settings) as connection, _Collector(session, keys) as collector:
            command = connection.command(argv, target.database)
            with sink.artifact(target.path) as out:
                _dump_stream.stream(command, plan.compression.filter_argv, out, has_data, collector.check)
                fingerprint = collector.result()
        fingerprint["sequences"] = _fingerprint.merge_sequences(before, _fingerprint.read_sequences(session, relations))
    return _artifact(target.path, plan.compression.name, "pg_dump " + plan.pg_dump.version, out, started), fingerprint


def _artifact(path: str, compression: str, tool: str, out: Any, started: float) -> dict[str, Any]:
    return {
        "path": path,
        "compression": compression,
        "tool": tool,
        "size": out.size,
        "sha256": out.sha256,
        "seconds": round(time.monotonic() - started, 3),
    }


def lock_and_export(session: _client.Session, role: str, lock_timeout: int) -> tuple[list[_catalog.Relation], str]:
    """Lock every table against rewriting, begin the transaction's snapshot after that, and export it.

    :returns: the relations of the snapshot, and its id.
    :raises StateError: when the role may not read one of them.
    """
    attempt = 0
    while True:
        attempt += 1
        wanted = _tables_of(_catalog.relations(session), role)
        session.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        session.execute("SET LOCAL lock_timeout = %s" % quote_literal("%ds" % lock_timeout))
        try:
            if wanted:
                # The first statement that needs a snapshot comes after this one, which needs none.
                session.execute("LOCK TABLE %s IN ACCESS SHARE MODE" % ", ".join("ONLY " + name for name in wanted))
        except _client.QueryError as exc:
            session.execute("ROLLBACK")
            if exc.sqlstate == _UNDEFINED_TABLE and attempt < _LOCK_ATTEMPTS:
                continue
            raise _explain_lock(session, exc) from exc
        snapshot = session.export_snapshot()
        relations = _catalog.relations(session)
        if set(_tables_of(relations, role)) <= set(wanted) or attempt == _LOCK_ATTEMPTS:
            return relations, snapshot
        session.execute("ROLLBACK")  # a table was created meanwhile: begin again, with it


def _tables_of(relations: list[_catalog.Relation], role: str) -> list[str]:
    _catalog.check_readable(relations, role)
    return [relation.sql for relation in relations if relation.kind in ("r", "p")]


def _explain_lock(session: _client.Session, exc: _client.QueryError) -> _client.QueryError:
    """Name the sessions that hold what a dump had to wait for."""
    if exc.sqlstate != _client.LOCK_NOT_AVAILABLE:
        return exc
    holders = session.rows(
        "SELECT DISTINCT l.relation::regclass::text AS name, l.pid, a.usename::text AS role, "
        "a.application_name AS application, a.state "
        "FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid "
        "WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND l.locktype = 'relation' "
        "AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
    )
    said = ["%(name)s by process %(pid)s (role %(role)s, %(application)s, %(state)s)" % row for row in holders]
    return _client.QueryError(
        exc.cause + (": locked are " + _catalog.names(said) if said else ""),
        hint="a migration or maintenance may run: wait for it, or raise lock_timeout",
        command="SELECT pid, state, query FROM pg_stat_activity WHERE wait_event_type = 'Lock' OR state <> 'idle'",
        sqlstate=exc.sqlstate,
    )


def _dump_globals(settings: PostgresSettings, plan: Plan, options: Options, sink: Any) -> dict[str, Any]:
    started = time.monotonic()
    installs = _tools.installed(settings, "pg_dumpall", options.bin_dir)
    pg_dumpall = _tools.choose(installs, plan.pg_dump.major, "pg_dumpall")
    argv = _dump_plan.globals_argv(
        pg_dumpall.path("pg_dumpall"), settings.name, options.lock_timeout, passwords=plan.superuser
    )
    with Connection(settings) as connection:
        done = connection.run(argv)
    if _restore_globals.END not in done.stdout[-1000:]:
        raise IntegrityError("%s ended without an error, but its output is not whole" % _process.show(argv))
    content, compression = done.stdout, "none"
    zstd = _tools.zstd_program()
    if plan.globals_path.endswith(".zst") and zstd is not None:
        content, compression = _process.run([zstd, "-1", "-q", "-c"], stdin=content).stdout, "zstd"
    with sink.artifact(plan.globals_path) as out:
        out.write(content)
    return _artifact(plan.globals_path, compression, "pg_dumpall " + pg_dumpall.version, out, started)


class _Collector:
    """Takes the fingerprint in a thread of its own; as a context manager it never outlives the dump."""

    def __init__(self, session: _client.Session, excluded: set[str]) -> None:
        self._session = session
        self._excluded = excluded
        self._found: dict[str, Any] | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self._found = _fingerprint.collect(self._session, self._excluded)
        except BaseException as exc:  # noqa: BLE001  raised again where the dump sees it
            self._error = exc

    def check(self) -> None:
        """Raise what the thread died of."""
        if self._error is not None:
            raise self._error

    def result(self) -> dict[str, Any]:
        """Wait for the fingerprint and return it."""
        self._thread.join()
        self.check()
        return self._found or {}

    def __enter__(self) -> _Collector:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._thread.is_alive():
            self._session.cancel()
            self._thread.join()
