# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Layouts that authentik is found in, each laid out in a folder that stands for the host's root."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._discover import discover
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Instance
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    DiscoveryError,
    InputError,
)

SECRET = "SENTINEL-secret"
PASSWD = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:101::/var/lib/postgresql:/bin/sh\n"


class Root:
    """A folder that stands for ``/``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("/etc/passwd", PASSWD)

    def write(self, path: str, text: str) -> None:
        target = self.path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def folder(self, *paths: str) -> None:
        for path in paths:
            (self.path / path.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def unit(self, name: str, service: str, folder: str = "/etc/systemd/system") -> None:
        self.write("%s/%s" % (folder, name), "[Service]\n" + service)

    def discover(
        self, version: str | None = None, euid: int = 0, older: Sequence[str] = (), **options: Any
    ) -> Instance:
        """Discover with a database that tells the version, or does not answer."""

        def read_history(_settings: object) -> list[str]:
            if version is None:
                raise ConnectError("no server answers")
            return [version, *older]

        return discover(options, read_history, System(str(self.path), euid=euid))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def directories(instance: Instance) -> dict[str, str]:
    return {item.component: item.path for item in instance.directories}


def files(instance: Instance, kind: str) -> list[str]:
    return [item.path for item in instance.config_files if item.kind == kind]


def missing(instance: Instance) -> list[str]:
    return [item.option for item in instance.missing]


def proxmox_2024(root: Root) -> None:
    root.write(
        "/etc/authentik/config.yml",
        "# authentik configuration\npostgresql:\n  host: localhost\n  name: authentik\n  user: authentik\n"
        "  port: 5432\n  password: %s-db\nredis:\n  host: localhost\n  port: 6379\n  db: 0\n"
        "storage:\n  media:\n    backend: file # or s3\n    file:\n      path: ./media\n"
        "blueprints_dir: /opt/authentik/blueprints\ncert_discovery_dir: /certs\nsecret_key: %s-key\n"
        % (SECRET, SECRET),
    )
    root.unit(
        "authentik-server.service",
        "ExecStart=/opt/authentik/authentik-server\nWorkingDirectory=/opt/authentik/\nRestart=always\n",
    )
    root.unit(
        "authentik-worker.service",
        "ExecStart=celery -A authentik.root.celery worker\nWorkingDirectory=/opt/authentik\nType=simple\n",
    )
    root.folder("/opt/authentik/media/public", "/opt/authentik/blueprints")
    root.write("/opt/authentik_version.txt", "2024.12.3\n")


def test_proxmox_2024(root: Root) -> None:
    proxmox_2024(root)
    found = root.discover()
    assert found.version == {"value": "2024.12.3", "source": "/opt/authentik_version.txt"}
    assert found.train == "2024.12"
    database = found.require_postgresql()
    assert (database.host, database.port, database.name, database.user, database.password, database.run_as) == (
        "localhost", 5432, "authentik", "authentik", SECRET + "-db", None,
    )  # fmt: skip
    assert found.redis is not None
    assert found.redis.host == "localhost"
    assert directories(found) == {"media": "/opt/authentik/media", "blueprints": "/opt/authentik/blueprints"}
    assert found.storage_backend == "file"
    assert [(unit.name, unit.role, unit.active) for unit in found.units] == [
        ("authentik-server.service", "server", None),
        ("authentik-worker.service", "worker", None),
    ]
    assert found.require_secret_key() == SECRET + "-key"
    assert files(found, "config") == ["/etc/authentik/config.yml"]
    assert files(found, "unit") == [
        "/etc/systemd/system/authentik-server.service",
        "/etc/systemd/system/authentik-worker.service",
    ]
    assert missing(found) == []
    assert "certs: /certs, authentik's default, does not exist" in found.notes


def proxmox_2026(root: Root) -> None:
    root.write("/etc/authentik/config.yml", "secret_key: file:///etc/authentik/secret_key\n")
    root.write("/etc/authentik/secret_key", SECRET + "\n")
    root.write(
        "/etc/default/authentik-server",
        "AUTHENTIK_POSTGRESQL__PASSWORD='%s pass'\nAUTHENTIK_STORAGE__FILE__PATH=/opt/authentik-data\n"
        "AUTHENTIK_LISTEN__HTTP=[::]:9000\n" % SECRET,
    )
    root.write(
        "/etc/default/authentik-worker",
        "AUTHENTIK_POSTGRESQL__PASSWORD='%s pass'\nAUTHENTIK_CERT_DISCOVERY_DIR=/opt/authentik-data/certs\n"
        "AUTHENTIK_EMAIL__TEMPLATE_DIR=/opt/authentik-data/templates\nAUTHENTIK_LISTEN__HTTP=[::]:8000\n"
        "AUTHENTIK_BLUEPRINTS_DIR=/opt/authentik/blueprints\n" % SECRET,
    )
    for name in ("server", "worker"):
        root.unit(
            "authentik-%s.service" % name,
            "User=authentik\nExecStart=/opt/authentik/authentik-%s\nWorkingDirectory=/opt/authentik\n"
            "EnvironmentFile=/etc/default/authentik-%s\nEnvironmentFile=-/etc/default/nowhere\n" % (name, name),
        )
    root.unit("authentik-ldap.service", "ExecStart=/opt/authentik/ldap\nEnvironmentFile=/etc/default/ak-ldap\n")
    root.write("/etc/default/ak-ldap", "AUTHENTIK_TOKEN=%s\n" % SECRET)
    root.folder("/opt/authentik-data/media/public", "/opt/authentik-data/reports", "/opt/authentik-data/certs")
    root.write("/root/.authentik", "version/2026.8.0\n")


def test_proxmox_2026(root: Root) -> None:
    proxmox_2026(root)
    found = root.discover()
    assert found.version == {"value": "2026.8.0", "source": "/root/.authentik"}
    assert found.redis is None
    assert found.require_postgresql().password == SECRET + " pass"
    # The storage folder holds certificates and templates too, so its parts are saved, not the whole.
    assert directories(found) == {
        "blueprints": "/opt/authentik/blueprints",
        "certs": "/opt/authentik-data/certs",
        "custom-templates": "/opt/authentik-data/templates",
        "extra-reports": "/opt/authentik-data/reports",
        "media": "/opt/authentik-data/media",
    }
    assert {item.source for item in found.directories if item.component == "certs"} == {"/etc/default/authentik-worker"}
    assert found.health_url == "http://127.0.0.1:9000/-/health/ready/"
    assert [unit.role for unit in found.units] == ["server", "worker", "outpost"]
    assert files(found, "env") == [
        "/etc/default/ak-ldap", "/etc/default/authentik-server", "/etc/default/authentik-worker",
    ]  # fmt: skip
    assert files(found, "file-value") == ["/etc/authentik/secret_key"]
    assert found.require_secret_key() == SECRET
    assert found.warnings == ()


def nix(root: Root) -> None:
    root.write(
        "/etc/authentik/config.yml",
        "cert_discovery_dir: env://CREDENTIALS_DIRECTORY\npostgresql:\n  host: ''\n"
        "blueprints_dir: /nix/store/abc-blueprints\nstorage:\n  file:\n    path: /var/lib/authentik\n",
    )
    service = (
        "DynamicUser=true\nUser=authentik\nStateDirectory=authentik\nWorkingDirectory=%%S/authentik\n"
        "EnvironmentFile=/run/secrets/authentik/authentik-env\nExecStart=/nix/store/abc-authentik-gopkgs-2025.12.1/bin/%s\n"
    )
    root.unit("authentik.service", service % "server")
    root.unit(
        "authentik-worker.service",
        service % "ak worker" + "LoadCredential=sso.pem:/var/lib/acme/sso/cert.pem\n",
    )
    root.unit("authentik-migrate.service", "Type=oneshot\nExecStart=/nix/store/abc/bin/migrate.py\n")
    root.write("/run/secrets/authentik/authentik-env", "AUTHENTIK_SECRET_KEY=%s\n" % SECRET)
    root.write("/var/lib/acme/sso/cert.pem", "x")
    root.folder("/var/lib/authentik/media/public")


def test_nix(root: Root) -> None:
    nix(root)
    found = root.discover()
    assert found.version == {"value": "2025.12.1", "source": "command of authentik.service"}
    database = found.require_postgresql()
    # The dynamic user exists only while the service runs.
    assert (database.host, database.run_as, database.user, database.app_user) == (
        "",
        "postgres",
        "postgres",
        "authentik",
    )
    assert found.redis is None
    assert directories(found) == {"media": "/var/lib/authentik/media"}
    assert [(unit.name, unit.role) for unit in found.units] == [
        ("authentik.service", "server"),
        ("authentik-worker.service", "worker"),
    ]
    assert files(found, "credential") == ["/var/lib/acme/sso/cert.pem"]
    assert files(found, "env") == ["/run/secrets/authentik/authentik-env"]
    assert found.require_secret_key() == SECRET
    assert any("/run/credentials/authentik-worker.service" in note for note in found.notes)
    root.write("/etc/passwd", PASSWD + "authentik:x:999:999::/:/bin/sh\n")
    running = root.discover().require_postgresql()
    assert (running.run_as, running.user) == ("authentik", "authentik")
    assert root.discover(euid=1000).require_postgresql().run_as is None


def test_nixpkgs_with_redis_over_a_socket(root: Root) -> None:
    root.unit(
        "authentik-server.service",
        "User=authentik\nExecStart=/nix/store/abc/bin/ak server\nWorkingDirectory=/var/lib/authentik\n"
        'Environment="AUTHENTIK_POSTGRESQL__HOST=/run/postgresql" AUTHENTIK_SECRET_KEY=file:///run/secrets/key\n'
        "Environment=AUTHENTIK_CACHE__URL=unix:///run/redis-authentik/redis.sock?db=1\n",
        folder="/usr/local/lib/systemd/system",
    )
    root.write("/run/secrets/key", SECRET + "\n")
    root.folder("/var/lib/authentik/media")
    found = root.discover(version="2025.6.4")
    assert found.version == {"value": "2025.6.4", "source": "database, newest row of authentik_version_history"}
    assert found.redis is not None
    assert (found.redis.socket, found.redis.db) == ("/run/redis-authentik/redis.sock", 1)
    assert found.require_postgresql().host == "/run/postgresql"
    assert directories(found) == {"media": "/var/lib/authentik/media"}
    assert files(found, "file-value") == ["/run/secrets/key"]
    assert found.sources["secret_key"] == "authentik-server.service, Environment=, file:///run/secrets/key"


def test_what_is_installed_is_not_what_ran_last(root: Root) -> None:
    root.write("/opt/authentik/authentik/__init__.py", '__version__ = "2026.2.1"\n')
    found = root.discover(version="2025.12.4", env_files=[], postgresql_host="db")
    assert found.version == {"value": "2025.12.4", "source": "database, newest row of authentik_version_history"}
    assert found.installed == {"value": "2026.2.1", "source": "/opt/authentik/authentik/__init__.py"}
    assert found.describe()["installed_version"] == found.installed
    root.write("/srv/sso/authentik/__init__.py", '__version__ = "2025.12.6"\n')
    elsewhere = root.discover(version="2025.12.4", postgresql_host="db", working_directory="/srv/sso")
    assert elsewhere.installed == {"value": "2025.12.6", "source": "/srv/sso/authentik/__init__.py"}
    told = root.discover(version="2025.12.4", postgresql_host="db", authentik_version="2026.5.1")
    assert told.version == told.installed == {"value": "2026.5.1", "source": "option authentik_version"}


def test_a_database_alone_says_nothing_about_the_code(root: Root) -> None:
    found = root.discover(version="2025.12.4", postgresql_host="db")
    assert found.installed is None
    assert found.train == "2025.12"


def test_a_history_that_went_back_is_warned_of_and_recorded(root: Root) -> None:
    found = root.discover(version="2025.12.4", older=["2026.2.1", "2026.2.0", "2025.12.4"], postgresql_host="db")
    assert found.version is not None
    assert (found.version["value"], found.version["newer"]) == ("2025.12.4", "2026.2.1")
    assert any("2026.2.1" in warning and "does not go back" in warning for warning in found.warnings)
    plain = root.discover(version="2026.2.1", older=["2025.12.4"], postgresql_host="db")
    assert "newer" not in (plain.version or {})
    assert plain.warnings == ()


def test_own_units_with_drop_ins(root: Root) -> None:
    root.unit(
        "sso-web.service",
        "ExecStart=/bin/false\nEnvironment=AUTHENTIK_POSTGRESQL__HOST=a AUTHENTIK_POSTGRESQL__NAME=sso\n",
        folder="/usr/lib/systemd/system",
    )
    root.unit("sso-web.service", "ExecStart=/srv/sso/ak server\nWorkingDirectory=/srv/sso\n"
              "Environment=AUTHENTIK_POSTGRESQL__HOST=b AUTHENTIK_POSTGRESQL__NAME=sso\n")  # fmt: skip
    root.unit("20-db.conf", "Environment=AUTHENTIK_POSTGRESQL__HOST=c\n", "/etc/systemd/system/sso-web.service.d")
    root.unit("10-db.conf", "Environment=AUTHENTIK_POSTGRESQL__HOST=d\n", "/usr/lib/systemd/system/sso-.service.d")
    root.unit("30-x.conf", "EnvironmentFile=/srv/sso/*.env\n", "/run/systemd/generator/sso-web.service.d")
    root.write("/srv/sso/a.env", "AUTHENTIK_SECRET_KEY=%s\nAUTHENTIK_POSTGRESQL__USER=u\n" % SECRET)
    root.write("/srv/sso/b.env", "AUTHENTIK_POSTGRESQL__USER=v\n")
    root.unit("sso-jobs@.service", "ExecStart=/srv/sso/ak worker\nWorkingDirectory=/srv/sso\n")
    root.write("/etc/systemd/system/multi-user.target.wants/sso-jobs@1.service", "")
    root.write("/etc/systemd/system/multi-user.target.wants/sso-jobs@2.service", "")
    found = root.discover(version="2025.12.4")
    database = found.require_postgresql()
    assert (database.host, database.name, database.user) == ("c", "sso", "v")
    assert [(unit.name, unit.role) for unit in found.units] == [
        ("sso-web.service", "server"),
        ("sso-jobs@1.service", "worker"),
        ("sso-jobs@2.service", "worker"),
    ]
    assert files(found, "drop-in") == [
        "/etc/systemd/system/sso-web.service.d/20-db.conf",
        "/run/systemd/generator/sso-web.service.d/30-x.conf",
        "/usr/lib/systemd/system/sso-.service.d/10-db.conf",
    ]
    assert files(found, "unit") == ["/etc/systemd/system/sso-jobs@.service", "/etc/systemd/system/sso-web.service"]
    assert files(found, "env") == ["/srv/sso/a.env", "/srv/sso/b.env"]
    # ./data is the default and does not exist: it is missed, not silently left out.
    assert missing(found) == ["directories.data"]
    root.folder("/srv/sso/data")
    assert directories(root.discover(version="2025.12.4")) == {"data": "/srv/sso/data"}
    assert any("configured differently" in warning for warning in found.warnings)


def test_an_env_file_without_units(root: Root) -> None:
    root.write(
        "/etc/authentik/.env",
        "AUTHENTIK_POSTGRESQL__HOST=db\nAUTHENTIK_POSTGRESQL__PASSWORD=%s\nAUTHENTIK_SECRET_KEY=%s\n"
        % (SECRET, SECRET),
    )
    root.write("/opt/authentik/src/authentik/__init__.py", '"""authentik root module"""\nVERSION = "2025.8.1"\n')
    root.folder("/opt/authentik/src/media")
    bare = root.discover()
    assert bare.postgresql is None
    assert missing(bare) == ["postgresql_host", "working_directory", "secret_key"]
    with pytest.raises(DiscoveryError) as caught:
        bare.require_postgresql()
    assert "env_files" in caught.value.hint
    found = root.discover(env_files=["/etc/authentik/.env"], working_directory="/opt/authentik/src")
    assert found.version == {"value": "2025.8.1", "source": "/opt/authentik/src/authentik/__init__.py"}
    assert found.require_postgresql().host == "db"
    assert found.redis is not None
    assert directories(found) == {"media": "/opt/authentik/src/media"}
    assert missing(found) == []
    assert files(found, "env") == ["/etc/authentik/.env"]


def test_nothing_at_all(root: Root) -> None:
    found = root.discover()
    assert missing(found) == [
        "postgresql_host", "authentik_version", "redis_enabled", "authentik_version", "secret_key",
    ]  # fmt: skip
    assert (found.directories, found.units, found.config_files, found.redis) == ((), (), (), None)


OPTIONS: dict[str, Any] = {
    "authentik_version": "2026.2.0",
    "secret_key": "other",
    "postgresql_host": "elsewhere",
    "redis_enabled": True,
    "redis_host": "cache",
    "storage_backend": "s3",
    "directories": {"media": "", "data": "/d", "certs": "/c", "custom_templates": "", "blueprints": None},
    "health_url": "http://sso/-/health/ready/",
}


def test_options_override_what_is_found(root: Root) -> None:
    proxmox_2024(root)
    found = root.discover(**OPTIONS)
    assert found.version == {"value": "2026.2.0", "source": "option authentik_version"}
    assert found.secret_key == "other"
    assert found.require_postgresql().host == "elsewhere"
    assert found.redis is not None
    assert found.redis.host == "cache"
    assert found.storage_backend == "s3"
    assert directories(found) == {"blueprints": "/opt/authentik/blueprints", "certs": "/c", "data": "/d"}
    assert found.health_url == "http://sso/-/health/ready/"
    assert found.sources["postgresql.host"] == "option postgresql_host"
    other = root.discover(config_paths=[], server_units=["authentik-worker"], worker_units=[], redis_enabled=False)
    assert [(unit.name, unit.role) for unit in other.units] == [("authentik-worker.service", "server")]
    assert (other.secret_key, other.redis) == (None, None)
    root.folder("/srv/media")
    assert directories(root.discover(working_directory="/srv"))["media"] == "/srv/media"


def test_to_deny_media_does_not_deny_data(root: Root) -> None:
    root.unit("authentik-server.service", "ExecStart=/w/ak server\nWorkingDirectory=/w\n")
    root.folder("/w/data")
    assert directories(root.discover("2026.2.0", directories={"media": ""})) == {"data": "/w/data"}
    both = root.discover(
        directories={"media": "", "data": ""}, redis_enabled=False, authentik_version="", secret_key="x"
    )
    assert directories(both) == {}
    assert missing(both) == ["authentik_version"]


@pytest.mark.parametrize("option", ["media", "data", "certs", "custom_templates", "blueprints"])
def test_each_directory_can_be_named_and_denied(root: Root, option: str) -> None:
    proxmox_2024(root)
    component = option.replace("_", "-")
    assert directories(root.discover(directories={option: "/somewhere"}))[component] == "/somewhere"
    assert component not in directories(root.discover(directories={option: ""}))


def test_configuration_order(root: Root) -> None:
    proxmox_2024(root)
    root.write("/opt/authentik/authentik/__init__.py", "")
    root.write("/opt/authentik/local.yml", "postgresql:\n  name: local\n  user: local\n  port: 1\n")
    root.write("/etc/authentik/config.d/b.yml", "postgresql:\n  user: b\n")
    root.write("/etc/authentik/config.d/a.yml", "postgresql:\n  user: a\n  port: 2\n")
    root.write("/etc/authentik/config.d/c.yaml", "postgresql:\n  user: c\n")
    database = root.discover().require_postgresql()
    assert (database.name, database.user, database.port) == ("local", "b", 2)
    # All of /etc/authentik is part of the configuration, read or not.
    assert "/etc/authentik/config.d/c.yaml" in files(root.discover(), "config")


def test_storage_in_s3_has_no_directory(root: Root) -> None:
    proxmox_2026(root)
    root.write("/etc/authentik/config.d/s3.yml", "storage:\n  backend: s3\n")
    found = root.discover()
    assert found.storage_backend == "s3"
    assert {"media", "data", "extra-reports"}.isdisjoint(directories(found))
    assert found.sources["storage.backend"] == "/etc/authentik/config.d/s3.yml"


MEDIA_OR_DATA: dict[str, tuple[str | None, str, list[str], dict[str, str], list[str]]] = {
    "before": ("2025.10.4", "", ["/w/media", "/w/data"], {"media": "/w/media"}, []),
    "from": ("2025.12.0", "", ["/w/media", "/w/data"], {"data": "/w/data"}, []),
    "old key": ("2024.1.0", "paths:\n  media: /m\n", [], {"media": "/m"}, []),
    "usage of its own": (
        "2026.2.0", "storage:\n  file:\n    path: /s\n  media:\n    file:\n      path: /m\n", ["/s/reports"],
        {"media": "/m/media", "extra-reports": "/s/reports"}, [],
    ),
    "new key": (None, "storage:\n  file:\n    path: /s\n", [], {"data": "/s"}, ["authentik_version"]),
    "media key": (None, "storage:\n  media:\n    file:\n      path: /m\n", [], {"media": "/m"}, ["authentik_version"]),
    "only data is there": (None, "", ["/w/data"], {"data": "/w/data"}, ["authentik_version"]),
    "both are there": (None, "", ["/w/data", "/w/media"], {}, ["authentik_version", "authentik_version"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("version", "config", "folders", "expected", "missed"), MEDIA_OR_DATA.values(), ids=MEDIA_OR_DATA
)
def test_media_or_data(
    root: Root, version: str | None, config: str, folders: list[str], expected: dict[str, str], missed: list[str]
) -> None:
    root.unit("authentik-server.service", "ExecStart=/w/ak server\nWorkingDirectory=/w\n")
    root.write("/etc/authentik/config.yml", "secret_key: x\n" + config)
    root.folder(*folders)
    found = root.discover(version=version, redis_enabled=False)
    assert directories(found) == expected
    assert missing(found) == missed


@pytest.mark.parametrize("layout", [proxmox_2024, proxmox_2026, nix])
def test_no_secret_in_the_description(root: Root, layout: Any) -> None:
    layout(root)
    found = root.discover()
    assert SECRET in (found.secret_key or "")
    shown = json.dumps(found.describe()) + repr(found)
    assert "SENTINEL" not in shown
    assert found.describe()["secret_key_set"] is True


def test_left_over_redis_settings(root: Root) -> None:
    proxmox_2024(root)
    assert root.discover(version="2025.8.4").redis is not None
    after = root.discover(version="2025.10.0")
    assert after.redis is None
    assert any("Redis" in note for note in after.notes)


def test_what_is_wrong_is_said(root: Root) -> None:
    proxmox_2026(root)
    (root.path / "etc/default/authentik-server").unlink()
    (root.path / "etc/authentik/secret_key").unlink()
    root.unit("authentik-proxy.service", "ExecStart=/usr/bin/docker run authentik-proxy\n")
    found = root.discover(env_files=["/nowhere.env"])
    text = "\n".join(found.warnings)
    assert "authentik-server.service needs the environment file /etc/default/authentik-server" in text
    assert "file:///etc/authentik/secret_key, which does not exist" in text
    assert "/nowhere.env, named by env_files, does not exist" in text
    assert "authentik-proxy.service runs authentik in a container" in text
    assert "secret_key" in missing(found)
    with pytest.raises(DiscoveryError) as caught:
        found.require_secret_key()
    assert "env_files" in caught.value.hint


def test_files_that_cannot_be_read(root: Root) -> None:
    proxmox_2024(root)
    config = root.path / "etc/authentik/config.yml"
    config.write_bytes(b"secret_key: \xff\n")
    with pytest.raises(DiscoveryError, match=r"/etc/authentik/config\.yml is not UTF-8 text"):
        root.discover()
    config.unlink()
    config.mkdir()
    with pytest.raises(DiscoveryError, match=r"/etc/authentik/config\.yml cannot be read: Is a directory"):
        root.discover()


def test_a_unit_that_does_not_exist(root: Root) -> None:
    proxmox_2024(root)
    with pytest.raises(InputError, match=r"no systemd unit nowhere\.service"):
        root.discover(worker_units=["nowhere"])


def test_a_masked_unit_is_no_service(root: Root) -> None:
    proxmox_2024(root)
    unit = root.path / "etc/systemd/system/authentik-worker.service"
    unit.unlink()
    unit.symlink_to("/dev/null")
    assert [unit.role for unit in root.discover().units] == ["server"]
