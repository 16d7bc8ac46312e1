# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Connection settings as the environment of libpq programs, with the password in an inherited descriptor.

The password lies in an anonymous file in memory that only the started program inherits and reads as its
``PGPASSFILE``. It is never an argument, an environment variable or a file with a name.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ConnectError, InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._process import show

if TYPE_CHECKING:
    from types import TracebackType

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
    host = settings.host or socket_host(settings.port)
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

    ``pass_fds`` and ``user`` go with every program that gets :meth:`env`. The password file ends with the context.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings
        self._passfile: int | None = None

    @property
    def user(self) -> str | None:
        """The operating system's user that the programs run as."""
        return self.settings.run_as

    @property
    def pass_fds(self) -> tuple[int, ...]:
        """The descriptors that the programs inherit."""
        return () if self._passfile is None else (self._passfile,)

    def env(self, database: str | None = None) -> dict[str, str]:
        """Return the environment of a program that connects to ``database``, the instance's own when None."""
        env = libpq_environment(self.settings, database)
        if self._passfile is not None:
            env["PGPASSFILE"] = "/proc/self/fd/%d" % self._passfile
        return env

    def __enter__(self) -> Connection:
        if self.settings.password is not None:
            self._passfile = _memory_file(passfile_line(self.settings.password), self.settings.run_as)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._passfile is not None:
            os.close(self._passfile)
            self._passfile = None


def _memory_file(content: bytes, owner: str | None) -> int:
    descriptor = os.memfd_create("pgpass", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        os.fchmod(descriptor, 0o600)
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
    where = settings.host or socket_host(settings.port) or "the default socket"
    tool = ["psql", "-h", where, "-p", str(settings.port), "-U", settings.user, "-d", name, "-c", "SELECT 1"]
    if settings.run_as:
        tool = ["sudo", "-u", settings.run_as, *tool]
    return ConnectError(
        "cannot connect to database %s on %s port %d as role %s: %s"
        % (name, where, settings.port, settings.user, " ".join(said.split())),
        hint=hint,
        command="on the authentik host: %s" % show(tool),
    )
