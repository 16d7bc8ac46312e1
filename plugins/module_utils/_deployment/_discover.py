# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Find the authentik instance on this host; options override what is found."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _units, _yaml
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._choice import choose_deployment
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import (
    Configuration,
    Variable,
    load_configuration,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._facts import Facts, tls_files
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._host import (
    Account,
    listen_address,
    postgres_settings,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
    Instance,
    Missing,
    PostgresSettings,
    Unit,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._places import (
    Surroundings,
    find_config_files,
    find_places,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._storage import find_object_storage
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._version import find_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._facts import HistoryReader
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._units import LoadedUnit

CONFIG_PATHS = ("/etc/authentik/config.yml", "/etc/authentik/config.d/*.yml")
_CODE_DIRS = ("/opt/authentik", "/opt/authentik/src")


def discover(
    options: dict[str, Any], read_history: HistoryReader | None = None, system: System | None = None
) -> Instance:
    """Return the instance on this host.

    :param options: the options of the ``instance`` fragment; those absent or None are looked up.
    :param read_history: asks the database for the versions of authentik that ran on it, the latest first.
    :param system: the host; the one this runs on when not given.
    :raises RecoveryError: when something that is there cannot be read or makes no sense, or several instances could
        be meant. What is simply not there is listed in ``Instance.missing``.
    """
    system = system or System()
    units, _containers = _units.find_units(system)
    choice = choose_deployment(options, system, [name for name in sorted(units) if units[name] != "outpost"])
    if choice.engine is not None and choice.project is not None:
        from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose import (
            discover_project,
        )

        return discover_project(options, read_history, system, choice.engine, choice.project)
    return _Discovery(options, system, warnings=list(choice.warnings)).run(read_history)


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
        "%s runs authentik in a container. It is left alone: services of the host and Docker Compose projects are "
        "supported, Podman quadlets and containers that systemd starts are not yet" % name
        for name in containers
    ]
    return [_units.load_unit(system, name, role, shown.get(name)) for name, role in wanted], warnings


@dataclass
class _Discovery(Facts):
    def run(self, read_history: HistoryReader | None) -> Instance:
        units, warnings = discover_units(self.options, self.system)
        self.warnings += warnings
        documents = self._documents(units)
        server, worker = self._configurations(units, documents)
        postgresql = self._postgresql(server, units, bool(documents))
        installed = self._installed(units)
        version = self.version_of(postgresql, installed, read_history)
        value = version["value"] if version else None
        redis = self.redis_of(server, value)
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
            reports=places.reports,
            object_storage=find_object_storage(server, self.options, value),
            units=tuple(Unit(unit.name, unit.role, unit.path, unit.active) for unit in units),
            config_files=tuple(
                find_config_files(
                    self.system,
                    units,
                    [path for path, _value in documents],
                    self.options.get("env_files") or [],
                    server.file_values + worker.file_values,
                    tls_files(postgresql, redis),
                )
            ),
            secret_key=self.secret_key_of(server, worker),
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
                self.warnings.append("The environment file %s was given and does not exist" % path)
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
        self.compare(server, worker)
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
