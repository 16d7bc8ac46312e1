#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep the record of a restore."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_restore_record
short_description: Keep the record of a restore on the host
version_added: "1.0.0"
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
description:
  - Writes down which restore changes the instance, before it changes anything, and how far it came. A rollback finds in
    it all that it has to know, also when the store is lost.
  - The record is C(<work_dir>/<restore_id>/restore.json), for its owner only. It holds no secrets. The manifest of the
    set is kept beside it.
  - A restore belongs to the run of C(ansible-playbook) that began it, or that takes it back. As long as that lives no
    other one of the same instance can begin. On the controller of the run that is as long as its process is there, on
    others until five minutes after its last sign of life. Every module of the run that gets RV(environment) gives such
    signs, by the time of the record's last change.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - A restore begins once. Completing its record with the same again changes nothing.
extends_documentation_fragment:
  - authentik_ops.recovery.restore_claim
  - authentik_ops.recovery.attributes
options:
  restore_id:
    description:
      - Names the restore, in the form of a set's id.
    type: str
    required: true
  work_dir:
    description:
      - Folder on the host in which records and kept content lie.
      - V(/var/lib/authentik-recovery) for root, else V(~/.local/state/authentik-recovery).
    type: path
  backup_set:
    description:
      - The published set that is restored. Given, the restore begins, and its id has to be one that no other restore
        has that could still be undone. Left out, the record is completed.
    type: dict
    suboptions:
      store:
        description: Folder on the controller that holds all backup sets, or V(s3://BUCKET/PREFIX).
        type: str
        required: true
      instance:
        description: Name of the instance.
        type: str
        required: true
      id:
        description: Id of the set.
        type: str
        required: true
      s3:
        description:
          - How the endpoint of a store in a bucket is reached, as the option of that name of
            M(authentik_ops.recovery.authentik_store_info). The host is not told.
        type: dict
  manifest:
    description:
      - Set by the action plugin of the same name. Do not use it in a playbook.
    type: dict
  instance:
    description:
      - Name of the instance that is restored into. Required with O(backup_set).
    type: str
  deployment:
    description:
      - How the instance runs.
    type: str
    choices: [host, compose]
    default: host
  components:
    description:
      - The components that are restored.
    type: list
    elements: str
    default: []
  undo:
    description:
      - What an undo has to be told again, such as C(rebuild). No secrets.
      - Given when the record is completed, it replaces what was written before.
    type: dict
    default: {}
  phase:
    description:
      - V(swap) when the restore begins to exchange what is live, and V(undo) when a rollback begins. V(prepare) when
        all that is live is of one state, which it also is after O(state=done), O(state=put_back) and O(state=undone).
      - Until then a backup would save some of both states, and M(authentik_ops.recovery.authentik_restore_record_info)
        tells so.
      - With V(undo) the restore becomes that of this run, as when it begins.
    type: str
    choices: [prepare, swap, undo]
  claim:
    description:
      - V(true) makes a restore that is about to be taken back that of this run, as O(phase=undo) does, and changes
        nothing else in the record. V(false) gives it up again.
    type: bool
  databases:
    description:
      - Live names of the databases that are restored. What is recorded stays when not given.
    type: list
    elements: str
  directories:
    description:
      - Live paths of the directories that are restored. What is recorded stays when not given.
    type: list
    elements: path
  mode:
    description:
      - Whether what is live is kept, or removed before its copy is there, as the modules that restore have it. Given
        when the restore begins.
    type: str
    choices: [side_by_side, in_place]
    default: side_by_side
  safety_set:
    description:
      - Id of the backup set that is the only way back of a restore in place. To be written down before anything is
        removed. What is recorded stays when not given.
    type: str
  gone:
    description:
      - Whether what was live may have been removed already, and nothing is in its place yet. What is recorded stays
        when not given.
    type: bool
  state:
    description:
      - How far the restore has come. A restore begins as V(running).
      - V(put_back) is one that failed and left everything as it was, V(failed) one of which not everything could be put
        back, V(undone) one that was finished and then rolled back, V(cleaned) one whose kept copies are removed.
    type: str
    choices: [running, done, put_back, failed, undone, cleaned]
"""

EXAMPLES = r"""
- name: Write down what begins
  authentik_ops.recovery.authentik_restore_record:
    restore_id: 20261123T090000Z-11aa
    backup_set:
      store: /srv/backups
      instance: sso
      id: 20261122T031500Z-7f3a
    instance: sso
    components: [postgresql, media]

- name: Write down that what is live is about to be removed, and what brings it back
  authentik_ops.recovery.authentik_restore_record:
    restore_id: 20261123T090000Z-11aa
    safety_set: 20261123T090003Z-22bb
    gone: true

- name: Write down that it is finished
  authentik_ops.recovery.authentik_restore_record:
    restore_id: 20261123T090000Z-11aa
    state: done
"""

RETURN = r"""
environment:
  description:
    - The environment for the modules of this restore, which makes them give signs of life, and stops them where another
      run went on because there were none for too long.
  returned: when the restore begins, or is taken up by O(phase=undo) or O(claim=true)
  type: dict
owners:
  description: The runs that forbid it.
  returned: when another restore or rollback of the instance is under way
  type: list
  elements: dict
record:
  description: The record as it is now.
  returned: success
  type: dict
  sample:
    restore_id: 20261123T090000Z-11aa
    state: running
"""

import datetime

from ansible_collections.authentik_ops.recovery.plugins.module_utils import (
    _manifest,
    _restore_claim,
    _restore_lease,
    _restore_record,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import default_work_dir
from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import (
    BACKUP_SET,
    CLAIM_SPEC,
    MODE_SPEC,
    Context,
    run_module,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import check_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ARGUMENT_SPEC = {
    "restore_id": {"type": "str", "required": True},
    "work_dir": {"type": "path"},
    "backup_set": BACKUP_SET,
    "manifest": {"type": "dict"},
    "instance": {"type": "str"},
    "deployment": {"type": "str", "choices": ["host", "compose"], "default": "host"},
    "components": {"type": "list", "elements": "str", "default": []},
    "undo": {"type": "dict", "default": {}},
    "phase": {"type": "str", "choices": list(_restore_claim.PHASES)},
    "claim": {"type": "bool"},
    **CLAIM_SPEC,
    "databases": {"type": "list", "elements": "str"},
    "directories": {"type": "list", "elements": "path"},
    **MODE_SPEC,
    "safety_set": {"type": "str"},
    "gone": {"type": "bool"},
    "state": {"type": "str", "choices": list(_restore_record.STATES)},
}


def body(ctx: Context) -> dict[str, object]:
    """Begin a record, take it up, or complete it."""
    params, now = ctx.params, datetime.datetime.now(datetime.timezone.utc)
    work_dir, restore_id = params["work_dir"] or default_work_dir(), check_id(params["restore_id"])
    claim = _restore_claim.claim_of(params)
    if params["claim"] is not None:
        return claimed(ctx, work_dir, restore_id, claim)
    if params["manifest"] is None and (params["phase"] != _restore_claim.UNDO or ctx.check_mode):
        facts = {name: params[name] for name in ("databases", "directories", "phase", "safety_set", "gone", "state")}
        # Nothing to be told replaces nothing.
        facts["undo"] = params["undo"] or None
        record, changed = _restore_record.update(work_dir, restore_id, facts, now, ctx.check_mode)
        return {"changed": changed, "record": record}
    if params["manifest"] is None:
        return _taken(ctx, work_dir, _restore_record.take(work_dir, restore_id, now, claim))
    if not params["instance"]:
        raise InputError("backup_set is given without instance", "Name the instance that is restored into")
    facts = {name: params[name] for name in ("restore_id", "instance", "deployment", "components", "undo", "mode")}
    facts.update({name: params[name] for name in ("safety_set", "gone") if params[name] is not None})
    if ctx.check_mode:
        return {"changed": True, "record": facts}
    manifest = _manifest.validate(params["manifest"])
    return _taken(ctx, work_dir, _restore_record.begin(work_dir, manifest, facts, now, claim))


def claimed(ctx: Context, work_dir: str, restore_id: str, claim: _restore_claim.Claim) -> dict[str, object]:
    """Take a restore for this run, or let it go."""
    if ctx.check_mode:
        return {"changed": False}
    if ctx.params["claim"]:
        now = datetime.datetime.now(datetime.timezone.utc)
        return _taken(ctx, work_dir, _restore_record.take(work_dir, restore_id, now, claim, exchange=False))
    record, changed = _restore_record.let_go(work_dir, restore_id, claim)
    return {"changed": changed, "record": record}


def _taken(ctx: Context, work_dir: str, taken: tuple[dict[str, Any], list[str]]) -> dict[str, object]:
    record, dead = taken
    for sentence in dead:
        ctx.warn(sentence)
    return {"changed": True, "record": record, "environment": _restore_lease.environment(work_dir, record)}


def main() -> None:
    """Entry point."""
    run_module(ARGUMENT_SPEC, body)


if __name__ == "__main__":
    main()
