# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Schemas and rows as hypothesis strategies: SQL text, quoted here and by nothing of the collection."""

from __future__ import annotations

import datetime
import json
import math

from hypothesis import strategies as st

#: No NUL, which PostgreSQL has no text for, and no half of a surrogate pair.
_CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
_TEXTS = st.one_of(
    st.text(_CHARACTERS, max_size=12),
    st.sampled_from(
        ["", "\\N", "\\.", "'", '"', "{}", "NULL", "\t\n\r\x0b", "$$", "%s", "e\u0301", "\ufeff", "x" * 9000]
    ),
)
_MOMENTS = st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)).map(lambda t: t.isoformat() + "Z")
_FLOATS = st.one_of(st.floats(), st.sampled_from([-0.0, math.nan, math.inf, -math.inf, 5e-324, 1e308, 0.1]))
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), _TEXTS)
_DOCUMENTS = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4), max_leaves=8
)
_HUGE = json.dumps({"huge": ['Ü\\" %d' % number for number in range(20_000)], "number": 12345678901234567890123})
_DECIMALS = st.decimals(-(10**30), 10**30, allow_nan=False)
_ADDRESSES = st.one_of(
    st.ip_addresses().map(str), st.sampled_from(["10.0.0.0/8", "::/0", "fe80::1/64", "192.168.1.5/24"])
)


def quoted(text: str) -> str:
    """Return a string constant, whatever standard_conforming_strings says."""
    return "E'%s'" % text.replace("\\", "\\\\").replace("'", "\\'")


def name_of(text: str) -> str:
    """Return an identifier that keeps every character."""
    return '"%s"' % text.replace('"', '""')


def _float(value: float) -> str:
    special = {math.inf: "Infinity", -math.inf: "-Infinity"}
    return "NaN" if math.isnan(value) else special.get(value) or repr(value)


def _interval(parts: tuple[int, int, int]) -> str:
    return "%d months %d days %d microseconds" % parts


#: Type -> text of its values. What authentik's tables are made of, and what pg_dump has to take special care of.
TYPES: dict[str, st.SearchStrategy[str]] = {
    "uuid": st.uuids().map(str),
    "text": _TEXTS,
    "varchar(40)": st.text(_CHARACTERS, max_size=40),
    "integer": st.integers(-(2**31), 2**31 - 1).map(str),
    "smallint": st.integers(-(2**15), 2**15 - 1).map(str),
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
    "boolean": st.booleans().map(str),
    "double precision": _FLOATS.map(_float),
    "numeric": st.one_of(_DECIMALS.map(str), st.sampled_from(["NaN", "Infinity", "1e400"])),
    "date": st.one_of(st.dates().map(str), st.sampled_from(["infinity", "-infinity", "0044-03-15 BC"])),
    "timestamptz": st.one_of(_MOMENTS, st.sampled_from(["infinity", "-infinity", "4713-01-01 00:00:00+00 BC"])),
    "interval": st.tuples(st.integers(-(2**20), 2**20), st.integers(-(2**20), 2**20), st.integers(-(2**50), 2**50)).map(
        _interval
    ),
    "jsonb": st.one_of(_DOCUMENTS.map(json.dumps), st.just(_HUGE)).filter(lambda text: "\\u0000" not in text),
    "inet": _ADDRESSES,
    "bytea": st.binary(max_size=40).map(lambda data: "\\x" + data.hex()),
    "text[]": st.just(""),  # an array has a constructor: see below
}

_NAMES = st.one_of(
    st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.sampled_from(['"', "select", "Upper Case", "a.b", "'; --", "ü" * 31, "n" * 63, "%I", "$1", "\\", "oid"]),
).filter(lambda name: 0 < len(name.encode()) <= 63)
#: These are every table's own.
_SYSTEM = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "key 1", "key 2", "drawn", "twice", "gone"}


@st.composite
def _value(draw: st.DrawFn, kind: str, nulls: int) -> str:
    if draw(st.integers(0, 9)) < nulls:
        return "NULL"
    if kind == "text[]":
        items = draw(st.lists(st.one_of(st.none(), _TEXTS), max_size=4))
        return "ARRAY[%s]::text[]" % ", ".join("NULL" if item is None else quoted(item) for item in items)
    return "%s::%s" % (quoted(draw(TYPES[kind])), kind)


@st.composite
def _table(draw: st.DrawFn, table: str) -> list[str]:
    names = draw(st.lists(_NAMES.filter(lambda name: name not in _SYSTEM), unique=True, max_size=5))
    kinds = [draw(st.sampled_from(sorted(TYPES))) for _name in names]
    keyed, drawn, gone = draw(st.booleans()), draw(st.sampled_from(["", "ALWAYS", "BY DEFAULT"])), draw(st.booleans())
    parts = ["%s %s" % (name_of(name), kind) for name, kind in zip(names, kinds, strict=True)]
    if keyed:
        parts += ['"key 1" integer', '"key 2" text', 'twice bigint GENERATED ALWAYS AS ("key 1" * 2) STORED']
        parts.append('PRIMARY KEY ("key 2", "key 1")')
    if drawn:
        parts.append("drawn bigint GENERATED %s AS IDENTITY (START WITH 7 INCREMENT BY 3)" % drawn)
    if gone:
        parts.insert(0, "gone integer")
    statements = ["CREATE TABLE %s (%s)" % (table, ", ".join(parts))]
    nulls = draw(st.sampled_from([0, 2, 9]))
    for number in range(draw(st.integers(0, 5))):
        values = [draw(_value(kind, nulls)) for kind in kinds]
        columns = [name_of(name) for name in names]
        if keyed:
            columns += ['"key 1"', '"key 2"']
            values += [str(number // 2), quoted("key %d" % (number % 2))]
        statements.append(
            "INSERT INTO %s (%s) VALUES (%s)" % (table, ", ".join(columns), ", ".join(values))
            if columns
            else "INSERT INTO %s DEFAULT VALUES" % table
        )
    if gone:
        statements.append("ALTER TABLE %s DROP COLUMN gone" % table)
    if draw(st.booleans()) and names:
        statements.append("COMMENT ON COLUMN %s.%s IS %s" % (table, name_of(names[0]), quoted(draw(_TEXTS) or "x")))
    return statements


@st.composite
def databases(draw: st.DrawFn) -> list[str]:
    """Statements that fill an empty database."""
    statements = []
    schemas = ["public"]
    if draw(st.booleans()):
        schema = draw(_NAMES.filter(lambda name: not name.startswith("pg_") and name not in ("public",)))
        schemas.append(schema)
        statements.append("CREATE SCHEMA %s" % name_of(schema))
    for name in draw(st.lists(_NAMES, unique=True, max_size=3)):
        statements += draw(_table("%s.%s" % (name_of(draw(st.sampled_from(schemas))), name_of(name))))
    if draw(st.booleans()):
        statements.append('CREATE SEQUENCE "a sequence" MINVALUE -5 START WITH -5 CYCLE MAXVALUE 3')
        statements += ["SELECT nextval('\"a sequence\"')"] * draw(st.integers(0, 12))
    return statements
