# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Bring a compose project up as far as its data: everything is made, the database and Redis run, authentik does not.

Nothing that is there is made anew: neither a container nor a volume. An image that is not on the host is refused
before anything is made.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _docker, _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._docker_services import (
    DockerServices,
    making_arguments,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Container, Image, Unit
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    DiscoveryError,
    InputError,
    StateError,
    ToolError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import Client, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
        ComposeProject,
        Instance,
        RedisSettings,
    )

ABSENT = "absent"
_POLL_SECONDS = 1.0
_PROBE_SECONDS = 15
# How the engine says that a container lacks a program.
_NO_PROGRAM = ("executable file not found", "no such file or directory", "permission denied")


@dataclass(frozen=True)
class Wanted:
    """What a project consists of, as Compose resolved it: names as the engine has them.

    :param images: reference by service, for the services that run at least one container.
    :param built: services whose image Compose builds.
    :param external: networks and volumes that Compose expects to be there.
    """

    images: dict[str, str]
    built: frozenset[str] = frozenset()
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    external: frozenset[tuple[str, str]] = field(default_factory=frozenset)


def wanted_of(model: dict[str, Any], project: str) -> Wanted:
    """Return what the project consists of.

    :param model: what ``docker compose config --format json`` printed.
    """
    images = {}
    used: dict[str, set[str]] = {"network": set(), "volume": set()}
    services = {name: item for name, item in (model.get("services") or {}).items() if _replicas(item) > 0}
    for name, item in services.items():
        images[name] = item.get("image") or "%s-%s" % (project, name)
        used["network"].update(item.get("networks") or {})
        used["volume"].update(
            mount["source"]
            for mount in item.get("volumes") or []
            if mount.get("type") == "volume" and mount.get("source")
        )
    names: dict[str, list[str]] = {"network": [], "volume": []}
    external = set()
    for kind, keys in used.items():
        for key in sorted(keys):
            item = (model.get(kind + "s") or {}).get(key) or {}
            name = item.get("name") or "%s_%s" % (project, key)
            names[kind].append(name)
            if item.get("external"):
                external.add((kind, name))
    return Wanted(
        images=images,
        built=frozenset(name for name, item in services.items() if item.get("build")),
        networks=tuple(names["network"]),
        volumes=tuple(names["volume"]),
        external=frozenset(external),
    )


def _replicas(service: dict[str, Any]) -> int:
    deploy = service.get("deploy") or {}
    replicas = service.get("scale", deploy.get("replicas", 1))
    return 1 if replicas is None else int(replicas)


def images_of(given: list[dict[str, Any]]) -> list[Image]:
    """Return the images that the option ``images`` gives."""
    return [Image(item["service"], item["reference"], item["id"], tuple(item["digests"])) for item in given]


def missing_image(
    reference: str, services: list[str], built: bool, recorded: Image | None, tag_of: str
) -> tuple[str, str]:
    """Return the sentence about an image that is not on the host, and the command that brings it.

    :param services: those that need it.
    :param built: whether Compose builds it.
    :param recorded: what a backup set knows of it.
    :param tag_of: the id of that very image, where the host has it under another name.
    """
    cause = "The image %s of %s is not on this host" % (reference, ", ".join(services))
    if recorded is not None and recorded.digests:
        digest = recorded.digests[0]
        cause += "; the backup set was made with %s" % digest
        command = "docker pull %s" % digest
        if "@" not in reference:
            command += " && docker tag %s %s" % (digest, reference)
    elif recorded is not None and recorded.id:
        cause += "; the backup set was made with an image that no registry gave, id %s" % recorded.id
        command = "docker load -i FILE"
    else:
        command = "docker compose build %s" % " ".join(services) if built else "docker pull %s" % reference
    if tag_of:
        command = "docker tag %s %s" % (tag_of, reference)
    return cause, command


def project_of(instance: Instance) -> ComposeProject:
    """Return the project of an instance.

    :raises DiscoveryError: when it runs otherwise.
    """
    if instance.compose is None:
        raise DiscoveryError(
            "The authentik instance on this host is no compose project",
            "Name the folder of its compose file with compose_project_directory",
            "docker compose ls --all",
        )
    return instance.compose


def data_units(instance: Instance) -> list[Unit]:
    """Return the services of the project that hold data: its database, and Redis where authentik uses it."""
    project = project_of(instance)
    found = [Unit(project.postgresql_service, "postgresql")] if project.postgresql_service else []
    if project.redis_service and instance.redis is not None:
        found.append(Unit(project.redis_service, "redis"))
    return found


class ComposeUp:
    """A project that is brought up.

    :param model: what ``docker compose config --format json`` printed of it.
    :param images: the images as a backup set recorded them.
    :ivar warnings: what an operator should look at.
    """

    def __init__(
        self,
        docker: _docker.Docker,
        instance: Instance,
        services: DockerServices,
        model: dict[str, Any],
        images: list[Image],
    ) -> None:
        self._project = project_of(instance)
        self._docker = docker
        self._services = services
        self._wanted = wanted_of(model, self._project.name)
        self._units = data_units(instance)
        self._port = instance.postgresql.port if instance.postgresql else 5432
        self._redis = instance.redis
        self._images = images
        self.warnings: list[str] = []

    def run(self, timeout: float, check_mode: bool) -> dict[str, Any]:
        """Make what is missing, start the services that hold data, wait for them; return the module's result.

        :param timeout: seconds for all of it.
        :raises InputError: when an image, an external network or an external volume is not there; nothing was made.
        :raises StateError: when a service does not start, or does not accept connections in time.
        """
        end = time.monotonic() + timeout
        before = self._look()
        created = {
            "services": [name for name in sorted(self._wanted.images) if before["service " + name] == ABSENT],
            "networks": [name for name in self._wanted.networks if before["network " + name] == ABSENT],
            "volumes": [name for name in self._wanted.volumes if before["volume " + name] == ABSENT],
        }
        started = [unit.name for unit in self._units if before["service " + unit.name] != "active"]
        self._require(before, created)
        after = {**before, **{"service " + name: "inactive" for name in created["services"]}}
        after.update({name: "present" for name in after if after[name] == ABSENT})
        after.update({"service " + name: "active" for name in started})
        ready = {}
        if not check_mode:
            if any(created.values()):
                self._create(timeout)
            for unit in self._units:
                if unit.name in started:
                    self._services.start(unit, "")
            ready = self._wait(end, timeout)
            after = self._look()
        return {
            "changed": bool(any(created.values()) or started),
            "created": created,
            "started": started,
            "services": [
                {
                    "name": unit.name,
                    "role": unit.role,
                    "before": before["service " + unit.name],
                    "after": after["service " + unit.name],
                    "ready_seconds": ready.get(unit.name),
                }
                for unit in self._units
            ],
            "diff": {"before": before, "after": after},
        }

    def _look(self) -> dict[str, str]:
        """Return the state of each service, and whether each network and volume is there."""
        found = {}
        for name in sorted({*self._wanted.images, *(unit.name for unit in self._units)}):
            unit = Unit(name, "")
            found["service " + name] = (
                self._services.states([unit])[name] if self._services.containers(unit) else ABSENT
            )
        for kind, names in (("network", self._wanted.networks), ("volume", self._wanted.volumes)):
            there = [str(item.get("Name")) for item in self._docker.inspect(kind, names)]
            found.update({"%s %s" % (kind, name): "present" if name in there else ABSENT for name in names})
        return found

    def _require(self, before: dict[str, str], created: dict[str, list[str]]) -> None:
        """Refuse what Compose could not make, before it makes anything."""
        for unit in self._units:
            if unit.name not in self._wanted.images and before["service " + unit.name] == ABSENT:
                raise InputError(
                    "Compose would not run the service %s, which has no container either" % unit.name,
                    "Name the profiles that it needs with compose_profiles, or the project's files with compose_files",
                )
        for kind, name in sorted(self._wanted.external):
            if name in created[kind + "s"]:
                raise InputError(
                    "The project needs the external %s %s, which this host does not have" % (kind, name),
                    "Make it as it was made on the first host",
                    "docker %s create %s" % (kind, name),
                )
        missing = []
        for reference in sorted({self._wanted.images[service] for service in created["services"]}):
            users = [service for service in created["services"] if self._wanted.images[service] == reference]
            recorded = next((item for item in self._images if item.reference == reference), None)
            found = self._docker.inspect("image", [reference])
            if found:
                self._compare(reference, found[0], recorded)
                continue
            same = self._docker.inspect("image", [recorded.id]) if recorded is not None and recorded.id else []
            tag_of = str(same[0].get("Id")) if same else ""
            missing.append(missing_image(reference, users, bool(self._wanted.built & {*users}), recorded, tag_of))
        if missing:
            raise InputError(
                ". ".join(cause for cause, _command in missing),
                "No image is pulled or built here, and nothing was made. Where the host reaches no registry, save the "
                "image elsewhere with docker save, and load it here with docker load",
                " && ".join(dict.fromkeys(command for _cause, command in missing)),
            )

    def _compare(self, reference: str, found: dict[str, Any], recorded: Image | None) -> None:
        """Warn of an image that has the name of the recorded one and is another."""
        if recorded is None or not (recorded.id or recorded.digests):
            return
        if found.get("Id") == recorded.id or set(found.get("RepoDigests") or []) & set(recorded.digests):
            return
        self.warnings.append(
            "The image %s on this host is not the one that the backup set was made with (%s)"
            % (reference, ", ".join(recorded.digests) or recorded.id)
        )

    def _create(self, timeout: float) -> None:
        options = ["--no-recreate", "--no-build", "--pull", "never"]
        try:
            self._docker.compose(making_arguments(self._project), ["create", *options], timeout=timeout)
        except ToolError as exc:
            raise ToolError(
                exc.cause, exc.hint or "Compose makes what is still missing when this is run again", exc.command
            ) from exc

    def _wait(self, end: float, timeout: float) -> dict[str, float]:
        """Wait until all services that hold data accept connections; return the seconds that each took."""
        start = time.monotonic()
        ready: dict[str, float] = {}
        while True:
            seen = {}
            for unit in [unit for unit in self._units if unit.name not in ready]:
                seen[unit.name] = self._probe(unit)
                if not seen[unit.name]:
                    ready[unit.name] = round(time.monotonic() - start, 1)
            waiting = [unit for unit in self._units if unit.name not in ready]
            if not waiting:
                return ready
            for unit in self._services.failed(waiting):
                raise StateError(
                    "%s failed while it was starting. %s" % (unit.name, self._services.last_words(unit)),
                    "Its log says why",
                    self._services.log_command(unit),
                )
            if time.monotonic() + _POLL_SECONDS > end:
                unit = waiting[0]
                raise StateError(
                    "%s did not accept connections within %d s: %s. %s"
                    % (unit.name, timeout, seen[unit.name].rstrip("."), self._services.last_words(unit)),
                    "Give timeout more seconds if it is still recovering",
                    self._services.log_command(unit),
                )
            time.sleep(_POLL_SECONDS)

    def _probe(self, unit: Unit) -> str:
        """Ask a service once; return why it does not accept connections, empty when it does."""
        found = self._services.containers(unit)
        if not found or not (found[0].get("State") or {}).get("Running"):
            return "it has no running container"
        if unit.role == "postgresql":
            container = Container(self._docker.argv, str(found[0]["Id"]), str(found[0]["Name"]).lstrip("/"))
            return probe_postgresql(container, self._port)
        return probe_redis(self._redis, found[0])


def probe_postgresql(container: Container, port: int) -> str:
    """Ask a PostgreSQL server once whether it accepts connections; return why not.

    Over TCP: at its first start the official image runs a server on the socket alone, and ends it again.

    :raises StateError: when the container has no ``pg_isready``.
    """
    argv = _docker.exec_argv(container, ["pg_isready", "-h", "127.0.0.1", "-p", "%d" % port])
    try:
        done = _process.run(argv, timeout=_PROBE_SECONDS, check=False)
    except ToolError as exc:
        return exc.cause
    if done.status == 0:
        return ""
    why = _process.last_lines(done.stdout.decode("utf-8", "replace") + done.stderr, 2)
    # The engine gives these statuses also while the container ends.
    if done.status in (126, 127) and any(words in why for words in _NO_PROGRAM):
        raise StateError(
            "pg_isready cannot be run in container %s: %s" % (container.name, why),
            "Is that service a PostgreSQL server? Name the right one with postgresql_service",
        )
    return why or "pg_isready ended with status %d" % done.status


def probe_redis(settings: RedisSettings | None, document: dict[str, Any]) -> str:
    """Ask a Redis server once whether it answers a PING; return why not.

    :param document: its container, whose address is a new one after each start.
    :raises ConnectError: when it refuses the login: waiting would not help.
    """
    if settings is None:
        return ""
    if not settings.socket:
        settings = replace(settings, host=_docker.container_ip(document) or settings.host)
    try:
        with Client(settings, reply_seconds=_PROBE_SECONDS) as client:
            client.command("PING")
    except CommandError:
        return ""  # It runs, and forbids this user the command.
    except ConnectError as exc:
        if any(code in exc.cause for code in (": WRONGPASS", ": NOAUTH", "invalid password")):
            raise
        return exc.cause
    return ""
