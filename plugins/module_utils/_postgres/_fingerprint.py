# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a restored database must equal: rows and content of every table, and what stands around them.

The digest of a table is the sum of the hashes of its rows, as a decimal number. A row's hash goes through its columns
in the order of their names, each column's hash being the seed of the next one's, 0 that of the first:

    hashtextextended(coalesce(column::text, :data:`NULL_TEXT`) COLLATE "C", seed)

A sum does not depend on the order of the rows, and unlike XOR two equal rows don't cancel out. Column by column is a
third faster than the text of whole rows, whose quoting costs as much as the hash.
The text of a row does not depend on the server's version or configuration: :data:`PINNED` settings are in force.
So a set of PostgreSQL 12 compares with what PostgreSQL 18 restored from it. No rows give "0".

A materialized view's digest is that of its *defining query*: that is what a restore's REFRESH will give. When what
the view holds differs, ``stale`` says so.

Sequences don't obey snapshots. One that moved while the dump was made carries ``earliest`` too, and the restored
value must lie between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _catalog
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import (
    quote_ident,
    quote_literal,
)

if TYPE_CHECKING:
    from typing import Collection, Iterator, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._client import Session

DIGEST_FORMULA = "sum over rows of chained hashtextextended(column::text), columns by name; settings of format 1"
#: Stands for NULL where a column's text is hashed; drawn by lot, so that no column holds it by chance.
NULL_TEXT = "null 5d0c6a3fbb3e4f0f9a6f1f0d2e7c8b14"
EMPTY_DIGEST = "0"
PINNED = {
    "search_path": "pg_catalog",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
    "row_security": "off",
    "jit": "off",
}
_TABLES_PER_QUERY = 64


class Difference(NamedTuple):
    """One way in which an actual database is not what was expected."""

    what: str
    name: str
    expected: Any
    actual: Any

    def __str__(self) -> str:
        return "%s %s: expected %s, found %s" % (self.what, self.name, _say(self.expected), _say(self.actual))


def collect(session: Session, excluded_tables: Collection[str] = ()) -> dict[str, Any]:
    """Return the fingerprint of the session's database, as its present transaction sees it.

    :param excluded_tables: keys (``schema.table``) of tables whose data a dump leaves out: they count as empty.
    """
    pin(session)
    relations = _catalog.relations(session)
    fingerprint = _catalog.describe_database(session)
    fingerprint["digest_formula"] = DIGEST_FORMULA
    fingerprint["sequences"] = read_sequences(session, relations)
    fingerprint["tables"] = _tables(session, relations, excluded_tables)
    fingerprint["matviews"] = _matviews(session, relations)
    fingerprint["large_objects"] = _large_objects(session)
    return fingerprint


def pin(session: Session) -> None:
    """Set, for this session, what the text of a row could depend on."""
    pairs = ", ".join("(%s, %s)" % (quote_literal(name), quote_literal(value)) for name, value in PINNED.items())
    session.rows("SELECT pg_catalog.set_config(name, value, false) FROM (VALUES %s) AS pinned (name, value)" % pairs)


def read_sequences(session: Session, relations: Sequence[_catalog.Relation]) -> dict[str, dict[str, Any]]:
    """Return ``last_value`` and ``is_called`` of every sequence, as they are at this moment."""
    sequences = [relation for relation in relations if relation.kind == "S"]
    found: dict[str, dict[str, Any]] = {}
    for batch in _batches(sequences):
        parts = [
            "SELECT %d AS number, last_value::text AS last_value, is_called FROM %s" % (number, sequence.sql)
            for number, sequence in enumerate(batch)
        ]
        for row in session.rows(" UNION ALL ".join(parts)):
            found[batch[row["number"]].key] = {"last_value": int(row["last_value"]), "is_called": row["is_called"]}
    return found


def merge_sequences(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the sequences of a dump that was made between two readings. Pure."""
    merged = {}
    for key, late in after.items():
        early = before.get(key, late)
        merged[key] = dict(late) if early == late else dict(late, earliest=dict(early))
    return merged


def compare(expected: dict[str, Any], actual: dict[str, Any]) -> list[Difference]:
    """Return every way in which ``actual`` is not what ``expected`` promises; none when a restore is exact. Pure.

    Versions of the server and of extensions, locales and roles may differ: they belong to the plan of a restore.
    """
    if expected["digest_formula"] != actual["digest_formula"]:
        return [Difference("digest", "formula", expected["digest_formula"], actual["digest_formula"])]
    found = [
        Difference("database", name, expected[name], actual[name])
        for name in ("encoding", "owner", "schemas", "settings")
        if expected[name] != actual[name]
    ]
    extensions = [[extension["name"] for extension in side["extensions"]] for side in (expected, actual)]
    if extensions[0] != extensions[1]:
        found.append(Difference("database", "extensions", *extensions))
    if expected["large_objects"] != actual["large_objects"]:
        found.append(Difference("database", "large objects", expected["large_objects"], actual["large_objects"]))
    for what, fields in (("table", ("rows", "digest")), ("matview", ("rows", "digest", "populated", "owner"))):
        found += _compare_relations(what, fields, expected[what + "s"], actual[what + "s"])
    found += _compare_sequences(expected["sequences"], actual["sequences"])
    for schema in sorted(set(expected["counts"]) & set(actual["counts"])):
        for kind, number in sorted(expected["counts"][schema].items()):
            if number != actual["counts"][schema].get(kind):
                found.append(Difference(kind, "in schema " + schema, number, actual["counts"][schema].get(kind)))
    return found


def _compare_relations(
    what: str, fields: Sequence[str], expected: dict[str, Any], actual: dict[str, Any]
) -> Iterator[Difference]:
    for key in sorted(set(expected) | set(actual)):
        if key not in actual or key not in expected:
            yield Difference(what, key, _presence(key in expected), _presence(key in actual))
            continue
        sides = [{field: side[key][field] for field in fields} for side in (expected, actual)]
        if sides[0] != sides[1]:
            yield Difference(what, key, *sides)
        elif actual[key].get("stale"):
            yield Difference(what, key, "what its query gives", "other content: it was not refreshed")


def _compare_sequences(expected: dict[str, Any], actual: dict[str, Any]) -> Iterator[Difference]:
    for key in sorted(set(expected) | set(actual)):
        if key not in actual or key not in expected:
            yield Difference("sequence", key, _presence(key in expected), _presence(key in actual))
        elif not _within(expected[key], actual[key]):
            yield Difference("sequence", key, expected[key], actual[key])


def _within(expected: dict[str, Any], actual: dict[str, Any]) -> bool:
    late = {name: expected[name] for name in ("last_value", "is_called")}
    early = expected.get("earliest", late)
    if actual in (early, late):
        return True
    low, high = sorted((early["last_value"], late["last_value"]))
    return "earliest" in expected and bool(actual["is_called"]) and low <= actual["last_value"] <= high


def _presence(there: bool) -> str:
    return "present" if there else "absent"


def _say(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join("%s %s" % (name, _say(item)) for name, item in value.items())
    return str(value)


def _batches(relations: Sequence[_catalog.Relation]) -> Iterator[Sequence[_catalog.Relation]]:
    for start in range(0, len(relations), _TABLES_PER_QUERY):
        yield relations[start : start + _TABLES_PER_QUERY]


def _digest_sql(columns: Sequence[str], source: str) -> str:
    """Return the SELECT of count and digest over ``source``, which must be named ``t``."""
    row = "0"
    for column in sorted(columns):
        text = 'coalesce(t.%s::text, %s) COLLATE "C"' % (quote_ident(column), quote_literal(NULL_TEXT))
        row = "pg_catalog.hashtextextended(%s, %s)" % (text, row)
    return (
        "SELECT pg_catalog.count(*)::text AS rows, coalesce(pg_catalog.sum((%s)::bigint), 0)::text AS digest FROM %s"
        % (row, source)
    )


def _tables(
    session: Session, relations: Sequence[_catalog.Relation], excluded: Collection[str]
) -> dict[str, dict[str, Any]]:
    # A partitioned table has no rows of its own, and each partition is a table here.
    tables = [relation for relation in relations if relation.kind == "r"]
    found: dict[str, dict[str, Any]] = {
        table.key: {"rows": 0, "digest": EMPTY_DIGEST, "data": "excluded" if table.key in excluded else "included"}
        for table in tables
    }
    for batch in _batches([table for table in tables if table.key not in excluded]):
        parts = [
            "SELECT %d AS number, q.* FROM (%s) AS q" % (number, _digest_sql(table.columns, "ONLY %s AS t" % table.sql))
            for number, table in enumerate(batch)
        ]
        for row in session.rows(" UNION ALL ".join(parts)):
            found[batch[row["number"]].key].update(rows=int(row["rows"]), digest=row["digest"])
    return found


def _matviews(session: Session, relations: Sequence[_catalog.Relation]) -> dict[str, dict[str, Any]]:
    found = {}
    for view in [relation for relation in relations if relation.kind == "m"]:
        found[view.key] = {"rows": 0, "digest": EMPTY_DIGEST, "populated": view.populated, "owner": view.owner}
        if not view.populated:
            continue
        definition = session.rows("SELECT pg_catalog.pg_get_viewdef(%d) AS query" % view.oid)[0]
        query = str(definition["query"]).rstrip().rstrip(";")
        aliases = ", ".join(quote_ident(column) for column in view.columns)
        fresh = session.rows(_digest_sql(view.columns, "(%s) AS t (%s)" % (query, aliases)))[0]
        held = session.rows(_digest_sql(view.columns, "%s AS t" % view.sql))[0]
        found[view.key].update(rows=int(fresh["rows"]), digest=fresh["digest"], stale=fresh != held)
    return found


def _large_objects(session: Session) -> dict[str, Any]:
    sql = (
        "SELECT pg_catalog.count(*) AS number, coalesce(pg_catalog.sum(pg_catalog.hashtextextended("
        "oid::text || ':' || pg_catalog.encode(pg_catalog.sha256(pg_catalog.lo_get(oid)), 'hex'), 0)), 0)::text "
        "AS digest FROM pg_catalog.pg_largeobject_metadata"
    )
    return dict(session.rows(sql)[0])
