#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_backup_set_copy
short_description: Copies backup sets of authentik from one store to another
version_added: "1.0.0"
description:
  - Copies sets byte for byte, as they are stored. They keep their ids, manifests and encryption, so no identity is
    needed, and a copy is restored like the original.
  - Each artifact is compared with the manifest while it is read, and read back from the other store before the copy
    becomes visible there. That is recorded beside it as a verification; those of the original are not carried over.
  - What another set in the other store shares with a set, by the manifest, is not sent again.
  - A pin goes along with its set.
  - A set that is there already is left alone. One of the same id with another manifest is an error.
  - A set that cannot be copied does not keep the others from it. The task fails at the end.
extends_documentation_fragment:
  - authentik_ops.recovery.store
  - authentik_ops.recovery.store_s3
options:
  to_store:
    description: The store to copy to, a folder on the controller or V(s3://BUCKET/PREFIX).
    type: str
    required: true
  to_s3:
    description: How the bucket of O(to_store) is reached, with the same suboptions as O(s3).
    type: dict
  sets:
    description: The sets to copy, as their ids, V(latest) for the newest backup, or V(all).
    type: list
    elements: str
    default: [latest]
  allow_ephemeral:
    description:
      - Whether O(to_store) may be a folder that is gone when the job or its machine ends, as it is described at
        M(authentik_ops.recovery.authentik_backup_set).
    type: bool
    default: false
attributes:
  action:
    description: Runs on the controller through an action plugin; the host is not contacted.
    support: full
  check_mode:
    description: Can run without changing anything.
    support: full
    details: Tells which sets would be copied. Their artifacts are not read.
  diff_mode:
    description: Returns what has changed in diff mode.
    support: none
  idempotent:
    description: Running it twice in a row changes nothing the second time.
    support: full
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
seealso:
  - module: authentik_ops.recovery.authentik_backup_set_verify
"""

EXAMPLES = r"""
- name: Have everything elsewhere, too
  authentik_ops.recovery.authentik_backup_set_copy:
    store: /srv/backups
    instance: sso
    sets: [all]
    to_store: s3://backups/authentik
    to_s3:
      endpoint_url: https://s3.example.com

- name: Bring one set back
  authentik_ops.recovery.authentik_backup_set_copy:
    store: s3://backups/authentik
    s3:
      endpoint_url: https://s3.example.com
    instance: sso
    sets: [20261122T031500Z-7f3a]
    to_store: /srv/backups
"""

RETURN = r"""
copied:
  description: Ids of the sets that were copied, or in check mode would be, the oldest first.
  returned: always
  type: list
  elements: str
present:
  description: Ids of the sets that were there already.
  returned: always
  type: list
  elements: str
failures:
  description: The sets that could not be copied, with the reasons.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: Id of the set.
      type: str
    reason:
      description: Why it could not be copied, and what to do.
      type: str
"""
