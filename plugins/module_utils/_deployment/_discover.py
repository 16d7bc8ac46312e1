# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Find the authentik instance on this host; options override what is found."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _units, _yaml
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import (
    Configuration,
    Variable,
    as_text,
    load_configuration,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._host import (
    Account,
    listen_address,
    postgres_settings,
    redis_settings,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
    Instance,
    Missing,
    PostgresSettings,
    RedisSettings,
    Unit,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._places import (
    Surroundings,
    find_config_files,
    find_places,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._version import (
    find_version,
    newer_than_last,
    train_key,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._units import LoadedUnit

    HistoryReader = Callable[[PostgresSettings], "list[str]"]

CONFIG_PATHS = ("/etc/authentik/config.yml", "/etc/authentik/config.d/*.yml")
_CODE_DIRS = ("/opt/authentik", "/opt/authentik/src")
# Redis is gone from here on.
_NO_REDIS_TRAIN = (2025, 10)


def discover(
    options: dict[str, Any], read_history: HistoryReader | None = None, system: System | None = None
) -> Instance:
    """Return the instance on this host.

    :param options: the options of the ``instance`` fragment; those absent or None are looked up.
    :param read_history: asks the database for the versions of authentik that ran on it, the latest first.
    :param system: the host; the one this runs on when not given.
    :raises RecoveryError: when something that is there cannot be read or makes no sense. What is simply not there
        is listed in ``Instance.missing``.
    """
    return _Discovery(options, system or System()).run(read_history)


def discover_units(options: dict[str, Any], system: System) -> tuple[list[LoadedUnit], list[str]]:
    """Return the instance's services, and warnings.

    :raises InputError: when an option names a service that does not exist.
    """
    found, containers = _units.find_units(system)
    wanted: list[tuple[str, str]] = []
    for role in _units.ROLES:
        given = options.get("%s_units" % role)
        names = [name for name in found if found[name] == role] if given is None else given
        wanted += [(_units.unit_name(name), role) for name in names]
    shown = system.show_units([name for name, _role in wanted])
    warnings = [
        "%s runs authentik in a container. It is left alone: this collection works on services of the host here." % name
        for name in containers
    ]
    return [_units.load_unit(system, name, role, shown.get(name)) for name, role in wanted], warnings


@dataclass
class _Discovery:
    options: dict[str, Any]
    system: System
    sources: dict[str, str] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def run(self, read_history: HistoryReader | None) -> Instance:
        units, self.warnings = discover_units(self.options, self.system)
        documents = self._documents(units)
        server, worker = self._configurations(units, documents)
        postgresql = self._postgresql(server, units, bool(documents))
        installed = self._installed(units)
        version = self._version(postgresql, installed, read_history)
        value = version["value"] if version else None
        redis = self._redis(server, value)
        places = find_places(server, worker, self._surroundings(units, value))
        self.sources.update(places.sources)
        self.missing += places.missing
        self.warnings += places.warnings
        self.notes += places.notes
        listen, health_url = listen_address(server)
        return Instance(
            version=version,
            installed=installed,
            postgresql=postgresql,
            redis=redis,
            directories=tuple(places.directories),
            storage_backend=places.storage_backend,
            units=tuple(Unit(unit.name, unit.role, unit.path, unit.active) for unit in units),
            config_files=tuple(
                find_config_files(
                    self.system,
                    units,
                    [path for path, _value in documents],
                    self.options.get("env_files") or [],
                    server.file_values + worker.file_values,
                    _tls_files(postgresql, redis),
                )
            ),
            secret_key=self._secret_key(server, worker),
            listen_http=listen,
            health_url=self.options.get("health_url") or health_url,
            sources=self.sources,
            missing=tuple(self.missing),
            warnings=tuple(dict.fromkeys(self.warnings)),
            notes=tuple(dict.fromkeys(self.notes)),
        )

    def _code_dirs(self, units: list[LoadedUnit]) -> list[str]:
        """Return the folders that hold authentik's own code."""
        given = self.options.get("working_directory") or ""
        folders = [given] + [unit.working_directory for unit in units] + list(_CODE_DIRS)
        return [
            folder
            for folder in dict.fromkeys(folders)
            if folder.startswith("/") and self.system.exists(folder + "/authentik/__init__.py")
        ]

    def _documents(self, units: list[LoadedUnit]) -> list[tuple[str, Any]]:
        """Return the YAML files in authentik's loading order, those that exist."""
        given = self.options.get("config_paths")
        patterns = list(CONFIG_PATHS if given is None else given)
        if given is None or tuple(given) == CONFIG_PATHS:
            # authentik looks for these beside its code, between config.yml and config.d.
            patterns[1:1] = [folder + "/local.yml" for folder in self._code_dirs(units)[:1]]
        documents = []
        for pattern in patterns:
            for path in self.system.matches(pattern) if re.search(r"[*?\[]", pattern) else [pattern]:
                text = self.system.read(path)
                if text is not None:
                    documents.append((path, _yaml.load(text, path)))
        return documents

    def _configurations(
        self, units: list[LoadedUnit], documents: list[tuple[str, Any]]
    ) -> tuple[Configuration, Configuration]:
        given: dict[str, Variable] = {}
        for path in self.options.get("env_files") or []:
            variables, remarks = _units.read_env_file(self.system, path)
            self.notes += remarks
            if variables is None:
                self.warnings.append("The environment file %s, named by env_files, does not exist" % path)
            given.update(variables or {})
        for unit in units:
            self.notes += unit.remarks
            self.warnings += unit.problems

        def load(environment: Mapping[str, Variable]) -> Configuration:
            configuration = load_configuration(documents, {**environment, **given}, self.system.read)
            self.warnings += configuration.remarks
            return configuration

        first = {role: next((unit for unit in units if unit.role == role), None) for role in ("server", "worker")}
        server_unit = first["server"] or first["worker"]
        worker_unit = first["worker"] or first["server"]
        server = load(server_unit.environment if server_unit else {})
        if worker_unit is server_unit:
            return server, server
        worker = load(worker_unit.environment if worker_unit else {})
        keys = ("postgresql.host", "postgresql.port", "postgresql.name", "postgresql.user", "secret_key")
        differing = [key for key in keys if as_text(server.get(key)) != as_text(worker.get(key))]
        if differing:
            self.warnings.append(
                "Server and worker are configured differently (%s); the server's values are used" % ", ".join(differing)
            )
        return server, worker

    def _postgresql(
        self, configuration: Configuration, units: list[LoadedUnit], has_documents: bool
    ) -> PostgresSettings | None:
        known = has_documents or any(unit.role != "outpost" for unit in units)
        known = known or configuration.any_configured("postgresql")
        known = known or any(
            self.options.get("postgresql_" + key) is not None for key in ("host", "port", "name", "user", "password")
        )
        if not known:
            self.missing.append(Missing("how to reach PostgreSQL", "postgresql_host"))
            return None
        server = next((unit for unit in units if unit.role == "server"), None)
        user = (server.user or "root") if server else ""
        account = Account(
            is_root=self.system.is_root,
            unit_user=user,
            unit_user_exists=bool(user) and self.system.home_of(user) is not None,
            postgres_exists=self.system.home_of("postgres") is not None,
        )
        settings, sources = postgres_settings(configuration, self.options, account)
        self.sources.update(sources)
        return settings

    def _installed(self, units: list[LoadedUnit]) -> dict[str, str] | None:
        """Return the version of the code, which is what runs next; the database says what ran last."""
        given = self.options.get("authentik_version")
        if given:
            return {"value": str(given), "source": "option authentik_version"}
        for source, text in self._version_texts(units):
            found = find_version(text)
            if found:
                return {"value": found, "source": source}
        return None

    def _version(
        self,
        postgresql: PostgresSettings | None,
        installed: dict[str, str] | None,
        read_history: HistoryReader | None,
    ) -> dict[str, str] | None:
        if self.options.get("authentik_version"):
            return installed
        history: list[str] = []
        if postgresql is not None and read_history is not None:
            try:
                history = read_history(postgresql)
            except RecoveryError as exc:
                self.notes.append("authentik's version could not be read from the database: %s" % exc)
        if history:
            return self._last_noted(history)
        if installed is None:
            self.missing.append(Missing("authentik's version", "authentik_version"))
        return installed

    def _last_noted(self, history: list[str]) -> dict[str, str]:
        version = {"value": history[0], "source": "database, newest row of authentik_version_history"}
        newer = newer_than_last(history)
        if newer is not None:
            version["newer"] = newer
            self.warnings.append(
                "authentik %s was started on this database after %s: authentik does not go back, and the tables are "
                "those of %s, or half-way to it" % (history[0], newer, newer)
            )
        return version

    def _version_texts(self, units: list[LoadedUnit]) -> list[tuple[str, str]]:
        """Return texts that may hold the version: the code that runs first, then what installers noted."""
        texts = []
        for folder in self._code_dirs(units):
            for name, pattern in (
                ("authentik/__init__.py", r"(?m)^(?:VERSION|__version__)\s*=\s*(.+)$"),
                ("pyproject.toml", r"(?m)^version\s*=\s*(.+)$"),
            ):
                path = "%s/%s" % (folder, name)
                found = re.search(pattern, self.system.read(path) or "")
                texts.append((path, found.group(1) if found else ""))
        for unit in units:
            found = re.search(r"authentik[-a-z]*-(20\d\d\.\d+\.\d+)", " ".join(unit.command))
            texts.append(("command of %s" % unit.name, found.group(1) if found else ""))
        homes = [self.system.home_of(user) for user in ("root", *(unit.user for unit in units if unit.user))]
        notes = [home + "/.authentik" for home in dict.fromkeys(homes) if home]
        notes += self.system.matches("/opt/*uthentik*_version.txt")
        for path in notes:
            # In a home that is closed to this user nothing is seen: a note there is no reason to fail.
            if self.system.exists(path) and not self.system.is_dir(path):
                texts.append((path, self.system.read(path) or ""))
        return texts

    def _redis(self, configuration: Configuration, version: str | None) -> RedisSettings | None:
        enabled = self.options.get("redis_enabled")
        if enabled is None and (self.options.get("redis_host") or self.options.get("redis_socket")):
            enabled = True
        configured = any(
            configuration.any_configured(key) for key in ("redis", "cache.url", "channel.url", "broker.url")
        )
        if enabled is None:
            key = train_key(version)
            if key is None and not configured:
                self.missing.append(Missing("whether this authentik has a Redis server", "redis_enabled"))
            if key is not None and key >= _NO_REDIS_TRAIN and configured:
                self.notes.append("The settings for Redis are left over: authentik %s uses none" % version)
            enabled = configured if key is None else key < _NO_REDIS_TRAIN
        if not enabled:
            return None
        settings, sources, warnings = redis_settings(configuration, self.options)
        self.sources.update(sources)
        self.warnings += warnings
        return settings

    def _surroundings(self, units: list[LoadedUnit], version: str | None) -> Surroundings:
        services = [unit for unit in units if unit.role != "outpost"]
        folder = self.options.get("working_directory")
        if not folder and services:
            # systemd starts services in / unless told otherwise.
            folder = next((unit.working_directory for unit in services if unit.working_directory), "/")
        state = [path for unit in services for path in unit.state_directories]
        return Surroundings(
            system=self.system,
            options=self.options,
            version=version,
            working_directory=folder or "",
            state_directories=tuple(state),
        )

    def _secret_key(self, server: Configuration, worker: Configuration) -> str | None:
        given = self.options.get("secret_key")
        setting = server.first("secret_key") or worker.first("secret_key")
        if not given and setting is None:
            self.missing.append(Missing("authentik's secret key", "secret_key"))
            return None
        self.sources["secret_key"] = "option secret_key" if given or setting is None else setting.source
        return given or as_text(setting)


def _tls_files(postgresql: PostgresSettings | None, redis: RedisSettings | None) -> list[str]:
    paths = [postgresql.sslrootcert, postgresql.sslcert, postgresql.sslkey] if postgresql else []
    paths += [redis.tls_ca_cert] if redis else []
    return [path for path in paths if path and os.path.isabs(path)]
