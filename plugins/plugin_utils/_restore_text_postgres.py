# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The commands of C(RESTORE.md) for the databases of a set. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import (
    conninfo_database,
    quote_ident,
    quote_literal,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_names import names_for
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_set import (
    SetDatabase,
    create_statements,
    databases_of,
    describe_locale,
    property_statements,
    roles_needed,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._restore_text_shell import (
    Section,
    code,
    here_document,
    quoted,
)

_RECORD = ("database", "other_databases", "fingerprint", "globals")
_PART = re.compile(r'"(?:[^"]|"")*"|[^.]+')


def databases(manifest: dict[str, t.Any]) -> list[SetDatabase]:
    """Return the databases of a set, the instance's own first.

    :param manifest: as it would be without encryption.
    """
    record = manifest["components"].get("postgresql", {})
    if not set(_RECORD) <= set(record):
        return []
    names = [record["database"], *sorted(record["other_databases"])]
    return databases_of(manifest, names, record["database"], record["fingerprint"]["owner"])


def artifacts_of(manifest: dict[str, t.Any]) -> set[str]:
    """Return the artifacts that the sections of databases use."""
    found = {database.path for database in databases(manifest)}
    return found | {manifest["components"]["postgresql"]["globals"]["artifact"]} if found else found


def server_major(manifest: dict[str, t.Any]) -> int:
    """Return the major version of the server that a restore needs at least; 0 without a database."""
    return max([_major(database) for database in databases(manifest)], default=0)


def prepare(manifest: dict[str, t.Any]) -> list[Section]:
    """Return how each database is made beside what is there, filled and proved."""
    found = databases(manifest)
    if not found:
        return []
    record = manifest["components"]["postgresql"]
    words = [
        "Needs PostgreSQL %d or newer: `pg_dump` %s saved it from a server %s."
        % (server_major(manifest), found[0].tool_major, record["server_version"]),
        "Roles that the server lacks are made as they were. %s"
        % (
            "With their passwords."
            if record["globals"]["role_passwords"]
            else "Their passwords are not in this set: set that of the role with `\\password` in psql, to the one of "
            "the configuration."
        ),
    ]
    version = server_major(manifest) * 10000
    commands = [
        '[ "$(sql postgres -c "SHOW server_version_num" < /dev/null)" -ge %d ] || fail "This server is older than %d"'
        % (version, server_major(manifest)),
        "GLOBALS=%s" % quoted(record["globals"]["artifact"]),
    ]
    for role in sorted({role for database in found for role in _roles(database)}):
        commands.append("make_role %s %s" % (quoted(role.replace('"', '""')), quoted(quote_literal(role))))
    return [Section("PostgreSQL: roles", words, commands), *(_load(manifest, database) for database in found)]


def swap(manifest: dict[str, t.Any]) -> list[str]:
    """Return the commands that give the new databases the live names."""
    commands = []
    for database in databases(manifest):
        names = names_for(database.target, manifest["id"])
        rename = "ALTER DATABASE %s RENAME TO %s"
        text = "\n".join(
            [
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s;"
                % quote_literal(database.target),
                "SELECT %s FROM pg_database WHERE datname = %s \\gexec"
                % (
                    quote_literal(rename % (quote_ident(database.target), quote_ident(names.before))),
                    quote_literal(database.target),
                ),
                rename % (quote_ident(names.new), quote_ident(database.target)) + ";",
            ]
        )
        commands += here_document("sql postgres > /dev/null", text)
    return commands


def kept(manifest: dict[str, t.Any]) -> list[str]:
    """Return the names under which the databases stay that were there."""
    return [names_for(database.target, manifest["id"]).before for database in databases(manifest)]


def _load(manifest: dict[str, t.Any], database: SetDatabase) -> Section:
    name = names_for(database.target, manifest["id"]).new
    make = next(iter(create_statements(name, database, None, _major(database))))[0]
    owner, locale = code(database.owner), code(describe_locale(database.fingerprint))
    words = [
        "Made as %s, owner %s, encoding UTF8, locale %s. Where the server has no such locale, take everything after "
        "`'UTF8'` out of the first statement." % (code(name), owner, locale),
    ]
    target = quoted(name if re.fullmatch(r"[\w.-]+", name) else conninfo_database(name))
    commands = [
        "plain %s | pg pg_restore --file /dev/null" % quoted(database.path),
        *here_document("sql postgres", "DROP DATABASE IF EXISTS %s;\n%s;" % (quote_ident(name), make)),
        "plain %s | pg pg_restore --exit-on-error --no-password --dbname %s" % (quoted(database.path), target),
        "pg vacuumdb --quiet --analyze-only --dbname %s < /dev/null" % target,
        *here_document("sql postgres", ";\n".join(property_statements(name, database, skip_privileges=False)) + ";"),
        "# Prints each table that has not as many rows as were saved.",
        *here_document('sql %s > "$WORK/differences"' % target, _rows_that_differ(database)),
        '[ ! -s "$WORK/differences" ] || fail "Not restored as saved: $(cat "$WORK/differences")"',
    ]
    return Section("PostgreSQL: %s, beside what is there" % code(database.target), words, commands)


def _rows_that_differ(database: SetDatabase) -> str:
    counts = [
        "SELECT %s, %d, count(*) FROM %s" % (quote_literal(table), facts["rows"], _identifier(table))
        for table, facts in sorted(database.fingerprint["tables"].items())
    ]
    if not counts:
        return "SELECT WHERE false;"
    return 'SELECT * FROM (\n%s\n) AS counted ("table", saved, restored) WHERE saved <> restored;' % (
        "\nUNION ALL ".join(counts)
    )


def _identifier(table: str) -> str:
    """Return a table's name with both of its parts quoted: one may be a word of SQL."""
    return ".".join(part if part.startswith('"') else quote_ident(part) for part in _PART.findall(table))


def _roles(database: SetDatabase) -> set[str]:
    return {database.owner, *database.fingerprint.get("roles", ()), *roles_needed(database)}


def _major(database: SetDatabase) -> int:
    return int(database.fingerprint["server_version"]) // 10000
