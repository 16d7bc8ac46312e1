#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restore the configuration of an authentik instance."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_config_restore
short_description: Restore the configuration of an authentik instance
version_added: "1.0.0"
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
description:
  - Restores the files that M(authentik_ops.recovery.authentik_config) saved, one step at a time.
  - A file that is missing is put back with its owner, mode and time. One that is equal in content, owner and mode stays
    as it is. One that differs is left alone and named in the plan, unless O(overwrite) is true.
  - Compares authentik's present secret key with the backup's and says what a difference means.
  - When unit files change, C(systemctl daemon-reload) is run.
attributes:
  check_mode:
    support: full
    details:
      - V(prepare) and V(swap) do what O(step=check) does. V(undo) says what it would do.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - V(swap) and V(undo) report no change when there is nothing left to do. V(prepare) prepares anew.
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.instance
  - authentik_ops.recovery.stream.consumer
options:
  step:
    description:
      - V(check) reads every byte of the archive and compares it with the files, and changes nothing.
      - V(prepare) keeps the files to come in O(work_dir).
      - V(swap) puts them in place, each atomically.
      - V(undo) puts back what was before and removes what was prepared. It can be repeated. A file that was changed
        since the swap is left alone when there was none before.
    type: str
    choices:
      - check
      - prepare
      - swap
      - undo
    required: true
  restore_id:
    description:
      - Id of this restore, in the form of a set's id. All steps of one restore use the same.
    type: str
    required: true
  overwrite:
    description:
      - Replace files that differ from the backup's. Each is kept as C(<file>.before-<restore id>).
      - A directory is never replaced.
    type: bool
    default: false
  directory:
    description:
      - Project directory to lay the files of a compose project down in, in place of the one they came from.
      - Paths that a file names in full stay as they are. The plan names the files that name the former directory.
    type: path
  environment:
    description:
      - Variables to set in the C(.env) of a compose project, such as another host name or database password. The rest
        of the file stays as it was saved.
      - Give the values as authentik shall see them. They are quoted as Docker Compose needs it.
      - Where the project has several env files, a variable is changed in each that sets it, and the last one gets it in
        any case. Where it has none, C(.env) is made.
      - A C(.env) that exists and differs needs O(overwrite=true).
    type: dict
    default: {}
  work_dir:
    description:
      - Folder on the host under which the files to come are kept.
      - V(/var/lib/authentik-recovery) for root, else V(~/.local/state/authentik-recovery).
      - All steps of one restore need the same.
    type: path
"""

EXAMPLES = r"""
- name: Check what a restore of the configuration would do
  authentik_ops.recovery.authentik_config_restore:
    backup_set:
      store: /srv/backups
      instance: sso
      id: latest
    restore_id: 20261123T090000Z-11aa
    step: check

- name: Bring it back, replacing what differs
  authentik_ops.recovery.authentik_config_restore:
    backup_set:
      store: /srv/backups
      instance: sso
      id: 20261122T031500Z-7f3a
    restore_id: 20261123T090000Z-11aa
    overwrite: true
    step: "{{ item }}"
  loop:
    - prepare
    - swap

- name: See what a compose project would become in another directory, under another name
  authentik_ops.recovery.authentik_config_restore:
    backup_set:
      store: /srv/backups
      instance: sso
      id: latest
    restore_id: 20261123T090000Z-11aa
    directory: /srv/sso-drill
    environment:
      COMPOSE_PROJECT_NAME: sso-drill
      COMPOSE_PORT_HTTP: "9080"
    step: check
"""

RETURN = r"""
plan:
  description: What would be done, or was done, in sentences.
  returned: success
  type: list
  elements: str
secret_key:
  description:
    - Whether authentik's present secret key is the backup's, V(same), V(different) or V(unknown).
  returned: O(step=check), O(step=prepare) and check mode
  type: str
  sample: same
space:
  description: What the files to come need, in bytes, and what is free there.
  returned: O(step=check) and check mode
  type: list
  elements: dict
  sample:
    - component: config
      what: the configuration to come
      path: /var/lib/authentik-recovery/20261123T090000Z-11aa/config
      device: "5d9c64d3-6f3c-4a0e-9c5f-3f6f0e0a7f55:65025"
      available: 5368709120
      unseen: ""
      needed: 2411
      freed: 0
"""

from ansible_collections.authentik_ops.recovery.plugins.module_utils._config_restore import ConfigRestore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import DiscoveryError, InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import default_work_dir
from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import (
    CONSUMER_SPEC,
    INSTANCE_SPEC,
    Context,
    run_module,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import check_id

ARGUMENT_SPEC = {
    **INSTANCE_SPEC,
    **CONSUMER_SPEC,
    "step": {"type": "str", "choices": ["check", "prepare", "swap", "undo"], "required": True},
    "restore_id": {"type": "str", "required": True},
    "overwrite": {"type": "bool", "default": False},
    "directory": {"type": "path"},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "work_dir": {"type": "path"},
}


def restore(ctx: Context) -> dict[str, object]:
    """Do one step and return what was done."""
    params, step = ctx.params, ctx.params["step"]
    work = ConfigRestore(
        ctx.manifest(),
        check_id(params["restore_id"]),
        params["work_dir"] or default_work_dir(),
        params["overwrite"],
        params["directory"],
        values_of(params["environment"]),
    )
    if step == "undo":
        done = work.undo(pretend=ctx.check_mode)
        return {"changed": bool(done), "plan": done}
    if step == "swap" and not ctx.check_mode:
        done = work.swap()
        return {"changed": bool(done), "plan": done}
    state, said = work.secret_key(present_secret_key(ctx))
    if state == "different":
        ctx.warn(said[0])
    if step == "prepare" and not ctx.check_mode:
        return {"changed": True, "plan": said + work.prepare(ctx.source()), "secret_key": state}
    changes, plan = work.check(ctx.source())
    return {
        "changed": step != "check" and bool(changes),
        "plan": said + plan,
        "secret_key": state,
        "space": work.space,
    }


def values_of(environment: dict[str, object]) -> dict[str, str]:
    """Return the variables' values as text.

    :raises InputError: one is neither text nor a number nor a truth value.
    """
    values = {}
    for name, value in environment.items():
        if isinstance(value, bool):
            values[name] = "true" if value else "false"
        elif isinstance(value, (str, int, float)):
            values[name] = str(value)
        else:
            raise InputError("The value of %s in environment is no text" % name, "Put it in quotes")
    return values


def present_secret_key(ctx: Context) -> str | None:
    """Return the secret key that authentik is configured with, None where there is no authentik yet."""
    try:
        return ctx.look_without_database().secret_key
    except DiscoveryError as exc:
        if not ctx.params["directory"]:
            ctx.warn("The present configuration was not found: %s" % exc)
        return None


def main() -> None:
    """Entry point."""
    run_module(ARGUMENT_SPEC, restore)


if __name__ == "__main__":
    main()
