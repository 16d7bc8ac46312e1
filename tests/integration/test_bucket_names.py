# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which objects of a bucket are the instance's, on a real S3 server: none is lost, and none of another one touched."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_objects import Saved, of_packs
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_restore import BucketRestore
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_save import would_save
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store
from tests.support.bucket import Content, Files, content_of
from tests.support.s3_server import S3Server

ID = "20261124T040000Z-1b2c"


def opened(backup_set: BackupSet) -> Saved:
    source = backup_set.folder.source(backup_set.manifest["artifacts"])
    return of_packs(backup_set.manifest["components"]["s3"], source)


def restore_of(files: Files) -> BucketRestore:
    return BucketRestore(files.bucket, ID, lambda: None)


def live(files: Files) -> Content:
    return {key: one for key, one in files.content().items() if not key.startswith("authentik-")}


@pytest.mark.parametrize("folders", [(), ("media", "reports")])
def test_the_default_tenant_s_folder_is_that_of_its_schema(
    s3_server: S3Server, s3_bucket: str, store: Store, folders: tuple[str, ...]
) -> None:
    root = "media/" if folders else ""
    files = Files(s3_server, s3_bucket, folders, "sso")
    files.put(root + "public/icon", b"of another instance")
    files.put(root + "t_one/icon", b"y")
    # The schema is not the one that is configured, or nothing was ever uploaded: that is not kept to oneself.
    (warning,) = files.save(store)["warnings"]
    assert "only sso/ (postgresql.default_schema) and t_*/ there: %spublic/." % root in warning
    files.put(root + "sso/application-icons/a.svg", b"x")
    result = files.save(store)
    assert sorted(content_of(result["set"])) == [root + "sso/application-icons/a.svg", root + "t_one/icon"]
    # In a bucket's root, before 2025.12, there may be anything.
    assert len(result["warnings"]) == (1 if folders else 0)
    assert result["set"].manifest["components"]["s3"]["default_schema"] == "sso"


def test_instances_with_different_schemas_share_a_bucket(s3_server: S3Server, s3_bucket: str, store: Store) -> None:
    files = Files(s3_server, s3_bucket, default_schema="sso")
    files.put("media/sso/icon", b"icon", ContentType="image/png")
    then = files.content()
    saved = files.save(store)["set"]
    others = {"media/other/icon", "media/public/icon", "reports/other/users.csv", "media/robots.txt"}
    for key in others:
        files.put(key, b"of another instance")
    files.put("media/sso/icon", b"other")
    files.put("media/sso/new", b"new")
    now = files.content()
    restore = restore_of(files)
    assert restore.prepare(opened(saved)).removed == ["media/sso/new"]
    assert restore.swap()
    assert live(files) == {**then, **{key: now[key] for key in others}}
    assert restore.undo()
    assert files.content() == now
    # What is not that instance's is not written there either.
    with pytest.raises(StateError, match="default schema sso, and this one has public"):
        restore_of(Files(s3_server, s3_bucket)).changes(opened(saved))


@pytest.fixture
def files(s3_server: S3Server, s3_bucket: str) -> Files:
    made = Files(s3_server, s3_bucket)
    made.put("media/public/icon", b"icon", ContentType="image/png")
    return made


@pytest.mark.parametrize(
    ("key", "told", "better"),
    [
        ("media/public/icons/", "ends in a slash", "media/public/icons"),
        ("media/public/icon/", "ends in a slash", "media/public/icon-renamed"),
        ("media/public/a//b", "has an empty part", "media/public/a/b"),
        ("media/public/a/./b", "has an empty part, or one of dots", "media/public/a/b"),
        ("media/public/back\\slash", "control character or a backslash", "media/public/back_slash"),
        ("media/public/new\nline", "control character or a backslash", "media/public/new_line"),
    ],
)
def test_an_object_that_no_set_can_hold_is_refused_by_name_with_the_way_out(
    files: Files, store: Store, key: str, told: str, better: str
) -> None:
    saved = files.save(store)["set"]
    files.put(key, b"not nothing", ContentType="image/png")
    before = files.content()
    # The restore would have to keep and delete it: that it cannot has to be known before anything is touched.
    for refused in (
        lambda: files.save(store),
        lambda: would_save(files.bucket),
        lambda: restore_of(files).changes(opened(saved)),
        lambda: restore_of(files).prepare(opened(saved)),
    ):
        with pytest.raises(StateError, match=told) as error:
            refused()
        assert files.name in error.value.cause
        assert "in authentik by another name, such as %s," % better.rpartition("/")[2] in error.value.hint
    assert files.content() == before
    assert [one.set_id for one in store.list_sets()[0]] == [saved.set_id]
    # The command is followed to the letter.
    words = subprocess.check_output(["bash", "-c", "printf '%s\\0' " + error.value.command]).decode().split("\0")
    assert words[:5] == ["aws", "--endpoint-url", files.bucket.client.endpoint, "s3", "mv"]
    source, target = (word[len("s3://%s/" % files.name) :] for word in words[5:7])
    assert (source, target) == (key, better)
    assert target not in before
    files.raw.copy_object(Bucket=files.name, Key=target, CopySource={"Bucket": files.name, "Key": source})
    files.delete(source)
    assert content_of(files.save(store)["set"]) == files.content()


@pytest.mark.parametrize("versions", [False, True])
def test_content_is_saved_or_refused_whatever_its_name_ends_in(files: Files, store: Store, versions: bool) -> None:
    if versions:
        files.raw.put_bucket_versioning(Bucket=files.name, VersioningConfiguration={"Status": "Enabled"})
    files.put("media/public/marker/", b"")
    assert list(content_of(files.save(store)["set"])) == ["media/public/icon"]
    files.put("media/public/icons/", b"<svg/>")
    with pytest.raises(StateError, match="media/public/icons/ cannot be saved or restored"):
        files.save(store)


def test_names_as_long_as_s3_takes_them_are_restored_and_put_back(files: Files, store: Store) -> None:
    longest = ["media/public/%s%s" % (one, "n" * (1024 - 14)) for one in "abc"]
    for key in longest[:2]:
        files.put(key, key[:14].encode(), ContentType="image/png")
    then = files.content()
    saved = files.save(store)["set"]
    files.delete(longest[0])
    files.put(longest[1], b"changed")
    files.put(longest[2], b"new")
    now = files.content()
    restore = restore_of(files)
    restore.prepare(opened(saved))
    assert restore.swap()
    assert live(files) == then
    assert restore.undo()
    assert files.content() == now


def test_an_object_of_a_set_that_gets_too_long_a_name_here_is_refused_first(files: Files) -> None:
    """What lay in public/ lies in media/public/ since authentik 2025.12."""
    entry = {"key": "public/" + "n" * 1015, "size": 1, "etag": "", "sha256": "", "about": {}}
    saved = Saved([entry], ("media",), False, lambda _entries: iter(()))
    with pytest.raises(StateError, match="is longer than 1024 bytes"):
        restore_of(files).changes(saved)
    assert list(files.content()) == ["media/public/icon"]
