# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A restore tells what it brings back to life before it does, and leaves dead what was asked to stay so."""

from __future__ import annotations

from tests.support.site import Site, differences, shown

BOTH = {"purge_sessions": True, "keep_disabled": True}
HEADLINE = "What this restore brings back:"
SINCE = """
UPDATE authentik_core_user SET is_active = false WHERE username = 'user3';
DELETE FROM authentik_core_token WHERE identifier = 'token-5';
INSERT INTO authentik_core_user (password, username, email, is_active, date_joined, uuid, name, attributes, path, type)
    VALUES ('!', 'backup_id', '', true, now(), md5('new')::uuid, '', '{}', 'users', 'internal');
"""


def test_the_plan_and_the_end_tell_of_it(site: Site) -> None:
    made = site.run("backup")
    assert made.ok, made.output
    database = site.instance.database
    database.psql(SINCE)
    before = site.instance.picture()

    check = site.run("restore", check=True, components=["postgresql"], after_restore=BOTH)
    assert check.ok, check.output
    lines = shown(check).splitlines()
    assert lines[lines.index(HEADLINE) + 1 :] == [
        "- users disabled since, who become active again: 1 (user3)",
        "- users created since, who vanish: 1 (backup_id)",  # not authentik_backup_id
        "- users who become superusers, and are none now: 1 (user3)",
        "- tokens revoked, expired or changed since, which work again: 1 (token-5 of user5)",
        "- schema t_acme: nothing: users, tokens and sessions of the set are those of the present database",
        "- purge_sessions: every session of the copy is deleted before it becomes the live database",
        "- keep_disabled: users who are disabled in the copy before it goes live: 1 (user3)",
        "- schema t_acme: keep_disabled: users who are disabled in the copy before it goes live: 0",
    ]
    assert differences(before, site.instance.picture()) == []

    run = site.run("restore", components=["postgresql"], after_restore=BOTH)
    assert run.ok, run.output
    plan, _headline, done = shown(run).rpartition("\nRestored ")
    assert HEADLINE in plan
    assert "keep_disabled: users who were disabled in the restored copy: 1 (user3)" in done
    assert "rows of sessions were deleted; everybody has to log in again" in done
    count = "SELECT count(*) FROM authentik_core_session"
    assert database.psql(count) == database.psql(count.replace("FROM ", "FROM t_acme.")) == "0"
    assert database.psql("SELECT is_active FROM authentik_core_user WHERE username = 'user3'") == "f"
    assert database.psql("SELECT is_active FROM authentik_core_user WHERE username = 'user4'") == "t"
    assert database.psql("SELECT count(*) FROM authentik_core_token WHERE identifier = 'token-5'") == "1"


def test_it_is_refused_where_the_database_is_not_restored(site: Site) -> None:
    run = site.run("restore", components=["media"], after_restore={"purge_sessions": True})
    assert not run.ok
    assert "postgresql is not among the components to restore" in run.output


def test_a_misspelt_key_is_refused(site: Site) -> None:
    run = site.run("restore", check=True, after_restore={"purge_session": True})
    assert not run.ok
    assert "purge_session" in run.output


def test_after_a_disaster_there_is_nothing_to_compare_with(site: Site) -> None:
    site.instance.postgres.psql("DROP DATABASE authentik WITH (FORCE)")
    check = site.run("restore", check=True, components=["postgresql"])
    assert check.ok, check.output
    said = shown(check).splitlines()
    assert said[said.index(HEADLINE) + 1 :] == [
        "- the server has no database authentik now, so there is nothing to compare the set with"
    ]
