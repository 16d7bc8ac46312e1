# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the uploaded files of a set go: to a bucket or to directories, by what the instance has and by the record."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.test_role_messages import said
from tests.unit.test_role_variables import LEARNT

BUCKET = {"bucket": "authentik"}
LISTS = ("__restore_into_bucket", "__restore_into_directories")


def decided(*components: str, bucket: object = None, **known: Any) -> list[list[str]]:
    """Return what goes into the bucket, and what into directories."""
    info = {**LEARNT["restore"]["restore_info"], "object_storage": bucket, "directories": []}
    return [said(name, **{"authentik_components": list(components), "restore_info": info, **known}) for name in LISTS]


@pytest.mark.parametrize(
    ("components", "bucket", "expected"),
    [
        (["postgresql", "s3", "certs", "redis", "config"], BUCKET, [["s3"], ["certs"]]),
        (["postgresql", "s3", "certs", "redis", "config"], None, [[], ["s3", "certs"]]),
        (["postgresql", "media", "certs"], None, [[], ["media", "certs"]]),
        (["postgresql"], BUCKET, [[], []]),
        (["data", "certs"], BUCKET, [["data"], ["certs"]]),
        (["media"], BUCKET, [["media"], []]),
        # What authentik had in a bucket then is what it has there now.
        (["s3", "data"], BUCKET, [["s3"], ["data"]]),
    ],
)
def test_files_go_where_the_instance_has_them(
    components: list[str], bucket: dict[str, str] | None, expected: list[list[str]]
) -> None:
    assert decided(*components, bucket=bucket) == expected


def test_a_directory_that_has_a_path_is_none_of_the_bucket() -> None:
    assert decided("data", bucket=BUCKET, authentik_restore_paths={"data": "/srv/data"}) == [[], ["data"]]
    info = {**LEARNT["restore"]["restore_info"], "object_storage": BUCKET, "directories": [{"component": "data"}]}
    assert decided("data", restore_info=info) == [[], ["data"]]


def test_a_restore_is_taken_back_from_where_its_files_went() -> None:
    chosen: dict[str, Any] = {"components": ["s3", "certs"], "undo": {"into_bucket": [], "into_directories": ["s3"]}}
    assert decided(bucket=BUCKET, restore_past={"chosen": chosen}) == [[], ["s3"]]
    # One that was cut off before that was known has touched none of them.
    chosen["undo"] = {}
    assert decided(bucket=BUCKET, restore_past={"chosen": chosen}) == [[], ["certs"]]
    chosen.update(components=["data"], undo={"into_bucket": ["data"], "into_directories": []})
    assert decided(restore_past={"chosen": chosen}) == [["data"], []]


@pytest.mark.parametrize(
    ("components", "known", "expected"),
    [
        (["postgresql", "s3", "config"], {}, ["""give -e '{"authentik_components": ["postgresql", "s3"]}'."""]),
        # Those on the host are of the set already.
        (["s3", "config"], {"restore_configuration_done": True}, []),
        (["postgresql", "s3"], {}, []),
        (
            ["postgresql", "s3"],
            {"restore_mode": "in_place"},
            ["""["s3"]}', and the rest in place, by -e '{"authentik_components": ["postgresql"]}'."""],
        ),
        (["s3"], {"restore_mode": "in_place"}, ["""by -e '{"authentik_components": ["s3"]}'."""]),
        (["media", "config"], {"restore_mode": "in_place"}, []),
    ],
)  # fmt: skip
def test_what_is_refused(components: list[str], known: dict[str, Any], expected: list[str]) -> None:
    info = {**LEARNT["restore"]["restore_info"], "object_storage": None}
    given = {"authentik_components": components, "restore_info": info, **known}
    refusals = said("__restore_crossing_refusals", **given)
    assert len(refusals) == len(expected)
    assert all(part in one for part, one in zip(expected, refusals, strict=True)), refusals
    given["restore_info"] = {**info, "object_storage": BUCKET, "directories": [{"component": "media"}]}
    assert said("__restore_crossing_refusals", **given) == []


def test_what_is_refused_the_other_way_round() -> None:
    info = {**LEARNT["restore"]["restore_info"], "object_storage": BUCKET, "directories": []}
    given = {"authentik_components": ["media", "data", "config"], "restore_info": info, "restore_mode": "in_place"}
    config, in_place, two = said("__restore_crossing_refusals", **given)
    assert "has the files of the instance on a disk, and this instance has them in S3" in config
    assert """give -e '{"authentik_components": ["media", "data"]}'.""" in config
    assert "were on a disk and shall be in S3 are not restored in place" in in_place
    assert """such as -e '{"authentik_components": ["config", "media"]}'.""" in two


def test_the_safety_set_holds_what_is_replaced_and_not_what_replaces_it() -> None:
    info = {**LEARNT["restore"]["restore_info"], "object_storage": None}
    given: dict[str, Any] = {"authentik_components": ["postgresql", "s3", "certs"], "restore_info": info}
    given["restore_static"] = {"components": [{"component": "certs"}, {"component": "data"}, {"component": "data"}]}
    assert said("__restore_safety_replaced", **given) == ["postgresql", "certs", "data"]
    given["restore_info"] = {**info, "object_storage": BUCKET}
    given["restore_static"] = {"components": [{"component": "certs"}]}
    assert said("__restore_safety_replaced", **given) == ["postgresql", "s3", "certs"]
    given["restore_info"]["directories"] = []
    given["authentik_components"] = ["postgresql", "data", "certs"]
    assert said("__restore_safety_replaced", **given) == ["postgresql", "certs", "s3"]
