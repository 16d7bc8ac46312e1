#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a compose project ready for a restore, and take that back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_compose_restore
short_description: Note what a restore makes of a compose project, and take it back
version_added: "1.0.0"
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
description:
  - Goes around M(authentik_ops.recovery.authentik_compose_up), one step at a time. What that is going to make and start
    is noted on the host before, so that V(undo) can remove exactly this, also after a crash.
  - With O(rebuild=true) the project must not be on the host yet.
attributes:
  check_mode:
    support: full
    details:
      - V(prepare) tells what is missing, V(finish) and V(undo) what they would do.
  diff_mode:
    support: none
  idempotent:
    support: full
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.images
  - authentik_ops.recovery.instance
options:
  step:
    description:
      - V(check) is for a host that has no file of the project yet. It needs O(compose_project_name), tells which images
        are missing, and refuses a project that is there already. It changes nothing.
      - V(prepare) notes what is missing of the project, and which services that hold data are stopped. With
        O(rebuild=true) it refuses a project one of whose volumes is there already.
      - V(finish) ends what V(undo) is for. With O(rebuild=true) it also starts what else the project has, such as a
        reverse proxy, and the note is kept.
      - V(undo) removes the containers, networks and volumes that were missing, and the folders that Docker made for
        them, as far as these are empty. Services that were stopped are stopped again. It can be repeated.
    type: str
    choices:
      - check
      - prepare
      - finish
      - undo
    required: true
  restore_id:
    description:
      - Id of this restore, in the form of a set's id. All steps of one restore use the same.
    type: str
    required: true
  rebuild:
    description:
      - Whether the whole project is made by this restore.
    type: bool
    default: false
  work_dir:
    description:
      - Folder on the host under which the note is kept.
      - V(/var/lib/authentik-recovery) for root, else V(~/.local/state/authentik-recovery).
      - All steps of one restore need the same.
    type: path
  timeout:
    description:
      - How many seconds Compose may take to start what else the project has.
    type: int
    default: 600
seealso:
  - module: authentik_ops.recovery.authentik_compose_up
"""

EXAMPLES = r"""
- name: See whether a project can be rebuilt on this host
  authentik_ops.recovery.authentik_compose_restore:
    step: check
    rebuild: true
    restore_id: 20261123T090000Z-11aa
    compose_project_name: "{{ record.compose.name }}"
    images: "{{ record.compose.images }}"

- name: Note what will be made
  authentik_ops.recovery.authentik_compose_restore:
    step: prepare
    rebuild: true
    restore_id: 20261123T090000Z-11aa
    compose_project_directory: /opt/authentik

- name: Make it
  authentik_ops.recovery.authentik_compose_up:
    compose_project_directory: /opt/authentik

- name: Take it all away again
  authentik_ops.recovery.authentik_compose_restore:
    step: undo
    restore_id: 20261123T090000Z-11aa
"""

RETURN = r"""
plan:
  description: What would be done, or was done, in sentences.
  returned: success
  type: list
  elements: str
started:
  description: The services that hold data and do not run.
  returned: O(step=prepare)
  type: list
  elements: str
missing_images:
  description: A sentence about each image that is not on the host.
  returned: O(step=check)
  type: list
  elements: str
missing_images_command:
  description: The command that brings them.
  returned: O(step=check)
  type: str
"""

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _compose_restore as _restore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._compose_up import (
    ComposeUp,
    data_units,
    images_of,
    project_of,
    wanted_of,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._compose_project import read_config
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._docker_services import (
    DockerServices,
    making_arguments,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System
from ansible_collections.authentik_ops.recovery.plugins.module_utils._docker import Docker
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import default_work_dir
from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import (
    IMAGES_SPEC,
    INSTANCE_SPEC,
    Context,
    run_module,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import check_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ARGUMENT_SPEC = {
    **INSTANCE_SPEC,
    **IMAGES_SPEC,
    "step": {"type": "str", "choices": ["check", "prepare", "finish", "undo"], "required": True},
    "restore_id": {"type": "str", "required": True},
    "rebuild": {"type": "bool", "default": False},
    "work_dir": {"type": "path"},
    "timeout": {"type": "int", "default": 600},
}


def body(ctx: Context) -> dict[str, Any]:
    """Do one step."""
    note = _restore.Note(ctx.params["work_dir"] or default_work_dir(), check_id(ctx.params["restore_id"]))
    docker = Docker(ctx.params["docker_host"])
    steps = {"check": check, "prepare": prepare, "finish": finish, "undo": undo}
    return steps[ctx.params["step"]](ctx, docker, note)


def check(ctx: Context, docker: Docker, note: _restore.Note) -> dict[str, Any]:
    """Look whether the project can be made here."""
    project = ctx.params["compose_project_name"]
    if not project:
        raise InputError("step: check needs the name of the project", "Give compose_project_name")
    docker.ping()
    docker.compose_version()
    if ctx.params["rebuild"]:
        _restore.refuse_existing(docker, project, [], note.read())
    missing = _restore.missing_images(docker, images_of(ctx.params["images"]))
    return {
        "changed": False,
        "plan": ["compose: the project %s is made" % project] if ctx.params["rebuild"] else [],
        "missing_images": [cause for cause, _command in missing],
        "missing_images_command": " && ".join(command for _cause, command in missing),
    }


def prepare(ctx: Context, docker: Docker, note: _restore.Note) -> dict[str, Any]:
    """Note what is missing and what is stopped."""
    params = ctx.params
    instance = ctx.look_without_database()
    project = project_of(instance)
    services = DockerServices(System(), docker, project, "", params["timeout"])
    data = data_units(instance)
    if not params["rebuild"] and all(state == "active" for state in services.states(data).values()):
        return {"changed": False, "plan": [], "started": []}
    model = read_config(docker, project) if project.can_be_made else {}
    missing = ComposeUp(docker, instance, services, model, images_of(ctx.params["images"])).run(
        params["timeout"], check_mode=True
    )
    created, noted = missing["created"], note.read()
    if params["rebuild"]:
        wanted = wanted_of(model, project.name)
        own = [name for name in wanted.volumes if ("volume", name) not in wanted.external]
        _restore.refuse_existing(docker, project.name, [name for name in own if name not in created["volumes"]], noted)
    plan = ["compose: %s %s is made" % (kind[:-1], name) for kind in sorted(created) for name in created[kind]]
    plan += ["compose: service %s, which does not run, is started" % name for name in missing["started"]]
    if not ctx.check_mode and noted is None:
        started = [name for name in missing["started"] if name not in created["services"]]
        folders = _restore.missing_folders(model) if created["services"] else []
        made = any(unit.role == "redis" and unit.name in created["services"] for unit in data)
        note.write({"project": project.name, "started": started, "folders": folders, "redis": made, **created})
    return {"changed": bool(plan), "plan": plan, "started": missing["started"]}


def finish(ctx: Context, docker: Docker, note: _restore.Note) -> dict[str, Any]:
    """Start the rest of a project that was rebuilt; forget what needs no undo any more."""
    if not ctx.params["rebuild"]:
        known = note.read() is not None
        if not ctx.check_mode:
            note.forget()
        return {"changed": known, "plan": []}
    project = project_of(ctx.look_without_database())
    if not ctx.check_mode:
        arguments = ["up", "--detach", "--no-recreate", "--no-build", "--pull", "never"]
        docker.compose(making_arguments(project), arguments, timeout=ctx.params["timeout"])
    return {"changed": True, "plan": ["compose: all services of the project %s are started" % project.name]}


def undo(ctx: Context, docker: Docker, note: _restore.Note) -> dict[str, Any]:
    """Take back what was noted."""
    noted = note.read()
    if noted is None:
        return {"changed": False, "plan": []}
    done = _restore.take_back(docker, noted, ctx.check_mode)
    if not ctx.check_mode:
        note.forget(noted["redis"])
    return {"changed": True, "plan": done}


def main() -> None:
    """Entry point."""
    run_module(ARGUMENT_SPEC, body)


if __name__ == "__main__":
    main()
