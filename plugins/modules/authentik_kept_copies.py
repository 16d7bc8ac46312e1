#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""List and remove what restores keep."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_kept_copies
short_description: List and remove what restores of an authentik instance keep on the host
version_added: "1.0.0"
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
description:
  - A restore keeps what was there before, and a rollback what was written since. This lists those databases,
    directories, configuration files and work folders, and removes those that are old enough.
  - The age is that of the restore, by its id. What belongs to the latest restore of anything stays, however old it is,
    and so does what belongs to a restore that runs or waits to be rolled back. Of a restore of which something stays,
    everything stays.
  - Copies that were being filled, and belong to a restore that has ended, go whatever their age.
  - Where the instance's files lie in S3, what restores keep in that bucket is among it. The controller removes it, once
    everything on the host is gone.
  - Only what carries the exact name that a restore gives, with a valid id, is ever touched.
attributes:
  action:
    description: An action plugin looks after the bucket; everything else is done on the host.
    support: full
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.instance
  - authentik_ops.recovery.postgresql_admin
  - authentik_ops.recovery.storage_s3
options:
  state:
    description:
      - V(listed) changes nothing. V(removed) removes what RV(copies[].goes) says, and returns what there was.
    type: str
    choices: [listed, removed]
    default: listed
  instance:
    description:
      - Name of the instance, as its restores were given it.
    type: str
    required: true
  days:
    description:
      - How many days ago a restore has to have been for its copies to go.
    type: int
    default: 30
  work_dir:
    description:
      - Folder on the host in which restores keep their records.
      - V(/var/lib/authentik-recovery) for root, else V(~/.local/state/authentik-recovery).
    type: path
  bucket_copies:
    description:
      - What is kept in the bucket of the instance's files. Set by the action plugin alone.
    type: list
    elements: dict
    suboptions:
      restore_id:
        description: The restore that it belongs to.
        type: str
        required: true
      kind:
        description: What it is.
        type: str
        choices: [before, new]
        required: true
      name:
        description: Its address.
        type: str
        required: true
      of:
        description: The bucket.
        type: str
        required: true
      size:
        description: Bytes.
        type: int
        required: true
"""

EXAMPLES = r"""
- name: What is kept?
  authentik_ops.recovery.authentik_kept_copies:
    instance: sso

- name: Remove what is more than two months old
  authentik_ops.recovery.authentik_kept_copies:
    instance: sso
    state: removed
    days: 60
"""

RETURN = r"""
copies:
  description: What is kept, the oldest restore first.
  returned: success
  type: list
  elements: dict
  contains:
    restore_id:
      description: The restore that it belongs to.
      type: str
      returned: always
    component:
      description: V(postgresql), V(directory), V(s3), V(redis), V(config), V(compose) or V(record).
      type: str
      returned: always
    kind:
      description: What it is, V(before), V(undone), V(found), V(load), V(new) or V(record).
      type: str
      returned: always
    name:
      description: Name of the database, the path, or the address in the bucket.
      type: str
      returned: always
    of:
      description: What it is a copy of.
      type: str
      returned: always
    size:
      description: Bytes.
      type: int
      returned: always
    size_text:
      description: The same for people.
      type: str
      returned: always
    age:
      description: Seconds since the restore, by its id. Negative when that is in the future.
      type: int
      returned: always
    goes:
      description: Whether it is removed.
      type: bool
      returned: always
    reason:
      description: Why it goes or stays.
      type: str
      returned: always
plan:
  description: The same in sentences.
  returned: success
  type: list
  elements: str
  sample: ["postgresql: authentik_before_20261001t040000z_1b2c (245.0 MiB, 53 d 4 h old) goes: older than 30 days"]
bytes:
  description: Size of what goes.
  returned: success
  type: int
"""

import datetime

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _kept, _kept_copies
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import default_work_dir
from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import (
    ADMIN_SPEC,
    INSTANCE_SPEC,
    Context,
    run_module,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._object_index import COMPONENT
from ansible_collections.authentik_ops.recovery.plugins.module_utils._object_storage import STORAGE_S3_SPEC, tell
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import (
    AdminOptions,
    Request,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_bytes, format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Instance

ARGUMENT_SPEC = {
    **INSTANCE_SPEC,
    **ADMIN_SPEC,
    "state": {"type": "str", "choices": ["listed", "removed"], "default": "listed"},
    "instance": {"type": "str", "required": True},
    "days": {"type": "int", "default": 30},
    "work_dir": {"type": "path"},
    **STORAGE_S3_SPEC,
    "bucket_copies": {
        "type": "list",
        "elements": "dict",
        "options": {
            "restore_id": {"type": "str", "required": True},
            "kind": {"type": "str", "choices": ["before", "new"], "required": True},
            "name": {"type": "str", "required": True},
            "of": {"type": "str", "required": True},
            "size": {"type": "int", "required": True},
        },
    },
}


def body(ctx: Context) -> dict[str, object]:
    """List the copies, and remove those that go."""
    params, now = ctx.params, datetime.datetime.now(datetime.timezone.utc)
    if params["days"] < 0:
        raise InputError("days is %d" % params["days"], "Give a number of days, 0 or more; what is newest stays anyway")
    instance = ctx.look_without_database()
    where = look(ctx, instance)
    if params["bucket_copies"] is None and instance.object_storage and not instance.object_storage.problem:
        # The action plugin looks there, and asks again.
        restored = any(COMPONENT in record["components"] for record in where.records)
        return {"changed": False, "storage": dict(tell(instance), restored=restored)}
    if where.request is None:
        ctx.warn("The connection to the database is not known, so kept databases are not looked for.")
    there = [_kept.Copy(component=COMPONENT, **one) for one in params["bucket_copies"] or ()]
    verdicts = _kept.judge([*_kept_copies.find(where), *there], where.records, now, params["days"])
    going = [verdict.copy for verdict in verdicts if verdict.goes]
    if params["state"] == "removed" and going and not ctx.check_mode:
        _kept_copies.remove(where, going, now)
    return {
        "changed": params["state"] == "removed" and bool(going),
        "copies": [described(verdict) for verdict in verdicts],
        "plan": [sentence(verdict) for verdict in verdicts if verdict.copy.kind != _kept.RECORD],
        "bytes": sum(copy.size for copy in going),
    }


def look(ctx: Context, instance: Instance) -> _kept_copies.Where:
    """Return where copies on the host may lie."""
    params, request = ctx.params, None
    if instance.postgresql is not None:
        admin = AdminOptions(params["admin_user"], params["admin_password"], params["admin_run_as"])
        request = Request(instance.postgresql, "", admin, bin_dir=params["postgresql_bin_dir"])
    return _kept_copies.look(
        params["work_dir"] or default_work_dir(),
        params["instance"],
        request,
        [directory.path for directory in instance.directories],
        [file.path for file in instance.config_files],
    )


def described(verdict: _kept.Verdict) -> dict[str, object]:
    """Return a copy and what becomes of it."""
    copy = verdict.copy
    more = {"size_text": format_bytes(copy.size), "age": verdict.age, "goes": verdict.goes, "reason": verdict.reason}
    return {**copy._asdict(), **more}


def sentence(verdict: _kept.Verdict) -> str:
    """Return the same for people."""
    copy = verdict.copy
    age = "%s old" % format_duration(verdict.age) if verdict.age >= 0 else "of the future"
    fate = "goes" if verdict.goes else "stays"
    return "%s: %s (%s, %s) %s: %s" % (copy.component, copy.name, format_bytes(copy.size), age, fate, verdict.reason)


def main() -> None:
    """Entry point."""
    run_module(ARGUMENT_SPEC, body)


if __name__ == "__main__":
    main()
