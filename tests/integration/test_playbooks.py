# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks from end to end: real PostgreSQL and Redis, real files, ansible-playbook run as a program.

The tests build on each other, in their order.
"""

from __future__ import annotations

import json
import shutil

import pytest

from tests.demo.instance import PASSWORD, SECRET_KEY, Picture
from tests.support.site import NAME, Site, differences, leave, shown

RESTORE_ID = "20261122T040000Z-1b2c"
ALL = {"postgresql", "media", "certs", "custom-templates", "blueprints", "redis", "config"}


@pytest.fixture(scope="module", autouse=True)
def as_at_a_users(site: Site) -> None:
    """Restores save first what they replace."""
    site.saves_first = True


@pytest.fixture(scope="module")
def before(site: Site) -> Picture:
    """What the instance held when its first set was made; that set is in the store."""
    picture = site.instance.picture()
    run = site.run("backup")
    assert run.ok, run.output
    return picture


def test_check_mode_of_a_backup_lists_everything_and_leaves_no_trace(site: Site) -> None:
    run = site.run("backup", check=True)
    assert run.ok, run.output
    said = shown(run)
    for part in ("free in", "Database authentik", "pg_dump", "media", "63 files", "Redis", "125 keys", "config.yml"):
        assert part in said
    assert not site.store.exists()


def test_backup_saves_every_component_and_changes_nothing(site: Site, before: Picture) -> None:
    manifest = json.loads((site.sets()[0] / "manifest.json").read_text())
    assert set(manifest["components"]) == ALL
    assert manifest["instance"]["name"] == NAME
    assert manifest["instance"]["authentik_version"]["value"] == "2025.8.4"
    assert manifest["instance"]["deployment"] == "host"
    assert manifest["instance"]["secret_key_fingerprint"]
    assert differences(before, site.instance.picture()) == []


def test_no_secret_is_shown_or_written_in_the_clear(site: Site, before: Picture) -> None:
    run = site.run("backup", options=["-vvv"])
    assert run.ok, run.output
    said = run.output + json.dumps([result.result for result in run.results], ensure_ascii=False)
    said += "".join(path.read_text() for path in site.store.rglob("*.json"))
    for secret in (SECRET_KEY, PASSWORD, site.instance.postgres.password):
        assert secret not in said
        assert json.dumps(secret, ensure_ascii=False)[1:-1] not in said
    assert [path for path in site.store.rglob("*") if path.stat().st_mode & 0o077] == []


def test_a_second_backup_links_what_did_not_change(site: Site, before: Picture) -> None:
    first, second = site.sets()
    artifacts = {a["path"]: a for a in json.loads((second / "manifest.json").read_text())["artifacts"]}
    media = next(path for path in artifacts if path.startswith("static/media."))
    assert artifacts[media]["linked_from"] == first.name
    assert (first / media).stat().st_ino == (second / media).stat().st_ino
    shutil.rmtree(second)
    (second.parent / (second.name + ".verified.json")).unlink()


def test_check_mode_of_a_restore_shows_the_plan_and_changes_nothing(site: Site, before: Picture) -> None:
    run = site.run("restore", check=True)
    assert run.ok, run.output
    said = shown(run)
    for part in ("authentik_before_", "_new_", "Redis database 0", "media.new-", "secret key"):
        assert part in said
    assert not [result for result in run.results if result.result.get("changed")]
    assert differences(before, site.instance.picture()) == []
    assert site.leftovers() == []


def test_restore_of_some_components_leaves_the_others(site: Site, before: Picture) -> None:
    media, certs = site.instance.folders[:2]
    site.instance.database.psql("UPDATE authentik_core_user SET name = 'changed'")
    (media / "public" / "new.svg").write_text("<svg/>")
    (certs / "new.pem").write_text("new")
    run = site.run("restore", components=["media"], backup_id=site.sets()[0].name)
    assert run.ok, run.output
    after = site.instance.picture()
    assert (certs / "new.pem").exists()
    assert {path for path in after.files if "/media/" in path} == {path for path in before.files if "/media/" in path}
    assert site.instance.database.psql("SELECT DISTINCT name FROM authentik_core_user") == "changed"


def test_restore_brings_back_everything_also_the_configuration(site: Site, before: Picture) -> None:
    configuration = (site.instance.root / "etc/authentik/config.yml").read_text()
    shutil.rmtree(site.instance.root / "etc")
    site.instance.disaster()
    check = site.run("restore", check=True)
    assert check.ok, check.output
    assert "config.yml" in shown(check)
    assert not (site.instance.root / "etc").exists()
    run = site.run("restore")
    assert run.ok, run.output
    assert differences(before, site.instance.picture()) == []
    assert (site.instance.root / "etc/authentik/config.yml").read_text() == configuration
    assert (site.instance.root / "etc/authentik/secret_key").read_text() == SECRET_KEY
    assert "ansible-playbook authentik_ops.recovery.rollback" in shown(run)


def test_undo_goes_back_to_what_was_there_before(site: Site, before: Picture) -> None:
    leave(site)
    changed = site.instance.picture()
    run = site.run("restore", restore_id=RESTORE_ID)
    assert run.ok, run.output
    assert differences(before, site.instance.picture()) == []
    begun = next(line for line in shown(run).splitlines() if line.startswith("Changes begin"))
    assert "authentik_restore_id=" + RESTORE_ID in begun
    media = site.instance.folders[0]
    (media / "public" / "uploaded.svg").write_text("since the restore")
    undone = site.run("rollback", restore_id=RESTORE_ID)
    assert undone.ok, undone.output
    kept = media.with_name(media.name + ".undone-" + RESTORE_ID)
    assert str(kept) in shown(undone)
    assert "authentik_undone_20" in shown(undone)
    assert (kept / "public" / "uploaded.svg").read_text() == "since the restore"
    shutil.rmtree(kept)
    assert differences(changed, site.instance.picture()) == []
    again = site.run("rollback", restore_id=RESTORE_ID)
    assert again.ok, again.output
    assert differences(changed, site.instance.picture()) == []


def test_list_shows_sets_and_what_is_none(site: Site, before: Picture) -> None:
    (site.store / NAME / "20260101T000000Z-0000").mkdir()
    (site.store / "lost+found").mkdir()
    file = site.root / "sets.json"
    run = site.run("list", list_file=str(file))
    assert run.ok, run.output
    said = shown(run)
    good = site.sets()[0].name
    for part in (
        NAME,
        good,
        "2025.8.4",
        "checksums",
        "postgresql",
        "not usable",
        "20260101T000000Z-0000: There is no manif",
    ):
        assert part in said
    found = json.loads(file.read_text())
    # The restores saved what they replaced.
    assert [one["id"] for one in found[NAME]["sets"] if one["purpose"] == "backup"] == [good]
    assert {one["purpose"] for one in found[NAME]["sets"] if one["id"] != good} == {"safety"}
    assert [one["name"] for one in found[NAME]["problems"]] == ["20260101T000000Z-0000"]
    (site.store / NAME / "20260101T000000Z-0000").rmdir()
