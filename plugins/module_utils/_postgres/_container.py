# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Programs inside a container, none of which outlives the connection that it was run for.

``docker exec`` leaves its program running when the client dies: a ``pg_dump`` would go on to its end, and hold its
locks until then. So every connection has a guard inside the container: a shell that waits for its input to end, as it
does when this process dies in whatever way, and then ends all programs that carry the connection's mark.
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _docker, _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ConnectError, InputError, ToolError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Mapping, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Container
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError

_MARK = "AUTHENTIK_OPS_RECOVERY"
_START_SECONDS = 60
_END_SECONDS = 30

# Told "end" it leaves as soon as nothing is left; without a word it stays some seconds for what is only just starting.
# INT comes first: it makes psql, pg_dump and pg_restore cancel their statement on the server. No value is part of it.
# BusyBox has to understand it, which the images based on Alpine have: its grep and read go no further than a NUL.
_GUARD = r"""
mark=$1 list=$2 word=
echo ready $(env | sed -n 's/^\(PG[A-Z]*\)=.*/\1/p')
read word
rm -f "$list"
for signal in INT TERM TERM TERM KILL KILL KILL KILL KILL KILL; do
    left=$(head -c 1000000 /proc/[0-9]*/environ 2>/dev/null | tr '\000' '\n' |
        sed -n -e '/^==> /h' -e "/^$mark\$/{g;s|^==> /proc/\([0-9]*\)/environ <==\$|\1|p;}")
    if [ -n "$left" ]; then
        kill -s $signal $left 2>/dev/null
    elif [ "$word" = end ]; then
        break
    fi
    sleep 1
done
rm -f "$list"
"""


class Guard:
    """Programs of one connection in a container, as a context manager that none of them outlives.

    :param user: the container's user to run them as, None for the one that the container is made for.
    :ivar list_path: where a file for one of them may be put; it is removed with the guard. In memory, and there even
        where the container's file system is read-only.
    """

    def __init__(self, container: Container, user: str | None) -> None:
        self._container = container
        self._user = user
        self._token = secrets.token_hex(8)
        self._inherited: list[str] = []
        self._pipeline: _process.Pipeline | None = None
        self.list_path = "/dev/shm/authentik_ops.recovery-%s" % self._token

    def command(self, argv: Sequence[str], env: Mapping[str, str]) -> _process.Command:
        """Return the command that runs *argv* inside.

        Arguments hold the names of the variables only: the client takes the values from its own environment. libpq's
        variables that the container has of its own are named too, and removed, because the client has none of them.

        :raises InputError: for values that the engine cannot pass on.
        """
        for name, value in env.items():
            _check_value(name, value)
        names = [*sorted(env), *(name for name in self._inherited if name not in env), "LC_ALL", _MARK]
        wrapped = _docker.exec_argv(self._container, argv, names, self._user)
        return _process.Command(wrapped, {**env, _MARK: self._token})

    def __enter__(self) -> Guard:
        if not self._container.id:
            raise ConnectError(
                "the database's service has no container now: %s" % self._container.name,
                hint="make and start it first, with docker compose up --detach and the service's name",
            )
        mark = "%s=%s" % (_MARK, self._token)
        argv = ["sh", "-c", _GUARD, "sh", mark, self.list_path]
        command = _process.Command(_docker.exec_argv(self._container, argv, user=self._user))
        pipeline = _process.Pipeline([command], stdin=True)
        pipeline.__enter__()
        timer = threading.Timer(_START_SECONDS, pipeline.kill)
        timer.start()
        try:
            said = pipeline.stdout.readline()
        finally:
            timer.cancel()
        if not said.startswith(b"ready"):
            said += pipeline.stdout.read()
            (ended,) = pipeline.finish(_END_SECONDS, check=False)
            # The engine writes that a program cannot be started to either of the two.
            raise problem(self._container, ended.stderr + said.decode("utf-8", "replace"), self._user)
        self._inherited = said.decode("ascii", "replace").split()[1:]
        self._pipeline = pipeline
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pipeline is None:
            return
        try:
            self._pipeline.stdin.write(b"end\n")
            self._pipeline.stdin.flush()
        except BrokenPipeError:
            pass  # the container was stopped, and everything in it
        try:
            self._pipeline.finish(_END_SECONDS, check=False)
        except ToolError as late:
            if exc_type is None:
                raise ToolError(
                    "programs that were started in container %s may be running still" % self._container.name,
                    hint="the Docker engine does not answer in time",
                    command=_process.show([*self._container.docker, "top", self._container.name]),
                ) from late


def _check_value(name: str, value: str) -> None:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as exc:
        what = "the database password" if name == "PGPASSWORD" else "the value for %s" % name
        raise InputError(
            "%s holds bytes that are no UTF-8, which Docker cannot pass into a container" % what,
            hint="see the file it comes from, or set another one",
        ) from exc


def problem(container: Container, said: str, user: str | None) -> RecoveryError:
    """Return the error for a container in which nothing could be run; ``said`` is what the client reported."""
    unreachable = _docker.connection_problem(said)
    if unreachable is not None:
        return unreachable
    name, lowered = container.name, said.lower()

    def call(*words: str) -> str:
        return _process.show([*container.docker, *words, name])

    # The second while it ends: its processes are gone, and the engine has not noted it yet.
    if "is not running" in lowered or "in a stopped state" in lowered:
        return ConnectError("container %s is not running" % name, hint="start it", command=call("start"))
    if "no such container" in lowered:
        return ConnectError(
            "container %s does not exist any more" % name, hint="it was removed or made anew meanwhile: try again"
        )
    if "is paused" in lowered:
        return ConnectError("container %s is paused" % name, hint="let it go on", command=call("unpause"))
    if "is restarting" in lowered:
        return ConnectError(
            "container %s is restarting" % name, hint="its log tells why", command=call("logs", "--tail", "50")
        )
    if "unable to find user" in lowered:
        return ConnectError(
            "container %s has no user %s" % (name, user), hint="postgresql_run_as names a user of the container"
        )
    if "executable file not found" in lowered or "no such file or directory" in lowered:
        return ToolError(
            "container %s holds no sh, in which the PostgreSQL programs are watched over" % name,
            hint="the official images of PostgreSQL do; name the service of the database with postgresql_service",
        )
    said = " ".join(said.split()) or "the client did not say why, or had to be ended after %d seconds" % _START_SECONDS
    return ConnectError("nothing can be run in container %s: %s" % (name, said), command=call("inspect"))
