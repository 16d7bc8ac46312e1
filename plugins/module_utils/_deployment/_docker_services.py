# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The services of a compose project, and the outposts beside it, as Docker runs them.

Containers are stopped and started as they are. None is made anew, so that what was there before is there afterwards;
only a service that has none gets them from Compose.
"""

from __future__ import annotations

import hashlib
from itertools import groupby

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _docker, _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._stopped_note import StoppedNote
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError, ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
        ComposeProject,
        Unit,
    )
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System

_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_ONE_OFF = "com.docker.compose.oneoff"
_OUTPOST = "io.goauthentik.outpost-uuid"
_LOG_LINES = 15
# How long a container may take to end its work before it is killed, unless stop_grace_period says otherwise. Docker's
# own 10 s are few for a worker in the middle of a task.
_STOP_SECONDS = 30
# What the client needs beyond the time that the engine was given.
_MORE_SECONDS = 60
# An end that somebody wished for: by itself, or by SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGTERM. `docker stop` kills a
# program that does not heed SIGTERM; when memory ran out the engine says so besides.
_CLEAN_EXITS = (0, 129, 130, 137, 141, 143)


def state_of(container: dict[str, Any]) -> str:
    """Return the state of a container in systemd's words, as ``inspect`` tells of it.

    ``paused`` is the one word that systemd does not have: its processes are there, and hold what they hold.
    """
    state = container.get("State") or {}
    if state.get("Restarting"):
        return "activating"
    if state.get("Paused"):
        return "paused"
    if state.get("Running"):
        return "active"
    status = state.get("Status")
    if status in ("created", "removing"):
        return "inactive"
    if status == "exited":
        clean = state.get("ExitCode") in _CLEAN_EXITS and not state.get("OOMKilled") and not state.get("Error")
        return "inactive" if clean else "failed"
    return "failed" if status == "dead" else "unknown"


def state_of_all(states: list[str]) -> str:
    """Return the state of a service from those of its containers: ``activating`` where only some of them run."""
    if not states:
        return "inactive"
    if len(set(states)) == 1:
        return states[0]
    if any(state in ("active", "activating", "paused") for state in states):
        return "activating"
    return "failed" if "failed" in states else "inactive"


def health_url_of(container: dict[str, Any], port: int, path: str) -> str:
    """Return the readiness URL at a running container's own address, empty where it has none."""
    address = _docker.container_ip(container)
    if (container.get("HostConfig") or {}).get("NetworkMode") == "host":
        address = "127.0.0.1"
    if not address or not (container.get("State") or {}).get("Running"):
        return ""
    return "http://%s:%d%s" % ("[%s]" % address if ":" in address else address, port, path)


def project_key(project: ComposeProject) -> str:
    """Return a name for the project that no other of this host has, on whichever of its engines."""
    options = "\0".join(project.docker[1:])
    return project.name + ("-" + hashlib.sha256(options.encode()).hexdigest()[:8] if options else "")


def project_arguments(project: ComposeProject) -> list[str]:
    """Return the options of ``docker compose`` that name the project and its files."""
    words = ["--project-name", project.name]
    for option, values in (
        ("--project-directory", [project.directory] if project.directory else []),
        ("--file", project.files),
        ("--env-file", project.env_files),
        ("--profile", project.profiles),
    ):
        for value in values:
            words += [option, value]
    return words


def making_arguments(project: ComposeProject) -> list[str]:
    """Return :func:`project_arguments` for a command that may make containers.

    :raises StateError: when some of the files are not there, without which Compose would make other ones, or variables
        have no value of which it makes secrets.
    """
    if not project.can_be_made:
        missing = [*project.missing_files, *project.missing_env_files]
        raise StateError(
            "Compose would have to make containers of the project %s, and not all files that it was made from are on "
            "this host%s" % (project.name, ": %s" % ", ".join(missing) if missing else ""),
            "Bring the files back, or name those of the project with compose_files and compose_env_files",
        )
    if project.shell_variables:
        raise StateError(
            "Compose would have to make containers of the project %s, and no env file of it sets what its secrets or "
            "configs come from: %s" % (project.name, ", ".join(project.shell_variables)),
            "Set it in an env file of the project, or bring the containers up as they were made",
        )
    return project_arguments(project)


class DockerServices:
    """A :class:`_services.ServiceManager`: the containers of a project's services, and of outposts.

    A :class:`Unit` is a service of the project, or the container of an outpost.

    :param health_url: the server's readiness URL; empty for its containers' own addresses.
    :param timeout: seconds that Compose may take to make and start the containers of one service.
    """

    settle_seconds = 3.0

    def __init__(
        self, system: System, docker: _docker.Docker, project: ComposeProject, health_url: str, timeout: float
    ) -> None:
        self._docker = docker
        self._project = project
        self._health_url = health_url
        self._timeout = timeout
        # Docker starts no container at a boot that somebody stopped, so the note counts beyond it.
        self.note = StoppedNote(system, project_key(project))
        # Restarts by its restart policy that a container had when it was first seen, by its id.
        self._restarts: dict[str, int] = {}

    def require(self, state: str) -> None:
        """Raise ConnectError where the engine does not answer."""
        self._docker.ping()

    def containers(self, unit: Unit) -> list[dict[str, Any]]:
        """Return the documents of a service's containers, those of ``docker compose run`` left out."""
        if unit.role == "outpost":
            found = self._outposts(unit)
        else:
            of_project = "label=%s=%s" % (_PROJECT, self._project.name)
            found = self._docker.containers(of_project, "label=%s=%s" % (_SERVICE, unit.name))
            found = [item for item in found if _labels(item).get(_ONE_OFF) != "True"]
        for item in found:
            self._restarts.setdefault(item["Id"], item.get("RestartCount") or 0)
        return sorted(found, key=lambda item: str(item["Name"]))

    def _outposts(self, unit: Unit) -> list[dict[str, Any]]:
        found = self._docker.inspect("container", unit.containers)
        if found or not unit.containers:
            return found
        # authentik's worker may have made it anew since it was looked for, with the same name.
        found = self._docker.inspect("container", [unit.name])
        return [
            item for item in found if _OUTPOST in _labels(item) or _labels(item).get(_PROJECT) == self._project.name
        ]

    def states(self, units: list[Unit]) -> dict[str, str]:
        """Return the state of each service in systemd's words."""
        return {unit.name: state_of_all([state_of(item) for item in self.containers(unit)]) for unit in units}

    def failed(self, units: list[Unit]) -> list[Unit]:
        """Return the services with a container that ended, or that its restart policy started anew."""
        return [unit for unit in units if any(self._has_failed(item) for item in self.containers(unit))]

    def stop(self, unit: Unit) -> None:
        """Stop the containers of a service; no restart policy starts them again."""
        found = [item for item in self.containers(unit) if state_of(item) not in ("inactive", "failed", "unknown")]
        if not found:
            return
        limits = [item["Config"].get("StopTimeout") for item in found]
        seconds = max(_STOP_SECONDS if limit is None else limit for limit in limits)
        # All at once: they end at the same time.
        self._run(unit, ["stop", "-t", "%d" % seconds, *(item["Id"] for item in found)], seconds + _MORE_SECONDS)

    def start(self, unit: Unit, before: str) -> None:
        """Start the containers of a service, or have Compose make and start them where it has none."""
        found = self.containers(unit)
        for item in found:
            state = state_of(item)
            if state == "activating":
                # It ends all the time, and the engine waits longer each time before it starts it again.
                self._run(unit, ["stop", "-t", "0", item["Id"]], _MORE_SECONDS)
            if state == "paused":
                self._run(unit, ["unpause", item["Id"]], _MORE_SECONDS)
            elif state != "active":
                # The engine then counts its restarts from none.
                self._restarts[item["Id"]] = 0
                self._run(unit, ["start", item["Id"]], _MORE_SECONDS)
        if not found and unit.role != "outpost":
            options = ["--detach", "--no-deps", "--no-recreate", "--no-build", "--pull", "never"]
            self._compose(unit, ["up", *options, unit.name])
            self._restarts.update({item["Id"]: 0 for item in self.containers(unit)})

    def last_words(self, unit: Unit) -> str:
        """Return how a service's container ended and the last lines of its log, as sentences."""
        found = self.containers(unit)
        chosen = [item for item in found if self._has_failed(item)] or found
        return _last_words(self._docker, chosen[0]) if chosen else "It has no container"

    def status_command(self, unit: Unit) -> str:
        """Return the command that shows what a service does."""
        selected = ["--filter", "label=%s=%s" % (_SERVICE, unit.name)]
        selected = ["--filter", "label=%s=%s" % (_PROJECT, self._project.name), *selected]
        if unit.role == "outpost":
            selected = ["--filter", "name=%s" % unit.name]
        return _process.show([*self._docker.argv, "ps", "--all", *selected])

    def log_command(self, unit: Unit) -> str:
        """Return the command that shows what a service said."""
        found = self.containers(unit)
        chosen = [item for item in found if self._has_failed(item)] or found
        if not chosen:
            return self.status_command(unit)
        return _process.show([*self._docker.argv, "logs", "--tail", "100", _name(chosen[0])])

    def health_urls(self, servers: list[Unit]) -> list[str]:
        """Return the readiness URL, else those at the addresses that the server's containers have now."""
        if self._health_url:
            return [self._health_url]
        urls = [
            health_url_of(item, self._project.server_port, self._project.server_path)
            for unit in servers
            for item in self.containers(unit)
        ]
        return [url for url in urls if url]

    def _has_failed(self, container: dict[str, Any]) -> bool:
        restarts = (container.get("RestartCount") or 0) - self._restarts.get(container["Id"], 0)
        return restarts > 0 or state_of(container) in ("inactive", "failed", "unknown")

    def _compose(self, unit: Unit, arguments: list[str]) -> None:
        try:
            self._docker.compose(making_arguments(self._project), arguments, timeout=self._timeout)
        except ToolError as exc:
            raise self._explained(unit, exc) from exc

    def _run(self, unit: Unit, arguments: list[str], timeout: float) -> None:
        try:
            self._docker.run(arguments, timeout=timeout)
        except ToolError as exc:
            raise self._explained(unit, exc) from exc

    def _explained(self, unit: Unit, exc: ToolError) -> ToolError:
        cause = "%s. %s" % (exc.cause.rstrip("."), self.last_words(unit))
        return ToolError(cause, exc.hint, exc.command or self.status_command(unit))


def _labels(container: dict[str, Any]) -> dict[str, str]:
    return container["Config"].get("Labels") or {}


def _name(container: dict[str, Any]) -> str:
    return str(container["Name"]).lstrip("/")


def _last_words(docker: _docker.Docker, container: dict[str, Any]) -> str:
    state = container.get("State") or {}
    how = "Its container %s " % _name(container)
    if state.get("Running") and not state.get("Restarting"):
        restarts = container.get("RestartCount") or 0
        how += "runs" + (" and was restarted %d times" % restarts if restarts else "")
    else:
        how += "ended with exit status %s" % state.get("ExitCode")
        how += ", out of memory" if state.get("OOMKilled") else ""
        how += ": %s" % state["Error"] if state.get("Error") else ""
    try:
        done = docker.run(["logs", "--timestamps", "--tail", "%d" % _LOG_LINES, container["Id"]], timeout=30)
    except ToolError as exc:
        return "%s. Its log could not be read: %s" % (how, exc.cause)
    # What went to stdout and to stderr comes apart; the time before each line puts it together.
    lines = sorted(done.stdout.decode("utf-8", "replace").splitlines() + done.stderr.splitlines())
    # A server that waits says the same over and over.
    different = [text for text, _same in groupby(line.partition(" ")[2] for line in lines)]
    said = _process.last_lines("\n".join(different), _LOG_LINES)
    return "%s. Its log ends: %s" % (how, said) if said else "%s. Its log is empty" % how
