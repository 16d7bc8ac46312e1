# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Who may create and rename databases on the target server, and what the server looks like.

An application role on a bare-metal host is usually a plain owner: it can fill a database, but neither create nor
rename one. Somebody else does that part: the role of ``admin_user``, or the operating system's user ``postgres``.

In a container it is usually the superuser that the image made (``POSTGRES_USER``), whom the image trusts on its socket.
"""

from __future__ import annotations

import dataclasses
import os
import pwd
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ConnectError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._ladder import Verdict
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _client
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._catalog import COLLATION_VERSIONS_SINCE
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import (
    Connection,
    default_host,
    quote_ident,
    quote_literal,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_set import same_locale

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Iterable, Mapping, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import PostgresSettings

SYSTEM_USER = "postgres"
MIGRATION_SECONDS = 60
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_LOCK_CLASS = 0x41554B  # any number of our own: the class of the advisory locks of restores

_RIGHTS = """
SELECT current_user::text AS role, rolsuper AS superuser, rolcreatedb AS createdb,
    pg_catalog.current_setting('server_version_num')::int / 10000 AS major,
    pg_catalog.current_setting('server_version') AS version, pg_catalog.pg_is_in_recovery() AS standby,
    ARRAY(SELECT o.rolname::text FROM pg_catalog.pg_roles o
          WHERE o.rolname IN ({owners}) AND NOT pg_catalog.pg_has_role(o.oid, 'MEMBER')) AS not_member_of
FROM pg_catalog.pg_roles WHERE rolname = current_user
"""

_IDENTITY = """
SELECT system_identifier::text || ' ' || pg_catalog.pg_postmaster_start_time()::text AS identity
FROM pg_catalog.pg_control_system()
"""

_DATABASES = """
SELECT d.datname AS name, pg_catalog.pg_get_userbyid(d.datdba) AS owner, d.datallowconn AS open,
    pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collation, d.datctype AS ctype,
    CASE pg_catalog.to_jsonb(d) ->> 'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END
        AS locale_provider,
    coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale') AS locale,
    (SELECT s.spcname FROM pg_catalog.pg_tablespace s WHERE s.oid = d.dattablespace) AS tablespace,
    CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT') THEN pg_catalog.pg_database_size(d.oid) END AS bytes,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid) AS connections,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_xacts x WHERE x.database = d.datname) AS prepared,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots p WHERE p.database = d.datname) AS slots
FROM pg_catalog.pg_database d
"""

# Collations of the system, and those of databases, without a schema.
_COLLATIONS = """
SELECT NULL AS schema, d.datname AS name, pg_catalog.pg_database_collation_actual_version(d.oid) AS version,
    CASE d.datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END AS locale_provider,
    d.datcollate AS collation, d.datctype AS ctype,
    coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale') AS locale
FROM pg_catalog.pg_database d
UNION ALL
SELECT 'pg_catalog', l.collname, pg_catalog.pg_collation_actual_version(l.oid), NULL, NULL, NULL, NULL
FROM pg_catalog.pg_collation l
WHERE l.collnamespace = 'pg_catalog'::pg_catalog.regnamespace AND l.collname IN ({names})
    AND l.collencoding IN (-1, pg_catalog.pg_char_to_encoding('UTF8'))
"""

# Only those that this role may end: one refusal would spare all the others.
_TERMINATE = """
SELECT pg_catalog.pg_terminate_backend(a.pid) AS told
FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
WHERE a.datname IN ({databases}) AND a.pid <> pg_catalog.pg_backend_pid() AND a.pid <> {spare}
    AND ((SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
         OR (NOT r.rolsuper AND pg_catalog.pg_has_role(r.oid, 'MEMBER')))
"""


class AdminOptions(NamedTuple):
    """The module's options for a role that may create databases; all None to find one."""

    user: str | None = None
    password: str | None = None
    run_as: str | None = None


class AfterRestore(NamedTuple):
    """What is done to the restored copy of the instance's database before it can become live."""

    purge_sessions: bool = False
    keep_disabled: bool = False

    @property
    def wanted(self) -> bool:
        """True where anything is."""
        return self.purge_sessions or self.keep_disabled


class Request(NamedTuple):
    """A restore: where to, under which id, and how.

    ``restore_as``: the name that a copy gets in the end, which is never exchanged for the live database.
    ``migration_seconds``: how long to wait for the end of a migration, before databases are exchanged.
    ``in_place``: what is live is dropped before its copy is loaded, because both do not fit.
    """

    settings: PostgresSettings
    restore_id: str
    admin: AdminOptions = AdminOptions()
    skip_privileges: bool = False
    bin_dir: str | None = None
    versions: Verdict = Verdict()
    after_restore: AfterRestore = AfterRestore()
    migration_seconds: int = MIGRATION_SECONDS
    restore_as: str | None = None
    in_place: bool = False

    @property
    def app_role(self) -> str:
        """The role that authentik logs in as."""
        return self.settings.app_user or self.settings.user


class Candidate(NamedTuple):
    """A way to log in, and how to call it in messages."""

    settings: PostgresSettings
    how: str
    must_be_same: bool


def candidates(
    app: PostgresSettings, options: AdminOptions, is_root: bool, has_system_user: bool, image_superuser: str = ""
) -> list[Candidate]:
    """Return the logins to try, best first. Pure.

    :param is_root: whether this process may become another operating system user.
    :param has_system_user: whether the host has the user ``postgres``.
    :param image_superuser: the superuser that the container's image made, "" where the image does not tell.
    """
    local = app.is_socket or app.host in _LOCAL_HOSTS
    socket = app.host if app.is_socket else ""
    superuser = (image_superuser if app.container is not None else "") or SYSTEM_USER
    if options.user is not None or options.run_as is not None:
        through_socket = options.run_as is not None and options.password is None
        admin = dataclasses.replace(
            app,
            user=options.user or superuser,
            password=options.password,
            run_as=options.run_as if options.run_as is not None else app.run_as,
            host=socket if through_socket and local else app.host,
        )
        how = "role %s" % admin.user
        if options.run_as is not None:
            how += " as operating system user %s" % options.run_as
        return [Candidate(admin, how + " (admin_user, admin_run_as)", through_socket and not app.is_socket)]
    found = [Candidate(app, "the application's login, role %s" % app.user, False)]
    system = dataclasses.replace(app, user=superuser, password=None, host=socket, sslmode=None)
    peer = dataclasses.replace(system, user=SYSTEM_USER, run_as=SYSTEM_USER)
    if local and app.container is not None:
        where = "over the socket in container %s" % app.container.name
        found.append(Candidate(system, "role %s %s" % (superuser, where), not app.is_socket))
        found.append(Candidate(peer, "its user %s %s" % (SYSTEM_USER, where), not app.is_socket))
    elif local and is_root and has_system_user and app.run_as != SYSTEM_USER:
        found.append(Candidate(peer, "operating system user %s over the socket" % SYSTEM_USER, not app.is_socket))
    return found


def lacking(rights: dict[str, Any]) -> str:
    """Return what a role lacks to create, fill and rename databases, "" when nothing. Pure."""
    if rights["superuser"]:
        return ""
    problems = [] if rights["createdb"] else ["it has no CREATEDB"]
    if rights["not_member_of"]:
        problems.append("it is no member of %s" % ", ".join(rights["not_member_of"]))
    return " and ".join(problems)


class Admin:
    """A session that may create and rename databases, as a context manager.

    :ivar session: connected to the maintenance database.
    :ivar rights: ``role``, ``superuser``, ``major``, ``version``, ``standby``.
    """

    def __init__(
        self, candidate: Candidate, session: _client.Session, rights: dict[str, Any], bin_dir: str | None
    ) -> None:
        self.settings = candidate.settings
        self.how = candidate.how
        self.session = session
        self.rights = rights
        self._bin_dir = bin_dir

    @property
    def major(self) -> int:
        return int(self.rights["major"])

    @property
    def superuser(self) -> bool:
        return bool(self.rights["superuser"])

    def open(self, database: str | None = None) -> _client.Session:
        """Return one more session of this login: on ``database``, or on the maintenance database."""
        if database is not None:
            return _client.connect(self.settings, database, bin_dir=self._bin_dir)
        return _maintenance_session(self.settings, self._bin_dir)

    def databases(self) -> dict[str, dict[str, Any]]:
        """Return what is known of every database of the server, by name."""
        return {row["name"]: row for row in self.session.rows(_DATABASES)}

    def collations(self, locale: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
        """Return the versions of collations as this server would use them, in the form of a fingerprint.

        :param locale: of a database as in a fingerprint; its version is left out where the server has none like it.
        :param names: of collations of the system to look for.
        """
        if self.major < COLLATION_VERSIONS_SINCE:
            return {}
        wanted = ", ".join(quote_literal(name) for name in ("", *names))
        rows = self.session.rows(_COLLATIONS.format(names=wanted))
        found: dict[str, Any] = {"collations": [row for row in rows if row["schema"] is not None]}
        alike = [row["version"] for row in rows if row["schema"] is None and same_locale(locale, row)]
        return {**found, "collation_version": alike[0]} if alike else found

    def roles(self) -> set[str]:
        """Return the names of all roles."""
        return {row["name"] for row in self.session.rows("SELECT rolname AS name FROM pg_catalog.pg_roles")}

    def lock(self, databases: Iterable[str]) -> None:
        """Keep other restores of these databases out until this session ends.

        :raises StateError: when one is under way.
        """
        for name in databases:
            key = "%d, pg_catalog.hashtext(%s)" % (_LOCK_CLASS, quote_literal(name))
            if not self.session.rows("SELECT pg_catalog.pg_try_advisory_lock(%s) AS got" % key)[0]["got"]:
                raise StateError(
                    "another restore of database %s is under way" % name,
                    hint="wait for it; its sessions carry the application name authentik_ops.recovery",
                    command="SELECT pid, datname, state, backend_start FROM pg_stat_activity "
                    "WHERE application_name = 'authentik_ops.recovery'",
                )

    def drop(self, name: str) -> None:
        """Drop a database of ours, whoever is connected."""
        if self.major >= 13:
            self.session.execute("DROP DATABASE IF EXISTS %s WITH (FORCE)" % quote_ident(name))
        else:
            self.terminate([name])
            self.session.execute("DROP DATABASE IF EXISTS %s" % quote_ident(name))

    def terminate(self, databases: Sequence[str], session: _client.Session | None = None, spare: int = 0) -> int:
        """End every connection to these databases, but the one of process ``spare``; return how many were told to."""
        named = ", ".join(quote_literal(name) for name in databases)
        return len((session or self.session).rows(_TERMINATE.format(databases=named, spare=spare)))

    def __enter__(self) -> Admin:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.close()


def open_admin(
    app: PostgresSettings, options: AdminOptions, owners: Iterable[str], bin_dir: str | None = None
) -> Admin:
    """Log in as somebody who may create, fill and rename databases of these owners.

    :raises ConnectError: when the application's own login fails, or the one that was named.
    :raises StateError: when nobody who may was found; says what to give.
    """
    named = ", ".join(quote_literal(owner) for owner in owners)
    tried = []
    image_superuser = _image_superuser(app) if app.container is not None else ""
    for candidate in candidates(app, options, os.geteuid() == 0, _has_user(SYSTEM_USER), image_superuser):
        try:
            session = _maintenance_session(candidate.settings, bin_dir)
        except ConnectError as exc:
            if candidate.settings is app or options.user is not None or options.run_as is not None:
                raise
            tried.append("%s: %s" % (candidate.how, exc.cause))
            continue
        rights = session.rows(_RIGHTS.format(owners=named))[0]
        problem = lacking(rights)
        if candidate.must_be_same and session.rows(_IDENTITY) != _identity(app, bin_dir):
            where = default_host(candidate.settings) or "its usual place"
            problem = "the socket in %s belongs to another server" % where
        if not problem:
            return Admin(candidate, session, rights, bin_dir)
        session.close()
        tried.append("%s: %s" % (candidate.how, problem))
    raise StateError(
        "nobody was found who may create and rename databases on this server. Tried %s" % "; ".join(tried),
        hint="give admin_user and admin_password of a superuser (or of a role with CREATEDB that is a member of the "
        "owner), or admin_run_as with the operating system user that PostgreSQL trusts on its socket%s"
        % (", a user of the container" if app.container is not None else ", which needs root (become)"),
    )


def _maintenance_session(settings: PostgresSettings, bin_dir: str | None) -> _client.Session:
    """Return a session on a database that no restore renames."""
    try:
        return _client.connect(settings, "postgres", bin_dir=bin_dir)
    except ConnectError as first:
        try:
            return _client.connect(settings, "template1", bin_dir=bin_dir)
        except ConnectError:
            raise first from None


def _identity(app: PostgresSettings, bin_dir: str | None) -> list[dict[str, Any]]:
    with _maintenance_session(app, bin_dir) as session:
        return session.rows(_IDENTITY)


# The official image takes the name from a variable, or from a file that another one names; its default is postgres.
_POSTGRES_USER = 'if [ -r "$POSTGRES_USER_FILE" ]; then cat "$POSTGRES_USER_FILE"; else printf %s "$POSTGRES_USER"; fi'


def _image_superuser(app: PostgresSettings) -> str:
    with Connection(app) as connection:
        done = connection.run(["sh", "-c", _POSTGRES_USER], login=False, check=False)
    return done.stdout.decode("utf-8", "replace").strip() if done.status == 0 else ""


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
