# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The directories of an instance, by version and configuration, and the files that its configuration is made of."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import DEFAULT_SOURCE, Setting
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
    ConfigFile,
    Directory,
    Missing,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._version import train_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import Configuration
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._units import LoadedUnit

# /media became /data here.
DATA_TRAIN = (2025, 12)
# Installers copy authentik's file of defaults, so a default that is written out says no more than one that is not.
_DEFAULT_PATHS = ("/certs", "/templates", "/blueprints", "./media", "/media", "./data", "/data")
_PLAIN = (
    ("certs", "certs", "cert_discovery_dir"),
    ("custom-templates", "custom_templates", "email.template_dir"),
    ("blueprints", "blueprints", "blueprints_dir"),
)


@dataclass
class Places:
    """What was found about directories.

    :ivar reports: see ``Instance``.
    """

    directories: list[Directory] = field(default_factory=list)
    storage_backend: str | None = None
    reports: str = ""
    missing: list[Missing] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Surroundings:
    """What the paths in the configuration depend on.

    :param working_directory: where relative paths start; empty where it is not known.
    :param state_directories: folders that belong to systemd and hold more than files of authentik.
    """

    system: System
    options: dict[str, Any]
    version: str | None
    working_directory: str = ""
    state_directories: tuple[str, ...] = ()


def backend_of(configuration: Configuration, options: dict[str, Any], usage: str) -> str:
    """Where files of a usage are kept. As in authentik, each usage's own setting counts before the common one.

    :param options: ``storage_backend`` says where media are, whatever the configuration does, and where the others are
        of which it says nothing.
    :param usage: ``media`` or ``reports``.
    """
    given = str(options.get("storage_backend") or "")
    if given and usage == "media":
        return given
    setting = configuration.first("storage.%s.backend" % usage, "storage.backend")
    return str(setting.value) if setting else given or "file"


def find_places(server: Configuration, worker: Configuration, around: Surroundings) -> Places:
    """Find the instance's directories.

    :param server: the server's configuration: uploaded files.
    :param worker: the worker's: it discovers certificates and blueprints and sends e-mails.
    """
    places = Places()
    finder = _Finder(around, places)
    for component, option, key in _PLAIN:
        finder.add(component, option, worker.get(key), optional=True)
    finder.add_storage(server)
    places.directories.sort(key=lambda item: item.component)
    return places


class _Finder:
    def __init__(self, around: Surroundings, places: Places) -> None:
        self._around = around
        self._places = places
        self._given = around.options.get("directories") or {}

    def absolute(self, path: str) -> str | None:
        """Return a configured path made absolute, None where that takes a working directory that is not known."""
        if os.path.isabs(path):
            return os.path.normpath(path)
        base = self._around.working_directory
        return os.path.normpath(os.path.join(base, path)) if base else None

    def add(self, component: str, option: str, setting: Setting | None, optional: bool = False) -> None:
        """Add one directory: from its option, else from the configuration."""
        given = self._given.get(option)
        if given is not None:
            if given:
                self._append(component, given, "option directories.%s" % option)
            return
        if setting is None or setting.value == "":
            return
        path = self.absolute(str(setting.value))
        if path is None:
            self._miss("the %s directory (%s is relative)" % (component, setting.value), "working_directory")
        elif path.startswith("/run/credentials/"):
            self._places.notes.append(
                "%s: %s holds systemd credentials; the files they come from are saved with the configuration"
                % (component, path)
            )
        elif path.startswith("/nix/store/"):
            self._places.notes.append("%s: %s is part of the installed package" % (component, path))
        elif str(setting.value) in _DEFAULT_PATHS and not self._around.system.exists(path):
            if optional:
                self._places.notes.append("%s: %s, authentik's default, does not exist" % (component, path))
            else:
                self._miss(
                    "the %s directory (authentik's default, %s, does not exist)" % (component, path),
                    "directories." + option,
                )
        else:
            self._append(component, path, setting.source)

    def _append(self, component: str, path: str, source: str) -> None:
        self._places.directories.append(Directory(component, path, source))

    def _miss(self, what: str, option: str) -> None:
        self._places.missing.append(Missing(what, option))

    def add_storage(self, configuration: Configuration) -> None:
        """Add the directories of uploaded files, unless they are kept elsewhere."""
        places = self._places
        option = self._around.options.get("storage_backend")
        setting = configuration.first("storage.media.backend", "storage.backend")
        places.storage_backend = backend_of(configuration, self._around.options, "media")
        places.sources["storage.backend"] = (
            "option storage_backend" if option else setting.source if setting else DEFAULT_SOURCE
        )
        if places.storage_backend not in ("file", "s3"):
            self._miss("the storage backend (%r is not known)" % places.storage_backend, "storage_backend")
            places.storage_backend = None
        given = [name for name in ("media", "data") if self._given.get(name)]
        denied = [name for name in ("media", "data") if self._given.get(name) == ""]
        for name in given:
            self.add(name, name, None)
        if given or len(denied) == 2:
            return
        if places.storage_backend == "file":
            self._add_file_storage(configuration)
        elif "data" not in denied:
            self._add_reports_alone(configuration)

    def _add_file_storage(self, configuration: Configuration) -> None:
        modern = self._is_modern(configuration)
        if modern is None:
            self._miss("whether uploaded files are in media (before authentik 2025.12) or data", "authentik_version")
        elif modern:
            self._add_data(configuration)
        else:
            setting = configuration.first("storage.media.file.path", "paths.media")
            self.add("media", "media", setting or Setting("./media", DEFAULT_SOURCE))

    def _is_modern(self, configuration: Configuration) -> bool | None:
        """Tell whether the storage is laid out as from 2025.12 on; None where nothing tells."""
        key = train_key(self._around.version)
        if key is not None:
            return key >= DATA_TRAIN
        if configuration.first("storage.file.path", "storage.backend"):
            return True
        if configuration.first("storage.media.file.path", "storage.media.backend", "paths.media"):
            return False
        there = [self._around.system.is_dir(self.absolute(path) or "/nonexistent") for path in ("./media", "./data")]
        return there[1] if there[0] != there[1] else None

    def _add_data(self, configuration: Configuration) -> None:
        base = configuration.first("storage.file.path") or Setting("./data", DEFAULT_SOURCE)
        media = configuration.first("storage.media.file.path") or base
        reports = self._reports(configuration)
        whole = media.value == base.value and not self._is_shared(base)
        if whole:
            self.add("data", "data", base)
        else:
            # Below the path there is a folder per usage, then one per tenant.
            self.add("media", "media", Setting(os.path.join(str(media.value), "media"), media.source))
        if reports and not (whole and reports.value == base.value):
            self._add_reports(reports)

    def _reports(self, configuration: Configuration) -> Setting | None:
        """Return what is above the folder of reports, None where they lie in a bucket."""
        if backend_of(configuration, self._around.options, "reports") == "s3":
            return None
        found = configuration.first("storage.reports.file.path", "storage.file.path")
        return found or Setting("./data", DEFAULT_SOURCE)

    def _add_reports_alone(self, configuration: Configuration) -> None:
        """Add the reports of an instance whose media are not on a disk."""
        key, reports = train_key(self._around.version), self._reports(configuration)
        # Where the version is not known, there are reports where their folder is.
        if reports and (key is None or key >= DATA_TRAIN):
            self._add_reports(reports)

    def _is_shared(self, base: Setting) -> bool:
        """Tell whether the storage path holds more than uploaded files: it must not be swapped whole then."""
        path = self.absolute(str(base.value))
        if path is None:
            return False
        others = [item.path for item in self._places.directories]
        others += [self._around.working_directory, *self._around.state_directories]
        return any(other and (other == path or other.startswith(path + "/")) for other in others)

    def _add_reports(self, base: Setting) -> None:
        path = self.absolute(os.path.join(str(base.value), "reports"))
        if path is None:
            self._miss("the reports directory (%s is relative)" % base.value, "working_directory")
            return
        self._places.reports = path
        if self._around.system.is_dir(path):
            self._append("extra-reports", path, base.source)
        else:
            self._places.notes.append("extra-reports: %s, which authentik makes for the first, does not exist" % path)


def find_config_files(
    system: System,
    units: list[LoadedUnit],
    documents: list[str],
    env_files: list[str],
    values: list[str],
    tls_files: list[str],
) -> list[ConfigFile]:
    """Return the files that the configuration is made of, each once, those that exist.

    :param documents: YAML files that were read.
    :param env_files: environment files given by option.
    :param values: targets of ``file://`` values.
    """
    found: dict[str, str] = {}

    def add(kind: str, paths: Any, keep: Callable[[str], bool] = system.exists) -> None:
        for path in paths:
            if keep(path):
                found.setdefault(os.path.normpath(path), kind)

    add("config", documents)
    for unit in units:
        add("unit", [unit.path] if unit.path else [])
        add("drop-in", unit.drop_ins)
        add("env", unit.env_files)
        add("credential", unit.credentials)
    add("env", env_files)
    add("file-value", values)
    add("tls", tls_files)
    if any(path.startswith("/etc/authentik/") for path in documents + list(found)):
        add("config", system.files_below("/etc/authentik"))
    return [ConfigFile(path, found[path]) for path in sorted(found)]
