# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The directories of an instance in containers: authentik's paths in there, followed through mounts to the host."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_model import is_below
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import DEFAULT_SOURCE, Setting
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Directory, Missing
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._places import (
    DATA_TRAIN,
    Places,
    backend_of,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._version import train_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_model import (
        Mount,
        Service,
    )
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import Configuration
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System

_PLAIN = (
    ("certs", "certs", "cert_discovery_dir"),
    ("custom-templates", "custom_templates", "email.template_dir"),
    ("blueprints", "blueprints", "blueprints_dir"),
)
# The image has such a link: with it an old mount of /media goes on working.
_LINK = "/media"


@dataclass(frozen=True)
class Around:
    """What the paths in the configuration depend on.

    :param version: the version of the code, since it decides which paths are used.
    :param holds_files: tells whether there are files at a path in the server's container.
    """

    system: System
    options: dict[str, Any]
    version: str | None
    server: Service
    worker: Service
    holds_files: Callable[[str], bool]


class Finder:
    """Finds the directories.

    :ivar places: the result.
    :ivar files: single files that are mounted where a directory of authentik's is.
    """

    def __init__(self, around: Around) -> None:
        self._around = around
        self._given = around.options.get("directories") or {}
        # Server and worker, in the order in which their mounts count.
        self._services = [around.worker, around.server]
        self.places = Places()
        self.files: list[str] = []

    def run(self, server: Configuration, worker: Configuration) -> Places:
        """Find all of them, by the configurations of server and worker."""
        for component, option, key in _PLAIN:
            if not self._add_given(component, option):
                setting = worker.get(key)
                if setting is not None and setting.value != "":
                    self._add(component, option, self._inside(setting), setting.source)
        self._services.reverse()
        self._add_storage(server)
        self.places.directories.sort(key=lambda item: item.component)
        return self.places

    def _inside(self, setting: Setting, below: str = "") -> str:
        """Return a configured path as absolute path in the container."""
        folder = self._around.options.get("working_directory") or self._around.server.working_dir or "/"
        return os.path.normpath(os.path.join(folder, str(setting.value), below))

    def _mounted(self, path: str) -> tuple[Service, Mount] | None:
        for service in self._services:
            mount = service.mount_of(path)
            if mount is not None:
                return service, mount
        return None

    def _add_given(self, component: str, option: str) -> bool:
        given = self._given.get(option)
        if given:
            self._append(component, given, "option directories.%s" % option)
        return given is not None

    def _append(self, component: str, path: str, source: str) -> None:
        path = os.path.normpath(path)
        if not any(item.path == path or item.component == component for item in self.places.directories):
            self.places.directories.append(Directory(component, path, source))

    def _add(self, component: str, option: str, path: str, source: str) -> bool:
        """Add a directory of the container, and what is mounted below it; False where nothing of it is mounted."""
        found = self._mounted(path)
        added = False
        if found is not None:
            added = self._add_mount(component, option, path, *found)
        else:
            self.places.notes.append("%s: %s (%s) is not mounted: it is part of the image" % (component, path, source))
        return self._add_below(component, path) or added

    def _add_mount(self, component: str, option: str, path: str, service: Service, mount: Mount) -> bool:
        host = service.host_path(path)
        if mount.problem or host is None:
            self._unusable(component, option, mount)
        elif not self._around.system.is_dir(host) and (mount.volume or self._around.system.exists(host)):
            # A directory that is bound and not there is made with the container.
            self._unusable(component, option, mount, "%s is no directory that can be read here" % host)
        else:
            self._append(component, host, "%s, mount %s" % (service.what, path))
        return True

    def _unusable(self, component: str, option: str, mount: Mount, problem: str = "") -> None:
        problem = problem or mount.problem or "%s has no path on this host" % mount.where
        self.places.warnings.append("%s: %s (mounted at %s)" % (component, problem, mount.target))
        self.places.missing.append(
            Missing("the %s directory: %s" % (component, problem), "directories." + option if option else "extra_paths")
        )

    def _add_below(self, component: str, path: str) -> bool:
        """Add what is mounted below a path by itself: its files are not in the directory above."""
        added = False
        for service in self._services:
            for mount in service.mounts:
                if mount.target == path or not is_below(mount.target, path):
                    continue
                added = True
                host = mount.source
                if host and any(is_below(host, item.path) for item in self.places.directories):
                    continue
                if host and self._around.system.exists(host) and not self._around.system.is_dir(host):
                    self.files.append(host)
                    continue
                name = "extra-" + _component_name(mount.target)
                if mount.target == path + "/media" and component == "data":
                    name = "media"
                elif mount.target == path + "/reports" and component == "data":
                    name = "extra-reports"
                if not any(item.component == name for item in self.places.directories):
                    self._add_mount(name, "media" if name == "media" else "", mount.target, service, mount)
        return added

    def _add_storage(self, configuration: Configuration) -> None:
        places = self.places
        option = self._around.options.get("storage_backend")
        setting = configuration.first("storage.media.backend", "storage.backend")
        places.storage_backend = backend_of(configuration, self._around.options, "media")
        places.sources["storage.backend"] = (
            "option storage_backend" if option else setting.source if setting else DEFAULT_SOURCE
        )
        if places.storage_backend not in ("file", "s3"):
            what = "the storage backend (%r is not known)" % places.storage_backend
            places.missing.append(Missing(what, "storage_backend"))
            places.storage_backend = None
        given = [name for name in ("media", "data") if self._given.get(name)]
        denied = [name for name in ("media", "data") if self._given.get(name) == ""]
        for name in given:
            self._add_given(name, name)
        if given or len(denied) == 2:
            return
        if places.storage_backend == "file":
            self._add_file_storage(configuration)
        elif "data" not in denied:
            self._add_reports_alone(configuration)

    def _add_file_storage(self, configuration: Configuration) -> None:
        modern = self._is_modern(configuration)
        if modern is None:
            what = "whether uploaded files are in media (before authentik 2025.12) or data"
            self.places.missing.append(Missing(what, "authentik_version"))
        elif modern:
            self._add_data(configuration)
        else:
            media = configuration.first("storage.media.file.path", "paths.media") or Setting("/media", DEFAULT_SOURCE)
            path = self._inside(media)
            if not self._mounted(path):
                self._add_layer(path)
            else:
                self._add("media", "media", path, media.source)

    def _is_modern(self, configuration: Configuration) -> bool | None:
        key = train_key(self._around.version)
        if key is not None:
            return key >= DATA_TRAIN
        if configuration.first("storage.file.path", "storage.backend"):
            return True
        there = [self._mounted(path) is not None for path in ("/media", "/data")]
        return there[1] if there[0] != there[1] else None

    def _add_data(self, configuration: Configuration) -> None:
        base = configuration.first("storage.file.path") or Setting("/data", DEFAULT_SOURCE)
        media = configuration.first("storage.media.file.path") or base
        reports = self._reports(configuration)
        path = self._inside(base)
        if media.value != base.value:
            self._add_media(self._inside(media, "media"), media.source)
        if reports and reports.value != base.value:
            self._add_reports(reports)
        if media.value != base.value and (reports is None or reports.value != base.value):
            return
        if self._mounted(path) is None:
            self._add_unmounted_data(path, media.value == base.value, base.source)
            return
        self._add("data", "data", path, base.source)
        if media.value == base.value:
            self._follow_link(path)

    def _add_media(self, path: str, source: str) -> None:
        if self._mounted(path) is None:
            self._add_layer(path)
        else:
            self._add("media", "media", path, source)

    def _reports(self, configuration: Configuration) -> Setting | None:
        """Return what is above the folder of reports, None where they lie in a bucket."""
        if backend_of(configuration, self._around.options, "reports") == "s3":
            return None
        found = configuration.first("storage.reports.file.path", "storage.file.path")
        return found or Setting("/data", DEFAULT_SOURCE)

    def _add_reports_alone(self, configuration: Configuration) -> None:
        """Add the reports of an instance whose media are in no directory."""
        key, reports = train_key(self._around.version), self._reports(configuration)
        # Where the version is not known, there are reports where their folder is.
        if reports and (key is None or key >= DATA_TRAIN):
            self._add_reports(reports)

    def _add_reports(self, setting: Setting) -> None:
        path = self._inside(setting, "reports")
        found = self._mounted(path)
        host = found[0].host_path(path) if found else None
        self.places.reports = host or ""
        if found and host and not found[1].problem and self._is_yet_to_come(found[1], path, host):
            self.places.notes.append("extra-reports: %s, which authentik makes for the first, does not exist" % host)
        else:
            self._add("extra-reports", "", path, setting.source)

    def _is_yet_to_come(self, mount: Mount, path: str, host: str) -> bool:
        """Tell whether a folder in a mount is not there; what is mounted itself, the engine makes."""
        system = self._around.system
        seen = not mount.volume or system.is_dir(mount.source or "")
        return seen and mount.target != path and not system.exists(host)

    def _add_unmounted_data(self, path: str, with_media: bool, source: str) -> None:
        """Add what is mounted of a data directory that is not mounted itself."""
        self._add_below("data", path)
        if not with_media or any(item.component == "media" for item in self.places.directories):
            return
        if path == "/data" and self._mounted(_LINK):
            # The image's own link leads there.
            self._add("media", "media", _LINK, source)
            return
        self._add_layer(path + "/media", _LINK if path == "/data" else "")

    def _follow_link(self, path: str) -> None:
        """Follow a link ``media`` in the data directory, as a volume has it that was filled from the image."""
        data = next((item.path for item in self.places.directories if item.component == "data"), None)
        target = self._around.system.read_link(data + "/media") if data else None
        if target is None or data is None:
            return
        inside = os.path.normpath(os.path.join(path, target))
        if is_below(inside, path):
            return
        if self._mounted(inside) is None:
            self._add_layer(inside)
            return
        server = self._around.server
        host = server.host_path(inside)
        if host is None or not is_below(host, data):
            self._add("media", "media", inside, "%s, a link in the data directory" % data)

    def _add_layer(self, path: str, other: str = "") -> None:
        """Add uploaded files that lie in the container's own layer, which is lost with the container.

        :param other: where *path* may lead to by a link of the image.
        """
        server = self._around.server
        system = self._around.system
        if not server.ids:
            self.places.warnings.append(
                "media: %s is not mounted and there is no container of %s: files that were uploaded were lost with it"
                % (path, server.what)
            )
            return
        advice = "Copy them out (docker cp %s:%s/. DIRECTORY) and mount that directory there" % (
            server.container,
            other or path,
        )
        if server.upper_dir:
            for candidate in filter(None, (other, path)):
                host = server.upper_dir + candidate
                if any(system.list_dir(host)) and system.read_link(host) is None:
                    self._append("media", host, "%s, %s in the container's own layer" % (server.what, candidate))
                    self.places.warnings.append(
                        "media: uploaded files in %s of container %s are in no mount: they are saved, but lost as soon "
                        "as the container is made anew, also by an upgrade. %s" % (candidate, server.container, advice)
                    )
                    return
        elif self._around.holds_files(other or path):
            problem = "uploaded files in %s of container %s are in no mount, and this engine does not tell where" % (
                other or path,
                server.container,
            )
            self.places.warnings.append("media: %s. They are lost with the container. %s" % (problem, advice))
            self.places.missing.append(Missing("the media directory: " + problem, "directories.media"))
            return
        self.places.notes.append("media: %s is not mounted, and no file was uploaded there" % path)


def _component_name(target: str) -> str:
    """Return a mount's path as a part of a component's name."""
    return "".join(char if (char.isalnum() and char.isascii()) or char in "._" else "-" for char in target.strip("/"))
