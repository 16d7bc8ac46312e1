# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Connection settings as the environment of libpq programs, on this host or inside the server's container.

On the host the password lies in an anonymous file in memory that only the started program inherits and reads as its
``PGPASSFILE``. It is never an argument, an environment variable or a file with a name.

Into a container no descriptor can be passed: the engine, not this process, starts the program there. The password is
the program's ``PGPASSWORD`` then, which only the container's root and the program's user can read, as they can the
``POSTGRES_PASSWORD`` that the container was started with. It is no argument there either.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _mounts, _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ConnectError, InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._container import Guard
from ansible_collections.authentik_ops.recovery.plugins.module_utils._process import show
from ansible_collections.authentik_ops.recovery.plugins.module_utils._space import FileSystem

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Iterator, Mapping, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import PostgresSettings

CONNECT_TIMEOUT_SECONDS = 15
APPLICATION_NAME = "authentik_ops.recovery"
_SOCKET_DIRS = ("/var/run/postgresql", "/run/postgresql", "/tmp")
_TLS_VARIABLES = (
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
)


def passfile_line(password: str) -> bytes:
    """Return the one line of a libpq password file that fits every connection.

    :raises InputError: for a password with a line break or a NUL, which the file's format cannot carry.
    """
    if "\n" in password or "\r" in password or "\0" in password:
        raise InputError(
            "the database password contains a line break or a NUL character, which libpq's programs cannot be given",
            hint="set another password for the role; a stray line break may be in the file it comes from",
        )
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return ("*:*:*:*:%s\n" % escaped).encode("utf-8", "surrogateescape")


def socket_host(port: int) -> str:
    """Return the folder of the Unix socket of the server on ``port``, or "" to leave it to libpq."""
    for directory in _SOCKET_DIRS:
        if os.path.exists(os.path.join(directory, ".s.PGSQL.%d" % port)):
            return directory
    return ""


def default_host(settings: PostgresSettings) -> str:
    """Return the host to connect to, "" for libpq's own default; inside a container that is its image's socket."""
    return settings.host or ("" if settings.container else socket_host(settings.port))


def quote_ident(name: str) -> str:
    """Return ``name`` as a quoted SQL identifier."""
    return '"%s"' % name.replace('"', '""')


def quote_literal(text: str) -> str:
    """Return ``text`` as an SQL string constant that means the same whatever ``standard_conforming_strings`` says."""
    quoted = "'%s'" % text.replace("'", "''")
    return " E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def conninfo_database(name: str) -> str:
    """Return ``name`` as a connection string, for program options that would take a name with ``=`` for one."""
    return "dbname='%s'" % name.replace("\\", "\\\\").replace("'", "\\'")


def libpq_environment(settings: PostgresSettings, database: str | None = None) -> dict[str, str]:
    """Return the libpq variables for ``settings`` without the password; ``database`` overrides the instance's."""
    host = default_host(settings)
    env = {
        "PGPORT": str(settings.port),
        "PGUSER": settings.user,
        "PGDATABASE": settings.name if database is None else database,
        "PGAPPNAME": APPLICATION_NAME,
        "PGCLIENTENCODING": "UTF8",
        "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT_SECONDS),
    }
    if host:
        env["PGHOST"] = host
    for variable, attribute in _TLS_VARIABLES:
        value = getattr(settings, attribute)
        if value:
            env[variable] = value
    return env


class Connection:
    """The settings of a server, ready for its client programs, as a context manager.

    With the context end the password file, and all programs that :meth:`command` gave for a container.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings
        self._passfile: int | None = None
        self._guard: Guard | None = None

    def command(
        self,
        argv: Sequence[str],
        database: str | None = None,
        extra: Mapping[str, str] | None = None,
        login: bool = True,
        pass_fds: Sequence[int] = (),
    ) -> _process.Command:
        """Return the command that runs a program where the settings say: on this host or in the container.

        :param database: what it connects to, the instance's own when None.
        :param extra: more variables of its environment.
        :param login: False for a program that connects to nothing: it gets no settings and, on the host, runs as
            the present user.
        :param pass_fds: further descriptors that it inherits; none can be passed into a container.
        """
        env = {**(self._env(database) if login else {}), **(extra or {})}
        if self._guard is not None:
            return self._guard.command(argv, env)
        user = self.settings.run_as if login else None
        passfile = [self._passfile] if login and self._passfile is not None else []
        return _process.Command(argv, env, user, (*passfile, *pass_fds))

    def run(
        self,
        argv: Sequence[str],
        database: str | None = None,
        extra: Mapping[str, str] | None = None,
        login: bool = True,
        stdin: bytes = b"",
        timeout: float | None = None,
        check: bool = True,
    ) -> _process.Completed:
        """Run a program there to its end; see :meth:`command` and ``_process.run``."""
        command = self.command(argv, database, extra, login)
        return _process.run(command.argv, command.env, stdin, timeout, command.user, command.pass_fds, check)

    @contextlib.contextmanager
    def list_file(self, lines: Sequence[str]) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the name of a file of these lines for a program, and the descriptors it has to inherit to read it."""
        content = "".join(line + "\n" for line in lines).encode("utf-8")
        if self._guard is not None:
            self.run(["tee", self._guard.list_path], login=False, stdin=content)
            yield self._guard.list_path, ()  # the guard removes it
            return
        descriptor = _memory_file("restore-list", content, None, 0o644)
        try:
            yield "/proc/self/fd/%d" % descriptor, (descriptor,)
        finally:
            os.close(descriptor)

    def read_file(self, path: str) -> str:
        """Return the text of a file where the programs run.

        :raises OSError: when it cannot be read.
        """
        if self._guard is None:
            with open(path, encoding="utf-8", errors="replace") as stream:
                return stream.read()
        done = self.run(["cat", path], login=False, check=False)
        if done.status != 0:
            raise OSError(_process.last_lines(done.stderr, 1))
        return done.stdout.decode("utf-8", "replace")

    def file_system(self, path: str) -> FileSystem:
        """Return the file system that holds a folder, where the programs run.

        :raises OSError: when its free space cannot be told.
        """
        if self._guard is None:
            os.stat(path)  # of a folder above it nothing is to be told
            return _mounts.file_system(path)
        done = self.run(["df", "-Pk", path], login=False, check=False)
        columns = done.stdout.decode("utf-8", "replace").rpartition("%")[0].split()
        if done.status != 0 or len(columns) < 2 or not columns[-2].isdigit():
            raise OSError(_process.last_lines(done.stderr, 1) or "df printed no free space")
        # A container shares the kernel with its host, unless the engine runs in a machine of its own.
        number = self.run(["stat", "-c", "%d", path], login=False, check=False).stdout.strip()
        kernel = self.run(["cat", _mounts.BOOT_ID], login=False, check=False).stdout.decode("utf-8", "replace")
        device = _mounts.device_name(kernel, int(number)) if number.isdigit() else ""
        return FileSystem(path, device, int(columns[-2]) * 1024)

    def _env(self, database: str | None) -> dict[str, str]:
        env = libpq_environment(self.settings, database)
        if self._passfile is not None:
            env["PGPASSFILE"] = "/proc/self/fd/%d" % self._passfile
        elif self.settings.password is not None:
            env["PGPASSWORD"] = self.settings.password
        return env

    def __enter__(self) -> Connection:
        password = self.settings.password
        line = b"" if password is None else passfile_line(password)  # refuses the same ones everywhere
        if self.settings.container is not None:
            self._guard = Guard(self.settings.container, self.settings.run_as).__enter__()
        elif password is not None:
            self._passfile = _memory_file("pgpass", line, self.settings.run_as)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._passfile is not None:
            os.close(self._passfile)
            self._passfile = None
        if self._guard is not None:
            guard, self._guard = self._guard, None
            guard.__exit__(exc_type, exc, trace)


def _memory_file(name: str, content: bytes, owner: str | None, mode: int = 0o600) -> int:
    if not hasattr(os, "memfd_create"):
        raise InputError("this host's Python cannot make anonymous files", hint="Linux and Python 3.8 are needed")
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        os.fchmod(descriptor, mode)
        if owner is not None and os.geteuid() == 0:
            account = pwd.getpwnam(owner)
            os.fchown(descriptor, account.pw_uid, account.pw_gid)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


# What libpq and the server say, what it means, and what to do: the first fragment found decides.
_REFUSALS = (
    ("password authentication failed", "the password is wrong, or the role does not exist"),
    ("no password supplied", "the server wants a password: give postgresql_password"),
    ("peer authentication failed", "the server wants the operating system's user: give postgresql_run_as"),
    ("ident authentication failed", "the server wants a password or another operating system user"),
    ("no pg_hba.conf entry", "the server's pg_hba.conf does not let this user in from this host"),
    ("too many clients", "the server's max_connections is reached: try again later or raise it"),
    ("remaining connection slots", "the server's max_connections is reached: try again later or raise it"),
    ("does not exist", "the name is wrong, or the database or role was dropped or not created yet"),
    ("certificate", "the TLS options do not fit the server's certificate"),
    ("ssl", "the TLS options do not fit the server: see postgresql_sslmode and its certificates"),
    ("could not translate host name", "the host name cannot be resolved on the authentik host"),
    ("timeout expired", "nothing answered: see the host and port, and firewalls between"),
    ("connection refused", "no server listens there: see the host and port, and whether PostgreSQL runs"),
    ("no such file or directory", "no server listens on that socket: see host and port, and whether PostgreSQL runs"),
    ("starting up", "the server is starting or recovering: try again when it accepts connections"),
    ("shutting down", "the server is being stopped"),
)


def connect_error(settings: PostgresSettings, database: str | None, said: str) -> ConnectError:
    """Return the error for a refused or failed connection; ``said`` is what libpq reported."""
    lowered = said.lower()
    hint = next((meaning for fragment, meaning in _REFUSALS if fragment in lowered), "")
    name = settings.name if database is None else database
    where = default_host(settings) or "the default socket"
    if settings.container is not None:
        where += " in container %s" % settings.container.name
    return ConnectError(
        "cannot connect to database %s on %s port %d as role %s: %s"
        % (name, where, settings.port, settings.user, " ".join(said.split())),
        hint=hint,
        command="on the authentik host: %s" % psql_command(settings, name, "SELECT 1"),
    )


def psql_command(settings: PostgresSettings, database: str, sql: str) -> str:
    """Return the command that an operator types on the authentik host to run SQL; it asks for the password."""
    host = default_host(settings)
    tool = ["psql", "-h", host] if host else ["psql"]
    tool += ["-p", str(settings.port), "-U", settings.user, "-d", database, "-c", sql]
    if settings.container is not None:
        user = ["--user", settings.run_as] if settings.run_as else []
        tool = [*settings.container.docker, "exec", "-it", *user, settings.container.name, *tool]
    elif settings.run_as:
        tool = ["sudo", "-u", settings.run_as, *tool]
    return show(tool)
