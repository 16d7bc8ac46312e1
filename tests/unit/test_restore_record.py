# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records of restores: which one a rollback takes back, and what is refused."""

from __future__ import annotations

import datetime
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
