# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What the system catalogs say about a database: the relations that a dump holds, who may read them, what they hang on.

Members of extensions are left out everywhere, as ``pg_dump`` leaves them out: ``CREATE EXTENSION`` makes them again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import quote_ident

if TYPE_CHECKING:
    from typing import Any, Iterable, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._client import Session

_NAMES_SHOWN = 12

_OURS = r"""
n.nspname !~ '^pg_(toast|temp_|toast_temp_)' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
_NO_MEMBER = """
NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend e
            WHERE e.classid = '{catalog}'::pg_catalog.regclass AND e.objid = {oid} AND e.deptype = 'e')
"""

_RELATIONS = """
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
    c.relispopulated AS populated, pg_catalog.pg_get_userbyid(c.relowner) AS owner,
    ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS columns,
    pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND CASE c.relkind
        WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
        ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') AND NOT pg_catalog.row_security_active(c.oid)
        END AS readable
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'S') AND c.relpersistence <> 't' AND {ours} AND {no_member}
ORDER BY n.nspname, c.relname
"""

_DATABASE = """
SELECT pg_catalog.current_setting('server_version_num')::int AS server_version,
    pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collation, d.datctype AS ctype,
    CASE pg_catalog.to_jsonb(d) ->> 'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END
        AS locale_provider,
    coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale') AS locale,
    pg_catalog.pg_get_userbyid(d.datdba) AS owner, d.datconnlimit AS connection_limit, d.datacl::text[] AS acl,
    pg_catalog.shobj_description(d.oid, 'pg_database') AS comment
FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
"""

_SETTINGS = """
SELECT r.rolname AS role, pg_catalog.split_part(entry, '=', 1) AS name,
    pg_catalog.substr(entry, pg_catalog.strpos(entry, '=') + 1) AS value
FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole,
    pg_catalog.unnest(s.setconfig) AS entry
WHERE s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
ORDER BY r.rolname NULLS FIRST, name
"""

# The version of the library that sorts text, as it is now: what the indexes of a copy made here would be built by.
_COLLATION_VERSION = """
SELECT pg_catalog.pg_database_collation_actual_version(d.oid) AS version
FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
"""

# Of the collations that columns and indexes name themselves. C and POSIX compare bytes and never change.
_COLLATIONS = """
SELECT s.nspname AS schema, l.collname AS name, pg_catalog.pg_collation_actual_version(l.oid) AS version
FROM pg_catalog.pg_collation l JOIN pg_catalog.pg_namespace s ON s.oid = l.collnamespace
WHERE l.collprovider <> 'd' AND l.collname NOT IN ('C', 'POSIX') AND l.oid IN (
    SELECT a.attcollation FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE a.attnum > 0 AND NOT a.attisdropped AND {ours})
ORDER BY 1, 2
""".format(ours=_OURS)
#: From this major version on a database records the version of its collation.
COLLATION_VERSIONS_SINCE = 15

# One row for each schema and kind of object. NOT NULL became a kind of constraint in 18; pg_dump skips invalid indexes.
_COUNTS = """
SELECT schema, kind, pg_catalog.count(*) AS number FROM (
    SELECT n.nspname AS schema, CASE c.relkind WHEN 'r' THEN 'tables' WHEN 'p' THEN 'tables' WHEN 'm' THEN 'matviews'
        WHEN 'v' THEN 'views' ELSE 'indexes' END AS kind, 'pg_class' AS catalog, c.oid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
    WHERE c.relpersistence <> 't' AND (c.relkind IN ('r', 'p', 'm', 'v', 'I')
        OR (c.relkind = 'i' AND i.indisvalid AND i.indisready AND {index_no_member})) AND {ours}
    UNION ALL
    SELECT n.nspname, 'constraints', 'pg_constraint', k.oid
    FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace
    WHERE k.contype IN ('c', 'f', 'p', 't', 'u', 'x') AND {ours} AND {constraint_no_member}
    UNION ALL
    SELECT n.nspname, 'triggers', 'pg_trigger', t.oid
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND {ours} AND {class_no_member}
    UNION ALL
    SELECT n.nspname, 'functions', 'pg_proc', p.oid
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE {ours}
) AS o WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend e
    WHERE e.classid = ('pg_catalog.' || o.catalog)::pg_catalog.regclass AND e.objid = o.oid AND e.deptype = 'e')
GROUP BY schema, kind
"""

# Objects of the bootstrap superuser are not in pg_shdepend: their owners are read where they are written.
_ROLES = """
SELECT DISTINCT r.rolname AS name FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' AND r.oid IN (
    SELECT s.refobjid FROM pg_catalog.pg_shdepend s
    WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND (s.dbid = {database} OR s.objid = {database})
    UNION SELECT d.datdba FROM pg_catalog.pg_database d WHERE d.oid = {database}
    UNION SELECT c.relowner FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {ours}
    UNION SELECT p.proowner FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE {ours}
) ORDER BY r.rolname
""".format(
    ours=_OURS,
    database="(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())",
)

# What would not come back, or could not be proved, without the data of a table: foreign keys and materialized views.
_DEPENDENTS = """
SELECT 'foreign key' AS kind, n.nspname AS schema, c.relname AS name, k.confrelid::bigint AS needs
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'f'
UNION
SELECT 'materialized view', n.nspname, c.relname, d.refobjid::bigint
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid
    JOIN pg_catalog.pg_class c ON c.oid = w.ev_class
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND c.relkind = 'm'
    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
"""


def qualified(schema: str, name: str) -> str:
    """Return ``schema.name`` quoted where it must be, the same for every version of the server."""
    parts = [part if re.match(r"[a-z_][a-z0-9_]*\Z", part) else quote_ident(part) for part in (schema, name)]
    return ".".join(parts)


class Relation(NamedTuple):
    """A table (``r``, ``p``), materialized view (``m``) or sequence (``S``) that belongs to a dump."""

    oid: int
    schema: str
    name: str
    kind: str
    populated: bool
    owner: str
    columns: list[str]
    readable: bool

    @property
    def key(self) -> str:
        """The name it goes by in fingerprints and messages."""
        return qualified(self.schema, self.name)

    @property
    def sql(self) -> str:
        """The name to use in statements."""
        return "%s.%s" % (quote_ident(self.schema), quote_ident(self.name))


def relations(session: Session) -> list[Relation]:
    """Return the tables, materialized views and sequences of every schema that a dump holds."""
    member = _NO_MEMBER.format(catalog="pg_catalog.pg_class", oid="c.oid")
    return [Relation(**row) for row in session.rows(_RELATIONS.format(ours=_OURS, no_member=member))]


def check_readable(found: Sequence[Relation], role: str) -> None:
    """Refuse a role that may not read everything: a dump made by it would fail, or silently lack sequences.

    :raises StateError: naming every table and sequence.
    """
    hidden = [relation for relation in found if not relation.readable]
    if not hidden:
        return
    tables = names([relation.key for relation in hidden if relation.kind != "S"])
    sequences = names([relation.key for relation in hidden if relation.kind == "S"])
    what = [word + " " + which for word, which in (("tables", tables), ("sequences", sequences)) if which]
    schema = quote_ident(hidden[0].schema)
    raise StateError(
        "role %s may not read %s" % (role, " and ".join(what)),
        hint="log in as the owner of the database (%s), grant the privileges, or use a superuser; "
        "row level security counts too" % ", ".join(sorted({relation.owner for relation in hidden})),
        command="GRANT USAGE ON SCHEMA {0} TO {1}; GRANT SELECT ON ALL TABLES IN SCHEMA {0} TO {1}; "
        "GRANT SELECT ON ALL SEQUENCES IN SCHEMA {0} TO {1};".format(schema, quote_ident(role)),
    )


def describe_database(session: Session) -> dict[str, Any]:
    """Return what a fingerprint says of the database itself: properties, schemas, extensions, settings, roles..."""
    described = dict(session.rows(_DATABASE)[0])
    described["settings"] = session.rows(_SETTINGS)
    schemas = "SELECT n.nspname AS name FROM pg_catalog.pg_namespace n WHERE %s ORDER BY 1" % _OURS
    described["schemas"] = [row["name"] for row in session.rows(schemas)]
    described["extensions"] = session.rows(
        "SELECT extname AS name, extversion AS version FROM pg_catalog.pg_extension ORDER BY 1"
    )
    described["roles"] = [row["name"] for row in session.rows(_ROLES)]
    described["counts"] = _counts(session, described["schemas"])
    if described["server_version"] // 10000 >= COLLATION_VERSIONS_SINCE:
        described["collation_version"] = session.rows(_COLLATION_VERSION)[0]["version"]
        described["collations"] = session.rows(_COLLATIONS)
    return described


def _counts(session: Session, schemas: Iterable[str]) -> dict[str, dict[str, int]]:
    kinds = ("tables", "indexes", "constraints", "triggers", "matviews", "views", "functions")
    counts = {schema: dict.fromkeys(kinds, 0) for schema in schemas}
    sql = _COUNTS.format(
        ours=_OURS,
        index_no_member=_NO_MEMBER.format(catalog="pg_catalog.pg_class", oid="i.indrelid"),
        class_no_member=_NO_MEMBER.format(catalog="pg_catalog.pg_class", oid="c.oid"),
        constraint_no_member=_NO_MEMBER.format(catalog="pg_catalog.pg_class", oid="k.conrelid"),
    )
    for row in session.rows(sql):
        counts[row["schema"]][row["kind"]] = row["number"]
    return counts


def dependents(session: Session) -> list[dict[str, Any]]:
    """Return what hangs on the data of tables: dicts ``kind``, ``schema``, ``name``, and ``needs``, a table's oid."""
    return session.rows(_DEPENDENTS)


def names(which: Sequence[str]) -> str:
    """Return a list of names for a message, cut where it gets long."""
    shown = ", ".join(which[:_NAMES_SHOWN])
    return shown + (" and %d more" % (len(which) - _NAMES_SHOWN) if len(which) > _NAMES_SHOWN else "")
