# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Stop and start an instance's services in the order that authentik needs.

Stopping: outposts, workers, servers. Starting: servers alone, until they say that they are ready, since two processes
that migrate a database at once can wedge; then workers, then outposts.

What is the same wherever they run is here; a :class:`ServiceManager` knows systemd, or Docker.
"""

from __future__ import annotations

import http.client
import time
import typing as t
import urllib.error
import urllib.request

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, StateError

if t.TYPE_CHECKING:
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Unit
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._stopped_note import StoppedNote

_STOP_ORDER = ("outpost", "worker", "server")
_START_ORDER = ("server", "worker", "outpost")
_STOPPED = ("inactive", "failed", "unknown")
_RUNNING = ("active", "reloading")
_POLL_SECONDS = 1.0
_ANSWER_SECONDS = 10.0


class ServiceManager(t.Protocol):
    """What stops and starts the services, and tells about them.

    :ivar note: where it is noted what was stopped.
    :ivar settle_seconds: how long after its start a service is watched for failing at once.
    """

    note: StoppedNote
    settle_seconds: float

    def require(self, state: str) -> None:
        """Raise DiscoveryError where it is not there to bring a service into the state."""

    def states(self, units: list[Unit]) -> dict[str, str]:
        """Return the state of each service in systemd's words; nothing where there is nobody to ask."""

    def failed(self, units: list[Unit]) -> list[Unit]:
        """Return those that do not survive their start."""

    def stop(self, unit: Unit) -> None:
        """Stop a service, and return when it has stopped."""

    def start(self, unit: Unit, before: str) -> None:
        """Start a service that was in the state *before*."""

    def last_words(self, unit: Unit) -> str:
        """Return the last lines of a service's log, as a sentence."""

    def status_command(self, unit: Unit) -> str:
        """Return the command that shows what a service does."""

    def log_command(self, unit: Unit) -> str:
        """Return the command that shows what a service said."""

    def health_urls(self, servers: list[Unit]) -> list[str]:
        """Return the readiness URLs that have to answer, none while no server has an address."""


def choose_units(units: list[Unit], wanted: list[str] | None, state: str) -> list[Unit]:
    """Return the services to work on, in the order to do it.

    :param wanted: names, those of systemd's services with or without ``.service``; None for all.
    :param state: ``stopped`` or ``started``.
    :raises InputError: when a name is not one of the instance's services.
    """
    known = [unit.name for unit in units]
    wanted = known if wanted is None else wanted
    names = [name if name in known else name + ".service" for name in wanted]
    unknown = [name for name in wanted if name not in known and name + ".service" not in known]
    if unknown:
        raise InputError(
            "%s is no service of this authentik instance" % ", ".join(unknown),
            "Its services are %s; others are named by server_units, worker_units and outpost_units, or in a compose "
            "project by server_service and worker_service" % (", ".join(known) or "not known"),
        )
    order = _STOP_ORDER if state == "stopped" else _START_ORDER
    return sorted([unit for unit in units if unit.name in names], key=lambda unit: (order.index(unit.role), unit.name))


def needs_change(active_state: str, state: str) -> bool:
    """Tell whether a service in one of systemd's states has to be stopped or started."""
    if state == "stopped":
        return active_state not in _STOPPED
    return active_state not in _RUNNING


class Services:
    """The services of one instance.

    :param timeout: seconds that the server may take to become ready.
    :param remember: note what is stopped until it is started again.
    """

    def __init__(self, manager: ServiceManager, timeout: float, remember: bool = False) -> None:
        self._manager = manager
        self._timeout = timeout
        self._remember = remember

    def apply(self, units: list[Unit], state: str, check_mode: bool) -> dict[str, t.Any]:
        """Bring the services into the state and return the module's result.

        :param units: in the order to do it.
        :raises DiscoveryError: where their manager is not there.
        :raises ToolError: when it fails; the last lines of the service's log are in the cause.
        :raises StateError: when a service does not stay in the state, or the server does not become ready.
        """
        if units:
            self._manager.require(state)
        before = self._manager.states(units)
        changing = [unit for unit in units if needs_change(before[unit.name], state)]
        after = dict(before)
        ready_seconds = None
        for unit in changing:
            after[unit.name] = "inactive" if state == "stopped" else "active"
        was_active = [unit.name for unit in units if before[unit.name] not in _STOPPED]
        if state == "stopped" and self._remember:
            was_active = [unit.name for unit in units if unit.name in was_active + self._manager.note.read()]
        if not check_mode:
            if state == "stopped":
                if self._remember and was_active:
                    self._manager.note.add(was_active)
                self._stop(changing)
            else:
                ready_seconds = self._start(units, changing, before)
                self._manager.note.remove([unit.name for unit in units])
            after = self._manager.states(units)
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

    def _stop(self, units: list[Unit]) -> None:
        for unit in units:
            self._manager.stop(unit)
        states = self._manager.states(units)
        for unit in units:
            if needs_change(states[unit.name], "stopped"):
                raise StateError(
                    "%s was stopped but runs again (%s)" % (unit.name, states[unit.name]),
                    "Something starts it: a timer, a socket, another service, a watchdog. Stop that first",
                    self._manager.status_command(unit),
                )

    def _start(self, units: list[Unit], changing: list[Unit], before: dict[str, str]) -> float | None:
        ready_seconds = None
        for role in _START_ORDER:
            for unit in [unit for unit in changing if unit.role == role]:
                self._manager.start(unit, before[unit.name])
            servers = [unit for unit in units if unit.role == role == "server"]
            if servers:
                ready_seconds = self._wait_until_ready(servers)
        self._settle([unit for unit in changing if unit.role != "server"])
        states = self._manager.states(units)
        failed = self._manager.failed(units)
        for unit in units:
            if states[unit.name] in _STOPPED or unit in failed:
                raise StateError(
                    "%s was started but does not run (%s). %s"
                    % (unit.name, states[unit.name], self._manager.last_words(unit)),
                    "Its log says why",
                    self._manager.log_command(unit),
                )
        return ready_seconds

    def _settle(self, started: list[Unit]) -> None:
        end = time.monotonic() + self._manager.settle_seconds
        while started and time.monotonic() < end and not self._manager.failed(started):
            time.sleep(_POLL_SECONDS / 2)

    def _wait_until_ready(self, servers: list[Unit], managed: bool = True) -> float:
        """Wait until the servers say that they are ready; return the seconds it took.

        :param managed: they were started here, so that one of them fails ends the waiting.
        :raises StateError: saying what was seen last.
        """
        start = time.monotonic()
        while True:
            ready, seen = self._probe(servers)
            elapsed = time.monotonic() - start
            if ready:
                return round(elapsed, 1)
            for unit in self._manager.failed(servers) if managed else []:
                raise StateError(
                    "%s failed while it was starting. %s" % (unit.name, self._manager.last_words(unit)),
                    "The worker was not started",
                    self._manager.log_command(unit),
                )
            if elapsed + _POLL_SECONDS > self._timeout:
                url = seen.partition(" ")[0]
                if managed and servers:
                    seen = "%s. %s" % (seen, self._manager.last_words(servers[0]))
                raise StateError(
                    "The authentik server did not become ready within %d s: %s" % (self._timeout, seen),
                    "Give timeout more seconds if it is still migrating, or health_url if it listens elsewhere",
                    self._manager.log_command(servers[0]) if managed and servers else "curl -i %s" % url,
                )
            time.sleep(_POLL_SECONDS)

    def _probe(self, servers: list[Unit]) -> tuple[bool, str]:
        """Ask every readiness URL once; tell whether all are ready, and what was seen of one."""
        seen = "no server has an address to be asked at"
        urls = self._manager.health_urls(servers)
        for url in urls:
            ready, answer = probe(url)
            seen = "%s %s" % (url, answer)
            if not ready:
                return False, seen
        return bool(urls), seen

    def check_unmanaged(self, units: list[Unit], state: str) -> dict[str, t.Any]:
        """Prove that others have brought the instance into the state; change nothing.

        :raises StateError: when they have not.
        """
        states = self._manager.states(units)
        servers = [unit for unit in units if unit.role == "server"]
        ready_seconds = None
        if state == "started":
            ready_seconds = self._wait_until_ready(servers, managed=False)
        else:
            running = [name for name in states if needs_change(states[name], "stopped")]
            if running:
                raise StateError(
                    "%s still runs (%s)" % (running[0], states[running[0]]), "Stop authentik, then run this again"
                )
            for url in self._manager.health_urls(servers):
                answered, seen = probe(url)
                if answered or not seen.startswith(_NO_ANSWER):
                    raise StateError("authentik still runs: %s %s" % (url, seen), "Stop it, then run this again")
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


_NO_ANSWER = "did not answer"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: t.Any, **_kwargs: t.Any) -> None:
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
