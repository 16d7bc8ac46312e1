# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Stop and start an instance's services in the order that authentik needs.

Stopping: outposts, workers, servers. Starting: servers alone, until they say that they are ready, since two processes
that migrate a database at once can wedge; then workers, then outposts.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _files, _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    DiscoveryError,
    InputError,
    StateError,
    ToolError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Unit
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System

_STOP_ORDER = ("outpost", "worker", "server")
_START_ORDER = ("server", "worker", "outpost")
_STOPPED = ("inactive", "failed", "unknown")
_JOURNAL_LINES = 15
_POLL_SECONDS = 1.0
_ANSWER_SECONDS = 10.0
_UNMANAGED = "Where something else starts and stops authentik, do it there and set manage to false"


def choose_units(units: list[Unit], wanted: list[str] | None, state: str) -> list[Unit]:
    """Return the services to work on, in the order to do it.

    :param wanted: names, None for all.
    :param state: ``stopped`` or ``started``.
    :raises InputError: when a name is not one of the instance's services.
    """
    names = [unit.name for unit in units] if wanted is None else wanted
    names = [name if name.endswith(".service") else name + ".service" for name in names]
    unknown = [name for name in names if name not in [unit.name for unit in units]]
    if unknown:
        raise InputError(
            "%s is no service of this authentik instance" % ", ".join(unknown),
            "Its services are %s; others are named by server_units, worker_units and outpost_units"
            % (", ".join(unit.name for unit in units) or "not known"),
        )
    order = _STOP_ORDER if state == "stopped" else _START_ORDER
    return sorted([unit for unit in units if unit.name in names], key=lambda unit: (order.index(unit.role), unit.name))


def needs_change(active_state: str, state: str) -> bool:
    """Tell whether a service in one of systemd's states has to be stopped or started."""
    if state == "stopped":
        return active_state not in _STOPPED
    return active_state not in ("active", "reloading")


class Services:
    """The services of one host.

    :param health_url: tells whether the server is ready.
    :param timeout: seconds that the server may take to become ready, and systemd to stop or start one service.
    :param remember: note what is stopped until it is started again.
    """

    def __init__(self, system: System, health_url: str, timeout: float, remember: bool = False) -> None:
        self._system = system
        self._health_url = health_url
        self._timeout = timeout
        self._remember = remember
        self._note = StoppedNote(system)

    def apply(self, units: list[Unit], state: str, check_mode: bool) -> dict[str, Any]:
        """Bring the services into the state and return the module's result.

        :param units: in the order to do it.
        :raises DiscoveryError: where no systemd runs.
        :raises ToolError: when systemctl fails; the last lines of the service's journal are in the cause.
        :raises StateError: when a service does not stay in the state, or the server does not become ready.
        """
        if units and not self._system.runs_systemd:
            raise DiscoveryError("systemd does not run on this host, so no service can be %s" % state, _UNMANAGED)
        before = self.states(units)
        changing = [unit for unit in units if needs_change(before[unit.name], state)]
        after = dict(before)
        ready_seconds = None
        for unit in units:
            if unit in changing:
                after[unit.name] = "inactive" if state == "stopped" else "active"
        was_active = [unit.name for unit in units if before[unit.name] not in _STOPPED]
        if state == "stopped" and self._remember:
            was_active = [unit.name for unit in units if unit.name in was_active + self._note.read()]
        if not check_mode:
            if state == "stopped":
                if self._remember and was_active:
                    self._note.add(was_active)
                self._stop(changing)
            else:
                ready_seconds = self._start(units, changing, before)
                self._note.remove([unit.name for unit in units])
            after = self.states(units)
        return {
            "changed": bool(changing),
            "was_active": was_active,
            "services": [
                {"name": unit.name, "role": unit.role, "before": before[unit.name], "after": after[unit.name]}
                for unit in units
            ],
            "ready_seconds": ready_seconds,
            "diff": {"before": before, "after": after},
        }

    def states(self, units: list[Unit]) -> dict[str, str]:
        """Return systemd's ``ActiveState`` of each service."""
        shown = self._system.show_units([unit.name for unit in units])
        return {unit.name: shown.get(unit.name, {}).get("ActiveState") or "unknown" for unit in units}

    def _stop(self, units: list[Unit]) -> None:
        for unit in units:
            self._systemctl("stop", unit)
        states = self.states(units)
        running = [name for name in states if needs_change(states[name], "stopped")]
        if running:
            raise StateError(
                "%s was stopped but runs again (%s)" % (running[0], states[running[0]]),
                "Something starts it: a timer, a socket, another service, a watchdog. Stop that first",
                "systemctl status %s" % running[0],
            )

    def _start(self, units: list[Unit], changing: list[Unit], before: dict[str, str]) -> float | None:
        ready_seconds = None
        for role in _START_ORDER:
            for unit in [unit for unit in changing if unit.role == role]:
                if before[unit.name] == "failed":
                    # systemd may refuse a service that failed too often while its database was away.
                    self._systemctl("reset-failed", unit)
                self._systemctl("start", unit)
            servers = [unit for unit in units if unit.role == role == "server"]
            if servers:
                ready_seconds = self.wait_until_ready(servers)
        states = self.states(units)
        dead = [unit for unit in units if states[unit.name] in _STOPPED]
        if dead:
            raise StateError(
                "%s was started but does not run (%s). %s"
                % (dead[0].name, states[dead[0].name], self._journal(dead[0])),
                "Its journal says why",
                "journalctl -u %s -n 100" % dead[0].name,
            )
        return ready_seconds

    def wait_until_ready(self, servers: list[Unit]) -> float:
        """Wait until the health URL says that the server is ready; return the seconds it took.

        :param servers: its services; that one of them fails ends the waiting.
        :raises StateError: saying what was seen last.
        """
        start = time.monotonic()
        while True:
            ready, seen = probe(self._health_url)
            elapsed = time.monotonic() - start
            if ready:
                return round(elapsed, 1)
            states = self.states(servers) if servers and self._system.runs_systemd else {}
            failed = [unit for unit in servers if states.get(unit.name) == "failed"]
            if failed:
                raise StateError(
                    "%s failed while it was starting. %s" % (failed[0].name, self._journal(failed[0])),
                    "The worker was not started",
                    "journalctl -u %s -n 100" % failed[0].name,
                )
            if elapsed + _POLL_SECONDS > self._timeout:
                raise StateError(
                    "The authentik server did not become ready within %d s: %s %s"
                    % (self._timeout, self._health_url, seen),
                    "Give timeout more seconds if it is still migrating, or health_url if it listens elsewhere",
                    "journalctl -u %s -n 100" % servers[0].name if servers else "curl -i %s" % self._health_url,
                )
            time.sleep(_POLL_SECONDS)

    def check_unmanaged(self, units: list[Unit], state: str) -> dict[str, Any]:
        """Prove that others have brought the instance into the state; change nothing.

        :raises StateError: when they have not.
        """
        states = self.states(units) if self._system.runs_systemd else {}
        ready_seconds = None
        if state == "started":
            ready_seconds = self.wait_until_ready([])
        else:
            running = [name for name in states if needs_change(states[name], "stopped")]
            if running:
                raise StateError(
                    "%s still runs (%s)" % (running[0], states[running[0]]), "Stop authentik, then run this again"
                )
            answered, seen = probe(self._health_url)
            if answered or not seen.startswith(_NO_ANSWER):
                raise StateError(
                    "authentik still runs: %s %s" % (self._health_url, seen), "Stop it, then run this again"
                )
        return {
            "changed": False,
            "was_active": [name for name in states if states[name] not in _STOPPED],
            "services": [
                {"name": unit.name, "role": unit.role, "before": states[unit.name], "after": states[unit.name]}
                for unit in units
                if unit.name in states
            ],
            "ready_seconds": ready_seconds,
        }

    def _systemctl(self, verb: str, unit: Unit) -> None:
        try:
            _process.run(["systemctl", verb, "--", unit.name], timeout=self._timeout)
        except ToolError as exc:
            raise ToolError(
                "%s. %s" % (exc.cause.rstrip("."), self._journal(unit)),
                exc.hint or "It needs root (become), and a unit that systemd accepts",
                "systemctl status %s" % unit.name,
            ) from exc

    def _journal(self, unit: Unit) -> str:
        """Return the last lines of a service's journal, as a sentence."""
        argv = ["journalctl", "--no-pager", "--output=cat", "--lines=%d" % _JOURNAL_LINES, "--unit=" + unit.name]
        try:
            done = _process.run(argv, timeout=30)
        except ToolError as exc:
            return "Its journal could not be read: %s" % exc.cause
        lines = _process.last_lines(done.stdout.decode("utf-8", "replace"), _JOURNAL_LINES)
        return "Its journal ends: %s" % lines if lines else "Its journal is empty"


class StoppedNote:
    """The services that were stopped and shall run again, noted on the host: who stopped them may be killed.

    It counts until the host is booted anew, which starts what is meant to run.
    """

    def __init__(self, system: System) -> None:
        self._path = system.real(os.path.join(_files.default_work_dir(), "stopped-services.json"))
        self._boot = (system.read("/proc/sys/kernel/random/boot_id") or "").strip()

    def read(self) -> list[str]:
        """Return their names, none where there is no note that can be read."""
        try:
            with open(self._path, encoding="utf-8") as stream:
                note = json.load(stream)
            return [str(name) for name in note["units"]] if note["boot"] == self._boot else []
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def add(self, names: list[str]) -> None:
        """Note these services too."""
        self._write(sorted({*self.read(), *names}))

    def remove(self, names: list[str]) -> None:
        """Forget these services."""
        noted = self.read()
        left = [name for name in noted if name not in names]
        if left != noted:
            self._write(left)

    def _write(self, names: list[str]) -> None:
        if names:
            _files.make_private_directories(os.path.dirname(self._path))
            content = json.dumps({"boot": self._boot, "units": names}).encode("ascii") + b"\n"
            _files.write_private(self._path, content)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)


_NO_ANSWER = "did not answer"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Take a redirect for an answer: the readiness URL never gives one."""


def probe(url: str) -> tuple[bool, str]:
    """Ask a readiness URL once.

    :returns: whether it said "ready" (200, or 204 before authentik 2024.8), and what was seen.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(url, timeout=_ANSWER_SECONDS) as answer:
            status = answer.status
    except urllib.error.HTTPError as exc:
        status = exc.code
        exc.close()
    except (OSError, http.client.HTTPException) as exc:
        reason = getattr(exc, "reason", None) or exc
        return False, "%s (%s)" % (_NO_ANSWER, reason)
    except ValueError as exc:
        raise InputError(
            "health_url is no URL: %s" % exc, "Write it like http://127.0.0.1:9000/-/health/ready/"
        ) from None
    return status in (200, 204), "answered %d" % status
