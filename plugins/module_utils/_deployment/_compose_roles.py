# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a service is to authentik, judged by its image, its command and authentik's own settings, never by its name.

Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_model import OUTPOST, is_below
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import DiscoveryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_model import Service

_SETTINGS = ("AUTHENTIK_POSTGRESQL__HOST", "AUTHENTIK_SECRET_KEY")
_OUTPOST_IMAGE = re.compile(r"(?:^|/)(?:(?:go)?authentik|beryju)[/_-](?:authentik-)?(?:ldap|proxy|rac|radius)$")
_POOLERS = re.compile(r"pgbouncer|pgcat|pgpool|odyssey|supavisor|pgdog|haproxy|envoy|traefik|nginx|socat")
_POSTGRES = re.compile(r"postgres|postgis|timescale|pgvector|pgvecto|spilo|cloudnative-pg")
_REDIS = re.compile(r"redis|valkey|keydb|dragonfly")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HOST_NAMES = ("host.docker.internal", "gateway.docker.internal")


def image_parts(reference: str) -> list[str]:
    """Return the path of an image's name, without tag and digest."""
    name = reference.partition("@")[0].lower()
    head, slash, last = name.rpartition("/")
    return (head + slash + last.partition(":")[0]).split("/")


def image_tag(reference: str) -> str:
    """Return an image's tag, empty where it has none."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[2]


def is_authentik_image(reference: str) -> bool:
    """Tell whether an image is that of authentik's server and worker, wherever it is mirrored."""
    parts = image_parts(reference)
    if parts[-1] == "server":
        return any("authentik" in part for part in parts[:-1])
    return re.match(r"(?:go)?authentik(?:[-_.]?server)?$", parts[-1]) is not None


def _command_role(command: Sequence[str]) -> str | None:
    words = [word for item in command for word in re.split(r"[\s;&|'\"]+", item)]
    return next((word for word in words if word in ("server", "worker")), None)


def authentik_services(services: Iterable[Service]) -> dict[str, list[Service]]:
    """Return the services that run authentik, by role ``server`` and ``worker``.

    A service whose image has another name counts by its command and its settings, where none counts by its image.
    """
    found: dict[str, list[Service]] = {"server": [], "worker": []}
    further: dict[str, list[Service]] = {"server": [], "worker": []}
    for service in services:
        role = _command_role(service.command)
        if role is None or service.labels.get(OUTPOST):
            continue
        if is_authentik_image(service.image):
            found[role].append(service)
        elif any(service.environment.get(key) for key in _SETTINGS):
            further[role].append(service)
    return {role: found[role] or further[role] for role in found}


def is_outpost(service: Service) -> bool:
    """Tell whether a container is an outpost: made by authentik itself, or written down in a compose file."""
    return bool(service.labels.get(OUTPOST)) or _OUTPOST_IMAGE.search("/".join(image_parts(service.image))) is not None


def is_pooler(service: Service) -> bool:
    """Tell whether it passes connections on to a PostgreSQL server without being one."""
    return _POOLERS.search("/".join(image_parts(service.image)[-2:])) is not None


def is_postgres(service: Service) -> bool:
    """Tell whether it is a PostgreSQL server."""
    if is_pooler(service):
        return False
    marks = ("PGDATA", "PG_MAJOR", "POSTGRESQL_VOLUME_DIR")
    settings = ("POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE", "POSTGRES_DB", "POSTGRESQL_DATABASE")
    return (
        _POSTGRES.search("/".join(image_parts(service.image))) is not None
        or any(key in service.environment for key in marks)
        or any(word.rpartition("/")[2] == "postgres" for word in service.command)
        or (5432 in service.exposed and any(key in service.environment for key in settings))
    )


def is_redis(service: Service) -> bool:
    """Tell whether it is a Redis server."""
    return _REDIS.search("/".join(image_parts(service.image))) is not None or 6379 in service.exposed


def postgres_port(service: Service, default: int) -> int:
    """Return the port on which a PostgreSQL server listens inside its container."""
    for key in ("PGPORT", "POSTGRESQL_PORT_NUMBER"):
        if service.environment.get(key, "").isdigit():
            return int(service.environment[key])
    found = re.search(r"(?:^| )(?:-p ?|--port[= ]|-c ?port ?= ?)(\d+)(?= |$)", " ".join(service.command))
    return int(found.group(1)) if found else default


class Target(NamedTuple):
    """Whom a host name means to a container.

    :param service: None for a server that no container is.
    :param host: name, address or path by which it is reached from the host, for one that no container is.
    :param problem: why it could not be told.
    """

    service: Service | None
    host: str = ""
    problem: str = ""


def resolve(asker: Service, host: str, port: int, everything: Sequence[Service], option: str) -> Target:
    """Find out whom *host* and *port* mean in the containers of *asker*.

    :param everything: all services and containers of the host.
    :param option: the option that decides, for messages.
    :raises DiscoveryError: when several are meant.
    """
    others = [item for item in everything if (item.project, item.name) != (asker.project, asker.name)]
    if host == "" or host.startswith("/"):
        return _resolve_socket(asker, host or "/var/run/postgresql", others, option)
    name = host.lower().rstrip(".")
    reached = _reached_by_name(asker, name, others)
    address = asker.extra_hosts.get(host, asker.extra_hosts.get(name, ""))
    if not reached and address not in ("", "host-gateway"):
        return Target(None, address)
    if reached:
        return Target(choose(reached, asker, host, option))
    namespace = shared_namespace(asker, others)
    if name in _LOOPBACK and asker.network_mode != "host":
        same = [item for item in namespace if _may_listen(item, port)]
        if same:
            return Target(choose(same, asker, host, option))
        return Target(None, problem="%s is the %s itself in its own container" % (host, asker.what))
    if name in _LOOPBACK or name in _HOST_NAMES or address == "host-gateway":
        published = [item for item in others if any(one.outside == port for one in item.ports)]
        published += [item for item in others if item.network_mode == "host" and _may_listen(item, port)]
        return Target(choose(published, asker, host, option)) if published else Target(None, "127.0.0.1")
    return Target(None, host)


def _may_listen(service: Service, port: int) -> bool:
    if port in service.exposed:
        return True
    return is_postgres(service) or is_redis(service)


def shared_namespace(asker: Service, others: Sequence[Service]) -> list[Service]:
    """Return the containers that share the network of *asker*, as ``network_mode`` makes them."""

    def owner(item: Service) -> tuple[str, ...]:
        kind, _colon, name = item.network_mode.partition(":")
        if kind == "container":
            return next((one.ids for one in [asker, *others] if name in one.ids or name == one.container), (name,))
        if kind == "service":
            return next((one.ids or (name,) for one in [asker, *others] if one.name == name), (name,))
        return item.ids or (item.name,)

    return [item for item in others if owner(item) == owner(asker)]


def _reached_by_name(asker: Service, name: str, others: Sequence[Service]) -> list[Service]:
    networks = set(asker.networks)
    for item in shared_namespace(asker, others):
        networks |= set(item.networks)
    found = []
    for item in others:
        for network in networks & set(item.networks):
            endpoint = item.networks[network]
            if name in endpoint.names or name == endpoint.address:
                found.append(item)
                break
            if name.endswith("." + network.lower()) and name[: -len(network) - 1] in endpoint.names:
                found.append(item)
                break
    return found


def _resolve_socket(asker: Service, path: str, others: Sequence[Service], option: str) -> Target:
    source = asker.host_path(path) or (asker.host_path(path.replace("/var/run/", "/run/", 1)))
    if source is None:
        return Target(None, problem="the socket in %s is not mounted into %s" % (path, asker.what))
    sharing = [item for item in others if any(mount.source and is_below(source, mount.source) for mount in item.mounts)]
    servers = [item for item in sharing if is_postgres(item) or is_redis(item)]
    return Target(choose(servers, asker, path, option)) if servers else Target(None, source)


def choose(found: Sequence[Service], asker: Service, host: str, option: str) -> Service:
    """Return the one that is meant: of the same project, and running, rather than another.

    :raises DiscoveryError: when that leaves several.
    """
    left = list(found)
    for test in (
        lambda item: item.project == asker.project,
        lambda item: item.running,
        lambda item: bool(item.ids),
    ):
        left = [item for item in left if test(item)] or left
    if len({(item.project, item.name) for item in left}) > 1:
        raise DiscoveryError(
            "%s, which authentik's settings name, is several: %s" % (host, ", ".join(sorted(one.what for one in left))),
            "Name the right one with %s" % option,
        )
    return left[0]
