# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Small objects, read and written whole: manifests, notes, and locks, which need conditions on writing."""

from __future__ import annotations

import contextlib
import datetime
import secrets
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    RecoveryError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Client, Location
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_errors import (
    ConditionError,
    MissingObjectError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_reader import open_object

_PROBE = ".probe-"
_OLD_PROBE = datetime.timedelta(days=1)


class Small(t.NamedTuple):
    """The whole content of a small object.

    :ivar etag: what the endpoint calls this content, with its quotes.
    :ivar modified: when it was written, by the endpoint's clock.
    """

    data: bytes
    etag: str
    modified: datetime.datetime


class Conditions(t.NamedTuple):
    """Which conditions on writing an endpoint was seen to honour.

    :ivar create: writing only what is not there yet.
    :ivar replace: writing only in place of a certain content.
    """

    create: bool
    replace: bool


def head(client: Client, location: Location, name: str) -> dict[str, t.Any] | None:
    """Return what boto3's C(head_object) tells of an object; None when it is not there."""
    try:
        return client.call("head_object", "look at", location.url(name), Bucket=location.bucket, Key=location.key(name))
    except MissingObjectError:
        return None


def get_small(client: Client, location: Location, name: str, limit: int) -> Small | None:
    """Return an object's content, None when it is not there.

    :param limit: bytes; nothing larger belongs there.
    :raises IntegrityError: when it is larger.
    """
    try:
        reader = open_object(client, location, name)
    except MissingObjectError:
        return None
    with reader:
        if reader.size > limit:
            raise IntegrityError("%s has %d bytes; it has no more than %d" % (reader.path, reader.size, limit))
        return Small(b"".join(iter(lambda: reader.read(limit), b"")), reader.etag, reader.modified)


def put_small(
    client: Client,
    location: Location,
    name: str,
    data: bytes,
    if_absent: bool = False,
    if_etag: str = "",
    extra: t.Mapping[str, t.Any] | None = None,
) -> str:
    """Write a few bytes with one request and return the ETag.

    The conditions hold only where :func:`conditions` says so. With one, the data has to be unlike what any other
    writer writes: a request whose answer was lost is repeated, and what lies there then is known by its content.

    :param if_absent: write only when there is no such object.
    :param if_etag: write only in place of the content that has this ETag.
    :param extra: further arguments of boto3's C(put_object).
    :raises ConditionError: when there is one, or another one.
    """
    arguments: dict[str, t.Any] = {**client.kept_as(), **(extra or {})}
    if if_absent:
        arguments["IfNoneMatch"] = "*"
    if if_etag:
        arguments["IfMatch"] = if_etag
    try:
        answer = client.call(
            "put_object",
            "write",
            location.url(name),
            Bucket=location.bucket,
            Key=location.key(name),
            Body=data,
            **arguments,
        )
    except (ConditionError, MissingObjectError) as exc:
        if not (if_absent or if_etag):
            raise
        # With If-Match, an object that is gone is answered as missing.
        there = get_small(client, location, name, max(len(data), 1)) if _is_like(client, location, name, data) else None
        if there is not None and there.data == data:
            return there.etag
        raise ConditionError(
            exc.cause, "Somebody else wrote or removed it meanwhile: look at what is there now"
        ) from exc
    return str(answer.get("ETag", ""))


def _is_like(client: Client, location: Location, name: str, data: bytes) -> bool:
    found = head(client, location, name)
    return found is not None and found["ContentLength"] == len(data)


def conditions(client: Client, location: Location) -> Conditions:
    """Find out which conditions the bucket honours, by an object of a name of its own that is gone afterwards.

    An answer of success proves nothing: many endpoints do not know the header and write all the same, and some honour
    it only in buckets without versions.
    """
    name = _PROBE + secrets.token_hex(8)
    try:
        return Conditions(_refuses(client, location, name, True), _refuses(client, location, name, False))
    finally:
        _clear_probes(client, location, name)


def _clear_probes(client: Client, location: Location, name: str) -> None:
    """Delete all versions of an object, and of others like it that a killed run left."""
    bucket, old = {"Bucket": location.bucket}, datetime.datetime.now(datetime.UTC) - _OLD_PROBE
    try:
        page = client.call(
            "list_object_versions", "list", str(location), **bucket, Prefix=location.key(_PROBE), MaxKeys=100
        )
    except RecoveryError:
        # An endpoint without versions, or credentials that may not look at them.
        client.call("delete_object", "delete", location.url(name), **bucket, Key=location.key(name))
        return
    for one in page.get("Versions", []) + page.get("DeleteMarkers", []):
        if one["Key"] == location.key(name) or one["LastModified"] < old:
            # Where the bucket retains all that is written, they stay for that time.
            with contextlib.suppress(RecoveryError):
                client.call(
                    "delete_object", "delete", location.url(name), **bucket, Key=one["Key"], VersionId=one["VersionId"]
                )


def _refuses(client: Client, location: Location, name: str, if_absent: bool) -> bool:
    etag = put_small(client, location, name, b"first")
    other = '"%s"' % ("0" * 32)
    try:
        # What is right has to be allowed, what is wrong refused.
        if not if_absent:
            put_small(client, location, name, b"second", if_etag=etag)
        put_small(client, location, name, b"third", if_absent=if_absent, if_etag="" if if_absent else other)
    except ConditionError:
        left = get_small(client, location, name, 16)
        return left is not None and left.data == (b"first" if if_absent else b"second")
    except InputError:
        # Not implemented, and said so.
        return False
    return False
