# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Which processes live: the owners of unfinished sets, locks, spools and restores."""

from __future__ import annotations

import os
import socket
import typing as t


def process_start(pid: int) -> str:
    """Return what tells this process from a later one of the same number; empty when it does not run."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
        # Where nothing reaps orphans, as in containers, the dead stay in the table.
        return "" if fields[0] in ("Z", "X") else fields[19]
    except FileNotFoundError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"


def playbook_pid() -> int:
    """Return the process id of the playbook run: action plugins run in children of it."""
    return os.getppid()


def place() -> str:
    """Return what has to be equal for process ids to be comparable.

    A name does not do: containers of one image may share it, and the file that tells machines apart, too.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
            return "%s:%s" % (boot.read().strip(), os.readlink("/proc/self/ns/pid"))
    except OSError:
        return socket.gethostname()


def owner_of(pid: int) -> dict[str, t.Any]:
    """Return what tells a process of this machine from every other one."""
    return {"host": socket.gethostname(), "place": place(), "pid": pid, "start": process_start(pid)}


def lives(owner: dict[str, t.Any], age: float, silence: int) -> bool:
    """Tell whether the process that an owner file names may still be at work.

    :param owner: C(host), C(place), C(pid) and C(start).
    :param age: seconds since the file was changed last.
    :param silence: seconds after which a process of another place counts as dead: it cannot be looked at.
    """
    # Before there was a place, owners had none.
    if owner.get("host") == socket.gethostname() and owner.get("place", place()) == place():
        return isinstance(owner.get("pid"), int) and process_start(owner["pid"]) == owner.get("start") != ""
    return age < silence
