# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories restored step by step, stopped anywhere, and undone: the live one is whole at every moment."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import signal
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import (
    _mounts,
    _static,
    _static_restore,
    _static_space,
    _tar_extract,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    IntegrityError,
    SpaceError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink, DirectorySource
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Here
from tests.integration.file_trees import acl, as_nobody, die, in_child, make_odd_tree, open_folder, snapshot
from tests.support.announce import leave_out

__all__ = ["open_folder"]
RESTORE_ID = "20261123T090000Z-11aa"


class Site:
    """A live directory that was backed up and then damaged."""

    def __init__(self, base: Path, compression: str = "gzip") -> None:
        self.base = base
        (base / "srv").mkdir()
        self.live = make_odd_tree(base / "srv" / "media")
        self.saved = snapshot(self.live)
        record = _static.save(
            _static.Target("media", str(self.live), "test", True), DirectorySink(str(base / "set")), compression
        )
        entries = [dict(artifact, component="media") for artifact in record["artifacts"]]
        self.manifest: dict[str, Any] = {"components": {"media": record}, "artifacts": entries}
        (self.live / "plain.txt").write_text("damaged")
        (self.live / "added").write_text("added")
        self.damaged = snapshot(self.live)
        self.new = base / "srv" / ("media.new-" + RESTORE_ID)
        self.before = base / "srv" / ("media.before-" + RESTORE_ID)

    def source(self) -> DirectorySource:
        return DirectorySource(str(self.base / "set"), self.manifest["artifacts"])

    def step(self, step: str, pretend: bool = False, **paths: str) -> dict[str, Any]:
        records, _said = _static_restore.choose(self.manifest, None)
        work = _static_restore.make_work(records, paths, Here({}), RESTORE_ID)
        return _static_restore.restore(step, work, self.source, pretend)

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.base / "srv").iterdir())

    @property
    def archive(self) -> Path:
        return self.base / "set" / str(self.manifest["artifacts"][0]["path"])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_back_exactly_and_undone_exactly(tmp_path: Path, compression: str) -> None:
    if compression == "zstd" and shutil.which("zstd") is None:
        leave_out("zstd is not installed (apt install zstd)")
    site = Site(tmp_path, compression)
    assert site.step("check")["changed"] is False
    assert (site.names(), snapshot(site.live)) == (["media"], site.damaged)
    site.step("prepare")
    assert (snapshot(site.live), snapshot(site.new)) == (site.damaged, site.saved)
    assert site.step("swap")["changed"] is True
    assert (snapshot(site.live), snapshot(site.before)) == (site.saved, site.damaged)
    assert site.step("swap")["changed"] is False
    assert site.step("undo")["changed"] is True
    assert (snapshot(site.live), site.names()) == (site.damaged, ["media"])
    assert site.step("undo") == {"changed": False, "plan": [], "warnings": []}


def test_a_directory_that_is_gone_comes_back_and_undo_takes_it_away(site: Site) -> None:
    shutil.rmtree(site.live)
    assert "there is no %s now" % site.live in " ".join(site.step("check")["plan"])
    site.step("prepare")
    site.step("swap")
    assert snapshot(site.live) == site.saved
    site.step("undo")
    assert site.names() == []


def test_another_place_whose_folders_do_not_exist(site: Site) -> None:
    other = site.base / "new" / "disk" / "media"
    for step in ("check", "prepare", "swap"):
        site.step(step, media=str(other))
    assert snapshot(other) == site.saved
    assert snapshot(site.live) == site.damaged


def test_a_link_to_the_directory_stays_a_link(site: Site) -> None:
    real = site.base / "real"
    site.live.rename(real)
    site.live.symlink_to(real)
    site.step("prepare")
    site.step("swap")
    assert site.live.is_symlink()
    assert snapshot(real) == site.saved


def test_check_mode_changes_nothing_and_still_reads_everything(site: Site) -> None:
    for step in ("prepare", "swap"):
        result = site.step(step, pretend=True)
        assert (result["changed"], site.names(), snapshot(site.live)) == (True, ["media"], site.damaged)
    site.archive.write_bytes(site.archive.read_bytes()[:-100])
    for step in ("check", "prepare", "swap"):
        with pytest.raises(IntegrityError, match="were recorded"):
            site.step(step, pretend=True)
    site.step("undo", pretend=True)


def test_undo_in_check_mode_only_says_it(site: Site) -> None:
    site.step("prepare")
    site.step("swap")
    before = site.names()
    said = site.step("undo", pretend=True)
    assert (said["changed"], site.names()) == (True, before)
    assert said["plan"] == site.step("undo")["plan"][: len(said["plan"])]


def test_the_plan_names_links_that_lead_outside(site: Site) -> None:
    plan = site.step("check")["plan"]
    assert "media: outside is a symbolic link that leads outside, to /etc/passwd" in plan
    assert any(str(site.before) in sentence for sentence in plan)


def rewrite(site: Site, data: bytes) -> None:
    """Replace the archive together with its record, as somebody who may write to the store could."""
    packed = gzip.compress(data)
    site.archive.write_bytes(packed)
    site.manifest["artifacts"][0].update(size=len(packed), sha256=hashlib.sha256(packed).hexdigest())


def evil(name: str, kind: bytes, link: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in ((".", tarfile.DIRTYPE, ""), (name, kind, link)):
            info = tarfile.TarInfo(member[0])
            info.type, info.linkname = member[1], member[2]
            info.uid, info.gid, info.mode = os.geteuid(), os.getegid(), 0o755
            tar.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize("step", ["check", "prepare"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (evil("../x", tarfile.REGTYPE), "'..' in its path"),
        (evil("/etc/x", tarfile.REGTYPE), "absolute path"),
        (evil("x", tarfile.SYMTYPE, "/etc"), "the backup did not record it"),
        (evil("x", tarfile.CHRTYPE), "device node"),
        (evil("x", tarfile.REGTYPE), "not equal to the backup's fingerprint: files: expected"),
        (b"no tar at all" * 100, "cannot be read"),
    ],
)
def test_a_replaced_archive_is_refused_and_leaves_nothing(site: Site, step: str, data: bytes, message: str) -> None:
    rewrite(site, data)
    with pytest.raises(IntegrityError, match=message):
        site.step(step)
    assert (site.names(), snapshot(site.live)) == (["media"], site.damaged)


@pytest.mark.parametrize("step", ["check", "prepare"])
def test_one_flipped_byte_is_found(site: Site, step: str) -> None:
    data = bytearray(site.archive.read_bytes())
    data[len(data) // 2] ^= 1
    site.archive.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match=r"static/media.tar.gz has SHA-256"):
        site.step(step)
    assert site.names() == ["media"]


@pytest.mark.parametrize("step", ["check", "prepare"])
def test_a_file_in_the_place_is_not_replaced(site: Site, step: str) -> None:
    shutil.rmtree(site.live)
    site.live.write_text("a file")
    with pytest.raises(StateError, match="media is not a directory"):
        site.step(step)
    assert site.live.read_text() == "a file"


def test_a_mount_point_below_cannot_be_swapped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    point = str(site.live / "empty")
    monkeypatch.setattr(_mounts, "read", lambda: [_mounts.Mount("/", where, "ext4") for where in ("/", point)])
    for step in ("check", "prepare"):
        with pytest.raises(StateError, match=r"is a mount point, which cannot be swapped.*paths: \{media: /path\}"):
            site.step(step)
    assert site.names() == ["media"]


def test_too_little_space_is_said_before_anything_is_written(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_static_space, "free_bytes", lambda _path: 1024)
    for step in ("check", "prepare"):
        with pytest.raises(SpaceError, match=r"srv has 1.0 KiB free; the new copies need 9\.\d MiB"):
            site.step(step)
    assert site.names() == ["media"]


def test_swap_without_prepare(site: Site) -> None:
    with pytest.raises(StateError, match="nothing is prepared"):
        site.step("swap")


def test_prepare_again_replaces_what_a_killed_try_left(site: Site) -> None:
    site.new.mkdir()
    (site.new / "rest").write_text("x")
    site.step("prepare")
    assert snapshot(site.new) == site.saved


def test_prepare_clears_copies_of_killed_restores(site: Site) -> None:
    srv = site.base / "srv"
    gone = "media.new-20260101T000000Z-ffff"
    half_swapped = ["media.before-20260102T000000Z-ffff", "media.new-20260102T000000Z-ffff"]
    others = ["media.new-2026", "media2.new-20260101T000000Z-ffff"]
    for name in (gone, *half_swapped, *others):
        (srv / name).mkdir()
    site.step("check")
    assert gone in site.names()
    site.step("prepare")
    assert site.names() == sorted(["media", site.new.name, *half_swapped, *others])


def test_what_was_written_after_the_restore_survives_undo(site: Site) -> None:
    site.step("prepare")
    site.step("swap")
    (site.live / "upload").write_text("written since")
    kept = site.base / "srv" / ("media.undone-" + RESTORE_ID)
    assert any(str(kept) in sentence for sentence in site.step("undo", pretend=True)["plan"])
    site.step("undo")
    assert (snapshot(site.live), (kept / "upload").read_text()) == (site.damaged, "written since")
    site.step("prepare")
    site.step("swap")
    (site.live / "upload").write_text("and again")
    site.step("undo")
    assert (kept / "upload").read_text() == "written since"
    assert (kept.with_name(kept.name + "_2") / "upload").read_text() == "and again"


def test_prepare_after_swap_is_refused(site: Site) -> None:
    site.step("prepare")
    site.step("swap")
    with pytest.raises(StateError, match="swapped in already"):
        site.step("prepare")
    assert snapshot(site.live) == site.saved


@pytest.mark.parametrize("nth", [1, 2, 5, 12, 30])
def test_killed_while_unpacking(site: Site, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    count = [0]
    dress = _tar_extract.Extraction._dress

    def killing(self: Any, fd: int, entry: Any) -> None:
        count[0] += 1
        if count[0] == nth:
            die()
        dress(self, fd, entry)

    monkeypatch.setattr(_tar_extract.Extraction, "_dress", killing)
    ended = in_child(lambda: site.step("prepare"))
    monkeypatch.undo()
    assert ended in (signal.SIGKILL, 0)
    assert snapshot(site.live) == site.damaged
    assert site.step("undo")["changed"] is True
    assert (site.names(), snapshot(site.live)) == (["media"], site.damaged)


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("step", ["swap", "undo"])
@pytest.mark.parametrize("end", ["undo", "again"])
def test_killed_between_renames(site: Site, step: str, after: int, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    site.step("prepare")
    if step == "undo":
        site.step("swap")
    rename, count = os.rename, [0]

    def killing(source: Any, target: Any) -> None:
        if count[0] == after:
            die()
        count[0] += 1
        rename(source, target)

    monkeypatch.setattr(os, "rename", killing)
    assert in_child(lambda: site.step(step)) == signal.SIGKILL
    monkeypatch.undo()
    if end == "again":
        site.step(step)
    if step == "swap" and end == "again":
        assert (snapshot(site.live), snapshot(site.before)) == (site.saved, site.damaged)
    site.step("undo")
    assert (site.names(), snapshot(site.live)) == (["media"], site.damaged)


def test_what_was_made_in_the_middle_of_a_swap_is_kept(site: Site) -> None:
    site.step("prepare")
    site.live.rename(site.before)
    site.live.mkdir()
    (site.live / "upload").write_text("made meanwhile")
    with pytest.raises(StateError, match="was made anew while this restore was half swapped"):
        site.step("swap")
    site.step("undo")
    found = site.base / "srv" / ("media.found-" + RESTORE_ID)
    assert (snapshot(site.live), (found / "upload").read_text()) == (site.damaged, "made meanwhile")


def test_without_root_what_belongs_to_oneself_comes_back(open_folder: Path) -> None:
    def work() -> str:
        site = Site(open_folder)
        for step in ("check", "prepare", "swap"):
            site.step(step)
        equal = snapshot(site.live) == site.saved
        site.step("undo")
        return "%s %s" % (equal, snapshot(site.live) == site.damaged)

    assert as_nobody(work) == "True True"


def test_without_root_what_belongs_to_others_is_refused(open_folder: Path) -> None:
    if os.geteuid() != 0:
        leave_out("making files of several owners needs root")
    site = Site(open_folder)
    os.chmod(open_folder / "set", 0o755)
    os.chmod(open_folder / "set" / "static", 0o755)
    os.chmod(site.archive, 0o644)
    other = open_folder / "other"
    other.mkdir()
    os.chmod(other, 0o777)
    found = as_nobody(lambda: site.step("check", media=str(other / "media")))
    assert "only root restores owners, run the task with become: true (. belongs to uid 0, the task runs as" in found
    assert "more)" in found
    found = as_nobody(lambda: site.step("prepare", media=str(other / "media")))
    assert found.startswith("StateError: . belongs to uid 0")
    assert list(other.iterdir()) == []


def test_attributes_that_cannot_be_set_are_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_more: Any) -> None:
        raise OSError(95, "Operation not supported")

    if not any(facts["attributes"] for facts in site.saved.values()):
        leave_out("the file system of %s keeps no extended attributes" % site.base)
    monkeypatch.setattr(os, "setxattr", refuse)
    with pytest.raises(StateError, match=r"extended attribute .* cannot be set below .*Operation not supported"):
        site.step("prepare")
    assert site.names() == ["media"]


def test_a_default_acl_of_the_folder_above_does_not_spread(site: Site) -> None:
    try:
        os.setxattr(site.base / "srv", "system.posix_acl_default", acl(0o777, 99))
    except OSError:
        leave_out("the file system of %s keeps no ACLs" % site.base)
    site.step("prepare")
    assert snapshot(site.new) == site.saved


def test_the_new_copy_is_closed_to_others_until_it_is_whole(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    finish = _tar_extract.Extraction.finish

    def look(self: Any) -> None:
        modes.append(oct(os.stat(site.new).st_mode & 0o777))
        finish(self)

    monkeypatch.setattr(_tar_extract.Extraction, "finish", look)
    site.step("prepare")
    assert modes == ["0o700"]
