# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What decides where several things could be meant: options, order, versions; and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    DiscoveryError,
    InputError,
)
from tests.support.root import Root, directories, files, missing, proxmox_2024, proxmox_2026

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


S3_MEDIA = "storage:\n  media:\n    backend: s3\n"
PER_USAGE: dict[str, tuple[str, list[str], dict[str, str], tuple[str, ...]]] = {
    # The only spelling before 2025.12, which says nothing of reports.
    "media alone": (S3_MEDIA, ["/w/data/reports"], {"extra-reports": "/w/data/reports"}, ("media",)),
    "reports excepted": (
        "storage:\n  backend: s3\n  reports:\n    backend: file\n    file:\n      path: /r\n", ["/r/reports"],
        {"extra-reports": "/r/reports"}, ("media",),
    ),
    "below the common path": (
        S3_MEDIA + "  file:\n    path: /s\n", ["/s/reports"], {"extra-reports": "/s/reports"}, ("media",),
    ),
    "no report yet": (S3_MEDIA, ["/w/data"], {}, ("media",)),
    "all of it": ("storage:\n  backend: s3\n", ["/w/data/reports"], {}, ("media", "reports")),
    "reports alone": (
        "storage:\n  reports:\n    backend: s3\n", ["/w/data/reports"], {"data": "/w/data"}, ("reports",),
    ),
    "media excepted": (
        "storage:\n  backend: s3\n  media:\n    backend: file\n    file:\n      path: /m\n",
        ["/m/media", "/w/data/reports"], {"media": "/m/media"}, ("reports",),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("config", "folders", "expected", "bucket"), PER_USAGE.values(), ids=PER_USAGE)
def test_each_usage_is_saved_from_where_it_lies(
    root: Root, config: str, folders: list[str], expected: dict[str, str], bucket: tuple[str, ...]
) -> None:
    root.unit("authentik-server.service", "ExecStart=/w/ak server\nWorkingDirectory=/w\n")
    root.write("/etc/authentik/config.yml", "secret_key: x\n" + config)
    root.folder(*folders)
    found = root.discover("2026.2.0")
    assert directories(found) == expected
    assert found.object_storage is not None
    assert found.object_storage.folders == bucket
    assert any("extra-reports" in note for note in found.notes) is (config == S3_MEDIA and not expected)
    before = root.discover("2025.10.4")
    assert "extra-reports" not in directories(before)


def test_where_reports_will_be_is_known_before_the_first(root: Root) -> None:
    root.unit("authentik-server.service", "ExecStart=/w/ak server\nWorkingDirectory=/w\n")
    config = "secret_key: x\nstorage:\n  %s:\n    file:\n      path: /x\n"
    root.write("/etc/authentik/config.yml", config % "media")
    found = root.discover("2026.2.0")
    assert (directories(found), found.reports) == ({"media": "/x/media"}, "/w/data/reports")
    assert root.discover("2025.10.4").reports == ""
    root.folder("/w/data")
    root.write("/etc/authentik/config.yml", config % "reports")
    found = root.discover("2026.2.0")
    assert (directories(found), found.reports) == ({"data": "/w/data"}, "/x/reports")
    root.write("/etc/authentik/config.yml", "secret_key: x\n")
    assert root.discover("2026.2.0").reports == ""


def test_reports_that_nobody_can_find_are_missing_by_name(root: Root) -> None:
    root.write("/etc/authentik/config.yml", "secret_key: x\n" + S3_MEDIA)
    assert missing(root.discover("2026.2.0", postgresql_host="db")) == ["working_directory"]
    root.folder("/w/data/reports")
    assert directories(root.discover("2026.2.0", working_directory="/w")) == {"extra-reports": "/w/data/reports"}


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
    assert "/nowhere.env was given and does not exist" in text
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
