#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_compose_up
short_description: Bring the compose project of an authentik instance up as far as its data
version_added: "1.0.0"
description:
  - Makes what is missing of the project - networks, volumes, containers - as C(docker compose create) does, starts the
    services that hold data, and waits until they accept connections. These are the PostgreSQL server and, where the
    instance uses it, the Redis server, as far as they are services of the project. authentik itself is not started.
  - For an empty host on which a backup is restored, and for a project whose database was merely stopped.
  - What is there is left as it is. No container is made anew, no volume is touched, no image is pulled or built.
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.images
  - authentik_ops.recovery.instance
options:
  timeout:
    description:
      - How many seconds the project may take to be made, and the database and Redis to accept connections.
    type: int
    default: 600
attributes:
  check_mode:
    support: full
    details:
      - Tells what would be made and started, and refuses what would be refused. Nothing is waited for.
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: authentik_ops.recovery.authentik_services
"""

EXAMPLES = r"""
- name: Bring up the database of a project that was laid down on an empty host, with the record of config in the set
  authentik_ops.recovery.authentik_compose_up:
    compose_project_directory: /opt/authentik
    images: "{{ record.compose.images }}"

- name: Start the database again after it was stopped
  authentik_ops.recovery.authentik_compose_up:
    timeout: 60
"""

RETURN = r"""
created:
  description:
    - What was missing of the project and was made. Names of services, which got their containers, and of networks and
      volumes as the engine has them.
  returned: success
  type: dict
  sample:
    services: [postgresql, server, worker]
    networks: [authentik_default]
    volumes: [authentik_database]
started:
  description: The services that hold data and did not run.
  returned: success
  type: list
  elements: str
  sample:
    - postgresql
services:
  description:
    - The services that hold data, with their state before and after, in systemd's words or V(absent).
    - C(ready_seconds) is how long each was waited for. None in check mode.
  returned: success
  type: list
  elements: dict
  sample:
    - name: postgresql
      role: postgresql
      before: absent
      after: active
      ready_seconds: 3.2
"""

from ansible_collections.authentik_ops.recovery.plugins.module_utils._compose_up import ComposeUp, images_of, project_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_project import read_config
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._docker_services import DockerServices
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System
from ansible_collections.authentik_ops.recovery.plugins.module_utils._docker import Docker
from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import (
    IMAGES_SPEC,
    INSTANCE_SPEC,
    Context,
    run_module,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def body(context: Context) -> dict[str, Any]:
    """Bring the project up."""
    params = context.params
    instance = context.look_without_database()
    project = project_of(instance)
    docker = Docker(params["docker_host"])
    services = DockerServices(System(), docker, project, "", params["timeout"])
    # The files of a project may be elsewhere, as those of Portainer are; its containers can be started all the same.
    model = read_config(docker, project) if project.can_be_made else {}
    up = ComposeUp(docker, instance, services, model, images_of(params["images"]))
    result = up.run(params["timeout"], context.check_mode)
    for warning in up.warnings:
        context.warn(warning)
    return result


def main() -> None:
    """Run the module."""
    run_module(
        dict(
            {**INSTANCE_SPEC, **IMAGES_SPEC},
            timeout={"type": "int", "default": 600},
        ),
        body,
    )


if __name__ == "__main__":
    main()
