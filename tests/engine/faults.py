# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults by the number of the step at which they come, so that a seed repeats them: no moment is chosen by time.

A step is a call that changes a folder or makes a change durable, or the middle of an artifact.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import stat
from collections.abc import Callable, Iterator
from typing import Any

# To say that somebody lives is none: it changes no content, and is done in the middle of what is read back.
_STEPS = ("rename", "unlink", "rmdir", "mkdir", "link", "fsync", "ftruncate", "pwrite")
_NEED_SPACE = ("mkdir", "link", "fsync", "pwrite")

Work = Callable[[], dict[str, Any]]


class Steps:
    """Counts steps, and does something before the one of a number.

    :param number: 0 for none.
    """

    def __init__(self, number: int, act: Callable[[], None]) -> None:
        self.count = 0
        self.number, self._act = number, act

    def step(self) -> None:
        """Another one begins."""
        self.count += 1
        if self.count == self.number:
            self._act()

    @contextlib.contextmanager
    def watched(self, product: Any) -> Iterator[Steps]:
        """Count the steps of this process."""
        originals = {name: getattr(os, name) for name in _STEPS}
        for name, original in originals.items():
            setattr(os, name, self._before(original))
        product.between, between = self.step, product.between
        try:
            yield self
        finally:
            product.between = between
            for name, original in originals.items():
                setattr(os, name, original)

    def _before(self, original: Any) -> Any:
        def stepped(*args: Any, **more: Any) -> Any:
            self.step()
            return original(*args, **more)

        return stepped


@contextlib.contextmanager
def full_disk(steps: Steps) -> Iterator[None]:
    """From the step on nothing can be written any more; what takes no space still works."""
    originals = {name: getattr(os, name) for name in (*_NEED_SPACE, "write")}

    def refusing(name: str, original: Any) -> Any:
        def refused(*args: Any, **more: Any) -> Any:
            file = name != "write" or stat.S_ISREG(os.fstat(args[0]).st_mode)
            if file and steps.count >= steps.number > 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(*args, **more)

        return refused

    for name, original in originals.items():
        setattr(os, name, refusing(name, original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


class Child:
    """A process that does the work until it ends, is killed, or pauses.

    :param pauses: at the step it waits until it is told to go on; else it is killed there.
    """

    def __init__(self, work: Work, product: Any, number: int, pauses: bool) -> None:
        self._said, saying = os.pipe()
        waiting, self._tell = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._said)
            os.close(self._tell)
            self._live(work, product, number, saying, waiting if pauses else -1)
        os.close(saying)
        os.close(waiting)
        # Until it pauses or has ended, one way or the other.
        self.paused = os.read(self._said, 1) == b"P"
        self._text = b""

    @staticmethod
    def _live(work: Work, product: Any, number: int, saying: int, waiting: int) -> None:
        def act() -> None:
            if waiting < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            os.write(saying, b"P")
            if not os.read(waiting, 1):
                # Whoever played has ended.
                os._exit(1)

        status = 1
        try:
            with Steps(number, act).watched(product):
                result = work()
            told = {"failed": bool(result.get("failed")), "msg": str(result.get("msg"))}
            os.write(saying, b"R" + json.dumps(told).encode())
            status = 0
        finally:
            os._exit(status)

    def end(self, kill: bool) -> dict[str, Any] | None:
        """Let it go on, or kill it where it waits; return its result, None when it was killed."""
        if kill and self.paused:
            os.kill(self._pid, signal.SIGKILL)
        elif self.paused:
            os.write(self._tell, b"g")
            os.read(self._said, 1)
        text = b""
        while data := os.read(self._said, 65536):
            text += data
        os.close(self._said)
        os.close(self._tell)
        status = os.waitpid(self._pid, 0)[1]
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            return None
        if status:
            raise AssertionError("the child ended with status %d" % status)
        found: dict[str, Any] = json.loads(text)
        return found
