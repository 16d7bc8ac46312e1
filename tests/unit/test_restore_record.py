# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records of restores: which one a rollback takes back, and what is refused."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _restore_record
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
