# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories restored into an instance that is laid out otherwise: each part exactly, and undone exactly."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import (
    _static,
    _static_beside,
    _static_move,
    _static_restore,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink, DirectorySource
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Here
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._variables import name_variables
from tests.integration.file_trees import make_odd_tree, snapshot
from tests.support.announce import leave_out

RESTORE_ID = "20261123T090000Z-11aa"


class Move:
    """A set of one directory, and the folder of the instance that it goes to."""

    def __init__(self, base: Path, component: str) -> None:
        self.base, self.component = base, component
        self.tree = base / "old" / component
        self.tree.parent.mkdir()
        self.srv = base / "srv"
        self.srv.mkdir()
        self.here = Here({})
        self.manifest: dict[str, Any] = {}

    def save(self) -> None:
        target = _static.Target(self.component, str(self.tree), "test", True)
        record = _static.save(target, DirectorySink(str(self.base / "set")), "gzip")
        entries = [dict(artifact, component=self.component) for artifact in record["artifacts"]]
        self.manifest = {"components": {self.component: record}, "artifacts": entries}

    def step(self, step: str, components: list[str] | None = None) -> dict[str, Any]:
        records, _said = _static_restore.choose(self.manifest, components)
        work = _static_restore.make_work(records, {}, self.here, RESTORE_ID)
        source = DirectorySource(str(self.base / "set"), self.manifest["artifacts"])
        return _static_restore.restore(step, work, lambda: source, False)

    def steps(self, components: list[str] | None = None) -> list[str]:
        """Check, prepare and swap; returns the plan."""
        plan: list[str] = self.step("check", components)["plan"]
        self.step("prepare", components)
        assert self.step("swap", components)["changed"] is True
        assert self.step("swap", components)["changed"] is False
        return plan

    def names(self, folder: Path | None = None) -> list[str]:
        return sorted(path.name for path in (folder or self.srv).iterdir())


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


@pytest.fixture
def media(tmp_path: Path) -> Move:
    """Uploaded files with everything odd, for an instance that has reports in ``data``, and other uploads."""
    move = Move(tmp_path, "media")
    move.tree.mkdir()
    make_odd_tree(move.tree / "public")
    fill(move.tree, "t_two/icon.svg")
    os.chmod(move.tree, 0o2750)
    move.save()
    fill(move.srv / "data", "reports/public/a.csv", "media/public/live.svg")
    move.here = Here({"data": str(move.srv / "data")}, modern=True)
    return move


@pytest.fixture
def old(tmp_path: Path) -> Move:
    """Uploaded files of before authentik 2024.2, for an instance that has nothing yet."""
    move = Move(tmp_path, "media")
    move.tree.mkdir()
    make_odd_tree(move.tree / "application-icons")
    fill(move.tree, "flow-backgrounds/sea.jpg")
    if os.geteuid() == 0:
        os.chown(move.tree, 1000, 1001)
    move.save()
    move.here = Here({"data": str(move.srv / "data")}, modern=True)
    return move


@pytest.fixture
def data(tmp_path: Path) -> Move:
    """A ``data`` with uploads, reports and something else, for an instance whose storage path holds more."""
    move = Move(tmp_path, "data")
    move.tree.mkdir()
    make_odd_tree(move.tree / "media")
    fill(move.tree, "reports/public/saved.csv", "notes.txt")
    move.save()
    fill(move.srv, "media/public/live.svg", "certs/live.pem")
    move.here = Here({"media": str(move.srv / "media"), "certs": str(move.srv / "certs")}, modern=True)
    return move


def test_media_into_data(media: Move) -> None:
    before, saved, live = snapshot(media.srv), snapshot(media.tree), media.srv / "data" / "media"
    assert "media: this instance keeps it in its directory data, so it goes to %s" % live in media.steps()
    assert snapshot(live) == saved
    assert (media.srv / "data/reports/public/a.csv").read_text() == "reports/public/a.csv"
    media.step("undo")
    after = snapshot(media.srv)
    assert after.keys() == before.keys()
    assert after[b"data/media/public/live.svg"] == before[b"data/media/public/live.svg"]


def test_reports_of_their_own_into_data(tmp_path: Path) -> None:
    move = Move(tmp_path, "extra-reports")
    fill(move.tree, "public/saved.csv")
    move.save()
    saved = snapshot(move.tree)
    move.here = Here({"data": str(move.srv / "data")}, modern=True)
    move.steps()
    assert snapshot(move.srv / "data" / "reports") == saved


def test_uploads_of_before_tenants_get_the_folder_of_the_default_tenant(old: Move) -> None:
    saved, live = snapshot(old.tree), old.srv / "data" / "media"
    assert any("authentik before 2024.2" in line and str(live / "public") in line for line in old.steps())
    assert snapshot(live / "public") == saved
    assert old.names(live) == ["public"]
    for made in (live, live.parent):
        info, model = made.stat(), old.tree.stat()
        assert (info.st_uid, info.st_gid, info.st_mode) == (model.st_uid, model.st_gid, model.st_mode)
    assert not any("kept" in line for line in old.step("undo")["plan"])
    assert old.names(live.parent) == []


def test_uploads_that_were_changed_since_are_kept_by_an_undo(old: Move) -> None:
    old.steps()
    fill(old.srv / "data/media/public", "application-icons/new.svg")
    assert any("it was changed since" in line for line in old.step("undo")["plan"])
    assert old.names(old.srv / "data") == ["media.undone-" + RESTORE_ID]


@pytest.mark.parametrize(
    ("here", "goes_to"),
    [
        ({"modern": True}, "media/public"),
        ({"modern": False}, "media"),
        ({"modern": None}, "media"),
    ],
)
def test_only_a_modern_instance_needs_that_folder_made(old: Move, here: dict[str, Any], goes_to: str) -> None:
    saved = snapshot(old.tree)
    old.here = Here({"media": str(old.srv / "media")}, **here)
    old.steps()
    assert snapshot(old.srv / goes_to) == saved


def test_a_default_tenant_of_another_name_is_no_old_layout(tmp_path: Path) -> None:
    move = Move(tmp_path, "media")
    fill(move.tree, "authentik/application-icons/a.svg")
    move.save()
    saved = snapshot(move.tree)
    move.here = Here({"media": str(move.srv / "media")}, modern=True)
    move.steps()
    assert snapshot(move.srv / "media") == saved


def test_data_into_directories_of_their_own(data: Move) -> None:
    saved = {name: snapshot(data.tree / name) for name in ("media", "reports")}
    live = snapshot(data.srv)
    plan = data.steps()
    assert "data: left out, because this instance has no place for it: notes.txt" in plan
    assert any(
        "media of it goes to %s/media, and reports of it to %s/reports" % (data.srv, data.srv) in x for x in plan
    )
    assert {name: snapshot(data.srv / name) for name in saved} == saved
    assert data.names() == ["certs", "media", "media.before-" + RESTORE_ID, "reports", "reports.before-" + RESTORE_ID]
    undone = data.step("undo")["plan"]
    assert any("may have been changed" in line for line in undone)
    for name in saved:
        kept = data.srv / ("%s.undone-%s" % (name, RESTORE_ID))
        assert snapshot(kept) == saved[name], "what cannot be compared is kept"
        shutil.rmtree(kept)
    assert snapshot(data.srv).keys() == live.keys()
    assert data.step("undo")["changed"] is False


def test_reports_go_where_the_instance_has_them(data: Move) -> None:
    saved = snapshot(data.tree / "reports")
    data.here = data.here._replace(directories={**data.here.directories, "extra-reports": str(data.srv / "exports")})
    data.steps()
    assert snapshot(data.srv / "exports") == saved


@pytest.mark.parametrize(("folder", "modern"), [("media", False), ("uploads", True)])
def test_reports_without_a_place_are_left_out_and_named(data: Move, folder: str, modern: bool) -> None:
    data.here = Here({"media": str(data.srv / folder)}, modern=modern)
    assert any("has no place for it: notes.txt, reports" in line for line in data.step("check")["plan"])
    assert any("has no place for it: notes.txt, reports" in line for line in data.step("prepare")["warnings"])
    data.step("swap")
    assert not (data.srv / "reports").exists()


def test_a_data_that_holds_none_of_it(tmp_path: Path) -> None:
    move = Move(tmp_path, "data")
    move.tree.mkdir()
    (move.tree / "media").symlink_to("/media")
    move.save()
    fill(move.srv, "media/public/live.svg", "reports/public/live.csv")
    move.here = Here({"media": str(move.srv / "media")}, modern=True)
    plan = move.steps()
    assert "data: it holds no directory media, so %s/media would be empty" % move.srv in plan
    assert "data: it holds no directory reports, so %s/reports is left alone" % move.srv in plan
    assert move.names(move.srv / "media") == []
    assert (move.srv / "reports/public/live.csv").exists()
    move.step("undo")
    assert (move.srv / "media/public/live.svg").exists()


@pytest.mark.parametrize("deployment", ["compose", "host"])
def test_a_link_in_data(media: Move, deployment: str) -> None:
    disk = fill(media.base / "disk", "public/live.svg")
    live = media.srv / "data" / "media"
    shutil.rmtree(live)
    live.symlink_to(disk)
    media.here = media.here._replace(deployment=deployment)
    media.steps()
    assert snapshot(live.resolve()) == snapshot(media.tree)
    # On the host it is the operator's and stays; in a volume it is the image's, and leads nowhere on the host.
    assert live.is_symlink() == (deployment == "host")
    assert (disk / "public/live.svg").exists() == (deployment == "compose")
    media.step("undo")
    assert live.is_symlink()
    assert (disk / "public/live.svg").read_text() == "public/live.svg"


@pytest.mark.parametrize("fixture", ["old", "data"])
def test_killed_while_the_parts_are_put_apart(
    fixture: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    move: Move = request.getfixturevalue(fixture)
    before = snapshot(move.srv)
    monkeypatch.setattr(_static_beside, "remove", lambda _path: None)

    def killed(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_static_move, "remove" if fixture == "data" else "dress_like", killed)
    with pytest.raises(KeyboardInterrupt):
        move.step("prepare")
    monkeypatch.undo()
    with pytest.raises(StateError, match="not complete"):
        move.step("swap")
    assert {name: facts for name, facts in snapshot(move.srv).items() if name in before}.keys() == before.keys()
    move.step("undo")
    assert {name for name in snapshot(move.srv) if RESTORE_ID.encode() in name} == set()
    move.steps()


def test_what_is_damaged_is_not_moved(data: Move) -> None:
    before = snapshot(data.srv)
    data.manifest["components"]["data"]["fingerprint"]["digest"] = "0" * 64
    with pytest.raises(IntegrityError, match="not equal"):
        data.step("prepare")
    assert snapshot(data.srv).keys() == before.keys()


@pytest.mark.parametrize("component", ["certs", "custom-templates", "blueprints", "media", "data"])
def test_paths_of_another_deployment_are_not_used(tmp_path: Path, component: str) -> None:
    move = Move(tmp_path, component)
    fill(move.tree, "one")
    move.save()
    move.here = Here({}, moved=True)
    with pytest.raises(InputError, match="no such directory") as refused:
        move.step("check")
    assert component.replace("-", "_") in refused.value.hint
    saved = snapshot(move.tree)
    move.here = Here({component: str(move.srv / "there")}, moved=True)
    move.steps()
    assert snapshot(move.srv / "there") == saved


def test_media_and_data_into_data_alone_take_two_runs_as_the_message_says(tmp_path: Path) -> None:
    # A project that went on with its old mount of media when it got data.
    (tmp_path / "other").mkdir()
    move, other = Move(tmp_path, "media"), Move(tmp_path / "other", "data")
    fill(move.tree, "public/icon.svg")
    move.save()
    fill(other.tree, "reports/public/a.csv")
    (other.tree / "media").symlink_to("/media")
    other.save()
    for artifact in other.manifest["artifacts"]:
        os.rename(other.base / "set" / artifact["path"], move.base / "set" / artifact["path"])
    move.manifest["artifacts"] += other.manifest["artifacts"]
    move.manifest["components"].update(other.manifest["components"])
    fill(move.srv / "data", "media/public/live.svg")
    move.here = Here({"data": str(move.srv / "data")}, "compose", modern=True)
    with pytest.raises(InputError, match="not apart from") as refused:
        move.step("check")
    assert "without media first" in refused.value.hint
    assert "with authentik_components: [media]" in name_variables(refused.value.hint)
    move.steps(["data"])
    move.steps(["media"])
    assert (move.srv / "data/media/public/icon.svg").read_text() == "public/icon.svg"
    assert (move.srv / "data/reports/public/a.csv").exists()
    assert not (move.srv / "data/media").is_symlink()


def as_root() -> None:
    if os.geteuid() != 0:
        leave_out("only root gives files away; run it as root")


@pytest.mark.parametrize(
    ("deployment", "live", "expected"),
    [
        ("host", (998, 997), (998, 997)),
        ("host", None, (4711, 4712)),
        ("compose", (1001, 1001), (1001, 1001)),
        ("compose", (0, 0), (1000, 1000)),
        ("compose", None, (1000, 1000)),
    ],
)
def test_what_was_authentiks_belongs_to_authentik_there(
    tmp_path: Path, deployment: str, live: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    as_root()
    move = Move(tmp_path, "certs")
    fill(move.tree, "own/key.pem", "root.pem", "group.pem")
    (move.tree / "link").symlink_to("own/key.pem")
    os.link(move.tree / "own/key.pem", move.tree / "same.pem")
    for path in (move.tree, move.tree / "own", move.tree / "own/key.pem", move.tree / "link"):
        os.chown(path, 4711, 4712, follow_symlinks=False)
    os.chown(move.tree / "group.pem", 33, 4712)
    os.chmod(move.tree / "own/key.pem", 0o4600)
    os.chmod(move.tree / "own", 0o2750)
    move.save()
    target = move.srv / "certs"
    if live:
        target.mkdir()
        os.chown(target, *live)
    move.here = Here({"certs": str(target)}, deployment, moved=True)
    before = snapshot(move.tree)
    plan = move.steps()
    given = "certs: what belonged to 4711:4712 is given to %d:%d" % expected
    assert any(given in line for line in plan) == (expected != (4711, 4712))
    for name in (".", "own", "own/key.pem", "link", "same.pem"):
        info = (target / name).lstat()
        assert (info.st_uid, info.st_gid) == expected, name
    assert ((target / "root.pem").stat().st_uid, (target / "group.pem").stat().st_uid) == (0, 33)
    assert (target / "group.pem").stat().st_gid == expected[1]
    after = snapshot(target)
    for facts in [*before.values(), *after.values()]:
        del facts["owner"]
    assert after == before
    move.step("undo")
    assert target.exists() == (live is not None)


def test_owners_stay_within_one_deployment(tmp_path: Path) -> None:
    as_root()
    move = Move(tmp_path, "certs")
    fill(move.tree, "key.pem")
    os.chown(move.tree, 4711, 4712)
    move.save()
    (move.srv / "certs").mkdir()
    move.here = Here({"certs": str(move.srv / "certs")}, "compose")
    saved = snapshot(move.tree)
    move.steps()
    assert snapshot(move.srv / "certs") == saved
