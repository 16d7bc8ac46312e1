# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is decided about an instance's bucket: where it is, which objects are read, which packs are kept."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest
import yaml

from ansible_collections.authentik_ops.recovery.plugins.doc_fragments import storage_s3
from ansible_collections.authentik_ops.recovery.plugins.module_utils import _object_index as index_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import (
    Variable,
    load_configuration,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Instance
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._storage import find_object_storage
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    DiscoveryError,
    InputError,
    IntegrityError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._object_storage import STORAGE_S3_SPEC, tell
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_action import checked, merged
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_objects import (
    Saved,
    name_all_here,
    name_here,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_plan import (
    MAX_PACKS,
    Listed,
    compare,
    packs_to_keep,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_read import Bucket
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_restore import BucketRestore
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import S3_SPEC

BOTH = ["media", "reports"]
BOTH_USAGES = ("media", "reports")


def storage_of(environment: dict[str, str], version: str | None = None, **options: Any) -> Any:
    variables = {"AUTHENTIK_STORAGE__" + name: Variable(value, "env") for name, value in environment.items()}
    variables["KEY"] = Variable("SENTINEL-2", "env")
    configuration = load_configuration([], variables, {"/run/secrets/s3": "SENTINEL-1\n"}.get)
    return find_object_storage(configuration, options, version)


@pytest.mark.parametrize(
    ("environment", "version", "folders", "connection"),
    [
        # 2024.2 to 2025.10
        ({"MEDIA__BACKEND": "s3", "MEDIA__S3__BUCKET_NAME": "b", "MEDIA__S3__ENDPOINT": "https://e:1",
          "MEDIA__S3__REGION": "r", "MEDIA__S3__ACCESS_KEY": "a", "MEDIA__S3__SECRET_KEY": "s",
          "MEDIA__S3__SECURITY_TOKEN": "t"}, "2024.2.1", [],
         {"bucket": "b", "endpoint_url": "https://e:1", "region": "r", "access_key": "a", "secret_key": "s",
          "session_token": "t"}),
        ({"MEDIA__BACKEND": "s3", "MEDIA__S3__BUCKET_NAME": "b"}, None, [], {"bucket": "b"}),
        # 2025.12 and later
        ({"BACKEND": "s3", "S3__BUCKET_NAME": "b", "S3__ADDRESSING_STYLE": "path", "S3__SESSION_TOKEN": "t",
          "S3__SECRET_KEY": "file:///run/secrets/s3", "S3__ACCESS_KEY": "env://KEY"}, "2025.12.0", BOTH,
         {"bucket": "b", "addressing_style": "path", "session_token": "t", "secret_key": "SENTINEL-1",
          "access_key": "SENTINEL-2"}),
        ({"BACKEND": "s3", "S3__BUCKET_NAME": "b"}, None, BOTH, {"bucket": "b"}),
        ({"BACKEND": "s3", "S3__BUCKET_NAME": "b", "S3__SESSION_PROFILE": "p"}, "2026.8.3", BOTH,
         {"bucket": "b", "profile": "p"}),
        # One usage has settings of its own, whatever is set for all.
        ({"BACKEND": "s3", "S3__BUCKET_NAME": "b", "REPORTS__BACKEND": "file"}, "2025.12.0", ["media"],
         {"bucket": "b"}),
        ({"BACKEND": "file", "REPORTS__BACKEND": "s3", "REPORTS__S3__BUCKET_NAME": "c", "S3__BUCKET_NAME": "b"},
         "2025.12.0", ["reports"], {"bucket": "c"}),
        ({"MEDIA__BACKEND": "s3", "MEDIA__S3__BUCKET_NAME": "c", "S3__BUCKET_NAME": "b"}, "2025.12.0", ["media"],
         {"bucket": "c"}),
        # An endpoint may be written without its scheme.
        ({"BACKEND": "s3", "S3__BUCKET_NAME": "b", "S3__ENDPOINT": "e"}, "2026.2.0", BOTH,
         {"bucket": "b", "endpoint_url": "https://e"}),
        ({"BACKEND": "s3", "S3__BUCKET_NAME": "b", "S3__ENDPOINT": "e", "S3__USE_SSL": "false"}, "2026.2.0", BOTH,
         {"bucket": "b", "endpoint_url": "http://e"}),
    ],
)  # fmt: skip
def test_where_the_files_are(
    environment: dict[str, str], version: str | None, folders: list[str], connection: dict[str, str]
) -> None:
    found = storage_of(environment, version)
    assert (list(found.folders), found.connection()) == (folders, connection)
    shown = "%r %s" % (found, found.describe())
    assert "SENTINEL" not in shown


@pytest.mark.parametrize("environment", [{}, {"BACKEND": "file"}, {"MEDIA__BACKEND": "file", "S3__BUCKET_NAME": "b"}])
def test_files_on_a_disk_are_in_no_bucket(environment: dict[str, str]) -> None:
    assert storage_of(environment, "2025.12.0") is None
    with pytest.raises(DiscoveryError, match="do not lie in S3"):
        tell(Instance())


def test_the_option_says_it_where_the_configuration_does_not() -> None:
    assert storage_of({}, "2025.12.0", storage_backend="s3").folders == ("media", "reports")
    assert storage_of({"BACKEND": "s3"}, "2024.2.0", storage_backend="file") is None


@pytest.mark.parametrize(
    ("configured", "given", "expected"),
    [(None, None, "public"), ("sso", None, "sso"), ("env://KEY", None, "SENTINEL-2"), ("sso", "option", "option")],
)
@pytest.mark.parametrize("version", ["2024.12.0", "2025.12.0"])
def test_the_default_tenant_s_folder_is_called_like_its_schema(
    configured: str | None, given: str | None, expected: str, version: str
) -> None:
    variables = {"AUTHENTIK_STORAGE__MEDIA__BACKEND": "s3", "KEY": "SENTINEL-2"}
    if configured:
        variables["AUTHENTIK_POSTGRESQL__DEFAULT_SCHEMA"] = configured
    configuration = load_configuration(
        [], {name: Variable(one, "env") for name, one in variables.items()}, lambda _path: None
    )
    found = find_object_storage(configuration, {"postgresql_default_schema": given}, version)
    assert tell(Instance(object_storage=found))["default_schema"] == expected


def test_two_buckets_are_not_half_saved() -> None:
    places = {"BACKEND": "s3", "S3__BUCKET_NAME": "b", "REPORTS__S3__BUCKET_NAME": "c"}
    found = storage_of(places, "2025.12.0")
    with pytest.raises(StateError, match=r"only one bucket can be saved \(b, c\)"):
        tell(Instance(object_storage=found))


def test_the_key_of_the_index_does_not_tell_the_secret_key() -> None:
    found = storage_of({"BACKEND": "s3", "S3__BUCKET_NAME": "b"}, "2025.12.0")
    keys = [tell(Instance(object_storage=found, secret_key=key))["index_key"] for key in ("one", "one", "two", None)]
    assert keys[0] == keys[1] != keys[2]
    assert len(keys[0]) == 64
    assert keys[3] == ""


@pytest.mark.parametrize(
    ("configured", "given", "expected"),
    [
        ({"access_key": "a", "secret_key": "s", "profile": "p"}, {}, {"access_key": "a", "secret_key": "s"}),
        ({"access_key": "a", "profile": "p", "session_token": "t"}, {}, {"profile": "p"}),
        ({"access_key": "a", "secret_key": "s", "session_token": "t"}, {"profile": "p"}, {"profile": "p"}),
        ({"profile": "p"}, {"access_key": "a", "secret_key": "s"}, {"access_key": "a", "secret_key": "s"}),
        ({"endpoint_url": "http://minio:9000", "bucket": "b"}, {"endpoint_url": "https://s3"},
         {"endpoint_url": "https://s3", "bucket": "b"}),
    ],
)  # fmt: skip
def test_what_is_given_goes_before_what_is_configured(
    configured: dict[str, str], given: dict[str, str], expected: dict[str, str]
) -> None:
    assert merged(configured, given) == expected


def test_the_option_is_documented_and_is_one_of_the_store_s() -> None:
    documented = yaml.safe_load(storage_s3.ModuleDocFragment.DOCUMENTATION)["options"]["storage_s3"]["suboptions"]
    spec = STORAGE_S3_SPEC["storage_s3"]["options"]
    assert sorted(documented) == sorted(spec)
    for name, one in spec.items():
        said = {key: documented[name].get(key) for key in ("type", "default", "choices")}
        assert said == {key: one.get(key) for key in ("type", "default", "choices")}, name
    assert set(spec) - {"bucket"} <= set(S3_SPEC["s3"]["options"])
    with pytest.raises(InputError, match="colour"):
        checked({"colour": "red"})
    assert checked({"bucket": "b", "region": ""})["bucket"] == "b"
    assert "region" not in checked({"bucket": "b", "region": ""})


def listed(key: str, etag: str = "1", size: int = 100, version: str = "", modified: str = "then") -> Listed:
    return Listed(key, size, etag, version, modified)


def entry(key: str, pack: str = "a", **more: Any) -> dict[str, Any]:
    return {"key": key, "size": 100, "etag": "1", "version_id": "", "modified": "then", "pack": pack, **more}


def test_only_what_changed_is_read() -> None:
    earlier = [entry(key) for key in ("changed", "gone", "larger", "same", "touched", "version")] + [entry("lost", "b")]
    now = [
        listed("changed", etag="2"), listed("larger", size=101), listed("lost"), listed("new"), listed("same"),
        listed("touched", modified="now"), listed("version", version="v2"),
    ]  # fmt: skip
    plan = compare(now, earlier, {"a"})
    assert [one["key"] for one in plan.kept] == ["same"]
    assert [one.key for one, _entry in plan.touched] == ["touched", "version"]
    assert [one.key for one in plan.read] == ["changed", "larger", "lost", "new"]
    assert plan.deleted == ["gone"]


def test_a_pack_that_is_mostly_dead_is_not_kept() -> None:
    # A header and a block each, and two blocks at the end.
    size = 10 * 1024 + 1024
    earlier = [entry(str(number), pack) for pack in "ab" for number in range(10)]
    earlier = [dict(one, key=one["pack"] + one["key"]) for one in earlier]
    now = [listed("a%d" % number) for number in range(5)] + [listed("b%d" % number) for number in range(4)]
    assert packs_to_keep(now, earlier, {"a": size, "b": size}) == {"a"}
    assert packs_to_keep([], earlier, {"a": size, "b": size}) == set()
    # What is not sound is not among the sizes.
    assert packs_to_keep(now, earlier, {"b": size}) == set()


def test_packs_do_not_become_more_and_more() -> None:
    paths = ["%03d" % number for number in range(MAX_PACKS + 1)]
    earlier = [entry(path, path, size=number * 512) for number, path in enumerate(paths, start=1)]
    now = [listed(path, size=number * 512) for number, path in enumerate(paths, start=1)]
    sizes = {path: number * 512 + 1536 for number, path in enumerate(paths, start=1)}
    kept = packs_to_keep(now, earlier, sizes)
    assert kept == set(paths[-MAX_PACKS // 2 :])
    assert packs_to_keep(now[:-1], earlier[:-1], sizes) == set(paths[:-1])


def whole(**more: Any) -> dict[str, Any]:
    one = entry("media/public/a.png", "s3/objects-20261122T031500Z-7f3a.tar", sha256="0" * 64, about={}, member=0)
    return {"bucket": "b", "endpoint": "e", "folders": [], "objects": [{**one, **more}]}


@pytest.mark.parametrize(
    "broken",
    [{"pack": "../x"}, {"pack": "s3/other.tar"}, {"size": -1}, {"size": "1"}, {"about": {"ACL": "x"}}, {"key": None}],
)
def test_an_index_that_no_backup_wrote_is_refused(broken: dict[str, Any]) -> None:
    assert index_of.load(index_of.dump(whole()))["objects"][0]["key"] == "media/public/a.png"
    with pytest.raises(IntegrityError):
        index_of.load(index_of.dump(whole(**broken)))
    with pytest.raises(IntegrityError):
        index_of.load(index_of.dump({**whole(), "objects": whole()["objects"] * 2}))
    for text in (b"{", b"[]", b'{"format": 2}'):
        with pytest.raises(IntegrityError):
            index_of.load(text)


OLD, NEW = ["public/a", "t_x/b/c"], ["media/public/a", "media/t_x/b/c"]
OLD_OLD, NEW_NEW = (dict(zip(names, names, strict=True)) for names in (OLD, NEW))
OLD_NEW, NEW_OLD = dict(zip(OLD, NEW, strict=True)), dict(zip(NEW, OLD, strict=True))
NOT_OLD = ["media/public", "media/robots.txt", "media/shared/x", "reports/public/r.csv"]


@pytest.mark.parametrize(
    ("keys", "usages", "modern", "folders", "expected", "compared", "said"),
    [
        # Of the same kind: as they are.
        (OLD, ("media",), False, (), OLD_OLD, (), []),
        (NEW, ("media", "reports"), True, ("media", "reports"), NEW_NEW, ("media", "reports"), []),
        # Old into new, which may have reports of its own; and where media are on a disk there.
        (OLD, ("media",), False, ("media", "reports"), OLD_NEW, ("media",),
         ["is media/public", "reports/ in"]),
        (OLD, ("media",), False, ("reports",), {}, None,
         ["is media/public", "no place in its bucket for 2 objects", "reports/ in"]),
        # New into old, where reports and what no tenant has are nothing.
        (NEW, ("media", "reports"), True, (), NEW_OLD, (), ["is public/... here"]),
        (NEW + NOT_OLD, ("media", "reports"), True, (), NEW_OLD, (),
         ["is public/... here", "for 4 objects: media/public, media/robots.txt, media/shared/x and 1 more"]),
        (["reports/public/r.csv"], ("reports",), True, (), {}, None,
         ["is public/... here", "for 1 object: reports/public/r.csv", "media/ in the bucket stays"]),
        # One of both is on a disk, there or here.
        (["reports/public/r.csv", *NEW], ("media", "reports"), True, ("media",), NEW_NEW, ("media",),
         ["for 1 object: reports/public/r.csv"]),
        (NEW, ("media",), True, ("media", "reports"), NEW_NEW, ("media",), ["reports/ in the bucket stays"]),
        # Of a directory there may be what no bucket of the time before had.
        (["robots.txt", "public/a"], ("media",), False, (), {"public/a": "public/a"}, (), ["for 1 object: robots.txt"]),
        (["robots.txt"], ("media",), False, ("media",), {}, ("media",), ["is media/", "for 1 object: robots.txt"]),
        ([], (), True, ("media",), {}, None, ["media/ in the bucket stays"]),
    ],
)  # fmt: skip
def test_names_of_objects_here(
    keys: list[str],
    usages: tuple[str, ...],
    modern: bool,
    folders: tuple[str, ...],
    expected: dict[str, str],
    compared: tuple[str, ...] | None,
    said: list[str],
) -> None:
    objects = [{"key": key, "sha256": "of " + key} for key in keys]
    found = name_here(Saved(objects, usages, modern, lambda _entries: iter(())), folders, "public")
    assert {one.get("stored", one["key"]): one["key"] for one in found.objects} == expected
    assert all(one["sha256"] == "of " + (one.get("stored") or one["key"]) for one in found.objects)
    assert found.folders == compared
    assert len(found.said) == len(said)
    for sentence, part in zip(found.said, said, strict=True):
        assert part in sentence
    # Nothing is lost without a word.
    assert bool(len(keys) - len(expected)) == any("left out" in one for one in found.said)


REPORT = "reports/public/r.csv"


@pytest.mark.parametrize(
    ("keys", "modern", "folders", "component", "said"),
    [
        ([REPORT, *NEW], True, ("media",), "s3",
         ["has reports on a disk and", "1 object of them: " + REPORT, "copy media from", "{s3: /data}"]),
        (NEW, True, ("reports",), "s3",
         ["has media on a disk and", "2 objects of them: media/public/a, ", "copy reports from"]),
        (OLD, False, ("reports",), "media", ["has media on a disk and", "{media: /data}", "leave media out of"]),
    ],
)  # fmt: skip
def test_objects_that_belong_on_a_disk_here_are_refused(
    keys: list[str], modern: bool, folders: tuple[str, ...], component: str, said: list[str]
) -> None:
    """What the database names would be in neither place, and the restore a success."""
    objects = [{"key": key} for key in keys]
    saved = Saved(objects, BOTH_USAGES, modern, lambda _entries: iter(()), (), component)
    # Who would be asked for anything is not there.
    nobody: Any = None
    with pytest.raises(StateError) as refused:
        BucketRestore(Bucket(nobody, nobody, folders), "20261124T040000Z-1b2c", nobody).changes(saved)
    for part in said:
        assert part in "%s. %s" % (refused.value.cause, refused.value.hint)


@pytest.mark.parametrize(("keys", "folders"), [(NEW, ("media",)), ([*NEW, REPORT], ()), ([*NEW, REPORT], BOTH_USAGES)])
def test_objects_that_nobody_has_on_a_disk_here_are_not_refused(keys: list[str], folders: tuple[str, ...]) -> None:
    """The set tells of reports, and has none; or the instance is older than reports."""
    saved = Saved([{"key": key} for key in keys], BOTH_USAGES, True, lambda _entries: iter(()))
    assert name_all_here(saved, folders, "public") == name_here(saved, folders, "public")


@pytest.mark.parametrize("modern", [False, True])
def test_files_of_another_default_schema_are_neither_lost_nor_put_among_others_files(modern: bool) -> None:
    keys = ["t_x/a", "sso/a"]
    objects = [{"key": "media/" + key if modern else key} for key in keys]
    saved = Saved(objects, ("media",), modern, lambda _entries: iter(()), default_schema="sso")
    assert [one["key"] for one in name_here(saved, ("media",), "sso").objects] == ["media/t_x/a", "media/sso/a"]
    assert [one["key"] for one in name_here(saved, (), "sso").objects] == keys
    with pytest.raises(StateError, match="1 file of an instance with the default schema sso, and this one has public"):
        name_here(saved, ("media",), "public")
    # A set that does not tell, such as that of a directory.
    found = name_here(saved._replace(default_schema=""), (), "public")
    assert [one["key"] for one in found.objects] == ["t_x/a"]
    assert "left out, because this instance has no place in its bucket for 1 object" in found.said[-1]
    # None of the default tenant's, so nothing is lost.
    assert name_here(saved._replace(objects=objects[:1]), ("media",), "public").objects


@pytest.mark.parametrize("key", ["media/public/a.png", "media/" + "ü€" * 90 + "/%20 b.png", "t_x/" + "n" * 300])
def test_packs_are_archives_that_tar_reads(key: str) -> None:
    """Their members are the objects, by their whole keys."""
    content = [b"first", b"", b"x" * 1024]
    data = b"".join(index_of.header(key, len(one), 1.5) + one + index_of.padding(len(one)) for one in content)
    data += index_of.END
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getmembers()
        assert [(one.name, one.size, one.mtime) for one in names] == [(key, len(one), 1) for one in content]
        # By hand the last one of a name is what is left.
        found = archive.extractfile(key)
        assert found is not None
        assert found.read() == content[-1]
    read = [(name, number, stream.read()) for name, number, stream in index_of.members(io.BytesIO(data), "p")]
    assert read == [(key, number, one) for number, one in enumerate(content)]
    for cut in (100, len(data) - 1024 - 700):
        with pytest.raises(IntegrityError):
            [stream.read() for _key, _number, stream in index_of.members(io.BytesIO(data[:cut]), "p")]
