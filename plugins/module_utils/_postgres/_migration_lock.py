# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""authentik's own lock around its migrations, held while databases are exchanged.

authentik takes ``pg_advisory_lock(1000)`` in a session of its own before it looks at its tables, and gives it up when
they are migrated. Whoever holds it knows that no migration runs and that none begins. It is a lock of one database, so
its session is a connection to the very database that a RENAME wants empty: it has to be given up in time, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ConnectError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _client
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import quote_literal

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Container

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import Admin, Request

LOCK = 1000
_NO_ROOM = ("too many", "remaining connection slots")

_ADVISORY = """
l.locktype = 'advisory' AND l.classid = 0 AND l.objid = {lock} AND l.objsubid = 1 AND l.granted AND l.database = {oid}
"""

# What belongs to other roles is NULL for one without pg_read_all_stats; pid, role and application are not.
_HOLDERS = """
SELECT l.pid, a.usename AS role, a.application_name AS application, pg_catalog.host(a.client_addr) AS client,
    a.client_port AS port, pg_catalog.date_trunc('second', a.backend_start)::text AS since
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid WHERE {advisory}
"""

_KEEPS_OUT = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'object' AND l.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND l.objid = {oid}
        AND l.mode = 'AccessExclusiveLock' AND l.granted AND l.pid = {renaming}) AS said
"""

# Sessions without a role are the server's own, such as autovacuum: they take no lock of authentik's.
_ALONE = """
SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
        WHERE a.datid = {oid} AND a.usesysid IS NOT NULL AND a.pid <> {pid})
    AND EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE {advisory} AND l.pid = {pid}) AS said
"""


class MigrationLock:
    """The lock in a live database, as a context manager; another thread hands it over to a RENAME.

    :ivar pid: the session that holds it and must be left alone; 0 from when it may end.
    :ivar handed_over: whether there was no moment in which a migration could have begun.
    :ivar warnings: sentences.
    :raises StateError: when somebody else holds it to the end of ``request.migration_seconds``.
    """

    def __init__(self, admin: Admin, request: Request, database: str) -> None:
        self._admin = admin
        self._request = request
        self._database = database
        self._session: _client.Session | None = None
        self._oid = oid_of(admin, database)
        self._renaming = int(admin.session.rows("SELECT pg_catalog.pg_backend_pid() AS pid")[0]["pid"])
        self.pid = 0
        self.handed_over = False
        self.warnings: list[str] = []

    def __enter__(self) -> MigrationLock:
        try:
            session = self._open()
        except ConnectError as exc:
            self._do_without(exc)
            return self
        try:
            self._take(session)
        except BaseException:
            session.close()
            raise
        self._session = session
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            self._session.close()

    def hand_over(self, session: _client.Session) -> None:
        """Let the lock's session end once a RENAME keeps newcomers out and nobody else is left who could take it.

        :param session: another session, of the thread that calls.
        """
        if not self.pid:
            return
        # One after the other: who came in before the RENAME kept newcomers out is seen by what is asked after that.
        if not session.rows(_KEEPS_OUT.format(oid=self._oid, renaming=self._renaming))[0]["said"]:
            return
        if session.rows(_ALONE.format(oid=self._oid, pid=self.pid, advisory=_advisory(self._oid)))[0]["said"]:
            self.handed_over = True
            self.pid = 0

    def _open(self) -> _client.Session:
        try:
            return self._admin.open(self._database)
        except ConnectError:
            # An administrator without superuser's rights may lack CONNECT.
            return _client.connect(self._request.settings, self._database, bin_dir=self._request.bin_dir)

    def _take(self, session: _client.Session) -> None:
        seconds = self._request.migration_seconds
        session.execute("SET lock_timeout = %d" % max(seconds * 1000, 1))
        try:
            session.execute("SELECT pg_catalog.pg_advisory_lock(%d)" % LOCK)
        except _client.QueryError as exc:
            if exc.sqlstate != _client.LOCK_NOT_AVAILABLE:
                raise
            raise self._refusal(" and was not given up within %d seconds" % seconds) from exc
        self.pid = int(session.rows("SELECT pg_catalog.pg_backend_pid() AS pid")[0]["pid"])

    def _do_without(self, exc: ConnectError) -> None:
        """Go on when the live database takes no connections: where nobody can log in, nothing migrates.

        A broken database is a reason to restore, so it cannot be one not to.
        """
        if any(words in exc.cause.lower() for words in _NO_ROOM):
            exc.hint = "nothing was exchanged; stop what is connected to the server, or raise max_connections"
            raise exc
        if holders(self._admin, self._database):
            raise self._refusal("")
        self.handed_over = True
        self.warnings.append(
            "%s takes no connections, so authentik's migration lock was not taken in it: %s"
            % (self._database, exc.cause)
        )

    def _refusal(self, end: str) -> StateError:
        found = holders(self._admin, self._database)
        return StateError(
            "authentik migrates database %s: its lock around migrations is held by %s%s"
            % (self._database, "; ".join(found) or "a session that has just ended", end),
            hint="nothing was exchanged. Wait until it is done, or stop what runs there; a migration that is cut in "
            "two may leave tables that no version fits. migration_timeout says how long to wait",
            command="SELECT a.pid, a.usename, a.application_name, a.client_addr, a.state, a.query_start "
            "FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.objid = %d "
            "AND l.database = (SELECT oid FROM pg_database WHERE datname = %s)" % (LOCK, quote_literal(self._database)),
        )


def oid_of(admin: Admin, database: str) -> int:
    """Return the number of a database that exists."""
    sql = "SELECT oid::bigint AS oid FROM pg_catalog.pg_database WHERE datname = %s" % quote_literal(database)
    return int(admin.session.rows(sql)[0]["oid"])


def holders(admin: Admin, database: str) -> list[str]:
    """Return who holds the lock in a database, as a phrase each; none when no migration runs."""
    advisory = _advisory(oid_of(admin, database))
    return [_describe(row) for row in admin.session.rows(_HOLDERS.format(advisory=advisory))]


def warn(admin: Admin, database: str, databases: Container[str], warnings: list[str]) -> None:
    """Add a warning when a migration of this database runs now: an exchange would wait for its end."""
    for holder in holders(admin, database) if database in databases else []:
        warnings.append(
            "authentik migrates database %s at this moment (%s): the swap waits for its end, and not for long"
            % (database, holder)
        )


def _advisory(oid: int) -> str:
    return _ADVISORY.format(lock=LOCK, oid=oid)


def _describe(row: dict[str, Any]) -> str:
    """Say who a session is. Pure."""
    client = row["client"]
    if client is None:
        client = "on the socket" if row["port"] == -1 else "hidden from the role that asks"
    said = "pid %s, role %s, application %s, client %s" % (
        row["pid"], row["role"] or "unknown", row["application"] or "without a name", client,
    )  # fmt: skip
    return said + (", connected since %s" % row["since"] if row["since"] else "")
