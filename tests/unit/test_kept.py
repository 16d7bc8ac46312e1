# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of the copies that restores keep go, and that nothing else does."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _kept_copies, _restore_record
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._kept import RECORD, Copy, judge
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_names import (
    find_copies,
    names_for,
)
from tests.unit.test_restore_record import FUTURE, NOW, OLD, OLDEST, YOUNG, begun


def copy(restore_id: str, kind: str = "before", of: str = "authentik") -> Copy:
    return Copy(restore_id, "postgresql", kind, "%s %s %s" % (of, kind, restore_id), of)


def record(restore_id: str, state: str, **more: Any) -> dict[str, Any]:
    known = {"restore_id": restore_id, "state": state, "phase": "", "components": ["media"]}
    return {**known, "safety_set": "", "gone": False, **more}


def going(copies: list[Copy], records: list[dict[str, Any]], now: datetime.datetime = NOW, days: int = 30) -> list[str]:
    return [verdict.copy.name for verdict in judge(copies, records, now, days) if verdict.goes]


@pytest.mark.parametrize(
    ("copies", "records", "expected"),
    [
        # The only way back stays whatever its age.
        ([copy(OLD)], [record(OLD, "done")], []),
        ([copy(OLD), copy(YOUNG)], [record(OLD, "done"), record(YOUNG, "done")], ["authentik before " + OLD]),
        ([copy(OLDEST), copy(OLD)], [], ["authentik before " + OLDEST]),
        # A restore stays whole: its media is the latest, so its database stays, too.
        ([copy(OLD), copy(OLD, of="/media"), copy(YOUNG)], [record(OLD, "done"), record(YOUNG, "done")], []),
        # One that runs, or was interrupted, and everything that was begun before it stays its own matter.
        ([copy(OLD), copy(OLD, "new"), copy(YOUNG)], [record(YOUNG, "done"), record(OLD, "running")], []),
        ([copy(OLD), copy(YOUNG)], [record(YOUNG, "done"), record(OLD, "failed")], []),
        # Interrupted long ago, and another one was finished since.
        (
            [copy(OLD), copy(OLD, "load"), copy(YOUNG)],
            [record(OLD, "running"), record(YOUNG, "done")],
            ["authentik before " + OLD, "authentik load " + OLD],
        ),
        # Never swapped in, and its restore has ended: goes though it is young.
        ([copy(YOUNG, "new")], [record(YOUNG, "put_back")], ["authentik new " + YOUNG]),
        # Whose nobody knows: only its age counts.
        ([copy(YOUNG, "new"), copy(OLD, "load")], [], ["authentik load " + OLD]),
        # Where ids and the order of the restores differ, the latest by either stays.
        ([copy(OLDEST), copy(OLD)], [record(OLD, "done"), record(OLDEST, "done")], []),
        ([copy(OLD), copy(FUTURE)], [record(OLD, "done"), record(FUTURE, "done")], ["authentik before " + OLD]),
        # What a rollback kept has a latest one, too.
        (
            [copy(OLDEST, "undone"), copy(OLD, "undone"), copy(YOUNG)],
            [record(OLDEST, "undone"), record(OLD, "undone"), record(YOUNG, "done")],
            ["authentik undone " + OLDEST],
        ),
    ],
)
def test_what_goes(copies: list[Copy], records: list[dict[str, Any]], expected: list[str]) -> None:
    assert going(copies, records) == expected


def test_a_record_stays_as_long_as_something_of_its_restore_does() -> None:
    def folder(restore_id: str) -> Copy:
        return Copy(restore_id, "record", "record", "folder " + restore_id, "record")

    records = [record(OLDEST, "cleaned"), record(OLD, "done"), record(YOUNG, "done")]
    copies = [copy(OLD, of="/media"), *map(folder, (OLDEST, OLD, YOUNG)), copy(YOUNG)]
    assert going(copies, records) == ["folder " + OLDEST]


def test_the_record_that_names_the_only_way_back_stays() -> None:
    in_place: dict[str, Any] = {"safety_set": OLDEST}
    copies = [Copy(one, RECORD, RECORD, one, RECORD) for one in (OLDEST, OLD, YOUNG)]
    done, later = record(OLD, "done", **in_place), [record(YOUNG, "done")]
    assert going(copies, [record(OLDEST, "done", **in_place), done, *later]) == [OLDEST]
    assert going(copies[1:], [record(OLD, "undone", **in_place), *later]) == [OLD]
    cut_off = record(OLD, "failed", gone=True, **in_place)
    assert going([copy(OLD), copy(YOUNG)], [cut_off, record(YOUNG, "done", components=["certs"])]) == []
    assert going(copies[1:], [cut_off, *later]) == []


def test_a_clock_that_was_set_back_removes_nothing_early() -> None:
    copies, records = [copy(OLD), copy(YOUNG)], [record(OLD, "done"), record(YOUNG, "done")]
    assert going(copies, records, NOW - datetime.timedelta(days=365), days=0) == []
    (verdict, _latest) = judge(copies, records, NOW - datetime.timedelta(days=365), 0)
    assert "of the future" in verdict.reason
    assert going(copies, records, days=0) == ["authentik before " + OLD]


@pytest.mark.parametrize("live", ["authentik", "A b", "x" * 63])
def test_only_databases_with_the_exact_name_of_a_copy_are_found(live: str) -> None:
    names = names_for(live, OLD)
    others = [
        live,
        "wiki_before_20261001t000000z_0002",
        names.before + "x",
        names.before[:-1],
        names.before.replace("20261001", "20261341"),
        names.before.upper(),
        "x" + names.before,
        names_for(live + "2", OLD).before,
    ]
    found = find_copies(live, [*others, *names[1:], *([] if len(live) == 63 else [names.undone + "_2"])])
    kinds = ("load", "new", "before", "undone")
    assert {(name, kind) for name, kind, _id in found} >= set(zip(names[1:], kinds, strict=True))
    assert not {name for name, _kind, _id in found} & set(others)
    assert {restore_id for _name, _kind, restore_id in found} == {OLD}


def test_directories_and_files_are_found_and_removed_with_the_record_last(tmp_path: Path) -> None:
    work, media = tmp_path / "work", tmp_path / "media"
    for restore_id in (OLD, YOUNG):
        begun(work, restore_id, "done")
        _restore_record.update(str(work), restore_id, {"directories": [str(media)]}, NOW)
        (tmp_path / ("media.before-" + restore_id) / "deep").mkdir(parents=True)
        (tmp_path / ("media.before-" + restore_id) / "deep" / "file").write_text("12345")
        (work / restore_id / "config").mkdir()
        plan = {"state": "swapped", "items": [{"path": str(tmp_path / "c.yml"), "action": "replace"}]}
        (work / restore_id / "config" / "plan.json").write_text(json.dumps(plan))
        (tmp_path / ("c.yml.before-" + restore_id)).write_text("x")
    media.mkdir()
    others = [tmp_path / name for name in ("media.before-20269901T000000Z-0001", "media.before-", "media2", "c.yml")]
    for path in others:
        path.mkdir()
    where = _kept_copies.look(str(work), "sso", None, [], [])
    found = _kept_copies.find(where)
    assert [c.size for c in found if c.component == "directory"] == [5, 5]
    gone = [verdict.copy for verdict in judge(found, where.records, NOW, 30) if verdict.goes]
    # Killed half-way: the next run finishes.
    _kept_copies.remove(where, gone[:1], NOW)
    assert (_restore_record.read(str(work), OLD) or {})["state"] == "cleaned"
    with pytest.raises(StateError, match="removed by the cleanup"):
        _restore_record.choose(str(work), "sso", OLD)
    where = _kept_copies.look(str(work), "sso", None, [], [])
    gone = [verdict.copy for verdict in judge(_kept_copies.find(where), where.records, NOW, 30) if verdict.goes]
    _kept_copies.remove(where, gone, NOW)
    assert sorted(path.name for path in work.iterdir()) == [YOUNG]
    assert sorted(path.name for path in tmp_path.glob("*before-*")) == sorted(
        [others[0].name, others[1].name, "media.before-" + YOUNG, "c.yml.before-" + YOUNG]
    )
    assert media.exists()
    assert all(path.exists() for path in others)


def test_before_anything_of_a_bucket_goes_its_record_says_so(tmp_path: Path) -> None:
    begun(tmp_path, OLD, "done")
    where = _kept_copies.look(str(tmp_path), "sso", None, [], [])
    _kept_copies.remove(where, [Copy(OLD, "s3", "before", "s3://b/authentik-before-" + OLD, "s3://b", 1)], NOW)
    assert (_restore_record.read(str(tmp_path), OLD) or {})["state"] == "cleaned"
