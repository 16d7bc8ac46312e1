# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL in a real container, with its programs inside: saved, restored and proved, and nothing left running."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _files, _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    InputError,
    IntegrityError,
    RecoveryError,
    ToolError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import (
    _client,
    _dump,
    _restore,
    _restore_set,
    _restore_swap,
    _tools,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import (
    AdminOptions,
    Request,
)
from tests.support import authentik_data, oracle
from tests.support.pg_container import SUPERUSER, PgContainer
from tests.support.pg_sets import RESTORE_ID, SUFFIX, write_manifest
from tests.system.pg_processes import client_of, finish, job, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.docker_engine import Engine

pytestmark = pytest.mark.system

PRINTABLE = "".join(chr(code) for code in range(32, 127))
SUITES = {"bullseye": 13, "bookworm": 15}

# An index that takes its time in copies only: a restore is past all of its input then.
LATE = """
CREATE FUNCTION public.slow(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF current_database() LIKE '%\\_load\\_%' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'slow_index') THEN
        PERFORM pg_sleep(300);
    END IF;
    RETURN n;
END $$;
CREATE TABLE public.late (n int);
INSERT INTO public.late VALUES (1);
CREATE INDEX late_index ON public.late (public.slow(n));
"""

# More than all pipes on the way hold.
BULK = """
CREATE TABLE public.bulk AS SELECT n, (SELECT string_agg(sha256((n || '-' || i)::bytea), ''::bytea)
    FROM generate_series(1, 3200) AS i) AS data FROM generate_series(1, 200) AS n;
"""


@pytest.fixture(scope="module", params=sorted(SUITES))
def anywhere(request: pytest.FixtureRequest, engine: Engine) -> Iterator[PgContainer]:
    """A server of each version with authentik's data, which the tests leave as it is."""
    yield from started(engine, request.param, "db-%s" % request.param)


@pytest.fixture(scope="module")
def db(engine: Engine) -> Iterator[PgContainer]:
    """One more, for what does not depend on the version."""
    yield from started(engine, "bookworm", "db-main")


@pytest.fixture(scope="module")
def bulky(db: PgContainer) -> PgContainer:
    """The same with some 20 MB."""
    db.owner(BULK)
    return db


def started(engine: Engine, suite: str, name: str) -> Iterator[PgContainer]:
    made = PgContainer(engine, suite, name)
    made.psql("CREATE ROLE readonly")
    made.psql("CREATE EXTENSION amcheck", "authentik")
    authentik_data.load(made.owner, rows=200)
    made.owner(LATE + "GRANT SELECT ON authentik_core_user TO readonly;")
    yield made
    assert made.left_behind() == []
    made.engine.remove(made.id)


def save(server: PgContainer, folder: Path, settings: Any = None, **options: Any) -> Path:
    """Dump the database into a set."""
    settings = settings or server.settings()
    wanted = _dump.Options(**options)
    record = _dump.dump(settings, _dump.make_plan(settings, wanted), wanted, _files.DirectorySink(str(folder)))
    return write_manifest(folder, record)


def databases_in(folder: Path) -> tuple[list[_restore_set.SetDatabase], _files.DirectorySource]:
    manifest = json.loads((folder / "manifest.json").read_text())
    databases = _restore_set.databases_of(manifest, [], "authentik", "authentik")
    return databases, _files.DirectorySource(str(folder), manifest["artifacts"])


def test_dump_restore_swap_undo(anywhere: PgContainer, tmp_path: Path) -> None:
    before = oracle.take(anywhere, "authentik")
    folder = save(anywhere, tmp_path / "set")
    anywhere.owner(
        "DROP TABLE public.late; DELETE FROM authentik_core_token; UPDATE authentik_events_event SET action = 'x'"
    )
    damaged = oracle.take(anywhere, "authentik")
    databases, source = databases_in(folder)
    request = Request(anywhere.settings(), RESTORE_ID)

    checked = _restore.check(request, databases, source)
    plan = " ".join(checked["plan"])
    assert "created and renamed by role boss over the socket in container %s" % anywhere.name in plan
    assert "the superuser creates the extension amcheck first" in plan
    assert "/var/lib/postgresql/data has " in plan  # free space, seen from inside
    assert checked["databases"][0]["tool"].startswith("pg_restore %d." % SUITES[anywhere.suite])
    assert anywhere.databases() == ["authentik", "postgres"]

    _restore.prepare(request, databases, source)
    assert oracle.differences(damaged, oracle.take(anywhere, "authentik")) == []
    swapped = _restore_swap.swap(request, ["authentik"])
    assert ["authentik_new_" + SUFFIX, "authentik"] in swapped["renamed"]
    assert oracle.differences(before, oracle.take(anywhere, "authentik")) == []

    _restore_swap.undo(request, ["authentik"], keep_undone=True)
    assert oracle.differences(damaged, oracle.take(anywhere, "authentik")) == []
    assert anywhere.left_behind() == []
    anywhere.psql('DROP DATABASE authentik; ALTER DATABASE "authentik_undone_%s" RENAME TO authentik' % SUFFIX)
    assert oracle.differences(before, oracle.take(anywhere, "authentik")) == []


@pytest.mark.parametrize(
    "password", [PRINTABLE, " lead and trail ", "Pässwörd €😀", "$HOME `id` $(id) \\n\\\\", "x" * 900]
)
def test_awkward_passwords(db: PgContainer, password: str) -> None:
    literal = "E'%s'" % password.replace("\\", "\\\\").replace("'", "\\'")
    db.psql("ALTER ROLE authentik PASSWORD " + literal)
    over_tcp = db.settings(host="127.0.0.1", password=password)
    with _client.connect(over_tcp) as session:
        assert session.rows("SELECT inet_server_addr() IS NOT NULL AS tcp, current_user AS me") == [
            {"tcp": True, "me": "authentik"}
        ]
        words = db.sh("cat /proc/[0-9]*/cmdline").encode() + b"".join(
            path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
        )
        assert password.encode() not in words
    with pytest.raises(ConnectError, match="password authentication failed"):
        _client.connect(db.settings(host="127.0.0.1", password=password[:-1] + "~~"))


def test_a_password_that_cannot_be_passed_on_is_refused(db: PgContainer) -> None:
    with pytest.raises(InputError, match="database password holds bytes that are no UTF-8"):
        _client.connect(db.settings(host="127.0.0.1", password="caf\udce9"))


def test_psycopg2_is_never_used(db: PgContainer) -> None:
    with _client.connect(db.settings()) as session:
        assert session.client == "psql"
    with pytest.raises(InputError, match="psycopg2 cannot be used inside a container"):
        _client.connect(db.settings(), client="psycopg2")


def test_programs_run_as_the_user_that_is_named(db: PgContainer) -> None:
    with pytest.raises(ConnectError, match="Peer authentication failed") as caught:
        _client.connect(db.settings(user="postgres"))
    assert "postgresql_run_as" in caught.value.hint
    with _client.connect(db.settings(user="postgres", run_as="postgres")) as session:
        assert session.rows("SELECT current_user AS me") == [{"me": "postgres"}]
    with pytest.raises(ConnectError, match="container db-main has no user nobody-such"):
        _client.connect(db.settings(run_as="nobody-such"))


def test_a_refused_login_shows_a_command_that_works(db: PgContainer) -> None:
    with pytest.raises(ConnectError, match="the default socket in container db-main") as caught:
        _client.connect(db.settings(), "nowhere")
    assert " exec -it db-main psql " in caught.value.command
    # The server's own complaint, not one of the command.
    with pytest.raises(subprocess.CalledProcessError) as refused:
        db.command_as_shown(caught.value.command.replace("psql", "env -u PGSERVICE -u PGHOST -u PGOPTIONS psql", 1))
    assert 'database "nowhere" does not exist' in refused.value.stderr


def test_programs_of_a_folder_inside(db: PgContainer) -> None:
    folder = "/usr/lib/postgresql/15/bin"
    found = _tools.installed(db.settings(), "pg_dump", folder)[0]
    assert found.path("pg_dump") == folder + "/pg_dump"
    assert _tools.choose([found], 15).version.startswith("15.")
    with _client.connect(db.settings(), bin_dir=folder) as session:
        assert session.rows("SELECT 1 AS one") == [{"one": 1}]
    with pytest.raises(InputError, match="/opt/none in container db-main holds no working pg_dump"):
        _tools.installed(db.settings(), "pg_dump", "/opt/none")
    with pytest.raises(ToolError, match="pg_restore is too old for what PostgreSQL 18 made"):
        _tools.choose([found], 18, "pg_restore")


def test_a_host_without_zstd(db: PgContainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_zstd = save(db, tmp_path / "zstd")
    assert (with_zstd / "postgresql" / "authentik.dump.zst").exists()
    real = _process.find_program
    monkeypatch.setattr(_process, "find_program", lambda name, *dirs: None if name == "zstd" else real(name, *dirs))
    without = save(db, tmp_path / "gzip")
    assert sorted(path.name for path in (without / "postgresql").iterdir()) == ["authentik.dump", "globals.sql"]
    request = Request(db.settings(), RESTORE_ID)
    for folder in (without, with_zstd):
        _restore.check(request, *databases_in(folder))  # a set made elsewhere: with the container's own zstd
    db.sh("mv /usr/bin/zstd /usr/bin/zstd.away")
    try:
        _restore.check(request, *databases_in(without))
        with pytest.raises(ToolError, match="zstd is not installed on this host, nor in container db-main") as caught:
            _restore.check(request, *databases_in(with_zstd))
        assert "install the package zstd on this host" in caught.value.hint
    finally:
        db.sh("mv /usr/bin/zstd.away /usr/bin/zstd")


def test_nobody_who_may_create_databases(db: PgContainer, tmp_path: Path) -> None:
    folder = save(db, tmp_path / "set")
    db.psql("CREATE ROLE spare SUPERUSER LOGIN PASSWORD 'spare'; ALTER ROLE boss NOLOGIN", user=SUPERUSER)
    try:
        with pytest.raises(RecoveryError, match=r"Tried the application's login.* role boss over the socket") as caught:
            _restore.check(Request(db.settings(), RESTORE_ID), *databases_in(folder))
        assert "admin_user" in caught.value.hint
        assert "a user of the container" in caught.value.hint
        request = Request(db.settings(), RESTORE_ID, AdminOptions("spare", "spare"))
        assert "role spare" in " ".join(_restore.check(request, *databases_in(folder))["plan"])
    finally:
        with _client.connect(db.settings(user="spare"), "postgres") as session:
            session.execute("ALTER ROLE boss LOGIN")
        db.psql("DROP ROLE spare")


def test_a_killed_query_ends_on_the_server(anywhere: PgContainer) -> None:
    process = job(anywhere, "query", sql="SELECT pg_sleep(1000)")
    wait_for(lambda: any("active" in line for line in anywhere.sessions()), process)
    process.kill()
    finish(process)
    anywhere.wait_until_clean()


def test_a_killed_dump_ends_and_gives_up_its_locks(bulky: PgContainer, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    process = job(bulky, "dump", folder=str(tmp_path / "set"), gate=str(gate))
    wait_for((tmp_path / "gate.reached").exists, process)
    assert "pg_dump" in bulky.left_behind()
    process.kill()
    finish(process)
    bulky.wait_until_clean()
    # What a dump that goes on would block: authentik's next migration.
    bulky.owner("SET lock_timeout = '1s'; ALTER TABLE public.late ADD COLUMN m int; ALTER TABLE public.late DROP m")


def test_a_restore_killed_while_it_reads(bulky: PgContainer, tmp_path: Path) -> None:
    folder = save(bulky, tmp_path / "set")
    process = job(bulky, "prepare", folder=str(folder), gate=str(tmp_path / "gate"), restore_id=RESTORE_ID)
    wait_for((tmp_path / "gate.reached").exists, process)
    assert "authentik_load_" + SUFFIX in bulky.databases()
    assert "pg_restore" in bulky.left_behind()
    process.kill()
    finish(process)
    bulky.wait_until_clean()
    _restore.prepare(Request(bulky.settings(), RESTORE_ID), *databases_in(folder))  # clears what is left
    undone = _restore_swap.undo(Request(bulky.settings(), RESTORE_ID), ["authentik"], keep_undone=False)
    assert undone["dropped"] == ["authentik_new_" + SUFFIX]
    assert bulky.databases() == ["authentik", "postgres"]


def test_a_restore_killed_after_all_of_its_input(db: PgContainer, tmp_path: Path) -> None:
    folder = save(db, tmp_path / "set")
    db.psql("CREATE ROLE slow_index")
    try:
        process = job(db, "prepare", folder=str(folder), restore_id=RESTORE_ID)
        wait_for(lambda: any("CREATE INDEX late_index" in line for line in db.sessions()), process)
        process.kill()
        finish(process)
        db.wait_until_clean()
    finally:
        db.psql("DROP ROLE slow_index")
    _restore_swap.undo(Request(db.settings(), RESTORE_ID), ["authentik"], keep_undone=False)
    assert db.databases() == ["authentik", "postgres"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_client_fails_the_dump_and_leaves_nothing(bulky: PgContainer, tmp_path: Path, number: int) -> None:
    gate = tmp_path / "gate"
    process = job(bulky, "dump", folder=str(tmp_path / "set"), gate=str(gate))
    wait_for((tmp_path / "gate.reached").exists, process)
    os.kill(client_of(process, "--format=custom"), number)
    gate.touch()
    said = finish(process)
    assert process.returncode == 1
    assert "ToolError" in said
    assert "pg_dump" in said
    assert bulky.left_behind() == []
    assert not [path for path in (tmp_path / "set").rglob("*") if path.is_file()]


CUT = """#!/bin/sh
case " $* " in
*" %s "*) %s ;;
esac
exec %s "$@"
"""


@pytest.mark.parametrize(
    ("word", "how"),
    [("--format=custom", '"%s" "$@" | head -c 30000; exit 0'), ("--globals-only", '"%s" "$@" | head -c 300; exit 0')],
)
def test_a_stream_that_ends_early_is_no_dump(bulky: PgContainer, tmp_path: Path, word: str, how: str) -> None:
    settings = through(bulky, tmp_path / "docker", word, how)
    with pytest.raises(IntegrityError, match="not whole"):
        save(bulky, tmp_path / "set", settings)
    assert bulky.left_behind() == []


def test_input_that_ends_early_leaves_no_copy(bulky: PgContainer, tmp_path: Path) -> None:
    folder = save(bulky, tmp_path / "set")
    settings = through(bulky, tmp_path / "docker", "--exit-on-error", 'head -c 30000 | "%s" "$@"; exit $?')
    with pytest.raises(RecoveryError, match="could not be loaded") as caught:
        _restore.prepare(Request(settings, RESTORE_ID), *databases_in(folder))
    assert "the live database is untouched" in caught.value.hint
    assert bulky.databases() == ["authentik", "postgres"]
    assert bulky.left_behind() == []


def through(server: PgContainer, script: Path, word: str, how: str) -> Any:
    """Return settings whose Docker client is a script, which treats the commands with this argument in its own way."""
    script.write_text(CUT % (word, how % server.docker[0], server.docker[0]))
    script.chmod(0o755)
    plain = server.settings()
    assert plain.container is not None
    docker = (str(script), *server.docker[1:])
    return dataclasses.replace(plain, container=dataclasses.replace(plain.container, docker=docker))


def test_a_container_stopped_in_the_middle(engine: Engine, tmp_path: Path) -> None:
    server = PgContainer(engine, "bookworm", "db-stopped")
    server.owner(BULK)
    gate = tmp_path / "gate"
    process = job(server, "dump", folder=str(tmp_path / "set"), gate=str(gate))
    wait_for((tmp_path / "gate.reached").exists, process)
    engine.run("kill", server.id)
    gate.touch()
    said = finish(process)
    assert process.returncode == 1, said
    assert "pg_dump" in said
    assert re.search("exit status 137|server closed the connection", said), said
    assert not [path for path in (tmp_path / "set").rglob("*") if path.is_file()]

    # Until the engine knows that it ended, a start does nothing.
    engine.run("wait", server.id)
    with pytest.raises(ConnectError, match="container db-stopped is not running") as caught:
        _client.connect(server.settings())
    assert server.command_as_shown(caught.value.command).strip() == "db-stopped"
    server.wait()
    save(server, tmp_path / "set")
    engine.run("pause", server.id)
    with pytest.raises(ConnectError, match="container db-stopped is paused") as caught:
        _client.connect(server.settings())
    server.command_as_shown(caught.value.command)
    with _client.connect(server.settings()) as session:
        assert session.rows("SELECT 1 AS one") == [{"one": 1}]
    engine.remove(server.id)
    with pytest.raises(ConnectError, match="container db-stopped does not exist any more"):
        _client.connect(server.settings())
