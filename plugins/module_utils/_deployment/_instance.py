# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What is known about one authentik instance, as plain values.

Nothing here reads or writes anything. A field that holds a secret is kept out
of ``repr()`` and of :meth:`Instance.describe`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._bucket import ObjectStorage
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._version import train_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import DiscoveryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class Container:
    """A container in which programs are run.

    :param docker: how the engine's client is called: its path, and options such as ``--host``.
    :param name: for messages.
    """

    docker: tuple[str, ...]
    id: str
    name: str


@dataclass(frozen=True)
class PostgresSettings:
    """How to reach the instance's database.

    :param host: host name or address; empty or beginning with ``/`` for a Unix socket.
    :param user: the role that the tools log in as.
    :param run_as: OS user that the tools run as (peer authentication), or None for the module's own user.
    :param app_user: the role authentik itself logs in as; it owns the database's objects.
        Differs from *user* only where peer authentication leaves no other way in than a superuser.
    :param container: where the tools run; host and port are then as seen from inside. None for the host itself.
    """

    host: str
    port: int
    name: str
    user: str
    password: str | None = field(default=None, repr=False)
    sslmode: str | None = None
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    run_as: str | None = None
    default_schema: str = "public"
    app_user: str = ""
    container: Container | None = None

    @property
    def is_socket(self) -> bool:
        """True where the server is reached through a Unix socket on this host."""
        return self.host == "" or self.host.startswith("/")

    def describe(self) -> dict[str, Any]:
        """Return the settings without the password."""
        return {
            "host": self.host,
            "port": self.port,
            "name": self.name,
            "user": self.user,
            "app_user": self.app_user or self.user,
            "password_set": bool(self.password),
            "sslmode": self.sslmode,
            "sslrootcert": self.sslrootcert,
            "sslcert": self.sslcert,
            "sslkey": self.sslkey,
            "run_as": self.run_as,
            "default_schema": self.default_schema,
            "container": self.container.name if self.container else None,
        }


@dataclass(frozen=True)
class RedisSettings:
    """How to reach the instance's Redis server.

    :param socket: path of a Unix socket; host, port and TLS are not used then.
    :param tls_reqs: check of the server's certificate: ``none``, ``optional`` or ``required``.
    :param further_dbs: databases of the same server, besides ``db``, that the configuration names too.
    """

    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_reqs: str = "none"
    tls_ca_cert: str | None = None
    socket: str | None = None
    further_dbs: tuple[int, ...] = ()

    @property
    def databases(self) -> list[int]:
        """The databases of this server that belong to the instance."""
        return sorted({self.db, *self.further_dbs})

    def describe(self) -> dict[str, Any]:
        """Return the settings without the password."""
        return {
            "host": self.host,
            "port": self.port,
            "db": self.db,
            "databases": self.databases,
            "username": self.username,
            "password_set": bool(self.password),
            "tls": self.tls,
            "tls_reqs": self.tls_reqs,
            "tls_ca_cert": self.tls_ca_cert,
            "socket": self.socket,
        }


@dataclass(frozen=True)
class Directory:
    """A directory that belongs to the instance.

    :param component: ``media``, ``data``, ``certs``, ``custom-templates`` or ``blueprints``.
    :param path: absolute path on the host.
    :param source: where the path was learnt from.
    """

    component: str
    path: str
    source: str


@dataclass(frozen=True)
class Unit:
    """A service of the instance: systemd's, a service of its compose project, or the container of an outpost.

    :param role: ``server``, ``worker`` or ``outpost``; in a compose project also ``postgresql`` or ``redis``.
    :param path: its unit file, empty where systemd alone knows it, and for containers.
    :param active: whether it runs now; None where no systemd runs to be asked.
    :param containers: ids of its containers, none for a service of systemd or one that has no container yet.
    """

    name: str
    role: str
    path: str = ""
    active: bool | None = None
    containers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Image:
    """The image of a compose service: what was asked for, and what that was on this host.

    :param reference: name and tag as the project has it, such as ``ghcr.io/goauthentik/server:2025.12.4``.
    :param id: the engine's id of the image, ``sha256:...``; empty where it is not there.
    :param digests: the registry's names for it, ``name@sha256:...``; none for an image that was never pulled.
    """

    service: str
    reference: str
    id: str = ""
    digests: tuple[str, ...] = ()


@dataclass(frozen=True)
class ComposeProject:
    """The Docker Compose project of the instance.

    :param docker: how the engine's client is called: its path, and options such as ``--host``.
    :param directory: the project directory, from which relative paths in its files start.
    :param files: compose files, overrides among them, in their order.
    :param env_files: files of variables for the compose files themselves.
    :param server_port: the port on which the server listens inside its container.
    :param server_path: the path of its readiness URL.
    :param missing_files: compose files that its containers were made from and that are not on this host: without them
        Compose would make something else.
    :param missing_env_files: the same for env files.
    :param shell_variables: variables of whoever ran Compose that secrets or configs of its services were made from, and
        that no env file sets: without them Compose cannot make containers.
    :param postgresql_service: the service that is authentik's database; empty for a database outside the project.
    :param redis_service: the service that is authentik's Redis server; empty where there is none in the project.
    """

    docker: tuple[str, ...]
    name: str
    directory: str
    files: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()
    server_port: int = 9000
    server_path: str = "/-/health/ready/"
    missing_files: tuple[str, ...] = ()
    missing_env_files: tuple[str, ...] = ()
    shell_variables: tuple[str, ...] = ()
    postgresql_service: str = ""
    redis_service: str = ""

    @property
    def can_be_read(self) -> bool:
        """Whether all its compose files are on this host."""
        return bool(self.files) and not self.missing_files

    @property
    def can_be_made(self) -> bool:
        """Whether Compose would make of its files what its containers are."""
        return self.can_be_read and not self.missing_env_files

    def describe(self) -> dict[str, Any]:
        """Return it as values that JSON can hold."""
        return {
            "name": self.name,
            "directory": self.directory,
            "files": list(self.files),
            "env_files": list(self.env_files),
            "missing_files": list(self.missing_files),
            "missing_env_files": list(self.missing_env_files),
            "shell_variables": list(self.shell_variables),
            "profiles": list(self.profiles),
            "postgresql_service": self.postgresql_service,
            "redis_service": self.redis_service,
            "images": [
                {"service": item.service, "reference": item.reference, "id": item.id, "digests": list(item.digests)}
                for item in self.images
            ],
        }


@dataclass(frozen=True)
class ConfigFile:
    """A file without which the configuration could not be rebuilt.

    :param kind: ``config``, ``env``, ``unit``, ``drop-in``, ``file-value`` (the target of a ``file://``
        value), ``credential`` (the source of a systemd credential), ``tls`` (a certificate or key), ``compose`` or
        ``secret`` (the file of a compose secret or config).
    """

    path: str
    kind: str


@dataclass(frozen=True)
class Missing:
    """A fact that could not be found, and the option that supplies it."""

    what: str
    option: str


@dataclass(frozen=True)
class Instance:
    """One authentik installation, as discovered and overridden.

    :param deployment: ``host`` or ``compose``.
    :param version: what ran last, ``{"value": "2025.12.4", "source": "..."}`` or None. With ``newer``, the version that
        ran before and left the tables of a later train.
    :param installed: the version of the code, in the same form.
    :param reports: where reports go that lie apart from C(data), also where there are none yet. Empty where they lie in
        it, in a bucket, or nowhere on this host.
    :param health_url: the server's readiness URL on this host.
    :param sources: configuration key to where its value came from; holds no values.
    :param warnings: what an operator should look at.
    :param notes: how some facts were decided; of interest to those who ask for the description.
    """

    deployment: str = "host"
    compose: ComposeProject | None = None
    version: dict[str, str] | None = None
    installed: dict[str, str] | None = None
    postgresql: PostgresSettings | None = None
    redis: RedisSettings | None = None
    directories: tuple[Directory, ...] = ()
    storage_backend: str | None = None
    reports: str = ""
    object_storage: ObjectStorage | None = None
    units: tuple[Unit, ...] = ()
    config_files: tuple[ConfigFile, ...] = ()
    secret_key: str | None = field(default=None, repr=False)
    listen_http: str = ""
    health_url: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    missing: tuple[Missing, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def train(self) -> str | None:
        """The release train, such as ``2025.12``, or None where the version is not known."""
        return train_of(self.version["value"]) if self.version else None

    def require_postgresql(self) -> PostgresSettings:
        """Return the database settings.

        :raises DiscoveryError: when none were found.
        """
        if self.postgresql is None:
            raise DiscoveryError(
                "No PostgreSQL settings were found for this authentik instance",
                "Give postgresql_host, postgresql_name and postgresql_user, or name the environment file that holds "
                "the AUTHENTIK_POSTGRESQL__* variables with env_files",
            )
        if self.postgresql.container is not None and not self.postgresql.container.id:
            service = self.compose.postgresql_service if self.compose else ""
            raise DiscoveryError(
                "The database is service %s of the compose project, which has no container now" % service,
                "Make and start it first",
                "docker compose up --detach %s" % service,
            )
        return self.postgresql

    def require_secret_key(self) -> str:
        """Return authentik's secret key.

        :raises DiscoveryError: when it was not found.
        """
        if not self.secret_key:
            raise DiscoveryError(
                "authentik's secret key was not found",
                "Give secret_key, or name the environment file that holds AUTHENTIK_SECRET_KEY with env_files",
            )
        return self.secret_key

    def describe(self) -> dict[str, Any]:
        """Return everything but the secrets, as values that JSON can hold."""
        return {
            "deployment": self.deployment,
            "compose": self.compose.describe() if self.compose else None,
            "version": dict(self.version) if self.version else None,
            "train": self.train,
            "installed_version": dict(self.installed) if self.installed else None,
            "postgresql": self.postgresql.describe() if self.postgresql else None,
            "redis": self.redis.describe() if self.redis else None,
            "directories": [
                {"component": item.component, "path": item.path, "source": item.source} for item in self.directories
            ],
            "storage_backend": self.storage_backend,
            "object_storage": self.object_storage.describe() if self.object_storage else None,
            "units": [
                {"name": item.name, "role": item.role, "path": item.path, "active": item.active} for item in self.units
            ],
            "config_files": [{"path": item.path, "kind": item.kind} for item in self.config_files],
            "secret_key_set": bool(self.secret_key),
            "listen_http": self.listen_http,
            "health_url": self.health_url,
            "sources": dict(self.sources),
            "missing": [{"what": item.what, "option": item.option} for item in self.missing],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }
