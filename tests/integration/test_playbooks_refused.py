# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the playbooks refuse: each with a message that names the cause, and with nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.demo.instance import VERSION, Picture
from tests.support.announce import leave_out
from tests.support.site import NAME, Site, differences


@pytest.fixture(scope="module")
def before(site: Site) -> Picture:
    """What the instance holds; a set of it is in the store."""
    run = site.run("backup")
    assert run.ok, run.output
    return site.instance.picture()


@pytest.fixture
def damaged(site: Site, before: Picture) -> Iterator[Path]:
    """The folder of the set, which may be damaged; it is whole again afterwards."""
    (good,) = site.sets()
    kept = site.root / "kept"
    shutil.copytree(good, kept)
    os.chmod(good, 0o700)
    yield good
    shutil.rmtree(good)
    kept.rename(good)
    for record in good.parent.glob("*.verified.json"):
        checks = json.loads(record.read_text())
        checks["checks"] = [check for check in checks["checks"] if check["ok"]]
        record.write_text(json.dumps(checks))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"backup_id": "../../etc"}, "'../../etc' is not the id of a backup set"),
        ({"backup_id": "20260101T000000Z-0000"}, "There is no backup set 20260101T000000Z-0000"),
        ({"instance": "a/b"}, "'a/b' cannot be the name of an instance"),
        ({"instance": "nobody"}, "There is no backup set of instance nobody"),
        ({"components": ["data"]}, "holds no data"),
        ({"components": "media, data"}, "holds no data"),
        ({"restore_id": "../x"}, "'../x' is not the id of a restore"),
        ({"instnace": "nobody"}, "authentik_instnace (is it authentik_instance?)"),
    ],
)
def test_restore_refuses_and_changes_nothing(
    site: Site, before: Picture, variables: dict[str, Any], message: str
) -> None:
    run = site.run("restore", **variables)
    assert not run.ok
    assert message in run.message, run.output
    assert site.leftovers() == []


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"components": ["data"]}, "has no data"),
        ({"instance": ".."}, "'..' cannot be the name of an instance"),
        ({"hosts": "nowhere"}, "No host matches 'nowhere'"),
        ({"missing_directories": "perhaps"}, "perhaps"),
        ({"postgres_host": "db"}, "authentik_postgres_host (is it authentik_postgresql_host?)"),
        ({"components": "media, certificates"}, "has no certificates."),
        ({"postgresql_password": "wrong"}, "password authentication failed"),
        ({"postgresql_name": "nothing"}, "nothing"),
    ],
)
def test_backup_refuses_and_keeps_nothing(site: Site, before: Picture, variables: dict[str, Any], message: str) -> None:
    run = site.run("backup", **variables)
    assert not run.ok
    assert message in run.message or message in run.output, run.output
    assert len(site.sets()) == 1
    assert not list(site.store.glob("*/*.partial"))


def test_what_only_looks_like_a_mistake_can_be_named(site: Site, before: Picture) -> None:
    given: dict[str, Any] = {"stored": "mine", "domain": "sso.example.org", "own_variables": ["authentik_stored"]}
    run = site.run("backup", check=True, components="certs, redis", **given)
    assert run.ok, run.output
    assert {result.action.rpartition("authentik_")[2] for result in run.results if "components" in result.result} == {
        "variables", "static_dirs", "redis_snapshot",
    }  # fmt: skip


def truncate(folder: Path) -> None:
    """Cut off the end of the dump."""
    (dump,) = folder.glob("postgresql/*.dump*")
    dump.chmod(0o600)
    os.truncate(dump, dump.stat().st_size - 1)


def flip(folder: Path) -> None:
    """Change one bit in the middle of the dump."""
    (dump,) = folder.glob("postgresql/*.dump*")
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.chmod(0o600)
    dump.write_bytes(content)


def newer(folder: Path) -> None:
    """Say that a later version wrote the manifest."""
    manifest = folder / "manifest.json"
    text = json.loads(manifest.read_text())
    text.update(format=2, created_by={"collection": "9.0.0", "ansible_core": "3.0"})
    manifest.unlink()
    manifest.write_text(json.dumps(text))


def headless(folder: Path) -> None:
    """Remove the manifest."""
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [(truncate, "bytes"), (flip, "SHA-256"), (newer, "install that version"), (headless, "no manifest")],
)
def test_a_damaged_set_is_refused_before_anything_changes(
    site: Site, before: Picture, damaged: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(damaged)
    run = site.run("restore", backup_id=damaged.name)
    assert not run.ok
    assert message.lower() in run.failures[-1].result["msg"].lower() + run.message.lower(), run.output
    assert site.leftovers() == []
    assert differences(before, site.instance.picture()) == []


def test_a_damaged_newest_set_is_not_passed_over_in_silence(site: Site, before: Picture) -> None:
    (good,) = site.sets()
    assert site.run("backup", components="certs").ok
    newest = site.sets()[-1]
    headless(newest)
    run = site.run("restore", check=True)
    assert run.ok, run.output
    assert good.name in run.output
    assert "%s (There is no manifest" % newest.name in run.output
    for left in good.parent.glob(newest.name + "*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("installed", "message"),
    [("2026.2.3", "upgrade by way of 2025.10, 2025.12, 2026.2"), ("2025.6.1", "install the latest 2025.8")],
)
def test_another_authentik_than_the_sets_is_refused_before_anything_changes(
    site: Site, before: Picture, installed: str, message: str, check: bool
) -> None:
    site.instance.install(installed)
    try:
        run = site.run("restore", check=check)
    finally:
        site.instance.install(VERSION)
    assert not run.ok
    assert message in run.message, run.output
    assert site.leftovers() == []
    assert differences(before, site.instance.picture()) == []


@pytest.mark.parametrize("check", [True, False])
def test_services_that_cannot_be_stopped_are_told_before_the_plan(site: Site, before: Picture, check: bool) -> None:
    run = site.run("restore", check=check, server_units=None, worker_units=None, outpost_units=None)
    assert not run.ok
    assert "No systemd service of authentik was found" in run.message, run.output
    told = run.failures[-1].result["msg"]
    assert "set authentik_manage_services to false" in told
    assert "Nothing was changed" in told
    assert "Stop the services" not in run.output
    assert site.leftovers() == []
    assert differences(before, site.instance.picture()) == []


def test_an_empty_inventory_group_is_no_success(site: Site) -> None:
    empty = site.root / "empty.json"
    empty.write_text(json.dumps({"authentik": {"hosts": {}}, "all": {"vars": {"authentik_store": str(site.store)}}}))
    run = site.controller.playbook("playbooks/backup.yml", options=["-i", str(empty)])
    assert not run.ok
    assert "nothing would be saved" in run.message


def test_list_of_a_store_that_does_not_exist(site: Site) -> None:
    run = site.controller.playbook("playbooks/list.yml", {"authentik_store": str(site.root / "nothing")})
    assert not run.ok
    assert "There is no folder" in run.message
    assert NAME not in run.message


def test_list_of_an_instance_that_the_store_does_not_hold(site: Site, before: Picture) -> None:
    run = site.run("list", instance="sso.exmaple.org")
    assert not run.ok
    assert "'sso.exmaple.org'" in run.message
    assert "It holds %s." % NAME in run.message
    assert site.run("list", instance=NAME).ok


@pytest.mark.parametrize("playbook", ["backup", "restore"])
def test_a_store_that_is_gone_with_the_machine(site: Site, before: Picture, playbook: str) -> None:
    memory = Path("/dev/shm")
    if (
        "tmpfs"
        not in subprocess.run(["stat", "-f", "-c", "%T", memory], capture_output=True, text=True, check=True).stdout
    ):
        leave_out("/dev/shm is not in memory here")
    store = memory / ("recovery-%d" % os.getpid())
    if playbook == "restore":
        shutil.copytree(site.store, store)
    try:
        kept = sorted(store.rglob("*"))
        run = site.run(playbook, store=str(store), allow_ephemeral_store=False, safety_set=True)
        assert not run.ok
        assert "lies in memory (tmpfs on /dev/shm)" in run.message
        for way_out in ("authentik_store=s3://", "Paths to expose", "--eev", "authentik_allow_ephemeral_store"):
            assert way_out in run.message
        assert sorted(store.rglob("*")) == kept
        lifted = site.run(playbook, check=True, store=str(store), allow_ephemeral_store=True, safety_set=True)
        assert lifted.ok, lifted.output
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(store)], check=False, capture_output=True)
        shutil.rmtree(store, ignore_errors=True)
    assert differences(before, site.instance.picture()) == []


@pytest.mark.parametrize("playbook", ["backup", "list", "prune", "restore", "verify"])
def test_a_store_that_is_not_named_is_asked_for(site: Site, playbook: str) -> None:
    run = site.controller.playbook("playbooks/%s.yml" % playbook, {"authentik_keep_daily": 1}, check=True)
    assert not run.ok
    assert "missing required arguments: authentik_store" in run.message
