# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The controller's hands on the spool: one cheap command per look, files moved by the connection plugin."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import time
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    InputError,
    RecoveryError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._spool import ABORT_NAME, LEASE_NAME, STATE_NAME
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._liveness import playbook_pid, process_start

# A chunk that travels slower than this is taken for a dead connection.
_SLOWEST_BYTES_PER_SECOND = 64 * 1024
_SHORTEST_LEASE = 120
_LONGEST_LEASE = 3000
_MARK = "authentik-recovery-spool:"
_PREFIX = ".authentik_recovery-"
PART = ".part"
_NAME = re.compile(re.escape(_PREFIX) + r"(?P<host>.+)-(?P<pid>[0-9]+)-[A-Za-z0-9]+")


class Look(t.NamedTuple):
    """What one look at the spool saw: the module's state, None before its first; and the names of all files."""

    state: dict[str, t.Any] | None
    names: list[str]


class SpoolGone(StateError):
    """The spool's folder does not exist any more."""


class RemoteSpool:
    """A spool folder on the host, owned by the connecting user.

    :param connection: connection plugin whose commands run without become.
    :param spool_dir: existing folder on the host in which the spool is made.
    :param chunk_size: bytes of one chunk, which decides how long a silence may last.
    :param lanes: further connections of the same kind, each used by one thread at a time.
    """

    def __init__(self, connection: t.Any, spool_dir: str, chunk_size: int, lanes: t.Sequence[t.Any] = ()) -> None:
        self.path = ""
        self.lanes = lanes
        self._connection = connection
        self._spool_dir = spool_dir
        self._slowest = 60 + chunk_size // _SLOWEST_BYTES_PER_SECOND
        self._lease = min(max(self._slowest, _SHORTEST_LEASE), _LONGEST_LEASE)
        self._renames: list[str] = []

    def make(self) -> str:
        """Clear spools of dead runs, make the folder and return its path.

        :raises RecoveryError: when the host does not accept it.
        """
        host = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:60]
        template = "%s/%s%s-%d-XXXXXXXX" % (self._spool_dir.rstrip("/"), _PREFIX, host, playbook_pid())
        script = "; ".join(
            (
                "umask 077",
                "now=$(date +%s)",
                "for s in %s/%s*" % (shlex.quote(self._spool_dir.rstrip("/")), _PREFIX),
                'do [ -d "$s" ] && [ -O "$s" ] || continue',
                'm=$(stat -c %%Y "$s/%s" 2>/dev/null || stat -c %%Y "$s" || echo $now)' % LEASE_NAME,
                'l=$(cat "$s/%s" 2>/dev/null || echo 300)' % LEASE_NAME,
                'if [ $((now - m)) -gt ${l:-300} ]; then rm -rf "$s"; else echo "%sother $s"; fi' % _MARK,
                "done",
                # A disk that is full has room for a folder, and none for what is in it.
                'p=$(mktemp -d %s) && { echo %d > "$p/%s" || { rm -rf "$p"; false; }; } && echo "%smade $p"'
                % (shlex.quote(template), self._lease, LEASE_NAME, _MARK),
            )
        )
        status, output, errors = self._run(script)
        answers = [line[len(_MARK) :] for line in output.splitlines() if line.startswith(_MARK)]
        made = [answer[len("made ") :] for answer in answers if answer.startswith("made ")]
        if status != 0 or not made:
            cause = "No spool could be made in %s on the host: %s" % (self._spool_dir, errors or "exit %d" % status)
            raise InputError(
                cause, "Set spool_dir to an existing folder with free space that the connecting user may write"
            )
        self.path = made[0]
        dead = [
            path
            for path in (answer[len("other ") :] for answer in answers if answer.startswith("other "))
            if _is_dead(os.path.basename(path), host)
        ]
        for path in dead:
            # Renamed first: its module may still be writing, and learns by that that its controller is gone.
            self._run("mv -T -- {0} {0}dead && rm -rf -- {0}dead".format(shlex.quote(path)))
        return self.path

    def look(self, remove: t.Iterable[str] = ()) -> Look:
        """Renew the lease, remove files, give the pushed file its name, and return state and names.

        :raises SpoolGone: when the folder is not there any more.
        """
        steps = ["cd %s || exit 9" % shlex.quote(self.path), "echo %d > %s" % (self._lease, LEASE_NAME)]
        names = [shlex.quote(name) for name in remove]
        if names:
            steps.append("rm -f -- %s" % " ".join(names))
        for name in map(shlex.quote, self._renames):
            steps.append("chmod 600 %s%s && mv %s%s %s || exit 8" % (name, PART, name, PART, name))
        self._renames = []
        steps += ["echo %s" % _MARK, "cat %s 2>/dev/null" % STATE_NAME, "echo", "echo %s" % _MARK, "ls -A"]
        status, output, errors = self._run("; ".join(steps))
        if status == 9:
            raise SpoolGone(
                "The spool %s on the host is gone" % self.path,
                "The module on the host gave up, or something cleans %s" % self._spool_dir,
            )
        parts = output.split(_MARK)
        if status != 0 or len(parts) != 3:
            raise ConnectError("The spool %s on the host cannot be read: %s" % (self.path, errors or output[-300:]))
        try:
            state = json.loads(parts[1]) if parts[1].strip() else None
        except ValueError as exc:
            raise StateError("The state of the spool %s is not valid: %s" % (self.path, exc)) from exc
        return Look(state, parts[2].split())

    def fetch(self, name: str, local: str, lane: t.Any = None) -> float:
        """Bring a file of the spool to a local path, over a lane where one is given; return the seconds it took."""
        began = time.monotonic()
        (lane or self._connection).fetch_file("%s/%s" % (self.path, name), local)
        return time.monotonic() - began

    def push(self, local: str, name: str, lane: t.Any = None) -> float:
        """Bring a local file into the spool, over a lane where one is given; return the seconds it took.

        It has a working name until :meth:`rename` and the next look.
        """
        began = time.monotonic()
        (lane or self._connection).put_file(local, "%s/%s%s" % (self.path, name, PART))
        return time.monotonic() - began

    def rename(self, name: str) -> None:
        """Give a pushed file its name with the next look."""
        self._renames.append(name)

    def moved(self, seconds: float) -> None:
        """Tell how long the last chunk took: the next silence may last several times that."""
        self._lease = min(max(60 + int(8 * seconds), _SHORTEST_LEASE), _LONGEST_LEASE)

    def abort(self) -> None:
        """Ask the module to stop."""
        self._run("cd %s && : > %s" % (shlex.quote(self.path), ABORT_NAME))

    def remove(self) -> None:
        """Remove the spool with all that is left in it."""
        if self.path:
            status, _output, errors = self._run("rm -rf -- %s" % shlex.quote(self.path))
            if status != 0:
                raise StateError(
                    "The spool %s on the host cannot be removed: %s" % (self.path, errors),
                    "It holds parts of a backup: remove it by hand",
                )
            self.path = ""

    def _run(self, script: str) -> tuple[int, str, str]:
        command = "/bin/sh -c %s" % shlex.quote(script)
        status, output, errors = self._connection.exec_command(command, in_data=None, sudoable=False)
        return status, _text(output), _text(errors).strip()[-1000:]


def quietly(action: t.Callable[[], t.Any], warn: t.Callable[[str], t.Any], doing: str) -> None:
    """Do something that cleans up; when it fails say so, but keep the error that is on its way."""
    from ansible.errors import AnsibleError

    try:
        action()
    except (RecoveryError, AnsibleError, OSError) as exc:
        warn("Could not %s: %s" % (doing, exc))


def _is_dead(name: str, host: str) -> bool:
    """Tell whether the spool's run was on this machine and has ended."""
    match = _NAME.fullmatch(name)
    return match is not None and match.group("host") == host and not process_start(int(match.group("pid")))


def _text(output: bytes | str) -> str:
    return output.decode("utf-8", "replace") if isinstance(output, bytes) else str(output)
