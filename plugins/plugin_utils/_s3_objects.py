# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Objects in a bucket: listed, copied, deleted and retained, and what unfinished uploads left is cleared away."""

from __future__ import annotations

import contextlib
import datetime
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    RecoveryError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_utc
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Client, Location
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_errors import (
    LOCK_HINT,
    OPTION,
    as_error,
    code_of,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_location import SCHEME

# How much one request of a kind may hold: keys to delete, bytes to copy, bytes of a part to copy.
_DELETED_AT_ONCE = 1000
_COPIED_AT_ONCE = 5 * 1024**3
_COPIED_PART = 1024**3
_NO_LOCK = ("ObjectLockConfigurationNotFoundError", "NotImplemented", "MethodNotAllowed", "501", "404")


class Found(t.NamedTuple):
    """An object of a listing.

    :ivar name: below the location.
    :ivar size: in bytes.
    :ivar etag: what the endpoint calls this content, with its quotes.
    :ivar modified: when it was written, by the endpoint's clock.
    """

    name: str
    size: int
    etag: str
    modified: datetime.datetime


def listing(client: Client, location: Location, below: str = "") -> t.Iterator[Found]:
    """Yield the objects below a folder of the location, in the order of their keys, a thousand with each request.

    :param below: a folder, as in C(sso); empty for everything.
    :raises RecoveryError: also when the bucket is not there.
    """
    for page in _pages(client, location, below, ""):
        for one in page.get("Contents", ()):
            yield Found(location.relative(one["Key"]), one["Size"], one["ETag"], one["LastModified"])


def folders(client: Client, location: Location, below: str = "") -> t.Iterator[str]:
    """Yield the names of the folders right below one, sorted, a thousand with each request."""
    start = len(location.below(below))
    for page in _pages(client, location, below, "/"):
        for one in page.get("CommonPrefixes", ()):
            yield one["Prefix"][start:].rstrip("/")


def names(client: Client, location: Location, below: str = "") -> t.Iterator[str]:
    """Yield the names of what is right below a folder, a thousand with each request; folders' end in a slash."""
    start = len(location.below(below))
    for page in _pages(client, location, below, "/"):
        for one in page.get("CommonPrefixes", ()):
            yield one["Prefix"][start:]
        for one in page.get("Contents", ()):
            # A marker of the folder itself is none.
            if one["Key"][start:]:
                yield one["Key"][start:]


def _pages(client: Client, location: Location, below: str, delimiter: str) -> t.Iterator[dict[str, t.Any]]:
    arguments = {"Bucket": location.bucket, "Prefix": location.below(below)}
    if delimiter:
        arguments["Delimiter"] = delimiter
    while True:
        page = client.call("list_objects_v2", "list", location.url(below) if below else str(location), **arguments)
        yield page
        if not page.get("IsTruncated"):
            return
        if page.get("NextContinuationToken") in (None, arguments.get("ContinuationToken")):
            raise IntegrityError("The listing of %s has no end: the endpoint does not say how it goes on" % location)
        arguments["ContinuationToken"] = page["NextContinuationToken"]


def delete_many(client: Client, location: Location, names: t.Iterable[str]) -> int:
    """Delete objects, a thousand with each request, and return how many. What is not there counts as deleted.

    :raises RecoveryError: naming the first that was not deleted; others may have been.
    """
    keys = [location.key(name) for name in names]
    for start in range(0, len(keys), _DELETED_AT_ONCE):
        part = keys[start : start + _DELETED_AT_ONCE]
        answer = client.call(
            "delete_objects",
            "delete",
            location.url(location.relative(part[0])),
            Bucket=location.bucket,
            Delete={"Objects": [{"Key": key} for key in part], "Quiet": True},
        )
        errors = [one for one in answer.get("Errors", ()) if one.get("Code") != "NoSuchKey"]
        if errors:
            raise _not_deleted(location, errors, client.endpoint, client.option)
    return len(keys)


def _not_deleted(
    location: Location, errors: list[dict[str, t.Any]], endpoint: str = "", option: str = OPTION
) -> RecoveryError:
    from botocore.exceptions import ClientError

    first = errors[0]
    url = location.url(location.relative(str(first.get("Key", ""))))
    status = 403 if first.get("Code") == "AccessDenied" else 0
    answer = {"Error": first, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = as_error(ClientError(answer, "DeleteObjects"), "delete", url, endpoint, option)
    if len(errors) > 1:
        error.cause += "; %s not deleted either" % (
            "1 other was" if len(errors) == 2 else "%d others were" % (len(errors) - 1)
        )
    return error


def copy(
    client: Client, source: tuple[Location, str], target: tuple[Location, str], at_once: int = _COPIED_AT_ONCE
) -> dict[str, t.Any]:
    """Copy an object within the endpoint, with its metadata, and return what C(head_object) tells of the copy.

    :param source: a location and a name below it; so is the target.
    :param at_once: bytes; what is larger is copied in parts.
    :raises IntegrityError: when the copy has another size.
    """
    old = {"Bucket": source[0].bucket, "Key": source[0].key(source[1])}
    new = {"Bucket": target[0].bucket, "Key": target[0].key(target[1])}
    path = target[0].url(target[1])
    before = client.call("head_object", "look at", source[0].url(source[1]), **old)
    from_old = {"CopySource": old, "CopySourceIfMatch": before["ETag"]}
    if before["ContentLength"] <= at_once:
        client.call("copy_object", "write", path, **new, **from_old, MetadataDirective="COPY", **client.kept_as())
    else:
        _copy_parts(client, new, path, from_old, before, min(at_once, _COPIED_PART))
    after = client.call("head_object", "look at", path, **new)
    if after["ContentLength"] != before["ContentLength"]:
        raise IntegrityError(
            "%s holds %d bytes; %s, of which it is a copy, has %d"
            % (path, after["ContentLength"], source[0].url(source[1]), before["ContentLength"])
        )
    return after


# What a copy in parts has to be given again.
_KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Metadata")


def _copy_parts(
    client: Client,
    new: dict[str, str],
    path: str,
    from_old: dict[str, t.Any],
    before: dict[str, t.Any],
    part_bytes: int,
) -> None:
    kept = {name: before[name] for name in _KEPT if before.get(name)}
    upload = client.call("create_multipart_upload", "write", path, **new, **kept, **client.kept_as())["UploadId"]
    size, parts = before["ContentLength"], []
    try:
        for number, start in enumerate(range(0, size, part_bytes), start=1):
            answer = client.call(
                "upload_part_copy",
                "write",
                path,
                **new,
                **from_old,
                UploadId=upload,
                PartNumber=number,
                CopySourceRange="bytes=%d-%d" % (start, min(start + part_bytes, size) - 1),
            )
            told = {name: value for name, value in answer["CopyPartResult"].items() if name.startswith("Checksum")}
            parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"], **told})
        client.call(
            "complete_multipart_upload", "complete", path, **new, UploadId=upload, MultipartUpload={"Parts": parts}
        )
    except BaseException:
        with contextlib.suppress(RecoveryError):
            client.call("abort_multipart_upload", "abort", path, **new, UploadId=upload)
        raise


def abort_stale_uploads(
    client: Client, location: Location, older_than: datetime.datetime | None, below: str = ""
) -> list[str]:
    """Abort uploads that were never finished, and return the names of the objects that they were for.

    Listings do not show them, and they are paid for all the same.

    :param older_than: uploads that began later may be alive; by the endpoint's clock. None where none can be.
    """
    return [
        location.relative(one["Key"])
        for one in list(uploads(client, location, location.below(below)))
        if (older_than is None or one["Initiated"] < older_than) and _abort(client, location, one)
    ]


def uploads(client: Client, location: Location, prefix: str) -> t.Iterator[dict[str, t.Any]]:
    """Yield what boto3 tells of each upload that was never finished.

    :param prefix: of their keys, with that of the location; it need not end with a folder.
    """
    arguments: dict[str, t.Any] = {"Bucket": location.bucket, "Prefix": prefix}
    while True:
        page = client.call("list_multipart_uploads", "list the uploads of", str(location), **arguments)
        yield from page.get("Uploads", ())
        if not page.get("IsTruncated"):
            return
        marks = (page.get("NextKeyMarker"), page.get("NextUploadIdMarker"))
        if marks == (arguments.get("KeyMarker"), arguments.get("UploadIdMarker")) or not marks[0]:
            raise IntegrityError("The listing of uploads of %s has no end" % location)
        arguments.update(KeyMarker=marks[0], UploadIdMarker=marks[1] or "")


def _abort(client: Client, location: Location, upload: dict[str, t.Any]) -> bool:
    url = location.url(location.relative(upload["Key"]))
    arguments = {"Bucket": location.bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
    try:
        client.call("abort_multipart_upload", "abort the upload of", url, **arguments)
    except RecoveryError as exc:
        if exc.__cause__ is None or code_of(exc.__cause__) not in ("NoSuchUpload", "404"):
            raise
        return False
    return True


def check_lockable(client: Client, location: Location) -> None:
    """Refuse a bucket in which objects cannot be retained.

    :raises InputError: when it has no Object Lock.
    """
    found: dict[str, t.Any] = {}
    try:
        found = client.call(
            "get_object_lock_configuration", "find Object Lock of", SCHEME + location.bucket, Bucket=location.bucket
        )
    except RecoveryError as exc:
        # Some endpoints say that there is none, others that they have no such thing.
        if exc.__cause__ is None or code_of(exc.__cause__) not in _NO_LOCK:
            raise
    if (found.get("ObjectLockConfiguration") or {}).get("ObjectLockEnabled") != "Enabled":
        raise InputError("The bucket %s has no Object Lock" % location.bucket, LOCK_HINT)


def retain(client: Client, location: Location, name: str, mode: str, until: datetime.datetime) -> None:
    """Have an object kept by Object Lock, and look whether the endpoint does: some ignore it and report success.

    Others take the request for one that writes the object anew, so the bucket is asked first.

    :param mode: C(GOVERNANCE), which some may lift, or C(COMPLIANCE), which nobody can.
    :param until: whole seconds, UTC.
    :raises InputError: when the bucket has no Object Lock.
    :raises StateError: when the object is not retained, or less.
    """
    check_lockable(client, location)
    url, key = location.url(name), {"Bucket": location.bucket, "Key": location.key(name)}
    # A bucket may retain all that is written, and for longer, which nobody may shorten.
    if _retained(client.call("head_object", "look at", url, **key), mode, until):
        return
    wanted = {"Mode": mode, "RetainUntilDate": until}
    client.call("put_object_retention", "retain", url, **key, Retention=wanted)
    found = client.call("head_object", "look at", url, **key)
    if not _retained(found, mode, until):
        told = "until %s (%s)" % (found.get("ObjectLockRetainUntilDate"), found.get("ObjectLockMode"))
        raise StateError(
            "%s should be retained until %s (%s), and the endpoint, which took that, says %s"
            % (url, format_utc(until), mode, told if found.get("ObjectLockMode") else "it is not"),
            LOCK_HINT,
        )


def _retained(found: dict[str, t.Any], mode: str, until: datetime.datetime) -> bool:
    """Tell whether what C(head_object) told of an object is no less than what is wanted."""
    there, its_end = found.get("ObjectLockMode"), found.get("ObjectLockRetainUntilDate")
    if there not in (mode, "COMPLIANCE") or its_end is None:
        return False
    return bool(its_end >= until - datetime.timedelta(seconds=1))
