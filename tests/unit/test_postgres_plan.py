# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a dump is planned to be, from plain values: programs, arguments, artifacts, and data that is left out."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, StateError, ToolError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _catalog, _dump_plan, _tools
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._catalog import Relation
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._tools import Install


def table(name: str, oid: int = 1, schema: str = "public", kind: str = "r", readable: bool = True) -> Relation:
    return Relation(oid, schema, name, kind, True, "authentik", ["id"], readable)


@pytest.mark.parametrize(
    ("wanted", "own_zstd", "zstd", "name", "suffix", "option"),
    [
        ("auto", True, "/bin/zstd", "pg_dump:zstd", ".dump", "--compress=zstd:1"),
        ("auto", False, "/bin/zstd", "zstd", ".dump.zst", "--compress=0"),
        ("auto", False, None, "pg_dump:gzip", ".dump", "--compress=1"),
        ("pg_dump_zstd", True, None, "pg_dump:zstd", ".dump", "--compress=zstd:1"),
        ("zstd", True, "/bin/zstd", "zstd", ".dump.zst", "--compress=0"),
        ("gzip", True, "/bin/zstd", "pg_dump:gzip", ".dump", "--compress=1"),
    ],
)
def test_compression(wanted: str, own_zstd: bool, zstd: str | None, name: str, suffix: str, option: str) -> None:
    chosen = _dump_plan.choose_compression(wanted, own_zstd, zstd)
    assert (chosen.name, chosen.suffix, chosen.option) == (name, suffix, option)
    assert chosen.filter_argv == (("/bin/zstd", "-1", "-q", "-c") if name == "zstd" else ())


@pytest.mark.parametrize(("wanted", "own_zstd", "zstd"), [("pg_dump_zstd", False, "/bin/zstd"), ("zstd", True, None)])
def test_compression_that_is_not_there_is_refused(wanted: str, own_zstd: bool, zstd: str | None) -> None:
    with pytest.raises(ToolError, match="zstd"):
        _dump_plan.choose_compression(wanted, own_zstd, zstd)


@pytest.mark.parametrize(
    ("database", "path"),
    [
        ("authentik", "postgresql/authentik.dump"),
        ("with space/and ../slash", "postgresql/with%20space%2Fand%20..%2Fslash.dump"),
        ("..", "postgresql/%2E..dump"),
        ("100%", "postgresql/100%25.dump"),
        ("grün", "postgresql/gr%C3%BCn.dump"),
    ],
)
def test_artifact_path_is_one_plain_file_name(database: str, path: str) -> None:
    gzip = _dump_plan.choose_compression("gzip", False, None)
    assert _dump_plan.artifact_path(database, gzip) == path


def test_dump_arguments_hold_no_login_and_no_pattern() -> None:
    zstd = _dump_plan.choose_compression("auto", False, "/bin/zstd")
    excluded = [table("django_postgres_cache_cacheentry"), table('odd"na*me', schema="t_Acme")]
    assert _dump_plan.dump_argv("/pg/pg_dump", zstd, "0003-1", excluded, 60) == [
        "/pg/pg_dump",
        "--format=custom",
        "--no-password",
        "--compress=0",
        "--lock-wait-timeout=60000",
        "--snapshot=0003-1",
        '--exclude-table-data="public"."django_postgres_cache_cacheentry"',
        '--exclude-table-data="t_Acme"."odd""na*me"',
    ]


def test_globals_arguments() -> None:
    argv = _dump_plan.globals_argv("/pg/pg_dumpall", "a=b'c", 5, passwords=True)
    assert argv == [
        "/pg/pg_dumpall",
        "--globals-only",
        "--no-password",
        "--lock-wait-timeout=5000",
        "--database=dbname='a=b\\'c'",
    ]
    assert _dump_plan.globals_argv("/pg/pg_dumpall", "a", 5, passwords=False)[-1] == "--no-role-passwords"


TASKS = [
    table("authentik_tasks_task", 10),
    table("authentik_tasks_tasklog", 11),
    table("authentik_tasks_task", 20, "t_acme"),
    table("authentik_events_event", 12),
    table("authentik_events_notification", 13),
    table("django_postgres_cache_cacheentry", 14),
    table("django_channels_postgres_message", 15),
    table("authentik_core_groupparentage", 16),
    table("authentik_tasks_task_id_seq", 17, kind="S"),
]
HANGING: list[dict[str, Any]] = [
    {"kind": "foreign key", "schema": "public", "name": "authentik_tasks_tasklog", "needs": 10},
    {"kind": "foreign key", "schema": "public", "name": "authentik_events_notification", "needs": 12},
    {"kind": "foreign key", "schema": "public", "name": "authentik_events_event", "needs": 12},
    {"kind": "materialized view", "schema": "public", "name": "authentik_core_groupancestry", "needs": 16},
]


@pytest.mark.parametrize(
    ("choices", "tables", "left_out"),
    [
        ([], [], []),
        (["cache"], [], ["public.django_postgres_cache_cacheentry"]),
        (["channels"], [], ["public.django_channels_postgres_message"]),
        (["system_tasks", "worker_status"], [], []),
        (["task_logs"], [], ["public.authentik_tasks_tasklog"]),
        (
            ["tasks", "task_logs"],
            [],
            ["public.authentik_tasks_task", "public.authentik_tasks_tasklog", "t_acme.authentik_tasks_task"],
        ),
        (
            ["events", "notifications"],
            [],
            ["public.authentik_events_event", "public.authentik_events_notification"],
        ),
        ([], ["t_acme.authentik_tasks_task"], ["t_acme.authentik_tasks_task"]),
        (["task_logs"], ["authentik_tasks_task"], [
            "public.authentik_tasks_task", "public.authentik_tasks_tasklog", "t_acme.authentik_tasks_task",
        ]),
    ],
)  # fmt: skip
def test_data_left_out(choices: list[str], tables: list[str], left_out: list[str]) -> None:
    found = _dump_plan.excluded_tables(TASKS, HANGING, choices, tables)
    assert sorted(relation.key for relation in found) == left_out


@pytest.mark.parametrize(
    ("choices", "tables", "said", "hint"),
    [
        (["tasks"], [], "public.authentik_tasks_tasklog refer to it", "add task_logs to exclude_data"),
        (["events"], [], "public.authentik_events_notification refer to it", "add notifications to exclude_data"),
        ([], ["authentik_core_groupparentage"], "materialized view public.authentik_core_groupancestry", "keep"),
        ([], ["public.authentik_core_groupparentag"], "is no table of this database", "schema.table"),
    ],
)
def test_what_could_not_be_restored_is_refused(choices: list[str], tables: list[str], said: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        _dump_plan.excluded_tables(TASKS, HANGING, choices, tables)
    assert said in caught.value.cause
    assert hint in caught.value.hint


def database(name: str, template: bool = False, connectable: bool = True, allowed: bool = True) -> dict[str, Any]:
    return {"name": name, "template": template, "connectable": connectable, "allowed": allowed}


SERVER = [
    database("template0", template=True, connectable=False),
    database("template1", template=True),
    database("postgres"),
    database("rdsadmin", allowed=False),
    database("app"),
    database("authentik"),
    database("closed", connectable=False),
]


def test_dumpall_takes_every_database_but_the_servers_own() -> None:
    chosen, warnings = _dump_plan.split_databases(SERVER, "authentik", [])
    assert chosen == ["authentik", "app"]
    assert warnings == ["database closed does not accept connections and is not saved"]


def test_dumpall_leaves_out_what_is_excluded_and_says_what_is_not_there() -> None:
    chosen, warnings = _dump_plan.split_databases(SERVER, "authentik", ["app", "gone", "closed"])
    assert chosen == ["authentik"]
    assert warnings == ["exclude_databases names gone, which the server does not have"]


def test_dumpall_saves_an_instance_that_lives_in_postgres() -> None:
    assert _dump_plan.split_databases(SERVER, "postgres", [])[0] == ["postgres", "app", "authentik"]


def test_dumpall_refuses_what_it_may_not_reach() -> None:
    with pytest.raises(InputError, match="may not connect to database secret"):
        _dump_plan.split_databases([*SERVER, database("secret", allowed=False)], "authentik", [])
    with pytest.raises(InputError, match="the instance's own"):
        _dump_plan.split_databases(SERVER, "authentik", ["authentik"])


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("pg_dump (PostgreSQL) 18.4\n", (18, "18.4")),
        ("pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n", (15, "15.20")),
        ("pg_dump (PostgreSQL) 19beta1\n", (19, "19beta1")),
        ("Error: You must install at least one postgresql-client-<version> package\n", None),
        ("", None),
    ],
)
def test_versions_as_programs_tell_them(said: str, version: tuple[int, str] | None) -> None:
    assert _tools.parse_version(said) == version


INSTALLS = [Install("/a", 18, "18.4"), Install("/b", 17, "17.6"), Install("/c", 15, "15.18")]


@pytest.mark.parametrize(("server", "directory"), [(18, "/a"), (17, "/b"), (16, "/b"), (15, "/c"), (12, "/c")])
def test_the_nearest_fitting_programs_are_chosen(server: int, directory: str) -> None:
    assert _tools.choose(INSTALLS, server).directory == directory


def test_too_old_programs_are_named_with_the_package_to_install() -> None:
    with pytest.raises(ToolError) as caught:
        _tools.choose(INSTALLS[1:], 18)
    assert "older than the server, which is PostgreSQL 18: 17.6 in /b, 15.18 in /c" in caught.value.cause
    assert "postgresql-client-18" in caught.value.hint
    with pytest.raises(ToolError, match="not installed"):
        _tools.choose([], 18)


def fake_program(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\necho '%s'\n" % says)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_installs_on_path_are_found_once_and_wrappers_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_program(tmp_path / "new", "pg_dump", "pg_dump (PostgreSQL) 99.1")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "pg_dump").symlink_to(tmp_path / "new" / "pg_dump")
    fake_program(tmp_path / "wrapped", "pg_wrapper", "pg_dump (PostgreSQL) 98.0")
    (tmp_path / "wrapped" / "pg_dump").symlink_to("pg_wrapper")
    fake_program(tmp_path / "broken", "pg_dump", "error while loading shared libraries")
    folders = [str(tmp_path / name) for name in ("link", "new", "wrapped", "broken")]
    monkeypatch.setenv("PATH", ":".join([*folders, "/usr/bin", "/bin"]))
    mine = [install for install in _tools.find_installs() if install.directory.startswith(str(tmp_path))]
    assert mine == [Install(str(tmp_path / "link"), 99, "99.1")]
    assert _tools.find_installs()[0].major == 99


def test_bin_dir_alone_counts(tmp_path: Path) -> None:
    fake_program(tmp_path, "pg_dump", "pg_dump (PostgreSQL) 17.0")
    assert _tools.find_installs("pg_dump", str(tmp_path)) == [Install(str(tmp_path), 17, "17.0")]
    with pytest.raises(InputError, match="holds no working pg_restore"):
        _tools.find_installs("pg_restore", str(tmp_path))


def test_unreadable_relations_are_all_named() -> None:
    relations = [
        table("a"),
        table("b", readable=False),
        table("Odd", readable=False),
        table("s", kind="S", readable=False),
    ]
    with pytest.raises(StateError) as caught:
        _catalog.check_readable(relations, "backup")
    assert caught.value.cause == 'role backup may not read tables public.b, public."Odd" and sequences public.s'
    assert 'TO "backup"' in caught.value.command
    _catalog.check_readable(relations[:1], "backup")


def test_long_lists_of_names_are_cut() -> None:
    assert _catalog.names([str(n) for n in range(20)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more"
