#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_backup_set
short_description: Opens, publishes, discards and pins backup sets of authentik in a store on the controller
version_added: "1.0.0"
description:
  - A backup set is opened, filled by the producing modules through their O(ignore:backup_set) option, and published.
  - Until it is published it lies in C(<store>/<instance>/<id>.partial) and no list shows it. Publishing reads every
    artifact back, writes C(SHA256SUMS) and C(manifest.json), and makes the set visible by one rename.
  - Unfinished sets of runs that were killed are removed when the next set is opened.
extends_documentation_fragment:
  - authentik_ops.recovery.store
  - authentik_ops.recovery.store_s3
options:
  state:
    description:
      - With V(open) a new set is started and its id returned.
      - With V(published) the component records are merged into the manifest and the set becomes visible.
      - With V(discarded) an unfinished set is removed. A published set is never touched.
      - With V(pinned) a published set is kept whatever a policy of retention says, until it is V(unpinned).
        C(<id>.pinned.json) beside the set says so, with the O(reason).
    type: str
    required: true
    choices: [open, published, discarded, pinned, unpinned]
  id:
    description: Id of the set. Required unless O(state=open).
    type: str
  instance_facts:
    description:
      - What the manifest says about the instance. It may hold C(deployment), C(authentik_version) (with C(value),
        C(source) and, where a later train had run before, C(newer)), C(train), C(install_id_sha256) and
        C(secret_key_fingerprint).
      - Facts that are left out are taken from the component records where these hold them.
      - Used with O(state=published).
    type: dict
    default: {}
  restore_id:
    description:
      - Id of the restore before which the set was made, of what that restore replaces.
      - It makes the set a safety set, which V(latest) passes over.
      - Used with O(state=published).
    type: str
  allow_ephemeral:
    description:
      - Whether the store may lie where it is gone when the job or its machine ends. That is in memory (tmpfs) or, in an
        execution environment or another container, its own file system, an C(emptyDir) volume of its pod, or the
        folder that ansible-runner makes for the job.
      - Used with O(state=open), which refuses such a place otherwise.
    type: bool
    default: false
  reason:
    description:
      - Why the set is kept, for whoever wonders later. Required with O(state=pinned).
    type: str
  encryption_recipients:
    description:
      - Public keys that all artifacts of the set are encrypted to, with age, while they arrive. Each of the matching
        identities can read the set alone; without one nobody can, this machine included.
      - age keys (C(age1...)) and keys C(ssh-ed25519) and C(ssh-rsa). A mistaken one is refused before a set is opened.
      - The set is not encrypted when there is none.
      - Used with O(state=open). Needs the Python package C(pyrage) on the controller.
    type: list
    elements: str
    default: []
  require_encryption:
    description:
      - Refuse to open a set without O(encryption_recipients).
      - Used with O(state=open).
    type: bool
    default: false
attributes:
  action:
    description: Runs on the controller through an action plugin; the host is not contacted.
    support: full
  check_mode:
    description: Can run without changing anything and says what it would do.
    support: full
  diff_mode:
    description: Returns what has changed in diff mode.
    support: none
    details: A set is made of artifacts whose bytes are no text to compare.
  idempotent:
    description: Running it twice in a row changes nothing the second time.
    support: partial
    details: Every O(state=open) starts a new set. The other states are idempotent.
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
"""

EXAMPLES = r"""
- name: Open a backup set
  authentik_ops.recovery.authentik_backup_set:
    store: /srv/backups
    instance: sso
    state: open
  register: backup_set

- name: Open one that only the holder of that identity can read
  authentik_ops.recovery.authentik_backup_set:
    store: /srv/backups
    instance: sso
    state: open
    encryption_recipients:
      - age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
  register: backup_set

- name: Save the database into it
  authentik_ops.recovery.authentik_pg_dump:
    backup_set:
      store: /srv/backups
      instance: sso
      id: "{{ backup_set.id }}"

- name: Publish it
  authentik_ops.recovery.authentik_backup_set:
    store: /srv/backups
    instance: sso
    state: published
    id: "{{ backup_set.id }}"
    instance_facts:
      deployment: host

- name: Keep it whatever a policy says
  authentik_ops.recovery.authentik_backup_set:
    store: /srv/backups
    instance: sso
    state: pinned
    id: "{{ backup_set.id }}"
    reason: the last one before the upgrade to 2026.2
"""

RETURN = r"""
id:
  description: Id of the set.
  returned: success
  type: str
  sample: 20261122T031500Z-7f3a
path:
  description: Folder of the set once it is published.
  returned: with O(state=open) and O(state=published)
  type: str
free_bytes:
  description: Bytes that may still be written in the store; V(none) for a bucket, of which nobody knows that.
  returned: with O(state=open)
  type: int
file_system:
  description: What holds the sets, to be told from other file systems by C(device). Null for a store that is no folder.
  returned: with O(state=open)
  type: dict
  sample:
    path: /srv/backups/sso
    device: "5d9c64d3-6f3c-4a0e-9c5f-3f6f0e0a7f55:65025"
    available: 5368709120
    unseen: ""
recipients:
  description: The public keys that the set is encrypted to; none when it is not encrypted.
  returned: with O(state=open) and O(state=published)
  type: list
  elements: str
size:
  description: Stored bytes of all artifacts.
  returned: with O(state=published)
  type: int
seconds:
  description: Seconds from opening to publishing.
  returned: with O(state=published)
  type: float
components:
  description: Names of the components in the set.
  returned: with O(state=published)
  type: list
  elements: str
artifacts:
  description: The manifest's entries of the artifacts.
  returned: with O(state=published)
  type: list
  elements: dict
msg:
  description: What was done.
  returned: always
  type: str
"""
