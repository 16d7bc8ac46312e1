# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Which of the installed PostgreSQL client programs fit a server, and what they were built with.

They are looked for where they will run: on this host, or inside the container that the settings name.
"""

from __future__ import annotations

import dataclasses
import functools
import glob
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, ToolError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import Connection

if TYPE_CHECKING:
    from typing import Iterator, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import PostgresSettings

# Debian's wrappers in /usr/bin choose a version by the local clusters, not by the server they are to reach.
_WRAPPER = "pg_wrapper"
_INSTALL_DIRS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/lib/postgresql*/bin",
    "/usr/libexec/postgresql*",
    "/usr/local/pgsql/bin",
    "/opt/postgresql*/bin",
)
_FIRST_MAJOR_WITH_ZSTD = 16


class Install(NamedTuple):
    """A folder of PostgreSQL client programs: ``major`` is 18 and ``version`` "18.4"; on PATH when ``directory`` is "".

    ``container`` is the name of the one that holds it, "" for this host.
    """

    directory: str
    major: int
    version: str
    container: str = ""

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        if not self.container:
            return self.directory
        return "%s of container %s" % (self.directory or "the PATH", self.container)

    def path(self, program: str) -> str:
        """Return the path of one of its programs."""
        return os.path.join(self.directory, program)


def parse_version(said: str) -> tuple[int, str] | None:
    """Return (major, version) from what ``--version`` says, None when it is no such answer."""
    found = re.search(r"\(PostgreSQL\) ((\d+)[^\s]*)", said)
    return (int(found.group(2)), found.group(1)) if found else None


def find_installs(program: str = "pg_dump", bin_dir: str | None = None) -> list[Install]:
    """Return every folder of this host that holds ``program``, newest first; ``bin_dir`` alone when given.

    :raises InputError: when ``bin_dir`` does not hold it.
    """
    if bin_dir is not None:
        install = _install_in(bin_dir, program)
        if install is None:
            raise InputError(
                "%s holds no working %s" % (bin_dir, program),
                hint="postgresql_bin_dir names the folder of the PostgreSQL client programs on the authentik host",
            )
        return [install]
    directories = [directory for pattern in _INSTALL_DIRS for directory in sorted(glob.glob(pattern))]
    directories += [entry for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    directories += ["/usr/local/bin", "/usr/bin"]
    found: dict[str, Install] = {}
    for directory in directories:
        real = os.path.realpath(os.path.join(directory, program))
        if os.path.basename(real) == _WRAPPER or os.path.dirname(real) in found:
            continue
        install = _install_in(directory, program)
        if install is not None:
            found[os.path.dirname(real)] = install
    return sorted(found.values(), key=lambda install: -install.major)


def installed(settings: PostgresSettings, program: str, bin_dir: str | None = None) -> list[Install]:
    """Return every folder that holds ``program`` where the programs of ``settings`` run, newest first.

    :raises InputError: when ``bin_dir`` does not hold it.
    :raises ToolError: when it is to run in a container that does not hold it.
    """
    if settings.container is None:
        return find_installs(program, bin_dir)
    return [_in_container(dataclasses.replace(settings, name="", user="", password=None), program, bin_dir)]


@functools.lru_cache(maxsize=None)
def _in_container(settings: PostgresSettings, program: str, bin_dir: str | None) -> Install:
    name = settings.container.name if settings.container else ""
    with Connection(settings) as connection:
        for directory in [bin_dir] if bin_dir is not None else ["", *_folders_in(connection)]:
            path = os.path.join(directory, program)
            done = connection.run([path, "--version"], login=False, timeout=30, check=False)
            version = parse_version(done.stdout.decode("utf-8", "replace"))
            if done.status == 0 and version is not None:
                return Install(directory, *version, container=name)
    if bin_dir is not None:
        raise InputError(
            "%s in container %s holds no working %s" % (bin_dir, name, program),
            hint="postgresql_bin_dir names a folder inside the container where the database runs in one",
        )
    raise ToolError(
        "container %s holds no program %s" % (name, program),
        hint="postgresql_service names the service of the database, postgresql_bin_dir the folder inside its container",
    )


def _folders_in(connection: Connection) -> Iterator[str]:
    """Yield folders in which packages put the programs, for images that don't have them on PATH."""
    done = connection.run(["sh", "-c", "ls -d " + " ".join(_INSTALL_DIRS)], login=False, check=False)
    yield from sorted(done.stdout.decode("utf-8", "replace").split(), reverse=True)


def choose(installs: Sequence[Install], server_major: int, program: str = "pg_dump") -> Install:
    """Return the install whose programs fit a server: the same major version, else the nearest newer one.

    :raises ToolError: naming what is installed and what to install, when none is, or all are older than the server.
    """
    package = "postgresql-client-%d on Debian and Ubuntu, postgresql%d on RHEL" % (server_major, server_major)
    if not installs:
        raise ToolError("the program %s is not installed on this host" % program, hint="install %s" % package)
    fitting = [install for install in installs if install.major >= server_major]
    if not fitting:
        have = ", ".join("%s in %s" % (install.version, install.place) for install in installs)
        if installs[0].container:
            raise ToolError(
                "%s is too old for what PostgreSQL %d made: %s" % (program, server_major, have),
                hint="the container's image has to be of PostgreSQL %d or later" % server_major,
            )
        raise ToolError(
            "every installed %s is older than the server, which is PostgreSQL %d: %s" % (program, server_major, have),
            hint="install %s, or name the folder of newer programs with postgresql_bin_dir" % package,
        )
    return min(fitting, key=lambda install: install.major)


def has_own_zstd(settings: PostgresSettings, pg_dump: Install) -> bool:
    """Say whether this ``pg_dump`` compresses with zstd by itself; asked of the program, without a server."""
    if pg_dump.major < _FIRST_MAJOR_WITH_ZSTD:
        return False
    # The compression is judged before the connection, and no server can be behind a socket in /dev/null.
    argv = [pg_dump.path("pg_dump"), "--no-password", "-Fc", "--compress=zstd:1", "--file=/dev/null"]
    nowhere = {"PGHOST": "/dev/null", "PGCONNECT_TIMEOUT": "2"}
    with Connection(dataclasses.replace(settings, password=None)) as connection:
        done = connection.run(argv, extra=nowhere, login=False, timeout=30, check=False)
    return "/dev/null/.s.PGSQL" in done.stderr


def zstd_program() -> str | None:
    """Return the path of the ``zstd`` program, None where it is not installed."""
    return _process.find_program("zstd")


def _install_in(directory: str, program: str) -> Install | None:
    path = os.path.join(os.path.abspath(directory), program)
    if not (os.path.isfile(path) and os.access(path, os.X_OK)):
        return None
    done = _process.run([path, "--version"], timeout=30, check=False)
    version = parse_version(done.stdout.decode("utf-8", "replace"))
    if done.status != 0 or version is None:
        return None
    return Install(os.path.dirname(path), *version)
