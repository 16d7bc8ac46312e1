# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a compose project: those that make it, and those that its settings come from."""

from __future__ import annotations

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    DiscoveryError,
    InputError,
    ToolError,
)
from tests.support.compose_fake import (
    DIRECTORY,
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
    assert found.compose is not None
    assert found.compose.missing_files == ("/data/compose/7/docker-compose.yml",)
    assert found.compose.missing_env_files == ("/data/compose/7/stack.env",)
    assert not found.compose.can_be_made


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
        "secrets": {"unused": {"file": DIRECTORY + "/secrets/unused.txt"}},
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


def test_variables_of_the_shell_that_secrets_come_from_are_told(host: Host) -> None:
    services = official("2025.12.4")
    config = project(services)
    host.fake.raw[DIRECTORY] = {
        "services": {
            "server": {"secrets": [{"source": "key"}, "kept", "both"], "configs": ["more"]},
            "worker": {"secrets": ["key", "bare"]},
        },
        "secrets": {
            "key": {"environment": "THE_KEY"},
            "kept": {"environment": "KEPT"},
            "bare": {"environment": "BARE"},
            "both": {"environment": "BOTH"},
            "nobody_uses": {"environment": "UNUSED"},
        },
        "configs": {"more": {"environment": "BOTH"}},
    }
    # A bare name is what passes the shell's own value on.
    host.write(DIRECTORY + "/.env", "export KEPT='of the file'\nBARE\n# THE_KEY=1\n")
    host.up(config)
    found = host.find("2025.12.4")
    assert found.compose is not None
    assert found.compose.shell_variables == ("BARE", "BOTH", "THE_KEY")
    assert found.compose.describe()["shell_variables"] == ["BARE", "BOTH", "THE_KEY"]
    told = [text for text in found.warnings if "of whoever runs Compose" in text]
    assert [name for text in told for name in ("BARE", "BOTH", "THE_KEY", "KEPT", "UNUSED") if name in text] == [
        "BARE", "BOTH", "THE_KEY",
    ]  # fmt: skip
    assert "config more" in told[1]
    assert "secret both" in told[1]


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


def test_compose_that_cannot_resolve_a_project_that_is_down_is_an_error(host: Host) -> None:
    host.lay_down(project(official("2025.12.4")))
    host.fake.configs.clear()
    with pytest.raises(ToolError, match="PG_PASS is missing a value") as caught:
        host.find(compose_project_directory=DIRECTORY)
    assert "compose_env_files" in caught.value.hint


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


def test_compose_before_version_2_is_an_error_where_files_have_to_be_read(host: Host) -> None:
    host.up(project(official("2025.12.4")))
    host.fake.has_compose = False
    with pytest.raises(ToolError, match="Compose v2 is not installed"):
        host.find("2025.12.4")
