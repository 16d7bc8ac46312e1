# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Object Lock, versions and conditions on an S3 server that honours them: Ceph's gateway."""

from __future__ import annotations

import datetime

import botocore.exceptions
import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _s3_objects as objects
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Location, make_client
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_errors import ConditionError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_reader import open_object
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_small import conditions, put_small
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_upload import Upload
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import open_store
from tests.support.ceph_server import CephServer
from tests.support.store import BLOBS, publish

pytestmark = pytest.mark.system
MIB = 1024**2


def versions(server: CephServer, bucket: str) -> list[str]:
    """The keys of all versions, and of what says that something was deleted."""
    page = server.judge.list_object_versions(Bucket=bucket)
    return sorted(one["Key"] for one in page.get("Versions", []) + page.get("DeleteMarkers", []))


def test_what_is_retained_cannot_be_deleted(ceph_server: CephServer) -> None:
    client, raw = make_client(ceph_server.options()), ceph_server.judge
    place = Location.parse("s3://%s/sets" % ceph_server.bucket(locked=True))
    data = b"artifact" * (2 * MIB)
    with Upload(client, place, "sso/a.dump", part_size=6 * MIB) as out:
        out.write(data)
    assert out.version_id
    until = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(seconds=20)
    objects.retain(client, place, "sso/a.dump", "COMPLIANCE", until)
    key = {"Bucket": place.bucket, "Key": "sets/sso/a.dump"}
    told = raw.get_object_retention(**key)["Retention"]
    assert (told["Mode"], told["RetainUntilDate"]) == ("COMPLIANCE", until)
    # Who wants less has it already.
    for mode in ("COMPLIANCE", "GOVERNANCE"):
        objects.retain(client, place, "sso/a.dump", mode, until - datetime.timedelta(seconds=10))
    assert raw.get_object_retention(**key)["Retention"] == told
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        raw.delete_object(**key, VersionId=out.version_id)
    # Without its version it is hidden, as the newest one, and still there.
    objects.delete_many(client, place, ["sso/a.dump"])
    assert list(objects.listing(client, place)) == []
    with open_object(client, place, "sso/a.dump", out.version_id) as source:
        assert b"".join(iter(lambda: source.read(MIB), b"")) == data


def test_what_is_given_up_leaves_no_version(ceph_server: CephServer) -> None:
    client = make_client(ceph_server.options())
    place = Location.parse("s3://%s/sets" % ceph_server.bucket(locked=True))
    for written in (10, 12 * MIB):
        out = Upload(client, place, "sso/a", part_size=5 * MIB)
        # It was taken, and is not what it should be.
        out._check_checksums = lambda _found: 1 / 0  # type: ignore[method-assign, assignment]
        with pytest.raises(ZeroDivisionError), out:
            out.write(bytes(written))
    assert versions(ceph_server, place.bucket) == []
    assert ceph_server.judge.list_multipart_uploads(Bucket=place.bucket).get("Uploads", []) == []


def test_a_bucket_without_lock_is_refused(ceph_server: CephServer) -> None:
    client, place = make_client(ceph_server.options()), Location.parse("s3://%s" % ceph_server.bucket())
    put_small(client, place, "a", b"data")
    with pytest.raises(InputError, match="has no Object Lock"):
        objects.retain(client, place, "a", "GOVERNANCE", datetime.datetime.now(datetime.UTC))


def test_conditions_are_those_of_the_bucket(ceph_server: CephServer) -> None:
    client = make_client(ceph_server.options())
    plain, locked = (Location.parse("s3://%s/sets" % ceph_server.bucket(lock)) for lock in (False, True))
    assert conditions(client, plain).create
    put_small(client, plain, "lock", b"first", if_absent=True)
    with pytest.raises(ConditionError):
        put_small(client, plain, "lock", b"other", if_absent=True)
    # Where it keeps versions, this gateway takes what it should refuse: that is noticed.
    if not conditions(client, locked).create:
        put_small(client, locked, "lock", b"first", if_absent=True)
        put_small(client, locked, "lock", b"other", if_absent=True)
    assert [key for key in versions(ceph_server, locked.bucket) if "probe" in key] == []


def test_a_copy_in_parts(ceph_server: CephServer) -> None:
    client = make_client(ceph_server.options())
    place = Location.parse("s3://%s/sets" % ceph_server.bucket())
    data = bytes(range(256)) * (12 * 4096)
    with Upload(client, place, "a", extra={"ContentType": "image/png"}) as out:
        out.write(data)
    told = objects.copy(client, (place, "a"), (place, "b"), 5 * MIB)
    assert (told["ContentLength"], told["ContentType"]) == (len(data), "image/png")
    assert ceph_server.judge.get_object(Bucket=place.bucket, Key="sets/b")["Body"].read() == data


def test_a_whole_set_is_retained_and_pruning_hides_it_only(ceph_server: CephServer) -> None:
    name = ceph_server.bucket(locked=True)
    options = {**ceph_server.options(), "object_lock_mode": "COMPLIANCE", "object_lock_days": 1}
    store = open_store("s3://%s/sets" % name, "sso", options)
    made = publish(store)
    below = "sets/sso/%s/" % made.set_id
    kept = {
        one["Key"]: one["VersionId"]
        for one in ceph_server.judge.list_object_versions(Bucket=name, Prefix=below)["Versions"]
        if one["IsLatest"]
    }
    assert set(kept) == {below + file for file in (*BLOBS, "RESTORE.md", "SHA256SUMS", "manifest.json")}
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=23)
    for key, version in kept.items():
        told = ceph_server.judge.get_object_retention(Bucket=name, Key=key, VersionId=version)["Retention"]
        assert told["Mode"] == "COMPLIANCE"
        assert told["RetainUntilDate"] > tomorrow
    removal = store.removal()
    with removal.lock("a prune"):
        removal.remove(made.set_id)
    assert store.list_sets() == ([], [])
    # Hidden, as docs/s3.md says: the content is there for who looks for versions.
    for file, content in BLOBS.items():
        found = ceph_server.judge.get_object(Bucket=name, Key=below + file, VersionId=kept[below + file])
        assert found["Body"].read() == content
