# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects on a real S3 server: small ones, many, copies, and what is told of each refusal."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    InputError,
    IntegrityError,
    RecoveryError,
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
from tests.support.s3_objects import PART, content, stored, unfinished, upload
from tests.support.s3_server import OTHER_ACCESS_KEY, OTHER_SECRET_KEY, S3Server

NOW = datetime.datetime.now(datetime.UTC)


def headers_of(s3_client: Client, operation: str) -> list[dict[str, str]]:
    """The headers of each request of a kind from now on, as they are sent."""
    sent: list[dict[str, str]] = []

    def note(request: Any, **_more: Any) -> None:
        sent.append(
            {
                name.lower(): value.decode() if isinstance(value, bytes) else value
                for name, value in request.headers.items()
            }
        )

    s3_client.raw.meta.events.register("before-send.s3.%s" % operation, note)
    return sent


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"secret_key": "wrong"}, ConnectError, "s3.access_key and s3.secret_key do not belong together"),
        ({"access_key": "test:nobody"}, ConnectError, "s3.access_key and s3.secret_key do not belong together"),
        (
            {"access_key": OTHER_ACCESS_KEY, "secret_key": OTHER_SECRET_KEY},
            ConnectError,
            "may not do that: allow them s3:PutObject",
        ),
    ],
)
def test_who_is_refused_is_told_why(
    s3_server: S3Server, s3_place: Location, change: dict[str, str], error: type[RecoveryError], told: str
) -> None:
    with pytest.raises(error, match=told) as caught:
        upload(make_client(s3_server.options(**change)), s3_place, "sso/a", b"data")
    assert "aws --endpoint-url %s s3 ls s3://%s/" % (s3_server.url, s3_place.bucket) == caught.value.command
    assert stored(s3_server, s3_place) == {}


def test_a_bucket_that_is_not_there(s3_client: Client) -> None:
    place = Location.parse("s3://nobody-made-this/a")
    tries: tuple[Callable[[], object], ...] = (
        lambda: upload(s3_client, place, "sso/a", b"data"),
        lambda: upload(s3_client, place, "sso/a", content(3 * PART)),
        lambda: list(objects.listing(s3_client, place)),
        lambda: objects.delete_many(s3_client, place, ["a"]),
        lambda: objects.abort_stale_uploads(s3_client, place, NOW),
    )
    for one in tries:
        with pytest.raises(InputError, match=r"NoSuchBucket.*it is never made by a backup"):
            one()


def test_a_clock_that_is_wrong(s3_client: Client, s3_place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.auth

    late = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=2)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_more: late.replace(tzinfo=None))
    with pytest.raises(ConnectError, match=r"The clocks differ: here it is 20..-.*Z, there it is .*20") as caught:
        list(objects.listing(s3_client, s3_place))
    assert caught.value.command == "timedatectl status"


def test_tls_is_checked(s3_server: S3Server, s3_place: Location) -> None:
    upload(make_client(s3_server.tls_options()), s3_place, "sso/a", b"data")
    assert stored(s3_server, s3_place) == {"backups/authentik/sso/a": b"data"}
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
            list(objects.listing(client, s3_place))
    assert time.monotonic() - begin < 20, "waited for a certificate to become right"


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
@pytest.mark.parametrize("mode", ["auto", "when_required", "when_supported"])
def test_checksums(s3_server: S3Server, s3_place: Location, mode: str, tls: bool) -> None:
    client = make_client((s3_server.tls_options if tls else s3_server.options)(checksums=mode))
    puts, parts, deletes = (headers_of(client, name) for name in ("PutObject", "UploadPart", "DeleteObjects"))
    upload(client, s3_place, "sso/small", b"data")
    upload(client, s3_place, "sso/large", content(3 * PART))
    assert stored(s3_server, s3_place) == {
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
    objects.delete_many(client, s3_place, ["sso/small", "sso/large"])
    assert stored(s3_server, s3_place) == {}
    assert ("content-md5" in deletes[0], "x-amz-checksum-crc32" in deletes[0]) == (
        (False, True) if mode == "when_supported" else (True, False)
    )


def test_small_objects(s3_server: S3Server, s3_client: Client, s3_place: Location) -> None:
    assert get_small(s3_client, s3_place, "sso/lock", 100) is None
    assert head(s3_client, s3_place, "sso/lock") is None
    put_small(s3_client, s3_place, "sso/lock", b"one")
    found = get_small(s3_client, s3_place, "sso/lock", 3)
    assert found is not None
    assert found.data == b"one"
    assert abs((found.modified - datetime.datetime.now(datetime.UTC)).total_seconds()) < 60
    with pytest.raises(IntegrityError, match="has 3 bytes; it has no more than 2"):
        get_small(s3_client, s3_place, "sso/lock", 2)
    with pytest.raises(MissingObjectError, match="removed meanwhile"):
        open_object(s3_client, s3_place, "sso/other")


def test_of_two_who_write_at_once_one_wins(s3_server: S3Server, s3_client: Client, s3_place: Location) -> None:
    won: list[bytes] = []
    lost: list[bytes] = []

    def write(data: bytes) -> None:
        try:
            put_small(s3_client, s3_place, "sso/lock", data, if_absent=True)
            won.append(data)
        except ConditionError:
            lost.append(data)

    for data in (b"first", b"other"):
        write(data)
    assert (won, lost) == ([b"first"], [b"other"])
    # Its answer was lost, and the request was repeated: what is there is its own.
    write(b"first")
    assert won == [b"first", b"first"]
    assert stored(s3_server, s3_place) == {"backups/authentik/sso/lock": b"first"}


def test_conditions_are_tried_and_not_believed(s3_server: S3Server, s3_client: Client, s3_place: Location) -> None:
    # Swift knows If-None-Match when it writes, and refuses If-Match.
    assert conditions(s3_client, s3_place) == (True, False)

    def ignore(params: dict[str, Any], **_more: Any) -> None:
        params["headers"].pop("If-None-Match", None)
        params["headers"].pop("If-Match", None)

    # As an endpoint that knows none, and reports success.
    s3_client.raw.meta.events.register("before-call.s3.PutObject", ignore)
    assert conditions(s3_client, s3_place) == (False, False)
    assert stored(s3_server, s3_place) == {}


def test_listings_go_on_page_by_page(s3_client: Client, s3_place: Location) -> None:
    names = ["sso/%s/%s" % (one, file) for one in "abc" for file in ("manifest.json", "x/ü #?%2B&.dump")]
    for name in [*names, "other/a", "sso2/a"]:
        put_small(s3_client, s3_place, name, name.encode())
    pages: list[int] = []

    def small_pages(params: dict[str, Any], **_more: Any) -> None:
        pages.append(1)
        params["MaxKeys"] = 2

    s3_client.raw.meta.events.register("before-parameter-build.s3.ListObjectsV2", small_pages)
    assert [(one.name, one.size) for one in objects.listing(s3_client, s3_place, "sso")] == [
        (name, len(name.encode())) for name in sorted(names)
    ]
    assert len(pages) in (3, 4)
    assert list(objects.folders(s3_client, s3_place, "sso")) == ["a", "b", "c"]
    assert list(objects.folders(s3_client, s3_place)) == ["other", "sso", "sso2"]
    assert next(objects.listing(s3_client, Location(s3_place.bucket))).name == "backups/authentik/other/a"


def test_many_are_deleted_at_once(
    s3_server: S3Server, s3_client: Client, s3_place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["sso/%d <&>ü" % number for number in range(5)]
    for name in [*names, "sso/kept"]:
        put_small(s3_client, s3_place, name, b"x")
    requests = headers_of(s3_client, "DeleteObjects")
    monkeypatch.setattr(objects, "_DELETED_AT_ONCE", 2)
    assert objects.delete_many(s3_client, s3_place, [*names, "sso/gone"]) == 6
    assert len(requests) == 3
    assert list(stored(s3_server, s3_place)) == ["backups/authentik/sso/kept"]
    assert objects.delete_many(s3_client, s3_place, []) == 0


def test_a_copy_keeps_content_and_metadata(s3_server: S3Server, s3_client: Client, s3_place: Location) -> None:
    data, about = content(5 * PART), {"ContentType": "image/png", "Metadata": {"made-by": "a test"}}
    with Upload(s3_client, s3_place, "sso/a", extra=about) as out:
        out.write(data)
    for name, at_once in (("sso/one", 10 * PART), ("sso/parts", 2 * PART)):
        told = objects.copy(s3_client, (s3_place, "sso/a"), (s3_place, name), at_once)
        assert told["ContentLength"] == len(data)
        found = s3_server.judge.get_object(Bucket=s3_place.bucket, Key=s3_place.key(name))
        assert (found["Body"].read(), found["ContentType"], found["Metadata"]) == (
            data,
            "image/png",
            {"made-by": "a test"},
        )
    with pytest.raises(MissingObjectError):
        objects.copy(s3_client, (s3_place, "sso/none"), (s3_place, "sso/b"))
    assert unfinished(s3_server, s3_place) == []


def test_a_bucket_without_object_lock_is_not_taken_for_one_with_it(
    s3_server: S3Server, s3_client: Client, s3_place: Location
) -> None:
    # Swift takes the request to retain an object for one that writes it: the content would be gone.
    put_small(s3_client, s3_place, "sso/a", b"data")
    with pytest.raises(InputError, match="has no Object Lock"):
        objects.retain(s3_client, s3_place, "sso/a", "GOVERNANCE", NOW + datetime.timedelta(days=1))
    assert stored(s3_server, s3_place) == {"backups/authentik/sso/a": b"data"}
