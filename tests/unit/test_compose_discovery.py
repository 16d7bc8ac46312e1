# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compose projects as people have them, on a host whose engine only answers questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Instance
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    DiscoveryError,
    InputError,
    ToolError,
)
from tests.support.compose_fake import DIRECTORY, IMAGE, LAYERS, VOLUMES, Host, bind, official, project, volume


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


def test_two_projects_are_listed_and_the_option_decides(host: Host) -> None:
    host.up(project(official("2025.12.4")))
    host.up(project(official("2026.8.3"), name="staging"), directory="/srv/staging")
    with pytest.raises(DiscoveryError, match=r"authentik \(in /srv/authentik\), staging \(in /srv/staging\)") as caught:
        host.find()
    assert "compose_project_name" in caught.value.hint
    by_name = host.find(compose_project_name="staging")
    by_folder = host.find(compose_project_directory="/srv/staging")
    for found in (by_name, by_folder):
        assert found.installed is not None
        assert found.installed["value"] == "2026.8.3"
        assert found.require_postgresql().container.name == "staging-postgresql-1"  # type: ignore[union-attr]


def test_a_project_that_is_not_there_is_told_with_those_that_are(host: Host) -> None:
    host.up(project(official("2025.12.4")))
    with pytest.raises(DiscoveryError, match=r"compose project sso .*some: authentik"):
        host.find(compose_project_name="sso")


def test_a_name_for_a_project_that_is_down_is_passed_to_compose(host: Host) -> None:
    host.lay_down(project(official("2025.12.4")))
    found = host.find(compose_project_directory=DIRECTORY, compose_project_name="other")
    assert found.compose is not None
    assert found.compose.name == "other"


def test_portainer_keeps_the_files_elsewhere(host: Host) -> None:
    config = project(official("2025.12.4"))
    host.up(config)
    for document in host.fake.documents:
        labels = document["Config"]["Labels"]
        labels["com.docker.compose.project.working_dir"] = "/data/compose/7"
        labels["com.docker.compose.project.config_files"] = "/data/compose/7/docker-compose.yml"
        labels["com.docker.compose.project.environment_file"] = "/data/compose/7/stack.env"
    host.fake.configs.clear()
    found = host.find("2025.12.4")
    assert directories(found) == here("certs", "custom-templates", "data")
    assert found.require_postgresql().container is not None
    assert files(found, "compose", "env") == []
    (warning,) = found.warnings
    assert "/data/compose/7/docker-compose.yml" in warning
    assert "stack.env" in warning
    assert "compose_files" in warning
    assert host.fake.asked == []


def test_the_files_of_portainer_are_found_in_its_volume(host: Host) -> None:
    config = project(official("2025.12.4"))
    host.up(config)
    for document in host.fake.documents:
        labels = document["Config"]["Labels"]
        labels["com.docker.compose.project.working_dir"] = "/data/compose/7"
        labels["com.docker.compose.project.config_files"] = "/data/compose/7/docker-compose.yml"
    portainer = {"image": "portainer/portainer-ce", "volumes": [volume("data", "/data")]}
    host.up(project({"portainer": portainer}, name="portainer"), directory="/srv/portainer")
    kept = VOLUMES + "/portainer_data/_data/compose/7/docker-compose.yml"
    host.write(kept, "services: {}\n")
    assert any("perhaps as %s" % kept in text for text in host.find("2025.12.4").warnings)
    folder = kept.rpartition("/")[0]
    host.fake.configs[folder] = config
    host.fake.raw[folder] = {}
    named = host.find("2025.12.4", compose_files=[kept])
    assert files(named, "compose") == [kept]
    assert named.warnings == ()


def test_a_key_that_is_hard_coded_is_found_without_any_env_file(host: Host) -> None:
    services = official("2025.12.4")
    services["server"]["environment"]["AUTHENTIK_SECRET_KEY"] = "hard$coded"
    host.up(project(services))
    found = host.find("2025.12.4")
    assert found.secret_key == "hard$coded"
    assert files(found, "env") == []
    assert any("differently (secret_key)" in text for text in found.warnings)


def test_secrets_in_files_are_followed_to_the_host(host: Host) -> None:
    services = official("2025.12.4")
    host.write(DIRECTORY + "/secrets/key.txt", "key of a file\n")
    host.write(DIRECTORY + "/secrets/pg.txt", "password of a file\n")
    host.write(DIRECTORY + "/secrets/unused.txt", "x")
    secrets = [
        bind("./secrets/key.txt", "/run/secrets/ak_key"),
        bind("./secrets/pg.txt", "/run/secrets/pg"),
    ]
    for name in ("server", "worker"):
        services[name]["volumes"] = [*services[name]["volumes"], *secrets]
        services[name]["environment"].update(
            AUTHENTIK_SECRET_KEY="file:///run/secrets/ak_key", AUTHENTIK_POSTGRESQL__PASSWORD="file:///run/secrets/pg"
        )
    config = project(services)
    host.fake.raw[DIRECTORY] = {
        "services": {"server": {"env_file": [{"path": DIRECTORY + "/web.env", "required": True}, "./absent.env"]}},
        "secrets": {"unused": {"file": DIRECTORY + "/secrets/unused.txt"}, "shell": {"environment": "THE_KEY"}},
        "configs": {"extra": {"file": "./extra.conf"}},
    }
    host.write(DIRECTORY + "/web.env", "X=1\n")
    host.write(DIRECTORY + "/extra.conf", "x")
    host.up(config)
    found = host.find("2025.12.4")
    assert found.secret_key == "key of a file"
    assert found.require_postgresql().password == "password of a file"
    assert files(found, "secret", "file-value") == [
        DIRECTORY + "/extra.conf",
        DIRECTORY + "/secrets/key.txt",
        DIRECTORY + "/secrets/pg.txt",
        DIRECTORY + "/secrets/unused.txt",
    ]
    assert files(found, "env") == [DIRECTORY + "/web.env"]
    assert any("absent.env" in text and "service server" in text for text in found.warnings)
    assert any("THE_KEY" in text for text in found.notes)


def test_a_secret_in_the_container_only_is_read_out_of_it(host: Host) -> None:
    services = official("2025.12.4")
    for name in ("server", "worker"):
        services[name]["environment"]["AUTHENTIK_SECRET_KEY"] = "file:///run/secrets/from_env"
    host.fake.files["/run/secrets/from_env"] = b"key of the shell\n"
    host.up(project(services))
    found = host.find("2025.12.4")
    assert found.secret_key == "key of the shell"
    assert any("/run/secrets/from_env" in text and "not saved" in text for text in found.notes)


def test_settings_in_yaml_are_read_through_mounts_and_from_the_image(host: Host) -> None:
    services = official("2025.12.4")
    for name in ("server", "worker"):
        del services[name]["environment"]["AUTHENTIK_POSTGRESQL__NAME"]
        services[name]["volumes"] = [*services[name]["volumes"], bind("./etc", "/etc/authentik/config.d")]
    host.write(DIRECTORY + "/etc/10-db.yml", "postgresql:\n  name: from_mount\n")
    host.fake.files["/etc/authentik/config.yml"] = b"postgresql:\n  name: from_image\n  port: 5433\n"
    host.up(project(services))
    found = host.find("2025.12.4")
    assert found.require_postgresql().name == "from_mount"
    assert found.require_postgresql().port == 5433
    assert files(found, "config") == [DIRECTORY + "/etc/10-db.yml"]


def both_mounts(services: dict[str, dict[str, Any]]) -> None:
    for name in ("server", "worker"):
        services[name]["volumes"] = [
            *services[name]["volumes"],
            bind("./data/media", "/media"),
        ]


def test_media_inside_of_data_is_saved_once(host: Host) -> None:
    services = official("2026.5.3")
    both_mounts(services)
    host.up(project(services))
    assert directories(host.find("2026.5.3")) == here("certs", "custom-templates", "data")


def test_an_old_mount_of_media_goes_on_with_a_new_version(host: Host) -> None:
    services = official("2025.10.4")
    for name in ("server", "worker"):
        services[name]["image"] = IMAGE + ":2025.12.4"
    host.up(project(services))
    assert directories(host.find("2025.12.4")) == here("certs", "custom-templates", "media")


def volume_with_link(host: Host, *more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A volume on /data that was filled from the image, which has a link there."""
    services = official("2025.12.4")
    for name in ("server", "worker"):
        services[name]["volumes"] = [volume("data", "/data"), *more]
    host.folder(VOLUMES + "/authentik_data/_data")
    host.link(VOLUMES + "/authentik_data/_data/media", "/media")
    return services


def test_files_behind_a_link_in_a_volume_are_taken_from_the_other_mount(host: Host) -> None:
    host.up(project(volume_with_link(host, volume("media", "/media"))))
    found = host.find("2025.12.4")
    assert directories(found) == {
        "data": VOLUMES + "/authentik_data/_data",
        "media": VOLUMES + "/authentik_media/_data",
    }


def test_files_in_the_containers_layer_are_saved_and_warned_of(host: Host) -> None:
    host.up(project(volume_with_link(host)))
    layer = next(item for item in host.fake.documents if item["Name"] == "/authentik-server-1")["Id"]
    upper = "%s/%s/diff/media" % (LAYERS, layer)
    assert "media" not in directories(host.find("2025.12.4"))
    host.write(upper + "/public/icon.png", "x")
    found = host.find("2025.12.4")
    assert directories(found)["media"] == upper
    (warning,) = [text for text in found.warnings if "media" in text]
    assert "lost as soon as the container is made anew" in warning
    assert "docker cp authentik-server-1:/media/." in warning


def test_files_in_a_layer_that_the_engine_does_not_show_are_missing_not_forgotten(host: Host) -> None:
    host.up(project(volume_with_link(host)))
    for document in host.fake.documents:
        document["GraphDriver"] = {"Name": "overlayfs", "Data": None}
    assert missing(host.find("2025.12.4")) == []
    host.fake.files["/media/public/icon.png"] = b"x"
    found = host.find("2025.12.4")
    assert missing(found) == ["directories.media"]
    assert any("lost with the container" in text for text in found.warnings)


def test_a_mount_inside_of_the_data_directory_is_saved_too(host: Host) -> None:
    services = official("2025.12.4")
    for name in ("server", "worker"):
        services[name]["volumes"] = [*services[name]["volumes"], volume("uploads", "/data/media")]
    host.up(project(services))
    found = directories(host.find("2025.12.4"))
    assert found["media"] == VOLUMES + "/authentik_uploads/_data"
    assert found["data"] == DIRECTORY + "/data"


def test_a_file_that_is_mounted_among_the_blueprints_belongs_to_the_configuration(host: Host) -> None:
    services = official("2025.12.4")
    services["worker"]["volumes"] = [*services["worker"]["volumes"], bind("./my.yaml", "/blueprints/custom/my.yaml")]
    host.write(DIRECTORY + "/my.yaml", "x")
    host.up(project(services))
    found = host.find("2025.12.4")
    assert files(found, "config") == [DIRECTORY + "/my.yaml"]
    assert not [name for name in directories(found) if name.startswith("extra")]


def test_directories_by_option_and_by_setting(host: Host) -> None:
    services = official("2025.12.4")
    for name in ("server", "worker"):
        services[name]["environment"]["AUTHENTIK_BLUEPRINTS_DIR"] = "/own/blueprints"
        services[name]["volumes"] = [*services[name]["volumes"], bind("./bp", "/own/blueprints")]
    host.up(project(services))
    found = host.find("2025.12.4", directories={"certs": "", "data": "/mnt/uploads"})
    assert directories(found) == {
        "blueprints": DIRECTORY + "/bp",
        "custom-templates": DIRECTORY + "/custom-templates",
        "data": "/mnt/uploads",
    }


def test_a_volume_that_cannot_be_read_from_the_host_is_missing_by_name(host: Host) -> None:
    services = official("2025.12.4")
    for name in ("server", "worker"):
        services[name]["volumes"] = [volume("data", "/data")]
    host.fake.volumes["authentik_data"] = {
        "Name": "authentik_data",
        "Driver": "local",
        "Mountpoint": VOLUMES + "/authentik_data/_data",
        "Options": {"type": "nfs", "o": "addr=nas", "device": ":/ak"},
    }
    host.up(project(services))
    found = host.find("2025.12.4")
    assert missing(found) == ["directories.data"]
    assert any("authentik_data" in text and "nfs" in text for text in found.warnings)


def test_s3_keeps_uploads_out_of_the_directories(host: Host) -> None:
    services = official("2025.12.4")
    for name in ("server", "worker"):
        services[name]["environment"]["AUTHENTIK_STORAGE__BACKEND"] = "s3"
    host.up(project(services))
    found = host.find("2025.12.4")
    assert found.storage_backend == "s3"
    assert directories(found) == here("certs", "custom-templates")


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


def test_compose_that_cannot_resolve_a_project_that_is_down_is_an_error(host: Host) -> None:
    host.lay_down(project(official("2025.12.4")))
    host.fake.configs.clear()
    with pytest.raises(ToolError, match="PG_PASS is missing a value"):
        host.find(compose_project_directory=DIRECTORY)


def test_a_directory_without_compose_files_is_told(host: Host) -> None:
    host.folder("/srv/empty")
    with pytest.raises(DiscoveryError, match="/srv/empty holds no compose file"):
        host.find(compose_project_directory="/srv/empty")
    with pytest.raises(InputError, match=r"/srv/x\.yml, named by compose_files"):
        host.find(compose_project_directory="/srv/empty", compose_files=["/srv/x.yml"])


def test_files_and_profiles_by_option_and_by_the_env_file(host: Host) -> None:
    host.lay_down(project(official("2025.12.4")))
    for name in ("a.yml", "b.yml", "c.yml", "compose.override.yml"):
        host.write("%s/%s" % (DIRECTORY, name), "services: {}\n")
    plain = host.find(compose_project_directory=DIRECTORY).compose
    assert plain is not None
    assert plain.files == (DIRECTORY + "/compose.yml", DIRECTORY + "/compose.override.yml")
    host.write(DIRECTORY + "/.env", "COMPOSE_FILE='a.yml:b.yml' # both\nX=1\n")
    host.write(DIRECTORY + "/prod.env", "Y=1\n")
    by_env = host.find(compose_project_directory=DIRECTORY).compose
    assert by_env is not None
    assert by_env.files == (DIRECTORY + "/a.yml", DIRECTORY + "/b.yml")
    given = host.find(
        compose_project_directory=DIRECTORY,
        compose_files=[DIRECTORY + "/c.yml"],
        compose_env_files=[DIRECTORY + "/prod.env"],
        compose_profiles=["ldap"],
    ).compose
    assert given is not None
    assert (given.files, given.env_files, given.profiles) == (
        (DIRECTORY + "/c.yml",),
        (DIRECTORY + "/prod.env",),
        ("ldap",),
    )
    assert host.fake.asked[-1][8:10] == ["--profile", "ldap"]


def test_files_that_a_compose_file_includes_are_saved_too(host: Host) -> None:
    host.up(project(official("2025.12.4")))
    host.write(
        DIRECTORY + "/compose.yml",
        "include:\n  - path: db/compose.yml\n    env_file: db/db.env\nservices:\n  server:\n"
        "    extends:\n      file: common.yml\n      service: base\n",
    )
    for name in ("db/compose.yml", "db/db.env", "common.yml"):
        host.write("%s/%s" % (DIRECTORY, name), "services: {}\n")
    found = host.find("2025.12.4")
    assert files(found, "compose") == [
        "%s/%s" % (DIRECTORY, name) for name in ("common.yml", "compose.yml", "db/compose.yml")
    ]
    assert DIRECTORY + "/db/db.env" in files(found, "env")


UNIT = "[Service]\nExecStart=/opt/authentik/authentik-server\n"


def test_services_of_the_host_and_a_project_need_a_decision(host: Host) -> None:
    host.up(project(official("2025.12.4")))
    host.write("/etc/systemd/system/authentik-server.service", UNIT)
    with pytest.raises(DiscoveryError, match=r"authentik-server.service\) and as compose projects \(authentik\)"):
        host.find()
    assert host.find(deployment="compose").deployment == "compose"
    assert host.find(deployment="host").deployment == "host"
    assert host.find(compose_project_name="authentik").deployment == "compose"
    assert host.find(server_units=["authentik-server"]).deployment == "host"


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"deployment": "host", "compose_project_name": "x"}, "compose_project_name"),
    ({"deployment": "host", "postgresql_service": ""}, "postgresql_service"),
    ({"deployment": "compose", "server_units": ["a"]}, "server_units"),
    ({"postgresql_run_as": "postgres"}, "postgresql_run_as"),
    ({"postgresql_sslmode": "require"}, "postgresql_sslmode"),
]


@pytest.mark.parametrize(("options", "name"), CONTRADICTIONS)
def test_an_option_that_would_be_ignored_is_refused(host: Host, options: dict[str, Any], name: str) -> None:
    host.up(project(official("2025.12.4")))
    with pytest.raises(InputError, match=name):
        host.find(**options)


def test_an_external_database_takes_the_options_for_one(host: Host) -> None:
    host.up(project(official("2025.12.4")))
    found = host.find(
        postgresql_service="", postgresql_host="10.0.0.7", postgresql_sslmode="require", postgresql_run_as="ops"
    ).require_postgresql()
    assert (found.host, found.sslmode, found.run_as, found.container) == ("10.0.0.7", "require", "ops", None)


def test_the_engine_is_not_asked_where_it_is_not_needed(host: Host) -> None:
    host.write("/etc/systemd/system/authentik-server.service", UNIT)
    host.fake.answers = False
    found = host.find("2025.12.4")
    assert found.deployment == "host"
    assert not [text for text in found.warnings if "SENTINEL" in text]
    host.engine = None
    assert host.find("2025.12.4").deployment == "host"


def test_an_engine_that_does_not_answer_is_told_where_nothing_else_was_found(host: Host) -> None:
    host.fake.answers = False
    assert any("SENTINEL" in text for text in host.find().warnings)
    with pytest.raises(ConnectError, match="SENTINEL"):
        host.find(deployment="compose")
    host.engine = None
    with pytest.raises(ToolError, match="docker is not installed"):
        host.find(deployment="compose")


def test_a_host_with_docker_but_no_authentik_is_told_what_to_give(host: Host) -> None:
    assert any("compose_project_directory" in text for text in host.find().warnings)
    with pytest.raises(DiscoveryError, match="No container of a compose project runs authentik"):
        host.find(deployment="compose")
    host.run("sso", {"image": IMAGE + ":2025.12.4", "command": ["server"]}, {})
    assert any("Container sso runs authentik, but belongs to no" in text for text in host.find().warnings)


def test_an_engine_of_another_machine_is_refused(host: Host) -> None:
    host.fake.host = "ssh://root@elsewhere"
    with pytest.raises(InputError, match="another machine"):
        host.find(docker_host="ssh://root@elsewhere")


def test_compose_before_version_2_is_an_error_where_files_have_to_be_read(host: Host) -> None:
    host.up(project(official("2025.12.4")))
    host.fake.has_compose = False
    with pytest.raises(ToolError, match="Compose v2 is not installed"):
        host.find("2025.12.4")


def test_directories_that_compose_has_yet_to_make_are_known(host: Host) -> None:
    host.lay_down(project(official("2025.12.4")))
    for name in ("data", "certs", "custom-templates"):
        (host.path / DIRECTORY.lstrip("/") / name).rmdir()
    found = host.find(compose_project_directory=DIRECTORY)
    assert directories(found) == here("certs", "custom-templates", "data")
    assert found.missing == ()


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
