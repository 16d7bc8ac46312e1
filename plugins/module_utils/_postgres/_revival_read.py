# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Both sides of the report of what a restore brings back: the set's rows as they pass, and the present database."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import (
    _archive_rows,
    _catalog,
    _client,
    _copy_text,
    _revival,
    _revival_sides,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import quote_ident
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._revival_sides import (
    DIGEST_LETTERS,
    FLAG,
    LOGIN,
    MOMENT,
    SECRET,
    TABLES,
    USER,
    Snapshot,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import count

if TYPE_CHECKING:
    from typing import Iterable, Mapping, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import Request
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_archive import Contents
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_set import SetDatabase

# What new tenants are cloned from: nobody logs in there.
_CLONED = "template"
_EXPRESSIONS = {
    FLAG: "t.{0}",
    MOMENT: "extract(epoch FROM t.{0})::text",
    SECRET: "left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(t.{0}::text, 'UTF8')), 'hex'), %d)"
    % DIGEST_LETTERS,
}


class Present:
    """The present database's side.

    :ivar reason: why there is nothing to compare with, "" when there is.
    :ivar failed: the error when that is because the database cannot be read.
    """

    def __init__(self, request: Request, name: str, exists: bool) -> None:
        self.name = name
        self.reason = ""
        self.failed: RecoveryError | None = None
        self.schemas: dict[str, Snapshot] = {}
        if not exists:
            self.reason = "the server has no database %s now, so there is nothing to compare the set with" % name
            return
        try:
            with _client.connect(request.settings, name, bin_dir=request.bin_dir) as session:
                self.schemas = read_schemas(session)
        except RecoveryError as exc:
            self.failed = exc
            self.reason = "the present database %s cannot be read, so nothing was compared: %s" % (name, exc.cause)
            return
        if not self.schemas:
            self.reason = "the present database %s holds no users of authentik: there is nothing to compare with" % name

    @property
    def now(self) -> float:
        """The server's time, in seconds since 1970."""
        return next((snapshot.now for snapshot in self.schemas.values()), 0.0)


def read_schemas(session: _client.Session, tables: Iterable[str] = tuple(TABLES)) -> dict[str, Snapshot]:
    """Return a snapshot of each schema that holds users, all as of one moment.

    :raises QueryError: when something cannot be read although the catalog says that it can.
    """
    relations = {(one.schema, one.name): one for one in _catalog.relations(session) if one.kind in ("r", "p")}
    session.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    now = float(session.rows("SELECT extract(epoch FROM pg_catalog.now())::text AS now")[0]["now"])
    found = {schema: Snapshot(now) for schema, table in relations if table == USER and schema != _CLONED}
    for schema, snapshot in found.items():
        for table in tables:
            relation = relations.get((schema, table))
            if relation is None:
                continue
            if not relation.readable:
                snapshot.problems[table] = "may not be read by the role that was used"
            elif snapshot.offer(table, relation.columns):
                for row in session.stream(_select(relation, table, snapshot.columns[table])):
                    snapshot.add(table, row)
    session.execute("COMMIT")
    return found


def _select(relation: _catalog.Relation, table: str, columns: Sequence[str]) -> str:
    listed = [
        "%s AS %s" % (_EXPRESSIONS.get(TABLES[table][name], "t.{0}::text").format(quote_ident(name)), quote_ident(name))
        for name in columns
    ]
    sql = "SELECT %s FROM %s AS t" % (", ".join(listed), relation.sql)
    if "expires" in columns and "expiring" in columns:
        sql += " WHERE t.expires IS NULL OR NOT t.expiring OR t.expires > pg_catalog.now()"
    return sql


class SetSide:
    """The set's side, filled while its archive is decoded with :attr:`rows`."""

    def __init__(self, database: SetDatabase, contents: Contents, now: float) -> None:
        self._tables = database.fingerprint["tables"]
        self.schemas = {schema: Snapshot(now) for schema in schemas_of(self._tables)}
        self._copy = _copy_text.CopyRows({table: list(columns) for table, columns in TABLES.items()}, self._take)
        entries = contents.of_kinds(("TABLE DATA",))
        lines = [entry.line for entry in entries if entry.rest.split(" ", 1)[0] in TABLES]
        self.rows = _archive_rows.Rows(lines, self._copy.feed)

    def _take(self, schema: str, table: str, row: Mapping[str, str | None]) -> None:
        snapshot = self.schemas.get(schema)
        if snapshot is not None and self._offered(snapshot, schema, table):
            snapshot.add(table, _revival_sides.from_text(table, row))

    def _offered(self, snapshot: Snapshot, schema: str, table: str) -> bool:
        if table in snapshot.columns:
            return True
        return table not in snapshot.problems and snapshot.offer(table, self._copy.columns[schema, table])

    def finish(self) -> None:
        """Say of each table that the set has and whose rows did not come why that is."""
        broken = self.rows.problem or self._copy.problem()
        for schema, snapshot in self.schemas.items():
            for table in TABLES:
                known = self._tables.get(_catalog.qualified(schema, table))
                if known is None:
                    continue
                if broken:
                    snapshot.columns.pop(table, None)
                    snapshot.problems[table] = "could not be read: %s" % broken
                elif known["data"] == "excluded":
                    snapshot.problems[table] = "was left out of the backup"
                elif (schema, table) in self._copy.columns:
                    self._offered(snapshot, schema, table)
                else:
                    snapshot.problems[table] = "has no rows in the dump's table of contents"


def schemas_of(tables: Iterable[str]) -> list[str]:
    """Return the schemas that hold users, by the names of tables in a fingerprint."""
    found = [re.match(r"(.+)\.%s\Z" % USER, key) for key in tables]
    names = [_copy_text.unquote(match.group(1)) for match in found if match is not None]
    return [name for name in names if name != _CLONED]


class Comparison:
    """What a restore of one database brings back, from both sides."""

    def __init__(self, request: Request, database: SetDatabase, exists: bool) -> None:
        self._request = request
        self._database = database
        self._present = Present(request, database.target, exists)
        self._set: SetSide | None = None

    def rows(self, contents: Contents) -> _archive_rows.Rows | None:
        """Return what to read of the archive while it is decoded, None when there is nothing to compare."""
        if self._present.reason and not self._request.after_restore.wanted:
            return None
        self._set = SetSide(self._database, contents, self._present.now)
        return self._set.rows

    def result(self, findings: Any) -> dict[str, Any]:
        """Return the report, with what ``after_restore`` would do; what forbids that goes into ``findings``."""
        lines: list[str] = []
        schemas: list[dict[str, Any]] = []
        if self._set is not None:
            self._set.finish()
        if self._present.reason:
            lines.append(self._present.reason)
        elif self._set is not None:
            for schema, snapshot in self._set.schemas.items():
                lines += self._compare(schema, snapshot, schemas)
            gone = sorted(set(self._present.schemas) - set(self._set.schemas))
            lines += ["%sall of it is newer than the set, and vanishes" % self._where(schema) for schema in gone]
        lines += self._after_restore(findings)
        return {"compared": not self._present.reason, "schemas": schemas, "lines": lines}

    def _where(self, schema: str) -> str:
        return "" if schema == self._request.settings.default_schema else "schema %s: " % schema

    def _compare(self, schema: str, snapshot: Snapshot, schemas: list[dict[str, Any]]) -> list[str]:
        present = self._present.schemas.get(schema)
        if present is None:
            users = count(len(snapshot.users), "user")
            return ["schema %s: not in the present database: it comes back with %s" % (schema, users)]
        report = _revival.compare(snapshot, present)
        schemas.append({"schema": schema, **report})
        return [self._where(schema) + line for line in _revival.sentences(report)]

    def _after_restore(self, findings: Any) -> list[str]:
        wanted, lines = self._request.after_restore, []
        held = self._set.schemas if self._set is not None else {}
        if wanted.purge_sessions:
            lines.append("purge_sessions: every session of the copy is deleted before it becomes the live database")
            lines += redis_holds_sessions(one.columns[LOGIN] for one in held.values() if LOGIN in one.columns)
        if wanted.keep_disabled:
            for schema, snapshot in held.items():
                lines += self._keep_disabled(schema, snapshot, findings)
        return lines

    def _keep_disabled(self, schema: str, snapshot: Snapshot, findings: Any) -> list[str]:
        where = self._where(schema)
        present = self._present.schemas.get(schema)
        problem = keep_disabled_problem(schema, snapshot, present, self._present)
        if problem:
            findings.blockers.append(problem)
            return []
        if present is None:
            return ["%skeep_disabled: there are no users now to compare with, so nobody is disabled" % where]
        disabled = _revival.to_disable(snapshot, present)
        named = _revival.list_some(_revival.name_some(disabled.values()))
        return ["%skeep_disabled: users who are disabled in the copy before it goes live: %s" % (where, named)]


def redis_holds_sessions(columns: Iterable[Sequence[str]]) -> list[str]:
    """Return the warning that sessions are not in the database alone, for releases that keep them elsewhere.

    :param columns: of each table of sessions.
    """
    if all("session_id" in one for one in columns):
        return []
    return [
        "purge_sessions: authentik of before 2025.4 keeps the sessions themselves in Redis, which is not emptied: to "
        "end them, leave redis out of the restore, and empty Redis before authentik is started"
    ]


def keep_disabled_problem(schema: str, copy: Snapshot, present: Snapshot | None, side: Present) -> str:
    """Return why it cannot be told who is to stay disabled, or must not be done; "" when it can."""
    if side.failed is not None:
        return "keep_disabled: %s" % side.reason
    if present is None:
        return ""
    for whose, one in (("the set", copy), ("the present database", present)):
        if USER not in one.columns:
            why = one.problems.get(USER, "is not there")
            return "keep_disabled: the users of schema %s cannot be compared: in %s %s %s" % (schema, whose, USER, why)
    if _revival.locks_everybody_out(copy, _revival.to_disable(copy, present)):
        return (
            "keep_disabled would disable every superuser of schema %s, because the present database has all of them "
            "disabled or removed: restore without it, then disable by hand" % schema
        )
    return ""
