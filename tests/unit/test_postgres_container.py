# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL's programs in a container, with a stand-in for the engine's client that runs them on this host."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _mounts
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
    Container,
    PostgresSettings,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ConnectError, InputError, ToolError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import (
    _client,
    _connection,
    _container,
    _tools,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import (
    AdminOptions,
    candidates,
)
from tests.support.announce import leave_out

SECRET = "s3cret ü '\"$`\\"
BOX = Container(("/usr/bin/docker", "--host", "unix:///run/d.sock"), "0123abc", "sso-db-1")
SETTINGS = PostgresSettings("", 5432, "authentik", "authentik", SECRET, container=BOX)

# As docker exec: variables of the container, then those that were named, removed where the client has none itself.
CLIENT = """#!%s
import json, os, sys
words = sys.argv[1:]
assert words[:2] == ["exec", "-i"], words
with open(sys.argv[0] + ".log", "a") as log:
    log.write(json.dumps(words) + "\\n")
words = words[2:]
env = {"PATH": %r, "PGSERVICE": "nowhere", "PGHOST": "elsewhere", "PGDATA": "/data", "OTHER": "kept"}
while words[0].startswith("-"):
    option, value, words = words[0], words[1], words[2:]
    if option == "-e":
        env.pop(value, None)
        if value in os.environ:
            env[value] = os.environ[value]
assert words[0] == "0123abc", words
try:
    os.execvpe(words[1], words[1:], env)
except FileNotFoundError:
    print('OCI runtime exec failed: exec: "' + words[1] + '": executable file not found in $PATH: unknown')
    sys.exit(126)
"""


@pytest.fixture(params=["GNU", "BusyBox"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> PostgresSettings:
    """Settings whose client is the stand-in; the programs inside are this host's, or those of the Alpine images."""
    path = os.environ["PATH"]
    if request.param == "BusyBox":
        busybox = shutil.which("busybox")
        if busybox is None:
            leave_out("what a container of an Alpine image is asked for: needs the package busybox")
        path = str(tmp_path / "applets")
        os.mkdir(path)
        for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
            os.symlink(busybox, os.path.join(path, applet))
    client = tmp_path / "docker"
    client.write_text(CLIENT % (sys.executable, path))
    client.chmod(0o755)
    return dataclasses.replace(SETTINGS, container=Container((str(client),), BOX.id, BOX.name))


def test_programs_get_the_settings_and_nothing_of_the_containers(settings: PostgresSettings, tmp_path: Path) -> None:
    with _connection.Connection(settings) as connection:
        printed = connection.run(["env", "-0"], "other", {"PGOPTIONS": "-c x=1"}).stdout.decode()
    found = dict(line.split("=", 1) for line in printed.split("\0") if line)
    assert len(found.pop("AUTHENTIK_OPS_RECOVERY")) == 16
    assert found.pop("PATH")
    assert found == {
        "LC_ALL": "C.UTF-8",
        "OTHER": "kept",
        "PGAPPNAME": "authentik_ops.recovery",
        "PGCLIENTENCODING": "UTF8",
        "PGCONNECT_TIMEOUT": "15",
        "PGDATABASE": "other",
        "PGOPTIONS": "-c x=1",
        "PGPASSWORD": SECRET,
        "PGPORT": "5432",
        "PGUSER": "authentik",
    }
    assert "s3cret" not in (tmp_path / "docker.log").read_text()


def test_arguments_hold_names_alone(settings: PostgresSettings) -> None:
    with _connection.Connection(dataclasses.replace(settings, host="db", run_as="postgres")) as connection:
        command = connection.command(["pg_dump", "-Fc"])
        assert settings.container is not None
        names = ["PGAPPNAME", "PGCLIENTENCODING", "PGCONNECT_TIMEOUT", "PGDATABASE", "PGHOST", "PGPASSWORD"]
        names += ["PGPORT", "PGUSER", "PGDATA", "PGSERVICE", "LC_ALL", "AUTHENTIK_OPS_RECOVERY"]
        expected = [*settings.container.docker, "exec", "-i"]
        for name in names:
            expected += ["-e", name]
        argv = list(command.argv)
        assert sorted(argv) == sorted([*expected, "--user", "postgres", "0123abc", "pg_dump", "-Fc"])
        assert argv[-5:] == ["--user", "postgres", "0123abc", "pg_dump", "-Fc"]
        assert (command.env or {})["PGHOST"] == "db"
        # The client itself runs as this process does, and inherits nothing.
        assert command.user is None
        assert command.pass_fds == ()


def test_programs_that_connect_to_nothing_get_no_password(settings: PostgresSettings) -> None:
    with _connection.Connection(settings) as connection:
        printed = connection.run(["env"], login=False).stdout.decode()
    assert not [line for line in printed.splitlines() if line.startswith("PG")]


def test_a_list_for_pg_restore_lies_in_memory_while_the_connection_lasts(settings: PostgresSettings) -> None:
    lines = ["1; 2 3 TABLE public ü authentik", "second"]
    with _connection.Connection(settings) as connection, connection.list_file(lines) as (name, descriptors):
        assert Path(name).read_text() == "1; 2 3 TABLE public ü authentik\nsecond\n"
        assert name.startswith("/dev/shm/")
        assert descriptors == ()
    assert not Path(name).exists()


def test_what_is_left_running_is_ended_with_the_connection(settings: PostgresSettings) -> None:
    with _connection.Connection(settings) as connection:
        command = connection.command(["sleep", "1000"])
        left = subprocess.Popen(list(command.argv), env={"PATH": "/usr/bin:/bin", **(command.env or {})})
        assert connection.run(["true"]).status == 0
        with pytest.raises(subprocess.TimeoutExpired):
            left.wait(0.5)
    assert left.wait(10) != 0


def test_files_and_space_are_seen_from_inside(settings: PostgresSettings, tmp_path: Path) -> None:
    (tmp_path / "postmaster.pid").write_bytes(b"1\n/data\xff\n")
    with _connection.Connection(settings) as connection:
        assert connection.read_file(str(tmp_path / "postmaster.pid")).splitlines()[0] == "1"
        place = connection.file_system(str(tmp_path))
        assert place.available
        assert place.available % 1024 == 0
        # A container on this kernel: what is on one disk with the host can be added up.
        assert place.device == _mounts.file_system(str(tmp_path)).device != ""
        with pytest.raises(OSError, match="nowhere"):
            connection.read_file("/nowhere/at/all")
        with pytest.raises(OSError, match="nowhere"):
            connection.file_system("/nowhere/at/all")


def test_programs_are_looked_for_inside(settings: PostgresSettings, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "pg_dump"
    program.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 17.4 (Debian 17.4-1)'\n")
    program.chmod(0o755)
    (install,) = _tools.installed(settings, "pg_dump", str(folder))
    assert (install.path("pg_dump"), install.major, install.version) == (str(program), 17, "17.4")
    with pytest.raises(
        ToolError, match=r"pg_dump is too old for what PostgreSQL 18 made: 17.4 in .*container sso-db-1"
    ):
        _tools.choose([install], 18)
    with pytest.raises(InputError, match="/nowhere in container sso-db-1 holds no working pg_dump"):
        _tools.installed(settings, "pg_dump", "/nowhere")
    with pytest.raises(ToolError, match="container sso-db-1 holds no program pg_nosuch"):
        _tools.installed(settings, "pg_nosuch")


def test_psycopg2_cannot_look_inside() -> None:
    with pytest.raises(InputError, match="psycopg2 cannot be used inside a container"):
        _client.connect(SETTINGS, client="psycopg2")


@pytest.mark.parametrize(
    ("said", "cause", "command"),
    [
        (
            "Error response from daemon: Container 0123abc is not running",
            "container sso-db-1 is not running",
            "/usr/bin/docker --host unix:///run/d.sock start sso-db-1",
        ),
        ("Error response from daemon: container 0123abc is not running", "is not running", "start sso-db-1"),
        ("cannot exec in a stopped state: unknown", "is not running", "start sso-db-1"),
        (
            "Error response from daemon: Container 0123abc is paused, unpause the container before exec",
            "is paused",
            "unpause sso-db-1",
        ),
        (
            "Error response from daemon: Container 0123abc is restarting, wait until the container is running",
            "is restarting",
            "logs --tail 50 sso-db-1",
        ),
        ("Error: No such container: 0123abc", "does not exist any more", ""),
        ("unable to find user pg: no matching entries in passwd file", "has no user pg", ""),
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", "engine", "docker"),
        ("", "did not say why", "inspect sso-db-1"),
        ("something new", "something new", "inspect sso-db-1"),
    ],
)
def test_a_container_that_runs_nothing_says_why(said: str, cause: str, command: str) -> None:
    error = _container.problem(BOX, said, "pg")
    assert isinstance(error, ConnectError)
    assert cause in error.cause
    assert error.command.endswith(command)


def test_a_service_without_a_container_is_told() -> None:
    gone = dataclasses.replace(SETTINGS, container=dataclasses.replace(BOX, id=""))
    with pytest.raises(ConnectError, match="has no container now") as caught, _connection.Connection(gone):
        pass
    assert "compose up --detach" in caught.value.hint


def test_a_container_without_a_shell_is_named() -> None:
    said = 'OCI runtime exec failed: exec failed: exec: "sh": executable file not found in $PATH: unknown'
    error = _container.problem(BOX, said, None)
    assert isinstance(error, ToolError)
    assert "sso-db-1 holds no sh" in error.cause


def test_refused_connections_show_a_command_inside() -> None:
    error = _connection.connect_error(SETTINGS, None, 'FATAL:  role "authentik" does not exist')
    assert "authentik on the default socket in container sso-db-1 port 5432 as role authentik" in error.cause
    inside = "/usr/bin/docker --host unix:///run/d.sock exec -it sso-db-1 psql -p 5432 -U authentik -d authentik"
    assert error.command == "on the authentik host: %s -c 'SELECT 1'" % inside
    named = dataclasses.replace(SETTINGS, host="db", run_as="pg")
    assert "exec -it --user pg sso-db-1 psql -h db -p" in _connection.connect_error(named, None, "timeout").command


@pytest.mark.parametrize("password", ["line\nbreak", "nul\0", "caf\udce9"])
def test_passwords_that_cannot_be_passed_on_are_refused(settings: PostgresSettings, password: str) -> None:
    refused = pytest.raises(InputError, match="the database password")
    with refused, _connection.Connection(dataclasses.replace(settings, password=password)) as connection:
        connection.command(["psql"])


@pytest.mark.parametrize(
    ("changes", "options", "superuser", "logins"),
    [
        # The image's superuser over its socket; then, for images that ask who is there, as that user.
        ({}, AdminOptions(), "boss", [("authentik", ""), ("boss", ""), ("postgres", "")]),
        ({}, AdminOptions(), "", [("authentik", ""), ("postgres", ""), ("postgres", "")]),
        ({"host": "127.0.0.1"}, AdminOptions(), "boss", [("authentik", "127.0.0.1"), ("boss", ""), ("postgres", "")]),
        # Another server, as seen from inside: the container's own socket has nothing to do with it.
        ({"host": "db.example.org"}, AdminOptions(), "boss", [("authentik", "db.example.org")]),
        ({}, AdminOptions("root", "pw"), "boss", [("root", "")]),
        ({"host": "db"}, AdminOptions("root", "pw"), "boss", [("root", "db")]),
        ({}, AdminOptions(None, None, "postgres"), "boss", [("boss", "")]),
    ],
)
def test_logins_that_may_create_databases(
    changes: dict[str, Any], options: AdminOptions, superuser: str, logins: list[tuple[str, str]]
) -> None:
    app = dataclasses.replace(SETTINGS, **changes)
    # Whether this process is root, and whether the host has a user postgres, says nothing about the container.
    for is_root in (True, False):
        found = candidates(app, options, is_root, is_root, superuser)
        assert [(one.settings.user, one.settings.host) for one in found] == logins
        assert all(one.settings.container == BOX for one in found)
    peers = [one.settings.run_as for one in found if "its user" in one.how]
    assert peers == (["postgres"] if len(logins) == 3 else [])
    assert all(one.settings.password is None for one in found[1:])


def test_on_the_host_nothing_changes() -> None:
    app = dataclasses.replace(SETTINGS, container=None)
    assert [one.settings.run_as for one in candidates(app, AdminOptions(), True, True)] == [None, "postgres"]
    assert len(candidates(app, AdminOptions(), False, True)) == 1
