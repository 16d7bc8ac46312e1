# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The files that a compose project's configuration is made of, and files inside its containers."""

from __future__ import annotations

import fnmatch
import os
import re

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _dotenv
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _yaml
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import ConfigFile
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    DiscoveryError,
    InputError,
    IntegrityError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Mapping, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_model import Service
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._docker import Docker

_SECRETS = "/run/secrets"


class ContainerFiles:
    """The files that the processes of a service see: through its mounts, else out of its container.

    :ivar host_paths: files on the host that were read, by their path in the container.
    """

    def __init__(self, docker: Docker, system: System, service: Service) -> None:
        self._docker = docker
        self._system = system
        self._service = service
        self._copied: dict[str, dict[str, bytes]] = {}
        self.host_paths: dict[str, str] = {}

    def read(self, path: str) -> str | None:
        """Return a file's text, None where there is no such file.

        :raises DiscoveryError: when it is there but cannot be read.
        """
        host = self._service.host_path(path)
        if host is not None:
            text = self._system.read(host)
            if text is not None:
                self.host_paths[path] = host
            return text
        content = self._copy(path).get(path)
        if content is None:
            return None
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise DiscoveryError(
                "%s in %s is not UTF-8 text (byte %d)" % (path, self._service.what, exc.start)
            ) from None

    def holds_any(self, path: str) -> bool:
        """Tell whether there are files at *path* in the container itself."""
        if not self._service.ids:
            return False
        try:
            return bool(self._docker.read_files(self._service.ids[0], path))
        except IntegrityError:
            return True  # too many to be read

    def matches(self, pattern: str) -> list[str]:
        """Return the sorted paths that a shell pattern matches; in the last part of the path only."""
        if not re.search(r"[*?\[]", pattern):
            return [pattern]
        folder, name = os.path.split(pattern)
        host = self._service.host_path(folder)
        if host is not None:
            names = self._system.list_dir(host)
        else:
            names = [path[len(folder) + 1 :] for path in self._copy(folder) if path.startswith(folder + "/")]
            # A file may be mounted there by itself.
            mounts = [mount.target for mount in self._service.mounts if os.path.dirname(mount.target) == folder]
            names = sorted({*names, *(os.path.basename(target) for target in mounts)})
        return [folder + "/" + found for found in fnmatch.filter(names, name) if "/" not in found]

    def _copy(self, path: str) -> dict[str, bytes]:
        if not self._service.ids:
            return {}
        # One look at authentik's own folder answers for all files in it.
        folder = "/etc/authentik" if path.startswith("/etc/authentik/") else path
        if folder not in self._copied:
            self._copied[folder] = self._docker.read_files(self._service.ids[0], folder)
        return self._copied[folder]


class FileList:
    """Collects the files of a configuration, each once, those that exist.

    :param env_files: files of variables for the compose files themselves.
    :ivar notes: what of the compose files could not be followed.
    :ivar warnings: what is missing.
    :ivar shell_variables: variables that secrets and configs are made from, and that no env file sets.
    """

    def __init__(self, system: System, directory: str, env_files: Sequence[str] = ()) -> None:
        self._system = system
        self._directory = directory
        self._env_files = env_files
        self.shell_variables: tuple[str, ...] = ()
        self._found: dict[str, str] = {}
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def add(self, kind: str, paths: Iterable[str]) -> None:
        """Add files, and those in directories."""
        for path in filter(None, paths):
            if self._system.is_dir(path):
                self.add(kind, self._system.files_below(path))
            elif self._system.exists(path):
                self._found.setdefault(os.path.normpath(path), kind)

    def result(self) -> tuple[ConfigFile, ...]:
        """Return them by path."""
        return tuple(ConfigFile(path, self._found[path]) for path in sorted(self._found))

    def add_compose_files(self, files: Sequence[str]) -> None:
        """Add compose files and those that they include or extend."""
        left = list(files)
        seen: set[str] = set()
        while left:
            path = left.pop(0)
            if path in seen:
                continue
            seen.add(path)
            self.add("compose", [path])
            further, env_files = self._named_by(path)
            left += further
            self.add("env", env_files)

    def _named_by(self, path: str) -> tuple[list[str], list[str]]:
        text = self._system.read(path) or ""
        if not re.search(r"(?m)^\s*(?:- )?['\"]?(?:include|extends|file)['\"]?\s*:|\binclude\b", text):
            return [], []
        try:
            content = _yaml.load(text, path)
        except InputError as exc:
            self.notes.append("Files that %s may include were not looked for: %s" % (path, exc.cause))
            return [], []
        files: list[str] = []
        env_files: list[str] = []
        content = content if isinstance(content, dict) else {}
        for item in content.get("include") or []:
            named = item if isinstance(item, dict) else {"path": item}
            files += _as_list(named.get("path"))
            env_files += _as_list(named.get("env_file"))
        for service in (content.get("services") or {}).values():
            extends = service.get("extends") if isinstance(service, dict) else None
            if isinstance(extends, dict):
                files += _as_list(extends.get("file"))
        folder = os.path.dirname(path)
        return self._absolute(files, folder, path), self._absolute(env_files, folder, path)

    def _absolute(self, paths: Iterable[str], folder: str, where: str) -> list[str]:
        found = []
        for path in paths:
            if "$" in path:
                self.warnings.append("%s, named in %s, holds a variable: this file is not saved" % (path, where))
            elif not re.match(r"\w+://|git@|oci:", path):
                found.append(os.path.normpath(os.path.join(folder, path)))
        return found

    def add_raw_config(self, raw: Mapping[str, Any]) -> None:
        """Add the files that services, secrets and configs name, out of the project as it is written."""
        where = "the compose files"
        for name, service in sorted((raw.get("services") or {}).items()):
            for item in _as_list((service or {}).get("env_file")):
                path = item.get("path") if isinstance(item, dict) else item
                found = self._absolute([str(path)], self._directory, "env_file of service %s" % name)
                self.add("env", found)
                required = not isinstance(item, dict) or item.get("required", True)
                self.warnings += [
                    "%s, named by env_file of service %s, does not exist" % (path, name)
                    for path in found
                    if required and not self._system.exists(path)
                ]
            if (service or {}).get("build"):
                self.notes.append(
                    "The image of service %s is built from files of its own, which are not saved: extra_paths may name "
                    "their directory" % name
                )
        needed: dict[str, list[str]] = {}
        for kind in ("secrets", "configs"):
            used = _used(raw, kind)
            for name, item in sorted((raw.get(kind) or {}).items()):
                if (item or {}).get("file"):
                    self.add("secret", self._absolute([item["file"]], self._directory, where))
                elif (item or {}).get("environment") and name in used:
                    needed.setdefault(str(item["environment"]), []).append("%s %s" % (kind[:-1], name))
        for variable in self._set_by_env_files():
            needed.pop(variable, None)
        self.warnings += [
            "The content of %s is that of the variable %s of whoever runs Compose, and no env file of the project sets "
            "it: it is not saved, and a rebuild of the project has to be given it" % (" and ".join(users), variable)
            for variable, users in sorted(needed.items())
        ]
        self.shell_variables = tuple(sorted(needed))

    def _set_by_env_files(self) -> set[str]:
        found: set[str] = set()
        for path in self._env_files:
            try:
                found.update(item.name for item in _dotenv.assignments(self._system.read(path) or "") if not item.bare)
            except InputError as exc:
                self.notes.append("%s: %s" % (path, exc.cause))
        return found

    def add_mounted(self, services: Iterable[Service]) -> None:
        """Add the files of secrets and configs, as the containers have them."""
        for service in services:
            for mount in service.mounts:
                source = mount.source
                if not source or mount.volume or source.endswith(".sock"):
                    continue
                if mount.target.startswith((_SECRETS + "/", "/var" + _SECRETS + "/")) or mount.target == _SECRETS:
                    self.add("secret", [source])
            # Images take secrets from files that such variables name.
            named = [value for key, value in service.environment.items() if key.endswith("_FILE")]
            hosts = [service.host_path(path) for path in named if path.startswith("/")]
            self.add("secret", [path for path in hosts if path and not self._system.is_dir(path)])


def _used(raw: Mapping[str, Any], kind: str) -> set[str]:
    """Return the names of the secrets or configs that services use."""
    return {
        str(item.get("source") if isinstance(item, dict) else item)
        for service in (raw.get("services") or {}).values()
        for item in (service or {}).get(kind) or []
    }


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
