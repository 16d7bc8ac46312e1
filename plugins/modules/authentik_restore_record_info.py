#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find the records of restores."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_restore_record_info
short_description: Find the records of restores on the host
version_added: "1.0.0"
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
description:
  - Returns what M(authentik_ops.recovery.authentik_restore_record) wrote about the restores of an instance.
  - With O(choose) also the one that a rollback takes back, and the manifest of its set.
extends_documentation_fragment:
  - authentik_ops.recovery.restore_claim
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.attributes.info
options:
  instance:
    description:
      - Name of the instance.
    type: str
    required: true
  work_dir:
    description:
      - Folder on the host in which the records lie.
      - V(/var/lib/authentik-recovery) for root, else V(~/.local/state/authentik-recovery).
    type: path
  choose:
    description:
      - Whether to choose the restore to take back. It is the latest but for those that failed and put everything back.
        It may have been taken back before. It is an error when there is none.
    type: bool
    default: false
  restore_id:
    description:
      - Choose this one.
    type: str
  before:
    description:
      - Fail where something else is under way, or unfinished, that forbids this.
      - V(restore) stands for rollbacks, too. It fails when another run restores the instance, or takes a restore back,
        and lives. V(backup) fails when a restore or rollback is at exchanging old for new, or ended there.
    type: str
    choices: [backup, restore]
  exchanges:
    description:
      - What this module returned as RV(exchanges) when a backup began. Fail where a restore or rollback of the instance
        has begun to exchange old for new since, so that what was saved may be some of both.
    type: dict
  own:
    description:
      - Id of a restore that does not count for O(exchanges), since the backup is its safety set.
    type: str
"""

EXAMPLES = r"""
- name: Which restore would be rolled back?
  authentik_ops.recovery.authentik_restore_record_info:
    instance: sso
    choose: true
  register: found
"""

RETURN = r"""
records:
  description: The records, the latest restore last.
  returned: success
  type: list
  elements: dict
interrupted:
  description: Those among them of restores that were interrupted.
  returned: success
  type: list
  elements: dict
gone:
  description:
    - The record of a restore in place that removed what was live and was cut off before anything was in its place,
      unless a later restore settled that. Empty where there is none.
  returned: success
  type: dict
  sample: {}
living:
  description: Who restores the instance now, or takes a restore back, in words.
  returned: success
  type: list
  elements: str
mixed:
  description: Those among the records of restores that are, or ended, between old and new.
  returned: success
  type: list
  elements: dict
exchanges:
  description: How often each restore, by its id, has begun to exchange old for new, or new for old.
  returned: success
  type: dict
  sample:
    20261123T090000Z-11aa: 1
owners:
  description: The runs that live.
  returned: always
  type: list
  elements: dict
chosen:
  description: The record of the restore to take back.
  returned: with O(choose)
  type: dict
folder:
  description: The folder that holds its record and the manifest of its set.
  returned: with O(choose)
  type: str
  sample: /var/lib/authentik-recovery/20261123T090000Z-11aa
manifest:
  description: The manifest of its set.
  returned: with O(choose)
  type: dict
"""

import os

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest, _restore_claim, _restore_record
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import default_work_dir
from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import (
    CLAIM_SPEC,
    Context,
    read_of,
    run_module,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ARGUMENT_SPEC = {
    "instance": {"type": "str", "required": True},
    "work_dir": {"type": "path"},
    "choose": {"type": "bool", "default": False},
    "restore_id": {"type": "str"},
    "before": {"type": "str", "choices": ["backup", "restore"]},
    "exchanges": {"type": "dict"},
    "own": {"type": "str"},
    **CLAIM_SPEC,
}


def body(ctx: Context) -> dict[str, object]:
    """Return the records."""
    params = ctx.params
    work_dir = params["work_dir"] or default_work_dir()
    found = _restore_record.find(work_dir, params["instance"])
    for problem in found.problems:
        ctx.warn(problem)
    records, silent = found.records, _restore_record.silent(work_dir, found.records)
    claim = _restore_claim.claim_of(params)
    refuse(params, records, silent, claim)
    living = _restore_claim.living(records, silent, claim)
    result = {
        "changed": False,
        "records": records,
        "gone": _restore_record.find_gone(records) or {},
        "interrupted": [one for one in records if one["state"] == _restore_record.RUNNING and one not in living],
        "living": [_restore_claim.said_of(record, silent) for record in living],
        "mixed": _restore_claim.mixed(records),
        "exchanges": {record["restore_id"]: record["exchanges"] for record in records},
        "owners": [record["owner"] for record in living],
    }
    if params["choose"]:
        chosen = _restore_record.choose(work_dir, params["instance"], params["restore_id"])
        folder = os.path.join(work_dir, chosen["restore_id"])
        result.update(chosen=chosen, folder=folder, manifest=_manifest.load(read_of(folder, _manifest.MANIFEST_NAME)))
    return result


def refuse(
    params: dict[str, Any], records: list[dict[str, Any]], silent: dict[str, float], claim: _restore_claim.Claim
) -> None:
    """Fail where the records forbid what is about to begin, or to be published."""
    if params["before"] == "restore":
        _restore_claim.refuse_second(records, silent, claim)
    if params["before"] == "backup":
        _restore_claim.refuse_mixture(records, silent, claim)
    if params["exchanges"] is not None:
        _restore_claim.refuse_exchanged(records, params["exchanges"], params["own"])


def main() -> None:
    """Entry point."""
    run_module(ARGUMENT_SPEC, body)


if __name__ == "__main__":
    main()
