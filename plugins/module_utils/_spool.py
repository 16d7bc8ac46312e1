# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The spool, a small bounded folder through which artifacts pass: its protocol, and what both directions share.

The controller makes the folder as the connecting user (mode 0700) and drives it:

* C(lease) holds a number of seconds. The controller rewrites it again and again; a module that
  sees no change for that long knows that the controller is gone, and clears the spool.
* C(abort) appears when the controller gives up.
* C(state.json) belongs to the module and is replaced atomically.

A producer writes chunks C(000001), C(000002)... and lists them in its state; the controller
deletes those it has stored. A consumer names in its state the artifact it wants under a request
number; the controller feeds files whose name says which request and chunk they are, their size,
digest and whether they are the last; the module deletes those it has read.

The digest of a chunk is the SHA-256 of the artifact up to the chunk's end: one pass over the bytes
proves each chunk and the whole.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import shutil
import time
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import as_error
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_duration

STATE_NAME = "state.json"
LEASE_NAME = "lease"
ABORT_NAME = "abort"

_FEED = re.compile(r"feed-([0-9]+)-([0-9]+)-([0-9]+)-([0-9a-f]{64})-(more|last)")
_FIRST_LEASE = 300.0
_POLL_SECONDS = 0.05


class Feed(t.NamedTuple):
    """What the name of a fed chunk says."""

    request: int
    number: int
    size: int
    digest: str
    last: bool


def chunk_name(number: int) -> str:
    """Return the file name of a produced chunk."""
    return "%06d" % number


def feed_name(feed: Feed) -> str:
    """Return the file name of a chunk for a consumer."""
    return "feed-%d-%d-%d-%s-%s" % (feed.request, feed.number, feed.size, feed.digest, "last" if feed.last else "more")


def parse_feed(name: str) -> t.Optional[Feed]:
    """Return what the name says, or None for another file."""
    match = _FEED.fullmatch(name)
    if match is None:
        return None
    return Feed(int(match.group(1)), int(match.group(2)), int(match.group(3)), match.group(4), match.group(5) == "last")


class Spool:
    """What both directions share: the folder, the state file, the lease."""

    def __init__(self, path: str, chunk_size: int, window: int, role: str) -> None:
        self.path = path
        self._chunk_size = chunk_size
        self._window = window
        self._state: dict[str, t.Any] = {"role": role, "done": False}
        self._lease_seen: tuple[int, bytes] = (0, b"")
        self._lease_seconds = _FIRST_LEASE
        self._lease_since = time.monotonic()
        try:
            self._owner = os.stat(path)
            self._save()
        except OSError as exc:
            raise as_error(
                "use the spool",
                path,
                exc,
                "The spool belongs to the user that Ansible connects as: let the task become root, or no other user",
            ) from exc
        # The controller learns that nothing more will come, however the module ends.
        atexit.register(self.close)

    def close(self) -> None:
        """Tell the controller that nothing more will be produced or wanted."""
        atexit.unregister(self.close)
        if not self._state["done"] and os.path.isdir(self.path):
            self._state["done"] = True
            self._save()

    def _save(self) -> None:
        with self._create("state.part") as out:
            out.write(json.dumps(self._state).encode("ascii"))
        os.rename(os.path.join(self.path, "state.part"), os.path.join(self.path, STATE_NAME))

    @contextlib.contextmanager
    def _create(self, name: str) -> t.Iterator[t.Any]:
        """Yield a new file that only the owner of the spool can read."""
        path = os.path.join(self.path, name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb", buffering=0) as out:
            if os.geteuid() != self._owner.st_uid:
                os.fchown(descriptor, self._owner.st_uid, self._owner.st_gid)
            yield out

    def _check_controller(self) -> None:
        """Raise when the controller gave up or is gone.

        :raises StateError: after the spool was cleared where the controller is gone.
        """
        if os.path.lexists(os.path.join(self.path, ABORT_NAME)):
            raise StateError("The controller stopped the transfer", "Its own error message says why")
        try:
            path = os.path.join(self.path, LEASE_NAME)
            with open(path, "rb") as lease:
                seen = (os.fstat(lease.fileno()).st_mtime_ns, lease.read(32))
        except FileNotFoundError:
            seen = self._lease_seen
        if not os.path.isdir(self.path):
            raise self._gone()
        now = time.monotonic()
        if seen != self._lease_seen:
            self._lease_seen, self._lease_since = seen, now
            # A lease that is just being rewritten may look empty.
            self._lease_seconds = float(seen[1]) if seen[1].strip().isdigit() else self._lease_seconds
        elif now - self._lease_since > self._lease_seconds:
            shutil.rmtree(self.path, ignore_errors=True)
            raise StateError(
                "The controller was not heard of for %s" % format_duration(now - self._lease_since),
                "The playbook was interrupted or the connection broke: run it again",
            )

    def _gone(self) -> StateError:
        return StateError("The spool %s is gone" % self.path, "The run that made it has ended or was interrupted")

    def _wait(self, ready: t.Callable[[], bool]) -> None:
        pause = _POLL_SECONDS
        while not ready():
            self._check_controller()
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)
