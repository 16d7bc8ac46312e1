# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A store in a bucket of a real S3 server: the same promises as on a disk."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import socket
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _backend_s3, _s3_lock, _s3_small
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._copy import copy_set, is_there
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._lock import LOCK_NAME
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store, open_store
from tests.support.s3_server import S3Server, s3_bucket, s3_server
from tests.support.store import BLOBS, NOW, fill, manifest_of, publish, requests

__all__ = ["s3_bucket", "s3_server"]

DAY = datetime.timedelta(days=1)
MEDIA = "static/media.tar.zst"


class Bucket:
    """The bucket as boto3 alone sees it."""

    def __init__(self, server: S3Server, name: str) -> None:
        self.client = server.judge
        self.name = name

    def found(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return sorted(one["Key"] for one in found)

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def uploads(self) -> list[Any]:
        found: list[Any] = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return found


@pytest.fixture
def bucket(s3_server: S3Server, s3_bucket: str) -> Bucket:
    return Bucket(s3_server, s3_bucket)


@pytest.fixture
def store(s3_server: S3Server, s3_bucket: str) -> Store:
    return open_store("s3://%s/backups" % s3_bucket, "sso", s3_server.options())


def test_a_set_is_what_its_files_say_by_the_means_of_others(store: Store, bucket: Bucket) -> None:
    made = publish(store)
    below = "backups/sso/%s/" % made.set_id
    keys = [key for key in bucket.found() if key.startswith(below)]
    assert keys == sorted(below + name for name in [*BLOBS, "RESTORE.md", "SHA256SUMS", "manifest.json"])
    for line in bucket.get(below + "SHA256SUMS").decode().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256(bucket.get(below + name)).hexdigest() == digest
    assert {name: bucket.get(below + name) for name in BLOBS} == BLOBS
    assert made.path == "s3://%s/%s" % (bucket.name, below.rstrip("/"))
    ((listed,), problems) = store.list_sets()
    assert (listed.set_id, problems) == (made.set_id, [])
    assert [check["level"] for check in listed.verified] == ["checksums"]
    with listed.folder.source(listed.manifest["artifacts"]).artifact(MEDIA) as reader:
        assert reader.read(10**6) == BLOBS[MEDIA]


def test_a_set_without_its_manifest_is_none_and_the_next_run_removes_it(store: Store, bucket: Bucket) -> None:
    partial = store.open(NOW, b"\x01\x01", os.getpid())
    fill(partial, BLOBS)
    assert store.list_sets()[0] == []
    assert [one.reason for one in store.list_sets()[1]] == ["being written"]
    owner = "backups/sso/%s/.owner.json" % partial.set_id
    bucket.put(owner, json.dumps({**json.loads(bucket.get(owner)), "start": "1"}).encode())
    ((problem,),) = (store.list_sets()[1],)
    assert (problem.name, problem.unfinished) == (partial.set_id + ".partial", True)
    other = store.open(NOW, b"\x02\x02", os.getpid())
    assert {key.split("/")[2] for key in bucket.found()} == {other.set_id}
    assert other.discard()
    assert bucket.found() == []


def test_an_unfinished_upload_goes_with_its_set(store: Store, bucket: Bucket) -> None:
    partial = store.open(NOW, b"\x01\x01", os.getpid())
    key = "backups/sso/%s/static/media.tar.zst" % partial.set_id
    bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    assert bucket.uploads()
    partial.discard()
    assert bucket.uploads() == []


def test_an_artifact_that_fails_leaves_nothing_and_nothing_is_published(store: Store, bucket: Bucket) -> None:
    partial = store.open(NOW, b"\x01\x01", os.getpid())
    with pytest.raises(TypeError), partial.sink().artifact("static/big.tar") as out:
        assert out.write(b"x" * 9 * 1024**2) + out.write(None)  # type: ignore[arg-type]
    assert [key for key in bucket.found() if "static" in key] == []
    assert bucket.uploads() == []
    artifacts = fill(partial, BLOBS)
    bucket.put("backups/sso/%s/%s" % (partial.set_id, MEDIA), b"n" * 5000)
    with pytest.raises(IntegrityError, match="SHA-256"):
        store.publish(partial, manifest_of(partial, artifacts), NOW)
    assert store.list_sets()[0] == []


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        (MEDIA, b"", "holds 0 bytes; 5000 were recorded"),
        (MEDIA, None, "The artifact .*media.tar.zst is missing"),
        ("SHA256SUMS", None, "There is no SHA256SUMS"),
        ("SHA256SUMS", b"altered\n", "SHA256SUMS"),
        ("manifest.json", b"{}", "manifest.json: "),
    ],
)
def test_damage_is_listed_as_what_it_is(store: Store, bucket: Bucket, name: str, data: bytes | None, says: str) -> None:
    made = publish(store)
    key = "backups/sso/%s/%s" % (made.set_id, name)
    bucket.delete(key) if data is None else bucket.put(key, data)
    sets, problems = store.list_sets()
    assert sets == []
    assert len(problems) == 1
    with pytest.raises(IntegrityError, match=says):
        store.get(made.set_id)


def test_an_altered_artifact_is_found_by_verification_and_is_no_set_any_more(store: Store, bucket: Bucket) -> None:
    made = publish(store)
    bucket.put("backups/sso/%s/%s" % (made.set_id, MEDIA), b"n" * 5000)
    with pytest.raises(IntegrityError, match=MEDIA):
        store.verify(made, NOW)
    assert store.list_sets()[0] == []
    with pytest.raises(IntegrityError, match="verification failed"):
        store.get(made.set_id)


def test_an_unchanged_artifact_is_copied_by_the_endpoint_and_survives_its_origin(store: Store) -> None:
    first = publish(store)
    partial = store.open(NOW + DAY, os.urandom(2), os.getpid())
    artifact = next(one for one in first.manifest["artifacts"] if one["path"] == MEDIA)
    partial.link(first.folder, artifact)
    partial.save_record({"component": "media", "artifacts": [{"path": MEDIA}]}, [])
    second = store.publish(partial, manifest_of(partial, [dict(artifact, linked_from=first.set_id)]), NOW + DAY)
    store.removal().remove(first.set_id)
    assert store.verify(second, NOW)["ok"]
    assert [one.set_id for one in store.list_sets()[0]] == [second.set_id]


def test_a_removal_that_is_interrupted_leaves_a_whole_set_or_none(store: Store, bucket: Bucket) -> None:
    made, other = publish(store), publish(store, now=NOW + DAY)
    store.pin(made.set_id, "kept for the audit", NOW)
    store.backend.hide(made.set_id)
    assert [one.set_id for one in store.list_sets()[0]] == [other.set_id]
    assert store.removal().left_over() == [made.set_id]
    with pytest.raises(StateError, match="not there any more"):
        store.removal().remove(made.set_id)
    store.removal().finish(made.set_id)
    assert not [key for key in bucket.found() if made.set_id in key]
    # Marked, and killed before the manifest went: still a set.
    bucket.put("backups/sso/%s/.deleting" % other.set_id, b"")
    assert [one.set_id for one in store.list_sets()[0]] == [other.set_id]
    assert store.verify(other, NOW)["ok"]


def test_a_set_that_cannot_be_retained_is_none(
    s3_server: S3Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    locking = s3_server.options(object_lock_mode="GOVERNANCE", object_lock_days=1)
    store = open_store("s3://%s/backups" % bucket.name, "sso", locking)
    # Swift has no Object Lock: that is said before anything is saved.
    with pytest.raises(InputError, match="has no Object Lock"):
        store.open(NOW, b"\x01\x01", os.getpid())
    assert bucket.found() == []

    def only_artifacts(_client: Any, _place: Any, name: str, *_how: Any) -> None:
        if name == "manifest.json":
            raise StateError("not retained")

    monkeypatch.setattr(_backend_s3, "check_lockable", lambda *_where: None)
    monkeypatch.setattr(_backend_s3, "retain", only_artifacts)
    with pytest.raises(StateError, match="not retained"):
        publish(store)
    assert store.list_sets()[0] == []
    assert [key for key in bucket.found() if key.endswith("manifest.json")] == []


def test_pins_and_checks_lie_beside_the_set(store: Store, bucket: Bucket) -> None:
    made = publish(store)
    assert store.pin(made.set_id, "before the upgrade", NOW)
    assert store.list_sets()[0][0].pinned == "before the upgrade"
    assert "backups/sso/%s.pinned.json" % made.set_id in bucket.found()
    assert store.pin(made.set_id, "", NOW)
    assert store.get("latest").pinned == ""


def test_one_removes_at_a_time_and_a_dead_owner_gives_way(store: Store, bucket: Bucket) -> None:
    with store.removal().lock("a prune") as lock:
        lock.beat()
        with pytest.raises(
            StateError, match="locked by a prune .*process %d on %s" % (os.getpid(), socket.gethostname())
        ):
            store.removal().lock("another").__enter__()
        key = "backups/sso/" + LOCK_NAME
        owner = json.loads(bucket.get(key))
    assert bucket.found() == []
    bucket.put(key, json.dumps({**owner, "start": "1"}).encode())
    with store.removal().lock("a prune") as lock:
        assert "process %d" % os.getpid() in lock.taken_over
    assert bucket.found() == []


@pytest.mark.parametrize("honoured", [True, False])
def test_of_two_who_lock_at_the_same_moment_one_goes_on(
    store: Store, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, honoured: bool
) -> None:
    if not honoured:
        monkeypatch.setattr(_s3_lock, "conditions", lambda *_: _s3_small.Conditions(False, False))
    both_looked, looked = threading.Barrier(2), threading.local()
    real = _s3_small.get_small

    def look(*arguments: Any) -> Any:
        found = real(*arguments)
        if not hasattr(looked, "once"):
            looked.once = True
            both_looked.wait(60)
        return found

    monkeypatch.setattr(_s3_lock, "get_small", look)

    def take(what: str) -> str:
        try:
            store.removal().lock(what).__enter__()
        except StateError as exc:
            return str(exc)
        return what

    with ThreadPoolExecutor(2) as pool:
        outcomes = set(pool.map(take, ["backup one", "backup two"]))
    (owner,) = outcomes & {"backup one", "backup two"}
    (refused,) = outcomes - {owner}
    assert "locked by %s" % owner in refused
    assert json.loads(bucket.get("backups/sso/" + LOCK_NAME))["what"] == owner


def test_an_owner_that_was_taken_for_dead_removes_nothing_more(store: Store, bucket: Bucket) -> None:
    lock = store.removal().lock("a prune")
    with lock:
        bucket.put("backups/sso/" + LOCK_NAME, json.dumps({"token": "of another", "what": "a prune"}).encode())
        with pytest.raises(StateError, match="locked by a prune"):
            lock.beat()
    assert json.loads(bucket.get("backups/sso/" + LOCK_NAME))["token"] == "of another"


def test_a_list_takes_few_requests_and_still_sees_every_change(store: Store, bucket: Bucket) -> None:
    made = [publish(store, now=NOW + one * DAY) for one in range(4)]
    ids = [one.set_id for one in reversed(made)]
    with requests(store) as sent:
        sets, problems = store.list_sets()
    assert ([one.set_id for one in sets], problems) == (ids, [])
    assert [one.manifest_sha256 for one in sets] == [one.manifest_sha256 for one in reversed(made)]
    assert len(sent) == 2, sent
    store.pin(made[0].set_id, "for the audit", NOW)
    key = "backups/sso/%s/manifest.json" % made[1].set_id
    bucket.put(key, bucket.get(key).replace(b"2026-11-23", b"2026-11-24"))
    bucket.put("backups/sso/%s/%s" % (made[2].set_id, MEDIA), b"")
    bucket.delete("backups/sso/%s/manifest.json" % made[3].set_id)
    sets, problems = store.list_sets()
    assert [(one.set_id, one.pinned) for one in sets] == [(made[0].set_id, "for the audit")]
    assert sorted(one.name[:21] for one in problems) == sorted(one.set_id for one in made[1:])


@pytest.mark.parametrize("content", [b"", b"nothing of ours", zlib.compress(b'{"format": 1, "sets": {"x": 1}}')])
def test_a_catalog_that_is_broken_is_none(store: Store, bucket: Bucket, content: bytes) -> None:
    made = publish(store)
    bucket.put("backups/sso/.catalog", content)
    assert [one.set_id for one in store.list_sets()[0]] == [made.set_id]


def test_the_newest_set_is_found_without_reading_the_others(store: Store) -> None:
    made = [publish(store, now=NOW + one * DAY) for one in range(3)]
    with requests(store) as sent:
        assert store.latest()[0].set_id == made[-1].set_id
    assert len(sent) < 10, sent


def test_sets_are_copied_to_a_disk_and_back_and_shared_artifacts_are_not_sent_again(
    store: Store, bucket: Bucket, s3_server: S3Server, tmp_path: Path
) -> None:
    first = publish(store)
    partial = store.open(NOW + DAY, os.urandom(2), os.getpid())
    artifact = next(one for one in first.manifest["artifacts"] if one["path"] == MEDIA)
    partial.link(first.folder, artifact)
    partial.save_record({"component": "media", "artifacts": [{"path": MEDIA}]}, [])
    second = store.publish(partial, manifest_of(partial, [dict(artifact, linked_from=first.set_id)]), NOW + DAY)
    store.pin(second.set_id, "for the audit", NOW)
    disk = open_store(str(tmp_path / "disk"), "sso")
    for one in (first, second):
        copy_set(store, one.set_id, disk, NOW, os.getpid())
    assert [one.manifest_sha256 for one in disk.list_sets()[0]] == [second.manifest_sha256, first.manifest_sha256]
    assert [one.pinned for one in disk.list_sets()[0]] == ["for the audit", ""]
    paths = [tmp_path / "disk/sso" / one.set_id / MEDIA for one in (first, second)]
    assert paths[0].read_bytes() == BLOBS[MEDIA]
    assert os.path.samefile(*paths)
    back = open_store("s3://%s/back" % bucket.name, "sso", s3_server.options())
    copy_set(disk, first.set_id, back, NOW, os.getpid())
    below = "%%s/sso/%s/" % first.set_id
    copies = [
        {key[len(place) :]: bucket.get(key) for key in bucket.found() if key.startswith(place)}
        for place in (below % "backups", below % "back")
    ]
    assert copies[0] == copies[1] != {}
    assert is_there(first, back)


def test_what_is_damaged_is_not_copied(store: Store, bucket: Bucket, tmp_path: Path) -> None:
    made = publish(store)
    bucket.put("backups/sso/%s/%s" % (made.set_id, MEDIA), b"n" * 5000)
    disk = open_store(str(tmp_path / "disk"), "sso")
    with pytest.raises(IntegrityError, match=MEDIA):
        copy_set(store, made.set_id, disk, NOW, os.getpid())
    assert os.listdir(disk.path) == []


def test_all_that_is_written_asks_for_its_storage_class_and_encryption(s3_server: S3Server, s3_bucket: str) -> None:
    given = {"storage_class": "STANDARD_IA", "server_side_encryption": "aws:kms", "kms_key_id": "key-1"}
    store = open_store("s3://%s/backups" % s3_bucket, "sso", {**s3_server.options(), **given})
    events = store.backend.look().sets.client.raw.meta.events  # type: ignore[attr-defined]
    sent: dict[str, tuple[str | None, ...]] = {}

    def note(params: dict[str, Any], **_more: Any) -> None:
        # Taken off again: this server has neither other classes nor keys.
        names = ("storage-class", "server-side-encryption", "server-side-encryption-aws-kms-key-id")
        sent[params["url_path"]] = tuple(params["headers"].pop("x-amz-" + name, None) for name in names)

    for operation in ("PutObject", "CreateMultipartUpload", "CopyObject"):
        events.register("before-call.s3." + operation, note)
    made = publish(store, {**BLOBS, MEDIA: bytes(12 * 2**20)})
    assert {"/backups/sso/%s/%s" % (made.set_id, name) for name in (*BLOBS, "manifest.json")} <= set(sent)
    assert set(sent.values()) == {("STANDARD_IA", "aws:kms", "key-1")}


def test_a_bucket_that_is_not_there_is_said_before_anything_is_made(s3_server: S3Server) -> None:
    store = open_store("s3://recovery-not-there/x", "sso", s3_server.options())
    with pytest.raises(InputError, match="recovery-not-there"):
        store.open(NOW, b"\x01\x01", os.getpid())
    with pytest.raises(InputError, match="recovery-not-there"):
        store.list_sets()
