# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL in a container, as the official images run it: as its own user, trusting everybody on its own socket.

There is a superuser of another name than ``postgres``, and a plain role ``authentik`` that owns its database. The
container has libpq variables of its own, which lead nowhere: nothing may follow them.

The host sees the socket too, by a bind mount: no network is needed, which two engines on one host would share.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
    Container,
    PostgresSettings,
)
from tests.support.docker_engine import Engine, program
from tests.support.hosts import image_tarball
from tests.support.postgres_install import bin_directory

if TYPE_CHECKING:
    from pathlib import Path

SUPERUSER = "boss"
PASSWORD = "pg 'secret' \\ pw"
ADRIFT = {"PGSERVICE": "nowhere", "PGHOST": "192.0.2.1", "PGPASSFILE": "/nonexistent", "PGOPTIONS": "-c nonsense=1"}

# First start of the official images in short. The role postgres, no superuser, is asked who it is on the socket too.
_ENTRY = r"""
set -eu
export PATH=$PATH:$(echo /usr/lib/postgresql/*/bin)
if ! [ -e $PGDATA/PG_VERSION ]; then
    mkdir -p $PGDATA
    chown postgres $PGDATA /run/postgresql
    printf %s "$POSTGRES_PASSWORD" > /run/pwfile
    chown postgres /run/pwfile
    setpriv --reuid postgres --regid postgres --clear-groups initdb --pgdata=$PGDATA --username=$POSTGRES_USER \
        --pwfile=/run/pwfile --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync
    sed -i '1i local all postgres peer' $PGDATA/pg_hba.conf
    echo 'host all all all scram-sha-256' >> $PGDATA/pg_hba.conf
fi
exec setpriv --reuid postgres --regid postgres --init-groups postgres -D $PGDATA -c listen_addresses='*' -c fsync=off
"""


class PgContainer:
    """A running server in a container of a suite's image (bullseye: 13, bookworm: 15)."""

    def __init__(self, engine: Engine, suite: str, name: str) -> None:
        self.engine = engine
        self.suite = suite
        self.name = name
        self.socket_dir = engine.folder / name
        self.socket_dir.mkdir()
        self.bin: Path = bin_directory(18)
        self.password = PASSWORD
        self.docker = (program("docker"), "-H", "unix://%s" % engine.socket)
        image = "recovery-%s" % suite
        if not engine.run("images", "--quiet", image).strip():
            engine.import_image(image_tarball(suite), image)
        variables = {
            "POSTGRES_USER": SUPERUSER,
            "POSTGRES_PASSWORD": self.password,
            "PGDATA": "/var/lib/postgresql/data",
            **ADRIFT,
        }
        given = ["--env=%s=%s" % pair for pair in variables.items()]
        self.id = engine.create(
            "--name=%s" % name,
            "--network=none",
            "--volume=%s:/run/postgresql" % self.socket_dir,
            *given,
            image,
            "sh",
            "-c",
            _ENTRY,
        )
        self.wait()
        self.psql("CREATE ROLE authentik LOGIN; CREATE ROLE postgres LOGIN; CREATE DATABASE authentik OWNER authentik")

    def environment(self) -> dict[str, str]:
        """The superuser over the socket, past Docker: what the oracle takes."""
        return {"PGHOST": str(self.socket_dir), "PGUSER": SUPERUSER}

    def settings(self, **changes: Any) -> PostgresSettings:
        """Return the collection's settings for the database: its owner, over the container's own socket."""
        values = {"host": "", "port": 5432, "name": "authentik", "user": "authentik", **changes}
        return PostgresSettings(container=Container(self.docker, self.id, self.name), **values)

    def psql(self, sql: str, database: str = "postgres", user: str = SUPERUSER) -> str:
        """Run SQL over the socket, past Docker; unaligned output without headers."""
        argv = [str(self.bin / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"]
        setting = "" if user == SUPERUSER else "SET SESSION AUTHORIZATION %s;\n" % user
        text = (setting + sql).encode()
        done = subprocess.run(argv, input=text, capture_output=True, env=self.environment(), check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        return done.stdout.decode()

    def owner(self, sql: str) -> str:
        """Run SQL in the database as its owner."""
        return self.psql(sql, "authentik", "authentik")

    def sh(self, script: str, user: str = "root") -> str:
        """Run a shell script inside."""
        return self.engine.run("exec", "-i", "--user", user, self.id, "sh", "-c", script)

    def databases(self) -> list[str]:
        """Return the names of the databases, but for templates."""
        return self.psql("SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1").split()

    def wait(self) -> None:
        """Wait until it answers."""
        end = time.monotonic() + 60
        while True:
            try:
                self.psql("SELECT 1")
                return
            except RuntimeError as error:
                if time.monotonic() > end:
                    state = self.engine.run("ps", "--all", "--filter", "name=" + self.name)
                    raise RuntimeError("%s\n%s\n%s" % (error, state, self.engine.run("logs", self.name))) from error
                time.sleep(0.2)

    def left_behind(self) -> list[str]:
        """Return what runs or lies inside because of the collection: programs, sessions of the server, files."""
        programs = "for p in $(grep -ls AUTHENTIK_OPS /proc/[0-9]*/environ); do cat ${p%environ}comm; done"
        lines = (self.sh("ls /dev/shm; " + programs) + "\n".join(self.sessions())).splitlines()
        return [line for line in lines if not line.startswith("PostgreSQL.")]

    def sessions(self) -> list[str]:
        """Return what the collection's sessions do."""
        return self.psql(
            "SELECT state || ' ' || query FROM pg_stat_activity WHERE application_name LIKE 'authentik_ops%'"
        ).splitlines()

    def wait_until_clean(self, seconds: float = 20) -> None:
        """Wait until nothing of the collection runs inside any more.

        :raises AssertionError: when something still does after that time.
        """
        end = time.monotonic() + seconds
        while self.left_behind():
            assert time.monotonic() < end, self.left_behind()
            time.sleep(0.3)

    def command_as_shown(self, shown: str) -> str:
        """Run a command that a message shows, without the terminal that it asks for."""
        words = [word for word in shlex.split(shown.rpartition("host: ")[2]) if word != "-it"]
        return subprocess.run(words, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
