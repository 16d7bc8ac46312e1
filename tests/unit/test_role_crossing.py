# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the uploaded files of a set go: to a bucket or to directories, by what the instance has and by the record."""

from __future__ import annotations

import json
import re
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
    # The way out where media or reports lie on the other side.
    assert decided("s3", bucket=BUCKET, authentik_restore_paths={"s3": "/srv/data"}) == [[], ["s3"]]
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
    assert decided(bucket=BUCKET, restore_past={"chosen": chosen}, restore_past_bucket=False) == [[], []]


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


def refused(components: list[str], manifest: dict[str, Any], **info: Any) -> Any:
    """Return why a set is not restored into an instance."""
    chosen = {**LEARNT["restore"]["restore_set"], "manifest": {"instance": {}, "components": manifest}}
    more = {name: info.pop(name) for name in list(info) if name.startswith(("authentik_", "restore_"))}
    known = {**LEARNT["restore"]["restore_info"], "object_storage": None, "directories": [], **info}
    given = {"authentik_components": components, "restore_set": chosen, "restore_info": known, **more}
    return said("__restore_crossing_refusals", **given)


BOTH = {**BUCKET, "folders": ["media", "reports"]}
ONLY_MEDIA, ONLY_REPORTS = ({**BUCKET, "folders": [one]} for one in ("media", "reports"))
DATA = {"component": "data", "path": "/srv/data"}


def of_s3(*folders: str, **more: Any) -> dict[str, Any]:
    return {"s3": {"bucket": "authentik", "endpoint": "https://s3.example.com", "folders": list(folders), **more}}


@pytest.mark.parametrize(
    ("components", "manifest", "info", "expected"),
    [
        # Reports lay on a disk, and here they are in S3.
        (["postgresql", "s3", "extra-reports"], {**of_s3("media"), "extra-reports": {"path": "/var/data/reports"}},
         {"object_storage": BOTH},
         ["has extra-reports from a disk, and this instance has reports in S3",
          """Leave it out: -e '{"authentik_components": ["postgresql", "s3"]}'""",
          """-e '{"authentik_restore_paths": {"extra-reports": "/var/data/reports"}}'."""]),
        # Media did, beside what of it is left from before.
        (["postgresql", "data", "s3"], {**of_s3("reports"), "data": {"path": "/var/data"}}, {"object_storage": BOTH},
         ["has data from a disk, and this instance has media in S3",
          """First what goes into the bucket from it: -e '{"authentik_components": ["data"]}'""",
          """then the rest: -e '{"authentik_components": ["postgresql", "s3"]}'."""]),
        # Both did, and only the media still do.
        (["postgresql", "data"], {"data": {"path": "/var/data"}},
         {"object_storage": ONLY_REPORTS, "directories": [DATA]},
         ["has data from a disk, and this instance has reports in S3",
          """Leave it out: -e '{"authentik_components": ["postgresql"]}'""",
          """-e '{"authentik_restore_paths": {"data": "/srv/data"}}'."""]),
    ],
)  # fmt: skip
def test_files_that_authentik_would_not_find_are_refused(
    components: list[str], manifest: dict[str, Any], info: dict[str, Any], expected: list[str]
) -> None:
    (refusal,) = refused(components, manifest, **info)
    for part in expected:
        assert part in refusal
    # Of what it says to do nothing is refused.
    for typed in re.findall(r"-e '({.*?})'", refusal):
        given = {"authentik_components": components, **json.loads(typed)}
        assert refused(given.pop("authentik_components"), manifest, **info, **given) == []


@pytest.mark.parametrize(
    ("components", "manifest", "info"),
    [
        # The same sides as then.
        (["s3", "extra-reports"], of_s3("media"),
         {"object_storage": ONLY_MEDIA, "directories": [{"component": "extra-reports"}]}),
        (["s3", "data"], of_s3("reports"), {"object_storage": ONLY_REPORTS, "directories": [DATA]}),
        (["s3", "certs"], of_s3("media", "reports"), {"object_storage": BOTH}),
        (["s3"], of_s3(), {"object_storage": {**BUCKET, "folders": []}}),
        # One goes into the bucket as a whole, and its archive tells whether it has reports.
        (["data"], {}, {"object_storage": ONLY_MEDIA}),
        # All that authentik has in its bucket comes from the one of then.
        (["s3", "data"], of_s3("media", "reports"), {"object_storage": BOTH}),
        # What has a path is a directory.
        (["data"], {}, {"object_storage": BOTH, "directories": [DATA]}),
        (["s3", "extra-reports"], of_s3("media"), {"object_storage": None, "directories": [DATA]}),
    ],
)  # fmt: skip
def test_files_that_authentik_finds_are_not_refused(
    components: list[str], manifest: dict[str, Any], info: dict[str, Any]
) -> None:
    assert refused(components, manifest, **info) == []


MOVED = {**BOTH, "bucket": "moved", "endpoint": "https://s3.example.com"}
SAME = {**BOTH, "endpoint": "https://s3.example.com/"}
OVER = {"authentik_overwrite_config": True}


@pytest.mark.parametrize(
    ("set_has", "here", "given", "parts"),
    [
        ({}, MOVED, {}, ["in the bucket authentik at https://s3.example.com", "in moved at https://s3.example.com"]),
        ({}, {**SAME, "endpoint": "https://elsewhere:9000"}, {}, ["has them in authentik at https://elsewhere:9000"]),
        ({}, {**SAME, "endpoint": ""}, {}, ["in authentik at AWS"]),
        ({"endpoint": "https://s3.amazonaws.com"}, SAME, {}, ["authentik at https://s3.amazonaws.com"]),
        ({}, SAME, {"authentik_storage_s3": {"bucket": "b2"}}, ["has them in b2"]),
    ],
)  # fmt: skip
def test_a_configuration_that_names_another_bucket_is_refused(
    set_has: dict[str, str], here: dict[str, Any], given: dict[str, Any], parts: list[str]
) -> None:
    manifest = of_s3("media", "reports", **set_has)
    (refusal,) = refused(["postgresql", "s3", "config"], manifest, object_storage=here, **OVER, **given)
    for part in [*parts, """give -e '{"authentik_components": ["postgresql", "s3"]}'"""]:
        assert part in refusal


def test_without_that_configuration_the_rest_is_restored() -> None:
    everything, manifest, here = ["postgresql", "s3", "config"], of_s3("media", "reports"), {"object_storage": MOVED}
    (refusal,) = refused(everything, manifest, **here, **OVER)
    commands = [json.loads(typed) for typed in re.findall(r"-e '({.*?})'", refusal)]
    assert [command.pop("authentik_components") for command in commands] == [everything[:2], everything[2:]]
    assert commands == [{}, OVER]
    assert refused(everything[:2], manifest, **here, **OVER) == []
    assert refused(everything[2:], manifest, **here, **OVER) == []
    # It stays as it is without being asked for, or was brought back before, and is that of here.
    assert refused(everything, manifest, **here) == []
    assert refused(everything, manifest, **here, restore_configuration_done=True, **OVER) == []


@pytest.mark.parametrize(
    ("set_has", "here", "given"),
    [
        ({}, SAME, {}),
        ({"endpoint": "https://s3.amazonaws.com"}, {**BOTH, "endpoint": ""}, {}),
        ({"endpoint": "https://s3.eu-west-1.amazonaws.com"}, {**BOTH, "endpoint": "https://s3.amazonaws.com"}, {}),
        # As the controller reaches it, now or then.
        ({}, {**BOTH, "endpoint": "http://minio:9000"}, {"authentik_storage_s3": {"endpoint_url": SAME["endpoint"]}}),
        ({}, SAME, {"authentik_storage_s3": {"endpoint_url": "https://localhost:9000"}}),
        ({"bucket": "b2"}, SAME, {"authentik_storage_s3": {"bucket": "b2"}}),
    ],
)
def test_a_configuration_that_names_the_same_bucket_is_restored(
    set_has: dict[str, str], here: dict[str, Any], given: dict[str, Any]
) -> None:
    manifest = of_s3("media", "reports", **set_has)
    assert refused(["s3", "config"], manifest, object_storage=here, **OVER, **given) == []


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
