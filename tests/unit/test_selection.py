# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which sets are to be verified."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._notes import new_check
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._selection import select
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store
from tests.support.store import NOW, publish

DAY = datetime.timedelta(days=1)
NOTHING = datetime.timedelta(0)


def test_all_leaves_out_only_what_was_proved_at_that_level_not_long_ago(store: Store) -> None:
    sets = [publish(store) for _number in range(6)]
    recent, old, decoded, never, unproved, future = sets
    for one, level, when in (
        (old, "checksums", NOW - 3 * DAY),
        (decoded, "decode", NOW - DAY),
        (future, "checksums", NOW + DAY),
    ):
        store.record(one, new_check(level, when, one.manifest_sha256))
    Path(never.path + ".verified.json").unlink()
    store.record(unproved, new_check("decode", NOW, unproved.manifest_sha256, "no pg_restore", unproved=True))

    def chosen(level: str, within: datetime.timedelta) -> list[str]:
        return select(store, ["all"], level, within, NOW)

    every = sorted((one.set_id for one in sets), reverse=True)
    assert chosen("checksums", NOTHING) == every
    assert chosen("checksums", 2 * DAY) == [one.set_id for one in (future, unproved, never, old)]
    assert chosen("decode", 2 * DAY) == [one for one in every if one != decoded.set_id]
    assert recent.set_id in chosen("decode", 2 * DAY)


def test_what_is_damaged_is_meant_too_and_what_is_unfinished_is_not(store: Store) -> None:
    good, failed, broken = publish(store), publish(store), publish(store)
    store.record(failed, new_check("checksums", NOW, failed.manifest_sha256, "damaged"))
    Path(broken.path, "manifest.json").unlink()
    store.open(NOW, b"\x01\x02", 1)
    assert select(store, ["all"], "checksums", 2 * DAY, NOW) == [broken.set_id, failed.set_id]
    # The newest is the one to be looked at, whatever is wrong with it.
    assert select(store, ["latest"], "checksums", 2 * DAY, NOW) == [broken.set_id]
    assert select(store, [good.set_id, "latest", good.set_id], "checksums", DAY, NOW) == [broken.set_id, good.set_id]
    assert select(store, [], "checksums", DAY, NOW) == []


def test_latest_is_a_backup(store: Store) -> None:
    with pytest.raises(InputError, match="no backup of instance sso"):
        select(store, ["latest"], "checksums", DAY, NOW)
    backup = publish(store)
    safety = publish(store, restore_id="20261122T040000Z-1b2c")
    assert select(store, ["latest"], "checksums", DAY, NOW) == [backup.set_id]
    assert select(store, ["all"], "checksums", NOTHING, NOW) == [safety.set_id, backup.set_id]
    with pytest.raises(InputError, match="not the id"):
        select(store, ["newest"], "checksums", DAY, NOW)
