# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether two databases are equal, found without any code of the collection.

    before = take(server, "authentik")
    ...
    assert differences(before, take(server, "authentik")) == []

Compared: the text of ``pg_dump`` (schema, owners, privileges, comments, sequences, every row; the order of rows in a
table is free), the rows of every table, view and materialized view read one by one (``pg_dump`` never shows what a
materialized view holds), and the properties of the database itself.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class ServerLike(Protocol):
    """What the oracle needs of a server: tests/support/postgres_server.py has it."""

    @property
    def bin(self) -> Path:
        """The folder of the server's programs."""

    def environment(self) -> dict[str, str]:
        """What its programs need to reach it."""


@dataclass
class Picture:
    """Everything of one database, as text."""

    schema: list[str]
    copied: dict[str, list[str]]
    relations: dict[str, list[str]]
    properties: list[str] = field(default_factory=list)


#: Relations with rows of their own or computed rows, outside the system's schemas.
RELATIONS = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'v') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1
"""

#: Owner, encoding, locale, limits, settings and privileges of the database; populated and owner of materialized views.
PROPERTIES = """
SELECT 'owner ' || pg_get_userbyid(datdba) || ' encoding ' || pg_encoding_to_char(encoding) || ' locale ' ||
    datcollate || '/' || datctype || ' connections ' || datallowconn || ' limit ' || datconnlimit ||
    ' acl ' || coalesce(datacl::text, '')
FROM pg_database WHERE datname = current_database()
UNION ALL SELECT 'setting ' || setrole::regrole || ' ' || array_to_string(setconfig, ', ') FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL SELECT 'matview ' || schemaname || '.' || matviewname || ' of ' || matviewowner ||
    ' populated ' || ispopulated FROM pg_matviews
UNION ALL SELECT 'extension ' || extname || ' ' || extversion FROM pg_extension
UNION ALL SELECT 'comment ' || shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()
ORDER BY 1
"""


def take(server: ServerLike, database: str, tools: Path | None = None) -> Picture:
    """Read a database as the superuser.

    :param tools: folder of the client programs; the newer server's when two major versions are compared.
    """
    programs = tools or server.bin
    environment = dict(os.environ, **server.environment())
    plain = _run([str(programs / "pg_dump"), "--no-sync", "-d", database], environment)
    schema, copied = split(plain)
    (names,) = _psql(programs, environment, database, RELATIONS)
    rows = _psql(programs, environment, database, *["COPY (SELECT * FROM %s) TO STDOUT" % name for name in names])
    (properties,) = _psql(programs, environment, database, PROPERTIES)
    return Picture(schema, copied, dict(zip(names, map(sorted, rows), strict=True)), properties)


def split(plain: str) -> tuple[list[str], dict[str, list[str]]]:
    """Split a plain dump into its statements and, per COPY, the sorted rows; drop what differs between any two runs."""
    schema: list[str] = []
    copied: dict[str, list[str]] = {}
    rows: list[str] | None = None
    for line in plain.split("\n"):
        if rows is not None:
            if line == "\\.":
                rows.sort()
                rows = None
            else:
                rows.append(line)
        elif line.startswith("COPY ") and line.endswith("FROM stdin;"):
            rows = copied[line] = []
        elif line and not line.startswith(("--", "\\restrict ", "\\unrestrict ")):
            schema.append(line)
    return schema, copied


def differences(expected: Picture, actual: Picture, limit: int = 20) -> list[str]:
    """Return readable differences, none when the databases are equal."""
    found: list[str] = []
    for what in ("schema", "properties"):
        found += _compare_lines(what, getattr(expected, what), getattr(actual, what))
    for what in ("copied", "relations"):
        left: dict[str, list[str]] = getattr(expected, what)
        right: dict[str, list[str]] = getattr(actual, what)
        found += ["%s: only in the expected database: %s" % (what, name) for name in left if name not in right]
        found += ["%s: only in the actual database: %s" % (what, name) for name in right if name not in left]
        for name in left:
            if name in right and left[name] != right[name]:
                found += _compare_lines("%s %s" % (what, name), left[name], right[name])
    return found[:limit]


def _compare_lines(what: str, left: list[str], right: list[str]) -> list[str]:
    if left == right:
        return []
    missing = [line for line in left if line not in set(right)]
    surplus = [line for line in right if line not in set(left)]
    if not missing and not surplus:
        return ["%s: the same lines, in another order or number (%d and %d)" % (what, len(left), len(right))]
    return ["%s: missing: %.300s" % (what, line) for line in missing] + [
        "%s: surplus: %.300s" % (what, line) for line in surplus
    ]


def _psql(programs: Path, environment: dict[str, str], database: str, *queries: str) -> list[list[str]]:
    """Return the lines of each query, all of them from one session."""
    end = uuid.uuid4().hex
    command = [str(programs / "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", database]
    for sql in queries:
        command += ["-c", sql, "-c", "\\echo " + end]
    parts = _run(command, environment).split(end + "\n")
    return [part.split("\n")[:-1] for part in parts[:-1]] if queries else []


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode:
        raise AssertionError("%s: %s" % (Path(command[0]).name, done.stderr.decode(errors="replace")))
    return done.stdout.decode()
