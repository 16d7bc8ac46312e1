# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The content of objects, read to its end although connections break."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    IntegrityError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Client, Location
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_errors import ConditionError

# A reader that got this far since the last broken connection has all its attempts again.
_PROGRESS_BYTES = 64 * 1024**2
_BREAKS = 8


class ObjectReader:
    """The content of an object, as a raw stream; goes on after broken connections, and never with other content.

    :ivar path: how an operator writes it.
    :ivar size: of the whole object, in bytes.
    :ivar etag: with its quotes.
    :ivar modified: when it was written, by the endpoint's clock.
    :ivar about: what boto3's C(get_object) told of it.
    """

    def __init__(self, client: Client, location: Location, name: str, version_id: str = "") -> None:
        self.path = location.url(name)
        self._client = client
        self._arguments = {"Bucket": location.bucket, "Key": location.key(name)}
        if version_id:
            self._arguments["VersionId"] = version_id
        self._position = self._broken_at = self._breaks = 0
        self.about = client.call("get_object", "read", self.path, **self._arguments)
        self._body: t.Any = self.about.pop("Body")
        self.size: int = self.about["ContentLength"]
        self.etag: str = self.about.get("ETag", "")
        self.modified: datetime.datetime = self.about["LastModified"]

    def read(self, size: int, /) -> bytes:
        """Return up to size bytes, nothing at the end.

        :raises RecoveryError: when the connection broke too often, or the object is another one by now.
        """
        size = min(size, self.size - self._position)
        while size > 0:
            data = self._try(size)
            if data:
                self._position += len(data)
                return data
        return b""

    def readinto(self, buffer: t.Any, /) -> int:
        """Fill the buffer, or a part of it, and return how many bytes that were; 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """End the connection."""
        self._body.close()

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _try(self, size: int) -> bytes:
        """Return some bytes; none when the connection broke, and another one was made."""
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        reason = "it ended early"
        try:
            data: bytes = self._body.read(size)
            if data:
                return data
        except (BotoCoreError, HTTPError, OSError) as exc:
            reason = str(exc) or type(exc).__name__
        if self._position - self._broken_at >= _PROGRESS_BYTES:
            self._breaks = 0
        self._breaks, self._broken_at = self._breaks + 1, self._position
        if self._breaks > _BREAKS:
            raise ConnectError(
                "Cannot read %s: the connection broke %d times, the last time at byte %d: %s"
                % (self.path, self._breaks, self._position, reason),
                "Look at the endpoint's log, and for a proxy on the way that ends long answers",
            )
        self._client.patience.tell("The connection for %s broke at byte %d: %s" % (self.path, self._position, reason))
        self._go_on()
        return b""

    def _go_on(self) -> None:
        self._body.close()
        wanted = {"Range": "bytes=%d-" % self._position, **({"IfMatch": self.etag} if self.etag else {})}
        try:
            answer = self._client.call("get_object", "read", self.path, **self._arguments, **wanted)
        except ConditionError as exc:
            raise self._changed() from exc
        self._body = answer["Body"]
        if answer.get("ETag", "") != self.etag:
            raise self._changed()
        if not str(answer.get("ContentRange", "")).startswith("bytes %d-" % self._position):
            raise StateError(
                "The connection for %s broke, and the endpoint cannot go on in the middle of an object" % self.path,
                "Look for a proxy that takes Range out of requests, and try again",
            )

    def _changed(self) -> IntegrityError:
        return IntegrityError(
            "%s was written anew while it was read" % self.path, "Find out by whom, and read it again from the start"
        )


def open_object(client: Client, location: Location, name: str, version_id: str = "") -> ObjectReader:
    """Return a reader of an object.

    :param version_id: of a certain version, where the bucket keeps several.
    :raises MissingObjectError: when there is none.
    """
    return ObjectReader(client, location, name, version_id)
