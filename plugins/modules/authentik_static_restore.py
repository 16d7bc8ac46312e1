#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restore the directories of an authentik instance."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_static_restore
short_description: Restore the directories of an authentik instance
version_added: "1.0.0"
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
description:
  - Restores directories that M(authentik_ops.recovery.authentik_static_dirs) saved, one step at a time.
  - Nothing live is touched before the new copy, C(<directory>.new-<restore id>), was proved equal to the backup by its
    tree digest. The directory it replaces stays as C(<directory>.before-<restore id>).
  - Archives with members that could reach outside are refused. A symbolic link that leads outside is only accepted
    when the backup recorded it, and is never followed.
  - Owners are restored by root. Any other user can only restore what belongs to itself, and gets an error otherwise.
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
      - V(swap) and V(undo) report no change when there is nothing left to do. V(prepare) builds the copy anew.
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.instance
  - authentik_ops.recovery.stream.consumer
options:
  step:
    description:
      - V(check) reads every byte of the archives and looks at the target, and changes nothing.
      - V(prepare) unpacks beside the live directory and proves the copy equal to the backup. Copies of the same
        directory that other restores prepared and never swapped in are removed.
      - V(swap) exchanges both by rename. Stop authentik first.
      - V(undo) puts back what was before and removes what was prepared. It can be repeated, and needs no state but
        the names on the disk. A restored directory that was changed since stays, as C(<directory>.undone-<restore id>).
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
  components:
    description:
      - Which directories to restore. All that the set holds when not given.
    type: list
    elements: str
  paths:
    description:
      - Other places to restore to. Keys are components, values absolute paths.
      - When not given for a component, it is where the instance has that directory, else where it was saved from.
      - All steps of one restore need the same.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Check that everything can be restored
  authentik_ops.recovery.authentik_static_restore:
    backup_set: &set
      store: /srv/backups
      instance: sso
      id: 20261122T031500Z-7f3a
    restore_id: 20261123T090000Z-11aa
    step: check

- name: Unpack beside the live directories
  authentik_ops.recovery.authentik_static_restore:
    backup_set: *set
    restore_id: 20261123T090000Z-11aa
    step: prepare

- name: Swap them in
  authentik_ops.recovery.authentik_static_restore:
    backup_set: *set
    restore_id: 20261123T090000Z-11aa
    step: swap
"""

RETURN = r"""
plan:
  description: What would be done, or was done, in sentences.
  returned: success
  type: list
  elements: str
components:
  description: The directories of this step and where they are.
  returned: success
  type: list
  elements: dict
  sample:
    - component: media
      live: /opt/authentik/media
      new: /opt/authentik/media.new-20261123T090000Z-11aa
      before: /opt/authentik/media.before-20261123T090000Z-11aa
"""

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _static_restore
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
    "components": {"type": "list", "elements": "str"},
    "paths": {"type": "dict", "default": {}},
}


def restore(ctx: Context) -> dict[str, object]:
    """Do one step and return what was done."""
    params = ctx.params
    records, said = _static_restore.choose(ctx.manifest(), params["components"])
    known = {item.component: item.path for item in ctx.look_without_database().directories}
    work = _static_restore.make_work(records, params["paths"], known, check_id(params["restore_id"]))
    result = _static_restore.restore(params["step"], work, ctx.source, ctx.check_mode)
    for warning in result.pop("warnings"):
        ctx.warn(warning)
    if params["step"] == "check" or ctx.check_mode:
        result["plan"] += said
    result["components"] = [place._asdict() for _record, place in work]
    return result


def main() -> None:
    """Entry point."""
    run_module(ARGUMENT_SPEC, restore)


if __name__ == "__main__":
    main()
