# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores on real servers: what comes back is what was there, and the live database is safe until it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import authentik_data, oracle
from tests.support.pg_sets import SUFFIX, make_set, restore
from tests.support.postgres import Database, Server

NEW, BEFORE = "authentik_new_" + SUFFIX, "authentik_before_" + SUFFIX


def run(database: Database, folder: Path, *steps: str, **options: Any) -> dict[str, Any]:
    """Run steps one after the other, each of which has to work; return the last result."""
    result: dict[str, Any] = {}
    for step in steps:
        result = restore(database, step, folder, **options)
        assert not result.get("failed"), result
    return result


def wreck(database: Database) -> None:
    """What a bad migration leaves behind."""
    database.psql("DROP TABLE authentik_events_notification; DELETE FROM authentik_core_token")


@pytest.fixture
def filled(database18: Database) -> Database:
    """A plain owner's database with data."""
    authentik_data.load(database18.psql, rows=120)
    return database18


def test_everything_comes_back_to_a_plain_owner(filled: Database, tmp_path: Path) -> None:
    server = filled.server
    server.psql(
        "ALTER DATABASE authentik SET search_path TO public, template; ALTER DATABASE authentik CONNECTION LIMIT 17;"
        "ALTER ROLE authentik IN DATABASE authentik SET work_mem TO '5MB'; CREATE ROLE reader;"
        "COMMENT ON DATABASE authentik IS 'it''s ours'; REVOKE CONNECT ON DATABASE authentik FROM PUBLIC;"
        "GRANT CONNECT ON DATABASE authentik TO reader"
    )
    filled.psql("GRANT SELECT ON authentik_core_user TO reader; GRANT USAGE ON SCHEMA t_acme TO reader")
    picture = oracle.take(server, "authentik")
    folder = make_set(tmp_path / "set", filled)
    wreck(filled)

    result = run(filled, folder, "check", "prepare", "swap")

    assert oracle.differences(picture, oracle.take(server, "authentik")) == []
    assert server.databases() == ["authentik", BEFORE]
    assert result["renamed"] == [["authentik", BEFORE], [NEW, "authentik"]]
    assert 0 <= result["cut_over_seconds"] < 5


def test_the_restored_application_role_still_refreshes_its_view(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    run(filled, folder, "prepare", "swap")
    before = filled.psql("SELECT count(*) FROM authentik_core_groupancestry")
    filled.psql("DELETE FROM authentik_core_groupparentage WHERE child_id = md5('group3')::uuid")
    assert int(filled.psql("SELECT count(*) FROM authentik_core_groupancestry")) < int(before)


def test_a_superuser_needs_no_other_login(superuser_database18: Database, tmp_path: Path) -> None:
    database, server = superuser_database18, superuser_database18.server
    authentik_data.load(database.psql, rows=60)
    database.psql("CREATE EXTENSION vector; CREATE TABLE embedding (id int, v vector(2))")
    database.psql("INSERT INTO embedding VALUES (1, '[1,2]')")
    picture = oracle.take(server, "authentik")
    folder = make_set(tmp_path / "set", database)
    wreck(database)

    run(database, folder, "prepare", "swap", admin_user=None, admin_password=None)

    assert oracle.differences(picture, oracle.take(server, "authentik")) == []


def test_an_extension_that_only_a_superuser_may_create(filled: Database, tmp_path: Path) -> None:
    filled.admin("CREATE EXTENSION vector")
    filled.psql("CREATE TABLE embedding (id int, v vector(2)); INSERT INTO embedding VALUES (1, '[1,2]')")
    picture = oracle.take(filled.server, "authentik")
    folder = make_set(tmp_path / "set", filled)
    plan = run(filled, folder, "check")["plan"]
    assert any("extension vector" in str(line) for line in plan)
    run(filled, folder, "prepare", "swap")
    assert oracle.differences(picture, oracle.take(filled.server, "authentik")) == []


def test_from_16_to_18(database16: Database, fresh18: Server, tmp_path: Path) -> None:
    authentik_data.load(database16.psql, rows=80)
    picture = oracle.take(database16.server, "authentik", fresh18.bin)
    folder = make_set(tmp_path / "set", database16)
    target = fresh18.create_database()

    run(target, folder, "check", "prepare", "swap")

    assert oracle.differences(picture, oracle.take(fresh18, "authentik")) == []


def test_from_18_to_16_is_refused_before_anything_is_done(
    database18: Database, fresh16: Server, tmp_path: Path
) -> None:
    database18.psql("CREATE TABLE t ()")
    folder = make_set(tmp_path / "set", database18)
    target = fresh16.create_database()
    for step in ("check", "prepare"):
        result = restore(target, step, folder, postgresql_bin_dir=str(database18.server.bin))
        assert "install PostgreSQL 18 or later" in result["msg"]
    assert fresh16.databases() == ["authentik"]


def test_programs_newer_than_the_server(database16: Database, postgres18: Server, tmp_path: Path) -> None:
    """A dump that pg_dump 18 made of a server 16 goes back to that server, which refuses what pg_restore 18 sends."""
    server = database16.server
    authentik_data.load(database16.psql, rows=40)
    picture = oracle.take(server, "authentik")
    newer = Server(16)
    newer.bin, newer.port, newer.password = postgres18.bin, server.port, server.password
    folder = make_set(tmp_path / "set", Database(newer, "authentik", database16.owner, database16.password))
    wreck(database16)

    run(database16, folder, "check", "prepare", "swap", postgresql_bin_dir=str(postgres18.bin))

    assert oracle.differences(picture, oracle.take(server, "authentik")) == []


def test_into_a_server_that_lost_the_database(filled: Database, tmp_path: Path) -> None:
    server = filled.server
    server.psql("ALTER DATABASE authentik SET work_mem TO '6MB'")
    picture = oracle.take(server, "authentik")
    folder = make_set(tmp_path / "set", filled)
    server.psql("DROP DATABASE authentik")

    assert any("no database authentik" in line for line in run(filled, folder, "check")["plan"])
    result = run(filled, folder, "prepare", "swap")

    assert result["renamed"] == [[NEW, "authentik"]]
    assert oracle.differences(picture, oracle.take(server, "authentik")) == []
    assert run(filled, folder, "undo")["left"] == ["authentik"], "and that is said"
    assert server.databases() == ["authentik"], "there is nothing to put back: what was restored stays"


def test_other_databases_are_not_touched(filled: Database, tmp_path: Path) -> None:
    server = filled.server
    other = server.create_database("authentik_new", "other")
    other.psql("CREATE TABLE precious AS SELECT 1 AS a")
    folder = make_set(tmp_path / "set", filled)
    pictures = {name: oracle.take(server, name) for name in ("authentik_new", "postgres")}
    run(filled, folder, "prepare", "swap", "undo")
    for name, picture in pictures.items():
        assert oracle.differences(picture, oracle.take(server, name)) == []


def test_data_that_was_left_out_comes_back_empty(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled, exclude_data=["cache"])
    plan = "\n".join(run(filled, folder, "check")["plan"])
    assert "will be empty" in plan
    assert "public.django_postgres_cache_cacheentry" in plan
    run(filled, folder, "prepare", "swap")
    assert filled.psql("SELECT count(*) FROM django_postgres_cache_cacheentry") == "0"
    assert filled.psql("SELECT count(*) FROM authentik_events_event") == "120"


def test_several_databases_of_one_set_go_together(fresh18: Server, tmp_path: Path) -> None:
    own = fresh18.create_database(superuser=True)
    other = fresh18.create_database("wiki", "wiki")
    authentik_data.load(own.psql, rows=20)
    other.psql("CREATE TABLE page (title text); INSERT INTO page VALUES ('Home')")
    pictures = {name: oracle.take(fresh18, name) for name in ("authentik", "wiki")}
    folder = make_set(tmp_path / "set", own, method="dumpall")
    own.psql("DROP TABLE authentik_install_id")
    other.psql("DELETE FROM page")

    result = run(own, folder, "prepare", "swap", databases=["authentik", "wiki"], admin_user=None, admin_password=None)

    assert len(result["renamed"]) == 4
    for name, picture in pictures.items():
        assert oracle.differences(picture, oracle.take(fresh18, name)) == []
    missing = restore(own, "check", folder, databases=["nothing"], admin_user=None, admin_password=None)
    assert "holds no database nothing" in missing["msg"]
    undone = restore(own, "undo", None, databases=["authentik", "wiki"], admin_user=None, admin_password=None)
    assert len(undone["renamed"]) == 4, "without the set too"
    assert other.psql("SELECT count(*) FROM page") == "0"


def test_into_another_name_and_another_role(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    target = filled.server.create_database("sso", "sso_role")
    run(target, folder, "prepare", "swap")
    assert target.psql("SELECT count(*) FROM authentik_core_user") == filled.psql(
        "SELECT count(*) FROM authentik_core_user"
    )
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('public', 'template', 't_acme')"
    assert target.psql(owners) == "sso_role"


def test_the_programs_that_were_named_and_no_others(database18: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", database18)
    for step in ("check", "prepare"):
        result = restore(database18, step, folder, postgresql_bin_dir="/nonexistent")
        assert "/nonexistent holds no working pg_restore" in result["msg"]


def test_check_changes_nothing_and_says_what_would_happen(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    picture = oracle.take(filled.server, "authentik")
    for result in (restore(filled, "check", folder), restore(filled, "prepare", folder, check=True)):
        assert result["changed"] is False
        plan = "\n".join(result["plan"])
        assert BEFORE in plan
        assert NEW in plan
        assert "connections to authentik that are ended at the swap: " in plan
        assert result["databases"][0]["bytes"] == next((folder / "postgresql").glob("authentik.dump*")).stat().st_size
    assert filled.server.databases() == ["authentik"]
    assert oracle.differences(picture, oracle.take(filled.server, "authentik")) == []
