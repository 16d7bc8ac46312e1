# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One restore at a time, and no backup of what is half new: real playbooks beside each other, and killed ones.

The tests build on each other, in their order.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.demo.instance import Picture
from tests.support.playbook import Run
from tests.support.site import NAME, Site, differences, killed, leave, shown

HELD, DEAD, AGAIN, FOREIGN, ROBBED = ("202511%02dT040000Z-1b2c" % day for day in (1, 2, 3, 4, 5))
_WAIT = """\
[open({held!r}, "w").close(), any(__import__("time").sleep(0.1) for _ in
 iter(lambda: __import__("os").path.exists({gate!r}), False))][1]"""
_PATIENCE = 300


@pytest.fixture(scope="module")
def old(site: Site) -> Picture:
    """What the instance holds before its restores; the set in the store holds something else."""
    run = site.run("backup")
    assert run.ok, run.output
    leave(site)
    return site.instance.picture()


@contextmanager
def held(site: Site, module: str, condition: str, playbook: str, **variables: Any) -> Iterator[Any]:
    """Start a playbook and hold it where a condition holds in a module, after its work; it goes on at the end."""
    here, gate = site.root / "held", site.root / "gate"
    here.unlink(missing_ok=True)
    gate.touch()
    wait = " ".join(_WAIT.format(held=str(here), gate=str(gate)).split("\n"))
    collections = site.copy_collection({module: "(%s) and %s" % (condition, wait)})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        run = pool.submit(site.run, playbook, collections=collections, **variables)
        try:
            deadline = time.monotonic() + _PATIENCE
            while not here.exists() and not run.done() and time.monotonic() < deadline:
                time.sleep(0.1)
            assert here.exists(), run.result().output
            yield run
        finally:
            gate.unlink()


def record_of(site: Site, restore_id: str) -> Path:
    return site.instance.root / "var/lib/authentik-recovery" / restore_id / "restore.json"


def read(site: Site, restore_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(record_of(site, restore_id).read_text())
    return found


def refused(run: Run, *words: str) -> None:
    """The run failed, and said why and what to do."""
    assert not run.ok, run.output
    for word in words:
        assert word in run.failures[-1].result["msg"], run.output


def test_a_second_restore_is_refused_while_the_first_prepares(site: Site, old: Picture) -> None:
    with held(site, "authentik_config_restore", "ctx.params['step'] == 'prepare'", "restore", restore_id=HELD) as first:
        owner = read(site, HELD)["owner"]
        refused(
            site.run("restore"),
            "The restore %s of %s" % (HELD, NAME),
            "under way: by %s on %s (process %s)" % (owner["user"], owner["host"], owner["pid"]),
            "Next: ps -f -p %s" % owner["pid"],
            "Nothing was changed.",
        )
        refused(site.run("rollback"), "The restore %s of %s" % (HELD, NAME))
        check = site.run("restore", check=True)
        assert check.ok, check.output
        assert "The restore %s of %s" % (HELD, NAME) in shown(check)
        # It lives: the module gives signs while it works.
        os.utime(record_of(site, HELD), (0, 0))
        deadline = time.monotonic() + 60
        while record_of(site, HELD).stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.5)
        assert time.time() - record_of(site, HELD).stat().st_mtime < 60
        # Everything live is of one state yet.
        before = len(site.sets())
        run = site.run("backup")
        assert run.ok, run.output
        assert len(site.sets()) == before + 1
        assert differences(old, site.instance.picture()) == []
    assert first.result().rc == 0, first.result().output
    assert differences(old, site.instance.picture())
    assert (read(site, HELD)["state"], read(site, HELD)["owner"], read(site, HELD)["phase"]) == ("done", {}, "")
    run = site.run("rollback")
    assert run.ok, run.output
    assert differences(old, site.instance.picture()) == []


def test_what_was_exchanged_while_it_was_saved_is_no_set(site: Site, old: Picture) -> None:
    before = site.sets()
    with held(site, "authentik_pg_dump", "True", "backup") as first:
        run = site.run("restore", backup_id=before[0].name)
        assert run.ok, run.output
    assert first.result().rc != 0
    assert "While this backup was made, the restore" in first.result().output
    assert "Nothing of this backup was kept." in first.result().output
    assert site.sets() == before
    run = site.run("rollback")
    assert run.ok, run.output
    assert differences(old, site.instance.picture()) == []


def test_no_backup_is_made_of_what_a_killed_restore_left_half_new(site: Site, old: Picture) -> None:
    before = site.sets()
    killed(site, "authentik_pg_restore", "ctx.params['step'] == 'swap'", DEAD, backup_id=before[0].name)
    assert (read(site, DEAD)["state"], read(site, DEAD)["phase"]) == ("running", "swap")
    for check in (True, False):
        refused(
            site.run("backup", check=check),
            "The restore %s ended between old and new" % DEAD,
            "Next: ansible-playbook authentik_ops.recovery.rollback -e authentik_restore_id=%s" % DEAD,
        )
    assert site.sets() == before
    run = site.run("rollback")
    assert run.ok, run.output
    assert differences(old, site.instance.picture()) == []
    run = site.run("backup")
    assert run.ok, run.output
    assert len(site.sets()) == len(before) + 1


def test_the_next_plain_restore_after_a_killed_one_succeeds_at_once(site: Site, old: Picture) -> None:
    good = site.sets()[0].name
    killed(site, "authentik_pg_restore", "ctx.params['step'] == 'swap'", AGAIN, backup_id=good)
    site.saves_first = True
    try:
        run = site.run("restore", backup_id=good)
    finally:
        site.saves_first = False
    assert run.ok, run.output
    assert "is dead; its last sign of life was" in run.output
    assert "it saves what the restore %s left, which ended between old and new" % AGAIN in shown(run)
    assert read(site, AGAIN)["owner"] == {}
    restored = site.instance.picture()
    assert differences(old, restored)
    # All that was half new is new now.
    run = site.run("backup")
    assert run.ok, run.output
    for run in (site.run("rollback"), site.run("rollback", restore_id=AGAIN)):
        assert run.ok, run.output
    assert differences(old, site.instance.picture()) == []


def test_another_controller_waits_for_the_last_sign_of_life_and_no_longer(site: Site, old: Picture) -> None:
    killed(site, "authentik_config_restore", "ctx.params['step'] == 'prepare'", FOREIGN)
    path, record = record_of(site, FOREIGN), read(site, FOREIGN)
    record["owner"].update(place="elsewhere", id="elsewhere:1:1", host="ops2")
    path.write_text(json.dumps(record))
    refused(site.run("restore"), "on ops2", "dead 5 min 0 s after its last sign of life", "Nothing was changed.")
    # The clock was an hour ahead when it gave that sign: no reason to wait for an hour.
    later = time.time() + 3600
    os.utime(path, (later, later))
    check = site.run("restore", check=True)
    assert check.ok, check.output
    assert "ops2" not in shown(check)
    os.utime(path, (later - 7200, later - 7200))
    run = site.run("rollback")
    assert run.ok, run.output
    assert differences(old, site.instance.picture()) == []


def test_a_run_that_was_taken_for_dead_changes_nothing_more(site: Site, old: Picture) -> None:
    with held(site, "authentik_services", "ctx.params['remember']", "restore", restore_id=ROBBED) as first:
        path, record = record_of(site, ROBBED), read(site, ROBBED)
        path.write_text(json.dumps({**record, "owner": {}}))
    assert first.result().rc != 0
    assert "This run was taken for dead" in first.result().output
    assert differences(old, site.instance.picture()) == []
    assert read(site, ROBBED)["state"] == "running"
    run = site.run("rollback")
    assert run.ok, run.output
    assert differences(old, site.instance.picture()) == []
