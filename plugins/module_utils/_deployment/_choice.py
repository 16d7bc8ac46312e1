# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Whether the instance is services of the host or a compose project."""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    DiscoveryError,
    InputError,
    RecoveryError,
    ToolError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_project import (
        Engine,
        Project,
    )
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._docker import Docker

_COMPOSE_OPTIONS = (
    "docker_host",
    "compose_project_name",
    "compose_project_directory",
    "compose_files",
    "compose_env_files",
    "compose_profiles",
    "server_service",
    "worker_service",
    "postgresql_service",
    "redis_service",
)
_HOST_OPTIONS = ("server_units", "worker_units", "outpost_units")
# An engine that hangs must not hold up a host that has nothing to do with it.
_PATIENCE = 5.0


class Choice(NamedTuple):
    """How the instance runs: as a project of an engine, or as services of the host where these are None."""

    engine: Engine | None = None
    project: Project | None = None
    warnings: tuple[str, ...] = ()


def choose_deployment(options: dict[str, Any], system: System, units: Sequence[str]) -> Choice:
    """Decide how the instance runs: by option, else by what there is.

    :param units: the host's services that run authentik.
    :raises DiscoveryError: when there are both, or several projects.
    :raises InputError: when options contradict each other.
    """
    wanted = options.get("deployment")
    given = [name for name in _COMPOSE_OPTIONS if options.get(name) is not None and options.get(name) != []]
    if wanted == "host":
        for name in given:
            raise InputError("%s tells of a compose project, but deployment is host" % name, "Remove one of both")
        return Choice()
    if wanted == "compose" or given:
        return _required(options, system, "deployment=compose" if wanted else given[0])
    if any(options.get(name) for name in _HOST_OPTIONS):
        return Choice()
    return _found(options, system, units)


def _required(options: dict[str, Any], system: System, why: str) -> Choice:
    docker = system.docker(options.get("docker_host"))
    if docker is None:
        raise ToolError(
            "The program docker is not installed on this host, but %s was given" % why,
            "Install Docker with its Compose plugin, or remove the option",
        )
    docker.ping()
    _refuse_remote(docker)
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _compose_project

    engine = _compose_project.look(docker)
    project = _compose_project.choose(options, engine, system)
    if project is None:
        strays = engine.strays()
        raise DiscoveryError(
            "No container of a compose project runs authentik on this host%s"
            % (": %s belong to none, which is not supported" % ", ".join(strays) if strays else ""),
            "Give compose_project_directory for a project that is down, or docker_host for another engine",
            "docker compose ls --all",
        )
    return Choice(engine, project)


def _found(options: dict[str, Any], system: System, units: Sequence[str]) -> Choice:
    docker = system.docker(None)
    if docker is None:
        return Choice()
    try:
        docker.ping(_PATIENCE)
        _refuse_remote(docker)
        # Much to compile in each task, and nothing to a host without an engine.
        from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _compose_project

        engine = _compose_project.look(docker)
    except RecoveryError as exc:
        text = "Compose projects were not looked for: %s" % exc
        return Choice() if units or _describes_host(options, system) else Choice(warnings=(text,))
    projects = sorted(engine.projects())
    if projects and units:
        raise DiscoveryError(
            "This host runs authentik both as services (%s) and as compose projects (%s)"
            % (", ".join(units), ", ".join(projects)),
            "Say with deployment which is meant, host or compose",
        )
    project = None if units else _compose_project.choose(options, engine, system)
    if project is not None:
        return Choice(engine, project)
    warnings = [
        "Container %s runs authentik, but belongs to no compose project: it is left alone, which is all that is "
        "supported for it" % name
        for name in engine.strays()
    ]
    if not units and not warnings and not _describes_host(options, system):
        warnings.append(
            "Docker runs here, but none of its containers is authentik's. For a compose project that is down give "
            "compose_project_directory"
        )
    return Choice(warnings=tuple(warnings))


def _describes_host(options: dict[str, Any], system: System) -> bool:
    """Tell whether options or files describe an instance on the host, though no service of it was found."""
    named = ("env_files", "postgresql_host", "postgresql_name", "working_directory")
    return any(options.get(name) for name in named) or bool(system.matches("/etc/authentik/*"))


def _refuse_remote(docker: Docker) -> None:
    """Refuse an engine of another machine: the paths that it tells are not on this one.

    :raises InputError: naming its address.
    """
    address = docker.address()
    if address.startswith(("ssh://", "tcp://", "http://", "https://")):
        raise InputError(
            "The Docker engine %s is another machine's, as far as its address tells" % address,
            "Run the task on the machine that runs the engine, and name its socket with docker_host (unix://...)",
        )
