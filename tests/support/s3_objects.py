# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects on the S3 server of the tests: written by the collection, judged by boto3 alone."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Client, Location, make_client
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_upload import Upload
from tests.support.s3_server import S3Server

PART = 65536


@pytest.fixture
def s3_client(s3_server: S3Server) -> Client:
    return make_client(s3_server.options())


@pytest.fixture
def s3_place(s3_bucket: str) -> Location:
    return Location.parse("s3://%s/backups/authentik" % s3_bucket)


def content(size: int) -> bytes:
    """Bytes of which no two parts are alike."""
    return random.Random(size).randbytes(size)


def stored(server: S3Server, place: Location) -> dict[str, bytes]:
    """Everything in the bucket, by its whole key."""
    raw = server.judge
    listed = raw.list_objects_v2(Bucket=place.bucket).get("Contents", [])
    return {one["Key"]: raw.get_object(Bucket=place.bucket, Key=one["Key"])["Body"].read() for one in listed}


def unfinished(server: S3Server, place: Location) -> list[str]:
    return [one["Key"] for one in server.judge.list_multipart_uploads(Bucket=place.bucket).get("Uploads", [])]


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
