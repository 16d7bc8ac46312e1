# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records of restores: which one a rollback takes back, and what is refused."""

from __future__ import annotations

import datetime
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import (
    _restore_claim,
    _restore_lease,
    _restore_record,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, StateError

NOW = datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC)
OLDEST, OLD, YOUNG, FUTURE = (
    "20260901T000000Z-0001",
    "20261001T000000Z-0002",
    "20261130T000000Z-0003",
    "20270101T000000Z-0004",
)


def manifest(set_id: str = OLDEST) -> dict[str, Any]:
    return {"id": set_id}


def facts(restore_id: str, instance: str = "sso") -> dict[str, Any]:
    return {"restore_id": restore_id, "instance": instance, "deployment": "host", "components": ["media"], "undo": {}}


def begun(work: Path, restore_id: str, state: str, instance: str = "sso") -> None:
    _restore_record.begin(str(work), manifest(), facts(restore_id, instance), NOW)
    _restore_record.update(str(work), restore_id, {"state": state}, NOW)


def test_the_latest_restore_is_the_one_that_began_last(tmp_path: Path) -> None:
    begun(tmp_path, FUTURE, "done")
    begun(tmp_path, OLD, "done")
    begun(tmp_path, YOUNG, "put_back")
    begun(tmp_path, OLDEST, "done", instance="other")
    assert _restore_record.choose(str(tmp_path), "sso", None)["restore_id"] == OLD
    assert _restore_record.choose(str(tmp_path), "sso", FUTURE)["restore_id"] == FUTURE
    with pytest.raises(StateError, match="not known on this host"):
        _restore_record.choose(str(tmp_path), "sso", OLDEST)
    _restore_record.update(str(tmp_path), OLD, {"state": "undone"}, NOW)
    assert _restore_record.choose(str(tmp_path), "sso", None)["restore_id"] == OLD


@pytest.mark.parametrize("state", ["running", "done", "failed", "cleaned"])
def test_an_id_that_is_a_way_back_is_not_used_again(tmp_path: Path, state: str) -> None:
    begun(tmp_path, OLD, state)
    with pytest.raises(StateError, match="restore under another id"):
        begun(tmp_path, OLD, "done")
    assert (_restore_record.read(str(tmp_path), OLD) or {})["state"] == state


def test_a_restore_that_removed_what_was_live_is_found_until_that_is_settled(tmp_path: Path) -> None:
    work = str(tmp_path)

    def found() -> str:
        return str((_restore_record.find_gone(_restore_record.find(work, "sso").records) or {}).get("restore_id"))

    begun(tmp_path, OLDEST, "running")
    _restore_record.update(work, OLDEST, {"safety_set": YOUNG}, NOW)
    assert found() == "None", "nothing was removed yet"
    _restore_record.update(work, OLDEST, {"gone": True}, NOW)
    assert found() == OLDEST
    for components, state, safety_set, expected in (
        (["certs"], "done", "", OLDEST),
        (["media"], "running", "", OLDEST),
        (["media"], "put_back", "", OLDEST),
        (["media", "certs"], "put_back", YOUNG, "None"),
        (["media", "certs"], "undone", YOUNG, "None"),
        (["media", "certs"], "done", "", "None"),
    ):
        more = {**facts(OLD), "components": components, "safety_set": safety_set}
        _restore_record.begin(work, manifest(), more, NOW)
        _restore_record.update(work, OLD, {"state": state}, NOW)
        assert found() == expected, (components, state, safety_set)
        _restore_record.forget(work, OLD)
    for state, expected in (("failed", OLDEST), ("put_back", "None"), ("undone", "None"), ("done", "None")):
        _restore_record.update(work, OLDEST, {"state": state}, NOW)
        assert found() == expected, state


def test_its_safety_set_settles_it_without_the_components_that_were_never_removed(tmp_path: Path) -> None:
    work = str(tmp_path)
    components = ["postgresql", "media", "redis", "config"]
    _restore_record.begin(work, manifest(), {**facts(OLDEST), "components": components}, NOW)
    _restore_record.update(work, OLDEST, {"safety_set": YOUNG, "gone": True, "state": "failed"}, NOW)
    _restore_record.begin(work, manifest(), {**facts(OLD), "components": ["postgresql"]}, NOW)
    _restore_record.update(work, OLD, {"state": "done"}, NOW)
    assert _restore_record.find_gone(_restore_record.find(work, "sso").records), "the directory is not back"
    _restore_record.begin(work, manifest(), {**facts(YOUNG), "components": ["postgresql", "media"]}, NOW)
    _restore_record.update(work, YOUNG, {"state": "done"}, NOW)
    assert _restore_record.find_gone(_restore_record.find(work, "sso").records) is None


def test_a_record_from_before_there_were_restores_in_place_is_read(tmp_path: Path) -> None:
    begun(tmp_path, OLD, "done")
    path = tmp_path / OLD / "restore.json"
    record = json.loads(path.read_text())
    for name in ("mode", "safety_set", "gone"):
        del record[name]
    path.write_text(json.dumps(record))
    read = _restore_record.read(str(tmp_path), OLD) or {}
    assert (read["mode"], read["safety_set"], read["gone"]) == ("side_by_side", "", False)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 1, "restore_id": "x"}', '{"format": 2}'])
def test_a_record_that_cannot_be_read_is_told(tmp_path: Path, text: str) -> None:
    begun(tmp_path, OLD, "done")
    (tmp_path / OLD / "restore.json").write_text(text)
    with pytest.raises(IntegrityError):
        _restore_record.read(str(tmp_path), OLD)
    assert len(_restore_record.find(str(tmp_path)).problems) == 1


def test_the_folder_of_the_records_is_not_swapped_itself(tmp_path: Path) -> None:
    begun(tmp_path / "media/work", OLD, "running")
    with pytest.raises(StateError, match="lies within"):
        _restore_record.update(str(tmp_path / "media/work"), OLD, {"directories": [str(tmp_path / "media")]}, NOW)


def owner(name: str, place: str = "here") -> dict[str, Any]:
    return {"id": name, "place": place, "host": "ops", "pid": 7, "start": "1", "user": "root"}


def try_to_begin(work: str, restore_id: str, name: str, gate: Any, results: Any) -> None:
    gate.wait()
    try:
        _restore_record.begin(work, manifest(), facts(restore_id), NOW, _restore_claim.Claim(owner(name)))
        results.put(name)
    except StateError:
        results.put("")


def test_of_restores_that_begin_at_the_same_moment_one_is_made(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for turn in range(3):
        gate, results = context.Barrier(4), context.Queue()
        ids = ["202609%02dT000000Z-%04x" % (turn + 1, number) for number in range(4)]
        work = str(tmp_path / str(turn))
        runs = [context.Process(target=try_to_begin, args=(work, one, one, gate, results)) for one in ids]
        for run in runs:
            run.start()
        found = [results.get(timeout=120) for _run in runs]
        for run in runs:
            run.join()
        assert len([name for name in found if name]) == 1
        assert [record["owner"]["id"] for record in _restore_record.find(work).records] == [
            name for name in found if name
        ]


@pytest.mark.parametrize(
    ("fact", "instance", "cleared"),
    [
        ({}, "sso", True),
        # From here on it is the way back.
        ({"phase": "swap"}, "sso", False),
        ({"gone": True}, "sso", False),
        ({"state": "done"}, "sso", False),
        ({"state": "failed"}, "sso", False),
        ({}, "other", False),
    ],
)
def test_what_was_prepared_and_never_swapped_goes_when_the_next_restore_begins(
    tmp_path: Path, fact: dict[str, Any], instance: str, cleared: bool
) -> None:
    _restore_record.begin(str(tmp_path), manifest(), facts(OLD, instance), NOW)
    _restore_record.update(str(tmp_path), OLD, fact, NOW)
    for name in ("config", "redis", "compose"):
        (tmp_path / OLD / name).mkdir()
        (tmp_path / OLD / name / "new").write_text("content")
    _restore_record.begin(str(tmp_path), manifest(), facts(YOUNG), NOW)
    there = {path.name for path in (tmp_path / OLD).iterdir()}
    assert there == {"compose", "manifest.json", "restore.json", *([] if cleared else ["config", "redis"])}
    assert _restore_record.choose(str(tmp_path), instance, OLD)["state"] == fact.get("state", "running")


@pytest.mark.parametrize(
    ("place", "silence", "dead", "free"),
    [
        # On the same controller its processes decide, however long it was silent.
        ("here", 100000, (), False),
        ("here", 0, ("first",), True),
        # From elsewhere only signs of life can be seen.
        ("elsewhere", 0, (), False),
        ("elsewhere", 290, (), False),
        ("elsewhere", 310, (), True),
        # The clock was set back since, by a minute or by a year.
        ("elsewhere", -60, (), False),
        ("elsewhere", -31536000, (), True),
    ],
)
def test_who_counts_as_dead(tmp_path: Path, place: str, silence: float, dead: tuple[str, ...], free: bool) -> None:
    work = str(tmp_path)
    _restore_record.begin(work, manifest(), facts(OLD), NOW, _restore_claim.Claim(owner("first")))
    path = tmp_path / OLD / "restore.json"
    last = path.stat().st_mtime - silence
    os.utime(path, (last, last))
    claim = _restore_claim.Claim(owner("second", place), dead)
    if free:
        _record, said = _restore_record.begin(work, manifest(), facts(YOUNG), NOW, claim)
        assert "process 7" in said[0]
        # Whoever only seemed dead is stopped.
        given = {_restore_lease.FOLDER: str(tmp_path / OLD), _restore_lease.OWNER: "first"}
        with pytest.raises(StateError, match="taken for dead"):
            _restore_lease.keep_alive(given)
    else:
        with pytest.raises(StateError, match="under way") as refusal:
            _restore_record.begin(work, manifest(), facts(YOUNG), NOW, claim)
        assert refusal.value.as_result()["owners"][0]["id"] == "first"
        assert not (tmp_path / YOUNG).exists()
        # Another instance on the same host has nothing to do with it.
        _restore_record.begin(work, manifest(), facts(YOUNG, "other"), NOW, claim)


def stage(number: int, state: str, phase: str, components: str = "postgresql media") -> dict[str, Any]:
    return {
        "restore_id": str(number),
        "number": number,
        "state": state,
        "phase": phase,
        "exchanges": 1,
        "components": components.split(),
        "databases": [],
        "directories": [],
        "set_id": OLDEST,
        "owner": {},
    }


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([stage(1, "running", "prepare")], []),
        ([stage(1, "running", "swap")], ["1"]),
        ([stage(1, "failed", "swap")], ["1"]),
        ([stage(1, "done", "undo")], ["1"]),
        ([stage(1, "done", ""), stage(2, "put_back", ""), stage(3, "undone", "")], []),
        # A later one that replaced all of it puts it right, until that is taken back.
        ([stage(1, "running", "swap"), stage(2, "done", "")], []),
        ([stage(1, "running", "swap"), stage(2, "cleaned", "")], []),
        ([stage(1, "running", "swap"), stage(2, "done", "", "media")], ["1"]),
        ([stage(1, "running", "swap"), stage(2, "undone", "")], ["1"]),
        ([stage(1, "running", "swap"), stage(2, "put_back", "")], ["1"]),
        ([stage(1, "done", ""), stage(2, "running", "swap")], ["2"]),
    ],
)
def test_what_is_half_new(stages: list[dict[str, Any]], expected: list[str]) -> None:
    assert [record["restore_id"] for record in _restore_claim.mixed(stages)] == expected
    if expected:
        with pytest.raises(StateError, match="would save that mixture"):
            _restore_claim.refuse_mixture(stages, {}, _restore_claim.NOBODY)


def test_the_phases_of_a_restore_and_of_its_rollback(tmp_path: Path) -> None:
    work, claim = str(tmp_path), _restore_claim.Claim(owner("first"))

    def now() -> tuple[str, int, bool]:
        record = _restore_record.read(work, OLD) or {}
        return record["phase"], record["exchanges"], bool(record["owner"])

    _restore_record.begin(work, manifest(), facts(OLD), NOW, claim)
    assert now() == ("prepare", 0, True)
    for _time in range(2):
        _restore_record.update(work, OLD, {"phase": "swap"}, NOW)
        assert now() == ("swap", 1, True)
    _restore_record.update(work, OLD, {"state": "done"}, NOW)
    assert now() == ("", 1, False)
    # In place a set is made before anything is exchanged: that is the claimant's, and still of one state.
    _restore_record.take(work, OLD, NOW, claim, exchange=False)
    assert now() == ("", 1, True)
    second = _restore_claim.Claim(owner("second"))
    with pytest.raises(_restore_claim.Occupied):
        _restore_record.take(work, OLD, NOW, second, exchange=False)
    assert not _restore_record.let_go(work, OLD, second)[1]
    assert now() == ("", 1, True)
    assert _restore_record.let_go(work, OLD, claim)[1]
    assert now() == ("", 1, False)
    _restore_record.take(work, OLD, NOW, claim)
    assert now() == ("undo", 2, True)
    _restore_record.update(work, OLD, {"state": "failed"}, NOW)
    assert now() == ("undo", 2, False)
    _restore_record.take(work, OLD, NOW, claim)
    _restore_record.update(work, OLD, {"state": "undone"}, NOW)
    assert now() == ("", 3, False)


@pytest.mark.parametrize(
    ("killed_at", "components", "more", "record"),
    [
        ({}, ["media"], "", False),
        ({}, ["certs"], "", True),
        # What exchanged something is a way back, and so is a note of what of a project was started.
        ({"phase": "swap"}, ["media"], "", True),
        ({"phase": "swap", "gone": True}, ["media"], "", True),
        ({"state": "failed", "phase": "prepare"}, ["media"], "", True),
        ({}, ["media"], "compose", True),
    ],
)
def test_the_record_of_a_killed_restore_goes_once_the_same_was_restored(
    tmp_path: Path, killed_at: dict[str, Any], components: list[str], more: str, record: bool
) -> None:
    work, dead, alive = str(tmp_path), owner("dead"), _restore_claim.Claim(owner("alive"), ("dead",))
    _restore_record.begin(work, manifest(), facts(OLD), NOW, _restore_claim.Claim(dead))
    _restore_record.update(work, OLD, {"directories": ["/media"], **killed_at}, NOW)
    (tmp_path / OLD / more).mkdir(exist_ok=True)
    _restore_record.begin(work, manifest(), {**facts(YOUNG), "components": components}, NOW, alive)
    _restore_record.update(work, YOUNG, {"directories": ["/media"]}, NOW)
    assert (tmp_path / OLD / "restore.json").exists(), "until the next one is finished a rollback may want it"
    _restore_record.update(work, YOUNG, {"state": "done"}, NOW)
    assert (tmp_path / OLD).exists() == record
    assert (tmp_path / YOUNG / "restore.json").exists()


def test_a_restore_that_lives_keeps_what_it_prepared(tmp_path: Path) -> None:
    work = str(tmp_path)
    _restore_record.begin(work, manifest(), facts(OLD), NOW, _restore_claim.Claim(owner("first")))
    (tmp_path / OLD / "config").mkdir()
    with pytest.raises(_restore_claim.Occupied):
        _restore_record.begin(work, manifest(), facts(YOUNG), NOW, _restore_claim.Claim(owner("second")))
    assert (tmp_path / OLD / "config").exists()
