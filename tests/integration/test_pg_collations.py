# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions of collations: a set tells them, and a restore says where the server's are others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.support import oracle
from tests.support.pg_sets import ROOT, make_set, read_manifest, restore, write_manifest
from tests.support.postgres import Database, Server

BUILTIN = "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
SCHEMA = json.loads((ROOT / "docs" / "manifest.schema.json").read_text())


@pytest.fixture
def sorted_database(fresh18: Server) -> Database:
    """A database whose collation has a version, with a column that names another one."""
    database = fresh18.create_database(options=BUILTIN)
    database.psql("CREATE TABLE t (a text, b text COLLATE pg_unicode_fast); CREATE INDEX ON t (b)")
    database.psql("INSERT INTO t VALUES ('x', 'ä'), ('y', 'a')")
    return database


def edited(folder: Path, database: str | None, named: str | None) -> None:
    """Make a set say that its text was sorted by these versions; None takes what it says away."""
    record = read_manifest(folder)["components"]["postgresql"]
    fingerprint = record["fingerprint"]
    fingerprint["collation_version"] = database
    fingerprint["collations"][0]["version"] = named
    if database is None:
        del fingerprint["collation_version"], fingerprint["collations"]
    write_manifest(folder, record)


def warned(result: dict[str, Any]) -> list[str]:
    assert not result.get("failed"), result
    return [str(warning) for warning in result.get("warnings", []) if "sorted otherwise" in str(warning)]


def test_other_versions_are_named_and_hinder_nothing(sorted_database: Database, tmp_path: Path) -> None:
    server = sorted_database.server
    picture = oracle.take(server, "authentik")
    folder = make_set(tmp_path / "set", sorted_database)
    jsonschema.validate(read_manifest(folder), SCHEMA)
    for step in ("check", "prepare"):
        assert warned(restore(sorted_database, step, folder)) == []
    edited(folder, "0.9", "0.8")
    jsonschema.validate(read_manifest(folder), SCHEMA)
    for step in ("check", "prepare"):
        own, named = warned(restore(sorted_database, step, folder))
        assert "C.UTF-8 (builtin), is of version 1 here and was of version 0.9" in own
        assert "pg_catalog.pg_unicode_fast is of version 1 here and was of version 0.8" in named
        assert "indexes anew" in own
    assert not restore(sorted_database, "swap", folder).get("failed")
    assert oracle.differences(picture, oracle.take(server, "authentik")) == []


def test_a_set_that_does_not_tell_them_restores(sorted_database: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", sorted_database)
    edited(folder, None, None)
    for step in ("check", "prepare", "swap"):
        assert warned(restore(sorted_database, step, folder)) == []


def test_they_are_found_where_the_database_is_lost(sorted_database: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", sorted_database)
    edited(folder, "0.9", "0.8")
    sorted_database.server.psql("DROP DATABASE authentik")
    (named,) = warned(restore(sorted_database, "check", folder))
    assert "pg_unicode_fast" in named
    assert len(warned(restore(sorted_database, "prepare", folder))) == 2, "the copy tells all of them"
