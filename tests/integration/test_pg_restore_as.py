# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A database under another name: complete and proved, and the live one is as if nothing had been."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_pg_restore_faults import LOAD, blocked_load, connected, wait_for
from tests.integration.test_pg_restore_versions import set_of
from tests.support import authentik_data, oracle
from tests.support.pg_sets import (
    CWD,
    admin_options,
    arguments,
    command,
    make_set,
    read_manifest,
    restore,
    write_manifest,
)
from tests.support.postgres import Database, Server

LOOK = "look at it"


@pytest.fixture
def filled(database18: Database) -> Database:
    authentik_data.load(database18.psql, rows=40, tenants=())
    return database18


def identity(database: Database) -> str:
    return database.admin("SELECT oid FROM pg_database WHERE datname = 'authentik'")


def test_a_copy_beside_the_live_database(filled: Database, tmp_path: Path) -> None:
    server = filled.server
    saved = oracle.take(server, "authentik")
    folder = make_set(tmp_path / "set", filled)
    filled.psql("DELETE FROM authentik_events_notification")
    live, oid = oracle.take(server, "authentik"), identity(filled)
    psql = [str(server.bin / "psql"), "-X", "-q", "-A", "-t", "-d", "authentik"]
    environment = server.environment(filled.owner, filled.password)
    with subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"SELECT pg_advisory_lock(1000);\n")  # no concern of this restore
        client.stdin.flush()
        client.stdout.readline()
        plan = restore(filled, "check", folder, restore_as=LOOK)
        assert "database authentik is not touched, and no service is stopped" in plan["plan"]
        assert not any("authentik_before_" in line for line in plan["plan"])
        result = restore(filled, "prepare", folder, restore_as=LOOK)
        client.stdin.write(b"SELECT 'still here';\n")
        client.stdin.close()
        assert client.stdout.read() == b"still here\n", "somebody who uses the live database lost the connection"

    assert not result.get("failed"), result
    assert result["databases"][0]["copy"] == LOOK
    assert server.databases() == ["authentik", LOOK]
    assert oracle.differences(saved, oracle.take(server, LOOK)) == []
    assert oracle.differences(live, oracle.take(server, "authentik")) == []
    assert identity(filled) == oid

    argv = shlex.split(result["databases"][0]["drop_command"])
    subprocess.run([str(server.bin / "psql"), *argv[1:]], env=server.environment(), check=True)
    assert server.databases() == ["authentik"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("authentik", "is the name of a live database"),
        ("taken", "the server has a database taken"),
        ("postgres", "the server has a database postgres"),
        ("", "is empty"),
        (" look", "blanks"),
        ("x\ny", "cannot be seen"),
        ("ü" * 32, "longer than 63 bytes"),
        ("authentik_new_20260102t000000z_ffff", "has the form of the names that restores give"),
    ],
)
def test_names_that_cannot_be(database18: Database, tmp_path: Path, name: str, words: str) -> None:
    database18.psql("CREATE TABLE t ()")
    database18.server.psql("CREATE DATABASE taken")
    folder = make_set(tmp_path / "set", database18)
    for step in ("check", "prepare"):
        assert words in restore(database18, step, folder, restore_as=name)["msg"]
    assert database18.server.databases() == ["authentik", "taken"]


def test_what_makes_no_sense(fresh18: Server, tmp_path: Path) -> None:
    own = fresh18.create_database(superuser=True)
    fresh18.create_database("wiki", "wiki").psql("CREATE TABLE page AS SELECT 1 AS a")
    folder = make_set(tmp_path / "set", own, method="dumpall")
    login: dict[str, Any] = {"admin_user": None, "admin_password": None, "restore_as": LOOK}
    assert "databases names 2" in restore(own, "prepare", folder, databases=["authentik", "wiki"], **login)["msg"]
    for step in ("swap", "undo"):
        assert "restore_as has no step " + step in restore(own, step, folder, **login)["msg"]
    assert fresh18.databases() == ["authentik", "wiki"]
    assert not restore(own, "prepare", folder, databases=["wiki"], **login).get("failed")
    assert fresh18.psql("SELECT a FROM page", LOOK) == "1"


def test_a_set_of_any_version_can_be_looked_at(filled: Database, tmp_path: Path) -> None:
    folder = set_of(tmp_path / "set", filled, "2024.10.1")
    assert restore(filled, "check", folder, authentik_version="2026.8.1")["failed"]
    result = restore(filled, "prepare", folder, authentik_version="2026.8.1", restore_as=LOOK)
    assert not result.get("failed"), result
    assert any("one release train at a time" in str(warning) for warning in result["warnings"])


def test_a_prepared_restore_keeps_its_copy(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    assert not restore(filled, "prepare", folder).get("failed")
    later: dict[str, Any] = {"restore_id": "20261124T130000Z-0a1b", "restore_as": LOOK}
    assert not restore(filled, "prepare", folder, **later).get("failed")
    assert not restore(filled, "swap", folder).get("failed"), "its copy was taken away"


def test_a_copy_that_differs_is_dropped(filled: Database, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", filled)
    record = read_manifest(folder)["components"]["postgresql"]
    record["fingerprint"]["tables"]["public.authentik_core_user"]["rows"] += 1
    write_manifest(folder, record)
    assert restore(filled, "prepare", folder, restore_as=LOOK)["error"] == "IntegrityError"
    assert filled.server.databases() == ["authentik"]


@pytest.mark.parametrize("again", [LOOK, None])
def test_what_a_killed_one_leaves_is_cleared_by_the_next_restore(
    filled: Database, tmp_path: Path, again: str | None
) -> None:
    server = filled.server
    folder = make_set(tmp_path / "set", filled)
    options = {**admin_options(server), "restore_as": LOOK}
    with blocked_load(server):
        module = subprocess.Popen(command(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=CWD)
        assert module.stdin is not None
        given = {"ANSIBLE_MODULE_ARGS": arguments(filled, "prepare", folder, **options)}
        module.stdin.write(json.dumps(given).encode())
        module.stdin.close()
        wait_for(lambda: LOAD in server.databases() and connected(server, LOAD))
        os.kill(module.pid, signal.SIGKILL)
        module.wait()
    wait_for(lambda: not connected(server, LOAD))
    assert server.databases() == ["authentik", LOAD]
    later: dict[str, Any] = {"restore_id": "20261124T130000Z-0a1b", "restore_as": again}
    assert not restore(filled, "prepare", folder, **later).get("failed")
    assert server.databases() == sorted(["authentik", again or "authentik_new_20261124t130000z_0a1b"])
