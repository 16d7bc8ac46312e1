# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host with a container engine that only answers questions: documents as Docker and Compose print them."""

from __future__ import annotations

import copy
import fnmatch
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._discover import (
    CONFIG_PATHS,
    discover,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Instance
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ConnectError, ToolError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._process import Completed

VOLUMES = "/var/lib/docker/volumes"
LAYERS = "/var/lib/docker/overlay2"
DIRECTORY = "/srv/authentik"
IMAGE = "ghcr.io/goauthentik/server"
# The image's own part of every container's environment and command.
IMAGES: dict[str, dict[str, Any]] = {
    "*goauthentik/server*": {"Entrypoint": ["dumb-init", "--", "ak"], "Env": ["PATH=/ak-root/venv/bin"]},
    "*postgres:*": {
        "Entrypoint": ["docker-entrypoint.sh"],
        "Cmd": ["postgres"],
        "Env": ["PG_MAJOR=16", "PGDATA=/var/lib/postgresql/data"],
        "ExposedPorts": {"5432/tcp": {}},
    },
    "*redis:*": {"Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["redis-server"], "ExposedPorts": {"6379/tcp": {}}},
    "*pgbouncer*": {
        "Entrypoint": ["/entrypoint.sh"],
        "Cmd": ["/usr/bin/pgbouncer", "/etc/pgbouncer/pgbouncer.ini"],
        "ExposedPorts": {"5432/tcp": {}},
    },
}


def bind(source: str, target: str) -> dict[str, Any]:
    """A bind mount, relative to the project directory."""
    return {"type": "bind", "source": source.replace("./", DIRECTORY + "/", 1), "target": target}


def volume(source: str, target: str) -> dict[str, Any]:
    """A named volume."""
    return {"type": "volume", "source": source, "target": target, "volume": {}}


def project(services: dict[str, dict[str, Any]], name: str = "authentik", **more: Any) -> dict[str, Any]:
    """What ``docker compose config`` prints, all services on the default network unless they say otherwise."""
    config = {"name": name, "services": copy.deepcopy(services), "networks": {"default": {"name": name + "_default"}}}
    for service in config["services"].values():  # type: ignore[attr-defined]
        service.setdefault("networks", {"default": None})
    used = [item["source"] for service in services.values() for item in service.get("volumes", []) if "volume" in item]
    config["volumes"] = {key: {"name": "%s_%s" % (name, key)} for key in used}
    config.update(copy.deepcopy(more))
    return config


def official(version: str, **changes: Any) -> dict[str, Any]:
    """The services of authentik's own compose file for a version."""
    train = tuple(int(part) for part in version.split(".")[:2])
    environment = {
        "AUTHENTIK_POSTGRESQL__HOST": "postgresql",
        "AUTHENTIK_POSTGRESQL__NAME": "authentik",
        "AUTHENTIK_POSTGRESQL__PASSWORD": "pg-secret",
        "AUTHENTIK_POSTGRESQL__USER": "authentik",
        "AUTHENTIK_SECRET_KEY": "the-key",
    }
    if train < (2025, 10):
        environment["AUTHENTIK_REDIS__HOST"] = "redis"
    files = [bind("./data", "/data") if train >= (2025, 12) else bind("./media", "/media")]
    files.append(bind("./custom-templates", "/templates"))
    image = "%s:%s" % (IMAGE, version)
    services: dict[str, dict[str, Any]] = {
        "postgresql": {
            "image": "docker.io/library/postgres:16-alpine",
            "environment": {"POSTGRES_DB": "authentik", "POSTGRES_USER": "authentik", "POSTGRES_PASSWORD": "pg-secret"},
            "volumes": [volume("database", "/var/lib/postgresql/data")],
        },
        "server": {
            "image": image,
            "command": ["server"],
            "environment": environment,
            "ports": [
                {"mode": "ingress", "target": 9000, "published": "9000", "protocol": "tcp"},
                {"mode": "ingress", "target": 9443, "published": "9443", "protocol": "tcp"},
            ],
            "volumes": files,
        },
        "worker": {
            "image": image,
            "command": ["worker"],
            "environment": dict(environment),
            "user": "root",
            "volumes": [bind("/var/run/docker.sock", "/var/run/docker.sock"), bind("./certs", "/certs"), *files],
        },
    }
    if train < (2025, 10):
        services["redis"] = {
            "image": "docker.io/library/redis:alpine",
            "command": ["--save", "60", "1", "--loglevel", "warning"],
            "volumes": [volume("redis", "/data")],
        }
    for name, change in changes.items():
        services[name].update(copy.deepcopy(change))
    return services


class FakeDocker:
    """Answers as the client does."""

    argv = ("/usr/bin/docker",)

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        self.volumes: dict[str, dict[str, Any]] = {}
        self.images: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.raw: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.asked: list[list[str]] = []
        self.answers = True
        self.has_compose = True
        self.host = "unix:///var/run/docker.sock"

    def ping(self, timeout: float = 10.0) -> str:
        if not self.answers:
            raise ConnectError("The Docker engine does not answer: SENTINEL")
        return "29.1.0"

    def address(self) -> str:
        return self.host

    def compose_version(self) -> str:
        if not self.has_compose:
            raise ToolError("Docker Compose v2 is not installed on this host")
        return "2.26.1"

    def containers(self, *_filters: str) -> list[dict[str, Any]]:
        return self.documents

    def inspect(self, kind: str, names: list[str]) -> list[dict[str, Any]]:
        known = {"volume": self.volumes, "image": self.images}[kind]
        known = {**known, **{item["Id"]: item for item in known.values() if "Id" in item}}
        return [known[name] for name in names if name in known]

    def read_files(self, _container: str, path: str) -> dict[str, bytes]:
        return {name: text for name, text in self.files.items() if name == path or name.startswith(path + "/")}

    def compose(self, project_args: list[str], arguments: list[str]) -> Completed:
        self.asked.append([*project_args, *arguments])
        folder = project_args[project_args.index("--project-directory") + 1]
        known = self.raw if "--no-interpolate" in arguments else self.configs
        if folder not in known:
            raise ToolError("required variable PG_PASS is missing a value: database password required")
        config = copy.deepcopy(known[folder])
        if "--project-name" in project_args:
            config["name"] = project_args[project_args.index("--project-name") + 1]
        return Completed([], 0, json.dumps(config).encode(), "")


class Host(System):
    """A host below a folder; its engine has what :meth:`up` brought up."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), euid=0)
        self.path = path
        self.engine: FakeDocker | None = FakeDocker()
        self.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")

    def docker(self, host: str | None) -> Any:
        return self.engine

    @property
    def fake(self) -> FakeDocker:
        assert self.engine is not None
        return self.engine

    def write(self, path: str, text: str) -> None:
        target = self.path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def folder(self, *paths: str) -> None:
        for path in paths:
            (self.path / path.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def link(self, path: str, target: str) -> None:
        (self.path / path.lstrip("/")).symlink_to(target)

    def lay_down(self, config: dict[str, Any], file: str = "compose.yml", directory: str = DIRECTORY) -> None:
        """Write a project's files and what its mounts need; nothing runs yet."""
        self.write("%s/%s" % (directory, file), "services: {}\n")
        self.fake.configs[directory] = config
        self.fake.raw.setdefault(directory, {"name": config["name"], "services": {}})
        for key, item in config["volumes"].items():
            name = item["name"]
            mountpoint = "%s/%s/_data" % (VOLUMES, name)
            if not item.get("external"):
                self.fake.volumes.setdefault(
                    name, {"Name": name, "Driver": "local", "Options": None, "Mountpoint": mountpoint, "Key": key}
                )
                self.folder(mountpoint)
        for service in config["services"].values():
            self.fake.images.setdefault(service["image"], image_document(service["image"]))
            for item in service.get("volumes", []):
                if item["type"] == "bind" and not self.exists(item["source"]):
                    self.folder(item["source"])

    def up(
        self, config: dict[str, Any], file: str = "compose.yml", directory: str = DIRECTORY, running: bool = True
    ) -> None:
        """Lay a project down and make its containers."""
        self.lay_down(config, file, directory)
        for number, name in enumerate(sorted(config["services"])):
            labels = {
                "com.docker.compose.project": config["name"],
                "com.docker.compose.service": name,
                "com.docker.compose.oneoff": "False",
                "com.docker.compose.project.working_dir": directory,
                "com.docker.compose.project.config_files": "%s/%s" % (directory, file),
            }
            self.fake.documents.append(self._container(config, name, labels, number + 2, running))

    def run(self, name: str, service: dict[str, Any], networks: dict[str, Any]) -> None:
        """Make one container that belongs to no project."""
        config = project({name: dict(service, networks={})}, name="none")
        self.fake.images.setdefault(service["image"], image_document(service["image"]))
        document = self._container(config, name, dict(service.get("labels", {})), 99, True)
        document["Name"] = "/" + name
        document["NetworkSettings"]["Networks"] = networks
        self.fake.documents.append(document)

    def _container(
        self, config: dict[str, Any], name: str, labels: dict[str, str], number: int, running: bool
    ) -> dict[str, Any]:
        service = config["services"][name]
        built = self.fake.images[service["image"]]["Config"]
        words = [*(service.get("entrypoint") or built.get("Entrypoint") or [])]
        words += service.get("command") or built.get("Cmd") or ["run"]
        container = service.get("container_name") or "%s-%s-1" % (config["name"], name)
        identity = "%s%060d" % (("%x" % (zlib.crc32(container.encode()) & 0xFFFF)).rjust(4, "0"), number)
        layer = "%s/%s/diff" % (LAYERS, identity)
        self.folder(layer)
        environment = [*(built.get("Env") or []), *("%s=%s" % pair for pair in service.get("environment", {}).items())]
        ports = {
            "%d/tcp" % item["target"]: [{"HostIp": item.get("host_ip", ""), "HostPort": item["published"]}]
            for item in service.get("ports", [])
        }
        return {
            "Id": identity,
            "Created": "2026-11-24T12:00:00Z",
            "Name": "/" + container,
            "Path": words[0],
            "Args": words[1:],
            "Image": self.fake.images[service["image"]]["Id"],
            "State": {"Status": "running" if running else "exited", "Running": running},
            "GraphDriver": {"Name": "overlay2", "Data": {"UpperDir": layer}},
            "HostConfig": {
                "NetworkMode": service.get("network_mode") or "%s_default" % config["name"],
                "PortBindings": ports,
                "ExtraHosts": service.get("extra_hosts") or [],
                "Mounts": [],
            },
            "Mounts": [self._mount(config, item) for item in service.get("volumes", [])],
            "Config": {
                "Hostname": identity[:12],
                "Env": environment,
                "Image": service["image"],
                "WorkingDir": "/",
                "ExposedPorts": built.get("ExposedPorts") or {},
                "Labels": {**(built.get("Labels") or {}), **labels, **service.get("labels", {})},
            },
            "NetworkSettings": {
                "Ports": ports if running else {},
                "Networks": {
                    config["networks"][key].get("name") or key: {
                        "Aliases": [name, container, *((known or {}).get("aliases") or [])],
                        "IPAddress": "172.18.0.%d" % number if running else "",
                    }
                    for key, known in service["networks"].items()
                },
            },
        }

    def _mount(self, config: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        if item["type"] == "bind":
            return {"Type": "bind", "Source": item["source"], "Destination": item["target"]}
        name = config["volumes"][item["source"]]["name"]
        known = self.fake.volumes[name]
        return {
            "Type": "volume",
            "Name": name,
            "Source": known["Mountpoint"],
            "Destination": item["target"],
            "Driver": known["Driver"],
        }

    def find(self, version: str | None = None, **options: Any) -> Instance:
        """Discover with a database that tells the version, or does not answer."""

        def read_history(_settings: object) -> list[str]:
            if version is None:
                raise ConnectError("no server answers")
            return [version]

        return discover({"config_paths": list(CONFIG_PATHS), **options}, read_history, self)


def image_document(reference: str) -> dict[str, Any]:
    """What ``docker image inspect`` prints of an image."""
    config = next((item for pattern, item in IMAGES.items() if fnmatch.fnmatch(reference, pattern)), {})
    name = reference.partition(":")[0]
    return {
        "Id": "sha256:%064x" % zlib.crc32(reference.encode()),
        "RepoDigests": ["%s@sha256:%064d" % (name, 7)],
        "Config": copy.deepcopy(config),
    }


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def directories(instance: Instance) -> dict[str, str]:
    return {item.component: item.path for item in instance.directories}


def files(instance: Instance, *kinds: str) -> list[str]:
    return [item.path for item in instance.config_files if item.kind in kinds]


def missing(instance: Instance) -> list[str]:
    return [item.option for item in instance.missing]


def here(*names: str) -> dict[str, str]:
    """Directories beside the compose file, by component."""
    paths = {"custom-templates": "custom-templates", "certs": "certs", "media": "media", "data": "data"}
    return {name: "%s/%s" % (DIRECTORY, paths[name]) for name in names}
