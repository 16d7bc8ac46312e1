# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What stands in the way of a restore, and what it would do: worked out before anything is touched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _space
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _restore_set
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import (
    Connection,
    quote_ident,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_names import abandoned_copies
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_bytes

if TYPE_CHECKING:
    from typing import Collection, Mapping, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._ladder import Verdict
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import Admin
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_archive import Contents
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_names import Names
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_set import SetDatabase

_SUPERUSER_ONLY = ("EVENT TRIGGER", "FOREIGN DATA WRAPPER", "PROCEDURAL LANGUAGE", "SUBSCRIPTION")
_START_TOLERANCE_SECONDS = 5
_PG_DEFAULT = "pg_default"
_TABLESPACES = """
SELECT spcname AS name, pg_catalog.pg_tablespace_location(oid) AS location
FROM pg_catalog.pg_tablespace WHERE pg_catalog.pg_tablespace_location(oid) <> ''
"""


class Server(NamedTuple):
    """The target server: ``places`` says by tablespace where databases lie, as far as that can be seen from here."""

    major: int
    version: str
    standby: bool
    databases: Mapping[str, Mapping[str, Any]]
    roles: Mapping[str, bool]
    extensions: Mapping[str, bool]
    places: Mapping[str, _space.FileSystem]
    admin_how: str
    admin_superuser: bool


class Findings:
    """Sentences about a restore: what it would do, what to look at, and what forbids it."""

    def __init__(self) -> None:
        self.plan: list[str] = []
        self.warnings: list[str] = []
        self.blockers: list[str] = []
        self.space: list[dict[str, Any]] = []

    def add(self, verdict: Verdict) -> None:
        """Take over what another comparison found."""
        self.plan += verdict.plan
        self.warnings += verdict.warnings
        self.blockers += verdict.blockers

    def stop(self) -> None:
        """Raise when something forbids the restore.

        :raises StateError: with every blocker.
        """
        if not self.blockers:
            return
        numbered = "; ".join("(%d) %s" % pair for pair in enumerate(self.blockers, 1))
        text = self.blockers[0] if len(self.blockers) == 1 else numbered
        raise StateError(
            "the database cannot be restored: %s" % text, hint="nothing was changed; remove the cause and try again"
        )


def look_at(admin: Admin) -> Server:
    """Read what is needed to judge a restore; changes nothing."""
    rights = admin.rights
    roles = admin.session.rows("SELECT rolname AS name, rolsuper AS superuser FROM pg_catalog.pg_roles")
    extensions = admin.session.rows(
        "SELECT v.name, NOT v.superuser OR coalesce((pg_catalog.to_jsonb(v) ->> 'trusted')::bool, false) AS by_owner "
        "FROM pg_catalog.pg_available_extension_versions v JOIN pg_catalog.pg_available_extensions e "
        "ON e.name = v.name AND e.default_version = v.version"
    )
    databases = admin.databases()
    return Server(
        major=admin.major,
        version=str(rights["version"]).split(" ", maxsplit=1)[0],
        standby=rights["standby"],
        databases=databases,
        roles={row["name"]: row["superuser"] for row in roles},
        extensions={row["name"]: row["by_owner"] for row in extensions},
        places=_places(admin, {_PG_DEFAULT, *(row["tablespace"] for row in databases.values())}),
        admin_how=admin.how,
        admin_superuser=admin.superuser,
    )


def judge_target(
    server: Server, database: SetDatabase, names: Names, findings: Findings, apart: bool = False, in_place: bool = False
) -> None:
    """Judge what the manifest and the server say, without the artifact. Pure.

    :param apart: the copy keeps the name ``names.new``, and the live database its own.
    :param in_place: the live database is dropped before the copy is loaded.
    """
    fingerprint, live = database.fingerprint, server.databases.get(names.live)
    block = findings.blockers.append
    dumped = fingerprint["server_version"] // 10000
    if server.standby:
        block("the server is a standby and accepts no changes: restore on its primary")
    if dumped > server.major:
        block(
            "%s was dumped from PostgreSQL %d and the server is %s: a dump does not go back to an older major version; "
            "install PostgreSQL %d or later" % (database.name, dumped, server.version, dumped)
        )
    if database.owner not in server.roles:
        block(
            "the server has no role %s, which is to own the database: CREATE ROLE %s LOGIN, with authentik's password"
            % (database.owner, quote_ident(database.owner))
        )
    missing = sorted(_restore_set.roles_needed(database) - set(server.roles))
    if missing:
        block(
            "privileges or settings of the database name roles that the server does not have: %s" % ", ".join(missing)
        )
    if apart and names.new in server.databases:
        block(
            "the server has a database %s: drop it, or choose another name with restore_as; it is never overwritten"
            % names.new
        )
    if names.before in server.databases and not apart:
        block("%s exists: this restore was swapped in already. Undo it, or use a new restore_id" % names.before)
    if live is not None and live["prepared"] and not apart:
        block("%d prepared transactions hold %s: commit or roll them back" % (live["prepared"], names.live))
    if in_place and live is not None and live["slots"]:
        block(
            "%d replication slots hold %s, which cannot be dropped: drop them, or restore side by side"
            % (live["slots"], names.live)
        )
    freed = [] if apart else abandoned_copies(names.live, list(server.databases))
    needed = space_of(server, database, names.live, [*freed, names.live] if in_place else freed)
    _judge_space(database, needed, in_place or apart, findings)
    _describe(server, database, names, findings)
    if apart:
        findings.plan.append("database %s is not touched, and no service is stopped" % names.live)
    elif in_place:
        _describe_removal(names, live, findings)
    else:
        _describe_exchange(names, live, findings)
    if live is not None and not _restore_set.same_locale(fingerprint, live):
        locales = (_restore_set.describe_locale(fingerprint), _restore_set.describe_locale(live))
        findings.warnings.append(
            "the backup's locale is %s, the live database's %s; the backup's is taken if the server has it" % locales
        )


def space_of(server: Server, database: SetDatabase, live: str, freed: Sequence[str]) -> dict[str, Any]:
    """Return what the copy needs, and where. Pure.

    :param live: name of the live database: the copy is made in its tablespace.
    :param freed: databases that are dropped before the copy is loaded, as far as they exist.
    """
    tablespace = server.databases[live]["tablespace"] if live in server.databases else _PG_DEFAULT
    place = server.places.get(tablespace) or _space.FileSystem("", unseen="tablespace %s was not found" % tablespace)
    there = [server.databases[name] for name in freed if name in server.databases]
    gone = sum(row["bytes"] or 0 for row in there if row["tablespace"] == tablespace)
    return _space.part("postgresql", "the copy of database %s" % database.name, place, database.database_bytes, gone)


def _judge_space(database: SetDatabase, needed: Mapping[str, Any], no_room_made: bool, findings: Findings) -> None:
    """Compare what the copy needs with what is free.

    :param no_room_made: whether there is no way that would need less room.
    """
    findings.space.append(dict(needed))
    need, free, more = needed["needed"], needed["available"], needed["freed"]
    if free is None:
        findings.plan.append("free space on the server was not checked: %s" % needed["unseen"])
        return
    has = "%s has %s free" % (needed["path"], format_bytes(free))
    if more:
        has += ", and gets %s from what is dropped before" % format_bytes(more)
    if free + more < need:
        text = "the copy of %s needs about %s and %s" % (database.name, format_bytes(need), has)
        way = ". Make room there, or restore with mode=in_place, which drops the live database first"
        findings.blockers.append(text + ("" if no_room_made else way))
    else:
        findings.plan.append("the copy needs about %s; %s" % (format_bytes(need), has))


def judge_sum(findings: Findings, in_place: bool) -> None:
    """Judge the copies of several databases together, where each of them alone would fit. Pure."""
    if len(findings.space) > 1 and not findings.blockers:
        findings.blockers += [
            "%s has %s free, %s too little for all of them: %s"
            % (short.path, format_bytes(short.available), format_bytes(short.lacks), _space.sentence(short.parts))
            for short in _space.shortages(findings.space, in_place)
        ]


def _describe(server: Server, database: SetDatabase, names: Names, findings: Findings) -> None:
    fingerprint, say = database.fingerprint, findings.plan.append
    rows = sum(table["rows"] for table in fingerprint["tables"].values())
    say(
        "database %s (%d tables, %d rows, dumped from PostgreSQL %d) is loaded into %s on PostgreSQL %s, owned by %s; "
        "created and renamed by %s"
        % (
            database.name, len(fingerprint["tables"]), rows, fingerprint["server_version"] // 10000, names.new,
            server.version, database.owner, server.admin_how,
        )
    )  # fmt: skip
    excluded = sorted(key for key, table in fingerprint["tables"].items() if table["data"] == "excluded")
    if excluded:
        say("these tables will be empty, their data was left out of the backup: %s" % ", ".join(excluded))
    if fingerprint["owner"] != database.owner:
        say("the owner was %s and will be %s" % (fingerprint["owner"], database.owner))
    if fingerprint["encoding"] != "UTF8":
        findings.warnings.append("text is converted from %s to UTF8" % fingerprint["encoding"])


def _describe_exchange(names: Names, live: Mapping[str, Any] | None, findings: Findings) -> None:
    say = findings.plan.append
    if live is None:
        say("the server has no database %s: the copy gets that name" % names.live)
        return
    size = "of unknown size" if live["bytes"] is None else format_bytes(live["bytes"])
    say("database %s (%s) stays as %s" % (names.live, size, names.before))
    say("connections to %s that are ended at the swap: %d" % (names.live, live["connections"]))
    if live["slots"]:
        findings.warnings.append("%d replication slots stay with %s" % (live["slots"], names.before))


def _describe_removal(names: Names, live: Mapping[str, Any] | None, findings: Findings) -> None:
    say = findings.plan.append
    if live is None:
        say("the server has no database %s: the copy gets that name" % names.live)
        return
    size = "of unknown size" if live["bytes"] is None else format_bytes(live["bytes"])
    say(
        "database %s (%s) is DROPPED before the copy is loaded: until that is proved there is none, and only the "
        "safety set brings the present one back" % (names.live, size)
    )
    say("connections to %s that are ended before: %d" % (names.live, live["connections"]))


def judge_contents(
    server: Server,
    database: SetDatabase,
    contents: Contents,
    granted: set[str],
    skip_privileges: bool,
    findings: Findings,
) -> list[str]:
    """Judge the archive's table of contents; return the extensions that the admin has to create first. Pure."""
    by_admin = []
    superuser = server.roles.get(database.owner, False)
    for extension in contents.extensions():
        if extension not in server.extensions:
            findings.blockers.append(
                "the server does not offer the extension %s: install its package there" % extension
            )
        elif not superuser and not server.extensions[extension]:
            by_admin.append(extension)
    if by_admin and not server.admin_superuser:
        findings.blockers.append(
            "only a superuser may create the extension %s: give admin_user of one" % ", ".join(by_admin)
        )
    elif by_admin:
        findings.plan.append("the superuser creates the extension %s first" % ", ".join(by_admin))
    for entry in [] if superuser else contents.of_kinds(_SUPERUSER_ONLY):
        findings.blockers.append(
            "only a superuser may create the %s %s, and %s is none: make it one while the restore lasts"
            % (entry.kind.lower(), entry.rest.strip(), database.owner)
        )
    missing = sorted(granted - set(server.roles))
    if missing and skip_privileges:
        findings.plan.append(
            "privileges in the dump are left out, as was asked; missing roles: %s" % ", ".join(missing)
        )
    elif missing:
        findings.blockers.append(
            "the dump grants privileges to roles that the server does not have: %s. Create them, or leave all "
            "privileges out with skip_privileges" % ", ".join(missing)
        )
    return by_admin


def _places(admin: Admin, tablespaces: Collection[str]) -> dict[str, _space.FileSystem]:
    """Return where these tablespaces lie; of what cannot be seen from here, the reason."""
    rows = admin.session.rows(
        "SELECT s.setting AS directory, extract(epoch FROM pg_catalog.pg_postmaster_start_time())::bigint AS started "
        "FROM pg_catalog.pg_settings s WHERE s.name = 'data_directory'"
    )
    if not rows or not rows[0]["directory"]:
        return dict.fromkeys(tablespaces, _space.FileSystem("", unseen="the role may not see the data directory"))
    directory = rows[0]["directory"]
    unseen = _space.FileSystem("", unseen="the server's data directory %s cannot be seen from here" % directory)
    with Connection(admin.settings) as connection:
        try:
            lines = connection.read_file(os.path.join(directory, "postmaster.pid")).splitlines()
            if abs(int(lines[2]) - rows[0]["started"]) > _START_TOLERANCE_SECONDS:
                other = "%s where the programs run belongs to another server" % directory
                return dict.fromkeys(tablespaces, _space.FileSystem("", unseen=other))
        except (OSError, ValueError, IndexError):
            return dict.fromkeys(tablespaces, unseen)
        folders = {_PG_DEFAULT: directory}
        if set(tablespaces) - {_PG_DEFAULT}:
            folders.update((row["name"], row["location"]) for row in admin.session.rows(_TABLESPACES))
        return {name: _look_at(connection, folders[name]) for name in tablespaces if name in folders}


def _look_at(connection: Connection, folder: str) -> _space.FileSystem:
    try:
        return connection.file_system(folder)
    except (OSError, ValueError):
        return _space.FileSystem("", unseen="the server's folder %s cannot be seen from here" % folder)


def difference_lines(differences: Sequence[object], limit: int = 20) -> str:
    """Return differences for a message, cut where they get many."""
    shown = "; ".join(str(difference) for difference in differences[:limit])
    return shown + ("; and %d more" % (len(differences) - limit) if len(differences) > limit else "")
