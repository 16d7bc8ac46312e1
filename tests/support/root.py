# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A folder that stands for the root of a host on which authentik is to be found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._discover import discover
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Instance
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
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
