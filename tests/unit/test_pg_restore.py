# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore decides from plain values: names, logins, SQL, contents of a dump."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import PostgresSettings
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import (
    _restore_admin,
    _restore_archive,
    _restore_check,
    _restore_names,
    _restore_set,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._space import FileSystem

ID = "20261122T031500Z-7f3a"
SUFFIX = "20261122t031500z_7f3a"
FINGERPRINT: dict[str, Any] = {
    "server_version": 180004, "encoding": "UTF8", "collation": "de_DE.UTF-8", "ctype": "de_DE.UTF-8",
    "locale_provider": "libc", "locale": None, "owner": "old", "connection_limit": -1, "acl": None, "comment": None,
    "settings": [], "matviews": {}, "tables": {}, "schemas": ["public"],
}  # fmt: skip


def database(**fingerprint: Any) -> _restore_set.SetDatabase:
    merged = {**FINGERPRINT, **fingerprint}
    return _restore_set.SetDatabase("a", "a", "new", "postgresql/a.dump", "zstd", 18, 100, merged)


def test_names_say_what_a_database_is_for() -> None:
    assert _restore_names.names_for("authentik", ID) == (
        "authentik", "authentik_load_" + SUFFIX, "authentik_new_" + SUFFIX, "authentik_before_" + SUFFIX,
        "authentik_undone_" + SUFFIX,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["x" * 63, "ü" * 31, "x" * 36, "日本語" * 7, "👩" * 15 + "abc"])
def test_long_names_fit_and_stay_apart(name: str) -> None:
    made = [*_restore_names.names_for(name, ID)[1:], *_restore_names.names_for(name[:-1] + "y", ID)[1:]]
    assert all(len(one.encode()) <= 63 for one in made)
    assert len(set(made)) == 8
    assert all(one.endswith(SUFFIX) for one in made)


@pytest.mark.parametrize(
    "wrong", ["", "../x", "20261122T031500Z", "20261122T031500Z-7f3a; DROP", "20261322T031500Z-7f3a"]
)
def test_an_id_that_is_none(wrong: str) -> None:
    with pytest.raises(InputError):
        _restore_names.suffix_of(wrong)


def test_only_copies_of_this_database_count_as_abandoned() -> None:
    mine = ["authentik_load_20250101t000000z_00ff", "authentik_new_" + SUFFIX]
    others = ["authentik", "authentik_load_x", "authentik_before_" + SUFFIX, "authentik_undone_" + SUFFIX]
    others += ["authentik2_load_" + SUFFIX, mine[0] + "0"]
    assert _restore_names.abandoned_copies("authentik", [*others, *mine]) == mine


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (["live"], ([], False, False)),
        (["live", "load"], (["load"], False, False)),
        (["live", "load", "new"], (["load", "new"], False, False)),
        (["new"], (["new"], False, False)),
        (["live", "before"], ([], True, True)),
        (["before"], ([], False, True)),
        (["live", "before", "undone"], ([], True, True)),
        (["live", "undone"], ([], False, False)),
        ([], ([], False, False)),
    ],
)
def test_undo_reads_the_state_off_the_names(present: list[str], expected: tuple[list[str], bool, bool]) -> None:
    assert (
        _restore_names.plan_undo(_restore_names.Names("live", "load", "new", "before", "undone"), present) == expected
    )


def test_a_name_that_is_taken_gets_a_number() -> None:
    assert _restore_names.free_name("a", ["b"]) == "a"
    assert _restore_names.free_name("a", ["a", "a_2"]) == "a_3"
    assert len(_restore_names.free_name("x" * 63, ["x" * 63])) == 63


APP = PostgresSettings(host="127.0.0.1", port=5432, name="authentik", user="authentik", password="secret")


@pytest.mark.parametrize(
    ("app", "options", "root", "expected"),
    [
        ({}, {}, False, [("authentik", "127.0.0.1", None, "secret")]),
        ({}, {}, True, [("authentik", "127.0.0.1", None, "secret"), ("postgres", "", "postgres", None)]),
        ({"host": "db.example"}, {}, True, [("authentik", "db.example", None, "secret")]),
        (
            {"host": "/run/x"},
            {},
            True,
            [("authentik", "/run/x", None, "secret"), ("postgres", "/run/x", "postgres", None)],
        ),
        ({}, {"user": "boss", "password": "p"}, True, [("boss", "127.0.0.1", None, "p")]),
        ({}, {"run_as": "pgadmin"}, True, [("postgres", "", "pgadmin", None)]),
        ({"host": "db"}, {"user": "boss", "run_as": "x", "password": "p"}, True, [("boss", "db", "x", "p")]),
    ],
)
def test_logins_to_try(
    app: dict[str, Any], options: dict[str, Any], root: bool, expected: list[tuple[str, ...]]
) -> None:
    import dataclasses

    found = _restore_admin.candidates(
        dataclasses.replace(APP, **app), _restore_admin.AdminOptions(**options), root, has_system_user=True
    )
    assert [
        (one.settings.user, one.settings.host, one.settings.run_as, one.settings.password) for one in found
    ] == expected


def test_what_a_role_lacks() -> None:
    def lacking(superuser: bool, createdb: bool, missing: list[str]) -> str:
        rights = {"superuser": superuser, "createdb": createdb, "not_member_of": missing}
        return _restore_admin.lacking(rights)

    assert lacking(True, False, ["x"]) == ""
    assert lacking(False, True, []) == ""
    assert "CREATEDB" in lacking(False, False, [])
    assert "member of a, b" in lacking(False, True, ["a", "b"])


def test_privileges_of_a_database_are_read_as_postgresql_writes_them() -> None:
    items = ["=Tc/old", "old=CTc/old", '"odd ""n=/me"=c*/old', "reader=c/old"]
    assert _restore_set.parse_acl(items) == [
        ("", ["TEMPORARY", "CONNECT"]),
        ("old", ["CREATE", "TEMPORARY", "CONNECT"]),
        ('odd "n=/me', ["CONNECT WITH GRANT OPTION"]),
        ("reader", ["CONNECT"]),
    ]
    assert _restore_set.roles_needed(database(acl=items)) == {"reader", 'odd "n=/me'}


def test_properties_become_sql_of_the_new_owner() -> None:
    settings = [
        {"role": None, "name": "search_path", "value": '"$user", public, "a ""b"'},
        {"role": None, "name": "app.note", "value": "it's \\ here"},
        {"role": "old", "name": "work_mem", "value": "5MB"},
    ]
    made = _restore_set.property_statements(
        "n", database(settings=settings, acl=["old=c/old", "=c/old"], comment="c'c", connection_limit=5), False
    )
    assert made == [
        'ALTER DATABASE "n" CONNECTION LIMIT 5',
        "COMMENT ON DATABASE \"n\" IS 'c''c'",
        "ALTER DATABASE \"n\" SET app.note TO  E'it''s \\\\ here'",
        "ALTER DATABASE \"n\" SET search_path TO '$user', 'public', 'a \"b'",
        'ALTER ROLE "new" IN DATABASE "n" SET work_mem TO \'5MB\'',
        'REVOKE ALL ON DATABASE "n" FROM PUBLIC',
        'REVOKE ALL ON DATABASE "n" FROM "new"',
        'GRANT CONNECT ON DATABASE "n" TO "new"',
        'GRANT CONNECT ON DATABASE "n" TO PUBLIC',
    ]
    skipped = _restore_set.property_statements("n", database(acl=["=c/old"]), skip_privileges=True)
    assert not [statement for statement in skipped if "GRANT" in statement or "REVOKE" in statement]


@pytest.mark.parametrize(
    ("locale", "major", "expected"),
    [
        ({}, 12, "LC_COLLATE 'de_DE.UTF-8' LC_CTYPE 'de_DE.UTF-8'"),
        ({}, 18, "LC_COLLATE 'de_DE.UTF-8' LC_CTYPE 'de_DE.UTF-8' LOCALE_PROVIDER libc"),
        ({"locale_provider": "icu", "locale": "de"}, 14, None),
        (
            {"locale_provider": "icu", "locale": "de", "collation": "C", "ctype": "C"},
            16,
            "LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'de'",
        ),
        ({"locale_provider": "builtin", "locale": "C.UTF-8"}, 16, None),
        (
            {"locale_provider": "builtin", "locale": "C.UTF-8", "collation": "C", "ctype": "C"},
            18,
            "LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'",
        ),
    ],
)
def test_locales(locale: dict[str, Any], major: int, expected: str | None) -> None:
    assert _restore_set.locale_clause({**FINGERPRINT, **locale}, major) == expected


def test_the_backups_locale_is_tried_before_the_live_ones() -> None:
    live = {**FINGERPRINT, "collation": "C", "ctype": "C", "tablespace": "fast"}
    tried = list(_restore_set.create_statements("n", database(), live, 18))
    assert [whose for _statement, whose in tried] == ["the backup's", "the live database's", "the server's default"]
    assert all('OWNER "new"' in statement and 'TABLESPACE "fast"' in statement for statement, _whose in tried)
    assert all("TEMPLATE template0 ENCODING 'UTF8'" in statement for statement, _whose in tried)


def test_contents_of_a_dump() -> None:
    listing = """;
;     Dumped from database version: 15.6 (Debian)
;     Dumped by pg_dump version: 16.2
;
2; 3079 16385 EXTENSION - vector@
2950; 0 0 COMMENT - EXTENSION vector@
222; 1259 16396 TABLE public authentik_core_user authentik
2951; 0 0 ACL public TABLE authentik_core_user authentik
3; 1259 1 MATERIALIZED VIEW DATA public some view authentik
"""
    contents = _restore_archive.parse_contents(listing.replace("@", " "))  # extensions have no owner: a blank is left
    assert contents.extensions() == ["vector"]
    assert [entry.kind for entry in contents.entries] == [
        "EXTENSION", "COMMENT", "TABLE", "ACL", "MATERIALIZED VIEW DATA",
    ]  # fmt: skip
    kept = contents.without_extensions(["vector"])
    assert kept is not None
    assert [line.split(";")[0] for line in kept] == ["222", "2951", "3"]
    assert contents.without_extensions([]) is None


def test_roles_that_privileges_name() -> None:
    statements = """
GRANT SELECT ON TABLE public.a TO reader;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO PUBLIC;
GRANT SELECT(name) ON TABLE public.b TO "Odd ""Role";
ALTER DEFAULT PRIVILEGES FOR ROLE maker IN SCHEMA public GRANT SELECT ON TABLES TO watcher;
COPY not TO anybody;
"""
    assert _restore_archive.parse_granted_roles(statements) == {"reader", 'Odd "Role', "maker", "watcher"}


def test_the_new_owner_owns_everything_that_is_expected() -> None:
    one = database(
        encoding="LATIN1",
        matviews={"public.v": {"rows": 1, "digest": "1", "populated": True, "owner": "old"}},
        settings=[{"role": "old", "name": "a", "value": "1"}, {"role": None, "name": "b", "value": "2"}],
    )
    expected = _restore_set.expected_fingerprint(one)
    assert (expected["owner"], expected["encoding"], expected["matviews"]["public.v"]["owner"]) == (
        "new",
        "UTF8",
        "new",
    )
    assert [setting["role"] for setting in expected["settings"]] == [None, "new"]
    assert one.fingerprint["owner"] == "old", "the manifest stays as it is"


def space(available: int | None) -> dict[str, FileSystem]:
    return {"pg_default": FileSystem("/data", "x:1", available, "" if available else "nobody knows")}


SERVER = _restore_check.Server(
    major=18, version="18.4", standby=False, databases={}, roles={"new": False, "postgres": True},
    extensions={"citext": True, "vector": False}, places=space(1000), admin_how="x", admin_superuser=True,
)  # fmt: skip
ROW: dict[str, Any] = {"prepared": 0, "connections": 0, "tablespace": "pg_default"}
ROW.update({name: FINGERPRINT[name] for name in ("collation", "ctype", "locale_provider", "locale")})
CONTENTS = """
2; 3079 16385 EXTENSION - %s@
3; 1 2 EVENT TRIGGER - watch new
"""


def blockers_of_target(server: _restore_check.Server, one: _restore_set.SetDatabase) -> str:
    findings = _restore_check.Findings()
    _restore_check.judge_target(server, one, _restore_names.names_for("a", ID), findings)
    return "; ".join(findings.blockers)


@pytest.mark.parametrize(
    ("server", "fingerprint", "expected"),
    [
        ({}, {}, ""),
        ({"standby": True}, {}, "standby"),
        ({"major": 16, "version": "16.1"}, {}, "install PostgreSQL 18 or later"),
        ({"roles": {}}, {}, 'CREATE ROLE "new" LOGIN'),
        ({}, {"acl": ["reader=c/old"]}, "reader"),
        ({}, {"settings": [{"role": "batch", "name": "a", "value": "1"}]}, "batch"),
        ({"databases": {"a_before_" + SUFFIX: {}}}, {}, "swapped in already"),
        ({"places": space(99)}, {}, "/data has 99 B free"),
        ({"places": space(None)}, {}, ""),
    ],
)
def test_what_forbids_a_restore(server: dict[str, Any], fingerprint: dict[str, Any], expected: str) -> None:
    found = blockers_of_target(SERVER._replace(**server), database(**fingerprint))
    assert expected in found
    assert bool(expected) == bool(found)


@pytest.mark.parametrize(
    ("free", "databases", "in_place", "enough"),
    [
        (60, {"a": 50}, False, False),
        (60, {"a": 50}, True, True),
        (60, {"a": 30}, True, False),
        (60, {"a_load_20250101t000000z_00ff": 50}, False, True),
        (60, {"a_load_20250101t000000z_00ff": 50}, True, True),
        (60, {"b": 50}, True, False),
    ],
)
def test_what_is_dropped_first_makes_room(free: int, databases: dict[str, int], in_place: bool, enough: bool) -> None:
    row = {**ROW, "slots": 0}
    there = {name: {**row, "bytes": size} for name, size in databases.items()}
    findings = _restore_check.Findings()
    server = SERVER._replace(places=space(free), databases=there)
    _restore_check.judge_target(server, database(), _restore_names.names_for("a", ID), findings, in_place=in_place)
    assert bool(findings.blockers) == (not enough), findings.blockers


@pytest.mark.parametrize(("in_place", "blocked"), [(True, True), (False, False)])
def test_what_cannot_be_dropped_is_told_before(in_place: bool, blocked: bool) -> None:
    row = {**ROW, "slots": 1, "bytes": 1}
    findings = _restore_check.Findings()
    names = _restore_names.names_for("a", ID)
    _restore_check.judge_target(SERVER._replace(databases={"a": row}), database(), names, findings, in_place=in_place)
    assert ["1 replication slots hold a" in blocker for blocker in findings.blockers] == [True] * blocked


@pytest.mark.parametrize(
    ("extension", "server", "by_admin", "expected"),
    [
        ("citext", {}, [], ""),
        ("vector", {}, ["vector"], ""),
        ("vector", {"admin_superuser": False}, ["vector"], "only a superuser may create the extension vector"),
        ("vector", {"roles": {"new": True}}, [], ""),
        ("postgis", {}, [], "does not offer the extension postgis"),
    ],
)
def test_extensions(extension: str, server: dict[str, Any], by_admin: list[str], expected: str) -> None:
    listing = (CONTENTS % extension).replace("@", " ").split("3; ")[0]
    findings = _restore_check.Findings()
    made = _restore_check.judge_contents(
        SERVER._replace(**server), database(), _restore_archive.parse_contents(listing), set(), False, findings
    )
    assert made == by_admin
    assert expected in "; ".join(findings.blockers)
    assert bool(expected) == bool(findings.blockers)


def test_objects_that_only_a_superuser_may_create() -> None:
    contents = _restore_archive.parse_contents((CONTENTS % "citext").replace("@", " "))
    for superuser in (False, True):
        findings = _restore_check.Findings()
        server = SERVER._replace(roles={"new": superuser})
        _restore_check.judge_contents(server, database(), contents, set(), False, findings)
        assert ["event trigger watch" in blocker for blocker in findings.blockers] == ([] if superuser else [True])
