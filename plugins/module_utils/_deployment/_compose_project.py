# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Which compose project is the instance, and which files it is made of."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field, replace

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _compose_model as _model
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_roles import (
    authentik_services,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._docker_services import (
    project_arguments,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import ComposeProject
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    DiscoveryError,
    InputError,
    ToolError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_model import Service
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._docker import Docker

OPTIONS = ("compose_project_name", "compose_project_directory", "compose_files")
# Compose's own order; one of each pair is read.
_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = (
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)


@dataclass
class Engine:
    """What an engine has: its client, and all services and containers."""

    docker: Docker
    services: list[Service]
    volumes: dict[str, dict[str, Any]]

    def of(self, project: str) -> list[Service]:
        """Return a project's services that have containers."""
        return [item for item in self.services if item.project == project]

    def projects(self) -> dict[str, dict[str, list[Service]]]:
        """Return the projects that run authentik, each with its services by role."""
        names = sorted({item.project for item in self.services if item.project})
        found = {name: authentik_services(self.of(name)) for name in names}
        return {name: roles for name, roles in found.items() if roles["server"] or roles["worker"]}

    def strays(self) -> list[str]:
        """Return the names of containers that run authentik and belong to no project."""
        roles = authentik_services(self.of(""))
        return sorted(item.container for services in roles.values() for item in services)


def look(docker: Docker) -> Engine:
    """Ask the engine for everything it has."""
    documents = [item for item in docker.containers() if not _model.is_one_off(item)]
    names = {
        mount.get("Name")
        for item in documents
        for mount in item.get("Mounts") or []
        if mount.get("Type") == "volume" and mount.get("Name")
    }
    volumes = {item["Name"]: item for item in docker.inspect("volume", sorted(str(name) for name in names))}
    found = [_model.from_container(item, volumes) for item in documents]
    return Engine(docker, _model.merge_containers(found), volumes)


@dataclass
class Project:
    """The chosen project.

    :param plan: the compose project as ``docker compose`` is told of it; its name is empty until Compose tells.
    """

    plan: ComposeProject
    warnings: list[str] = field(default_factory=list)


def choose(options: dict[str, Any], engine: Engine, system: System) -> Project | None:
    """Return the project that is meant; None when there is none and no option names one.

    :raises DiscoveryError: when several could be meant, or the one that is named is not there.
    """
    name = _project_name(options, engine, system)
    given = [os.path.normpath(path) for path in options.get("compose_files") or []]
    folder = options.get("compose_project_directory") or (os.path.dirname(given[0]) if given else "")
    if name is None and not folder:
        return None
    labels = _labels(engine, name or "")
    return _locate(options, system, engine, name or "", folder or labels.get(_model.DIRECTORY, ""), labels)


def _project_name(options: dict[str, Any], engine: Engine, system: System) -> str | None:
    there = sorted({item.project for item in engine.services if item.project})
    candidates = engine.projects()
    given = options.get("compose_project_name")
    folder = options.get("compose_project_directory")
    files = options.get("compose_files") or []
    if given:
        if given not in there and not folder and not files:
            raise DiscoveryError(
                "There is no container of a compose project %s on this host (projects that have some: %s)"
                % (given, ", ".join(there) or "none"),
                "Correct compose_project_name, or give compose_project_directory for a project without containers",
                "docker compose ls --all",
            )
        return str(given)
    found = list(candidates)
    if folder or files:
        wanted = os.path.realpath(folder or os.path.dirname(files[0]))
        found = [name for name in there if os.path.realpath(_labels(engine, name).get(_model.DIRECTORY, "")) == wanted]
        found = [name for name in found if name in candidates] or found
    if not found and not folder:
        # Files that were made elsewhere, as in a container of Portainer: the option tells where they are here.
        found = [name for name in candidates if not system.exists(_labels(engine, name).get(_model.DIRECTORY, "/"))]
    if len(found) > 1:
        raise DiscoveryError(
            "Several compose projects on this host run authentik: %s"
            % ", ".join("%s (in %s)" % (name, _labels(engine, name).get(_model.DIRECTORY, "?")) for name in found),
            "Name the one that is meant with compose_project_name",
        )
    return found[0] if found else None


def _labels(engine: Engine, project: str) -> dict[str, str]:
    """Return the labels that Compose gave to the project's containers, authentik's own first."""
    services = engine.of(project) if project else []
    roles = authentik_services(services)
    for service in [*roles["server"], *roles["worker"], *services]:
        if service.labels.get(_model.DIRECTORY):
            return service.labels
    return {}


def _locate(
    options: dict[str, Any], system: System, engine: Engine, name: str, folder: str, labels: dict[str, str]
) -> Project:
    def absolute(path: str) -> str:
        return os.path.normpath(os.path.join(folder or "/", path))

    def split(label: str) -> list[str]:
        return [absolute(path) for path in labels.get(label, "").split(",") if path and path != "-"]

    warnings: list[str] = []
    files = [absolute(path) for path in options.get("compose_files") or []]
    env_files = [absolute(path) for path in options.get("compose_env_files") or []]
    _refuse_absent(system, files, "compose_files")
    _refuse_absent(system, env_files, "compose_env_files")
    moved = bool(options.get("compose_project_directory")) and folder != labels.get(_model.DIRECTORY)
    env_files = env_files or [] if moved else env_files or split(_model.ENV_FILES)
    env_files = env_files or ([absolute(".env")] if folder and system.exists(absolute(".env")) else [])
    if not files and not moved:
        files = split(_model.FILES)
    if not files and folder:
        files = _default_files(system, folder, env_files)
    absent = [path for path in files + env_files if not system.exists(path)]
    if absent:
        warnings.append(_absent_warning(name, absent, engine, system))
    complete = bool(files) and all(system.exists(path) for path in files)
    if not complete and not engine.of(name):
        raise DiscoveryError(
            "%s holds no compose file" % (folder or "/"),
            "Correct compose_project_directory, or name the files with compose_files",
        )
    plan = ComposeProject(
        docker=engine.docker.argv,
        name=name,
        directory=folder,
        files=tuple(path for path in files if system.exists(path)),
        env_files=tuple(path for path in env_files if system.exists(path)),
        missing_files=tuple(path for path in files if not system.exists(path)),
        missing_env_files=tuple(path for path in env_files if not system.exists(path)),
        profiles=tuple(options.get("compose_profiles") or ()),
    )
    return Project(plan, warnings)


def _refuse_absent(system: System, paths: Sequence[str], option: str) -> None:
    for path in paths:
        if not system.exists(path):
            raise InputError("%s, named by %s, does not exist" % (path, option), "Correct %s" % option)


def _absent_warning(name: str, absent: list[str], engine: Engine, system: System) -> str:
    # Portainer keeps the files of its stacks in a volume of its own container.
    elsewhere = [
        found
        for path in absent
        for service in engine.services
        for found in [service.host_path(path)]
        if found and service.project != name and system.exists(found)
    ]
    option = "compose_files" if any(path.endswith((".yml", ".yaml")) for path in absent) else "compose_env_files"
    return (
        "The containers of project %s were made from %s, not on this host%s. They are described as they run; the "
        "project's own files are not saved until %s names them"
        % (
            name,
            ", ".join(absent),
            " under that name, but perhaps as %s" % ", ".join(elsewhere) if elsewhere else "",
            option,
        )
    )


def _default_files(system: System, folder: str, env_files: Sequence[str]) -> list[str]:
    """Return the files that Compose would find by itself."""
    variables = {}
    for path in env_files:
        variables.update(_plain_variables(system.read(path) or ""))
    named = variables.get("COMPOSE_FILE", "")
    if named:
        separator = variables.get("COMPOSE_PATH_SEPARATOR") or ":"
        return [os.path.normpath(os.path.join(folder, path)) for path in named.split(separator) if path]
    found = [
        next((path for path in (os.path.join(folder, name) for name in names) if system.exists(path)), "")
        for names in (_FILES, _OVERRIDES)
    ]
    return [path for path in found if path] if found[0] else []


def _plain_variables(text: str) -> dict[str, str]:
    """Return Compose's own variables of an env file; they hold nothing that would need its quoting rules."""
    found = re.findall(r"(?m)^[ \t]*(?:export[ \t]+)?(COMPOSE_[A-Z_]+)[ \t]*=[ \t]*(.*?)[ \t]*(?:[ \t]#.*)?\r?$", text)
    return {key: value.strip("\"'") for key, value in found}


def print_config(docker: Docker, words: Sequence[str], options: Sequence[str] = ()) -> bytes:
    """Return what ``docker compose config`` prints of the project that *words* name.

    :raises ToolError: when Compose cannot read it, as for a variable that has no value.
    """
    try:
        return docker.compose(words, ["config", *options]).stdout
    except ToolError as exc:
        if exc.hint or "variable" not in exc.cause:
            raise
        hint = "Name the files that hold the project's variables with compose_env_files"
        raise ToolError(exc.cause, hint, exc.command) from exc


def read_config(docker: Docker, plan: ComposeProject, interpolate: bool = True) -> dict[str, Any]:
    """Return the project as Compose resolves it, ``env_file`` read in and dropped, or as written.

    :raises ToolError: when Compose cannot read it, as for a variable that has no value.
    """
    words = project_arguments(plan)
    if not plan.name:
        words = project_arguments(replace(plan, name="x"))[2:]
    options = ["--format", "json"] + ([] if interpolate else ["--no-interpolate"])
    try:
        config = json.loads(print_config(docker, words, options))
    except ValueError as exc:
        raise ToolError("docker compose config of %s printed no JSON: %s" % (plan.directory, exc)) from exc
    return config if isinstance(config, dict) else {}
