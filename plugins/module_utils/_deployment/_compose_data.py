# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The database and the Redis server of an instance in containers: by the hosts that authentik's settings name."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _compose_roles as _roles
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._host import Account, postgres_settings
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Container, Missing
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose import ComposeDiscovery
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_model import Service
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_roles import Target
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import Configuration
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
        PostgresSettings,
        RedisSettings,
    )

_SSL = ("sslmode", "sslrootcert", "sslcert", "sslkey")


def _find(look: ComposeDiscovery, server: Service, host: str, port: int, option: str) -> Target:
    """Return whom a host name means, by *option* or by the names in the server's networks."""
    given = look.options.get(option)
    if given:
        return _roles.Target(look.service(given, option))
    if given == "":
        return _roles.Target(None, host)
    target = _roles.resolve(server, host, port, look.everything(), option)
    if target.service is None and look.add_planned():
        target = _roles.resolve(server, host, port, look.everything(), option)
    return target


def postgres_of(look: ComposeDiscovery, server: Service, configuration: Configuration) -> PostgresSettings | None:
    """Return how to reach the database: through its container, or over the network where no container is it.

    :raises InputError: when an option does not fit a database in a container.
    """
    settings, sources = postgres_settings(configuration, look.options, Account())
    target = _find(look, server, settings.host, settings.port, "postgresql_service")
    look.sources.update(sources)
    if target.problem:
        look.missing.append(Missing("how to reach PostgreSQL: %s" % target.problem, "postgresql_host"))
        return None
    service = target.service
    if service is None:
        return _external(look, server, replace(settings, host=target.host))
    if not look.options.get("postgresql_service") and not _roles.is_postgres(service):
        look.missing.append(Missing(_no_server(look, settings.host, service), "postgresql_service"))
        return None
    if service.project == look.plan.name:
        look.plan = replace(look.plan, postgresql_service=service.name)
    return _in_container(look, settings, service)


def _no_server(look: ComposeDiscovery, host: str, service: Service) -> str:
    likely = sorted(item.name for item in look.services if _roles.is_postgres(item))
    return "the PostgreSQL server: %s, which authentik's settings name, is %s (image %s), %s%s" % (
        host,
        service.what,
        service.image,
        "a pooler, through which no dump is made" if _roles.is_pooler(service) else "no PostgreSQL server",
        "; perhaps it is %s" % " or ".join(likely) if likely else "",
    )


def _in_container(look: ComposeDiscovery, settings: PostgresSettings, service: Service) -> PostgresSettings:
    for key in _SSL:
        if look.options.get("postgresql_" + key):
            raise InputError(
                "postgresql_%s does not fit: the database is %s, and is reached through its own socket in there"
                % (key, service.what),
                "Remove it, or give an empty postgresql_service and a postgresql_host that this host reaches",
            )
    given = look.options.get("postgresql_port")
    by_option = bool(look.options.get("postgresql_service"))
    port = given or _roles.postgres_port(service, 5432 if by_option else settings.port)
    for key in ("host", "port", *_SSL):
        look.sources.pop("postgresql." + key, None)
    look.sources["postgresql.container"] = (
        "option postgresql_service" if by_option else "%s, which authentik's settings name" % service.what
    )
    if not service.ids:
        look.warnings.append(
            "The database is service %s, which has no container now: make and start it first "
            "(docker compose up --detach %s)" % (service.name, service.name)
        )
    return replace(
        settings,
        host="",
        port=int(port),
        sslmode=None,
        sslrootcert=None,
        sslcert=None,
        sslkey=None,
        run_as=look.options.get("postgresql_run_as") or None,
        container=Container(look.engine.docker.argv, service.ids[0] if service.ids else "", service.container),
    )


def _external(look: ComposeDiscovery, server: Service, settings: PostgresSettings) -> PostgresSettings:
    """Return the settings for the programs of this host: certificates by their path on it."""
    changed: dict[str, Any] = {}
    for key in _SSL[1:]:
        path = getattr(settings, key)
        if path and not look.options.get("postgresql_" + key) and path.startswith("/"):
            host = server.host_path(path)
            if host is None:
                what = "%s of the database: %s is in the container of %s only" % (key, path, server.what)
                look.missing.append(Missing(what, "postgresql_" + key))
            changed[key] = host
    run_as = look.options.get("postgresql_run_as")
    if run_as:
        changed["run_as"] = run_as
    return replace(settings, **changed)


def redis_of(
    look: ComposeDiscovery, server: Service, configuration: Configuration, version: str | None
) -> RedisSettings | None:
    """Return how to reach Redis from this host: at its container's address, or over the network."""
    settings = look.redis_of(configuration, version)
    if settings is None:
        left = sorted(item.name for item in look.services if _roles.is_redis(item))
        if left and look.options.get("redis_enabled") is None:
            look.notes.append(
                "Service %s is left over: this authentik uses no Redis. It is saved only with redis_enabled"
                % ", ".join(left)
            )
        return None
    changed: dict[str, Any] = {}
    if settings.tls_ca_cert and not look.options.get("redis_tls_ca_cert"):
        changed["tls_ca_cert"] = server.host_path(settings.tls_ca_cert)
        if changed["tls_ca_cert"] is None:
            what = "the CA of Redis: %s is in the container of %s only" % (settings.tls_ca_cert, server.what)
            look.missing.append(Missing(what, "redis_tls_ca_cert"))
    if settings.socket:
        if not look.options.get("redis_socket"):
            changed["socket"] = server.host_path(settings.socket)
            if changed["socket"] is None:
                what = "how to reach Redis: the socket %s is in the container of %s only"
                look.missing.append(Missing(what % (settings.socket, server.what), "redis_host"))
                return None
        return replace(settings, **changed)
    target = _find(look, server, settings.host, settings.port, "redis_service")
    if target.problem:
        look.missing.append(Missing("how to reach Redis: %s" % target.problem, "redis_host"))
        return None
    return replace(settings, host=_redis_host(look, target, settings.host), **changed)


def _redis_host(look: ComposeDiscovery, target: Target, named: str) -> str:
    service = target.service
    if service is None:
        return target.host
    if service.project == look.plan.name:
        look.plan = replace(look.plan, redis_service=service.name)
    look.sources["redis.host"] = "address of %s" % service.what
    if service.network_mode == "host":
        return "127.0.0.1"
    namespace = [service, *_roles.shared_namespace(service, look.everything())]
    address = next((item.address for item in namespace if item.address), "")
    if not address:
        look.warnings.append(
            "Redis is %s, which %s: it has no address by which it could be reached"
            % (service.what, "does not run" if service.ids else "has no container now")
        )
    return address or named
