# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies that restores leave are found by name, and a backup takes none of them for content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _static, _static_names

OLDER, NEWER = "20261120T000000Z-0001", "20261121T000000Z-0002"


def folders(base: Path, *names: str) -> None:
    for name in names:
        (base / name).mkdir(parents=True)
        (base / name / "secret").write_text(name)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        (".authentik-before-" + OLDER, True),
        (".authentik-undone-%s_2" % OLDER, True),
        ("media.before-" + OLDER, True),
        ("media.new-%s.whole" % OLDER, True),
        ("a\nb.found-" + OLDER, True),
        (".authentik-before-2026", False),
        (".authentik-kept-" + OLDER, False),
        ("before-" + OLDER, False),
        ("media.before-%s.tar" % OLDER, False),
        (OLDER, False),
    ],
)
def test_names_that_restores_leave(name: str, ours: bool) -> None:
    assert _static_names.is_ours(name) is ours


def test_copies_are_found_beside_and_inside(tmp_path: Path) -> None:
    live = str(tmp_path / "media")
    inside = "media/.authentik-"
    kept = ["media.before-" + OLDER, "media.undone-%s_2" % OLDER, inside + "before-" + NEWER, inside + "found-" + NEWER]
    abandoned = [inside + "new-" + OLDER.replace("0001", "0009"), "media.new-20261122T000000Z-0003"]
    folders(tmp_path, *kept, *abandoned, "media.new-" + OLDER, "media2.before-" + OLDER, "media/x.before-" + OLDER)
    found = _static_names.kept_copies(live)
    assert [copy.path for copy in found] == sorted(str(tmp_path / name) for name in kept)
    assert {(copy.kind, copy.restore_id, copy.inside) for copy in found} == {
        ("before", OLDER, False),
        ("undone", OLDER, False),
        ("before", NEWER, True),
        ("found", NEWER, True),
    }
    given_up = _static_names.abandoned_copies(live)
    assert [copy.path for copy in given_up] == sorted(str(tmp_path / name) for name in abandoned)
    assert _static_names.find_copies(str(tmp_path / "nothing" / "here")) == []


def test_kept_copies_are_in_no_backup(tmp_path: Path) -> None:
    live = tmp_path / "data"
    folders(live, "media", "media/deep.before-" + OLDER, "lost+found")
    before = _static.digest_tree(str(live))[1]
    mtime = live.stat().st_mtime_ns
    names = [".authentik-before-" + OLDER, ".authentik-new-" + NEWER, "media.before-" + NEWER]
    folders(live, *names)
    os.utime(live, ns=(mtime, mtime))
    target = _static.Target("data", str(live), "test", True)
    record = _static.save(target, None, "gzip")
    for key in ("files", "directories", "bytes"):
        assert record["fingerprint"][key] == before[key], "lost+found is content where it is no mount point's"
    for name in names:
        assert "%s was left by a restore; it is not in this backup" % (live / name) in record["warnings"]
    previous = {"digest": before["digest"], "set": "the last one"}
    sent = _static.save(target, _Refusing(), "gzip", previous)  # type: ignore[arg-type]
    assert sent["state"] == "linked", "the tree is the same with and without them"


class _Refusing:
    """A sink that nothing may be written to."""
