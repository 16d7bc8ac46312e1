# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A lock on the sets of one instance, for a process that removes some, or begins one: one at a time.

The system's own lock ends with the process, however that ends. Not every file system tells other machines of it, so the
file also says who holds it and, by its time, that its owner lives. Readers need no lock.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import shlex
import time
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import as_error
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_duration, format_utc
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._liveness import lives, owner_of

LOCK_NAME = ".prune.lock"

# Another machine's process cannot be looked at. It says that it lives before and after each set that it removes.
SILENCE_SECONDS = 3600
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Lock:
    """The lock, as a context manager.

    :param folder: where the sets lie.
    :param what: what the owner does, for whoever has to wait.
    :ivar taken_over: the dead owner from whom it was taken; empty when there was none.
    """

    def __init__(self, folder: str, what: str) -> None:
        self._path = os.path.join(folder, LOCK_NAME)
        self._what = what
        self._descriptor = -1
        self.taken_over = ""

    def __enter__(self) -> Lock:
        try:
            while self._descriptor < 0:
                self._open()
        except OSError as exc:
            raise as_error("lock", self._path, exc) from exc
        return self

    def __exit__(self, *exc: object) -> None:
        # Removed while it is held: whoever opened it meanwhile sees that it is no longer the one of that name.
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        os.close(self._descriptor)
        self._descriptor = -1

    def beat(self) -> None:
        """Say that the owner lives."""
        with contextlib.suppress(OSError):
            os.utime(self._path)

    def _open(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            held_elsewhere = not _take(descriptor)
            if not self._is_named(descriptor):
                return
            before = _read(descriptor)
            age = abs(time.time() - os.fstat(descriptor).st_mtime)
            if held_elsewhere or (before and lives(before, age, SILENCE_SECONDS)):
                raise refusal(os.path.dirname(self._path), before, age, "cat %s" % shlex.quote(self._path))
            self.taken_over = describe(before) if before else ""
            try:
                _write(descriptor, self._what)
            except BaseException:
                # It would name an owner that holds nothing.
                os.unlink(self._path)
                raise
            self._descriptor, descriptor = descriptor, -1
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _is_named(self, descriptor: int) -> bool:
        """Tell whether the open file still has its name: its owner removes it at the end."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path, follow_symlinks=False))
        except FileNotFoundError:
            return False


def _take(descriptor: int) -> bool:
    """Take the system's lock; False when another process has it. A file system without locks has none to take."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_LOCKS:
            raise
    return True


def _read(descriptor: int) -> dict[str, t.Any]:
    """Return the owner that the file names, empty when it is new or was never written whole."""
    try:
        found = json.loads(os.pread(descriptor, 65536, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write(descriptor: int, what: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(new_owner(what)).encode("ascii"), 0)
    os.fsync(descriptor)


def new_owner(what: str) -> dict[str, t.Any]:
    """Return what a lock says of this process.

    :param what: what it does.
    """
    return {
        **owner_of(os.getpid()),
        "started": format_utc(datetime.datetime.now(datetime.UTC)),
        "what": what,
    }


def describe(owner: dict[str, t.Any]) -> str:
    """Return an owner as an operator reads it."""
    return "%s (process %s on %s, since %s)" % tuple(
        owner.get(name, "unknown") for name in ("what", "pid", "host", "started")
    )


def refusal(place: str, owner: dict[str, t.Any], silent: float, command: str) -> StateError:
    """Return the error for who finds a lock held.

    :param place: what is locked.
    :param silent: seconds since the owner was seen.
    :param command: shows the lock.
    """
    return StateError(
        "The sets in %s are locked by %s, which was seen %s ago" % (place, describe(owner), format_duration(silent)),
        "Try again when that has ended. A dead owner on this machine is noticed at once, one on another after %s"
        % format_duration(SILENCE_SECONDS),
        command,
    )
