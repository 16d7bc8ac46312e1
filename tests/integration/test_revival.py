# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore would bring back to life is reported exactly, and what was asked to stay dead does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_real_data import DUMPS, FIXTURES
from tests.support import authentik_data, oracle
from tests.support.announce import leave_out
from tests.support.pg_sets import SUFFIX, make_set, restore
from tests.support.postgres import Database, Server

NEW = "authentik_new_" + SUFFIX
BOTH = {"purge_sessions": True, "keep_disabled": True}
EMPTY = (
    "users_active_again", "users_returning", "users_vanishing", "superusers_gained", "superusers_lost", "passwords",
    "app_passwords", "tokens", "sessions", "bare_sessions", "grants",
)  # fmt: skip
SECRETS = """
SELECT key FROM authentik_core_token UNION SELECT session_key FROM authentik_core_session
UNION SELECT session_id FROM authentik_core_authenticatedsession UNION SELECT session_key FROM django_session
UNION SELECT token FROM authentik_providers_oauth2_accesstoken UNION SELECT password FROM authentik_core_user
"""
ADD_USER = """
INSERT INTO authentik_core_user (password, username, email, is_active, date_joined, uuid, name, attributes, path, type)
VALUES ('!', '{0}', '', true, now(), md5('{0}')::uuid, '', '{{}}', 'users', 'internal');
"""
#: What happens to the live database between the backup and the restore. The number of a user is in its name.
SINCE = """
UPDATE authentik_core_user SET is_active = false WHERE id IN (3, 4, 7);
UPDATE authentik_core_user SET password_change_date = now() WHERE id = 5;
DELETE FROM authentik_providers_oauth2_accesstoken WHERE user_id = 9;
UPDATE authentik_providers_oauth2_refreshtoken SET revoked = true WHERE user_id IN (9, 15);
UPDATE authentik_providers_oauth2_accesstoken SET session_id = NULL;
UPDATE authentik_providers_oauth2_refreshtoken SET session_id = NULL;
DELETE FROM authentik_providers_saml_samlsession WHERE user_id IN (9, 18);
DELETE FROM authentik_core_authenticatedsession WHERE user_id = 9 OR user_id % 6 = 0; -- those of each sixth were over
DELETE FROM authentik_core_session WHERE session_key = md5('session9') OR expires < now();
DELETE FROM authentik_core_token WHERE identifier IN ('token-8', 'token-9', 'token-7');
UPDATE authentik_core_token SET key = 'rotated' WHERE identifier = 'token-10';
UPDATE authentik_core_token SET expires = now() - interval '1 day' WHERE identifier = 'token-13';
DELETE FROM django_session;
DELETE FROM authentik_core_user_ak_groups WHERE user_id = 2;
INSERT INTO authentik_core_user_ak_groups (user_id, group_id) VALUES (9, md5('group1')::uuid);
""" + ADD_USER.format("erin")
REMOVE_USER_20 = """
DELETE FROM authentik_core_user_ak_groups WHERE user_id = 20; DELETE FROM authentik_core_token WHERE user_id = 20;
DELETE FROM authentik_events_notification WHERE user_id = 20; DELETE FROM authentik_core_user WHERE id = 20;
"""


def report_of(result: dict[str, Any], schema: str = "public") -> dict[str, Any]:
    """Return what is reported of a schema: the names by key, or the number where there are none."""
    assert not result.get("failed"), result
    found = next(one for one in result["revival"]["schemas"] if one["schema"] == schema)
    assert found["not_compared"] == []
    return {key: found[key]["names"] or found[key]["count"] for key in EMPTY if found[key]["count"]}


@pytest.fixture
def filled(database18: Database) -> Database:
    """A plain owner's database with a tenant beside the default one; not everybody is a superuser in it."""
    authentik_data.load(database18.psql, rows=120)
    database18.psql("DELETE FROM authentik_core_groupparentage WHERE child_id = md5('group2')::uuid")
    return database18


def expected(database: Database, sql: str) -> oracle.Picture:
    """Return the picture that a database has after some statements, which are run on a copy of it."""
    server = database.server
    server.psql("CREATE DATABASE expected TEMPLATE %s OWNER %s" % (database.name, database.owner))
    Database(server, "expected", database.owner, database.password).psql(sql)
    picture = oracle.take(server, "expected")
    server.psql("DROP DATABASE expected")
    return picture


def test_nothing_happened_since(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    result = restore(filled, "check", folder)
    assert report_of(result) == report_of(result, "t_acme") == {}
    assert [line.partition("nothing")[0] for line in result["revival"]["lines"]] == ["", "schema t_acme: "]
    assert result["revival"]["compared"]


def test_everything_that_happened_since_is_named_and_no_secret_is(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    secrets = set(filled.psql(SECRETS).splitlines())
    filled.psql(SINCE + REMOVE_USER_20)
    filled.psql("SET search_path = t_acme; DELETE FROM authentik_core_token WHERE identifier = 'token-5'")
    picture = oracle.take(filled.server, "authentik")

    for result in (restore(filled, "check", folder), restore(filled, "prepare", folder, check=True)):
        assert report_of(result) == {
            "users_active_again": ["user3", "user4"],  # user7 was disabled in the set, too
            "users_returning": ["user20"],
            "users_vanishing": ["erin"],
            "superusers_gained": ["user2"],
            "superusers_lost": ["user9"],
            "passwords": ["user5"],
            "tokens": ["token-10 of user10", "token-13 of user13", "token-9 of user9"],
            "app_passwords": ["token-20 of user20", "token-8 of user8"],
            "sessions": ["user9"],
            "bare_sessions": 1,
            "grants": ["1 OAuth2 access tokens", "2 OAuth2 refresh tokens", "2 SAML sessions"],
        }
        assert report_of(result, "t_acme") == {"tokens": ["token-5 of user5"]}
        said = json.dumps(result)
        assert [secret for secret in secrets if secret in said] == []
        assert "users disabled since, who become active again: 2 (user3, user4)" in result["revival"]["lines"]
    assert oracle.differences(picture, oracle.take(filled.server, "authentik")) == []


PURGE = """
UPDATE authentik_providers_oauth2_refreshtoken SET session_id = NULL;
DELETE FROM authentik_providers_oauth2_accesstoken;
DELETE FROM authentik_providers_saml_samlsession; DELETE FROM authentik_providers_proxy_proxysession;
DELETE FROM authentik_core_authenticatedsession; DELETE FROM authentik_core_session; DELETE FROM django_session;
"""
KEEP = "UPDATE authentik_core_user SET is_active = false WHERE username IN ('user3', 'user4', 'user20');"


@pytest.mark.parametrize(
    ("wanted", "sql"),
    [
        (BOTH, PURGE + KEEP + "SET search_path = t_acme;" + PURGE),
        ({"purge_sessions": True}, PURGE + "SET search_path = t_acme;" + PURGE),
        ({"keep_disabled": True}, KEEP),
        ({}, ""),
    ],
    ids=["both", "purge_sessions", "keep_disabled", "neither"],
)
def test_what_is_to_stay_dead_does_and_all_else_is_as_it_was(
    filled: Database, tmp_path: Path, wanted: dict[str, bool], sql: str
) -> None:
    folder = make_set(tmp_path / "set", filled)
    picture = expected(filled, sql)
    filled.psql(SINCE + REMOVE_USER_20)
    live = oracle.take(filled.server, "authentik")

    plan = "\n".join(restore(filled, "check", folder, after_restore=wanted)["revival"]["lines"])
    assert ("every session of the copy is deleted" in plan) == ("purge_sessions" in wanted)
    assert ("before it goes live: 3 (user20, user3, user4)" in plan) == ("keep_disabled" in wanted)
    prepared = restore(filled, "prepare", folder, after_restore=wanted)
    assert oracle.differences(picture, oracle.take(filled.server, NEW)) == [], "before it can be swapped in"
    assert oracle.differences(live, oracle.take(filled.server, "authentik")) == []
    result = restore(filled, "swap", folder)
    assert not result.get("failed"), result
    assert oracle.differences(picture, oracle.take(filled.server, "authentik")) == []

    done = prepared["databases"][0].get("after_restore", {})
    assert done.get("disabled", {}).get("names", []) == (
        ["user20", "user3", "user4"] if "keep_disabled" in wanted else []
    )
    if "purge_sessions" in wanted:
        assert done["deleted"]["public.authentik_core_authenticatedsession"] == 10
        assert done["deleted"]["t_acme.authentik_core_session"] > 0
    assert bool(done) == bool(wanted)


def test_a_superuser_changes_the_copy_as_the_application_role(superuser_database18: Database, tmp_path: Path) -> None:
    """What the application's role may not do is not done in its name: here a trigger of its own notes who did it."""
    database = superuser_database18
    authentik_data.load(database.psql, rows=40)
    database.psql(
        "CREATE TABLE noted (who text); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $fn$ BEGIN"
        " INSERT INTO noted VALUES (current_user); RETURN NULL; END $fn$; CREATE TRIGGER note AFTER DELETE ON"
        " authentik_core_session FOR EACH STATEMENT EXECUTE FUNCTION note()"
    )
    folder = make_set(tmp_path / "set", database)
    result = restore(database, "prepare", folder, after_restore={"purge_sessions": True})
    assert not result.get("failed"), result
    copy = Database(database.server, NEW, database.owner, database.password)
    assert copy.psql("SELECT DISTINCT who FROM noted") == database.owner


@pytest.mark.parametrize("how", ["absent", "empty"])
def test_nothing_to_compare_with_is_said(filled: Database, tmp_path: Path, how: str) -> None:
    folder = make_set(tmp_path / "set", filled)
    picture = expected(filled, PURGE + "SET search_path = t_acme;" + PURGE)
    filled.server.psql("DROP DATABASE authentik")
    if how == "empty":
        filled.server.psql("CREATE DATABASE authentik OWNER authentik")
    result = restore(filled, "check", folder)
    assert result["revival"]["compared"] is False
    assert len(result["revival"]["lines"]) == 1
    assert "nothing to compare" in result["revival"]["lines"][0]
    plan = restore(filled, "check", folder, after_restore=BOTH)["revival"]["lines"]
    assert any("nobody is disabled" in line for line in plan)
    prepared = restore(filled, "prepare", folder, after_restore=BOTH)
    assert any("nobody was disabled" in line for line in prepared["databases"][0]["after_restore"]["lines"])
    assert oracle.differences(picture, oracle.take(filled.server, NEW)) == []


def test_what_cannot_be_compared_is_named(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    filled.psql(
        "DROP TABLE authentik_core_token; ALTER TABLE authentik_core_user DROP COLUMN password_change_date;"
        "DROP TABLE authentik_providers_proxy_proxysession; DROP SCHEMA t_acme CASCADE; CREATE SCHEMA t_new;"
        "CREATE TABLE t_new.authentik_core_user (LIKE authentik_core_user)"
    )
    lines = restore(filled, "check", folder)["revival"]["lines"]
    assert lines == [
        "not compared: changed passwords: the present database: authentik_core_user has no column password_change_date",
        "not compared: tokens and app passwords: the present database has no table authentik_core_token",
        "not compared: proxy sessions: the present database has no table authentik_providers_proxy_proxysession",
        "schema t_acme: not in the present database: it comes back with 32 users",
        "schema t_new: all of it is newer than the set, and vanishes",
    ]


def test_a_role_that_may_not_read_the_present_users_is_no_reason_to_disable_nobody(
    filled: Database, tmp_path: Path
) -> None:
    folder = make_set(tmp_path / "set", filled)
    filled.psql("REVOKE SELECT ON authentik_core_user FROM authentik")
    assert any("may not be read" in line for line in restore(filled, "check", folder)["revival"]["lines"])
    for step in ("check", "prepare"):
        result = restore(filled, step, folder, after_restore={"keep_disabled": True})
        assert "keep_disabled: the users of schema public cannot be compared" in result["msg"]
    assert filled.server.databases() == ["authentik"]


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("echo 'could not find block' >&2; exit 3", "could not find block"),
        ('$REAL "$@" | head -c 9000; exit 0', "ends within the rows of "),
    ],
    ids=["fails", "cut"],
)
def test_rows_that_do_not_come_are_not_taken_for_none(filled: Database, tmp_path: Path, ends: str, said: str) -> None:
    """The dump itself is decoded all the same: what cannot be told is said, and nobody's state is guessed from it."""
    folder = make_set(tmp_path / "set", filled)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "psql").symlink_to(filled.server.bin / "psql")
    script = programs / "pg_restore"
    wanted = '[ "$1" = -L ] && grep -q "TABLE DATA" "$2"'
    script.write_text(
        '#!/bin/sh\nREAL=%s\nif %s; then %s; fi\nexec $REAL "$@"\n' % (filled.server.bin / script.name, wanted, ends)
    )
    script.chmod(0o755)
    result = restore(filled, "check", folder, postgresql_bin_dir=str(programs))
    assert not result.get("failed"), result
    lines = result["revival"]["lines"]
    assert len([line for line in lines if "not compared: " in line and said in line]) == len(lines) >= 10
    refused = restore(filled, "check", folder, postgresql_bin_dir=str(programs), after_restore={"keep_disabled": True})
    assert "cannot be compared" in refused["msg"]


def test_nobody_is_locked_out(filled: Database, tmp_path: Path) -> None:
    """Who restores because all users were removed by mistake wants them back."""
    folder = make_set(tmp_path / "set", filled)
    filled.psql("UPDATE authentik_core_user SET is_active = false")
    for step in ("check", "prepare"):
        result = restore(filled, step, folder, after_restore={"keep_disabled": True})
        assert "would disable every superuser of schema public" in result["msg"]
    assert filled.server.databases() == ["authentik"]


def test_a_purge_that_does_not_purge_fails_and_leaves_nothing(filled: Database, tmp_path: Path) -> None:
    filled.psql(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $fn$ BEGIN RETURN NULL; END $fn$;"
        "CREATE TRIGGER keep BEFORE DELETE ON t_acme.django_session FOR EACH ROW EXECUTE FUNCTION keep()"
    )
    folder = make_set(tmp_path / "set", filled)
    result = restore(filled, "prepare", folder, after_restore=BOTH)
    assert "sessions are left in t_acme.django_session" in result["msg"]
    assert filled.server.databases() == ["authentik"]


def test_it_is_not_accepted_and_ignored(fresh18: Server, tmp_path: Path) -> None:
    own = fresh18.create_database(superuser=True)
    fresh18.create_database("wiki", "wiki")
    folder = make_set(tmp_path / "set", own, method="dumpall")
    result = restore(own, "check", folder, databases=["wiki"], after_restore={"purge_sessions": True})
    assert "after_restore changes the instance's own database" in result["msg"]


def test_from_a_server_of_another_major_version(database16: Database, fresh18: Server, tmp_path: Path) -> None:
    authentik_data.load(database16.psql, rows=60)
    folder = make_set(tmp_path / "set", database16)
    target = fresh18.create_database()
    authentik_data.load(target.psql, rows=60)
    target.psql("UPDATE authentik_core_user SET is_active = false WHERE username = 'user3'")
    assert report_of(restore(target, "check", folder)) == {
        "users_active_again": ["user3"],
        "superusers_gained": ["user3"],
    }


def genuine(server: Server, dump: str, superuser: bool) -> Database:
    """Return a genuine database, loaded from a dump."""
    if not (FIXTURES / dump).is_file():
        leave_out("%s is not there: set AUTHENTIK_RECOVERY_FIXTURES to a folder that holds it" % (FIXTURES / dump))
    database = server.create_database(superuser=superuser)
    load = ["--no-owner", "-e", "-d", "authentik", str(FIXTURES / dump)]
    server.run("pg_restore", *load, user=database.owner, password=database.password)
    # As when it was dumped: nothing of it is over.
    for table in ("authentik_core_session", "authentik_core_token"):
        database.psql("UPDATE %s SET expires = now() + interval '1 day'" % table)
    database.psql("UPDATE authentik_core_token SET intent = 'app_password' WHERE identifier = 'token-3'")
    return database


def test_a_genuine_database(fresh18: Server, tmp_path: Path) -> None:
    database = genuine(fresh18, DUMPS[0], superuser=False)
    folder = make_set(tmp_path / "set", database)
    tables = "authentik_core_authenticatedsession, authentik_core_session, django_session"
    picture = expected(
        database,
        "UPDATE authentik_core_user SET is_active = false WHERE username = 'user001';"
        + "".join("DELETE FROM %s;" % table for table in tables.split(", ")),
    )
    database.psql(
        "UPDATE authentik_core_user SET is_active = false WHERE username = 'user001';"
        "DELETE FROM authentik_core_authenticatedsession WHERE user_id = (SELECT id FROM authentik_core_user"
        " WHERE username = 'akadmin');"
        "DELETE FROM authentik_core_token WHERE identifier IN ('token-2', 'token-3');"
        "INSERT INTO authentik_core_user_ak_groups (user_id, group_id) SELECT u.id, g.group_uuid"
        " FROM authentik_core_user u, authentik_core_group g"
        " WHERE username = 'user002' AND g.name = 'authentik Admins';"
        "UPDATE authentik_core_user SET password_change_date = now() WHERE username = 'user003';"
        "INSERT INTO authentik_core_user (password, username, first_name, last_name, email, is_active, date_joined,"
        " uuid, name, password_change_date, attributes, path, type, last_updated)"
        " VALUES ('!', 'erin', '', '', '', true, now(),"
        " gen_random_uuid(), '', now(), '{}', 'users', 'internal', now())"
    )
    assert report_of(restore(database, "check", folder)) == {
        "users_active_again": ["user001"],
        "users_vanishing": ["erin"],
        "superusers_lost": ["user002"],
        "passwords": ["user003"],
        "tokens": ["token-2 of user002"],
        "app_passwords": ["token-3 of user003"],
        "sessions": ["akadmin 2 times"],
    }
    for step in ("prepare", "swap"):
        more: dict[str, Any] = {"after_restore": BOTH} if step == "prepare" else {}
        result = restore(database, step, folder, **more)
        assert not result.get("failed"), result
    assert oracle.differences(picture, oracle.take(fresh18, "authentik")) == []
    for table in tables.split(", "):
        assert database.psql("SELECT count(*) FROM " + table) == "0"


def test_a_genuine_database_of_several_tenants(fresh18: Server, tmp_path: Path) -> None:
    database = genuine(fresh18, DUMPS[1], superuser=True)
    folder = make_set(tmp_path / "set", database)
    database.psql(
        "UPDATE authentik_core_user SET is_active = false; UPDATE template.authentik_core_user SET is_active = false"
    )
    result = restore(database, "check", folder, admin_user=None, admin_password=None)
    assert report_of(result) == {"users_active_again": ["AnonymousUser"]}
    assert [one["schema"] for one in result["revival"]["schemas"]] == ["public"], "nobody logs in to the template"
