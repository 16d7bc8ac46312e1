# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A restore or backup that fails at any point leaves the instance as it was."""

from __future__ import annotations

import shutil

import pytest

from tests.demo.instance import Picture
from tests.support.site import Site, differences, leave

RESTORE_ID = "20261122T040000Z-1b2c"


@pytest.fixture(scope="module")
def live(site: Site) -> Picture:
    """What the live instance holds: other content than the set in the store."""
    run = site.run("backup")
    assert run.ok, run.output
    leave(site)
    return site.instance.picture()


@pytest.mark.parametrize(
    ("module", "condition"),
    [
        ("authentik_static_restore", "ctx.params['step'] == 'prepare'"),
        ("authentik_pg_restore", "ctx.params['step'] == 'swap'"),
        ("authentik_config_restore", "ctx.params['step'] == 'swap'"),
        ("authentik_services", "ctx.params['state'] == 'started'"),
    ],
)
def test_a_failure_puts_everything_back(site: Site, live: Picture, module: str, condition: str) -> None:
    run = site.run("restore", collections=site.copy_collection({module: condition}))
    assert not run.ok
    assert "injected failure" in run.failures[-1].result["msg"]
    assert "Everything was put back" in run.failures[-1].result["msg"]
    assert differences(live, site.instance.picture()) == []
    assert site.leftovers() == []


def test_what_could_not_be_put_back_is_said_and_undo_finishes_it(site: Site, live: Picture) -> None:
    broken = {
        "authentik_config_restore": "ctx.params['step'] == 'swap'",
        "authentik_redis_restore": "ctx.params['step'] == 'undo' and not ctx.check_mode and body.__name__ == 'body'",
    }
    run = site.run("restore", collections=site.copy_collection(broken), restore_id=RESTORE_ID)
    assert not run.ok
    said = run.failures[-1].result["msg"]
    assert "NOT everything could be put back" in said
    assert "authentik_restore_id=" + RESTORE_ID in said
    undone = site.run("rollback")
    assert undone.ok, undone.output
    assert differences(live, site.instance.picture()) == []
    assert site.leftovers() == []


def test_a_configuration_that_came_first_goes_again(site: Site, live: Picture) -> None:
    kept = site.root / "etc"
    shutil.copytree(site.instance.root / "etc", kept, symlinks=True)
    shutil.rmtree(site.instance.root / "etc")
    broken = site.copy_collection({"authentik_static_restore": "ctx.params['step'] == 'swap'"})
    run = site.run("restore", collections=broken)
    assert not run.ok
    assert "Everything was put back" in run.failures[-1].result["msg"], run.output
    assert not list((site.instance.root / "etc").rglob("*.yml"))
    shutil.rmtree(site.instance.root / "etc", ignore_errors=True)
    kept.rename(site.instance.root / "etc")
    assert differences(live, site.instance.picture()) == []


@pytest.mark.parametrize("module", ["authentik_pg_dump", "authentik_config"])
def test_a_failed_backup_keeps_nothing_and_says_why(site: Site, live: Picture, module: str) -> None:
    before = site.sets()
    run = site.run("backup", collections=site.copy_collection({module: "True"}))
    assert not run.ok
    assert "injected failure" in run.failures[-1].result["msg"]
    assert site.sets() == before
    assert not list(site.store.glob("*/*.partial"))


def test_what_there_was_no_database_before_stays_and_is_said(site: Site, live: Picture) -> None:
    site.instance.postgres.psql("DROP DATABASE authentik WITH (FORCE)")
    broken = site.copy_collection({"authentik_config_restore": "ctx.params['step'] == 'swap'"})
    run = site.run("restore", collections=broken)
    assert not run.ok
    said = run.failures[-1].result["msg"]
    assert "Everything that there was before was put back" in said, run.output
    assert "postgresql: authentik stays as it is" in said
    assert site.instance.postgres.databases() == ["authentik"]
