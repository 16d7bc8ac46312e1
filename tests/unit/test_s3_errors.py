# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator is told of each answer of an S3 endpoint, and of none."""

from __future__ import annotations

from typing import Any

import botocore.exceptions as known
import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    InputError,
    RecoveryError,
    SpaceError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_errors import (
    ConditionError,
    MissingObjectError,
    as_error,
    code_of,
    reason_of,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_location import Location
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_objects import _not_deleted

ENDPOINT = "https://s3.example.com:9000"
WHAT = "s3://bucket/authentik/sso/manifest.json"
LOOK = "aws --endpoint-url https://s3.example.com:9000 s3 ls s3://bucket/"


def answer(
    code: str, status: int, operation: str = "PutObject", message: str = "", headers: Any = None, **more: str
) -> known.ClientError:
    about: Any = {"HTTPStatusCode": status, "HTTPHeaders": headers or {}}
    return known.ClientError(
        {"Error": {"Code": code, "Message": message, **more}, "ResponseMetadata": about}, operation
    )


@pytest.mark.parametrize(
    ("exc", "error", "told"),
    [
        (answer("InvalidAccessKeyId", 403), ConnectError, "does not know this access key"),
        (answer("SignatureDoesNotMatch", 403), ConnectError, "do not belong together"),
        (answer("ExpiredToken", 400), ConnectError, "get a new one, for longer than the run takes"),
        (answer("NoSuchBucket", 404), InputError, "or make the bucket"),
        (answer("404", 404, "HeadBucket"), InputError, "or make the bucket"),
        (answer("404", 404, "HeadObject"), MissingObjectError, "removed meanwhile"),
        (answer("NoSuchKey", 404, "GetObject"), MissingObjectError, "removed meanwhile"),
        (answer("NoSuchUpload", 404, "UploadPart"), StateError, "lifecycle rule"),
        (answer("PreconditionFailed", 412), ConditionError, "Somebody else wrote it"),
        (answer("ConditionalRequestConflict", 409), ConditionError, "Somebody else wrote it"),
        (answer("AccessDenied", 403), ConnectError, "allow them s3:PutObject"),
        (answer("AccessDenied", 403, "ListObjectsV2"), ConnectError, "allow them s3:ListBucket"),
        (answer("AccessDenied", 403, "PutObjectRetention"), ConnectError, "allow them s3:PutObjectRetention"),
        (
            answer("403", 403, "HeadObject"),
            ConnectError,
            "s3:GetObject, and s3:ListBucket.*a wrong clock look like this",
        ),
        (
            answer("AccessDenied", 403, "DeleteObject", "Access Denied because object protected by object lock."),
            StateError,
            "Object Lock keeps it",
        ),
        (answer("AccessDenied", 403, "DeleteObject", "forbidden by object lock"), StateError, "Object Lock keeps it"),
        (
            answer("InvalidRequest", 400, "DeleteObject", "Object is WORM protected and cannot be overwritten"),
            StateError,
            "Object Lock keeps it",
        ),
        (answer("InsufficientStorage", 507), SpaceError, "prune sets, raise the quota, or add storage"),
        (answer("XMinioStorageFull", 507), SpaceError, "full"),
        (answer("507", 507, "UploadPart"), SpaceError, "full"),
        (answer("QuotaExceeded", 403), SpaceError, "raise the quota"),
        (answer("EntityTooLarge", 400), SpaceError, "part_size"),
        (answer("NotImplemented", 501), InputError, "checksums of the option s3 to when_required"),
        (answer("MissingContentLength", 411), InputError, "checksums of the option s3 to when_required"),
        (
            answer("InvalidArgument", 400, message="Unsupported header 'x-amz-sdk-checksum-algorithm'"),
            InputError,
            "checksums of the option s3 to when_required",
        ),
        (answer("InvalidStorageClass", 400), InputError, "storage_class"),
        (answer("KMS.NotFoundException", 400), InputError, "kms_key_id"),
        (answer("InvalidObjectState", 403, "GetObject"), StateError, "archive"),
        (answer("ObjectLockConfigurationNotFoundError", 404), InputError, "Object Lock when a bucket is made"),
        (answer("SlowDown", 503), ConnectError, "too busy for all attempts"),
        (answer("BadDigest", 400, "UploadPart"), ConnectError, "is not what was sent"),
        (answer("InternalError", 500), ConnectError, "look at its log, and whether its disk is full"),
        (answer("SomethingNew", 418), StateError, "PutObject answered SomethingNew, status 418"),
    ],
)
def test_answers(exc: known.ClientError, error: type[RecoveryError], told: str) -> None:
    found = as_error(exc, "write", WHAT, ENDPOINT)
    assert found.__class__ is error
    assert found.cause.startswith("Cannot write %s: %s answered " % (WHAT, exc.operation_name))
    assert code_of(exc) in found.cause
    with pytest.raises(RecoveryError, match=told):
        raise found
    assert found.command or isinstance(found, StateError)


def test_both_clocks_are_told() -> None:
    message = "The difference between the request time and the server's time is too large."
    found = as_error(
        answer("RequestTimeTooSkewed", 403, message=message, ServerTime="2026-11-28T12:00:00Z"), "write", WHAT, ENDPOINT
    )
    assert isinstance(found, ConnectError)
    assert "here it is 20" in found.cause
    assert "there it is 2026-11-28T12:00:00Z" in found.cause
    assert found.command == "timedatectl status"
    headers = {"Date": "Sat, 28 Nov 2026 12:00:00 GMT"}
    assert (
        "there it is Sat, 28 Nov 2026" in as_error(answer("RequestTimeTooSkewed", 403, headers=headers), "a", "b").cause
    )


@pytest.mark.parametrize(
    "exc",
    [
        answer("AuthorizationHeaderMalformed", 400, Region="eu-west-3"),
        answer("AuthorizationHeaderMalformed", 400, message="the region 'us-east-1' is wrong; expecting 'eu-west-3'"),
        answer("301", 301, "HeadObject", headers={"x-amz-bucket-region": "eu-west-3"}),
        answer("400", 400, "HeadObject", headers={"x-amz-bucket-region": "eu-west-3"}),
        answer("PermanentRedirect", 301, headers={"x-amz-bucket-region": "eu-west-3"}),
    ],
)
def test_the_right_region_is_told(exc: known.ClientError) -> None:
    found = as_error(exc, "write", WHAT, ENDPOINT)
    assert isinstance(found, InputError)
    assert found.hint == "The bucket is in region eu-west-3: set region of the option s3 to that"


@pytest.mark.parametrize(
    ("exc", "told"),
    [
        (
            answer("SignatureDoesNotMatch", 403),
            "storage_s3.access_key and storage_s3.secret_key do not belong together",
        ),
        (answer("PermanentRedirect", 301), "Set region of the option storage_s3 to"),
        (answer("QuotaExceeded", 403), "full: have cleanup.yml remove what restores kept, raise the quota"),
        (answer("AccessDenied", 403), "allow them s3:PutObject"),
        (known.NoCredentialsError(), "Give storage_s3.access_key and storage_s3.secret_key, a profile"),
    ],
)
def test_an_error_about_the_bucket_of_the_files_names_the_option_for_it(exc: Any, told: str) -> None:
    assert told in as_error(exc, "write", WHAT, ENDPOINT, "storage_s3").hint


def test_another_endpoint_is_told() -> None:
    found = as_error(answer("PermanentRedirect", 301, Endpoint="bucket.s3-eu.example.com"), "write", WHAT)
    assert "The bucket is at bucket.s3-eu.example.com" in found.hint


@pytest.mark.parametrize(
    ("exc", "error", "told", "command"),
    [
        (known.NoCredentialsError(), InputError, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "aws configure list"),
        (
            known.PartialCredentialsError(provider="env", cred_var="x"),
            InputError,
            "s3.access_key and s3.secret_key",
            "aws configure list",
        ),
        (known.ProfileNotFound(profile="dr"), InputError, "Check profile", ""),
        (
            known.SSLError(endpoint_url=ENDPOINT, error="CERTIFICATE_VERIFY_FAILED: unable to get local issuer"),
            ConnectError,
            "ca_bundle",
            "openssl s_client -connect s3.example.com:9000 -showcerts </dev/null",
        ),
        (
            known.SSLError(endpoint_url=ENDPOINT, error="hostname 'a' doesn't match 'b'"),
            ConnectError,
            "has another name",
            "openssl s_client -connect s3.example.com:9000 -showcerts </dev/null",
        ),
        (
            known.SSLError(endpoint_url=ENDPOINT, error="certificate has expired"),
            ConnectError,
            "renew it",
            "openssl s_client -connect s3.example.com:9000 -showcerts </dev/null",
        ),
        (known.ProxyConnectionError(proxy_url="http://proxy:3128"), ConnectError, "NO_PROXY", ""),
        (
            known.EndpointConnectionError(endpoint_url=ENDPOINT, error="Connection refused"),
            ConnectError,
            "Connection refused.*that the server runs",
            "curl -sv " + ENDPOINT,
        ),
        (
            known.EndpointConnectionError(endpoint_url=ENDPOINT, error="Failed to resolve 's3.example.com'"),
            ConnectError,
            "name of the endpoint is not known",
            "",
        ),
        (known.ConnectTimeoutError(endpoint_url=ENDPOINT), ConnectError, "firewalls", "curl -sv " + ENDPOINT),
        (known.ReadTimeoutError(endpoint_url=ENDPOINT), ConnectError, "retry_seconds", "curl -sv " + ENDPOINT),
        (ValueError("Invalid endpoint: nowhere"), InputError, "https://HOST", ""),
    ],
)
def test_no_answer(exc: Exception, error: type[RecoveryError], told: str, command: str) -> None:
    found = as_error(exc, "write", WHAT, ENDPOINT)
    assert found.__class__ is error
    assert found.cause.startswith("Cannot write %s: " % WHAT)
    with pytest.raises(RecoveryError, match=told):
        raise found
    assert found.command == command


def test_the_next_command_sees_the_same() -> None:
    assert as_error(answer("AccessDenied", 403), "write", WHAT, ENDPOINT).command == LOOK
    aws = as_error(answer("AccessDenied", 403), "write", WHAT, "https://s3.eu-west-3.amazonaws.com")
    assert aws.command == "aws s3 ls s3://bucket/"
    # What was told already is not told anew.
    assert as_error(aws, "list", "other") is aws


def test_what_is_behind_a_failure_is_told_without_its_objects() -> None:
    behind = "<botocore.awsrequest.AWSHTTPConnection object at 0x7f>: Failed to establish a new connection: refused"
    assert reason_of(known.EndpointConnectionError(endpoint_url=ENDPOINT, error=behind)) == (
        'Could not connect to the endpoint URL: "%s": Failed to establish a new connection: refused' % ENDPOINT
    )


def test_what_was_not_deleted_is_named() -> None:
    errors = [
        {"Key": "a/sso/x", "Code": "AccessDenied", "Message": "Access Denied because object protected by object lock."},
        {"Key": "a/sso/y", "Code": "InternalError"},
    ]
    found = _not_deleted(Location("bucket", "a"), errors)
    assert isinstance(found, StateError)
    assert "s3://bucket/a/sso/x" in found.cause
    assert "1 other was not deleted either" in found.cause
    assert "Object Lock keeps it" in found.hint
