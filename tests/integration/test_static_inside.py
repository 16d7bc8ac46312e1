# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories that cannot be renamed, restored entry by entry: fully old or fully new, wherever it was killed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _mounts, _static, _static_names
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import SpaceError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_journal import is_half_swapped
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Here
from tests.integration.file_trees import as_nobody, open_folder, snapshot
from tests.integration.static_inside import (
    LATER_ID,
    RESTORE_ID,
    Fixed,
    closed_above,
    count_calls,
    empty,
    fill_up,
    folder_of,
    kill_at,
    look,
    mounted,
)
from tests.support.announce import leave_out

__all__ = ["open_folder"]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fixed]:
    """Uploaded files in a file system of their own; without root, in a folder that may not be written to."""
    monkeypatch.setattr(os, "sync", lambda: None)  # slow, and nothing here loses its power
    folder = tmp_path / "srv" / "media"
    with mounted(folder) if os.geteuid() == 0 else closed_above(folder) as live:
        yield Fixed(live).fill().save().damage()


@pytest.fixture
def disk(site: Fixed) -> Fixed:
    if os.geteuid() != 0:
        leave_out("mounting a file system needs root")
    return site


def test_back_exactly_and_undone_exactly(site: Fixed) -> None:
    kept = site.live / folder_of("before") / "tree"
    damaged = snapshot(site.live)
    plan = site.step("check")["plan"]
    assert any("%s cannot be renamed" % site.live in line for line in plan)
    assert any("kept in %s" % (site.live / folder_of("before")) in line for line in plan)
    assert (look(site.live), site.ours()) == (site.damaged, [])
    site.step("prepare")
    assert (look(site.live), site.ours()) == (site.damaged, [folder_of("new")])
    assert [path.name for path in site.live.parent.iterdir()] == ["media"], "nothing beside it"
    assert site.step("swap")["changed"] is True
    assert (look(site.live), site.ours()) == (site.saved, [folder_of("before")])
    assert snapshot(kept) == damaged
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert site.step("swap")["changed"] is False
    with pytest.raises(StateError, match="swapped in already"):
        site.step("prepare")
    said = site.step("undo", pretend=True)
    assert (said["changed"], look(site.live)) == (True, site.saved)
    done = site.step("undo")
    assert done["plan"][: len(said["plan"])] == said["plan"]
    assert (look(site.live), site.ours()) == (site.damaged, [])
    assert site.step("undo") == {"changed": False, "plan": [], "warnings": []}


def test_check_mode_leaves_no_trace(site: Fixed) -> None:
    for step in ("prepare", "swap", "undo"):
        site.step(step, pretend=True)
        assert (look(site.live), site.ours()) == (site.damaged, [])


@pytest.mark.parametrize("end", ["swap", "undo"])
def test_killed_anywhere_in_a_swap(site: Fixed, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    site.step("prepare")
    points = count_calls(lambda: site.step("swap"), monkeypatch)
    site.step("undo")
    assert points > 2 * len(list(site.live.iterdir()))
    for point in range(1, points + 1):
        site.step("prepare")
        kill_at(point, lambda: site.step("swap"), monkeypatch)
        site.step(end)
        assert look(site.live) == (site.saved if end == "swap" else site.damaged), "killed at %d of %d" % (
            point,
            points,
        )
        site.step("undo")
        assert (look(site.live), site.ours()) == (site.damaged, []), "killed at %d of %d" % (point, points)


@pytest.mark.parametrize("changed", [False, True])
def test_killed_anywhere_in_an_undo(site: Fixed, changed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def restored() -> None:
        site.step("prepare")
        site.step("swap")
        if changed:
            (site.live / "upload").write_text("written since")

    restored()
    points = count_calls(lambda: site.step("undo"), monkeypatch)
    # The last call sets the directory's time back after the last of our names went away, with all that was noted.
    for point in range(1, points):
        for name in site.ours():
            shutil.rmtree(site.live / name)
        empty(site.live)
        for name in os.listxattr(site.live):
            os.removexattr(site.live, name)
        site.fill().damage()
        restored()
        kill_at(point, lambda: site.step("undo"), monkeypatch)
        site.step("undo")
        assert look(site.live) == site.damaged, "killed at %d of %d" % (point, points)
        kept = [site.live / name / "tree" / "upload" for name in site.ours()]
        assert [path.read_text() for path in kept] == ["written since"] * changed, site.ours()


def test_an_undo_that_was_begun_is_not_turned_round(site: Fixed, monkeypatch: pytest.MonkeyPatch) -> None:
    site.step("prepare")
    site.step("swap")
    kill_at(3, lambda: site.step("undo"), monkeypatch, ("rename",))
    with pytest.raises(StateError, match="half undone") as refused:
        site.step("swap")
    assert "step: undo" in refused.value.hint
    site.step("undo")
    assert (look(site.live), site.ours()) == (site.damaged, [])


def test_what_a_killed_restore_left_is_cleared_by_the_next_one(site: Fixed, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_at(12, lambda: site.step("prepare"), monkeypatch)
    assert site.ours() == [folder_of("new")]
    site.step("check", LATER_ID)
    site.step("prepare", LATER_ID)
    assert (look(site.live), site.ours()) == (site.damaged, [folder_of("new", LATER_ID)])
    site.step("swap", LATER_ID)
    site.step("undo", LATER_ID)
    assert (look(site.live), site.ours()) == (site.damaged, [])


def test_a_failed_preparation_leaves_no_trace(site: Fixed) -> None:
    site.manifest["components"]["media"]["fingerprint"]["digest"] = "0" * 64
    with pytest.raises(Exception, match="not equal"):
        site.step("prepare")
    assert (look(site.live), site.ours()) == (site.damaged, [])


def test_a_plain_restore_over_a_half_swapped_one(site: Fixed, monkeypatch: pytest.MonkeyPatch) -> None:
    site.step("prepare")
    kill_at(5, lambda: site.step("swap"), monkeypatch, ("rename",))
    half = look(site.live)
    assert half not in (site.saved, site.damaged)
    assert is_half_swapped(str(site.live / folder_of("before")))
    for step in ("check", "prepare", "swap"):
        site.step(step, LATER_ID)
    assert look(site.live) == site.saved
    with pytest.raises(StateError, match="swapped in over this one") as refused:
        site.step("undo")
    assert LATER_ID in refused.value.hint
    assert look(site.live) == site.saved
    site.step("undo", LATER_ID)
    assert look(site.live) == half
    site.step("undo")
    assert (look(site.live), site.ours()) == (site.damaged, [])


def test_kept_copies_of_earlier_restores_stay(site: Fixed) -> None:
    for restore_id in (RESTORE_ID, LATER_ID):
        site.step("prepare", restore_id)
        site.step("swap", restore_id)
    kept = _static_names.kept_copies(str(site.live))
    assert [(copy.kind, copy.restore_id, copy.inside) for copy in kept] == [
        ("before", RESTORE_ID, True),
        ("before", LATER_ID, True),
    ]
    assert (site.live / folder_of("before") / "tree" / "both").read_text() == "damaged"
    site.step("undo", LATER_ID)
    assert (look(site.live), site.ours()) == (site.saved, [folder_of("before")])
    site.step("undo")
    assert (look(site.live), site.ours()) == (site.damaged, [])


def test_a_backup_holds_nothing_of_ours(site: Fixed, tmp_path: Path) -> None:
    site.step("prepare")
    site.step("swap")
    (site.live / "upload").write_text("x")
    site.step("undo")
    site.step("prepare", LATER_ID)
    site.step("swap", LATER_ID)
    assert site.ours() == [folder_of("before", LATER_ID), folder_of("undone")]
    record = site.backup(None)
    assert record["fingerprint"]["files"] == site.manifest["components"]["media"]["fingerprint"]["files"]
    for name in site.ours():
        assert "%s was left by a restore; it is not in this backup" % (site.live / name) in record["warnings"]
    previous = dict(site.manifest["components"]["media"]["fingerprint"], set="earlier")
    target = _static.Target("media", str(site.live), "test", True)
    again = _static.save(target, DirectorySink(str(tmp_path / "again")), "gzip", previous)
    assert again["state"] == "linked", "the restored tree is the one in the set"
    archive = tmp_path / "whole"
    _static.save(target, DirectorySink(str(archive)), "gzip")
    listed = subprocess.run(
        ["tar", "-tzf", str(archive / "static" / "media.tar.gz")], check=True, capture_output=True, text=True
    )
    assert "both" in listed.stdout
    assert ".authentik" not in listed.stdout


def test_lost_and_found_belongs_to_the_file_system(disk: Fixed) -> None:
    found = disk.live / "lost+found"
    found.mkdir(mode=0o700)
    (found / "#12").write_text("by fsck")
    inode = found.stat().st_ino
    disk.step("prepare")
    assert any("lost+found of the file system stays" in line for line in disk.step("check")["plan"])
    disk.step("swap")
    assert look(disk.live) == disk.saved
    record = disk.backup(None)
    assert record["fingerprint"]["files"] == disk.manifest["components"]["media"]["fingerprint"]["files"]
    assert any("lost+found belongs to the file system" in line for line in record["warnings"])
    disk.step("undo")
    assert (found.stat().st_ino, (found / "#12").read_text()) == (inode, "by fsck")


def test_a_lost_and_found_of_a_set_gives_way(tmp_path: Path, disk: Fixed) -> None:
    plain = Fixed(tmp_path / "plain" / "media")
    plain.live.mkdir(parents=True)
    plain.fill()
    (plain.live / "lost+found").mkdir()
    plain.save()
    disk.manifest, disk.set = plain.manifest, plain.set
    disk.here = Here({"media": str(disk.live)})
    (disk.live / "lost+found").mkdir()
    assert any("left out, because the name is taken there: lost+found" in x for x in disk.step("check")["plan"])
    disk.step("prepare")
    disk.step("swap")
    assert (disk.live / "only-old").read_text() == "saved only-old"
    disk.step("undo")
    assert (disk.live / "added" / "file").read_text() == "added"


def test_what_was_written_after_the_restore_survives_undo(site: Fixed) -> None:
    for number, kept in enumerate((folder_of("undone"), folder_of("undone") + "_2")):
        site.step("prepare")
        site.step("swap")
        (site.live / "upload").write_text("written since %d" % number)
        assert any(kept in line for line in site.step("undo", pretend=True)["plan"])
        site.step("undo")
        assert (site.live / kept / "tree" / "upload").read_text() == "written since %d" % number
        assert look(site.live) == site.damaged


# The journal and its folder get their names, then six entries go out, the journal says so, the new ones come in.
@pytest.mark.parametrize("point", [4, 11])
def test_what_was_made_in_the_middle_of_a_swap_is_kept(
    site: Fixed, point: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.step("prepare")
    kill_at(point, lambda: site.step("swap"), monkeypatch, ("rename",))
    (site.live / "added").mkdir(exist_ok=True)
    (site.live / "added" / "meanwhile").write_text("made meanwhile")
    with pytest.raises(StateError, match=r"was made in .* while this restore was half swapped"):
        site.step("swap")
    site.step("undo")
    assert look(site.live) == site.damaged
    found = site.live / folder_of("found") / "tree" / "added" / "meanwhile"
    assert found.read_text() == "made meanwhile"


def test_a_mount_point_below_is_refused(disk: Fixed) -> None:
    with mounted(disk.live / "empty"):
        for step in ("check", "prepare"):
            with pytest.raises(StateError, match=r"empty is a mount point.*paths: \{media: /path\}"):
                disk.step(step)
    assert (look(disk.live), disk.ours()) == (disk.damaged, [])


def test_a_read_only_file_system_is_refused(disk: Fixed) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk.live)], check=True)
    for step in ("check", "prepare"):
        with pytest.raises(
            StateError, match="mounted read-only; mount it writable .mount -o remount,rw %s" % disk.live
        ):
            disk.step(step)
    assert look(disk.live) == disk.damaged


def test_a_file_system_that_is_not_mounted_is_not_restored_below(disk: Fixed, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.step("prepare")
    disk.step("swap")
    text = _mounts._text
    fstab = "/dev/sdz1 %s ext4 defaults 0 2\n" % disk.live
    monkeypatch.setattr(_mounts, "_text", lambda path: fstab if path == "/etc/fstab" else text(path))
    subprocess.run(["umount", str(disk.live)], check=True)
    try:
        for step in ("check", "prepare", "undo"):
            with pytest.raises(StateError, match=r"not mounted.*mount it first \(mount %s\)" % disk.live):
                disk.step(step)
        assert list(disk.live.iterdir()) == []
    finally:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk.live)], check=True)


def test_uploads_of_before_tenants_into_a_mount_point(tmp_path: Path, site: Fixed) -> None:
    old = Fixed(tmp_path / "old" / "media")
    (old.live / "application-icons").mkdir(parents=True)
    (old.live / "application-icons" / "a.svg").write_text("icon")
    old.save()
    site.manifest, site.set = old.manifest, old.set
    site.here = Here({"media": str(site.live)}, modern=True)
    for step in ("check", "prepare", "swap"):
        site.step(step)
    assert (site.live / "public" / "application-icons" / "a.svg").read_text() == "icon"
    assert sorted(path.name for path in site.live.iterdir()) == [folder_of("before"), "public"]
    undone = site.step("undo")["plan"]
    assert not any("kept" in line for line in undone), "nothing was written since"
    assert (look(site.live), site.ours()) == (site.damaged, [])


@pytest.mark.parametrize("reports_mounted", [False, True])
def test_parts_on_different_file_systems_are_refused(tmp_path: Path, disk: Fixed, reports_mounted: bool) -> None:
    data = Fixed(tmp_path / "old" / "data", "data")
    for name in ("media/public/a", "reports/b"):
        (data.live / name).parent.mkdir(parents=True)
        (data.live / name).write_text(name)
    data.save()
    reports = disk.live.parent / "reports"
    data.here = Here({"media": str(disk.live), "extra-reports": str(reports)}, modern=True)
    before = look(disk.live)
    if reports_mounted:
        with mounted(reports), pytest.raises(StateError, match="are on different file systems"):
            data.step("check")
    else:
        # One file system, mounted twice: rename does not lead from one to the other.
        reports.mkdir()
        subprocess.run(["mount", "--bind", str(reports), str(reports)], check=True)
        subprocess.run(["umount", str(disk.live)], check=True)
        try:
            with pytest.raises(StateError, match="are on different file systems"):
                data.step("check")
        finally:
            subprocess.run(["umount", str(reports)], check=True)
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk.live)], check=True)
        return
    assert look(disk.live) == before


def test_too_little_space_and_too_few_inodes(tmp_path: Path, disk: Fixed) -> None:
    for options, message in (
        ("size=32k", r"media has \d+\.\d KiB free; the new copies need \d+\.\d KiB"),
        ("size=1m,nr_inodes=8", r"media has inodes for \d+ files more; the new copies need \d+"),
    ):
        with mounted(tmp_path / "small" / "media", options) as live:
            disk.here = Here({"media": str(live)})
            for step in ("check", "prepare"):
                with pytest.raises(SpaceError, match=message):
                    disk.step(step)
            assert list(live.iterdir()) == []


def test_the_copy_of_a_killed_restore_is_not_in_the_way_of_the_next(tmp_path: Path, disk: Fixed) -> None:
    with mounted(tmp_path / "small" / "media", "size=128k") as live:
        disk.here = Here({"media": str(live)})
        abandoned = live / folder_of("new", "20261101T000000Z-0001") / "tree"
        abandoned.mkdir(parents=True)
        (abandoned / "big").write_bytes(bytes(120 * 1024))
        disk.step("check")
        disk.step("prepare")
        disk.step("swap")
        assert look(live) == disk.saved


def test_undo_on_a_full_disk(disk: Fixed) -> None:
    disk.step("prepare")
    disk.step("swap")
    fill_up(disk.live / folder_of("found"))
    os.utime(disk.live, ns=(5, 1_600_000_000_000_000_005))
    disk.step("undo")
    assert look(disk.live) == disk.damaged


def test_a_folder_above_that_may_not_be_written_to(open_folder: Path) -> None:
    def work() -> str:
        with closed_above(open_folder / "closed" / "media") as live:
            site = Fixed(live).fill().save().damage()
            for step in ("check", "prepare", "swap"):
                site.step(step)
            restored = look(live)
            site.step("undo")
            return "%s %s %s" % (restored == site.saved, look(live) == site.damaged, site.ours())

    assert as_nobody(work) == "True True []"


def test_a_folder_that_its_owner_cannot_move_is_said_first(open_folder: Path) -> None:
    def work() -> str:
        with closed_above(open_folder / "closed" / "media") as live:
            site = Fixed(live).fill().save().damage()
            os.chmod(live / "dir", 0o555)
            try:
                site.step("check")
            except StateError as exc:
                return str(exc)
            finally:
                os.chmod(live / "dir", 0o755)
            return "nothing"

    assert "dir may not be written to by its owner, so it cannot be moved" in as_nobody(work)
