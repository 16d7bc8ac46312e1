# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Places in a bucket, how objects are cut into parts, and which requests are repeated for how long."""

from __future__ import annotations

import base64
import threading
import zlib
from typing import Any

import botocore.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _s3_patience
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_location import Location, is_location
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_patience import Patience, next_pause
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_upload import (
    MAX_OBJECT_BYTES,
    MAX_PART_BYTES,
    MAX_PARTS,
    MIB,
    crc_of_parts,
    part_bytes,
    parts_at_once,
)


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("s3://bucket", Location("bucket", ""), "s3://bucket"),
        ("s3://bucket/", Location("bucket", ""), "s3://bucket"),
        ("  s3://bucket/a/b// ", Location("bucket", "a/b"), "s3://bucket/a/b"),
        ("s3://my.bucket-1/Über/x y", Location("my.bucket-1", "Über/x y"), "s3://my.bucket-1/Über/x y"),
    ],
)
def test_a_place_in_a_bucket(text: str, expected: Location, shown: str) -> None:
    assert Location.parse(text) == expected
    assert str(Location.parse(text)) == shown
    assert Location.parse(shown) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/srv/backups", "is no place in a bucket"),
        ("S3://bucket", "is no place in a bucket"),
        ("https://s3.example.com/bucket", "is no place in a bucket"),
        ("s3://", "is no name of a bucket"),
        ("s3:///prefix", "is no name of a bucket"),
        ("s3://ab", "is no name of a bucket"),
        ("s3://" + "a" * 64, "is no name of a bucket"),
        ("s3://Bucket", "is no name of a bucket"),
        ("s3://my_bucket", "is no name of a bucket"),
        ("s3://-bucket", "is no name of a bucket"),
        ("s3://a..b", "is no name of a bucket"),
        ("s3://192.168.5.4/x", "endpoint_url"),
        ("s3://s3.example.com:9000/bucket", "endpoint_url"),
        ("s3://AKIA:SECRET@bucket/x", "carries credentials"),
        ("s3://bucket/x?region=eu-west-1", "given in the option s3"),
        ("s3://bucket/a//b", "has an empty part"),
        ("s3://bucket/a/../b", "one of dots"),
        ("s3://bucket/a\nb", "control character"),
        ("s3://bucket/a\\b", "backslash"),
        ("s3://bucket/" + "ü" * 300, "longer than 512 bytes"),
    ],
)
def test_what_is_no_place_is_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        Location.parse(text)
    assert "SECRET" not in str(caught.value)


def test_keys_stay_below_the_prefix() -> None:
    place, bucket = Location("bucket", "a/b"), Location("bucket")
    assert (place.key("sso/x"), place.url("sso/x")) == ("a/b/sso/x", "s3://bucket/a/b/sso/x")
    assert (place.below("sso"), place.below(""), bucket.below(""), bucket.below("sso/")) == (
        "a/b/sso/",
        "a/b/",
        "",
        "sso/",
    )
    assert (place.relative("a/b/sso/x"), bucket.relative("sso/x")) == ("sso/x", "sso/x")
    for wrong in ("", "/x", "x/", "../x", "x/../../y", "a\x00", "x" * 1024):
        with pytest.raises(InputError):
            place.key(wrong)
    # A prefix that only begins alike is another one.
    assert not "a/bc/x".startswith(place.below(""))


def test_what_is_meant_as_a_place_in_a_bucket() -> None:
    assert is_location(" S3://Bucket")
    assert is_location("s3:bucket")
    assert not is_location("/srv/s3:/x")
    assert not is_location("s3")


def test_parts_suffice_for_the_largest_object() -> None:
    sizes = [part_bytes(number) for number in range(1, MAX_PARTS + 1)]
    assert sum(sizes) >= MAX_OBJECT_BYTES
    assert sizes == sorted(sizes)
    assert max(sizes) <= MAX_PART_BYTES
    # A database of usual size is sent in small ones, of which an outage costs little.
    assert set(sizes[:2000]) == {16 * MIB}
    assert {part_bytes(number, 7 * MIB) for number in (1, 5000, MAX_PARTS)} == {7 * MIB}


@given(st.integers(1, MAX_PARTS), st.integers(1, 64))
def test_memory_is_bounded(number: int, parallel: int) -> None:
    size = part_bytes(number)
    at_once = parts_at_once(size, parallel)
    assert 1 <= at_once <= parallel
    # Those on their way and the one being filled; one at a time where already two are too much.
    assert (at_once + 1) * size <= 256 * MIB or at_once == 1


def test_the_checksum_of_an_object_in_parts() -> None:
    # As AWS documents it: the CRC32 of the parts' CRC32s, each as four bytes.
    parts = [b"hello ", b"world"]
    crcs = [zlib.crc32(part) for part in parts]
    both = b"".join(crc.to_bytes(4, "big") for crc in crcs)
    assert crc_of_parts(crcs) == base64.b64encode(zlib.crc32(both).to_bytes(4, "big")).decode() + "-2"


def answered(status: int, code: str = "") -> tuple[None, dict[str, Any]]:
    return (None, {"Error": {"Code": code} if code else {}, "ResponseMetadata": {"HTTPStatusCode": status}})


ENDPOINT = "https://s3.example.com"
UNTRUSTED = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"
REFUSED = botocore.exceptions.EndpointConnectionError(endpoint_url=ENDPOINT)


@pytest.mark.parametrize(
    ("event", "repeated"),
    [
        ({"response": answered(500, "InternalError")}, True),
        ({"response": answered(503)}, True),
        ({"response": answered(503, "SlowDown")}, True),
        ({"response": answered(429)}, True),
        ({"response": answered(400, "RequestTimeout")}, True),
        ({"response": answered(409, "OperationAborted")}, True),
        ({"response": answered(400, "BadDigest")}, True),
        ({"response": answered(400, "BadDigest"), "attempts": 3}, False),
        ({"response": answered(403, "AccessDenied")}, False),
        ({"response": answered(404)}, False),
        ({"response": answered(412, "PreconditionFailed")}, False),
        ({"response": answered(501, "NotImplemented")}, False),
        ({"response": answered(507)}, False),
        ({"response": answered(200)}, False),
        ({"caught_exception": REFUSED}, True),
        ({"caught_exception": botocore.exceptions.ReadTimeoutError(endpoint_url=ENDPOINT)}, True),
        ({"caught_exception": botocore.exceptions.ConnectTimeoutError(endpoint_url=ENDPOINT)}, True),
        ({"caught_exception": botocore.exceptions.ConnectionClosedError(endpoint_url=ENDPOINT)}, True),
        (
            {
                "caught_exception": botocore.exceptions.SSLError(
                    endpoint_url=ENDPOINT, error="EOF occurred in violation"
                )
            },
            True,
        ),
        (
            {
                "caught_exception": botocore.exceptions.SSLError(
                    endpoint_url=ENDPOINT, error="CERTIFICATE_VERIFY_FAILED"
                )
            },
            False,
        ),
        (
            {
                "caught_exception": botocore.exceptions.EndpointConnectionError(
                    endpoint_url=ENDPOINT, error="[Errno -2] Name or service not known"
                )
            },
            False,
        ),
        ({"caught_exception": botocore.exceptions.NoCredentialsError()}, False),
        ({"caught_exception": botocore.exceptions.ParamValidationError(report="x")}, False),
    ],
)
def test_what_may_pass_is_repeated(event: dict[str, Any], repeated: bool) -> None:
    pause = Patience(60, None, ENDPOINT).needs_retry(**{"attempts": 1, "request_dict": {}, **event})
    assert (pause is not None) is repeated


def test_repeating_ends_by_time_and_is_shown_sparingly(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    now = [1000.0]
    monkeypatch.setattr(_s3_patience.time, "monotonic", lambda: now[0])
    patience = Patience(60, lines.append, ENDPOINT)
    request: dict[str, Any] = {}
    attempts, pauses = 1, []
    while (
        pause := patience.needs_retry(attempts=attempts, caught_exception=REFUSED, request_dict=request)
    ) is not None:
        pauses.append(pause)
        now[0] += pause
        attempts += 1
        assert attempts < 100
    assert 45 <= sum(pauses) <= 60
    assert max(pauses) <= 10
    assert pauses[0] <= 0.2
    assert 5 <= len(lines) <= 13
    assert "is tried again, for up to 1 min" in lines[0]
    assert ENDPOINT in lines[0]
    # Another request has all of the time again.
    assert patience.needs_retry(attempts=1, caught_exception=REFUSED, request_dict={}) is not None


def test_the_end_of_an_upload_ends_its_requests() -> None:
    patience, quitting = Patience(60, None, ENDPOINT), threading.Event()
    event: dict[str, Any] = {"attempts": 1, "caught_exception": REFUSED}
    with patience.limited(until=quitting):
        assert patience.needs_retry(**event, request_dict={}) is not None
        quitting.set()
        assert patience.needs_retry(**event, request_dict={}) is None
    with patience.limited(0):
        assert patience.needs_retry(**event, request_dict={}) is None
    assert patience.needs_retry(**event, request_dict={}) is not None


def test_who_is_too_busy_is_left_alone_for_longer() -> None:
    assert next_pause(1, True, 0.0) > next_pause(1, False, 1.0)
    assert next_pause(50, True, 1.0) == next_pause(1000, False, 1.0) == 10.0
