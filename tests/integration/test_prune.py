# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook prune, and pruning after a backup, on sets that real backups made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.site import NAME, Site, shown


def by_hand(folder: Path) -> int:
    """Return the exit status of sha256sum over a set."""
    return subprocess.run(["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"], cwd=folder, check=False).returncode


def names(site: Site) -> list[str]:
    return [folder.name for folder in site.sets()]


@pytest.fixture(scope="module")
def made(site: Site) -> list[str]:
    """The ids of three sets, of which the later ones link to artifacts of the earlier ones."""
    for _number in range(3):
        run = site.run("backup")
        assert run.ok, run.output
    return names(site)


def test_the_plan_is_shown_and_followed_and_linked_artifacts_survive(site: Site, made: list[str]) -> None:
    refused = site.run("prune")
    assert not refused.ok
    assert "authentik_keep_daily" in refused.message or "policy is empty" in refused.output
    assert names(site) == made
    linked = {path.name: path.stat().st_nlink for path in site.sets()[-1].glob("static/*")}
    assert max(linked.values()) > 1
    checked = site.run("prune", check=True, keep_last=2)
    assert checked.ok, checked.output
    assert names(site) == made
    run = site.run("prune", keep_last=2)
    assert run.ok, run.output
    assert shown(checked).replace("would be deleted", "deleted") == shown(run)
    assert "delete %s: not one of the last 2" % made[0] in shown(run)
    assert "%s: 1 set deleted, 2 kept" % NAME in shown(run)
    assert names(site) == made[1:]
    assert [by_hand(folder) for folder in site.sets()] == [0, 0]
    again = site.run("prune", keep_last=2)
    assert not [one for one in again.results if one.result.get("changed")]


def test_after_a_backup_only_when_asked_and_by_a_policy(site: Site, made: list[str]) -> None:
    before = names(site)
    refused = site.run("backup", prune_after_backup=True)
    assert not refused.ok
    assert "authentik_keep_last" in refused.message
    assert names(site) == before, "it is refused before anything is saved"
    run = site.run("backup", prune_after_backup=True, keep_last=1)
    assert run.ok, run.output
    left = names(site)
    assert len(left) == 2
    assert left[0] == before[-1]
    assert "delete %s" % before[0] in shown(run)
    assert [by_hand(folder) for folder in site.sets()] == [0, 0]
    # What the sets that are gone had shared is restored from the one that is left.
    assert site.run("verify", verify_level="decode", verify_bin_dir=str(site.instance.postgres.bin)).ok


def test_what_forbids_to_prune_fails_the_run_with_the_plan_on_the_screen(site: Site, made: list[str]) -> None:
    files = [path for path in site.instance.folders[0].rglob("*") if path.is_file() and not path.is_symlink()]
    for path in files[3:]:
        path.unlink()
    before = names(site)
    run = site.run("backup", prune_after_backup=True, keep_last=1)
    assert not run.ok
    said = run.failures[-1].result["msg"]
    assert "media of %s shrank much since %s: " % (names(site)[-1], before[-1]) in said
    assert "files: 3, before %d" % len(files) in said
    assert "authentik_shrink_accepted=%s" % names(site)[-1] in said
    assert names(site)[:-1] == before, "the new set is there, and nothing was deleted"
    assert "delete %s" % before[0] in shown(run)
    accepted = site.run("prune", keep_last=1, shrink_accepted=names(site)[-1])
    assert accepted.ok, accepted.output
    assert len(names(site)) == 2
