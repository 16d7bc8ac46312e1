# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compose projects as people have them, on a host whose engine only answers questions."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    DiscoveryError,
    InputError,
)
from tests.support.compose_fake import (
    DIRECTORY,
    IMAGE,
    VOLUMES,
    Host,
    bind,
    directories,
    files,
    here,
    host,
    official,
    project,
    volume,
)

__all__ = ["host"]


OFFICIAL = [
    ("2023.10.7", "docker-compose.yml", "media", True),
    ("2025.2.4", "docker-compose.yml", "media", True),
    ("2025.10.4", "docker-compose.yml", "media", False),
    ("2025.12.4", "docker-compose.yml", "data", False),
    ("2026.8.3", "compose.yml", "data", False),
]


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
@pytest.mark.parametrize(("version", "file", "uploads", "has_redis"), OFFICIAL)
def test_the_official_compose_file(
    host: Host, version: str, file: str, uploads: str, has_redis: bool, down: bool
) -> None:
    host.write(DIRECTORY + "/.env", "PG_PASS=pg-secret\nAUTHENTIK_SECRET_KEY=the-key\n")
    if down:
        host.lay_down(project(official(version)), file)
        found = host.find(version, compose_project_directory=DIRECTORY)
    else:
        host.up(project(official(version)), file)
        found = host.find(version)
    assert found.deployment == "compose"
    assert found.compose is not None
    assert (found.compose.name, found.compose.directory) == ("authentik", DIRECTORY)
    assert found.compose.files == ("%s/%s" % (DIRECTORY, file),)
    assert found.compose.env_files == (DIRECTORY + "/.env",)
    assert (found.compose.postgresql_service, found.compose.redis_service) == (
        "postgresql",
        "redis" if has_redis else "",
    )
    assert found.installed is not None
    assert found.installed["value"] == version
    assert directories(found) == here("certs", "custom-templates", uploads)
    assert [(unit.name, unit.role, unit.active) for unit in found.units] == [
        ("server", "server", not down),
        ("worker", "worker", not down),
    ]
    assert [len(unit.containers) for unit in found.units] == ([0, 0] if down else [1, 1])
    assert found.health_url == "http://127.0.0.1:9000/-/health/ready/"
    assert found.secret_key == "the-key"
    assert (found.redis is not None) is has_redis
    postgresql = found.postgresql
    assert postgresql is not None
    assert (postgresql.host, postgresql.port, postgresql.name, postgresql.user, postgresql.password) == (
        *("", 5432, "authentik", "authentik", "pg-secret"),
    )
    assert (postgresql.run_as, postgresql.sslmode) == (None, None)
    assert postgresql.container is not None
    assert files(found, "compose") == ["%s/%s" % (DIRECTORY, file)]
    assert files(found, "env") == [DIRECTORY + "/.env"]
    assert found.missing == ()
    if down:
        assert postgresql.container.id == ""
        assert any("docker compose up --detach postgresql" in text for text in found.warnings)
        with pytest.raises(DiscoveryError, match="has no container"):
            found.require_postgresql()
    else:
        assert found.require_postgresql().container.name == "authentik-postgresql-1"  # type: ignore[union-attr]
        assert found.warnings == ()
        if has_redis:
            assert found.redis is not None
            assert found.redis.host == "172.18.0.3"


def test_images_are_described_with_their_digests(host: Host) -> None:
    host.up(project(official("2025.12.4")))
    compose = host.find("2025.12.4").compose
    assert compose is not None
    by_service = {item.service: item for item in compose.images}
    assert sorted(by_service) == ["postgresql", "server", "worker"]
    assert by_service["server"].reference == IMAGE + ":2025.12.4"
    assert by_service["server"].id.startswith("sha256:")
    assert by_service["server"].digests[0].startswith(IMAGE + "@sha256:")


def test_a_redis_that_an_upgrade_left_is_told_of_and_saved_only_when_asked(host: Host) -> None:
    services = official("2025.12.4")
    services["redis"] = official("2025.2.4")["redis"]
    for name in ("server", "worker"):
        services[name]["environment"]["AUTHENTIK_REDIS__HOST"] = "redis"
    host.up(project(services))
    found = host.find("2025.12.4")
    assert found.redis is None
    assert any("left over" in note and "redis_enabled" in note for note in found.notes)
    asked = host.find("2025.12.4", redis_enabled=True)
    assert asked.redis is not None
    assert asked.redis.host == "172.18.0.3"


def renamed(version: str, **settings: str) -> dict[str, Any]:
    """Other service names, and everything in named volumes."""
    services = official(version)
    environment = {**services["server"]["environment"], "AUTHENTIK_POSTGRESQL__HOST": "sso-db", **settings}
    volumes = [volume("uploads", "/data"), volume("templates", "/templates")]
    return {
        "sso-db": services["postgresql"],
        "web": {**services["server"], "environment": environment, "volumes": volumes},
        "jobs": {
            **services["worker"],
            "environment": dict(environment),
            "volumes": [*volumes, volume("certs", "/certs"), volume("blueprints", "/blueprints/custom")],
        },
        # A trap: the name says worker, the command does not.
        "worker": {"image": "nginx:1", "command": ["nginx", "-g", "daemon off;"]},
    }


def test_names_of_services_do_not_count_and_named_volumes_are_found(host: Host) -> None:
    host.up(project(renamed("2026.2.1"), name="sso"))
    found = host.find("2026.2.1")
    assert [(unit.name, unit.role) for unit in found.units] == [("web", "server"), ("jobs", "worker")]
    assert directories(found) == {
        "certs": VOLUMES + "/sso_certs/_data",
        "custom-templates": VOLUMES + "/sso_templates/_data",
        "data": VOLUMES + "/sso_uploads/_data",
        "extra-blueprints-custom": VOLUMES + "/sso_blueprints/_data",
    }
    assert found.postgresql is not None
    assert found.postgresql.container is not None
    assert found.postgresql.container.name == "sso-sso-db-1"


def test_a_database_outside_is_used_over_the_network(host: Host) -> None:
    services = official("2025.12.4")
    del services["postgresql"]
    host.folder(DIRECTORY + "/tls")
    host.write(DIRECTORY + "/tls/ca.pem", "x")
    settings = {
        "AUTHENTIK_POSTGRESQL__HOST": "db.example.org",
        "AUTHENTIK_POSTGRESQL__PORT": "6543",
        "AUTHENTIK_POSTGRESQL__SSLMODE": "verify-full",
        "AUTHENTIK_POSTGRESQL__SSLROOTCERT": "/tls/ca.pem",
    }
    for name in ("server", "worker"):
        services[name]["environment"].update(settings)
        services[name]["volumes"] = [*services[name]["volumes"], bind("./tls", "/tls")]
    host.up(project(services))
    found = host.find("2025.12.4")
    postgresql = found.postgresql
    assert postgresql is not None
    assert (postgresql.host, postgresql.port, postgresql.container) == ("db.example.org", 6543, None)
    assert (postgresql.sslmode, postgresql.sslrootcert) == ("verify-full", DIRECTORY + "/tls/ca.pem")
    assert files(found, "tls") == [DIRECTORY + "/tls/ca.pem"]
    assert found.compose is not None
    assert found.compose.postgresql_service == ""


def test_direct_settings_go_before_a_pooler(host: Host) -> None:
    services = official("2026.8.3")
    services["pool"] = {"image": "edoburu/pgbouncer:latest"}
    for name in ("server", "worker"):
        services[name]["environment"].update(
            AUTHENTIK_POSTGRESQL__HOST="pool", AUTHENTIK_POSTGRESQL__DIRECT__HOST="postgresql"
        )
    host.up(project(services))
    found = host.find("2026.8.3")
    assert found.require_postgresql().container.name == "authentik-postgresql-1"  # type: ignore[union-attr]


def test_a_pooler_is_named_as_such_and_the_option_decides(host: Host) -> None:
    services = official("2025.12.4")
    services["pool"] = {"image": "edoburu/pgbouncer:latest"}
    for name in ("server", "worker"):
        services[name]["environment"].update(AUTHENTIK_POSTGRESQL__HOST="pool", AUTHENTIK_POSTGRESQL__PORT="6432")
    host.up(project(services))
    found = host.find("2025.12.4")
    assert found.postgresql is None
    (item,) = found.missing
    assert item.option == "postgresql_service"
    assert "pooler" in item.what
    assert "perhaps it is postgresql" in item.what
    chosen = host.find("2025.12.4", postgresql_service="postgresql").require_postgresql()
    assert (chosen.container.name, chosen.port) == ("authentik-postgresql-1", 5432)  # type: ignore[union-attr]


def test_a_database_of_another_project_on_a_shared_network(host: Host) -> None:
    shared: dict[str, Any] = {
        "networks": {"default": {"name": "authentik_default"}, "db": {"name": "db-net", "external": True}}
    }
    services = official("2025.12.4")
    database = services.pop("postgresql")
    for name in ("server", "worker"):
        services[name]["networks"] = {"default": None, "db": None}
        services[name]["environment"]["AUTHENTIK_POSTGRESQL__HOST"] = "pg16"
    host.up(project(services, **shared))
    database["networks"] = {"db": {"aliases": ["pg16"]}}
    host.up(project({"main": database}, name="infra", networks={"db": {"name": "db-net"}}), directory="/srv/infra")
    found = host.find("2025.12.4")
    assert found.require_postgresql().container.name == "infra-main-1"  # type: ignore[union-attr]
    assert found.compose is not None
    assert found.compose.postgresql_service == ""
    assert "main" not in [item.service for item in found.compose.images]


def test_a_key_that_is_hard_coded_is_found_without_any_env_file(host: Host) -> None:
    services = official("2025.12.4")
    services["server"]["environment"]["AUTHENTIK_SECRET_KEY"] = "hard$coded"
    host.up(project(services))
    found = host.find("2025.12.4")
    assert found.secret_key == "hard$coded"
    assert files(found, "env") == []
    assert any("differently (secret_key)" in text for text in found.warnings)


TAGS = [
    (IMAGE + ":2025.12.4", {}, "2025.12.4"),
    (IMAGE + ":2025.12", {"org.opencontainers.image.version": "2025.12.6"}, "2025.12.6"),
    (IMAGE + ":latest", {"org.opencontainers.image.version": "2026.2.1"}, "2026.2.1"),
    (IMAGE + ":2025.12", {}, "2025.12"),
    (IMAGE + ":latest", {}, None),
]


@pytest.mark.parametrize(("image", "labels", "version"), TAGS)
def test_the_version_of_the_image(host: Host, image: str, labels: dict[str, str], version: str | None) -> None:
    services = official("2025.12.4")
    services["server"].update(image=image, labels=labels)
    host.up(project(services))
    found = host.find()
    assert (found.installed["value"] if found.installed else None) == version


HEALTH = [
    ([{"target": 9000, "published": "8080"}], {}, "http://127.0.0.1:8080/-/health/ready/"),
    ([{"target": 9000, "published": "80", "host_ip": "10.0.0.5"}], {}, "http://10.0.0.5:80/-/health/ready/"),
    ([{"target": 9443, "published": "443"}], {}, ""),
    ([], {}, ""),
    (
        [{"target": 9100, "published": "9000"}],
        {"AUTHENTIK_LISTEN__HTTP": "[::]:9100", "AUTHENTIK_WEB__PATH": "/sso/"},
        "http://127.0.0.1:9000/sso/-/health/ready/",
    ),
]


@pytest.mark.parametrize(("ports", "settings", "url"), HEALTH)
def test_where_the_server_is_asked_whether_it_is_ready(
    host: Host, ports: list[dict[str, Any]], settings: dict[str, str], url: str
) -> None:
    services = official("2025.12.4")
    services["server"]["ports"] = ports
    services["server"]["environment"].update(settings)
    host.up(project(services))
    found = host.find("2025.12.4")
    assert found.health_url == url
    assert found.compose is not None
    assert (found.compose.server_port, found.compose.server_path) == (
        (9100, "/sso/-/health/ready/") if settings else (9000, "/-/health/ready/")
    )


def test_the_port_of_a_server_in_the_network_of_another_container(host: Host) -> None:
    services = official("2025.2.4")
    ports = services["server"].pop("ports")
    services["vpn"] = {"image": "gluetun:1", "ports": ports}
    config = project(services)
    host.up(config)
    vpn = next(item for item in host.fake.documents if item["Name"] == "/authentik-vpn-1")
    server = next(item for item in host.fake.documents if item["Name"] == "/authentik-server-1")
    server["HostConfig"]["NetworkMode"] = "container:" + vpn["Id"]
    server["NetworkSettings"]["Networks"] = {}
    found = host.find("2025.2.4")
    assert found.health_url == "http://127.0.0.1:9000/-/health/ready/"
    assert found.require_postgresql().container.name == "authentik-postgresql-1"  # type: ignore[union-attr]
    assert found.redis is not None
    assert found.redis.host.startswith("172.18.0.")


def test_outposts_are_found_by_their_label_and_in_the_project(host: Host) -> None:
    services = official("2025.12.4")
    services["ldap"] = {"image": "ghcr.io/goauthentik/ldap:2025.12.4"}
    host.up(project(services))
    label = {"io.goauthentik.outpost-uuid": "0123"}
    host.run("ak-outpost-proxy", {"image": "ghcr.io/goauthentik/proxy:2025.12.4", "labels": label}, {})
    host.run("other", {"image": "ghcr.io/goauthentik/proxy:2025.12.4"}, {})
    outposts = [unit for unit in host.find("2025.12.4").units if unit.role == "outpost"]
    assert [unit.name for unit in outposts] == ["ak-outpost-proxy", "authentik-ldap-1"]
    assert all(len(unit.containers) == 1 for unit in outposts)


def test_several_servers_are_listed_and_the_option_decides(host: Host) -> None:
    services = official("2025.12.4")
    services["second"] = dict(services["server"], ports=[])
    services["jobs"] = dict(services["worker"])
    host.up(project(services))
    with pytest.raises(DiscoveryError, match="server: second, server") as caught:
        host.find()
    assert "server_service" in caught.value.hint
    found = host.find(server_service="second", worker_service="jobs")
    # All of them work on the same database, so all of them have to stop for a restore.
    assert [(unit.name, unit.role) for unit in found.units] == [
        *(("second", "server"), ("server", "server"), ("jobs", "worker"), ("worker", "worker")),
    ]
    assert found.health_url == ""
    with pytest.raises(InputError, match=r"no service nowhere .*second"):
        host.find(server_service="nowhere")


def test_a_service_without_container_is_taken_from_the_compose_files(host: Host) -> None:
    host.up(project(official("2025.12.4")))
    host.fake.documents = [item for item in host.fake.documents if item["Name"] != "/authentik-worker-1"]
    found = host.find("2025.12.4")
    assert [(unit.name, bool(unit.containers)) for unit in found.units] == [("server", True), ("worker", False)]
    assert directories(found) == here("certs", "custom-templates", "data")


def test_a_stopped_project_keeps_its_containers_and_its_port(host: Host) -> None:
    host.up(project(official("2025.2.4")), running=False)
    found = host.find()
    assert [unit.active for unit in found.units] == [False, False]
    assert found.health_url == "http://127.0.0.1:9000/-/health/ready/"
    assert found.require_postgresql().container.id  # type: ignore[union-attr]
    assert any("Redis is service redis, which does not run" in text for text in found.warnings)


def test_nothing_that_is_described_or_said_holds_a_secret(host: Host) -> None:
    services = official("2025.2.4")
    for name in ("server", "worker"):
        services[name]["environment"].update(
            AUTHENTIK_SECRET_KEY="SENTINEL-key",
            AUTHENTIK_POSTGRESQL__PASSWORD="SENTINEL-pg",
            AUTHENTIK_REDIS__PASSWORD="SENTINEL-redis",
        )
    host.up(project(services))
    found = host.find("2025.2.4")
    assert "SENTINEL" not in str(found.describe())
    assert "SENTINEL" not in repr(found)
    with pytest.raises(InputError) as caught:
        host.find(server_service="x")
    assert "SENTINEL" not in str(caught.value)
