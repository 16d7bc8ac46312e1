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

import os
import shlex
import signal
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._child import (
    KILL_GRACE_SECONDS,
    SYSTEM_DIRS,
    Command,
    Drain,
    kill_group,
    signal_group,
    spawn,
    widen,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ToolError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import IO, Iterable, Mapping, Sequence

_STDERR_LINES_SHOWN = 12


class Completed(NamedTuple):
    """A program that ended: ``status`` is its exit status, negative for a signal, as ``subprocess`` has it."""

    argv: list[str]
    status: int
    stdout: bytes
    stderr: str


def find_program(name: str, extra_dirs: Iterable[str] = ()) -> str | None:
    """Return the absolute path of program ``name``: first in ``extra_dirs``, then PATH, then the system's folders."""
    path_dirs = [entry for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    for directory in [*extra_dirs, *path_dirs, *SYSTEM_DIRS]:
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
    child = spawn(Command(argv, env, user, pass_fds), subprocess.PIPE, subprocess.PIPE, group=0)
    try:
        stdout, stderr = child.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired as exc:
        raise ToolError("%s did not finish within %g seconds" % (show(argv), timeout or 0)) from exc
    finally:
        if child.poll() is None:
            kill_group(child.pid, [child])
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
        self._drains: list[Drain] = []
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
            child = spawn(command, upstream, output, group)
            self._children.append(child)
            self._drains.append(Drain(child.stderr))
            if not isinstance(upstream, int):
                upstream.close()  # the child alone may hold it, else its writer never learns that the child died
            if index == 0:
                self._stdin = child.stdin
            if last:
                self._stdout = child.stdout
            elif child.stdout is not None:
                upstream = child.stdout
            widen(child.stdout)

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
            self.finish(timeout=KILL_GRACE_SECONDS)
            raise ToolError("%s stopped reading before the end of its input" % show(self._commands[0].argv)) from exc
        self._abort()

    def kill(self) -> None:
        """Kill every program at once, from any thread; :meth:`finish` then tells so."""
        if self._children and not self._finished:
            signal_group(self._children[0].pid, [], signal.SIGKILL)

    def _ended(self) -> list[Completed]:
        return [
            Completed(list(child.args), child.returncode, b"", drain.text())  # type: ignore[arg-type]
            for child, drain in zip(self._children, self._drains)
        ]

    def _close_ends(self) -> None:
        for child in self._children:
            for end in (child.stdin, child.stdout):
                try:
                    if end is not None:
                        end.close()
                except BrokenPipeError:
                    pass  # unwritten bytes had no reader any more: the exit statuses tell why
        self._stdin = self._stdout = None

    def _abort(self) -> None:
        if self._children:
            kill_group(self._children[0].pid, self._children)
        self._close_ends()
        for drain in self._drains:
            drain.text()
        self._finished = True


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _lost_its_reader(done: Completed) -> bool:
    return done.status in (-signal.SIGPIPE, 128 + signal.SIGPIPE) or "broken pipe" in done.stderr.lower()
