# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores are taken back by what they wrote on the host, without the store; what they kept is removed in time.

The tests build on each other, in their order.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.demo.instance import PASSWORD, SECRET_KEY, Picture
from tests.support.site import NAME, Site, differences, killed, leave, shown

FIRST, SECOND, THIRD = ("202510%02dT040000Z-1b2c" % day for day in (1, 2, 3))
APART = ("20251016T040000Z-1b2c", "20251126T040000Z-1b2c")


@pytest.fixture(scope="module")
def old(site: Site) -> Picture:
    """What the instance holds before its restores; the set in the store holds something else."""
    run = site.run("backup", components=["postgresql", "media", "redis", "config"])
    assert run.ok, run.output
    leave(site)
    return site.instance.picture()


def records(site: Site) -> dict[str, dict[str, Any]]:
    """The records on the host."""
    paths = sorted((site.instance.root / "var/lib/authentik-recovery").glob("*/restore.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


@contextmanager
def without_store(site: Site) -> Iterator[None]:
    """The store is lost meanwhile."""
    away = site.store.rename(site.root / "away")
    try:
        yield
    finally:
        away.rename(site.store)


def test_there_is_nothing_to_roll_back_before_the_first_restore(site: Site, old: Picture) -> None:
    run = site.run("rollback")
    assert not run.ok
    assert "There is no restore of %s on this host to be rolled back" % NAME in run.message, run.output
    assert "no record of one" in run.message
    assert differences(old, site.instance.picture()) == []


def test_a_restore_is_taken_back_without_the_store(site: Site, old: Picture) -> None:
    run = site.run("restore", restore_id=FIRST)
    assert run.ok, run.output
    restored = site.instance.picture()
    assert differences(old, restored)
    (record,) = records(site).values()
    assert (record["state"], record["set_id"], record["databases"]) == ("done", site.sets()[0].name, ["authentik"])
    assert record["directories"] == [str(site.instance.folders[0])]
    work = site.instance.root / "var/lib/authentik-recovery" / FIRST
    for path in (work / "restore.json", work / "manifest.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for secret in (SECRET_KEY, PASSWORD, site.instance.postgres.password):
            assert json.dumps(secret)[1:-1] not in path.read_text()
    with without_store(site):
        check = site.run("rollback", check=True)
        assert check.ok, check.output
        assert "Would undo the restore %s" % FIRST in shown(check)
        assert differences(restored, site.instance.picture()) == []
        assert records(site)[FIRST] == record
        run = site.run("rollback")
        assert run.ok, run.output
    assert "Undid the restore %s" % FIRST in shown(run)
    assert differences(old, site.instance.picture()) == []
    assert records(site)[FIRST]["state"] == "undone"
    # Again, by mistake: further back is only gone when that is asked for.
    run = site.run("rollback")
    assert run.ok, run.output
    assert "taken back before" in shown(run)
    assert not [result for result in run.results if result.result.get("changed")]


@pytest.mark.parametrize(
    ("module", "condition", "restore_id"),
    [
        # Everything is prepared, nothing swapped.
        ("authentik_config_restore", "ctx.params['step'] == 'prepare'", SECOND),
        # Everything is swapped, and the services not started.
        ("authentik_services", "ctx.params['state'] == 'started'", THIRD),
    ],
)
def test_a_restore_that_was_killed_is_taken_back(
    site: Site, old: Picture, module: str, condition: str, restore_id: str
) -> None:
    killed(site, module, condition, restore_id)
    assert records(site)[restore_id]["state"] == "running"
    if restore_id == SECOND:
        # Whoever begins anew is told.
        check = site.run("restore", check=True)
        assert check.ok, check.output
        assert "A restore was interrupted" in shown(check)
        assert "-e authentik_restore_id=%s" % SECOND in shown(check)
    run = site.run("rollback")
    assert run.ok, run.output
    assert "%s of the set" % restore_id in shown(run)
    assert differences(old, site.instance.picture()) == []
    assert records(site)[restore_id]["state"] == "undone"


def test_the_second_newest_is_taken_back_by_its_id(site: Site, old: Picture) -> None:
    for restore_id in APART:
        run = site.run("restore", restore_id=restore_id)
        assert run.ok, run.output
    run = site.run("rollback", restore_id=APART[0])
    assert run.ok, run.output
    assert differences(old, site.instance.picture()) == []
    assert [records(site)[restore_id]["state"] for restore_id in APART] == ["undone", "done"]


def test_what_restores_kept_goes_but_for_the_way_back_of_the_latest(site: Site, old: Picture) -> None:
    run = site.run("restore")
    assert run.ok, run.output
    restored, kept, latest = site.instance.picture(), site.leftovers(), max(records(site))
    before = [name for name in kept if latest in name or latest.lower().replace("-", "_") in name]
    gone = [name for name in kept if APART[1] in name or APART[1].lower().replace("-", "_") in name]
    assert (len(before), len(gone)) == (2, 2)
    refused = site.run("cleanup", cleanup_days=-1)
    assert not refused.ok
    assert "cleanup_days is -1" in refused.message, refused.output
    check = site.controller.playbook("playbooks/cleanup.yml", {"authentik_cleanup_days": 1}, check=True)
    assert check.ok, check.output
    assert all("%s (" % name in shown(check) for name in kept)
    assert "copies would be removed" in shown(check)
    assert site.leftovers() == kept
    run = site.run("cleanup", cleanup_days=1)
    assert run.ok, run.output
    left = site.leftovers()
    assert set(gone).isdisjoint(left)
    assert set(before) <= set(left)
    # What the latest rollback kept stays, too.
    assert [name for name in left if name not in before] == ["authentik_undone_20251016t040000z_1b2c"]
    assert set(records(site)) == {APART[0], latest}
    assert {path.name for path in (site.instance.root / "var/lib/authentik-recovery").iterdir()} == set(records(site))
    assert differences(restored, site.instance.picture()) == []
    run = site.run("rollback")
    assert run.ok, run.output
    assert differences(old, site.instance.picture()) == []


def test_nothing_is_rolled_back_by_a_record_that_is_damaged(site: Site, old: Picture) -> None:
    path: Path = site.instance.root / "var/lib/authentik-recovery" / APART[0] / "restore.json"
    path.write_text(path.read_text()[:-20])
    run = site.run("rollback", restore_id=APART[0])
    assert not run.ok
    assert "is not known on this host" in run.message
    assert "restore.json is damaged" in run.message
    assert differences(old, site.instance.picture()) == []
