# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore replaced in a bucket is put back whole, or the undo is refused; what was never finished goes too."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    IntegrityError,
    RecoveryError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _bucket_kept
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_action import BucketAction
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_restore import BucketRestore
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._variables import name_variables
from tests.support.bucket import Files
from tests.support.bucket_restore import ID, Killed, cut_off, files, leave, live, new_bucket, opened, restore_of
from tests.support.s3_server import S3Server

__all__ = ["files"]


def test_an_undo_that_is_cut_off_while_it_clears_is_repeated(
    files: Files, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = files.save(store)["set"]
    now = leave(files)
    restore = restore_of(files)
    restore.prepare(opened(saved))
    restore.swap()
    delete = BucketRestore._delete

    def half(self: BucketRestore, names: list[str]) -> None:
        kept = [name for name in names if "/objects/" in name and name.startswith(self.before)]
        delete(self, kept[:1] or names)
        if kept:
            raise Killed

    told = {"bucket": files.name, "endpoint": "", "changed": True}
    with monkeypatch.context() as patch:
        patch.setattr(BucketRestore, "_delete", half)
        with pytest.raises(Killed):
            restore.undo(False, told)
    assert live(files.content()) == now
    # Meanwhile authentik wrote, which is not taken back once more.
    files.put("media/public/changed", b"later")
    now["media/public/changed"] = files.content()["media/public/changed"]
    restore.undo(False, told)
    assert files.content() == now


@pytest.mark.parametrize("lost", ["bucket", "all", "journal", "object"])
def test_an_undo_that_cannot_put_back_what_a_swap_replaced_says_so_and_changes_nothing(
    files: Files, store: Store, s3_server: S3Server, lost: str
) -> None:
    saved = opened(files.save(store)["set"])
    leave(files)
    restore = restore_of(files)
    told = restore.told(restore.prepare(saved))
    assert told == {"bucket": files.name, "endpoint": s3_server.url, "changed": True}
    restore.swap()
    if lost == "bucket":
        other = Files(s3_server, new_bucket(s3_server))
        restore = restore_of(other)
    else:
        gone = {"all": "", "journal": "journal.json", "object": "objects/media/public/changed"}[lost]
        files.delete(*(key for key in files.content() if key.startswith("authentik-before-%s/%s" % (ID, gone))))
    then = files.content()
    for pretend in (True, False):
        with pytest.raises(StateError) as refused:
            restore.undo(pretend, told)
        assert files.content() == then
    said, found = str(refused.value), type(refused.value).__name__
    if lost == "bucket":
        assert found == "OtherBucketError"
        assert '-e authentik_restore_id=%s -e \'{"authentik_storage_s3": {"bucket": "%s"' % (ID, files.name) in said
        # Of a swap that had nothing to exchange there is nothing to be found.
        assert restore.undo(False, {**told, "changed": False}) == []
    else:
        assert found == "NoWayBackError"
        assert "safety set of that restore" in said
        assert "authentik_rollback_bucket=false" in said


def test_a_journal_that_is_none_says_what_to_do(files: Files) -> None:
    files.put("authentik-before-%s/journal.json" % ID, b"[1]")
    with pytest.raises(IntegrityError, match="is no journal") as refused:
        restore_of(files).undo()
    assert "copy it back by hand, or restore the safety set" in refused.value.hint
    assert refused.value.command.endswith(" s3 ls --recursive s3://%s/authentik-before-%s/" % (files.name, ID))


def test_keys_that_the_endpoint_refuses_are_those_of_the_option_for_the_files(
    s3_server: S3Server, files: Files
) -> None:
    names = ("endpoint_url", "region", "access_key", "ca_bundle", "allow_http")
    connection = {name: value for name, value in s3_server.options().items() if name in names}
    found = {"connection": connection, "folders": ["media"], "index_key": "", "default_schema": "public"}
    given = {"bucket": files.name, "access_key": connection["access_key"], "secret_key": "wrong", "retry_seconds": 0}
    bucket = BucketAction.connect(BucketAction.__new__(BucketAction), found, given).bucket
    with pytest.raises(RecoveryError) as refused:
        BucketRestore(bucket, ID, lambda: None).undo()
    assert "storage_s3.access_key and storage_s3.secret_key do not belong together" in name_variables(
        str(refused.value)
    )


def test_a_swap_that_did_not_get_to_its_journal_leaves_nothing_to_put_back(
    files: Files, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = opened(files.save(store)["set"])
    now = leave(files)
    restore = restore_of(files)
    told = restore.told(restore.prepare(saved))
    with monkeypatch.context() as patch:
        cut_off(patch, "journal")
        with pytest.raises(Killed):
            restore.swap()
    assert restore.undo(False, told)
    assert files.content() == now


def test_restores_are_undone_from_the_latest_on(files: Files, store: Store) -> None:
    """The ids are given by the user: they do not tell the order."""
    sets = [opened(files.save(store)["set"])]
    states = [files.content()]
    for key in ("changed", "same"):
        files.put("media/public/" + key, b"of another day", ContentType="text/plain")
        sets.append(opened(files.save(store)["set"]))
        states.append(files.content())
    names = ("20261124T040000Z-9999", "20261124T040000Z-5555", "20261124T040000Z-7777")
    first, second, third = (BucketRestore(files.bucket, name, lambda: None) for name in names)
    for restore, which in ((first, 1), (second, 0), (third, 1)):
        restore.prepare(sets[which])
        restore.swap()
    then = files.content()
    for restore in (first, second):
        with pytest.raises(StateError, match="a state that never was") as refused:
            restore.undo()
        assert "rollback -e authentik_restore_id=%s" % names[2] in refused.value.command
    assert files.content() == then
    for restore, which in ((third, 0), (second, 1), (first, 2)):
        restore.undo()
        assert live(files.content()) == states[which]
    assert files.content() == states[2]


@pytest.mark.parametrize("by", ["prepare", "undo", "cleanup"])
def test_parts_that_a_killed_restore_sent_are_taken_away_and_no_other(files: Files, store: Store, by: str) -> None:
    saved = opened(files.save(store)["set"])
    left = "authentik-new-%s/objects/media/public/large" % ID
    others = ["media/public/large", "authentik-new-20261123T040000Z-1b2c/objects/media/public/large"]
    for key in (left, *others):
        upload = files.raw.create_multipart_upload(Bucket=files.name, Key=key)["UploadId"]
        files.raw.upload_part(Bucket=files.name, Key=key, UploadId=upload, PartNumber=1, Body=b"x" * 100)
    restore = restore_of(files)
    if by == "prepare":
        restore.prepare(saved)
    elif by == "undo":
        restore.undo(pretend=True)
        assert unfinished_in(files) == sorted([left, *others])
        restore.undo()
    else:
        found = _bucket_kept.find(files.bucket, pytest.fail)
        assert sorted(one["restore_id"] for one in found) == ["20261123T040000Z-1b2c", ID]
        copies = [dict(one, component="s3", goes=one["restore_id"] == ID) for one in found]
        _bucket_kept.remove(files.bucket, copies, pytest.fail)
    assert unfinished_in(files) == sorted(others)
    assert restore.warnings == []


def unfinished_in(files: Files) -> list[str]:
    return sorted(one["Key"] for one in files.raw.list_multipart_uploads(Bucket=files.name).get("Uploads", []))


def test_who_may_not_abort_uploads_is_warned_and_restores_all_the_same(files: Files, store: Store) -> None:
    then = files.content()
    saved = opened(files.save(store)["set"])
    leave(files)

    def refuse(**_more: Any) -> Any:
        raise ClientError(
            {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "ListMultipartUploads"
        )

    files.bucket.client.raw.meta.events.register("before-call.s3.ListMultipartUploads", refuse)
    restore = restore_of(files)
    restore.prepare(saved)
    restore.swap()
    assert live(files.content()) == then
    assert len(restore.warnings) == 1
    assert "s3:ListBucketMultipartUploads and s3:AbortMultipartUpload" in restore.warnings[0]
