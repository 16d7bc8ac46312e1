# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories that are emptied before their copies are unpacked: nothing by mistake, and no room for two is needed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _static_places, _static_restore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import SpaceError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySource
from tests.integration.static_inside import RESTORE_ID, Fixed, closed_above, look, mounted


def step(name: str, tree: Fixed, pretend: bool = False) -> dict[str, Any]:
    """One step in place."""
    records, _said = _static_restore.choose(tree.manifest, None)
    work = _static_places.in_place(_static_restore.make_work(records, {}, tree.here, RESTORE_ID))
    source = DirectorySource(str(tree.set), tree.manifest["artifacts"])
    return _static_restore.restore(name, work, lambda: source, pretend)


# A folder that nobody may write to is none for root.
@pytest.fixture(params=["beside", "mounted"] + ([] if os.geteuid() == 0 else ["closed above"]))
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fixed]:
    """A saved directory that was damaged since, and can be renamed or cannot."""
    live = tmp_path / "authentik" / "media"
    if request.param == "beside":
        live.mkdir(parents=True)
        yield Fixed(live).fill().save().damage()
        return
    with (mounted if request.param == "mounted" else closed_above)(live):
        yield Fixed(live).fill().save().damage()


def test_what_is_live_goes_first_and_the_copy_comes_back_whole(tree: Fixed) -> None:
    plan = step("check", tree)["plan"]
    assert any("would be REMOVED before the copy is unpacked" in line for line in plan), plan
    assert not any("kept" in line for line in plan), plan
    assert step("clear", tree, pretend=True)["changed"]
    assert look(tree.live) == tree.damaged
    assert step("clear", tree)["changed"]
    assert os.listdir(tree.live) == []
    assert not step("clear", tree)["changed"]
    step("prepare", tree)
    assert [name for name in os.listdir(tree.live) if not name.startswith(".authentik-")] == []
    assert step("swap", tree)["changed"]
    assert look(tree.live) == tree.saved
    assert os.listdir(tree.live.parent) == ["media"]
    assert tree.ours() == []
    assert step("undo", tree)["plan"] == [], "there is nothing left to go back to"


def test_nothing_is_unpacked_beside_what_is_still_there(tree: Fixed) -> None:
    with pytest.raises(StateError, match="step: clear"):
        step("prepare", tree)
    assert look(tree.live) == tree.damaged


def test_what_somebody_makes_meanwhile_is_not_overwritten(tree: Fixed) -> None:
    step("clear", tree)
    step("prepare", tree)
    (tree.live / "meanwhile").write_text("an upload")
    with pytest.raises(StateError, match="was made in"):
        step("swap", tree)
    assert (tree.live / "meanwhile").read_text() == "an upload"
    assert any("was removed" in line for line in step("undo", tree)["plan"])
    assert os.listdir(tree.live) == ["meanwhile"]


def test_a_directory_that_is_not_there_needs_no_set_to_go_back(tmp_path: Path) -> None:
    live = tmp_path / "authentik" / "media"
    live.mkdir(parents=True)
    tree = Fixed(live).fill().save()
    shutil.rmtree(live)
    assert step("clear", tree)["plan"] == []
    step("prepare", tree)
    step("swap", tree)
    assert look(live) == tree.saved
    step("undo", tree)
    assert os.listdir(live.parent) == []


def test_the_room_for_one_is_enough(tmp_path: Path) -> None:
    with mounted(tmp_path / "authentik", "size=8m") as disk:
        live = disk / "media"
        live.mkdir()
        tree = Fixed(live)
        tree.set = tmp_path / "set"
        tree.fill()
        (live / "large").write_bytes(os.urandom(5 << 20))
        tree.save().damage()
        with pytest.raises(SpaceError):
            tree.step("check")
        for name in ("check", "clear", "prepare", "swap"):
            step(name, tree)
        assert look(live) == tree.saved
        # Nor is room invented: what the set holds has to fit into what is free and what goes.
        (live / "large").unlink()
        (disk / "others").write_bytes(os.urandom(4 << 20))
        with pytest.raises(SpaceError):
            step("check", tree)


def test_what_another_user_may_not_remove_is_in_the_way_before_anything_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = tmp_path / "authentik" / "media"
    live.mkdir(parents=True)
    tree = Fixed(live).fill().save().damage()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(StateError, match="belongs to another user, so what it holds cannot be removed"):
        step("clear", tree)
    assert look(live) == tree.damaged


def test_a_part_that_the_set_does_not_hold_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "saved" / "data"
    (data / "media").mkdir(parents=True)
    (data / "media" / "logo.svg").write_text("<svg/>")
    tree = Fixed(data, "data").save()
    live, reports = tmp_path / "here" / "media", tmp_path / "here" / "reports"
    for folder in (live, reports):
        folder.mkdir(parents=True)
        (folder / "present").write_text("present")
    tree.here = _static_places.Here({"media": str(live)})
    for name in ("check", "clear", "prepare", "swap"):
        step(name, tree)
    assert os.listdir(live) == ["logo.svg"]
    assert os.listdir(reports) == ["present"]
