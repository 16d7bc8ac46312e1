#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restore the files of an authentik instance that lie in S3."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_s3_restore
short_description: Restores the files of an authentik instance that lie in S3
version_added: "1.0.0"
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
description:
  - Has the bucket of an instance hold what a backup set holds of it, with content type and other metadata. Only what
    differs is written; what the set does not have is deleted.
  - The bucket is that of the instance, be it the one that was saved or another. Into the directory of an instance that
    has its files on a disk M(authentik_ops.recovery.authentik_static_restore) restores them.
  - Nothing live is altered before all that is new was written beside it, below C(authentik-new-<restore_id>/), and read
    back. What is replaced or deleted is copied first, by the endpoint, to C(authentik-before-<restore_id>/) in the same
    bucket, and stays there. So O(step=undo) can put it back.
  - Objects get the names that the instance has for them, C(media/public/...) since authentik 2025.12 and C(public/...)
    before. What the instance has no place for is left out, and a folder of the bucket that the set tells nothing of is
    left alone; the plan says both. A set with media or reports that the instance has on a disk is refused.
  - With O(component=media) or O(component=data) the files of a directory become objects, with the content types that
    their names tell. The controller then needs the program C(zstd), unless the set was made with gzip.
  - An object that authentik writes under a restored key after the restore is lost by O(step=undo), unless the bucket
    keeps versions. What it writes under new keys stays.
attributes:
  action:
    description: Runs on the controller through an action plugin; the host only tells where the files are.
    support: full
  check_mode:
    support: full
    details:
      - O(step=check) reads all of the set and compares it with the bucket. The other steps change nothing.
  diff_mode:
    support: none
  idempotent:
    support: full
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.instance
  - authentik_ops.recovery.storage_s3
options:
  step:
    description:
      - V(check) reads and compares everything, and says what would be done.
      - V(prepare) writes what is new beside the live objects and reads it back.
      - V(swap) puts it in place. One that was interrupted goes on.
      - V(undo) puts back what was there, and takes away what was prepared. It is refused while a later restore of the
        bucket is not undone.
    type: str
    choices: [check, prepare, swap, undo]
    required: true
  restore_id:
    description: Names the restore, and what it keeps. Its form is that of a set's id.
    type: str
    required: true
  component:
    description:
      - Which component of the set holds the files. Only V(check) and V(prepare) read any.
      - V(media) (before authentik 2025.12) and V(data) (since) are directories of a set whose instance had its files
        on a disk. Of V(data) these are C(media) and C(reports).
    type: str
    choices: [s3, media, data]
    default: s3
  swapped:
    description:
      - Only for V(undo). What the swap exchanged, as RV(swapped) told it. With it, it is an error when that lies in
        another bucket, or when what was kept of it is gone. Without it there is just nothing to put back then.
    type: dict
    suboptions:
      bucket:
        description: Name of the bucket.
        type: str
        required: true
      endpoint:
        description: Address of its endpoint.
        type: str
        required: true
      changed:
        description: Whether there is anything to put back.
        type: bool
        required: true
  backup_set:
    description:
      - The backup set. Needed for V(check) and V(prepare).
    type: dict
    suboptions:
      store:
        description: Folder on the controller that holds all backup sets, or V(s3://BUCKET/PREFIX).
        type: str
        required: true
      instance:
        description: Name of the instance. Letters, digits, V(.), V(_) and V(-); no slash, no leading V(.).
        type: str
        required: true
      id:
        description: Id of the set, such as V(20261122T031500Z-7f3a), or V(latest).
        type: str
        required: true
      s3:
        description:
          - How the endpoint of a store in a bucket is reached, as the option of that name of
            M(authentik_ops.recovery.authentik_store_info).
        type: dict
      identity_file:
        description: Of an encrypted set, a file on the controller with the identity of one of its recipients.
        type: path
      identity_command:
        description: A program on the controller, with its arguments, that prints what such a file holds.
        type: list
        elements: str
"""

EXAMPLES = r"""
- name: Say what a restore of the bucket would do
  authentik_ops.recovery.authentik_s3_restore:
    step: check
    restore_id: 20261122T040000Z-1b2c
    backup_set:
      store: /srv/backups
      instance: sso
      id: latest

- name: Say what would be done to have the files of a directory in the bucket
  authentik_ops.recovery.authentik_s3_restore:
    step: check
    component: data
    restore_id: 20261122T040000Z-1b2c
    backup_set:
      store: /srv/backups
      instance: sso
      id: latest

- name: Put back what a restore replaced
  authentik_ops.recovery.authentik_s3_restore:
    step: undo
    restore_id: 20261122T040000Z-1b2c
"""

RETURN = r"""
plan:
  description: What is, or would be, done.
  returned: success
  type: list
  elements: str
  sample:
    - "s3: s3://authentik: 3 objects new, 1 replaced, 2 deleted, 1.2 MiB to send"
kept:
  description: The folder of the bucket in which what is replaced or deleted stays.
  returned: with O(step=check) and O(step=prepare), and with O(step=swap) when something was exchanged
  type: str
  sample: s3://authentik/authentik-before-20261122T040000Z-1b2c
swapped:
  description: What O(step=undo) has to be told as O(swapped), once V(swap) began.
  returned: with O(step=check) and O(step=prepare)
  type: dict
  sample:
    bucket: authentik
    endpoint: https://s3.example.com
    changed: true
"""

from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import (
    CONSUMER_SPEC,
    INSTANCE_SPEC,
    Context,
    run_module,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._object_storage import STORAGE_S3_SPEC, tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def body(ctx: Context) -> dict[str, Any]:
    """Tell the action plugin of the same name where the files are."""
    return {"changed": False, "storage": tell(ctx.instance)}


def main() -> None:
    """Run the module."""
    spec = {
        **INSTANCE_SPEC,
        **STORAGE_S3_SPEC,
        "step": {"type": "str", "choices": ["check", "prepare", "swap", "undo"], "required": True},
        "restore_id": {"type": "str", "required": True},
        "component": {"type": "str", "choices": ["s3", "media", "data"], "default": "s3"},
        "swapped": {
            "type": "dict",
            "options": {
                "bucket": {"type": "str", "required": True},
                "endpoint": {"type": "str", "required": True},
                "changed": {"type": "bool", "required": True},
            },
        },
        "backup_set": CONSUMER_SPEC["backup_set"],
    }
    run_module(spec, body)


if __name__ == "__main__":
    main()
