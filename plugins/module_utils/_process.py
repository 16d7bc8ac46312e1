# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Programs and pipelines of programs, each with its exit status and its last words.

Argument lists only, never a shell. Every child runs in a process group of its own and dies with the process
that started it: a killed module leaves no ``pg_dump`` behind. Secrets never travel in arguments, so a failing
command can be shown as it was run.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shlex
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
    from types import TracebackType
    from typing import IO, Callable, Iterable, Mapping, Sequence

_SYSTEM_DIRS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_STDERR_KEPT = 64 * 1024
_STDERR_LINES_SHOWN = 12
_KILL_GRACE_SECONDS = 3.0
_PR_SET_PDEATHSIG = 1
_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 1024 * 1024
_CLIENT_PACKAGE = "the PostgreSQL client programs (postgresql-client on Debian, postgresql on RHEL)"
_PACKAGES = dict.fromkeys(("pg_dump", "pg_dumpall", "pg_restore", "psql"), _CLIENT_PACKAGE)
_PACKAGES["zstd"] = "zstd"


class Completed(NamedTuple):
    """A program that ended: ``status`` is its exit status, negative for a signal, as ``subprocess`` has it."""

    argv: list[str]
    status: int
    stdout: bytes
    stderr: str


class Command(NamedTuple):
    """One program of a pipeline.

    ``env`` is laid over the clean base environment, ``user`` is the operating system's user to become (needs root),
    ``pass_fds`` are file descriptors it inherits.
    """

    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    user: str | None = None
    pass_fds: Sequence[int] = ()


def find_program(name: str, extra_dirs: Iterable[str] = ()) -> str | None:
    """Return the absolute path of program ``name``: first in ``extra_dirs``, then PATH, then the system's folders."""
    path_dirs = [entry for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    for directory in [*extra_dirs, *path_dirs, *_SYSTEM_DIRS]:
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return os.path.abspath(path)
    return None


def run(
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float | None = None,
    user: str | None = None,
    pass_fds: Sequence[int] = (),
    check: bool = True,
) -> Completed:
    """Run one program to its end and return what it wrote; for outputs that fit in memory.

    :param timeout: seconds, after which the program is killed and ToolError raised.
    :param check: raise ToolError unless the exit status is 0.
    """
    child = _spawn(Command(argv, env, user, pass_fds), subprocess.PIPE, subprocess.PIPE, group=0)
    try:
        stdout, stderr = child.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired as exc:
        raise ToolError("%s did not finish within %g seconds" % (show(argv), timeout or 0)) from exc
    finally:
        if child.poll() is None:
            _kill_group(child.pid, [child])
            child.communicate()
    done = Completed(list(argv), child.returncode, stdout, stderr.decode("utf-8", "replace"))
    if check and done.status != 0:
        raise ToolError(describe_failure(done.argv, done.status, done.stderr))
    return done


def show(argv: Sequence[str]) -> str:
    """Return ``argv`` as an operator would type it."""
    return " ".join(shlex.quote(word) for word in argv)


def last_lines(stderr: str, count: int = _STDERR_LINES_SHOWN) -> str:
    """Return the last ``count`` non-empty lines of ``stderr``."""
    return "\n".join([line.rstrip() for line in stderr.splitlines() if line.strip()][-count:])


def describe_failure(argv: Sequence[str], status: int, stderr: str) -> str:
    """Return the sentence that says how a program failed and what it said last."""
    if status < 0:
        how = "was killed by signal %s" % _signal_name(-status)
    else:
        how = "failed with exit status %d" % status
    said = last_lines(stderr)
    return "%s %s%s" % (show(argv), how, ": " + said if said else " and said nothing")


def find_culprit(ended: Sequence[Completed]) -> Completed | None:
    """Return the first program of a pipeline that failed by itself, or None when all succeeded.

    A program that only lost its reader (SIGPIPE, or "Broken pipe" among its last words) is named when no other failed.
    """
    failed = [done for done in ended if done.status != 0]
    for done in failed:
        if not _lost_its_reader(done):
            return done
    return failed[0] if failed else None


class Pipeline:
    """Programs joined by pipes, as a context manager.

    :param commands: first to last; each one's standard output is the next one's standard input.
    :param stdin: True gives ``.stdin``, the write end of the first; otherwise it reads an empty input.
    :param stdout: True gives ``.stdout``, the read end of the last; otherwise its output is discarded.

    Use: read ``.stdout`` to its end (or write all to ``.stdin``), then call :meth:`finish`. Leaving by an exception
    kills all of them. The thread that enters it must outlive it: the children die with that thread.
    """

    def __init__(self, commands: Sequence[Command], stdin: bool = False, stdout: bool = True) -> None:
        self._commands = list(commands)
        self._wants = (stdin, stdout)
        self._children: list[subprocess.Popen[bytes]] = []
        self._drains: list[_Drain] = []
        self._stdin: IO[bytes] | None = None
        self._stdout: IO[bytes] | None = None
        self._finished = False

    @property
    def stdin(self) -> IO[bytes]:
        """The write end of the first program."""
        if self._stdin is None:
            raise RuntimeError("this pipeline has no open stdin")
        return self._stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The read end of the last program."""
        if self._stdout is None:
            raise RuntimeError("this pipeline has no open stdout")
        return self._stdout

    def __enter__(self) -> Pipeline:
        try:
            self._start()
        except BaseException:
            self._abort()
            raise
        return self

    def _start(self) -> None:
        wants_stdin, wants_stdout = self._wants
        upstream: IO[bytes] | int = subprocess.PIPE if wants_stdin else subprocess.DEVNULL
        for index, command in enumerate(self._commands):
            last = index == len(self._commands) - 1
            output = subprocess.PIPE if wants_stdout or not last else subprocess.DEVNULL
            group = self._children[0].pid if self._children else 0
            child = _spawn(command, upstream, output, group)
            self._children.append(child)
            self._drains.append(_Drain(child.stderr))
            if not isinstance(upstream, int):
                upstream.close()  # the child alone may hold it, else its writer never learns that the child died
            if index == 0:
                self._stdin = child.stdin
            if last:
                self._stdout = child.stdout
            elif child.stdout is not None:
                upstream = child.stdout
            _widen(child.stdout)

    def finish(self, timeout: float | None = None, check: bool = True) -> list[Completed]:
        """Close both ends, wait for every program and return how each ended.

        :param timeout: seconds to wait for all of them together, after which they are killed.
        :param check: False leaves it to the caller to judge the exit statuses.
        :raises ToolError: naming the first culprit, or that the time was up.
        """
        limit = None if timeout is None else time.monotonic() + timeout
        self._close_ends()
        try:
            for child in self._children:
                child.wait(None if limit is None else max(0.0, limit - time.monotonic()))
        except subprocess.TimeoutExpired as exc:
            self._abort()
            names = " | ".join(show(command.argv) for command in self._commands)
            raise ToolError("%s did not finish within %g seconds" % (names, timeout or 0)) from exc
        self._finished = True
        ended = self._ended()
        culprit = find_culprit(ended) if check else None
        if culprit is not None:
            raise ToolError(describe_failure(culprit.argv, culprit.status, culprit.stderr))
        return ended

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._finished:
            return
        if exc_type is None:
            self.finish()
            return
        if isinstance(exc, BrokenPipeError) and self._wants[0]:
            # The reader of our stdin is gone: what it said matters more than the broken pipe.
            self.finish(timeout=_KILL_GRACE_SECONDS)
            raise ToolError("%s stopped reading before the end of its input" % show(self._commands[0].argv)) from exc
        self._abort()

    def kill(self) -> None:
        """Kill every program at once, from any thread; :meth:`finish` then tells so."""
        if self._children and not self._finished:
            _signal(self._children[0].pid, [], signal.SIGKILL)

    def _ended(self) -> list[Completed]:
        return [
            Completed(list(child.args), child.returncode, b"", drain.text())  # type: ignore[arg-type]
            for child, drain in zip(self._children, self._drains)
        ]

    def _close_ends(self) -> None:
        for end in (self._stdin, self._stdout):
            if end is not None:
                try:
                    end.close()
                except BrokenPipeError:
                    pass  # unwritten bytes had no reader any more: the exit statuses tell why
        self._stdin = self._stdout = None

    def _abort(self) -> None:
        if self._children:
            _kill_group(self._children[0].pid, self._children)
        self._close_ends()
        for drain in self._drains:
            drain.text()
        self._finished = True


def _widen(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold more than 64 KiB: fewer turns between its two programs."""
    if pipe is not None:
        try:
            fcntl.fcntl(pipe.fileno(), _F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            pass  # the user's share of pipe memory is used up: the default size works too


class _Drain:
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
        # A grandchild may hold the descriptor open for longer than the child lives: don't wait for it for ever.
        self._thread.join(_KILL_GRACE_SECONDS)
        return self._kept.decode("utf-8", "replace")


def _spawn(command: Command, stdin: IO[bytes] | int, stdout: int, group: int) -> subprocess.Popen[bytes]:
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
            "%s cannot be started as %s: %s" % (argv[0], who, exc), hint="becoming another user needs root (become: true)"
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
        "PATH": os.pathsep.join(path_dirs + [entry for entry in _SYSTEM_DIRS if entry not in path_dirs]),
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


def _kill_group(group: int, children: Sequence[subprocess.Popen[bytes]]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if all(child.poll() is not None for child in children):
            return
        _signal(group, [child.pid for child in children if child.poll() is None], number)
        limit = time.monotonic() + _KILL_GRACE_SECONDS
        while time.monotonic() < limit and any(child.poll() is None for child in children):
            time.sleep(0.02)


def _signal(group: int, pids: Sequence[int], number: int) -> None:
    try:
        os.killpg(group, number)
    except OSError:
        for pid in pids:
            try:
                os.kill(pid, number)
            except OSError:
                pass  # it ended meanwhile


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _lost_its_reader(done: Completed) -> bool:
    return done.status in (-signal.SIGPIPE, 128 + signal.SIGPIPE) or "broken pipe" in done.stderr.lower()
