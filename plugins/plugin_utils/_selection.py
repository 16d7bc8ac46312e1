# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Which sets are to be verified."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import check_id, is_id, parse_utc
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._notes import LEVELS, proved
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import LATEST, BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store

ALL = "all"


def select(
    store: Store, wanted: t.Sequence[str], level: str, within: datetime.timedelta, now: datetime.datetime
) -> list[str]:
    """Return the ids of the sets that are meant, newest first, the damaged ones too: they are to be named.

    :param wanted: ids, V(latest) for the newest backup, V(all) for every set.
    :param within: leave out of V(all) what was proved at this level, or a higher one, so short a time ago; zero for
        nothing.
    :raises InputError: for anything else, and when there is no set for C(latest).
    """
    if not wanted:
        return []
    sets, problems = store.list_sets(recheck=True)
    broken = [one.name for one in problems if is_id(one.name)]
    chosen: set[str] = set()
    for name in wanted:
        if name == ALL:
            chosen.update(broken)
            chosen.update(one.set_id for one in sets if not _proved_since(one, level, within, now))
        elif name == LATEST:
            backups = broken + [one.set_id for one in sets if not one.restore_id]
            if not backups:
                raise InputError("The store holds no backup of instance %s" % store.instance, "Make one first")
            chosen.add(max(backups))
        else:
            chosen.add(check_id(name))
    return sorted(chosen, reverse=True)


def _proved_since(backup_set: BackupSet, level: str, within: datetime.timedelta, now: datetime.datetime) -> bool:
    enough = LEVELS[LEVELS.index(level) :]
    if len(proved(backup_set.verified)) != len(backup_set.verified):
        return False
    for check in proved(backup_set.verified):
        try:
            age = now - parse_utc(check["time"])
        except (KeyError, ValueError):
            continue
        # What a clock of the future noted may be as old as the set.
        if check["level"] in enough and datetime.timedelta(0) <= age < within:
            return True
    return False
