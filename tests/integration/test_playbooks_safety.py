# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore replaces is saved before: what is in it, what is said of it, and what happens where it cannot be.

The tests build on each other, in their order.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.demo.instance import Picture
from tests.support.playbook import BIN
from tests.support.site import Site, differences, leave, shown

RESTORE_ID = "20261122T040000Z-1b2c"
DIRECTORIES = {"media", "certs", "custom-templates", "blueprints"}
# Of the store alone: what passes through the host comes in smaller pieces than that.
FILE_LIMIT_KB = 4000


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest of a set."""
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


def line(said: str, start: str) -> str:
    """The one line that begins so."""
    (found,) = [one for one in said.splitlines() if one.startswith(start)]
    return found


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
def changed(site: Site, good: Picture) -> Picture:
    """What the live instance holds since: something else."""
    leave(site)
    (site.instance.folders[0] / "public" / "large.jpg").write_bytes(os.urandom(1000 * (FILE_LIMIT_KB + 1000)))
    picture = site.instance.picture()
    assert differences(good, picture)
    return picture


def test_check_mode_tells_what_would_be_saved_and_saves_nothing(site: Site, changed: Picture) -> None:
    run = site.run("restore", check=True)
    assert run.ok, run.output
    told = line(shown(run), "safety set: what is there now is saved first")
    for part in ("database authentik (", "Redis (125 keys)", *["%s (/" % name for name in DIRECTORIES]):
        assert part in told
    assert "config" not in told, "without authentik_overwrite_config, none of it is replaced"
    assert "are free in the store" in shown(run)
    assert len(site.sets()) == 1
    assert not list(site.store.glob("*/*.partial"))


def test_a_store_that_is_full_leaves_everything_as_it_is(site: Site, changed: Picture) -> None:
    program = site.controller.program
    limited = site.root / "ansible-playbook"
    limited.write_text('#!/bin/bash\nulimit -f %d\nexec %s/ansible-playbook "$@"\n' % (FILE_LIMIT_KB, BIN))
    limited.chmod(0o755)
    site.controller.program = str(limited)
    try:
        run = site.run("restore", chunk_size="64K")
    finally:
        site.controller.program = program
    assert not run.ok
    told = run.failures[-1].result["msg"]
    assert "What is there now could not be saved, and nothing is restored over it: Save the directories" in told
    assert "File too large" in told, "the limit has to be met in the store"
    assert "-e authentik_safety_set=false" in told
    assert "Nothing was changed." in told
    assert not run.of("authentik_services")[1:], "no service was touched, only looked at"
    assert differences(changed, site.instance.picture()) == []
    assert site.leftovers() == []
    assert len(site.sets()) == 1
    assert not list(site.store.glob("*/*.partial"))


def test_a_restore_saves_what_it_replaces_and_says_where(site: Site, good: Picture, changed: Picture) -> None:
    # What backups leave out, a safety set does not.
    run = site.run("restore", restore_id=RESTORE_ID, postgresql_exclude_data=["events"])
    assert run.ok, run.output
    assert differences(good, site.instance.picture()) == []
    backup, safety = site.sets()
    assert line(shown(run), "The state before was saved as").startswith(
        "The state before was saved as %s. To restore that, or parts of it, give -e authentik_backup_id=%s"
        % (safety.name, safety.name)
    )
    assert "purpose" not in manifest_of(backup)
    manifest = manifest_of(safety)
    assert (manifest["purpose"], manifest["restore_id"]) == ("safety", RESTORE_ID)
    assert set(manifest["components"]) == {"postgresql", "redis", *DIRECTORIES}
    tables = manifest["components"]["postgresql"]["fingerprint"]["tables"]
    assert [name for name, table in tables.items() if table["data"] == "excluded"] == []
    assert tables["public.authentik_events_event"]["rows"] > 0
    linked = {artifact["component"]: artifact["linked_from"] for artifact in manifest["artifacts"]}
    assert (linked["certs"], linked["media"]) == (backup.name, None)


def test_the_same_command_again_restores_the_backup_and_not_what_it_replaced(site: Site, good: Picture) -> None:
    backup, safety = site.sets()
    run = site.run("restore", check=True)
    assert run.ok, run.output
    told = line(shown(run), "set: ")
    assert told.startswith("set: %s is the latest backup; newer, and passed over" % backup.name)
    assert told.endswith(safety.name)
    listed = site.run("list")
    assert listed.ok, listed.output
    row = line(shown(listed), "  %s" % safety.name)
    assert row.endswith("(safety set, before the restore %s)" % RESTORE_ID)
    assert "safety" not in line(shown(listed), "  %s" % backup.name)


def test_the_safety_set_holds_exactly_what_was_there(site: Site, good: Picture, changed: Picture) -> None:
    _backup, safety = site.sets()
    run = site.run("restore", backup_id=safety.name)
    assert run.ok, run.output
    assert differences(changed, site.instance.picture()) == []
    assert line(shown(run), "set: ") == "set: %s is a safety set, of the state before the restore %s" % (
        safety.name,
        RESTORE_ID,
    )
    shutil.rmtree(site.sets()[-1])


def test_a_restore_of_some_components_saves_only_those(site: Site, changed: Picture) -> None:
    file = site.instance.root / "etc/authentik/config.yml"
    text = file.read_text()
    file.write_text(text + "# changed since\n")
    run = site.run("restore", components=["certs", "config"], overwrite_config=True)
    assert run.ok, run.output
    assert file.read_text() == text
    newest = site.sets()[-1]
    assert set(manifest_of(newest)["components"]) == {"certs", "config"}
    told = line(shown(run), "safety set: what")
    assert told.startswith("safety set: what is there now is saved first: certs (/")
    assert told.endswith(", the configuration")
    shutil.rmtree(newest)


def test_a_failure_after_it_names_the_safety_set(site: Site, good: Picture) -> None:
    now = site.instance.picture()
    broken = site.copy_collection({"authentik_static_restore": "ctx.params['step'] == 'swap'"})
    run = site.run("restore", collections=broken)
    assert not run.ok
    told = run.failures[-1].result["msg"]
    assert "injected failure" in told
    assert "The state before was saved as %s." % site.sets()[-1].name in told
    assert differences(now, site.instance.picture()) == []
    shutil.rmtree(site.sets()[-1])


def test_a_database_that_cannot_be_saved_stops_the_restore_and_a_refusal_goes_on(site: Site, good: Picture) -> None:
    before, around = len(site.sets()), site.leftovers()
    site.instance.postgres.psql("CREATE TABLE public.foreign_to_authentik (x int)", "authentik")
    try:
        run = site.run("restore", components=["postgresql"])
        assert not run.ok
        told = run.failures[-1].result["msg"]
        assert "foreign_to_authentik" in told, run.output
        assert "add -e authentik_safety_set=false" in told
        assert "Nothing was changed." in told
        assert site.leftovers() == around
        assert len(site.sets()) == before
        run = site.run("restore", safety_set=False)
        assert run.ok, run.output
    finally:
        site.instance.postgres.psql("DROP TABLE IF EXISTS public.foreign_to_authentik", "authentik")
    assert "safety set: none is made, as authentik_safety_set says" in shown(run)
    assert "The state before was saved" not in shown(run)
    assert len(site.sets()) == before
    assert differences(good, site.instance.picture()) == []


def test_nothing_is_saved_of_an_instance_that_holds_nothing(site: Site, good: Picture) -> None:
    before = len(site.sets())
    postgres = site.instance.postgres
    postgres.psql("DROP DATABASE authentik WITH (FORCE)")
    postgres.psql("CREATE DATABASE authentik OWNER authentik")
    site.instance.redis.send("FLUSHALL")
    for folder in site.instance.folders[1:]:
        shutil.rmtree(folder)
    shutil.rmtree(site.instance.folders[0])
    site.instance.folders[0].mkdir()
    run = site.run("restore")
    assert run.ok, run.output
    told = line(shown(run), "safety set: ")
    assert told.startswith(
        "safety set: none is made, since there is nothing that it could hold: database authentik is empty"
    )
    assert len(site.sets()) == before
    assert differences(good, site.instance.picture()) == []


def test_what_is_gone_is_named_and_the_rest_is_saved(site: Site, good: Picture) -> None:
    before = len(site.sets())
    site.instance.disaster()
    run = site.run("restore")
    assert run.ok, run.output
    told = line(shown(run), "safety set: what")
    assert "not saved: there is no database authentik, there is no %s" % site.instance.folders[0] in told
    assert len(site.sets()) == before + 1
    assert set(manifest_of(site.sets()[-1])["components"]) == {"redis", *DIRECTORIES} - {"media"}
    assert differences(good, site.instance.picture()) == []
