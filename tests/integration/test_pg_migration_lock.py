# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""authentik's migrations and the exchange of databases: none is cut in two, none begins half way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _client, _restore_swap
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import (
    AdminOptions,
    Request,
)
from tests.support.pg_sets import CWD, RESTORE_ID, SUFFIX, admin_options, arguments, command, make_set, restore
from tests.support.postgres import Database, Server

NEW, BEFORE = "authentik_new_" + SUFFIX, "authentik_before_" + SUFFIX
HELD = (
    "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' "
    "AND l.objid = 1000 AND l.granted AND a.application_name = 'authentik_ops.recovery'"
)
# As authentik does it: the lock in a session of its own, then steps that are committed one by one.
MIGRATION = """
SELECT pg_advisory_lock(1000);
INSERT INTO migrated VALUES ('{name}', 'begun');
SELECT pg_sleep({seconds});
INSERT INTO migrated VALUES ('{name}', 'done');
SELECT pg_advisory_unlock(1000);
"""
HALF = "SELECT count(*) FROM migrated GROUP BY name HAVING count(*) = 1"


@pytest.fixture
def prepared(database18: Database, tmp_path: Path) -> Database:
    """A database with a copy prepared beside it."""
    database18.psql("CREATE TABLE migrated (name text, step text)")
    folder = make_set(tmp_path / "set", database18)
    result = restore(database18, "prepare", folder)
    assert not result.get("failed"), result
    return database18


@contextmanager
def migration(database: Database, seconds: float, user: str = "", password: str = "") -> Iterator[int]:
    """Run a migration in the live database, and give the process id of its session."""
    server = database.server
    psql = [str(server.bin / "psql"), "-X", "-q", "-A", "-t", "-d", database.name]
    env = dict(server.environment(user or database.owner, password or database.password), PGAPPNAME="authentik migrate")
    with subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as session:
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write(("SELECT pg_backend_pid();" + MIGRATION.format(name="long", seconds=seconds)).encode())
        session.stdin.close()
        pid = int(session.stdout.readline())
        wait_for(lambda: database.admin("SELECT count(*) FROM migrated") == "1")
        try:
            yield pid
        finally:
            database.server.psql("SELECT pg_terminate_backend(%d)" % pid)


def wait_for(ready: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def alive(server: Server, pid: int) -> bool:
    return server.psql("SELECT count(*) FROM pg_stat_activity WHERE pid = %d" % pid) == "1"


def test_a_migration_is_not_cut_in_two(prepared: Database) -> None:
    with migration(prepared, 600) as pid:
        result = restore(prepared, "swap", None, migration_timeout=1)
        assert alive(prepared.server, pid), "the migration was ended"
        assert prepared.server.databases() == ["authentik", NEW]
    assert result["failed"]
    who = "pid %d, role authentik, application authentik migrate, client 127.0.0.1" % pid
    assert who in result["msg"]
    assert "within 1 seconds" in result["msg"]
    assert "Nothing was exchanged" in result["msg"]
    shown = result["msg"][result["msg"].index("SELECT a.pid") :].splitlines()[0]
    with migration_again(prepared) as again:
        assert prepared.server.psql(shown).startswith("%d|authentik|authentik migrate|127.0.0.1|" % again)
    assert not restore(prepared, "swap", None).get("failed")
    assert prepared.server.databases() == ["authentik", BEFORE]


@contextmanager
def migration_again(database: Database) -> Iterator[int]:
    database.psql("TRUNCATE migrated")
    with migration(database, 600) as pid:
        yield pid


def test_the_swap_waits_for_the_end_of_a_migration(prepared: Database) -> None:
    with migration(prepared, 2):
        began = time.monotonic()
        result = restore(prepared, "swap", None, migration_timeout=30)
    assert not result.get("failed"), result
    assert time.monotonic() - began > 1
    assert result["cut_over_seconds"] < 1.5, "waiting for a migration is not an outage"
    prepared.server.psql("ALTER DATABASE %s ALLOW_CONNECTIONS true" % BEFORE)
    assert prepared.server.psql("SELECT count(*) FROM migrated", BEFORE) == "2", "it was finished"


def test_undo_does_not_cut_a_migration_in_two_either(prepared: Database) -> None:
    assert not restore(prepared, "swap", None).get("failed")
    with migration(prepared, 600) as pid:
        result = restore(prepared, "undo", None, migration_timeout=1)
        assert "pid %d," % pid in result["msg"]
        assert alive(prepared.server, pid)
        assert prepared.server.databases() == ["authentik", BEFORE]
    assert not restore(prepared, "undo", None).get("failed")
    assert BEFORE not in prepared.server.databases()


@pytest.mark.parametrize("client", ["psycopg2", "psql"])
def test_clients_that_keep_coming_to_migrate(prepared: Database, monkeypatch: pytest.MonkeyPatch, client: str) -> None:
    """Whoever waits for the lock while databases are exchanged gets it in the new one, or in the old one before."""
    if client == "psql":
        monkeypatch.setattr(_client, "psycopg2", None)
    else:
        pytest.importorskip("psycopg2")
    server = prepared.server
    stop = threading.Event()

    def hammer(number: int, user: str, password: str) -> None:
        psql = [str(server.bin / "psql"), "-X", "-q", "-d", "authentik"]
        turn = 0
        while not stop.is_set():
            turn += 1
            sql = MIGRATION.format(name="%d-%d" % (number, turn), seconds=0.1)
            environment = server.environment(user, password)
            subprocess.run(psql, input=sql.encode(), env=environment, capture_output=True, check=False)

    logins = [(prepared.owner, prepared.password), ("postgres", server.password)] * 2
    threads = [threading.Thread(target=hammer, args=(number, *login)) for number, login in enumerate(logins)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: int(prepared.admin("SELECT count(*) FROM migrated")) > 8)
        options = AdminOptions("postgres", server.password)
        request = Request(prepared.settings(), RESTORE_ID, options, bin_dir=str(server.bin))
        result = _restore_swap.swap(request, ["authentik"])
        wait_for(lambda: int(prepared.admin("SELECT count(*) FROM migrated")) > 8)
        undone = _restore_swap.undo(request, ["authentik"], keep_undone=True)
        wait_for(lambda: int(prepared.admin("SELECT count(*) FROM migrated")) > 8)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert result["renamed"] == [["authentik", BEFORE], [NEW, "authentik"]]
    assert len(undone["renamed"]) == 2
    assert max(result["cut_over_seconds"], undone["cut_over_seconds"]) < 5
    for name in server.databases():
        assert server.psql(HALF, name) == "", "a migration in %s was cut in two" % name


def test_who_holds_it_is_told_as_far_as_the_role_may_see(prepared: Database) -> None:
    server = prepared.server
    password = server.create_role("operator", options="CREATEDB")
    server.psql("GRANT authentik TO operator")
    boss = server.create_role("boss", superuser=True)
    with migration(prepared, 600, "boss", boss) as pid:
        given: dict[str, Any] = {"admin_user": "operator", "admin_password": password, "migration_timeout": 0}
        result = restore(prepared, "swap", None, **given)
        assert "pid %d, role boss, application authentik migrate, client hidden" % pid in result["msg"]
    assert not restore(prepared, "swap", None, **given).get("failed")


def test_the_lock_is_held_until_everybody_else_is_out_and_goes_with_a_killed_module(prepared: Database) -> None:
    server = prepared.server
    password = server.create_role("operator", options="CREATEDB")
    server.psql("GRANT authentik TO operator")
    login = {**admin_options(server), "admin_user": "operator", "admin_password": password}
    stubborn = [str(server.bin / "psql"), "-X", "-q", "-A", "-t", "-d", "authentik"]
    with subprocess.Popen(
        stubborn, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=server.environment()
    ) as session:  # a superuser's, which this operator cannot end
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write(b"SELECT 1;\n")
        session.stdin.flush()
        session.stdout.readline()
        refused = restore(prepared, "swap", None, **login)
        assert "could not be ended" in refused["msg"]
        assert server.databases() == ["authentik", NEW]

        module = subprocess.Popen(command(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=CWD)
        assert module.stdin is not None
        module.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments(prepared, "swap", None, **login)}).encode())
        module.stdin.close()
        renaming = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ~ '^ALTER DATABASE'"
        wait_for(lambda: server.psql(renaming) == "1")
        assert server.psql(HELD) == "1", "a migration could begin now"
        os.kill(module.pid, signal.SIGKILL)
        module.wait()
        wait_for(lambda: server.psql(HELD) == "0")
        session.stdin.close()
    wait_for(lambda: server.psql(renaming) == "0")
    assert server.databases() == ["authentik", NEW]
    assert not restore(prepared, "swap", None, **login).get("failed"), "and the next run finds nothing in its way"


def test_a_live_database_that_takes_no_connections_can_be_replaced(prepared: Database) -> None:
    prepared.server.psql("ALTER DATABASE authentik ALLOW_CONNECTIONS false")
    result = restore(prepared, "swap", None)
    assert not result.get("failed"), result
    assert any("authentik takes no connections" in str(warning) for warning in result["warnings"])
    assert prepared.psql("SELECT count(*) FROM migrated") == "0"


def test_databases_that_are_not_authentiks_wait_for_no_migration(fresh18: Server, tmp_path: Path) -> None:
    own = fresh18.create_database(superuser=True)
    own.psql("CREATE TABLE migrated (name text, step text)")
    fresh18.create_database("wiki", "wiki").psql("CREATE TABLE page (title text)")
    folder = make_set(tmp_path / "set", own, method="dumpall")
    login: dict[str, Any] = {"admin_user": None, "admin_password": None, "migration_timeout": 0}
    with migration(own, 600):
        for step in ("prepare", "swap"):
            result = restore(own, step, folder, databases=["wiki"], **login)
            assert not result.get("failed"), result
        assert "wiki_before_" + SUFFIX in fresh18.databases()


def test_check_tells_of_a_migration(prepared: Database, tmp_path: Path) -> None:
    with migration(prepared, 600) as pid:
        result = restore(prepared, "check", tmp_path / "set", restore_id="20261124T130000Z-0a1b")
    assert any("pid %d," % pid in str(warning) for warning in result["warnings"]), result
    assert restore(prepared, "swap", None, migration_timeout=-1)["msg"].startswith("migration_timeout is negative")
