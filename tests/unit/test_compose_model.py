# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a compose service is to authentik, whom a host name means to it, and where its files lie on the host."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _compose_model as _model
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _compose_roles as _roles
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_model import (
    Endpoint,
    Mount,
    Port,
    Service,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import DiscoveryError

AUTHENTIK_IMAGES = [
    ("ghcr.io/goauthentik/server:2025.12.4", True),
    ("ghcr.io/goauthentik/server", True),
    ("ghcr.io/goauthentik/server:2025.2@sha256:0123", True),
    ("goauthentik/server:latest", True),
    ("docker.io/authentik/server:2026.8.3", True),
    ("beryju/authentik:2023.10.7", True),
    ("registry.local:5000/mirror/goauthentik/server:2025.12", True),
    ("registry.local:5000/authentik-server:1", True),
    ("harbor.example.org/library/goauthentik_server", True),
    ("registry.local:5000/sso/authentik", True),
    ("ghcr.io/goauthentik/ldap:2025.12.4", False),
    ("ghcr.io/goauthentik/proxy", False),
    ("beryju/authentik-proxy", False),
    ("minio/server", False),
    ("registry.local/authentik-postgres", False),
    ("sha256:0123456789abcdef", False),
]


@pytest.mark.parametrize(("image", "is_authentik"), AUTHENTIK_IMAGES)
def test_images_of_authentik(image: str, is_authentik: bool) -> None:
    assert _roles.is_authentik_image(image) is is_authentik


AK = ("dumb-init", "--", "ak")
SETTINGS = {"AUTHENTIK_POSTGRESQL__HOST": "db"}
OFFICIAL = "ghcr.io/goauthentik/server:2025.12.4"
ROLES: list[tuple[Service, str | None]] = [
    (Service("a", image=OFFICIAL, command=(*AK, "server")), "server"),
    (Service("server", image=OFFICIAL, command=(*AK, "worker")), "worker"),
    (Service("x", image=OFFICIAL, command=("sh", "-c", "sleep 9; exec ak worker")), "worker"),
    (Service("x", image=OFFICIAL, command=(*AK, "dump_config")), None),
    (Service("server", image=OFFICIAL, command=AK), None),
    (Service("server", image="postgres:16", command=("postgres",), environment=SETTINGS), None),
    (Service("x", image="sha256:0123", command=(*AK, "server"), environment=SETTINGS), "server"),
    (Service("x", image="corp/idp:7", command=(*AK, "worker"), environment=SETTINGS), "worker"),
    (Service("x", image="corp/idp:7", command=(*AK, "worker")), None),
    (Service("minio", image="minio/minio", command=("minio", "server", "/data")), None),
    (Service("o", image=OFFICIAL, command=(*AK, "server"), labels={_model.OUTPOST: "1"}), None),
]


@pytest.mark.parametrize(("service", "role"), ROLES)
def test_server_and_worker_are_known_by_image_and_command(service: Service, role: str | None) -> None:
    found = _roles.authentik_services([service])
    assert [name for name, services in found.items() if services] == ([role] if role else [])


def test_a_service_with_authentik_in_its_env_file_does_not_stand_beside_the_real_one() -> None:
    minio = Service("minio", image="minio/minio", command=("minio", "server"), environment=SETTINGS)
    server = Service("web", image=OFFICIAL, command=(*AK, "server"))
    assert _roles.authentik_services([minio, server])["server"] == [server]


DATABASES = [
    (Service("x", image="docker.io/library/postgres:16-alpine"), True),
    (Service("x", image="bitnami/postgresql:16"), True),
    (Service("x", image="corp/db:1", environment={"PGDATA": "/d"}), True),
    (Service("x", image="corp/db:1", command=("/usr/lib/postgresql/16/bin/postgres", "-D", "/d")), True),
    (Service("x", image="corp/db:1", environment={"POSTGRES_DB": "a"}, exposed=frozenset({5432})), True),
    (Service("x", image="edoburu/pgbouncer", exposed=frozenset({5432})), False),
    (Service("x", image="bitnami/pgbouncer", environment={"POSTGRESQL_DATABASE": "a"}), False),
    (Service("x", image="ghcr.io/postgresml/pgcat"), False),
    (Service("x", image="redis:7"), False),
]


@pytest.mark.parametrize(("service", "is_database"), DATABASES)
def test_a_pooler_is_no_database(service: Service, is_database: bool) -> None:
    assert _roles.is_postgres(service) is is_database


PORTS = [
    ({}, ("postgres",), 5432),
    ({"PGPORT": "5433"}, ("postgres",), 5433),
    ({}, ("postgres", "-p", "5434"), 5434),
    ({}, ("docker-entrypoint.sh", "postgres", "-c", "port=5435"), 5435),
    ({}, ("postgres", "--port=5436"), 5436),
    ({"POSTGRESQL_PORT_NUMBER": "5437"}, ("run.sh",), 5437),
    ({}, ("postgres", "-c", "max_connections=500"), 5432),
]


@pytest.mark.parametrize(("environment", "command", "port"), PORTS)
def test_the_port_inside_the_container(environment: dict[str, str], command: tuple[str, ...], port: int) -> None:
    service = Service("db", image="postgres:16", environment=environment, command=command)
    assert _roles.postgres_port(service, 5432) == port


def endpoint(*names: str, address: str = "") -> Endpoint:
    return Endpoint(frozenset(names), address)


SERVER = Service(
    "server",
    "ak",
    "ak-server-1",
    ("s",),
    True,
    networks={"ak_default": endpoint("server", "ak-server-1", address="172.18.0.9"), "shared": endpoint("server")},
    extra_hosts={"pinned": "10.0.0.9", "outside": "host-gateway"},
    mounts=(Mount("/run/pg", "/srv/socket"), Mount("/run/local", "/run/postgresql")),
)
DB = Service(
    "db",
    "ak",
    "ak-db-1",
    ("d",),
    True,
    "postgres:16",
    networks={"ak_default": endpoint("db", "ak-db-1", "database", address="172.18.0.3")},
    mounts=(Mount("/var/run/postgresql", "/srv/socket"),),
    ports=(Port(5432, 15432),),
)
FOREIGN = Service("pg", "infra", "infra-pg-1", ("f",), True, "postgres:16", networks={"shared": endpoint("pg", "db")})
HIDDEN = Service("hidden", "other", "other-hidden-1", ("h",), True, "postgres:16", networks={"x": endpoint("hidden")})
ALONE = Service("pg-alone", "", "pg-alone", ("a",), True, "postgres:16", networks={"shared": endpoint("pg-alone")})
EVERYTHING = [SERVER, DB, FOREIGN, HIDDEN, ALONE]
HOSTS: list[tuple[str, int, str | None, str]] = [
    ("db", 5432, "ak-db-1", ""),
    ("DB.", 5432, "ak-db-1", ""),
    ("ak-db-1", 5432, "ak-db-1", ""),
    ("database", 5432, "ak-db-1", ""),
    ("db.ak_default", 5432, "ak-db-1", ""),
    ("172.18.0.3", 5432, "ak-db-1", ""),
    ("pg", 5432, "infra-pg-1", ""),
    ("pg-alone", 5432, "pg-alone", ""),
    # Not on a network of the server: a name of the outside world.
    ("hidden", 5432, None, "hidden"),
    ("db.example.org", 5432, None, "db.example.org"),
    ("pinned", 5432, None, "10.0.0.9"),
    ("outside", 5432, None, "127.0.0.1"),
    ("outside", 15432, "ak-db-1", ""),
    ("host.docker.internal", 15432, "ak-db-1", ""),
    ("host.docker.internal", 5432, None, "127.0.0.1"),
    ("/run/pg", 5432, "ak-db-1", ""),
    ("/run/local", 5432, None, "/run/postgresql"),
]


@pytest.mark.parametrize(("host", "port", "container", "outside"), HOSTS)
def test_whom_a_host_name_means(host: str, port: int, container: str | None, outside: str) -> None:
    target = _roles.resolve(SERVER, host, port, EVERYTHING, "postgresql_service")
    assert (target.service.container if target.service else None, target.host, target.problem) == (
        container,
        outside,
        "",
    )


def test_localhost_in_a_container_is_no_database() -> None:
    assert "itself" in _roles.resolve(SERVER, "localhost", 5432, EVERYTHING, "postgresql_service").problem
    assert "not mounted" in _roles.resolve(SERVER, "", 5432, EVERYTHING, "postgresql_service").problem


def test_localhost_on_the_host_network_is_the_host_or_what_it_publishes() -> None:
    server = Service("server", "ak", ids=("s",), network_mode="host")
    assert _roles.resolve(server, "localhost", 15432, EVERYTHING, "o").service == DB
    assert _roles.resolve(server, "localhost", 5432, EVERYTHING, "o") == _roles.Target(None, "127.0.0.1")


def test_localhost_in_a_shared_network_is_the_other_container() -> None:
    server = Service("server", "ak", ids=("s",), network_mode="container:d")
    assert _roles.resolve(server, "localhost", 5432, EVERYTHING, "o").service == DB


def test_a_name_that_several_have_is_not_guessed() -> None:
    other = Service("pg", "infra2", "infra2-pg-1", ("g",), True, "postgres:16", networks={"shared": endpoint("pg")})
    with pytest.raises(DiscoveryError, match="pg, which authentik's settings name, is several") as caught:
        _roles.resolve(SERVER, "pg", 5432, [*EVERYTHING, other], "postgresql_service")
    assert "postgresql_service" in caught.value.hint


VOLUMES: list[tuple[dict[str, Any] | None, str, str]] = [
    ({"Driver": "local", "Mountpoint": "/v/_data", "Options": None}, "/v/_data", ""),
    ({"Driver": "local", "Options": {"type": "none", "o": "bind", "device": "/srv/x"}}, "/srv/x", ""),
    (
        {"Driver": "local", "Mountpoint": "/v/_data", "Options": {"type": "nfs", "device": ":/x", "o": "addr=nas"}},
        "",
        "type nfs",
    ),
    ({"Driver": "rclone", "Mountpoint": "/mnt"}, "", "driver rclone"),
    (None, "", "does not exist"),
]


@pytest.mark.parametrize(("document", "path", "problem"), VOLUMES)
def test_where_a_volume_lies(document: dict[str, Any] | None, path: str, problem: str) -> None:
    found, said = _model.volume_source("v", document)
    assert found == path
    assert problem in said
    assert bool(said) is bool(problem)


def test_a_path_follows_the_innermost_mount() -> None:
    service = Service("x", mounts=(Mount("/data", "/srv/data"), Mount("/data/media", "/mnt/media"), Mount("/x", "")))
    assert service.host_path("/data/reports/a") == "/srv/data/reports/a"
    assert service.host_path("/data/media/public/") == "/mnt/media/public"
    assert service.host_path("/data") == "/srv/data"
    assert service.host_path("/database") is None
    assert service.host_path("/x/y") is None


def test_a_dollar_in_a_resolved_value_is_one_dollar() -> None:
    config = {
        "name": "ak",
        "services": {"s": {"image": "i", "environment": {"P": "a$$b$$$$c", "EMPTY": None}, "command": ["echo", "$$x"]}},
    }
    (service,) = _model.from_config(config, {}, {})
    assert service.environment == {"P": "a$b$$c"}
    assert service.command == ("echo", "$x")


def test_secrets_of_a_project_that_is_down_lie_where_compose_will_mount_them() -> None:
    config = {
        "secrets": {"a": {"file": "/srv/a"}, "b": {"file": "/srv/b"}, "e": {"environment": "E"}},
        "configs": {"c": {"file": "/srv/c"}},
        "services": {
            "s": {
                "image": "i",
                "secrets": [{"source": "a", "target": "/run/secrets/a"}, {"source": "b", "target": "other"}, "e"],
                "configs": [{"source": "c"}],
            }
        },
    }
    (service,) = _model.from_config(config, {}, {})
    assert service.host_path("/run/secrets/a") == "/srv/a"
    assert service.host_path("/run/secrets/other") == "/srv/b"
    assert service.host_path("/c") == "/srv/c"
    assert service.host_path("/run/secrets/e") is None


def test_of_several_containers_of_a_service_the_one_that_runs_is_used_and_all_are_known() -> None:
    old = Service("db", "ak", "ak-db-1", ("1",), created="2026-01-01")
    new = Service("db", "ak", "ak-db-2", ("2",), running=True, created="2025-01-01")
    (merged,) = _model.merge_containers([old, new])
    assert (merged.container, merged.ids) == ("ak-db-2", ("2", "1"))
