# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore in place decides: what it refuses, whether it goes on, what has to come back and what is saved."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.test_role_messages import said
from tests.unit.test_role_variables import LEARNT

RESTORE_ID = LEARNT["restore"]["restore_id"]
SAFETY, EARLIER = "20261124T120003Z-22bb", "20261124T110000Z-0c0c"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"authentik_safety_set": False}, "leave out authentik_safety_set=false"),
        ({"authentik_postgresql_restore_as": "look"}, "authentik_postgresql_restore_as touches none"),
        ({"authentik_rebuild": True}, "authentik_rebuild makes a project where there is none"),
        ({}, ""),
    ],
)
def test_what_is_refused(given: dict[str, Any], expected: str) -> None:
    refusals = said("__restore_in_place_refusals", authentik_restore_mode="in_place", **given)
    assert [expected in one for one in refusals] == [True] * bool(expected)
    assert said("__restore_in_place_refusals", **given) == []


@pytest.mark.parametrize(
    ("gone", "wanted", "present", "more", "expected"),
    [
        ([], ["postgresql"], [], {}, False),
        (["postgresql", "media"], ["postgresql", "media"], [], {}, True),
        (["postgresql", "media"], ["postgresql"], [], {}, True),
        # It was not dropped yet, or is back: what was written to it since is in no set.
        (["postgresql", "media"], ["postgresql", "media"], ["authentik"], {}, False),
        (["postgresql", "media"], ["media"], [], {}, False),
        (["postgresql"], ["media"], [], {}, False),
        (["media"], ["media"], [], {}, True),
        (["postgresql"], ["postgresql"], [], {"authentik_rebuild": True}, False),
    ],
)
def test_when_a_restore_goes_on(
    gone: list[str], wanted: list[str], present: list[str], more: dict[str, Any], expected: bool
) -> None:
    record = {"restore_id": EARLIER, "components": gone, "safety_set": SAFETY} if gone else {}
    known: dict[str, Any] = {"restore_records": {"gone": record}, "restore_postgresql": {"present": present}, **more}
    assert said("__restore_cut_off", authentik_components=wanted, **known) is expected


def back(**known: Any) -> Any:
    """What has to come from a safety set that holds the database, Redis and media."""
    postgresql = {"database": "authentik", "other_databases": {}}
    manifest = {
        "components": {"postgresql": postgresql, "redis": {}, "media": {"path": "/m"}},
        "artifacts": [{"component": name} for name in ("postgresql", "postgresql", "redis", "media")],
        "restore_id": known.pop("made_for", RESTORE_ID),
    }
    known["restore_back_set"] = {"sets": [{"id": SAFETY}], "manifest": manifest}
    known.setdefault("restore_record", {"record": {"databases": ["authentik"]}})
    return said("__restore_back_components", **known)


@pytest.mark.parametrize(
    ("removed", "undo", "expected"),
    [
        # The database could not be dropped, or was renamed back by the undo.
        ([], {"left": ["authentik"]}, []),
        ([], {"renamed": [["authentik_before_x", "authentik"]]}, []),
        ([], {}, ["postgresql"]),
        (["postgresql", "media"], {}, ["postgresql", "media"]),
        # What is there is what had been swapped in.
        (["postgresql", "media"], {"left": ["authentik"]}, ["postgresql", "media"]),
    ],
)
def test_what_has_to_come_back(removed: list[str], undo: dict[str, Any], expected: list[str]) -> None:
    assert back(restore_removed=removed, restore_undo_postgresql=undo) == expected


def test_what_a_rollback_brings_back() -> None:
    past = {"chosen": {"databases": ["authentik"], "components": ["postgresql", "media"]}, "manifest": {}}
    undo: dict[str, Any] = {"left": ["authentik"], "renamed": []}
    assert back(restore_past=past, restore_undo_postgresql=undo) == ["postgresql", "media"]
    undo["renamed"] = [["authentik_before_x", "authentik"]]
    assert back(restore_past=past, restore_undo_postgresql=undo) == ["media"]
    # An earlier run had changed Redis already: the undo of this one brings back what that had put there.
    assert back(restore_past=past, restore_undo_postgresql=undo, made_for=EARLIER) == ["media", "redis"]


@pytest.mark.parametrize(
    ("gone", "components", "present", "more", "expected"),
    [
        (False, ["postgresql"], ["authentik"], {}, True),
        (True, ["postgresql"], ["authentik"], {}, True),
        (True, ["postgresql"], [], {}, False),
        (True, ["media"], [], {}, False),
        (False, ["media"], [], {}, True),
        (False, ["postgresql"], ["authentik"], {"authentik_safety_set": False}, False),
    ],
)
def test_a_rollback_saves_what_is_not_half_gone(
    gone: bool, components: list[str], present: list[str], more: dict[str, Any], expected: bool
) -> None:
    past = {"chosen": {"gone": gone, "components": components}}
    known: dict[str, Any] = {"restore_past": past, "restore_back_postgresql": {"present": present}, **more}
    assert said("__restore_back_saves_first", **known) is expected
