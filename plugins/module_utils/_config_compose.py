# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What is saved of a compose project besides its files: what Compose makes of them, and what the manifest says."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_project import print_config
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._docker_services import (
    project_arguments,
)

if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import ComposeProject
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._docker import Docker

RESOLVED = "compose.yml"
CONTAINERS = "containers.json"
_PROJECT = "com.docker.compose.project"


def made_up(docker: Docker, project: ComposeProject) -> tuple[dict[str, bytes], list[str]]:
    """Return the generated members of the archive by name, and warnings. They hold secrets.

    Where the compose files are not on this host, the engine's description of the containers stands in for them.

    :raises ToolError: Compose does not accept its files.
    """
    gone = [*project.missing_files, *(path for path in project.files if not os.path.isfile(path))]
    if project.files and not gone:
        return {RESOLVED: print_config(docker, project_arguments(project))}, []
    containers = docker.containers("label=%s=%s" % (_PROJECT, project.name))
    described = json.dumps(containers, indent=1, sort_keys=True).encode("ascii") + b"\n"
    return {CONTAINERS: described}, [
        "The compose files of project %s are not on this host%s. This backup holds what its containers are made of,"
        " which serves to write such files anew; save the files where they are kept, too"
        % (project.name, " (%s)" % ", ".join(gone) if gone else "")
    ]


def describe(project: ComposeProject) -> dict[str, Any]:
    """Return what the manifest says of the project; no secrets."""
    real = os.path.realpath(project.directory)
    return {**project.describe(), **({"real_directory": real} if real != project.directory else {})}
