# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What fits alone and not together is refused before anything is touched, and what fits is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.filter.restore_space import restore_space
from ansible_collections.authentik_ops.recovery.plugins.module_utils import _mounts, _space
from tests.integration.static_inside import mounted

MEGABYTE = 1 << 20
#: The set that is restored took half of what it holds.
MANIFEST = {
    "artifacts": [
        {"component": "postgresql", "size": 20},
        {"component": "postgresql", "size": 30},
        {"component": "media", "size": 10},
    ],
    "components": {
        "postgresql": {"database_bytes": 60, "other_databases": {"wiki": {"database_bytes": 40}}},
        "media": {"fingerprint": {"bytes": 20}},
    },
}


def part(component: str, needed: int, device: str = "x:1", available: int | None = 100, freed: int = 0) -> Any:
    return _space.part(component, component, _space.FileSystem("/" + device, device, available), needed, freed)


@pytest.mark.parametrize(
    ("parts", "in_place", "lacks"),
    [
        ([], False, {}),
        ([part("postgresql", 100)], False, {}),
        ([part("postgresql", 60), part("media", 40)], False, {}),
        ([part("postgresql", 60), part("media", 60)], False, {"/x:1": 20}),
        ([part("postgresql", 60), part("media", 60, "x:2")], False, {}),
        ([part("postgresql", 60), part("media", 60, "x:2", 59)], False, {"/x:2": 1}),
        # The same number with another kernel is another disk: that of a remote controller.
        ([part(_space.SAFETY_SET, 60, "y:1"), part("media", 60)], False, {}),
        ([part(_space.SAFETY_SET, 60), part("media", 60)], False, {"/x:1": 20}),
        # Nobody knows how large a set gets, so one that is alone is tried.
        ([part(_space.SAFETY_SET, 600)], False, {}),
        # What cannot be seen or told from others is judged for itself, or not at all.
        ([part("postgresql", 900, "", None), part("media", 90)], False, {}),
        ([part("postgresql", 60, ""), part("media", 60, "")], False, {}),
        ([part("postgresql", 101, "")], False, {"/": 1}),
        # Side by side each component clears what killed restores left of it, and only when it is its turn.
        ([part("postgresql", 60), part("media", 60, freed=20)], False, {}),
        ([part("postgresql", 110), part("media", 10, freed=50)], False, {"/x:1": 10}),
        # In place everything goes before anything is loaded, but after the safety set was made and verified.
        ([part("postgresql", 110, freed=20), part("media", 10, freed=50)], True, {}),
        ([part(_space.SAFETY_SET, 90), part("postgresql", 500, freed=500)], True, {}),
        ([part(_space.SAFETY_SET, 101), part("postgresql", 5, freed=500)], True, {"/x:1": 1}),
        ([part(_space.SAFETY_SET, 60), part("postgresql", 5, freed=500), part("redis", 41)], True, {"/x:1": 1}),
        ([part(_space.SAFETY_SET, 60), part("postgresql", 60, freed=10)], True, {"/x:1": 10}),
    ],
)
def test_what_fits(parts: list[Any], in_place: bool, lacks: dict[str, int]) -> None:
    assert {one.path: one.lacks for one in _space.shortages(parts, in_place)} == lacks
    assert bool(_space.refusal(parts, in_place)) == bool(lacks)


@pytest.mark.parametrize(
    ("component", "size", "expected"),
    [("postgresql", 200, 100), ("media", 200, 100), ("config", 7, 7), ("certs", 7, 7)],
)
def test_a_safety_set_is_taken_to_be_compressed_like_the_set(component: str, size: int, expected: int) -> None:
    assert _space.stored_size(component, size, MANIFEST) == expected


def test_a_refusal_names_the_disk_its_parts_and_the_ways_out() -> None:
    place = {"path": "/srv/sso", "device": "x:1", "available": 5 * MEGABYTE, "unseen": ""}
    parts = [part("postgresql", 3 * MEGABYTE, available=5 * MEGABYTE), part("redis", MEGABYTE, available=5 * MEGABYTE)]
    found = restore_space(parts, False, {"postgresql": 4 * MEGABYTE}, place, MANIFEST)
    for text in (
        "The file system of /srv/sso has 5.0 MiB free, which is 1.0 MiB too little",
        "the safety set about 2.0 MiB; postgresql about 3.0 MiB; redis about 1.0 MiB",
        "authentik_store", "authentik_work_dir", "authentik_restore_mode=in_place", "recovery.cleanup",
    ):  # fmt: skip
        assert text in found["refusal"]
    assert len(found["plan"]) == 1
    assert (
        "authentik_restore_mode"
        not in restore_space(parts, True, {"postgresql": 8 * MEGABYTE}, place, MANIFEST)["refusal"]
    )
    # A store that is no disk takes nothing from one.
    assert restore_space(parts, False, {"postgresql": 4 * MEGABYTE}, None, MANIFEST)["refusal"] == ""


def test_file_systems_are_told_apart_and_folders_of_one_are_not(tmp_path: Path) -> None:
    with mounted(tmp_path / "one", "size=1m") as one, mounted(tmp_path / "two", "size=2m") as two:
        (one / "folder").mkdir()
        (two / "linked").symlink_to(one)
        seen = [_mounts.file_system(str(path)) for path in (one, one / "folder/not/there", two / "linked", two)]
        assert [place.device == seen[0].device for place in seen] == [True, True, True, False]
        assert [place.available for place in seen] == [MEGABYTE] * 3 + [2 * MEGABYTE]
        (one / "file").write_bytes(bytes(MEGABYTE // 2))
        assert _mounts.file_system(str(one)).available == MEGABYTE // 2
