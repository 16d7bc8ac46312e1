# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Find an instance that runs as a Docker Compose project."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from urllib.parse import urlparse

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _compose_model as _model
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _compose_roles as _roles
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _units, _yaml
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_data import (
    postgres_of,
    redis_of,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_files import (
    ContainerFiles,
    FileList,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_places import Around, Finder
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_project import read_config
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import (
    Variable,
    load_configuration,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._facts import Facts, tls_files
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._host import listen_address
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
    ConfigFile,
    Image,
    Instance,
    Missing,
    Unit,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._storage import find_object_storage
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._version import find_version
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    DiscoveryError,
    InputError,
    RecoveryError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_model import Service
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_project import (
        Engine,
        Project,
    )
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import Configuration
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._facts import HistoryReader
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System

_HOST_ONLY = ("server_units", "worker_units", "outpost_units")
_ANY_ADDRESS = ("", "0.0.0.0", "::", "[::]")
# Mounts that hold nothing to save.
_NO_DATA = re.compile(r"\.sock$|^/etc/(?:localtime|timezone)$|^/(?:var/)?run/|^/(?:dev|proc|sys)(?:/|$)")


def discover_project(
    options: dict[str, Any], read_history: HistoryReader | None, system: System, engine: Engine, project: Project
) -> Instance:
    """Return the instance that a compose project is.

    :raises InputError: when an option does not fit a compose project, or names what it has not.
    :raises DiscoveryError: when several services could be meant.
    """
    for name in _HOST_ONLY:
        if options.get(name):
            raise InputError(
                "%s names services of systemd, but the instance is the compose project %s" % (name, project.plan.name),
                "Remove %s, or give deployment=host" % name,
            )
    return ComposeDiscovery(options, system, engine, project).run(read_history)


@dataclass
class _Process:
    """A service of authentik with what it is configured with."""

    service: Service
    configuration: Configuration
    files: ContainerFiles
    documents: list[str] = field(default_factory=list)


class ComposeDiscovery(Facts):
    """One look at one project.

    :ivar services: the project's services, those without containers among them as far as they are known.
    :ivar plan: the compose project, its facts filled in as they are found.
    """

    def __init__(self, options: dict[str, Any], system: System, engine: Engine, project: Project) -> None:
        super().__init__(options, system)
        self.engine = engine
        self.plan = project.plan
        self._planned: list[Service] | None = None
        self.warnings += project.warnings
        self.services = engine.of(self.plan.name) if self.plan.name else []
        found = _roles.authentik_services(self.services)
        if not found["server"] or not found["worker"]:
            self.add_planned()

    def run(self, read_history: HistoryReader | None) -> Instance:
        """Find everything out."""
        server_service, worker_service, units = self._authentik()
        server = self._load(server_service)
        worker = server if worker_service is server_service else self._load(worker_service)
        if worker is not server:
            self.compare(server.configuration, worker.configuration)
        postgresql = postgres_of(self, server_service, server.configuration)
        installed = self._installed(server_service)
        reachable = postgresql if postgresql and (not postgresql.container or postgresql.container.id) else None
        version = self.version_of(reachable, installed, read_history)
        redis = redis_of(self, server_service, server.configuration, version["value"] if version else None)
        code = installed or version
        finder = Finder(
            Around(
                self.system,
                self.options,
                code["value"] if code else None,
                server_service,
                worker_service,
                server.files.holds_any,
            )
        )
        places = finder.run(server.configuration, worker.configuration)
        self.sources.update(places.sources)
        self.missing += places.missing
        self.warnings += places.warnings
        self.notes += places.notes
        files = self._config_files([server, worker], finder.files, tls_files(postgresql, redis))
        saved = [item.path for item in places.directories] + [item.path for item in files]
        self._note_other_mounts([server_service, worker_service], saved)
        listen, health_url = self._health(server_service, server.configuration)
        return Instance(
            deployment="compose",
            compose=replace(self.plan, images=self._images()),
            version=version,
            installed=installed,
            postgresql=postgresql,
            redis=redis,
            directories=tuple(places.directories),
            storage_backend=places.storage_backend,
            reports=places.reports,
            object_storage=find_object_storage(server.configuration, self.options, code["value"] if code else None),
            units=tuple(units),
            config_files=files,
            secret_key=self.secret_key_of(server.configuration, worker.configuration),
            listen_http=listen,
            health_url=self.options.get("health_url") or health_url,
            sources=self.sources,
            missing=tuple(dict.fromkeys(self.missing)),
            warnings=tuple(dict.fromkeys(self.warnings)),
            notes=tuple(dict.fromkeys(self.notes)),
        )

    def everything(self) -> list[Service]:
        """Return the project's services and all other containers of the host."""
        return self.services + [item for item in self.engine.services if item.project != self.plan.name]

    def add_planned(self) -> bool:
        """Add the services of the compose files that have no container; False where that adds none.

        :raises RecoveryError: when the files cannot be read and there is no container either.
        """
        if self._planned is not None or not self.plan.can_be_read:
            return False
        self._planned = []
        try:
            config = read_config(self.engine.docker, self.plan)
        except RecoveryError as exc:
            if not self.services:
                raise
            self.warnings.append("Services without containers were not looked for: %s" % exc)
            return False
        if not self.plan.name:
            self.plan = replace(self.plan, name=str(config.get("name") or ""))
            self.services = self.engine.of(self.plan.name)
        docker = self.engine.docker
        images: dict[str, dict[str, Any]] = {}
        for reference in _model.config_images(config):
            for item in docker.inspect("image", [reference]):
                images[reference] = item
        volumes = {item["Name"]: item for item in docker.inspect("volume", _model.config_volumes(config))}
        names = {item.name for item in self.services}
        found = _model.from_config(config, images, volumes)
        self._planned = [item for item in found if item.name not in names]
        self.services = self.services + self._planned
        return bool(self._planned)

    def service(self, name: str, option: str) -> Service:
        """Return the service that an option names.

        :raises InputError: when there is none.
        """
        for attempt in (True, False):
            for item in self.services:
                if item.name == name:
                    return item
            if attempt and not self.add_planned():
                break
        # A database may run outside the project, in a container that has a name only.
        for item in self.everything():
            if name in (item.container, item.name) and option == "postgresql_service":
                return item
        raise InputError(
            "The compose project %s has no service %s (its services: %s)"
            % (self.plan.name, name, ", ".join(sorted(item.name for item in self.services)) or "none"),
            "Correct %s" % option,
        )

    def _authentik(self) -> tuple[Service, Service, list[Unit]]:
        """Return the server, the worker, and all services of the instance."""
        found = _roles.authentik_services(self.services)
        server = self._one("server", found["server"])
        if server is None:
            self.missing.append(Missing("the service that runs the authentik server", "server_service"))
        same = [item for item in found["worker"] if server is None or _database(item) == _database(server)]
        worker = self._one("worker", same or found["worker"], several=True)
        if worker is None:
            self.missing.append(Missing("the service that runs the authentik worker", "worker_service"))
        first, second = server or worker, worker or server
        if first is None or second is None:
            raise DiscoveryError(
                "The compose project %s runs no authentik: no service has its image and the command server or worker"
                % (self.plan.name or self.plan.directory),
                "Name its services with server_service and worker_service",
                "docker compose --project-name %s ps --all" % self.plan.name if self.plan.name else "",
            )
        chosen = {"server": server, "worker": worker}
        units = []
        for role in ("server", "worker"):
            head = chosen[role]
            rest = [item for item in found[role] if head is None or item.name != head.name]
            for item in ([head] if head else []) + [one for one in rest if _database(one) == _database(first)]:
                units.append(Unit(item.name, role, "", item.running, item.ids))
        return first, second, units + self._outposts(first)

    def _one(self, role: str, found: list[Service], several: bool = False) -> Service | None:
        option = "%s_service" % role
        given = self.options.get(option)
        if given:
            return self.service(given, option)
        found = [item for item in found if item.ids] or found
        if len(found) > 1 and not several:
            raise DiscoveryError(
                "Several services of the compose project %s run the authentik %s: %s"
                % (self.plan.name, role, ", ".join(sorted(item.name for item in found))),
                "Name the one that is meant with %s" % option,
            )
        return found[0] if found else None

    def _outposts(self, server: Service) -> list[Unit]:
        """Return the containers of outposts: the project's, and those that authentik made."""
        several = len(self.engine.projects()) > 1
        units = []
        for item in self.everything():
            if not _roles.is_outpost(item) or not item.ids:
                continue
            if item.project != self.plan.name and not item.labels.get(_model.OUTPOST):
                continue
            if several and item.project != self.plan.name and not set(item.networks) & set(server.networks):
                self.notes.append(
                    "Container %s is an outpost of another instance, as far as its networks tell" % item.container
                )
                continue
            units.append(Unit(item.container, "outpost", "", item.running, item.ids))
        return sorted(units, key=lambda unit: unit.name)

    def _load(self, service: Service) -> _Process:
        """Load a service's configuration, as authentik in its container does."""
        files = ContainerFiles(self.engine.docker, self.system, service)
        documents = []
        for pattern in [*(self.options.get("config_paths") or ()), "/local.yml"]:
            if pattern == "/local.yml" and service.host_path(pattern) is None:
                continue
            for path in files.matches(pattern):
                text = files.read(path)
                if text is not None:
                    documents.append((path, _yaml.load(text, "%s in %s" % (path, service.what))))
        where = "environment of %s" % service.what
        environment = {key: Variable(value, where) for key, value in service.environment.items()}
        for path in self.options.get("env_files") or []:
            variables, remarks = _units.read_env_file(self.system, path)
            self.notes += remarks
            if variables is None:
                self.warnings.append("The environment file %s was given and does not exist" % path)
            environment.update(variables or {})
        configuration = load_configuration(documents, environment, files.read)
        self.warnings += configuration.remarks
        return _Process(service, configuration, files, [path for path, _value in documents])

    def _installed(self, server: Service) -> dict[str, str] | None:
        given = self.options.get("authentik_version")
        if given:
            return {"value": str(given), "source": "option authentik_version"}
        tag, label = _roles.image_tag(server.image), server.labels.get(_model.VERSION, "")
        by_tag, by_label = find_version(tag), find_version(label)
        if by_tag and (by_tag.count(".") > 1 or not by_label):
            return {"value": by_tag, "source": "tag of image %s" % server.image}
        if by_label:
            return {"value": by_label, "source": "label %s of image %s" % (_model.VERSION, server.image)}
        return None

    def _images(self) -> tuple[Image, ...]:
        ids = sorted({item.image_id for item in self.services if item.image_id})
        known = {item.get("Id"): item for item in self.engine.docker.inspect("image", ids)}
        return tuple(
            Image(
                item.name,
                item.image,
                item.image_id,
                tuple(sorted((known.get(item.image_id) or {}).get("RepoDigests") or ())),
            )
            for item in sorted(self.services, key=lambda item: item.name)
        )

    def _config_files(self, processes: list[_Process], singles: list[str], tls: list[str]) -> tuple[ConfigFile, ...]:
        files = FileList(self.system, self.plan.directory, self.plan.env_files)
        files.add_compose_files(self.plan.files)
        files.add("env", self.plan.env_files)
        if self.plan.can_be_read:
            self.engine.docker.compose_version()
            try:
                files.add_raw_config(read_config(self.engine.docker, self.plan, interpolate=False))
            except RecoveryError as exc:
                self.warnings.append("Files that the compose files name were not looked for: %s" % exc)
        files.add_mounted(self.services)
        files.add("env", self.options.get("env_files") or [])
        for process in processes:
            service = process.service
            files.add("config", [process.files.host_paths.get(path, "") for path in process.documents])
            below = [mount for mount in service.mounts if _model.is_below(mount.target, "/etc/authentik")]
            files.add("config", [mount.source for mount in below if mount.source])
            for path in process.configuration.file_values:
                host = service.host_path(path)
                files.add("file-value", [host] if host else [])
                if host is None and service.ids:
                    self.notes.append(
                        "file://%s is in the container of %s only: it is not saved" % (path, service.what)
                    )
        files.add("config", singles)
        files.add("tls", tls)
        self.plan = replace(self.plan, shell_variables=files.shell_variables)
        self.warnings += files.warnings
        self.notes += files.notes
        return files.result()

    def _note_other_mounts(self, services: list[Service], saved: list[str]) -> None:
        """Note what is mounted and not saved."""
        for service in services:
            for mount in service.mounts:
                if not mount.source or _NO_DATA.search(mount.target) or _NO_DATA.search(mount.source):
                    continue
                if not any(_model.is_below(mount.source, path) for path in saved):
                    self.notes.append(
                        "%s (mounted at %s of %s) is none of authentik's directories: it is not saved unless "
                        "extra_paths names it" % (mount.source, mount.target, service.what)
                    )

    def _health(self, server: Service, configuration: Configuration) -> tuple[str, str]:
        """Return the address that the server listens on, and its readiness URL on this host; empty for none."""
        listen, url = listen_address(configuration)
        parts = urlparse(url)
        self.plan = replace(self.plan, server_port=parts.port or 9000, server_path=parts.path)
        if server.network_mode == "host":
            return listen, url
        namespace = [server, *_roles.shared_namespace(server, self.everything())]
        for port in [port for item in namespace for port in item.ports]:
            if port.inside == self.plan.server_port:
                address = "127.0.0.1" if port.address in _ANY_ADDRESS else port.address
                address = "[%s]" % address if ":" in address else address
                return listen, "http://%s:%d%s" % (address, port.outside, parts.path)
        return listen, ""


def _database(service: Service) -> tuple[str | None, ...]:
    """Return what tells the instance of one service from that of another."""
    keys = ("AUTHENTIK_POSTGRESQL__HOST", "AUTHENTIK_POSTGRESQL__NAME", "AUTHENTIK_POSTGRESQL__PORT")
    return tuple(service.environment.get(key) for key in keys)
