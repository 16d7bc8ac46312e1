# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A restore for a disk that does not hold both: what is live goes first, and its safety set brings it back.

The tests build on each other, in their order.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.demo.instance import Picture
from tests.integration.test_rollback import records
from tests.support.site import Site, differences, killed, leave, shown

FIRST, SECOND, THIRD, FOURTH = ["2026112%dT050000Z-2c3d" % day for day in range(1, 5)]


@pytest.fixture(scope="module", autouse=True)
def as_at_a_users(site: Site) -> None:
    """Restores save first what they replace."""
    site.saves_first = True


@pytest.fixture(scope="module")
def good(site: Site) -> Picture:
    """What the backup in the store holds."""
    run = site.run("backup")
    assert run.ok, run.output
    return site.instance.picture()


@pytest.fixture(scope="module")
def old(site: Site, good: Picture) -> Picture:
    """What the live instance holds before its restores: something else."""
    leave(site)
    picture = site.instance.picture()
    assert differences(good, picture)
    return picture


def backup_of(site: Site) -> str:
    """The id of the one set that is no safety set."""
    (found,) = [path.name for path in site.sets() if "purpose" not in json.loads((path / "manifest.json").read_text())]
    return found


def pinned(site: Site) -> list[str]:
    return sorted(path.name.split(".")[0] for path in site.store.glob("*/*.pinned.json"))


@contextmanager
def watched(site: Site) -> Iterator[list[set[str]]]:
    """Which databases there are, looked at all the time."""
    seen: list[set[str]] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            seen.append(set(site.instance.postgres.databases()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


@contextmanager
def damaging(site: Site) -> Iterator[list[Path]]:
    """Alter one byte of the dump of the next set right after it was published."""
    known, stop = set(site.sets()), threading.Event()
    done: list[Path] = []

    def look() -> None:
        while not stop.is_set() and not done:
            for folder in set(site.sets()) - known:
                (dump,) = (folder / "postgresql").glob("authentik.dump*")
                dump.chmod(0o600)
                with dump.open("r+b", buffering=0) as stream:
                    stream.seek(dump.stat().st_size // 2)
                    (byte,) = stream.read(1)
                    stream.seek(-1, os.SEEK_CUR)
                    stream.write(bytes([byte ^ 1]))
                done.append(dump)
            time.sleep(0.001)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


@contextmanager
def while_saving(site: Site, restore_id: str) -> Iterator[list[dict[str, Any]]]:
    """The record of a restore, looked at while a set is being made."""
    seen: list[dict[str, Any]] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            if any(site.store.glob("*/*.partial/*")):
                seen.append(records(site)[restore_id])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def contradict(site: Site) -> str:
    """Copy the backup as a set whose fingerprint says other rows than its dump has; return its id."""
    source = site.store / "sso.example.org" / backup_of(site)
    name = "20200101T000000Z-0bad"
    target = source.parent / name
    shutil.copytree(source, target)
    for path in (target, *target.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    text = (target / "manifest.json").read_text()
    manifest = json.loads(text)
    tables = manifest["components"]["postgresql"]["fingerprint"]["tables"]
    digest = tables["public.authentik_core_user"]["digest"]
    altered = text.replace(json.dumps(source.name), json.dumps(name))
    altered = altered.replace(json.dumps(digest), json.dumps(digest[:-1] + ("0" if digest[-1] != "0" else "1")))
    (target / "manifest.json").write_text(altered)
    sums = (target / "SHA256SUMS").read_text()
    before, after = [hashlib.sha256(one.encode()).hexdigest() for one in (text, altered)]
    assert before in sums
    (target / "SHA256SUMS").write_text(sums.replace(before, after))
    return name


def test_without_a_safety_set_nothing_is_removed(site: Site, old: Picture) -> None:
    run = site.run("restore", restore_mode="in_place", safety_set=False)
    assert not run.ok
    assert "leave out authentik_safety_set=false" in run.message, run.output
    run = site.run("restore", restore_mode="inplace")
    assert not run.ok
    assert differences(old, site.instance.picture()) == []
    assert len(site.sets()) == 1


def test_check_mode_tells_what_would_be_removed(site: Site, old: Picture) -> None:
    run = site.run("restore", check=True, restore_mode="in_place")
    assert run.ok, run.output
    told = shown(run)
    assert "is DROPPED before the copy is loaded" in told
    for folder in site.instance.folders:
        assert "what %s holds now would be REMOVED before the copy is unpacked" % folder in told
    assert "safety set: what is there now is saved first: database authentik (" in told
    assert "when that fails, the safety set is restored at once" in told
    assert differences(old, site.instance.picture()) == []
    assert (len(site.sets()), records(site), pinned(site)) == (1, {}, [])


def test_no_two_copies_are_there_at_any_moment(site: Site, good: Picture, old: Picture) -> None:
    with watched(site) as seen:
        run = site.run("restore", restore_mode="in_place", restore_id=FIRST)
    assert run.ok, run.output
    assert differences(good, site.instance.picture()) == []
    assert max(map(len, seen)) == 1
    assert any("authentik_load_" in name for names in seen for name in names), "the load was not seen"
    assert site.leftovers() == []
    record = records(site)[FIRST]
    assert (record["mode"], record["state"], record["gone"]) == ("in_place", "done", False)
    assert record["safety_set"] == site.sets()[-1].name
    assert pinned(site) == [record["safety_set"]]
    assert "in that safety set alone" in shown(run)


def test_a_finished_one_is_taken_back_by_its_safety_set(site: Site, good: Picture, old: Picture) -> None:
    cleanup = site.run("cleanup", cleanup_days=0)
    assert cleanup.ok, cleanup.output
    away = site.store.rename(site.root / "away")
    run = site.run("rollback")
    assert not run.ok
    told = run.failures[-1].result["msg"]
    assert "its only way back is the safety set %s" % records(site)[FIRST]["safety_set"] in told, run.output
    assert differences(good, site.instance.picture()) == []
    away.rename(site.store)
    check = site.run("rollback", check=True)
    assert check.ok, check.output
    assert "Would undo the restore %s" % FIRST in shown(check)
    assert differences(good, site.instance.picture()) == []
    assert records(site)[FIRST]["owner"] == {}, "what changed nothing is nobody's any more"
    with watched(site) as seen, while_saving(site, FIRST) as saving:
        run = site.run("rollback")
    assert run.ok, run.output
    # Another one that comes meanwhile is refused before it makes a set.
    assert {bool(one["owner"]) for one in saving} == {True}
    assert {one["phase"] for one in saving} == {""}, "nothing is exchanged yet"
    assert differences(old, site.instance.picture()) == []
    assert max(map(len, seen)) == 1
    assert site.leftovers() == []
    assert (records(site)[FIRST]["state"], records(site)[FIRST]["gone"], pinned(site)) == ("undone", False, [])
    # What had been restored, and may have been written to since, is in a set as well.
    assert "what had been restored is kept as the safety set %s" % site.sets()[-1].name in shown(run)
    assert len(site.sets()) == 3


def test_a_safety_set_that_is_damaged_is_noticed_before_anything_is_removed(site: Site, old: Picture) -> None:
    with damaging(site) as dumps, watched(site) as seen:
        run = site.run("restore", restore_mode="in_place", components=["postgresql", "certs"])
    assert len(dumps) == 1
    assert not run.ok
    told = run.failures[-1].result["msg"]
    assert "does not hold what it should, and nothing was removed" in told, run.output
    assert "Everything was put back; the services are as they were found." in told
    assert all(names == {"authentik"} for names in seen)
    assert differences(old, site.instance.picture()) == []
    shutil.rmtree(dumps[0].parent.parent)


def test_a_failure_after_the_drop_brings_back_exactly_what_was_there(site: Site, old: Picture) -> None:
    forged = contradict(site)
    run = site.run("restore", restore_mode="in_place", backup_id=forged)
    shutil.rmtree(site.store / "sso.example.org" / forged)
    assert not run.ok
    told = run.failures[-1].result["msg"]
    assert "is not what was backed up" in told, run.output
    safety = site.sets()[-1].name
    assert "It was restored from the safety set %s and proved; the services are as they were found." % safety in told
    assert differences(old, site.instance.picture()) == []
    assert site.leftovers() == []
    (record,) = [one for one in records(site).values() if one["set_id"] == forged]
    assert (record["state"], record["gone"], record["safety_set"]) == ("put_back", False, safety)


def test_killed_after_the_drop_a_plain_restore_goes_on(site: Site, good: Picture, old: Picture) -> None:
    killed(site, "authentik_pg_restore", "ctx.params['step'] == 'clear'", SECOND, restore_mode="in_place")
    assert site.instance.postgres.databases() == []
    assert (records(site)[SECOND]["state"], records(site)[SECOND]["gone"]) == ("running", True)
    safety, count = records(site)[SECOND]["safety_set"], len(site.sets())
    check = site.run("restore", check=True)
    assert check.ok, check.output
    assert "the safety set %s, made before it, holds that" % safety in shown(check)
    assert "-e authentik_restore_id=%s" % SECOND in shown(check)
    run = site.run("restore", restore_id=THIRD)
    assert run.ok, run.output
    assert differences(good, site.instance.picture()) == []
    assert len(site.sets()) == count, "of what is half gone no set is made"
    assert records(site)[THIRD]["safety_set"] == safety
    run = site.run("rollback")
    assert run.ok, run.output
    assert differences(old, site.instance.picture()) == []
    assert records(site)[THIRD]["state"] == "undone"


def test_killed_after_the_drop_a_rollback_goes_back(site: Site, old: Picture) -> None:
    killed(site, "authentik_pg_restore", "ctx.params['step'] == 'clear'", FOURTH, restore_mode="in_place")
    assert site.instance.postgres.databases() == []
    count = len(site.sets())
    run = site.run("rollback")
    assert run.ok, run.output
    assert differences(old, site.instance.picture()) == []
    assert (records(site)[FOURTH]["state"], records(site)[FOURTH]["gone"]) == ("undone", False)
    assert (len(site.sets()), site.leftovers()) == (count, [])


def test_when_even_the_safety_set_cannot_be_restored_the_way_is_told(site: Site, old: Picture) -> None:
    broken = site.copy_collection({"authentik_pg_restore": "ctx.params['step'] == 'prepare'"})
    run = site.run("restore", restore_mode="in_place", collections=broken)
    assert not run.ok
    told = run.failures[-1].result["msg"]
    assert "authentik is DOWN" in told, run.output
    assert "The services were left stopped." in told
    safety = site.sets()[-1].name
    assert "authentik_ops.recovery.restore" in told
    assert told.rstrip().splitlines()[-2].endswith("-e authentik_backup_id=" + safety)
    run = site.run("restore", backup_id=safety)
    assert run.ok, run.output
    assert differences(old, site.instance.picture()) == []
    assert os.path.isdir(site.store / "sso.example.org" / safety)


def test_where_nothing_is_there_nothing_is_removed_first(site: Site, good: Picture) -> None:
    site.instance.disaster()
    for folder in site.instance.folders:
        shutil.rmtree(folder, ignore_errors=True)
    run = site.run("restore", restore_mode="in_place", components=["postgresql", "media"])
    assert run.ok, run.output
    assert "safety set: none is made, since there is nothing that it could hold" in shown(run)
    assert site.instance.postgres.databases() == ["authentik"]
    assert (site.instance.folders[0] / "public" / "application-icons").is_dir()
