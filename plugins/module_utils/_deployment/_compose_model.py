# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What runs, or would run, in containers: one model out of the engine's documents and Compose's own.

Pure. The containers that exist come first, since they are what really runs; the compose files fill in for services that
have none.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Mapping

    Documents = Mapping[str, Mapping[str, Any]]

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
FILES = "com.docker.compose.project.config_files"
DIRECTORY = "com.docker.compose.project.working_dir"
ENV_FILES = "com.docker.compose.project.environment_file"
OUTPOST = "io.goauthentik.outpost-uuid"
VERSION = "org.opencontainers.image.version"
_ONE_OFF = "com.docker.compose.oneoff"


@dataclass(frozen=True)
class Mount:
    """A file or directory of the host, or a volume, in a container.

    :param target: path in the container.
    :param source: path on the host; empty where there is none to use.
    :param volume: the volume's name, empty for a bind mount.
    :param problem: why there is no path to use.
    """

    target: str
    source: str = ""
    volume: str = ""
    problem: str = ""

    @property
    def where(self) -> str:
        """What is mounted, for messages."""
        return "volume %s" % self.volume if self.volume else self.source


@dataclass(frozen=True)
class Endpoint:
    """A container's place in a network: the names it has there, and its address while it runs."""

    names: frozenset[str] = frozenset()
    address: str = ""


@dataclass(frozen=True)
class Port:
    """A port published on the host."""

    inside: int
    outside: int
    address: str = ""


@dataclass(frozen=True)
class Service:
    """A service of a project with its containers, or a container that belongs to none.

    :param project: empty for a container of no project.
    :param container: name of its first container, the one that runs if any does; empty where it has none yet.
    :param ids: ids of all its containers, that of *container* first.
    :param command: entry point and command, word by word.
    :param network_mode: ``host``, ``container:ID``, ``service:NAME`` or else.
    :param upper_dir: folder on the host that holds the files of the container's own layer; empty where not known.
    """

    name: str
    project: str = ""
    container: str = ""
    ids: tuple[str, ...] = ()
    running: bool = False
    image: str = ""
    image_id: str = ""
    command: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    mounts: tuple[Mount, ...] = ()
    networks: dict[str, Endpoint] = field(default_factory=dict)
    network_mode: str = ""
    extra_hosts: dict[str, str] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    exposed: frozenset[int] = frozenset()
    working_dir: str = "/"
    labels: dict[str, str] = field(default_factory=dict)
    upper_dir: str = ""
    created: str = ""

    @property
    def what(self) -> str:
        """The service, for messages."""
        return "service %s" % self.name if self.project else "container %s" % self.name

    def mount_of(self, path: str) -> Mount | None:
        """Return the mount that *path* of the container lies in."""
        inside = [mount for mount in self.mounts if is_below(path, mount.target)]
        return max(inside, key=lambda mount: len(mount.target)) if inside else None

    def host_path(self, path: str) -> str | None:
        """Return where *path* of the container lies on the host, None where it is not mounted from there."""
        mount = self.mount_of(path)
        if mount is None or not mount.source:
            return None
        rest = os.path.relpath(os.path.normpath(path), mount.target)
        return mount.source if rest == "." else os.path.join(mount.source, rest)

    @property
    def address(self) -> str:
        """Its first address on a network, empty while it does not run."""
        return next((self.networks[name].address for name in sorted(self.networks) if self.networks[name].address), "")


def is_below(path: str, folder: str) -> bool:
    """Tell whether *path* is *folder*, or lies in it."""
    path, folder = os.path.normpath(path), os.path.normpath(folder)
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def volume_source(name: str, volume: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return the path on the host of a volume's files, or why there is none to use.

    :param volume: the engine's document, None for a volume that does not exist.
    """
    if volume is None:
        return "", "volume %s does not exist" % name
    driver = volume.get("Driver") or "local"
    if driver != "local":
        return "", "volume %s has the driver %s, not local" % (name, driver)
    options = volume.get("Options") or {}
    kind, device = options.get("type") or "", options.get("device") or ""
    if device and kind in ("none", "bind", "") and "bind" in (options.get("o") or "").split(","):
        return device, ""
    if kind and kind != "none":
        # Mounted only while a container uses it: stopped for a restore, its path is an empty folder.
        return "", "volume %s is a mount of type %s, there only while a container uses it" % (name, kind)
    return volume.get("Mountpoint") or "", ""


def from_container(document: Mapping[str, Any], volumes: Documents) -> Service:
    """Return what ``docker inspect`` tells of one container."""
    config = document.get("Config") or {}
    host = document.get("HostConfig") or {}
    labels = config.get("Labels") or {}
    name = str(document.get("Name") or "").lstrip("/")
    state = document.get("State") or {}
    driver = document.get("GraphDriver") or {}
    command = [document.get("Path") or "", *(document.get("Args") or [])]
    return Service(
        name=labels.get(SERVICE) or name,
        project=labels.get(PROJECT) or "",
        container=name,
        ids=(str(document.get("Id") or ""),),
        running=bool(state.get("Running")),
        image=config.get("Image") or "",
        image_id=document.get("Image") or "",
        command=tuple(word for word in command if word),
        environment=_environment(config.get("Env")),
        mounts=_container_mounts(document, host, volumes),
        networks=_container_networks(document, name, config.get("Hostname") or ""),
        network_mode=host.get("NetworkMode") or "",
        extra_hosts=dict(_host_and_address(item) for item in host.get("ExtraHosts") or []),
        ports=_container_ports(document, host),
        exposed=_exposed(config),
        working_dir=config.get("WorkingDir") or "/",
        labels=labels,
        upper_dir=(driver.get("Data") or {}).get("UpperDir") or "",
        created=document.get("Created") or "",
    )


def is_one_off(document: Mapping[str, Any]) -> bool:
    """Tell whether a container was made by ``docker compose run``."""
    labels = (document.get("Config") or {}).get("Labels") or {}
    return str(labels.get(_ONE_OFF, "")).lower() == "true"


def _environment(words: Iterable[str] | None) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in words or [] if "=" in word)


def _exposed(config: Mapping[str, Any]) -> frozenset[int]:
    return frozenset(int(port.partition("/")[0]) for port in config.get("ExposedPorts") or {} if port[0].isdigit())


def _host_and_address(text: str) -> tuple[str, str]:
    name, _mark, address = text.partition("=") if "=" in text else text.partition(":")
    return name, address.strip("[]")


def _container_mounts(document: Mapping[str, Any], host: Mapping[str, Any], volumes: Documents) -> tuple[Mount, ...]:
    subpaths = {
        item.get("Target"): (item.get("VolumeOptions") or {}).get("Subpath") or "" for item in host.get("Mounts") or []
    }
    mounts = []
    for item in document.get("Mounts") or []:
        target, source, volume, problem = item.get("Destination") or "", item.get("Source") or "", "", ""
        if item.get("Type") == "volume":
            volume = item.get("Name") or ""
            known = volumes.get(volume) or {"Driver": item.get("Driver"), "Mountpoint": source}
            source, problem = volume_source(volume, known)
            subpath = subpaths.get(target, "")
            source = os.path.join(source, subpath) if source and subpath else source
        elif item.get("Type") != "bind":
            source, problem = "", "%s is a mount of type %s" % (target, item.get("Type"))
        mounts.append(Mount(os.path.normpath(target), source, volume, problem))
    return tuple(mounts)


def _container_networks(document: Mapping[str, Any], name: str, hostname: str) -> dict[str, Endpoint]:
    networks = (document.get("NetworkSettings") or {}).get("Networks") or {}
    found = {}
    for network, known in networks.items():
        item = known or {}
        names = {name, hostname, *(item.get("Aliases") or []), *(item.get("DNSNames") or [])}
        address = item.get("IPAddress") or item.get("GlobalIPv6Address") or ""
        found[network] = Endpoint(frozenset(text.lower() for text in names if text), address)
    return found


def _container_ports(document: Mapping[str, Any], host: Mapping[str, Any]) -> tuple[Port, ...]:
    # A stopped container publishes nothing: what it asked for tells then.
    now = (document.get("NetworkSettings") or {}).get("Ports") or {}
    ports = []
    for inside, bindings in (now or host.get("PortBindings") or {}).items():
        for binding in bindings or []:
            if inside.endswith("/tcp") and str(binding.get("HostPort") or "").isdigit():
                address = binding.get("HostIp") or ""
                ports.append(Port(int(inside.partition("/")[0]), int(binding["HostPort"]), address))
    return tuple(dict.fromkeys(ports))


def merge_containers(found: Iterable[Service]) -> list[Service]:
    """Return services with all their containers; the newest of those that run stands for the others."""
    groups: dict[tuple[str, str], list[Service]] = {}
    for item in found:
        groups.setdefault((item.project, item.name), []).append(item)
    merged = []
    for items in groups.values():
        items.sort(key=lambda item: (item.running, item.created), reverse=True)
        merged.append(replace(items[0], ids=tuple(one for item in items for one in item.ids)))
    return merged


def from_config(config: Mapping[str, Any], images: Documents, volumes: Documents) -> list[Service]:
    """Return the services of ``docker compose config --format json``.

    :param images: the engine's documents by reference, for what services leave to their image.
    """
    clean = _unescape(config)
    return [
        _from_config_service(name, item or {}, clean, images, volumes)
        for name, item in sorted((clean.get("services") or {}).items())
    ]


def _unescape(value: Any) -> Any:
    # Compose prints a file that could be read again, in which a dollar is written twice.
    if isinstance(value, str):
        return value.replace("$$", "$")
    if isinstance(value, dict):
        return {key: _unescape(item) for key, item in value.items()}
    return [_unescape(item) for item in value] if isinstance(value, list) else value


def config_images(config: Mapping[str, Any]) -> list[str]:
    """Return the images that the services of a compose configuration name."""
    services = (config.get("services") or {}).values()
    return sorted({str(item["image"]) for item in services if item and item.get("image")})


def config_volumes(config: Mapping[str, Any]) -> list[str]:
    """Return the names, as the engine has them, of the volumes of a compose configuration."""
    return sorted({_volume_name(config, key) for key in config.get("volumes") or {}})


def _volume_name(config: Mapping[str, Any], key: str) -> str:
    declared = (config.get("volumes") or {}).get(key) or {}
    return declared.get("name") or "%s_%s" % (config.get("name") or "", key)


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError:
            return value.split()
    return [str(word) for word in value or []]


def _from_config_service(
    name: str, item: Mapping[str, Any], config: Mapping[str, Any], images: Documents, volumes: Documents
) -> Service:
    reference = item.get("image") or ""
    image = images.get(reference) or {}
    built = image.get("Config") or {}
    entry = item.get("entrypoint") if item.get("entrypoint") is not None else built.get("Entrypoint")
    words = item.get("command")
    if words is None and item.get("entrypoint") is None:
        words = built.get("Cmd")
    environment = _environment(built.get("Env"))
    environment.update({key: str(value) for key, value in (item.get("environment") or {}).items() if value is not None})
    hosts = item.get("extra_hosts") or []
    pairs = [_host_and_address(text) for text in hosts] if isinstance(hosts, list) else list(hosts.items())
    return Service(
        name=name,
        project=config.get("name") or "",
        image=reference,
        image_id=image.get("Id") or "",
        command=tuple(_words(entry) + _words(words)),
        environment=environment,
        mounts=(
            *(_config_mount(volume, config, volumes) for volume in item.get("volumes") or []),
            *_config_files(item, config),
        ),
        networks=_config_networks(name, item, config),
        network_mode=item.get("network_mode") or "",
        extra_hosts={key: value[0] if isinstance(value, list) else str(value) for key, value in pairs},
        ports=_config_ports(item),
        exposed=_exposed(built),
        working_dir=item.get("working_dir") or built.get("WorkingDir") or "/",
        labels={**(built.get("Labels") or {}), **(item.get("labels") or {})},
    )


def _config_mount(item: Mapping[str, Any], config: Mapping[str, Any], volumes: Documents) -> Mount:
    target, source = os.path.normpath(item.get("target") or "/"), item.get("source") or ""
    if item.get("type") == "bind":
        return Mount(target, source)
    if item.get("type") != "volume" or not source:
        return Mount(target, problem="%s is a mount of type %s without a name" % (target, item.get("type")))
    volume = _volume_name(config, source)
    path, problem = volume_source(volume, volumes.get(volume))
    subpath = (item.get("volume") or {}).get("subpath") or ""
    return Mount(target, os.path.join(path, subpath) if path and subpath else path, volume, problem)


def _config_files(item: Mapping[str, Any], config: Mapping[str, Any]) -> list[Mount]:
    """Return the secrets and configs of a service that are files, as Compose will mount them."""
    found = []
    for kind, folder in (("secrets", "/run/secrets"), ("configs", "/")):
        for use in item.get(kind) or []:
            source = use.get("source") if isinstance(use, dict) else use
            path = ((config.get(kind) or {}).get(source) or {}).get("file")
            if path:
                target = str((use.get("target") if isinstance(use, dict) else "") or source)
                found.append(Mount(os.path.normpath(os.path.join(folder, target)), path))
    return found


def _config_networks(name: str, item: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Endpoint]:
    found = {}
    own = [name, item.get("container_name") or "", item.get("hostname") or ""]
    for key, known in (item.get("networks") or {}).items():
        declared = (config.get("networks") or {}).get(key) or {}
        network = declared.get("name") or "%s_%s" % (config.get("name") or "", key)
        names = own + list((known or {}).get("aliases") or [])
        address = (known or {}).get("ipv4_address") or ""
        found[network] = Endpoint(frozenset(text.lower() for text in names if text), address)
    return found


def _config_ports(item: Mapping[str, Any]) -> tuple[Port, ...]:
    ports = []
    for port in item.get("ports") or []:
        outside = str(port.get("published") or "")
        if re.match(r"\d+$", outside) and (port.get("protocol") or "tcp") == "tcp":
            ports.append(Port(int(port.get("target") or 0), int(outside), port.get("host_ip") or ""))
    return tuple(ports)
