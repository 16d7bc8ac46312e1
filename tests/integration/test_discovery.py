# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Layouts that authentik is found in, each laid out in a folder that stands for the host's root."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    DiscoveryError,
)
from tests.support.root import PASSWD, SECRET, Root, directories, files, missing, nix, proxmox_2024, proxmox_2026


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


@pytest.mark.parametrize("layout", [proxmox_2024, proxmox_2026, nix])
def test_no_secret_in_the_description(root: Root, layout: Any) -> None:
    layout(root)
    found = root.discover()
    assert SECRET in (found.secret_key or "")
    shown = json.dumps(found.describe()) + repr(found)
    assert "SENTINEL" not in shown
    assert found.describe()["secret_key_set"] is True
