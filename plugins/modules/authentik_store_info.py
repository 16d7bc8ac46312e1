#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_store_info
short_description: Tells of which authentik instances a store holds backup sets
version_added: "1.0.0"
description:
  - Returns the names of the instances of which a store holds anything, so that all of them can be listed.
extends_documentation_fragment:
  - authentik_ops.recovery.store_s3
options:
  store:
    description:
      - Folder on the controller that holds all backup sets, or V(s3://BUCKET/PREFIX) for a store in a bucket.
      - It is an error when it does not exist.
    type: str
    required: true
attributes:
  action:
    description: Runs on the controller through an action plugin; the host is not contacted.
    support: full
  check_mode:
    description: Can run without changing anything.
    support: full
  diff_mode:
    description: Returns what has changed in diff mode.
    support: N/A
    details: Nothing is changed.
  idempotent:
    description: Running it twice in a row changes nothing the second time.
    support: full
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
seealso:
  - module: authentik_ops.recovery.authentik_backup_set_info
"""

EXAMPLES = r"""
- name: Find the instances in a bucket
  authentik_ops.recovery.authentik_store_info:
    store: s3://backups/authentik
    s3:
      endpoint_url: https://s3.example.com
  register: store

- name: List their sets
  authentik_ops.recovery.authentik_backup_set_info:
    store: s3://backups/authentik
    s3:
      endpoint_url: https://s3.example.com
    instance: "{{ item }}"
  loop: "{{ store.instances }}"
"""

RETURN = r"""
location:
  description: Where the store lies, in full.
  returned: success
  type: str
  sample: s3://backups/authentik
instances:
  description: Names of the instances, sorted.
  returned: success
  type: list
  elements: str
  sample: [sso.example.org]
"""
