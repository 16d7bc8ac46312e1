# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a restore makes of a compose project, noted before it is made, so that it can be taken away again.

``<work_dir>/<restore id>/compose/made.json`` names what was missing: containers by their service, networks, volumes and
folders of the host; and the services that had been stopped. Nothing else is ever removed or stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils._compose_up import missing_image
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import (
    make_private_directories,
    write_private,
)

if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Image
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._docker import Docker

_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_OUTPOST = "io.goauthentik.outpost-uuid"
_SECONDS = 600.0


class Note:
    """What one restore makes of a project."""

    def __init__(self, work_dir: str, restore_id: str) -> None:
        self._parent = os.path.join(work_dir, restore_id)
        self._folder = os.path.join(self._parent, "compose")
        self._path = os.path.join(self._folder, "made.json")

    def read(self) -> dict[str, Any] | None:
        """Return what was noted, None where nothing was.

        :raises StateError: it cannot be read.
        """
        try:
            with open(self._path, encoding="utf-8") as stream:
                note = json.load(stream)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            raise StateError(
                "%s cannot be read: %s" % (self._path, exc), "Run the task as the user that ran prepare"
            ) from exc
        return dict(note)

    def write(self, note: dict[str, Any]) -> None:
        """Note it."""
        make_private_directories(self._folder)
        write_private(self._path, json.dumps(note).encode("ascii"))

    def forget(self, redis: bool = False) -> None:
        """Remove the note.

        :param redis: also what this restore kept of a Redis that it had made itself, and that is gone.
        """
        shutil.rmtree(self._folder, ignore_errors=True)
        if redis:
            shutil.rmtree(os.path.join(self._parent, "redis"), ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(self._parent)  # unless another component's files are still in there


def missing_images(docker: Docker, images: list[Image]) -> list[tuple[str, str]]:
    """Return a sentence about each image that is not on the host, and the command that brings it."""
    users: dict[str, list[str]] = {}
    for image in images:
        users.setdefault(image.reference, []).append(image.service)
    missing = []
    for reference, services in users.items():
        if docker.inspect("image", [reference]):
            continue
        recorded = next(image for image in images if image.reference == reference)
        same = docker.inspect("image", [recorded.id]) if recorded.id else []
        missing.append(missing_image(reference, services, False, recorded, str(same[0].get("Id")) if same else ""))
    return missing


def refuse_existing(docker: Docker, project: str, volumes: list[str], note: dict[str, Any] | None) -> None:
    """Refuse a project that is there already, unless it is what this very restore made.

    :param volumes: those that are there of the volumes that the project uses, as far as they are known by name.
    :raises StateError: naming its containers and volumes.
    """
    if note is not None and note["project"] == project:
        volumes = [name for name in volumes if name not in note["volumes"]]
        containers: list[str] = []
    else:
        containers = [_name(item) for item in _containers(docker, project)]
        listed = docker.run(["volume", "ls", "--quiet", "--filter", "label=%s=%s" % (_PROJECT, project)])
        volumes = sorted({*volumes, *listed.stdout.decode("utf-8", "replace").split()})
    if not containers and not volumes:
        return
    there = ["container %s" % name for name in sorted(containers)] + ["volume %s" % name for name in volumes]
    raise StateError(
        "The compose project %s is on this host already, and may hold data: %s" % (project, ", ".join(there)),
        "A rebuild makes a project that is not there. Restore into this one without rebuild, or rebuild it under"
        " another project name. What a rebuild that was interrupted has left, its undo removes",
        "docker compose --project-name %s ps --all" % project,
    )


def missing_folders(model: dict[str, Any]) -> list[str]:
    """Return the folders of the host that Docker would make for bind mounts, the lowest ones first.

    :param model: what ``docker compose config --format json`` printed.
    """
    found: set[str] = set()
    for service in (model.get("services") or {}).values():
        for mount in service.get("volumes") or []:
            if mount.get("type") == "bind":
                path = os.path.normpath(str(mount.get("source") or "/"))
                while path != "/" and not os.path.lexists(path):
                    found.add(path)
                    path = os.path.dirname(path)
    return sorted(found, reverse=True)


def take_back(docker: Docker, note: dict[str, Any], pretend: bool) -> list[str]:
    """Remove what was made and stop what was started; return sentences.

    :raises ToolError: the engine refuses to.
    """
    todo: list[tuple[str, list[str]]] = []
    for item in _containers(docker, note["project"]):
        service = (item["Config"].get("Labels") or {}).get(_SERVICE, "")
        if service in note["services"]:
            todo.append(_removal(item))
        elif service in note["started"] and (item.get("State") or {}).get("Running"):
            todo.append(("compose: the container %s was stopped again" % _name(item), ["stop", item["Id"]]))
    for name in _there(docker, "network", note["networks"]):
        # Outposts that the restored authentik has made: nobody else does.
        todo += [_removal(item) for item in docker.containers("label=%s" % _OUTPOST, "network=%s" % name)]
        todo.append(("compose: the network %s was removed" % name, ["network", "rm", name]))
    for name in _there(docker, "volume", note["volumes"]):
        todo.append(("compose: the volume %s was removed" % name, ["volume", "rm", name]))
    if not pretend:
        for _sentence, argv in todo:
            docker.run(argv, timeout=_SECONDS)
    return [sentence for sentence, _argv in todo] + _remove_empty(note["folders"], pretend)


def _removal(container: dict[str, Any]) -> tuple[str, list[str]]:
    return (
        "compose: the container %s was removed" % _name(container),
        ["rm", "--force", "--volumes", container["Id"]],
    )


def _remove_empty(folders: list[str], pretend: bool) -> list[str]:
    done = []
    for path in folders:
        if os.path.isdir(path) and not os.path.islink(path) and not os.listdir(path):
            done.append("compose: the empty folder %s was removed" % path)
            if not pretend:
                os.rmdir(path)
    return done


def _containers(docker: Docker, project: str) -> list[dict[str, Any]]:
    return docker.containers("label=%s=%s" % (_PROJECT, project))


def _there(docker: Docker, kind: str, names: list[str]) -> list[str]:
    there = {str(item.get("Name")) for item in docker.inspect(kind, names)}
    return [name for name in names if name in there]


def _name(document: dict[str, Any]) -> str:
    return str(document.get("Name") or document.get("Id")).lstrip("/")
