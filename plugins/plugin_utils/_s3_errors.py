# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What went wrong with an S3 endpoint, told to an operator: cause, hint, next command."""

from __future__ import annotations

import datetime
import re
import shlex
import typing as t
import urllib.parse

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    InputError,
    RecoveryError,
    SpaceError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_utc

OPTION = "s3"
# As the messages here name it, and not as a part of the name of an action or a place.
_NAMED = re.compile(r"(?<=\boption )s3\b|\bs3(?=\.(?:access_key|secret_key)\b)")

CHECKSUM_HINT = (
    "It may not know the checksums that newer clients send. Set checksums of the option s3 to when_required: the "
    "content of each request is protected by its signature then"
)

LOCK_HINT = (
    "Most endpoints can only enable Object Lock when a bucket is made, and some have none: make another bucket, or "
    "leave object_lock_mode of the option s3 out"
)


class MissingObjectError(InputError):
    """There is no object of that name."""


class ConditionError(StateError):
    """The object is not, or no longer, as the request wanted it to be."""


class _Answer(t.NamedTuple):
    """What an endpoint answered to a request.

    :ivar code: as in C(NoSuchBucket); of a request without a body, the status.
    """

    code: str
    status: int
    message: str
    operation: str
    error: dict[str, t.Any]
    headers: dict[str, str]

    def text(self) -> str:
        """Return it for a cause."""
        status = "" if str(self.status) == self.code else ", status %s" % self.status
        message = self.message.strip().rstrip(".")
        shown = "" if message.lower() in ("", "unknown", "none") else ": %s" % message
        return "%s answered %s%s%s" % (self.operation, self.code, status, shown)


class _Kind(t.NamedTuple):
    """What answers of one kind mean."""

    codes: tuple[str, ...]
    error: type[RecoveryError]
    hint: str
    command: str = ""


# What a request needs to be allowed, in the words of AWS's policies, which others use too.
_ACTIONS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CopyObject": "s3:GetObject of the source and s3:PutObject of the target",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
    "GetObject": "s3:GetObject, and s3:ListBucket, without which an object that is missing looks like this as well",
    "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject, and s3:ListBucket, without which an object that is missing looks like this as well",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectVersions": "s3:ListBucketVersions",
    "ListObjectsV2": "s3:ListBucket",
    "ListParts": "s3:ListMultipartUploadParts",
    "PutObject": "s3:PutObject",
    "PutObjectRetention": "s3:PutObjectRetention",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:GetObject of the source and s3:PutObject of the target",
}

_KINDS = (
    _Kind(
        ("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException", "NotSignedUp"),
        ConnectError,
        "The endpoint does not know this access key: check access_key, and that it belongs to this endpoint",
    ),
    _Kind(
        ("SignatureDoesNotMatch", "InvalidSignature"),
        ConnectError,
        "s3.access_key and s3.secret_key do not belong together, or not to this endpoint: check both, blanks too",
    ),
    _Kind(
        ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "RequestExpired"),
        ConnectError,
        "The session token is over or not valid here: get a new one, for longer than the run takes",
        "aws sts get-caller-identity",
    ),
    _Kind(
        ("NoSuchBucket",),
        InputError,
        "Check its spelling and that the endpoint is the right one, or make the bucket: it is never made by a backup",
    ),
    _Kind(("NoSuchKey", "NoSuchVersion"), MissingObjectError, "It was removed meanwhile, or never finished"),
    _Kind(
        ("NoSuchUpload",),
        StateError,
        "Somebody aborted the unfinished upload meanwhile, or a lifecycle rule of the bucket did: give it more days",
    ),
    _Kind(
        ("PreconditionFailed", "412", "ConditionalRequestConflict", "304"),
        ConditionError,
        "Somebody else wrote it meanwhile: look at what is there now",
    ),
    _Kind(
        (
            "InsufficientStorage",
            "QuotaExceeded",
            "StorageFull",
            "XMinioStorageFull",
            "XMinioAdminBucketQuotaExceeded",
            "InsufficientCapacity",
            "507",
        ),
        SpaceError,
        "The bucket, the account or the server is full: prune sets, raise the quota, or add storage",
    ),
    _Kind(
        ("EntityTooLarge", "413"),
        SpaceError,
        "The object is larger than the endpoint or a quota of the bucket allows: prune sets, raise the limit, or make "
        "part_size of the option s3 smaller where single parts are too large",
    ),
    _Kind(
        ("NotImplemented", "501", "MissingContentLength", "411", "InvalidTrailer", "MalformedTrailerError"),
        InputError,
        "The endpoint does not offer what was asked of it. " + CHECKSUM_HINT,
    ),
    _Kind(
        ("InvalidStorageClass",),
        InputError,
        "Choose a storage_class of the option s3 that this endpoint has, or leave it out",
    ),
    _Kind(
        ("KMS.NotFoundException", "KMS.DisabledException", "KMSDisabledException", "KMSNotFoundException"),
        InputError,
        "Check kms_key_id of the option s3: the key has to be there, enabled, and in the bucket's region",
    ),
    _Kind(
        ("InvalidObjectState",),
        StateError,
        "The object lies in an archive: ask the endpoint to restore it first, and give that the hours it takes",
    ),
    _Kind(
        ("ObjectLockConfigurationNotFoundError", "InvalidBucketState"),
        InputError,
        LOCK_HINT,
    ),
    _Kind(
        (
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "RequestLimitExceeded",
            "TooManyRequests",
            "BandwidthLimitExceeded",
            "429",
        ),
        ConnectError,
        "The endpoint was too busy for all attempts. Try again later, or lower parallel or raise retry_seconds of the "
        "option s3",
    ),
    _Kind(
        ("BadDigest", "XAmzContentSHA256Mismatch", "InvalidDigest"),
        ConnectError,
        "What arrived is not what was sent, each time: look for a proxy on the way, or for bad memory",
    ),
    _Kind(
        ("InvalidArgument", "InvalidRequest", "400", "BadRequest"),
        InputError,
        "The endpoint does not understand the request: check region, addressing_style, storage_class and "
        "server_side_encryption of the option s3. " + CHECKSUM_HINT,
    ),
)
_ELSEWHERE = (
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "301",
    "307",
)
# The words of AWS, MinIO and Ceph.
_LOCKED = re.compile(r"object.?lock|worm|retention|legal hold", re.IGNORECASE)
_BY_CODE = {code: kind for kind in _KINDS for code in kind.codes}


def as_error(exc: BaseException, doing: str, what: str, endpoint: str = "", option: str = OPTION) -> RecoveryError:
    """Return the error that tells an operator about a failed request.

    :param exc: what boto3 or botocore raised.
    :param doing: what was tried, as in C(write) or C(list).
    :param what: the object or place, as in C(s3://bucket/prefix/key).
    :param endpoint: the address that was asked, where it is known.
    :param option: the one that says how it is reached.
    """
    if isinstance(exc, RecoveryError):
        return exc
    cause = "Cannot %s %s: " % (doing, what)
    if isinstance(getattr(exc, "response", None), dict):
        return name_option(_answered(_answer(exc), cause, what, endpoint), option)
    return name_option(_unanswered(exc, cause, endpoint), option)


def name_option(error: RecoveryError, option: str) -> RecoveryError:
    """Have an error about the option s3 name another option, that of a bucket which holds no sets; and return it."""
    if option != OPTION:
        error.cause = _NAMED.sub(option, error.cause)
        error.hint = _NAMED.sub(option, error.hint).replace("prune sets", "have cleanup.yml remove what restores kept")
    return error


def reason_of(exc: BaseException) -> str:
    """Return what an exception says, in one line, and what is behind it where it only says that it failed."""
    behind = getattr(exc, "kwargs", {}).get("error")
    text = " ".join(str(exc).split())
    if behind is None or str(behind) in text:
        return text or type(exc).__name__
    # urllib3 puts its own objects before its reasons.
    return "%s: %s" % (text, " ".join(str(behind).split()).rpartition("object at ")[2].partition(">: ")[2] or behind)


def code_of(exc: BaseException) -> str:
    """Return the code that the endpoint answered, empty when it answered nothing."""
    return _answer(exc).code if isinstance(getattr(exc, "response", None), dict) else ""


def _answer(exc: t.Any) -> _Answer:
    error = exc.response.get("Error") or {}
    about = exc.response.get("ResponseMetadata") or {}
    status = int(about.get("HTTPStatusCode") or 0)
    return _Answer(
        str(error.get("Code") or status),
        status,
        str(error.get("Message") or ""),
        str(getattr(exc, "operation_name", "") or "the request"),
        error,
        {str(name).lower(): str(value) for name, value in (about.get("HTTPHeaders") or {}).items()},
    )


def _answered(answer: _Answer, cause: str, what: str, endpoint: str) -> RecoveryError:
    cause += answer.text()
    region = answer.error.get("Region") or answer.headers.get("x-amz-bucket-region")
    if answer.code in ("RequestTimeTooSkewed", "RequestInTheFuture"):
        return _skewed(answer, cause)
    if answer.code in _ELSEWHERE or (answer.code == "400" and region):
        return _elsewhere(answer, cause, str(region or ""))
    if "Delete" in answer.operation and _LOCKED.search(answer.message):
        return StateError(
            cause, "Object Lock keeps it until its time is over: nothing is wrong, and it stays until then"
        )
    code = answer.code
    if code == "404":
        # A request without a body is answered without a reason.
        code = "NoSuchBucket" if "Bucket" in answer.operation else "NoSuchKey"
    if code in _BY_CODE:
        kind = _BY_CODE[code]
        return kind.error(cause, kind.hint, kind.command or _look(what, endpoint))
    if answer.status == 403 or answer.code in ("AccessDenied", "AccountProblem", "AllAccessDisabled"):
        return _denied(answer, cause, what, endpoint)
    if answer.status >= 500:
        hint = "The endpoint has a problem of its own, over all attempts: look at its log, and whether its disk is full"
        return ConnectError(cause, hint, _look(what, endpoint))
    return StateError(cause, "", _look(what, endpoint))


def _skewed(answer: _Answer, cause: str) -> RecoveryError:
    here = format_utc(datetime.datetime.now(datetime.UTC))
    there = answer.error.get("ServerTime") or answer.headers.get("date") or "not told by it"
    return ConnectError(
        "%s. The clocks differ: here it is %s, there it is %s" % (cause.rstrip("."), here, there),
        "Correct the clock that is wrong; 15 minutes are too much",
        "timedatectl status",
    )


def _elsewhere(answer: _Answer, cause: str, region: str) -> RecoveryError:
    found = re.search(r"expecting '([A-Za-z0-9-]+)'", answer.message)
    region = region or (found.group(1) if found else "")
    if region:
        return InputError(cause, "The bucket is in region %s: set region of the option s3 to that" % region)
    hint = "Set region of the option s3 to the bucket's"
    if answer.error.get("Endpoint"):
        hint = "The bucket is at %s: correct endpoint_url or region of the option s3" % answer.error["Endpoint"]
    return InputError(cause, hint)


def _denied(answer: _Answer, cause: str, what: str, endpoint: str) -> RecoveryError:
    action = _ACTIONS.get(answer.operation)
    hint = (
        "These credentials may not do that: allow them %s" % action if action else "These credentials may not do that"
    )
    if answer.operation.startswith("Head"):
        hint += ". Wrong credentials and a wrong clock look like this, too: a HEAD request is answered without a reason"
    return ConnectError(cause, hint, _look(what, endpoint))


def _unanswered(exc: BaseException, cause: str, endpoint: str) -> RecoveryError:
    name, text = type(exc).__name__, reason_of(exc)
    if name in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"):
        return InputError(
            cause + text,
            "Give s3.access_key and s3.secret_key, a profile, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY in the environment of the controller",
            "aws configure list",
        )
    if name in ("ProfileNotFound", "NoRegionError", "InvalidConfigError", "ConfigParseError", "ParamValidationError"):
        return InputError(cause + text, "Check profile and region of the option s3, and ~/.aws/config")
    if name == "SSLError":
        return _untrusted(text, cause, endpoint)
    if "Failed to resolve" in text or "Name or service not known" in text:
        return ConnectError(
            cause + text, "The name of the endpoint is not known: check endpoint_url and region of the option s3"
        )
    if name == "ProxyConnectionError":
        return ConnectError(cause + text, "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY in the environment")
    if isinstance(exc, ValueError) and "endpoint" in text.lower():
        return InputError(cause + text, "Write endpoint_url of the option s3 as https://HOST or https://HOST:PORT")
    return ConnectError(
        "%s%s" % (cause, text or name),
        "Check endpoint_url of the option s3, that the server runs, and firewalls and proxies on the way; for short "
        "outages raise retry_seconds",
        "curl -sv %s" % shlex.quote(endpoint) if endpoint else "",
    )


def _untrusted(text: str, cause: str, endpoint: str) -> RecoveryError:
    address = urllib.parse.urlsplit(endpoint)
    hint = "Name the file with the CA that signed the server's certificate as ca_bundle of the option s3"
    if "mismatch" in text or "doesn't match" in text:
        hint = "The certificate has another name: correct endpoint_url of the option s3, or set addressing_style path"
    elif "WRONG_VERSION_NUMBER" in text or "wrong version number" in text:
        hint = "That port does not speak TLS: correct endpoint_url of the option s3"
    elif "expired" in text:
        hint = "The server's certificate is over: renew it, and look at the clock of this machine"
    command = ""
    if address.hostname:
        place = "%s:%d" % (address.hostname, address.port or 443)
        command = "openssl s_client -connect %s -showcerts </dev/null" % shlex.quote(place)
    return ConnectError(cause + text, hint, command)


def _look(what: str, endpoint: str) -> str:
    """Return the command by which an operator sees the same with a tool that is not ours."""
    found = re.match(r"s3://[^/ ]+", what)
    if not found:
        return ""
    place = " --endpoint-url %s" % shlex.quote(endpoint) if endpoint and "amazonaws.com" not in endpoint else ""
    return "aws%s s3 ls %s/" % (place, found.group())
