# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""How a program is started and ended: its process group, user, environment, and what it says on stderr."""

from __future__ import annotations

import fcntl
import os
import pwd
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, ToolError

try:
    import ctypes
except ImportError:  # a Python built without libffi: children then end when their pipes do
    ctypes = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from typing import IO, Callable, Mapping, Sequence

SYSTEM_DIRS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
KILL_GRACE_SECONDS = 3.0
_STDERR_KEPT = 64 * 1024
_PR_SET_PDEATHSIG = 1
_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 1024 * 1024
_CLIENT_PACKAGE = "the PostgreSQL client programs (postgresql-client on Debian, postgresql on RHEL)"
_PACKAGES = dict.fromkeys(("pg_dump", "pg_dumpall", "pg_restore", "psql"), _CLIENT_PACKAGE)
_PACKAGES["zstd"] = "zstd"


class Command(NamedTuple):
    """One program of a pipeline.

    ``env`` is laid over the clean base environment, ``user`` is the operating system's user to become (needs root),
    ``pass_fds`` are file descriptors it inherits.
    """

    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    user: str | None = None
    pass_fds: Sequence[int] = ()


class Drain:
    """Reads a child's stderr all the time, so that it never blocks, and keeps the end of it."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._kept = b""
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        if self._stream is None:
            return
        with self._stream:
            while True:
                piece = os.read(self._stream.fileno(), 8192)
                if not piece:
                    return
                self._kept = (self._kept + piece)[-_STDERR_KEPT:]

    def text(self) -> str:
        """Return what was kept, once the child has closed it."""
        # A grandchild may hold the descriptor open for longer than the child lives: don't wait for it for ever.
        self._thread.join(KILL_GRACE_SECONDS)
        return self._kept.decode("utf-8", "replace")


def spawn(command: Command, stdin: IO[bytes] | int, stdout: int, group: int) -> subprocess.Popen[bytes]:
    """Start a program in process group ``group`` (0: one of its own); it dies with the thread that calls this.

    :raises ToolError: when it is not installed or cannot be started.
    """
    argv = list(command.argv)
    account = _account(command.user)
    try:
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=_environment(command.env, account),
            cwd="/",  # the user to become may not be allowed to read the present folder
            pass_fds=tuple(command.pass_fds),
            preexec_fn=_child_setup(account, group, os.getpid()),
        )
    except FileNotFoundError as exc:
        raise _missing(argv[0]) from exc
    except OSError as exc:
        raise ToolError("%s cannot be run: %s" % (argv[0], exc.strerror)) from exc
    except subprocess.SubprocessError as exc:
        who = "user %s" % command.user if command.user else "the present user"
        raise ToolError(
            "%s cannot be started as %s: %s" % (argv[0], who, exc),
            hint="becoming another user needs root (become: true)",
        ) from exc


def _missing(program: str) -> ToolError:
    name = os.path.basename(program)
    package = _PACKAGES.get(name)
    return ToolError(
        "the program %s is not installed on this host" % program,
        hint="install %s" % package if package else "install it, or name the folder that holds it",
    )


def _account(user: str | None) -> pwd.struct_passwd | None:
    if user is None:
        return None
    try:
        return pwd.getpwnam(user)
    except KeyError as exc:
        raise InputError(
            "this host has no user %r to run programs as" % user, hint="name an existing operating system user"
        ) from exc


def _environment(extra: Mapping[str, str] | None, account: pwd.struct_passwd | None) -> dict[str, str]:
    path_dirs = [entry for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    env = {
        "PATH": os.pathsep.join(path_dirs + [entry for entry in SYSTEM_DIRS if entry not in path_dirs]),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
    }
    if account is not None:
        env.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name)
    env.update(extra or {})
    return env


def _child_setup(account: pwd.struct_passwd | None, group: int, parent: int) -> Callable[[], None]:
    """Return what runs in the child between fork and exec: system calls only, since other threads may hold locks."""
    become = account is not None and account.pw_uid != os.geteuid()
    groups = os.getgrouplist(account.pw_name, account.pw_gid) if account is not None and become else []
    libc = ctypes.CDLL(None) if ctypes is not None else None

    def setup() -> None:
        os.setpgid(0, group)
        if account is not None and become:
            os.setgroups(groups)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)  # after setuid, which clears it
            if os.getppid() != parent:
                os._exit(1)

    return setup


def kill_group(group: int, children: Sequence[subprocess.Popen[bytes]]) -> None:
    """End every program of a group, by force when asking does not help, and reap them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if all(child.poll() is not None for child in children):
            return
        signal_group(group, [child.pid for child in children if child.poll() is None], number)
        limit = time.monotonic() + KILL_GRACE_SECONDS
        while time.monotonic() < limit and any(child.poll() is None for child in children):
            time.sleep(0.02)


def signal_group(group: int, pids: Sequence[int], number: int) -> None:
    """Send a signal to a group, or to its single programs where the group cannot be reached."""
    try:
        os.killpg(group, number)
    except OSError:
        for pid in pids:
            try:
                os.kill(pid, number)
            except OSError:
                pass  # it ended meanwhile


def widen(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold more than 64 KiB: fewer turns between its two programs."""
    if pipe is not None:
        try:
            fcntl.fcntl(pipe.fileno(), _F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            pass  # the user's share of pipe memory is used up: the default size works too
