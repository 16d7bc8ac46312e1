# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A database that is dropped before its copy is loaded: no two at a time, and nothing by mistake."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_pg_migration_lock import migration
from tests.support import authentik_data, oracle
from tests.support.pg_sets import CWD, SUFFIX, admin_options, arguments, make_set, restore
from tests.support.postgres import Database

BEFORE, NEW = "authentik_before_" + SUFFIX, "authentik_new_" + SUFFIX
PLACE: dict[str, Any] = {"mode": "in_place"}
# The module as a program that is killed when it drops a database.
KILLED = """
import os
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _restore_admin
from ansible_collections.authentik_ops.recovery.plugins.modules import authentik_pg_restore
_restore_admin.Admin.drop = lambda self, name: os.kill(os.getpid(), 9)
authentik_pg_restore.main()
"""


@pytest.fixture
def filled(database18: Database) -> Database:
    authentik_data.load(database18.psql, rows=120)
    return database18


def done(result: dict[str, Any]) -> dict[str, Any]:
    """A step that has to work."""
    assert not result.get("failed"), result
    return result


@contextmanager
def watched(database: Database) -> Iterator[list[set[str]]]:
    """Which databases there are, looked at all the time."""
    seen: list[set[str]] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.append(set(database.server.databases()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def test_the_copy_is_loaded_when_the_live_one_is_gone(filled: Database, tmp_path: Path) -> None:
    picture = oracle.take(filled.server, "authentik")
    folder = make_set(tmp_path / "set", filled)
    filled.psql("DELETE FROM authentik_core_token")
    told = done(restore(filled, "check", folder, **PLACE))["plan"]
    assert any("is DROPPED before the copy is loaded" in line for line in told)
    assert not any("stays as" in line for line in told)
    check = done(restore(filled, "clear", folder, check=True, **PLACE))
    assert (check["changed"], check["dropped"]) == (True, ["authentik"])
    assert filled.server.databases() == ["authentik"]
    with watched(filled) as seen:
        assert done(restore(filled, "clear", folder, **PLACE))["dropped"] == ["authentik"]
        assert filled.server.databases() == []
        assert not done(restore(filled, "clear", folder, **PLACE))["changed"]
        done(restore(filled, "prepare", folder, **PLACE))
        result = done(restore(filled, "swap", folder, **PLACE))
    assert len(seen) > 20
    assert max(map(len, seen)) == 1, "two of them were there at the same time"
    assert any("authentik_load_" + SUFFIX in names for names in seen)
    assert result["renamed"] == [[NEW, "authentik"]]
    assert filled.server.databases() == ["authentik"]
    assert oracle.differences(picture, oracle.take(filled.server, "authentik")) == []


def test_a_database_is_only_dropped_where_that_was_asked_for(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    for step, options, said in (
        ("clear", {}, "which side by side is kept"),
        ("prepare", PLACE, "run the step clear"),
        ("check", {**PLACE, "after_restore": {"keep_disabled": True}}, "do not go together"),
        ("check", {**PLACE, "restore_as": "look"}, "do not go together"),
        ("clear", {"restore_as": "look"}, "has no step clear"),
    ):
        result = restore(filled, step, folder, **options)
        assert result.get("failed"), (step, options)
        assert said in result["msg"]
        assert filled.server.databases() == ["authentik"]


def test_killed_before_the_drop_it_comes_back_by_its_name(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    filled.psql("DELETE FROM authentik_core_token")
    picture = oracle.take(filled.server, "authentik")
    given = arguments(filled, "clear", folder, **admin_options(filled.server), **PLACE)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": given}),
        text=True,
        check=False,
        cwd=CWD,
        capture_output=True,
    )
    assert killed.returncode == -9, killed.stderr
    assert filled.server.databases() == [BEFORE]
    refused = restore(filled, "prepare", folder, **PLACE)
    assert BEFORE in refused["msg"], "as long as it is there, a copy would be a second one"
    assert done(restore(filled, "undo", None))["renamed"] == [[BEFORE, "authentik"]]
    assert oracle.differences(picture, oracle.take(filled.server, "authentik")) == []


def test_a_migration_is_not_dropped_away(filled: Database, tmp_path: Path) -> None:
    filled.psql("CREATE TABLE migrated (name text, step text)")
    folder = make_set(tmp_path / "set", filled)
    with migration(filled, 600):
        result = restore(filled, "clear", folder, migration_timeout=0, **PLACE)
    assert "authentik migrates database authentik" in result["msg"]
    assert filled.server.databases() == ["authentik"]
