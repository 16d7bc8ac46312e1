#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_prune
short_description: Deletes backup sets of authentik that a policy of retention does not keep
version_added: "1.0.0"
description:
  - Judges the sets of an instance by a policy, says of each whether it stays and why, and deletes the others.
  - Only verified sets count for any rule. What is not verified, pinned, or of the future by its clock, stays and takes
    no other set's place. What is damaged is never deleted.
  - The newest verified set stays under any policy, and so do O(minimum_verified) of them. The rules are applied for
    each component of which a set of the last 31 days holds something, so that a set of the database alone does not take
    the place of a complete one.
  - Nothing is deleted when the newest set is damaged, unfinished or not verified, or when much was lost from one set to
    the next. See O(shrink_limit).
  - Hours, days, ISO weeks, months and years are those of UTC.
  - A set that goes first loses its name, durably, and then its content. Killed at any point the module leaves the whole
    of a set or nothing that is taken for one, and the next run removes the rest. Artifacts that other sets share stay.
  - One run at a time deletes sets of an instance, and none while a backup of it is made. Readers are never kept
    waiting.
extends_documentation_fragment:
  - authentik_ops.recovery.store
  - authentik_ops.recovery.store_s3
options:
  keep_last:
    description: Keep the newest sets, so many, whenever they were made.
    type: int
    default: 0
  keep_hourly:
    description: Of each of so many hours in which a set was made keep the newest one.
    type: int
    default: 0
  keep_daily:
    description: The same for days.
    type: int
    default: 0
  keep_weekly:
    description: The same for ISO weeks, which begin on Monday.
    type: int
    default: 0
  keep_monthly:
    description: The same for months.
    type: int
    default: 0
  keep_yearly:
    description: The same for years.
    type: int
    default: 0
  keep_within:
    description:
      - Keep what was made so long, at most, before the newest set, as a number with V(h), V(d), V(w) or V(y).
      - It counts back from the newest set and not from now, so that nothing ages away when backups stop.
    type: str
    default: 0d
  minimum_verified:
    description:
      - How many verified sets stay whatever the rules say.
      - V(0) is refused without O(may_keep_none).
    type: int
    default: 2
  may_keep_none:
    description: Accept O(minimum_verified=0). The newest verified set stays all the same.
    type: bool
    default: false
  safety_days:
    description:
      - How many days safety sets stay, which restores make of what they replace. They count for no rule.
      - The newest one always stays.
    type: int
    default: 30
  shrink_limit:
    description:
      - The share that has to be left of each count from one verified set to the next, from V(0), which allows any loss,
        to V(1). Counted are the bytes of each component but Redis, the files of directories, the rows of each table,
        and those of all tables. Tables that authentik itself empties, such as events, tasks, sessions and tokens, are
        left out, and so is what is small from the beginning.
      - When less is left nothing is deleted, until the loss was accepted. A loss does not become right because later
        sets have it too.
    type: float
    default: 0.5
  shrink_accepted:
    description:
      - Id of a set. What was lost up to it was looked at and is right. This is kept in the store.
    type: str
  only:
    description:
      - Delete none but these ids, which a run in check mode returned as RV(deleted). Others stay for now.
    type: list
    elements: str
attributes:
  action:
    description: Runs on the controller through an action plugin; the host is not contacted.
    support: full
  check_mode:
    description: Can run without changing anything and says what it would delete.
    support: full
  diff_mode:
    description: Returns the ids of the sets before and after.
    support: full
  idempotent:
    description: Running it twice in a row changes nothing the second time.
    support: full
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
"""

EXAMPLES = r"""
- name: What would go?
  authentik_ops.recovery.authentik_prune:
    store: /srv/backups
    instance: sso
    keep_daily: 7
    keep_weekly: 5
    keep_monthly: 12
  check_mode: true
  register: prune

- name: Delete that
  authentik_ops.recovery.authentik_prune:
    store: /srv/backups
    instance: sso
    keep_daily: 7
    keep_weekly: 5
    keep_monthly: 12
    only: "{{ prune.deleted }}"
"""

RETURN = r"""
plan:
  description: One line for each set, the newest first, with the reasons.
  returned: unless an option is refused
  type: list
  elements: str
  sample:
    - "keep   20261122T031500Z-7f3a: the newest verified set, daily 2026-11-22"
    - "delete 20261001T031500Z-1b2c: of none of the last 7 days"
kept:
  description: Ids of the sets that stay.
  returned: unless an option is refused
  type: list
  elements: str
deleted:
  description: Ids of the sets that were deleted, or in check mode would be.
  returned: unless an option is refused
  type: list
  elements: str
finished:
  description: Ids of sets whose interrupted removal was finished, or in check mode would be.
  returned: unless an option is refused
  type: list
  elements: str
obstacles:
  description: Why nothing is deleted.
  returned: unless an option is refused
  type: list
  elements: str
msg:
  description: What was done.
  returned: always
  type: str
"""
