#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_services
short_description: Stop or start the services of an authentik instance in the right order
version_added: "1.0.0"
description:
  - Stops outposts, workers and servers in this order, or starts the servers alone, waits until the server says that it
    is ready, then starts workers and outposts. Server and worker both migrate the database when they start and must not
    do so at once.
  - The services are those that M(authentik_ops.recovery.authentik_info) finds. They are services of systemd, or those
    of a Docker Compose project, to which the outposts belong that authentik itself runs in containers.
  - Containers are stopped and started as they are, none is made anew. Only a service that has none, such as after
    C(docker compose down), gets them from C(docker compose up), without its dependencies; no image is built or pulled.
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.instance
options:
  state:
    description:
      - The state that the services shall have.
    type: str
    choices: [stopped, started]
    required: true
  units:
    description:
      - Names of those services of the instance that are stopped or started. All of them when not given.
      - In a compose project these are names of its services, and of the containers of outposts.
      - Give RV(was_active) of an earlier call, so that what was stopped before stays stopped.
    type: list
    elements: str
  timeout:
    description:
      - How many seconds the server may take to become ready, systemd to stop or start one service, and Compose to make
        and start the containers of one service.
      - A container has its own C(stop_grace_period) to stop, else 30 seconds.
    type: int
    default: 600
  remember:
    description:
      - With O(state=stopped), note on the host which services ran, until they are started by this module. When that
        never comes, because the playbook was killed, the next call knows from RV(was_active) what ran before.
      - The note lies in C(/var/lib/authentik-recovery) for root, else in C(~/.local/state/authentik-recovery).
      - It counts until the next boot, which starts services of systemd again. Docker leaves alone at a boot what was
        stopped, except where its restart policy is C(always), so for containers the note outlives it.
    type: bool
    default: false
  manage:
    description:
      - Whether this module stops and starts services.
      - When V(false), something else does, and the module only proves it. With O(state=stopped) no service runs and
        nothing answers at O(health_url); with O(state=started) it waits until the server is ready.
      - The containers of a compose project are asked at their own addresses when O(health_url) is not known.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    details:
      - Tells which services would be stopped or started. Nothing is waited for.
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Stop authentik
  authentik_ops.recovery.authentik_services:
    state: stopped
  register: stopped

- name: Start what was running before
  authentik_ops.recovery.authentik_services:
    state: started
    units: "{{ stopped.was_active }}"
    timeout: 900

- name: Make sure that the cluster manager has stopped authentik
  authentik_ops.recovery.authentik_services:
    state: stopped
    manage: false
"""

RETURN = r"""
was_active:
  description:
    - The services that were running when the module began. With O(remember=true), those too that an earlier call
      stopped and that were not started since.
  returned: success
  type: list
  elements: str
  sample:
    - authentik-server.service
    - authentik-worker.service
services:
  description:
    - The services that the module looked at, with their state before and after, in systemd's words.
    - A service whose containers do not all run, or one that Docker restarts after it ended, is V(activating). V(paused)
      is Docker's own word.
  returned: success
  type: list
  elements: dict
  sample:
    - name: authentik-worker.service
      role: worker
      before: active
      after: inactive
ready_seconds:
  description: How many seconds the server took to become ready. None when it was not waited for.
  returned: success
  type: float
  sample: 12.4
"""

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._docker_services import (
    DockerServices,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._services import (
    Services,
    choose_units,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._systemd_services import (
    SystemdServices,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._docker import Docker
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import DiscoveryError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import (
    INSTANCE_SPEC,
    Context,
    run_module,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Instance
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._services import ServiceManager


def body(context: Context) -> dict[str, Any]:
    """Stop or start the services, or prove that others did."""
    params = context.params
    instance = context.look_without_database()
    units = choose_units(list(instance.units), params["units"], params["state"])
    services = Services(_manager(instance, params), params["timeout"], params["remember"])
    if not params["manage"]:
        if context.check_mode:
            # Whatever stops or starts them elsewhere has only pretended to.
            return {"changed": False, "was_active": [], "services": [], "ready_seconds": None}
        return services.check_unmanaged(units, params["state"])
    told = ["units"] if instance.compose else ["units", "server_units", "worker_units"]
    if not units and all(params[name] is None for name in told):
        raise _nothing_found(instance)
    return services.apply(units, params["state"], context.check_mode)


def _manager(instance: Instance, params: dict[str, Any]) -> ServiceManager:
    """Return what stops and starts the services of this instance."""
    if instance.compose is None:
        return SystemdServices(System(), instance.health_url, params["timeout"])
    docker = Docker(params["docker_host"])
    return DockerServices(System(), docker, instance.compose, instance.health_url, params["timeout"])


def _nothing_found(instance: Instance) -> DiscoveryError:
    """Return the error for an instance of which no service is known."""
    if instance.compose is None:
        return DiscoveryError(
            "No systemd service of authentik was found on this host",
            "Name them with server_units and worker_units, or set manage to false where something else runs authentik",
            "systemctl list-units --all 'authentik*'",
        )
    return DiscoveryError(
        "The compose project %s has no service that runs authentik" % instance.compose.name,
        "Name them with server_service and worker_service, or the profiles that they need with compose_profiles",
        "docker compose --project-name %s config --services" % instance.compose.name,
    )


def main() -> None:
    """Run the module."""
    run_module(
        dict(
            INSTANCE_SPEC,
            state={"type": "str", "choices": ["stopped", "started"], "required": True},
            units={"type": "list", "elements": "str"},
            timeout={"type": "int", "default": 600},
            remember={"type": "bool", "default": False},
            manage={"type": "bool", "default": True},
        ),
        body,
    )


if __name__ == "__main__":
    main()
