#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Save the files of an authentik instance that lie in S3."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_s3_objects
short_description: Saves the files of an authentik instance that lie in S3
version_added: "1.0.0"
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
description:
  - Saves the objects of the bucket in which an instance with C(storage.backend) V(s3) keeps its files into a backup
    set.
  - C(s3/index.json) lists every object with its content type and other metadata. C(s3/objects-<id>.tar) holds the
    content of those that were new or changed, by their keys. The content of the others lies in packs of earlier runs,
    which the set holds too.
  - An object is taken for unchanged when key, size and ETag are those of the newest earlier set of this bucket. It is
    not read again then. What was deleted is not in the index any more. A pack of which more than half was deleted or
    replaced is not taken over; what lives of it is read again.
  - Where the bucket keeps versions, those of the moment at which it is listed are read, whatever is written meanwhile.
    Elsewhere what is written while the bucket is read may be in the set or not, each object whole.
  - Only what is the instance's is saved. That is the folders of its tenants, C(t_*/) and the one that is called like
    the default schema, mostly C(public/). From authentik 2025.12 on they lie in C(media/) and C(reports/). What
    else lies there is not saved, and named in a warning.
  - The objects go from the bucket to the store through the controller, several at a time. Access control lists and
    tags are not saved.
attributes:
  action:
    description: Runs on the controller through an action plugin; the host only tells where the files are.
    support: full
  check_mode:
    support: full
    details:
      - Lists the bucket and reads no object.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - Objects that did not change are not read again.
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.instance
  - authentik_ops.recovery.storage_s3
options:
  backup_set:
    description:
      - The unfinished backup set on the controller into which the objects are saved.
      - Open it with M(authentik_ops.recovery.authentik_backup_set).
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
        description: Id of the set, such as V(20261122T031500Z-7f3a).
        type: str
        required: true
      s3:
        description:
          - How the endpoint of a store in a bucket is reached, as the option of that name of
            M(authentik_ops.recovery.authentik_store_info).
        type: dict
"""

EXAMPLES = r"""
- name: Save the bucket into the backup set that was opened
  authentik_ops.recovery.authentik_s3_objects:
    backup_set:
      store: /srv/backups
      instance: sso
      id: "{{ backup_set.id }}"

- name: The same where the controller reaches the endpoint under another address
  authentik_ops.recovery.authentik_s3_objects:
    backup_set:
      store: /srv/backups
      instance: sso
      id: "{{ backup_set.id }}"
    storage_s3:
      endpoint_url: https://s3.example.com
      profile: backup
"""

RETURN = r"""
components:
  description: What was saved, in one record.
  returned: success, not in check mode
  type: list
  elements: dict
  sample:
    - component: s3
      bucket: authentik
      artifacts:
        - path: s3/index.json
        - path: s3/objects-20261122T031500Z-7f3a.tar
      objects: 1234
      bytes: 56789012
      read: 3
      read_bytes: 34567
      deleted: 1
      unchanged_since: null
      warnings: []
plan:
  description: What would be saved.
  returned: in check mode
  type: list
  elements: str
  sample:
    - "s3: s3://authentik, 1234 objects, 54.2 MiB"
"""

from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import (
    INSTANCE_SPEC,
    PRODUCER_SPEC,
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
    run_module({**INSTANCE_SPEC, **STORAGE_S3_SPEC, "backup_set": PRODUCER_SPEC["backup_set"]}, body)


if __name__ == "__main__":
    main()
