#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_backup_set_info
short_description: Lists, describes and verifies backup sets of authentik in a store on the controller
version_added: "1.0.0"
description:
  - Lists the backup sets of an instance, newest first, or returns one with its whole manifest.
  - Only a set with a valid manifest, all artifacts in their recorded size and no failed verification is listed.
    Everything else in the store is returned under RV(problems) with the reason.
extends_documentation_fragment:
  - authentik_ops.recovery.store
  - authentik_ops.recovery.store_s3
options:
  backup_id:
    description:
      - Id of one set, or V(latest) for the newest one. Its manifest is returned too.
      - With V(latest), what is newer and damaged or unfinished is passed over, with a warning that gives the reasons.
      - V(latest) passes over safety sets, too, which hold what restores replaced. Where there is no other set, it is
        the newest of these.
      - It is an error when there is no such set or when it is damaged.
    type: str
  verify:
    description:
      - Read every artifact to its end and compare size and checksum with the manifest.
      - What was proved, or failed, is recorded in C(<id>.verified.json) beside the set, except in check mode.
      - With an identity the content of encrypted sets is read and compared, too; without one, what is stored of them.
    type: bool
    default: false
  select:
    description:
      - Sets that are to be verified, of which the ids are returned as RV(selected), the damaged ones too.
      - Ids, V(latest) for the newest backup, V(all) for every set.
    type: list
    elements: str
    default: []
  select_level:
    description:
      - The level at which O(select) is to be verified.
    type: str
    choices: [checksums, decode, restore]
    default: checksums
  select_days:
    description:
      - Leave out of V(all) what was proved at O(select_level), or a higher level, within this number of days.
    type: int
    default: 0
  readable:
    description:
      - It is an error when the set is encrypted and cannot be read, be it that there is no identity or that it is not
        that of a recipient, or when its manifest is not the one that was sealed with it.
      - Used with O(backup_id).
    type: bool
    default: false
  identity_file:
    description:
      - File on the controller with the identity of one of the recipients of encrypted sets, or with several. That is an
        age identity (C(AGE-SECRET-KEY-1...)), or an C(ssh-ed25519) or C(ssh-rsa) key without passphrase.
      - All identities that the file, the command and the environment variable E(AUTHENTIK_RECOVERY_IDENTITY) hold are
        tried.
      - Used with O(verify) and O(readable).
    type: path
  identity_command:
    description:
      - A program on the controller, with its arguments, that prints what such a file holds.
      - Used with O(verify) and O(readable).
    type: list
    elements: str
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
    details: No set is changed.
  idempotent:
    description: Running it twice in a row changes nothing the second time.
    support: full
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
"""

EXAMPLES = r"""
- name: List the sets
  authentik_ops.recovery.authentik_backup_set_info:
    store: /srv/backups
    instance: sso
  register: list

- name: Prove that the newest set is whole
  authentik_ops.recovery.authentik_backup_set_info:
    store: /srv/backups
    instance: sso
    backup_id: latest
    verify: true
"""

RETURN = r"""
sets:
  description: The sets, newest first; one with O(backup_id).
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the set.
      type: str
    path:
      description: Its folder.
      type: str
    purpose:
      description: V(backup), or V(safety) for what was saved before a restore replaced it.
      type: str
    restore_id:
      description: Of a safety set the id of that restore, else null.
      type: str
    age:
      description: Its age as text.
      type: str
    age_seconds:
      description: Its age in seconds.
      type: int
    authentik_version:
      description: Version of authentik when it was made, null when it could not be found.
      type: str
    size:
      description: Stored bytes of all artifacts.
      type: int
    size_text:
      description: The size as text.
      type: str
    encryption:
      description: V(age), or V(none).
      type: str
    recipients:
      description: The public keys that it is encrypted to.
      type: list
      elements: str
    components:
      description: Components of which the set holds artifacts.
      type: list
      elements: str
    seconds:
      description: Seconds that the backup took.
      type: float
    verified:
      description: What was proved of it, each with C(level) and C(time), the highest level last.
      type: list
      elements: dict
    unproved:
      description: What could not be verified though nothing is known to be wrong, with C(level), C(time), C(reason).
      type: list
      elements: dict
    pinned:
      description: Why it is kept whatever a policy of retention says, null when it is not pinned.
      type: str
problems:
  description:
    - What lies in the store and is not a set, each with C(name), C(reason) and C(unfinished).
    - With O(backup_id=latest) what was passed over. Empty with an id.
  returned: success
  type: list
  elements: dict
safety_sets:
  description: The safety sets that are newer than the chosen one, as in RV(sets). Empty with an id.
  returned: with O(backup_id)
  type: list
  elements: dict
selected:
  description: Ids of the sets that O(select) means, newest first.
  returned: success
  type: list
  elements: str
manifest:
  description: The whole manifest.
  returned: with O(backup_id)
  type: dict
"""
