# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The first half of a restore: read and compare everything, then load databases beside the live ones and prove them.

:func:`check` changes nothing. :func:`prepare` touches nothing that is live. The exchange is in ``_restore_swap``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    IntegrityError,
    RecoveryError,
    SpaceError,
    StateError,
    ToolError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import (
    _after_restore,
    _client,
    _fingerprint,
    _migration_lock,
    _restore_archive,
    _restore_check,
    _restore_set,
    _revival_read,
    _tools,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import (
    Connection,
    psql_command,
    quote_ident,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import (
    Admin,
    Request,
    open_admin,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_names import (
    Names,
    abandoned_copies,
    names_for,
)

if TYPE_CHECKING:
    from typing import Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_set import SetDatabase

_LOCALE_REFUSED = ("22023", "42809", "42602", "0A000", "58P01", "42704", "XX000")


def check(request: Request, databases: Sequence[SetDatabase], source: Any) -> dict[str, Any]:
    """Read every byte of the artifacts, compare the target, and return the plan; nothing is changed.

    :param source: ``source.artifact(path)`` is a context manager that gives a reader.
    :returns: ``plan`` and ``warnings`` (sentences), ``databases`` (what was read), ``revival`` (what the restore brings
        back to life: see ``_revival_read``), ``present`` (live ones that exist), ``space`` (see ``_space.part``).
    :raises IntegrityError: when an artifact is not whole; StateError: with everything else that forbids the restore.
    """
    findings, read, apart = _restore_check.Findings(), [], request.restore_as is not None
    revival: dict[str, Any] = {}
    findings.add(request.versions)
    with open_admin(request.settings, request.admin, _owners(databases), request.bin_dir) as admin:
        server = _restore_check.look_at(admin)
        if not apart and any(database.target == request.settings.name for database in databases):
            _migration_lock.warn(admin, request.settings.name, server.databases, findings.warnings)
        for database in databases:
            named = [one["name"] for one in database.fingerprint.get("collations", ())]
            here = admin.collations(database.fingerprint, named)
            findings.warnings += _restore_set.collation_changes(database.fingerprint, here)
    for database in databases:
        tools = _choose_tools(request, database, server.major)
        _restore_check.judge_target(server, database, _names(request, database), findings, apart, request.in_place)
        started = time.monotonic()
        with source.artifact(database.path) as reader, Connection(request.settings) as connection:
            archive = _restore_archive.Archive(reader, database.path, database.compression, tools, connection)
            contents, granted = archive.contents(), archive.granted_roles()
            if not apart and database.target == request.settings.name:
                comparison = _revival_read.Comparison(request, database, database.target in server.databases)
                archive.decode(comparison.rows(contents))
                revival = comparison.result(findings)
            else:
                archive.decode()
        _restore_check.judge_contents(server, database, contents, granted, request.skip_privileges, findings)
        read.append(_measured(database, archive.size, started, tool="pg_restore " + tools.version))
    _restore_check.judge_sum(findings, request.in_place)
    findings.stop()
    present = [database.target for database in databases if database.target in server.databases]
    result = {"plan": findings.plan, "warnings": findings.warnings, "databases": read}
    return dict(result, revival=revival, present=present, space=findings.space)


def prepare(request: Request, databases: Sequence[SetDatabase], source: Any) -> dict[str, Any]:
    """Load the databases under names of their own and prove each equal to its fingerprint.

    :returns: ``databases`` (name, copy, bytes, seconds, rows ...) and ``warnings``.
    :raises IntegrityError: when an artifact or the loaded copy is not what was recorded; no copy is left then.
    """
    findings, done, apart = _restore_check.Findings(), [], request.restore_as is not None
    findings.add(request.versions)
    with open_admin(request.settings, request.admin, _owners(databases), request.bin_dir) as admin:
        admin.lock(database.target for database in databases)
        server = _restore_check.look_at(admin)
        for database in databases:
            names = _names(request, database)
            _restore_check.judge_target(server, database, names, findings, apart, request.in_place)
            if request.in_place and names.live in server.databases:
                findings.blockers.append(
                    "database %s is still there, and in place no two of them are: run the step clear" % names.live
                )
        _restore_check.judge_sum(findings, request.in_place)
        findings.stop()
        made: list[str] = []
        try:
            for database in databases:
                done.append(_prepare_one(request, admin, server, database, source, made, findings))
        except BaseException as exc:
            _clear(admin, made, exc)
            raise
    return {"databases": done, "warnings": findings.warnings}


def _prepare_one(
    request: Request, admin: Admin, server: _restore_check.Server, database: SetDatabase, source: Any,
    made: list[str], findings: _restore_check.Findings,
) -> dict[str, Any]:  # fmt: skip
    names, apart = _names(request, database), request.restore_as is not None
    started = time.monotonic()
    # Copies that killed restores left: none of them was ever live, and the lock says that nobody fills one now.
    # One that is complete may wait for its swap, which is nothing to a restore that stays apart.
    abandoned = abandoned_copies(database.target, list(server.databases), prepared=not apart)
    for name in {*abandoned, *([] if apart else [names.new])}:
        admin.drop(name)
    tools = _choose_tools(request, database, server.major)
    made.extend([names.load] if apart else [names.load, names.new])
    with source.artifact(database.path) as reader, Connection(request.settings) as connection:
        archive = _restore_archive.Archive(reader, database.path, database.compression, tools, connection)
        contents, granted = archive.contents(), archive.granted_roles()
        by_admin = _restore_check.judge_contents(server, database, contents, granted, request.skip_privileges, findings)
        findings.stop()
        locale = _create(admin, names.load, database, server)
        _before_load(admin, names.load, database, by_admin)
        _load(request, admin, server, database, names.load, archive, contents.without_extensions(by_admin))
    loaded = time.monotonic()
    for statement in _restore_set.property_statements(names.load, database, request.skip_privileges):
        admin.session.execute(statement)
    fingerprint = _prove(request, admin, database, names.load)
    after = _after_restore_of(request, admin, database, names.load, database.target in server.databases)
    admin.session.execute("ALTER DATABASE %s RENAME TO %s" % (quote_ident(names.load), quote_ident(names.new)))
    if _restore_set.same_locale(database.fingerprint, fingerprint):
        findings.warnings += _restore_set.collation_changes(database.fingerprint, fingerprint)
    else:
        pair = (_restore_set.describe_locale(database.fingerprint), _restore_set.describe_locale(fingerprint))
        findings.warnings.append(
            "%s: the backup's locale %s is not on this server; %s is used" % (database.name, *pair)
        )
    drop = psql_command(admin.settings, "postgres", "DROP DATABASE %s" % quote_ident(names.new))
    return _measured(
        database, archive.size, started, copy=names.new, drop_command=drop, locale=locale,
        load_seconds=round(loaded - started, 3), rows=sum(table["rows"] for table in fingerprint["tables"].values()),
        tables=len(fingerprint["tables"]), **after,
    )  # fmt: skip


def _names(request: Request, database: SetDatabase) -> Names:
    names = names_for(database.target, request.restore_id)
    return names if request.restore_as is None else names._replace(new=request.restore_as)


def _create(admin: Admin, name: str, database: SetDatabase, server: _restore_check.Server) -> str:
    """Create the database with the first locale that the server accepts; return whose that is."""
    statements = list(
        _restore_set.create_statements(name, database, server.databases.get(database.target), server.major)
    )
    for number, (statement, whose) in enumerate(statements, 1):
        try:
            admin.session.execute(statement)
            return whose
        except _client.QueryError as exc:
            if exc.sqlstate not in _LOCALE_REFUSED or number == len(statements):
                raise
    raise StateError("no statement to create %s" % name)


def _before_load(admin: Admin, name: str, database: SetDatabase, extensions: Sequence[str]) -> None:
    """Make the empty database such that its owner can load the dump."""
    drop_public = "public" not in database.fingerprint["schemas"]
    if not extensions and not drop_public:
        return
    with admin.open(name) as session:
        for extension in extensions:
            session.execute("CREATE EXTENSION IF NOT EXISTS %s" % quote_ident(extension))
        if drop_public:
            session.execute("DROP SCHEMA public")


def _load(
    request: Request, admin: Admin, server: _restore_check.Server, database: SetDatabase, name: str,
    archive: _restore_archive.Archive, keep_lines: list[str] | None,
) -> None:  # fmt: skip
    own = request.settings.user == database.owner
    target = _restore_archive.Target(
        settings=request.settings if own else admin.settings,
        database=name,
        server_major=server.major,
        role=None if own else database.owner,
        skip_privileges=request.skip_privileges,
        keep_lines=keep_lines,
    )
    try:
        archive.load(target)
    except ToolError as exc:
        if "No space left on device" in exc.cause or "53100" in exc.cause:
            raise SpaceError("the server's disk is full: %s" % exc.cause, hint="the copy was dropped again") from exc
        raise ToolError(
            "%s could not be loaded: %s" % (database.path, exc.cause),
            hint="the copy is dropped and %s; the server's log may say more" % _state_of_live(request),
        ) from exc


def _prove(request: Request, admin: Admin, database: SetDatabase, name: str) -> dict[str, Any]:
    """Compare the copy with the fingerprint and return its own.

    :raises IntegrityError: naming every table that differs.
    """
    with _open_copy(request, admin, database, name) as session:
        if not admin.superuser and request.settings.user != database.owner:
            session.execute("SET ROLE %s" % quote_ident(database.owner))
        session.execute("ANALYZE")
        actual = _fingerprint.collect(session)
    differences = _fingerprint.compare(_restore_set.expected_fingerprint(database), actual)
    if differences:
        raise IntegrityError(
            "the restored copy of %s is not what was backed up: %s"
            % (database.name, _restore_check.difference_lines(differences)),
            hint="the copy was dropped and %s; use another backup set" % _state_of_live(request),
        )
    return actual


def _state_of_live(request: Request) -> str:
    if request.in_place:
        return "what was live had been dropped before: its safety set brings it back"
    return "the live database is untouched"


def _open_copy(request: Request, admin: Admin, database: SetDatabase, name: str) -> _client.Session:
    if request.settings.user == database.owner and not admin.superuser:
        return _client.connect(request.settings, name, bin_dir=request.bin_dir)
    return admin.open(name)


def _after_restore_of(
    request: Request, admin: Admin, database: SetDatabase, name: str, live: bool
) -> dict[str, dict[str, Any]]:
    """Do to the proved copy of the instance's own database what was asked for, as the application role."""
    if not request.after_restore.wanted or database.target != request.settings.name:
        return {}
    present = _revival_read.Present(request, database.target, live)
    with _open_copy(request, admin, database, name) as session:
        session.execute("SET ROLE %s" % quote_ident(database.owner))
        return {"after_restore": _after_restore.apply(session, request.after_restore, present)}


def _clear(admin: Admin, made: Sequence[str], reason: BaseException) -> None:
    """Drop what a failed preparation made; when that fails too, say so with the first error."""
    for name in made:
        try:
            admin.drop(name)
        except RecoveryError as exc:
            if isinstance(reason, RecoveryError):
                reason.hint = "%s. The copy %s could not be dropped (%s): run the step undo" % (
                    reason.hint.rstrip("."), name, exc.cause,
                )  # fmt: skip
            return


def _choose_tools(request: Request, database: SetDatabase, server_major: int) -> _tools.Install:
    installs = _tools.installed(request.settings, "pg_restore", request.bin_dir)
    return _tools.choose(installs, max(server_major, database.tool_major), "pg_restore")


def _owners(databases: Sequence[SetDatabase]) -> list[str]:
    return sorted({database.owner for database in databases})


def _measured(database: SetDatabase, size: int, started: float, **more: Any) -> dict[str, Any]:
    seconds = time.monotonic() - started
    return {
        "name": database.name,
        "target": database.target,
        "artifact": database.path,
        "bytes": size,
        "seconds": round(seconds, 3),
        "bytes_per_second": int(size / seconds) if seconds > 0 else 0,
        **more,
    }
