# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How authentik's compose projects lie on their hosts, in the layouts that people have.

The files of each are in ``layouts/NAME``. There ``@HTTP@``, ``@HTTPS@`` (what a port variable holds), ``@HTTP_PORT@``,
``@SOCKET@`` (the engine's), ``@DATABASE@``, ``@DATABASE_PORT@`` (one elsewhere), ``@FOLDER@`` (the project's) and
``@VERSION@`` are filled in.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

FILES = Path(__file__).with_name("layouts")
STOCK = {"server": "server", "worker": "worker", "postgresql": "postgresql"}


@dataclass(frozen=True)
class Layout:
    """One layout.

    :ivar folder: name of the project's folder.
    :ivar project: the project's name.
    :ivar services: role -> service; without ``postgresql`` where the database is not part of the project.
    :ivar outside: where a database is that is not part of the project: in another container of the same ``engine``,
        or elsewhere on the ``network``.
    :ivar binds: component -> folder, from the project's.
    :ivar volumes: component -> the volume's full name.
    :ivar data_volumes: the full names of the servers' own volumes.
    :ivar options: what its operator gives ``docker compose`` each time.
    :ivar port: how the port variable is written: ``address`` (127.0.0.1:N) or ``number``; none for a server that
        publishes no port.
    :ivar secret_modes: modes of files that are not for everybody.
    """

    name: str
    version: str
    folder: str
    project: str
    images: tuple[str, ...]
    secret_key: str
    password: str
    services: dict[str, str] = field(default_factory=lambda: dict(STOCK))
    user: str = "authentik"
    database: str = "authentik"
    outside: str = ""
    binds: dict[str, str] = field(default_factory=dict)
    volumes: dict[str, str] = field(default_factory=dict)
    data_volumes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    redis_password: str = ""
    port: str = "address"
    secret_modes: dict[str, int] = field(default_factory=dict)

    def at(self, version: str, **changes: Any) -> Layout:
        """This layout with another release of authentik, and other changes."""
        images = tuple(_server(version) if "goauthentik" in image else image for image in self.images)
        return replace(self, version=version, images=images, **changes)

    @property
    def directories(self) -> set[str]:
        """The components that are directories."""
        return {*self.binds, *self.volumes}

    @property
    def components(self) -> set[str]:
        """Names of what a backup of everything saves."""
        redis = {"redis"} if "redis" in self.services else set()
        return {"postgresql", "config", *self.directories, *redis}

    @property
    def uploads(self) -> tuple[str, str]:
        """The URL prefix of uploaded files, and their place below the folder of media or data."""
        return ("/files/media/public/", "media/public") if "data" in self.directories else ("/media/public/", "public")

    @property
    def compose_files(self) -> list[str]:
        """Names of the compose files."""
        return sorted(path.name for path in (FILES / self.name).iterdir() if path.suffix in (".yml", ".yaml"))


def _server(version: str) -> str:
    return "ghcr.io/goauthentik/server:%s" % version


def _postgres(tag: str) -> str:
    return "docker.io/library/postgres:%s" % tag


def _redis(tag: str) -> str:
    return "docker.io/library/redis:%s" % tag


# A folder inside authentik's own /blueprints, whose rest comes with the image.
BLUEPRINTS = "extra-blueprints-custom"
MEDIA = {"media": "media", "certs": "certs", "custom-templates": "custom-templates"}
DATA = {"data": "data", "certs": "certs", "custom-templates": "custom-templates"}

_ALL = (
    Layout(
        name="2023.10",
        version="2023.10.7",
        folder="authentik",
        project="authentik",
        images=(_postgres("13-alpine"), _redis("6-alpine"), _server("2023.10.7")),
        secret_key='k#1 $ecret "key" = é',
        password='pa$$ wo#rd "x" \\ ${HOME} %40',
        services={**STOCK, "redis": "redis"},
        binds=MEDIA,
        data_volumes=("authentik_database", "authentik_redis"),
    ),
    Layout(
        name="2025.2",
        version="2025.2.4",
        folder="login",
        project="sso",
        images=(_postgres("15-alpine"), _redis("alpine"), _server("2025.2.4")),
        secret_key="plain-key-of-2025.2/with+base64==",
        password='double "quoted" it\'s $HOME #1',
        user="ak",
        database="ak-db",
        services={**STOCK, "redis": "redis"},
        binds={**MEDIA, BLUEPRINTS: "blueprints/custom"},
        data_volumes=("sso_database", "sso_redis"),
        redis_password="redis-Passw0rd",
    ),
    Layout(
        name="2025.10",
        version="2025.10.4",
        folder="Stack 7",
        project="stack7",
        images=(_postgres("15-alpine"), _server("2025.10.4")),
        secret_key="stack-secret-key",
        password="stack-password",
        binds=MEDIA,
        data_volumes=("stack7_database",),
        options=("--env-file", "stack.env"),
    ),
    Layout(
        name="2025.12",
        version="2025.12.4",
        folder="authentik-data",
        project="authentik-data",
        images=(_postgres("15-alpine"), _server("2025.12.4")),
        secret_key="key-in-a-file-0123456789",
        password='file\'s "password" $1 #2 \\ é',
        binds=DATA,
        data_volumes=("authentik-data_database",),
        # Compose mounts these files as they are, so authentik's user 1000 has to be able to read them.
        secret_modes={"secrets/database_password.txt": 0o444, "secrets/authentik_key": 0o444},
    ),
    Layout(
        name="2026.8",
        version="2026.8.3",
        folder="authentik-2026",
        project="authentik-2026",
        images=(_postgres("17-alpine"), _server("2026.8.3")),
        secret_key="another/key+of=openssl",
        password="generated/by+openssl=rand-base64",
        binds=DATA,
        data_volumes=("authentik-2026_database",),
        port="number",
        secret_modes={".env": 0o600},
    ),
    Layout(
        name="named",
        version="2025.8.4",
        folder="identity-provider",
        project="identity",
        images=(_postgres("15-alpine"), _redis("8-alpine"), _server("2025.8.4")),
        secret_key="hard-coded $ key",
        password="hard-coded password",
        services={
            "server": "authentik-web",
            "worker": "authentik-background",
            "postgresql": "db",
            "redis": "cache",
        },
        volumes={
            "media": "identity_media",
            "certs": "identity_certs",
            "custom-templates": "identity_templates",
            BLUEPRINTS: "identity_blueprints",
        },
        data_volumes=("authentik-database", "identity_cache"),
    ),
    Layout(
        name="external",
        version="2026.2.2",
        folder="with-shared-database",
        project="with-shared-database",
        images=(_postgres("15-alpine"), _server("2026.2.2")),
        secret_key="key of the external layout",
        password="external password",
        outside="network",
        services={"server": "server", "worker": "worker"},
        binds={"data": "uploads", "certs": "certs", "custom-templates": "custom-templates"},
        port="",
    ),
    Layout(
        name="shared",
        version="2026.5.7",
        folder="beside-others",
        project="beside-others",
        images=(_postgres("15-alpine"), _server("2026.5.7")),
        secret_key="key of the shared layout",
        password="shared password",
        outside="engine",
        services={"server": "server", "worker": "worker"},
        binds={"data": "data", "certs": "certs", "custom-templates": "custom-templates"},
        port="",
    ),
)

LAYOUTS = {layout.name: layout for layout in _ALL}
