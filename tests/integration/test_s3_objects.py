# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects on a real S3 server: what is written is there whole or not at all, whatever happens to the server meanwhile.

What lies in a bucket is judged by boto3 itself, without the collection's code.
"""

from __future__ import annotations

import datetime
import hashlib
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    InputError,
    IntegrityError,
    RecoveryError,
    SpaceError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _s3_objects as objects
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Client, Location, make_client
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_errors import (
    ConditionError,
    MissingObjectError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_reader import open_object
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_small import (
    conditions,
    get_small,
    head,
    put_small,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_upload import Upload
from tests.support.s3_server import OTHER_ACCESS_KEY, OTHER_SECRET_KEY, S3Server

PART = 65536
NOW = datetime.datetime.now(datetime.UTC)


def content(size: int) -> bytes:
    """Bytes of which no two parts are alike."""
    return random.Random(size).randbytes(size)


@pytest.fixture
def client(s3_server: S3Server) -> Client:
    return make_client(s3_server.options())


@pytest.fixture
def place(s3_bucket: str) -> Location:
    return Location.parse("s3://%s/backups/authentik" % s3_bucket)


def stored(server: S3Server, place: Location) -> dict[str, bytes]:
    """Everything in the bucket, by its whole key."""
    raw = server.client()
    listed = raw.list_objects_v2(Bucket=place.bucket).get("Contents", [])
    return {one["Key"]: raw.get_object(Bucket=place.bucket, Key=one["Key"])["Body"].read() for one in listed}


def unfinished(server: S3Server, place: Location) -> list[str]:
    return [one["Key"] for one in server.client().list_multipart_uploads(Bucket=place.bucket).get("Uploads", [])]


def upload(client: Client, place: Location, name: str, data: bytes, part_size: int = PART) -> Upload:
    with Upload(client, place, name, part_size=part_size) as out:
        for start in range(0, len(data), 10000):
            out.write(memoryview(data)[start : start + 10000])
    return out


def produce(out: Upload, parts: int, after_three: Callable[[], object] = lambda: None) -> None:
    with out:
        for number in range(parts):
            if number == 3:
                after_three()
            out.write(content(PART))


def start_later(server: S3Server) -> None:
    time.sleep(1)
    server.start()


def read(client: Client, place: Location, name: str) -> bytes:
    with open_object(client, place, name) as source:
        return b"".join(iter(lambda: source.read(7777), b""))


def headers_of(client: Client, operation: str) -> list[dict[str, str]]:
    """The headers of each request of a kind from now on, as they are sent."""
    sent: list[dict[str, str]] = []

    def note(request: Any, **_more: Any) -> None:
        sent.append(
            {
                name.lower(): value.decode() if isinstance(value, bytes) else value
                for name, value in request.headers.items()
            }
        )

    client.raw.meta.events.register("before-send.s3.%s" % operation, note)
    return sent


def test_what_is_written_is_read_again(s3_server: S3Server, client: Client, place: Location) -> None:
    expected = {}
    for size in (0, 1, PART - 1, PART, PART + 1, 20 * PART + 3):
        data = content(size)
        out = upload(client, place, "sso/%d" % size, data)
        assert (out.size, out.sha256) == (size, hashlib.sha256(data).hexdigest())
        assert read(client, place, "sso/%d" % size) == data
        expected["backups/authentik/sso/%d" % size] = data
    assert stored(s3_server, place) == expected
    # One request is enough where everything fits into one.
    raw = s3_server.client()
    for size, parts in ((PART, 0), (PART + 1, 2), (20 * PART + 3, 21)):
        etag = raw.head_object(Bucket=place.bucket, Key="backups/authentik/sso/%d" % size)["ETag"].strip('"')
        assert int(etag.partition("-")[2] or 0) == parts
    assert [one.name for one in objects.listing(client, place)] == sorted(
        "sso/%d" % len(data) for data in expected.values()
    )
    buffer = bytearray(10)
    with open_object(client, place, "sso/1") as source:
        assert (source.readinto(buffer), source.readinto(buffer)) == (1, 0)


@pytest.mark.parametrize("written", [10, 5 * PART])
def test_what_is_given_up_leaves_nothing(s3_server: S3Server, client: Client, place: Location, written: int) -> None:
    def give_up() -> None:
        with Upload(client, place, "sso/a", part_size=PART) as out:
            out.write(content(written))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give_up()
    assert (stored(s3_server, place), unfinished(s3_server, place)) == ({}, [])


def test_a_part_that_is_refused_ends_the_upload(s3_server: S3Server, client: Client, place: Location) -> None:
    def forbid(params: dict[str, Any], **_more: Any) -> None:
        params["headers"]["Content-MD5"] = "AAAAAAAAAAAAAAAAAAAAAA=="

    client.raw.meta.events.register("before-call.s3.UploadPart", forbid)
    out = Upload(client, place, "sso/a", part_size=PART)
    with pytest.raises(ConnectError, match="is not what was sent"):
        produce(out, 100)
    assert out.size < 20 * PART, "told long after the first part was refused"
    assert (stored(s3_server, place), unfinished(s3_server, place)) == ({}, [])


def test_whoever_writes_waits_for_the_endpoint(client: Client, place: Location) -> None:
    go_on = threading.Event()
    client.raw.meta.events.register("before-send.s3.UploadPart", lambda **_more: go_on.wait(30) and None)
    out = Upload(client, place, "sso/a", part_size=PART)

    producer = threading.Thread(target=produce, args=(out, 20))
    producer.start()
    before = -1
    while out.size != before:
        before = out.size
        time.sleep(0.3)
    try:
        # Those on their way, one that waits, one that is filled.
        assert PART < out.size <= (client.options["parallel"] + 2) * PART
    finally:
        go_on.set()
        producer.join()
    found = head(client, place, "sso/a")
    assert found is not None
    assert found["ContentLength"] == 20 * PART


def test_the_server_is_killed_in_the_middle_and_comes_back(s3_server: S3Server, place: Location) -> None:
    lines: list[str] = []
    client = make_client(s3_server.options(retry_seconds=60), lines.append)
    data = content(16 * 1024 * 1024)
    comes_back = threading.Thread(target=start_later, args=(s3_server,))
    with Upload(client, place, "sso/a", part_size=len(data) // 10) as out:
        out.write(data[: len(data) // 2])
        s3_server.stop(hard=True)
        comes_back.start()
        out.write(data[len(data) // 2 :])
    comes_back.join()
    assert stored(s3_server, place) == {"backups/authentik/sso/a": data}
    assert 1 <= len(lines) <= 3, lines
    assert "is tried again, for up to 1 min" in lines[0]

    upload(client, place, "sso/whole", data, part_size=len(data))
    with open_object(client, place, "sso/whole") as source:
        got = source.read(1000)
        comes_back = threading.Thread(target=start_later, args=(s3_server,))
        s3_server.stop(hard=True)
        comes_back.start()
        while piece := source.read(1024 * 1024):
            got += piece
    comes_back.join()
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()


def test_the_server_is_killed_for_good(s3_server: S3Server, place: Location) -> None:
    client = make_client(s3_server.options(retry_seconds=1))
    out = Upload(client, place, "sso/a", part_size=PART)
    begin = time.monotonic()
    try:
        with pytest.raises(ConnectError, match="Check endpoint_url of the option s3, that the server runs"):
            produce(out, 40, lambda: s3_server.stop(hard=True))
        # The request, then that it is taken back, which nobody hears.
        assert time.monotonic() - begin < 10
    finally:
        s3_server.start()
    assert unfinished(s3_server, place) == ["backups/authentik/sso/a"]
    assert objects.abort_stale_uploads(client, place, NOW - datetime.timedelta(hours=1)) == []
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    assert objects.abort_stale_uploads(client, Location(place.bucket, "elsewhere"), soon) == []
    assert objects.abort_stale_uploads(client, place, soon) == ["sso/a"]
    assert (stored(s3_server, place), unfinished(s3_server, place)) == ({}, [])


def test_an_object_that_changes_is_not_read_as_one(s3_server: S3Server, client: Client, place: Location) -> None:
    data = content(16 * 1024 * 1024)
    upload(client, place, "sso/a", data, part_size=len(data))
    with open_object(client, place, "sso/a") as source:
        source.read(1000)
        upload(client, place, "sso/a", data[::-1], part_size=len(data))
        source._body.close()
        with pytest.raises(IntegrityError, match="was written anew while it was read"):
            source.read(1000)


def test_a_full_disk_and_a_quota(s3_server: S3Server, place: Location) -> None:
    client = make_client(s3_server.options(retry_seconds=1))
    s3_server.limit(place.bucket, 1000)
    with pytest.raises(SpaceError, match="quota"):
        put_small(client, place, "sso/a", content(1001))
    put_small(client, place, "sso/b", content(10))
    s3_server.set_full(True)
    try:
        with pytest.raises(ConnectError, match="whether its disk is full"):
            upload(client, place, "sso/c", content(3 * PART))
    finally:
        s3_server.set_full(False)
    assert stored(s3_server, place) == {"backups/authentik/sso/b": content(10)}


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"secret_key": "wrong"}, ConnectError, "access_key and secret_key do not belong together"),
        ({"access_key": "test:nobody"}, ConnectError, "access_key and secret_key do not belong together"),
        (
            {"access_key": OTHER_ACCESS_KEY, "secret_key": OTHER_SECRET_KEY},
            ConnectError,
            "may not do that: allow them s3:PutObject",
        ),
    ],
)
def test_who_is_refused_is_told_why(
    s3_server: S3Server, place: Location, change: dict[str, str], error: type[RecoveryError], told: str
) -> None:
    with pytest.raises(error, match=told) as caught:
        upload(make_client(s3_server.options(**change)), place, "sso/a", b"data")
    assert "aws --endpoint-url %s s3 ls s3://%s/" % (s3_server.url, place.bucket) == caught.value.command
    assert stored(s3_server, place) == {}


def test_a_bucket_that_is_not_there(client: Client) -> None:
    place = Location.parse("s3://nobody-made-this/a")
    tries: tuple[Callable[[], object], ...] = (
        lambda: upload(client, place, "sso/a", b"data"),
        lambda: upload(client, place, "sso/a", content(3 * PART)),
        lambda: list(objects.listing(client, place)),
        lambda: objects.delete_many(client, place, ["a"]),
        lambda: objects.abort_stale_uploads(client, place, NOW),
    )
    for one in tries:
        with pytest.raises(InputError, match=r"NoSuchBucket.*it is never made by a backup"):
            one()


def test_a_clock_that_is_wrong(client: Client, place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.auth

    late = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=2)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_more: late.replace(tzinfo=None))
    with pytest.raises(ConnectError, match=r"The clocks differ: here it is 20..-.*Z, there it is .*20") as caught:
        list(objects.listing(client, place))
    assert caught.value.command == "timedatectl status"


def test_tls_is_checked(s3_server: S3Server, place: Location) -> None:
    upload(make_client(s3_server.tls_options()), place, "sso/a", b"data")
    assert stored(s3_server, place) == {"backups/authentik/sso/a": b"data"}
    begin = time.monotonic()
    other_name = s3_server.tls_url.replace("localhost", "127.0.0.1")
    no_tls = s3_server.url.replace("http:", "https:")
    for change, told in (
        ({"ca_bundle": None}, "ca_bundle of the option s3.*openssl s_client -connect localhost:"),
        ({"endpoint_url": other_name}, "The certificate has another name"),
        ({"endpoint_url": no_tls}, "That port does not speak TLS"),
    ):
        client = make_client(s3_server.tls_options(retry_seconds=60, **change))
        with pytest.raises(ConnectError, match=told):
            list(objects.listing(client, place))
    assert time.monotonic() - begin < 20, "waited for a certificate to become right"


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
@pytest.mark.parametrize("mode", ["auto", "when_required", "when_supported"])
def test_checksums(s3_server: S3Server, place: Location, mode: str, tls: bool) -> None:
    client = make_client((s3_server.tls_options if tls else s3_server.options)(checksums=mode))
    puts, parts, deletes = (headers_of(client, name) for name in ("PutObject", "UploadPart", "DeleteObjects"))
    upload(client, place, "sso/small", b"data")
    upload(client, place, "sso/large", content(3 * PART))
    assert stored(s3_server, place) == {
        "backups/authentik/sso/small": b"data",
        "backups/authentik/sso/large": content(3 * PART),
    }
    assert (len(puts), len(parts)) == (1, 3)
    for sent in puts + parts:
        trailer, header = sent.get("x-amz-trailer"), sent.get("x-amz-checksum-crc32")
        if mode == "when_supported":
            assert (trailer, bool(header)) == (("x-amz-checksum-crc32", False) if tls else (None, True))
        else:
            # What arrives is proved by the signature, in the way that every server knows.
            assert (trailer, header, sent.get("x-amz-sdk-checksum-algorithm")) == (None, None, None)
            assert len(sent["x-amz-content-sha256"]) == 64
    objects.delete_many(client, place, ["sso/small", "sso/large"])
    assert stored(s3_server, place) == {}
    assert ("content-md5" in deletes[0], "x-amz-checksum-crc32" in deletes[0]) == (
        (False, True) if mode == "when_supported" else (True, False)
    )


def test_small_objects(s3_server: S3Server, client: Client, place: Location) -> None:
    assert get_small(client, place, "sso/lock", 100) is None
    assert head(client, place, "sso/lock") is None
    put_small(client, place, "sso/lock", b"one")
    found = get_small(client, place, "sso/lock", 3)
    assert found is not None
    assert found.data == b"one"
    assert abs((found.modified - datetime.datetime.now(datetime.UTC)).total_seconds()) < 60
    with pytest.raises(IntegrityError, match="has 3 bytes; it has no more than 2"):
        get_small(client, place, "sso/lock", 2)
    with pytest.raises(MissingObjectError, match="removed meanwhile"):
        open_object(client, place, "sso/other")


def test_of_two_who_write_at_once_one_wins(s3_server: S3Server, client: Client, place: Location) -> None:
    won: list[bytes] = []
    lost: list[bytes] = []

    def write(data: bytes) -> None:
        try:
            put_small(client, place, "sso/lock", data, if_absent=True)
            won.append(data)
        except ConditionError:
            lost.append(data)

    for data in (b"first", b"other"):
        write(data)
    assert (won, lost) == ([b"first"], [b"other"])
    # Its answer was lost, and the request was repeated: what is there is its own.
    write(b"first")
    assert won == [b"first", b"first"]
    assert stored(s3_server, place) == {"backups/authentik/sso/lock": b"first"}


def test_conditions_are_tried_and_not_believed(s3_server: S3Server, client: Client, place: Location) -> None:
    # Swift knows If-None-Match when it writes, and refuses If-Match.
    assert conditions(client, place) == (True, False)

    def ignore(params: dict[str, Any], **_more: Any) -> None:
        params["headers"].pop("If-None-Match", None)
        params["headers"].pop("If-Match", None)

    # As an endpoint that knows none, and reports success.
    client.raw.meta.events.register("before-call.s3.PutObject", ignore)
    assert conditions(client, place) == (False, False)
    assert stored(s3_server, place) == {}


def test_listings_go_on_page_by_page(client: Client, place: Location) -> None:
    names = ["sso/%s/%s" % (one, file) for one in "abc" for file in ("manifest.json", "x/ü #?%2B&.dump")]
    for name in [*names, "other/a", "sso2/a"]:
        put_small(client, place, name, name.encode())
    pages: list[int] = []

    def small_pages(params: dict[str, Any], **_more: Any) -> None:
        pages.append(1)
        params["MaxKeys"] = 2

    client.raw.meta.events.register("before-parameter-build.s3.ListObjectsV2", small_pages)
    assert [(one.name, one.size) for one in objects.listing(client, place, "sso")] == [
        (name, len(name.encode())) for name in sorted(names)
    ]
    assert len(pages) in (3, 4)
    assert list(objects.folders(client, place, "sso")) == ["a", "b", "c"]
    assert list(objects.folders(client, place)) == ["other", "sso", "sso2"]
    assert next(objects.listing(client, Location(place.bucket))).name == "backups/authentik/other/a"


def test_many_are_deleted_at_once(
    s3_server: S3Server, client: Client, place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["sso/%d <&>ü" % number for number in range(5)]
    for name in [*names, "sso/kept"]:
        put_small(client, place, name, b"x")
    requests = headers_of(client, "DeleteObjects")
    monkeypatch.setattr(objects, "_DELETED_AT_ONCE", 2)
    assert objects.delete_many(client, place, [*names, "sso/gone"]) == 6
    assert len(requests) == 3
    assert list(stored(s3_server, place)) == ["backups/authentik/sso/kept"]
    assert objects.delete_many(client, place, []) == 0


def test_a_copy_keeps_content_and_metadata(s3_server: S3Server, client: Client, place: Location) -> None:
    data, about = content(5 * PART), {"ContentType": "image/png", "Metadata": {"made-by": "a test"}}
    with Upload(client, place, "sso/a", extra=about) as out:
        out.write(data)
    for name, at_once in (("sso/one", 10 * PART), ("sso/parts", 2 * PART)):
        told = objects.copy(client, (place, "sso/a"), (place, name), at_once)
        assert told["ContentLength"] == len(data)
        found = s3_server.client().get_object(Bucket=place.bucket, Key=place.key(name))
        assert (found["Body"].read(), found["ContentType"], found["Metadata"]) == (
            data,
            "image/png",
            {"made-by": "a test"},
        )
    with pytest.raises(MissingObjectError):
        objects.copy(client, (place, "sso/none"), (place, "sso/b"))
    assert unfinished(s3_server, place) == []


def test_a_bucket_without_object_lock_is_not_taken_for_one_with_it(
    s3_server: S3Server, client: Client, place: Location
) -> None:
    # Swift takes the request to retain an object for one that writes it: the content would be gone.
    put_small(client, place, "sso/a", b"data")
    with pytest.raises(InputError, match="has no Object Lock"):
        objects.retain(client, place, "sso/a", "GOVERNANCE", NOW + datetime.timedelta(days=1))
    assert stored(s3_server, place) == {"backups/authentik/sso/a": b"data"}
