# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Objects that appear whole or not at all: a stream of unknown length goes into a bucket while it is made.

Nothing of it is staged on the controller. Parts are sent by a few threads while the next one is filled, and whoever
writes waits when they are all busy, so memory does not grow with what passes through.
"""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import hashlib
import secrets
import threading
import typing as t
import zlib

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    IntegrityError,
    RecoveryError,
    SpaceError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Client, Location
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_errors import MissingObjectError, code_of

MIB = 1024**2
# What S3 allows.
MAX_PARTS = 10000
MAX_PART_BYTES = 5 * 1024 * MIB
MAX_OBJECT_BYTES = 5 * 1024 * 1024 * MIB

_FIRST_PART_BYTES = 16 * MIB
_PARTS_OF_ONE_SIZE = 1000
_MEMORY_BYTES = 256 * MIB
# Says of an object which upload made it, where its end was not heard or somebody else writes the same name.
_MARK = "authentik-recovery-upload"
# For what is tidied up after a failure, which may be that the endpoint is gone.
_TIDY_SECONDS = 10


def part_bytes(number: int, fixed: int | None = None) -> int:
    """Return the size of a part, so that all of them suffice for the largest object. Pure.

    The first 2,000 parts (31 GiB) have 16 MiB each, then it doubles with every 1,000.

    :param number: counted from 1.
    :param fixed: the size of all parts, where somebody chose one: some endpoints want equal ones.
    """
    if fixed:
        return fixed
    doubled = max(0, (number - 1) // _PARTS_OF_ONE_SIZE - 1)
    return int(min(_FIRST_PART_BYTES << doubled, MAX_PART_BYTES))


def parts_at_once(size: int, parallel: int) -> int:
    """Return how many parts of that size may be on their way while the next one is filled. Pure."""
    return max(1, min(parallel, _MEMORY_BYTES // size - 1))


class Upload:
    """An object that gets its name when the context is left normally, and leaves no trace otherwise.

    C(size) and C(sha256) describe what was written. Once it is there it was looked at: it is the one of this upload,
    and has this size, and the checksum that the endpoint tells of it, where it does.

    :param relative: its name below the location.
    :param extra: further arguments of boto3's C(put_object), such as C(ContentType) and C(Metadata).
    :param part_size: bytes of each part; grows by itself when it is left out here and in the options.
    :ivar path: how an operator writes it.
    :ivar etag: what the endpoint calls this content, once it is there.
    :ivar version_id: where the bucket keeps versions, once it is there; empty where it does not.
    """

    def __init__(
        self,
        client: Client,
        location: Location,
        relative: str,
        extra: t.Mapping[str, t.Any] | None = None,
        part_size: int | None = None,
    ) -> None:
        self.path = location.url(relative)
        self.size = 0
        self.etag = self.version_id = ""
        self._client = client
        self._target = {"Bucket": location.bucket, "Key": location.key(relative)}
        self._mark = secrets.token_hex(16)
        self._arguments = {"Metadata": {_MARK: self._mark}, **client.kept_as(), **(extra or {})}
        self._fixed = part_size or client.options["part_size"]
        self._hash = hashlib.sha256()
        self._crc = 0
        self._buffer = bytearray()
        self._upload_id = ""
        self._parts: list[concurrent.futures.Future[dict[str, t.Any]]] = []
        self._running: list[concurrent.futures.Future[dict[str, t.Any]]] = []
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._quitting = threading.Event()
        self._named = False

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of what was written so far."""
        return self._hash.hexdigest()

    def write(self, data: bytes | memoryview) -> int:
        """Append the data whole and return its length in bytes; waits while all threads are busy.

        :raises RecoveryError: what the endpoint refused, of this or of earlier data.
        """
        self._hash.update(data)
        if self._client.checksums == "when_supported":
            self._crc = zlib.crc32(data, self._crc)
        rest = memoryview(data)
        while rest:
            if len(self._buffer) >= part_bytes(len(self._parts) + 1, self._fixed):
                self._send()
            room = part_bytes(len(self._parts) + 1, self._fixed) - len(self._buffer)
            self._buffer += rest[:room]
            rest = rest[room:]
        self.size += len(data)
        return len(data)

    def publish(self) -> None:
        """Send what is left, give the object its name, and look whether it is there as it was written."""
        if self._upload_id:
            self._send()
            self._complete([sent.result()["part"] for sent in self._parts])
        else:
            self._named = True
            self._client.call(
                "put_object", "write", self.path, **self._target, **self._arguments, Body=bytes(self._buffer)
            )
        self._check()
        self._upload_id = ""

    def discard(self) -> None:
        """Take back what was sent. What cannot be now is found later by :func:`_s3_objects.abort_stale_uploads`."""
        self._quitting.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        with contextlib.suppress(RecoveryError), self._client.patience.limited(_TIDY_SECONDS):
            if self._upload_id:
                self._client.call(
                    "abort_multipart_upload", "abort", self.path, **self._target, UploadId=self._upload_id
                )
        with contextlib.suppress(RecoveryError), self._client.patience.limited(_TIDY_SECONDS):
            # Refused or not heard: it may be there all the same.
            if self._named:
                found = self._head()
                if self._is_ours(found):
                    version = {"VersionId": found["VersionId"]} if found.get("VersionId") else {}
                    self._client.call("delete_object", "delete", self.path, **self._target, **version)

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: t.Any, trace: t.Any) -> None:
        try:
            if kind is None:
                self.publish()
        except BaseException:
            self.discard()
            raise
        if kind is not None:
            self.discard()
        elif self._pool is not None:
            self._pool.shutdown()

    def _send(self) -> None:
        """Have a thread send what is in the buffer, as the next part."""
        number = len(self._parts) + 1
        if number > MAX_PARTS or self.size > MAX_OBJECT_BYTES:
            raise SpaceError(
                "%s has more than %s"
                % (self.path, "5 TiB" if self.size > MAX_OBJECT_BYTES else "%d parts" % MAX_PARTS),
                "Raise part_size of the option %s, or leave it out, so that parts grow by themselves"
                % self._client.option,
            )
        pool = self._pool or self._begin()
        self._wait(parts_at_once(len(self._buffer), self._client.options["parallel"]))
        data = bytes(self._buffer)
        self._buffer.clear()
        sent = pool.submit(self._send_part, number, data)
        self._parts.append(sent)
        self._running.append(sent)

    def _begin(self) -> concurrent.futures.ThreadPoolExecutor:
        answer = self._client.call("create_multipart_upload", "write", self.path, **self._target, **self._arguments)
        self._upload_id = answer["UploadId"]
        self._pool = concurrent.futures.ThreadPoolExecutor(self._client.options["parallel"], "s3-upload")
        return self._pool

    def _wait(self, at_once: int) -> None:
        """Wait until a thread is free; what one of them met is raised here."""
        while True:
            for sent in self._running:
                if sent.done():
                    sent.result()
            self._running = [sent for sent in self._running if not sent.done()]
            if len(self._running) < at_once:
                return
            concurrent.futures.wait(self._running, return_when=concurrent.futures.FIRST_COMPLETED)

    def _send_part(self, number: int, data: bytes) -> dict[str, t.Any]:
        with self._client.patience.limited(until=self._quitting):
            answer = self._client.call(
                "upload_part",
                "write",
                self.path,
                **self._target,
                UploadId=self._upload_id,
                PartNumber=number,
                Body=data,
            )
        # What names the part at the end of the upload. There may be 10,000: no more of the answer is kept.
        told = {name: value for name, value in answer.items() if name.startswith("Checksum") and name != "ChecksumType"}
        part = {"PartNumber": number, "ETag": answer["ETag"], **told}
        return {"part": part, "crc": zlib.crc32(data) if self._client.checksums == "when_supported" else 0}

    def _complete(self, parts: list[dict[str, t.Any]]) -> None:
        self._named = True
        arguments = {**self._target, "UploadId": self._upload_id, "MultipartUpload": {"Parts": parts}}
        try:
            self._client.call("complete_multipart_upload", "complete", self.path, **arguments)
        except RecoveryError as exc:
            # It was completed, and the answer got lost: the next attempt finds no upload any more.
            if exc.__cause__ is None or code_of(exc.__cause__) != "NoSuchUpload" or not self._is_there():
                raise

    def _head(self) -> dict[str, t.Any]:
        mode = {"ChecksumMode": "ENABLED"} if self._client.checksums == "when_supported" else {}
        return self._client.call("head_object", "look at", self.path, **self._target, **mode)

    def _is_there(self) -> bool:
        try:
            return self._is_ours(self._head())
        except MissingObjectError:
            return False

    def _is_ours(self, found: dict[str, t.Any]) -> bool:
        return bool((found.get("Metadata") or {}).get(_MARK) == self._mark)

    def _check(self) -> None:
        try:
            found = self._head()
        except MissingObjectError as exc:
            raise IntegrityError(
                "%s is not there although the endpoint took it" % self.path, "Look at the endpoint's log and its disks"
            ) from exc
        if found["ContentLength"] != self.size:
            raise IntegrityError(
                "%s holds %d bytes although %d were written" % (self.path, found["ContentLength"], self.size),
                "Look at the endpoint's log and its disks",
            )
        mark = (found.get("Metadata") or {}).get(_MARK)
        if mark and mark != self._mark and _MARK in self._arguments["Metadata"]:
            raise IntegrityError("%s was written by somebody else at the same time" % self.path)
        self._check_checksums(found)
        self.etag, self.version_id = found.get("ETag", ""), found.get("VersionId", "")

    def _check_checksums(self, found: dict[str, t.Any]) -> None:
        crcs = [sent.result()["crc"] for sent in self._parts]
        for name, told in (("CRC32", found.get("ChecksumCRC32")), ("SHA-256", found.get("ChecksumSHA256"))):
            if not told:
                continue
            if name == "CRC32":
                ours = crc_of_parts(crcs) if "-" in told else _encoded(self._crc.to_bytes(4, "big"))
            elif "-" in told:
                continue
            else:
                ours = _encoded(self._hash.digest())
            if told != ours:
                raise IntegrityError(
                    "%s has %s %s; what was written has %s" % (self.path, name, told, ours),
                    "It was altered on the way or by the endpoint: look for a proxy, and at the endpoint's disks",
                )


def crc_of_parts(crcs: t.Sequence[int]) -> str:
    """Return what an endpoint tells of an object in parts: the CRC of their CRCs, and how many there are. Pure."""
    whole = zlib.crc32(b"".join(crc.to_bytes(4, "big") for crc in crcs))
    return "%s-%d" % (_encoded(whole.to_bytes(4, "big")), len(crcs))


def _encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")
