# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which objects of a bucket are the instance's, on a real S3 server: none is lost, and none of another one touched."""

from __future__ import annotations

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_objects import Saved, of_packs
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_restore import BucketRestore
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
