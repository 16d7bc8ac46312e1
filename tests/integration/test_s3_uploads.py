# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams into a real S3 server and out of it: whole or not at all, whatever happens to the server meanwhile."""

from __future__ import annotations

import base64
import datetime
import hashlib
import threading
import time
import zlib
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    IntegrityError,
    SpaceError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _s3_objects as objects
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Client, Location, make_client
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_reader import open_object
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_small import (
    head,
    put_small,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_upload import Upload
from tests.support.s3_objects import PART, content, produce, stored, unfinished, upload
from tests.support.s3_server import S3Server

NOW = datetime.datetime.now(datetime.UTC)


def start_later(server: S3Server) -> None:
    time.sleep(1)
    server.start()


def read(s3_client: Client, s3_place: Location, name: str) -> bytes:
    with open_object(s3_client, s3_place, name) as source:
        return b"".join(iter(lambda: source.read(7777), b""))


def test_what_is_written_is_read_again(s3_server: S3Server, s3_client: Client, s3_place: Location) -> None:
    expected = {}
    for size in (0, 1, PART - 1, PART, PART + 1, 20 * PART + 3):
        data = content(size)
        out = upload(s3_client, s3_place, "sso/%d" % size, data)
        assert (out.size, out.sha256) == (size, hashlib.sha256(data).hexdigest())
        assert read(s3_client, s3_place, "sso/%d" % size) == data
        expected["backups/authentik/sso/%d" % size] = data
    assert stored(s3_server, s3_place) == expected
    # One request is enough where everything fits into one.
    raw = s3_server.judge
    for size, parts in ((PART, 0), (PART + 1, 2), (20 * PART + 3, 21)):
        etag = raw.head_object(Bucket=s3_place.bucket, Key="backups/authentik/sso/%d" % size)["ETag"].strip('"')
        assert int(etag.partition("-")[2] or 0) == parts
    assert [one.name for one in objects.listing(s3_client, s3_place)] == sorted(
        "sso/%d" % len(data) for data in expected.values()
    )
    buffer = bytearray(10)
    with open_object(s3_client, s3_place, "sso/1") as source:
        assert (source.readinto(buffer), source.readinto(buffer)) == (1, 0)


@pytest.mark.parametrize("written", [10, 5 * PART])
def test_what_is_given_up_leaves_nothing(
    s3_server: S3Server, s3_client: Client, s3_place: Location, written: int
) -> None:
    def give_up() -> None:
        with Upload(s3_client, s3_place, "sso/a", part_size=PART) as out:
            out.write(content(written))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give_up()
    assert (stored(s3_server, s3_place), unfinished(s3_server, s3_place)) == ({}, [])


def test_a_part_that_is_refused_ends_the_upload(s3_server: S3Server, s3_client: Client, s3_place: Location) -> None:
    def forbid(params: dict[str, Any], **_more: Any) -> None:
        params["headers"]["Content-MD5"] = "AAAAAAAAAAAAAAAAAAAAAA=="

    s3_client.raw.meta.events.register("before-call.s3.UploadPart", forbid)
    out = Upload(s3_client, s3_place, "sso/a", part_size=PART)
    with pytest.raises(ConnectError, match="is not what was sent"):
        produce(out, 100)
    assert out.size < 20 * PART, "told long after the first part was refused"
    assert (stored(s3_server, s3_place), unfinished(s3_server, s3_place)) == ({}, [])


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({"ContentLength": 1}, "holds 1 bytes although"),
        ({"ChecksumCRC32": "AAAAAA==-3"}, "CRC32 AAAAAA==-3; what was written has"),
        ({"ChecksumCRC32": "AAAAAA=="}, "CRC32 AAAAAA==; what was written has"),
        ({"ChecksumSHA256": "AAAA"}, "SHA-256 AAAA; what was written has"),
        ({"Metadata": {"authentik-recovery-upload": "another"}}, "written by somebody else at the same time"),
    ],
)
def test_what_the_endpoint_made_of_it_is_looked_at(
    s3_server: S3Server, s3_place: Location, told: dict[str, Any], complaint: str
) -> None:
    client = make_client(s3_server.options(checksums="when_supported"))
    heads: list[int] = []

    def answer(parsed: dict[str, Any], **_more: Any) -> None:
        heads.append(1)
        parsed.update(told if len(heads) == 1 or "Metadata" in told else {})

    client.raw.meta.events.register("after-call.s3.HeadObject", answer)
    with pytest.raises(IntegrityError, match=complaint):
        upload(client, s3_place, "sso/a", content(3 * PART))
    # It goes, unless it is another one's.
    assert len(stored(s3_server, s3_place)) == (1 if "Metadata" in told else 0)


def test_checksums_that_are_told_are_compared(s3_server: S3Server, s3_place: Location) -> None:
    data = content(3 * PART)
    crcs = b"".join(zlib.crc32(data[start : start + PART]).to_bytes(4, "big") for start in range(0, len(data), PART))
    whole = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    parts = base64.b64encode(zlib.crc32(crcs).to_bytes(4, "big")).decode() + "-3"
    sha256 = base64.b64encode(hashlib.sha256(data).digest()).decode()
    for told in ({"ChecksumCRC32": whole}, {"ChecksumCRC32": parts}, {"ChecksumSHA256": sha256}):
        client = make_client(s3_server.options(checksums="when_supported"))
        client.raw.meta.events.register(
            "after-call.s3.HeadObject", lambda parsed, told=told, **_more: parsed.update(told)
        )
        assert upload(client, s3_place, "sso/a", data).size == len(data)


@pytest.mark.parametrize("took", [True, False])
def test_the_answer_to_the_end_of_an_upload_is_lost(s3_server: S3Server, s3_place: Location, took: bool) -> None:
    client = make_client(s3_server.options())
    event = "after-call" if took else "before-call"

    def gone(**event: Any) -> Any:
        # As the second attempt finds it, whose first one was heard.
        answer = {"Error": {"Code": "NoSuchUpload", "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 404}}
        if took:
            event["http_response"].status_code = 404
            event["parsed"].clear()
            event["parsed"].update(answer)
            return None
        return AWSResponse("", 404, {}, None), answer

    client.raw.meta.events.register("%s.s3.CompleteMultipartUpload" % event, gone)
    if took:
        upload(client, s3_place, "sso/a", content(3 * PART))
        assert stored(s3_server, s3_place) == {"backups/authentik/sso/a": content(3 * PART)}
    else:
        with pytest.raises(StateError, match="Somebody aborted the unfinished upload"):
            upload(client, s3_place, "sso/a", content(3 * PART))
        assert (stored(s3_server, s3_place), unfinished(s3_server, s3_place)) == ({}, [])


def test_whoever_writes_waits_for_the_endpoint(s3_client: Client, s3_place: Location) -> None:
    go_on = threading.Event()
    s3_client.raw.meta.events.register("before-send.s3.UploadPart", lambda **_more: go_on.wait(30) and None)
    out = Upload(s3_client, s3_place, "sso/a", part_size=PART)

    producer = threading.Thread(target=produce, args=(out, 20))
    producer.start()
    before = -1
    while out.size != before:
        before = out.size
        time.sleep(0.3)
    try:
        # Those on their way, one that waits, one that is filled.
        assert PART < out.size <= (s3_client.options["parallel"] + 2) * PART
    finally:
        go_on.set()
        producer.join()
    found = head(s3_client, s3_place, "sso/a")
    assert found is not None
    assert found["ContentLength"] == 20 * PART


def test_the_server_is_killed_in_the_middle_and_comes_back(s3_server: S3Server, s3_place: Location) -> None:
    lines: list[str] = []
    client = make_client(s3_server.options(retry_seconds=60), lines.append)
    data = content(16 * 1024 * 1024)
    comes_back = threading.Thread(target=start_later, args=(s3_server,))
    with Upload(client, s3_place, "sso/a", part_size=len(data) // 10) as out:
        out.write(data[: len(data) // 2])
        s3_server.stop(hard=True)
        comes_back.start()
        out.write(data[len(data) // 2 :])
    comes_back.join()
    assert stored(s3_server, s3_place) == {"backups/authentik/sso/a": data}
    assert 1 <= len(lines) <= 3, lines
    assert "is tried again, for up to 1 min" in lines[0]

    upload(client, s3_place, "sso/whole", data, part_size=len(data))
    with open_object(client, s3_place, "sso/whole") as source:
        got = source.read(1000)
        comes_back = threading.Thread(target=start_later, args=(s3_server,))
        s3_server.stop(hard=True)
        comes_back.start()
        while piece := source.read(1024 * 1024):
            got += piece
    comes_back.join()
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()


def test_the_server_is_killed_for_good(s3_server: S3Server, s3_place: Location) -> None:
    client = make_client(s3_server.options(retry_seconds=1))
    out = Upload(client, s3_place, "sso/a", part_size=PART)
    begin = time.monotonic()
    try:
        with pytest.raises(ConnectError, match="Check endpoint_url of the option s3, that the server runs"):
            produce(out, 40, lambda: s3_server.stop(hard=True))
        # The request, then that it is taken back, which nobody hears.
        assert time.monotonic() - begin < 10
    finally:
        s3_server.start()
    assert unfinished(s3_server, s3_place) == ["backups/authentik/sso/a"]
    assert objects.abort_stale_uploads(client, s3_place, NOW - datetime.timedelta(hours=1)) == []
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    assert objects.abort_stale_uploads(client, Location(s3_place.bucket, "elsewhere"), soon) == []
    assert objects.abort_stale_uploads(client, s3_place, soon) == ["sso/a"]
    assert (stored(s3_server, s3_place), unfinished(s3_server, s3_place)) == ({}, [])


def test_an_object_that_changes_is_not_read_as_one(s3_server: S3Server, s3_client: Client, s3_place: Location) -> None:
    data = content(16 * 1024 * 1024)
    upload(s3_client, s3_place, "sso/a", data, part_size=len(data))
    with open_object(s3_client, s3_place, "sso/a") as source:
        source.read(1000)
        upload(s3_client, s3_place, "sso/a", data[::-1], part_size=len(data))
        source._body.close()
        with pytest.raises(IntegrityError, match="was written anew while it was read"):
            source.read(1000)


def test_a_full_disk_and_a_quota(s3_server: S3Server, s3_place: Location) -> None:
    client = make_client(s3_server.options(retry_seconds=1))
    s3_server.limit(s3_place.bucket, 1000)
    with pytest.raises(SpaceError, match="quota"):
        put_small(client, s3_place, "sso/a", content(1001))
    put_small(client, s3_place, "sso/b", content(10))
    s3_server.set_full(True)
    try:
        with pytest.raises(ConnectError, match="whether its disk is full"):
            upload(client, s3_place, "sso/c", content(3 * PART))
    finally:
        s3_server.set_full(False)
    assert stored(s3_server, s3_place) == {"backups/authentik/sso/b": content(10)}
