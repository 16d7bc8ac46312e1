# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A bucket listed and read: one state of it, its versions pinned where it keeps them, several objects at a time."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import datetime
import hashlib
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import BLOCK
from ansible_collections.authentik_ops.recovery.plugins.module_utils._object_index import END, KEPT, header, padding
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_utc, parse_utc
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_names import check_live
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_objects import is_tenant
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_plan import Listed
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Client, Location
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_errors import MissingObjectError, code_of
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_objects import listing, names
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_reader import ObjectReader, open_object

# What is read whole by a thread; what is larger is streamed by one reader at a time.
_SMALL_BYTES = 4 * 1024**2
_TRIES = 3
_NO_VERSIONS = ("AccessDenied", "MethodNotAllowed", "NotImplemented", "403", "405", "501")
_VERSIONS = ("Enabled", "Suspended")


class Bucket(t.NamedTuple):
    """What of a bucket is the instance's, with the connection to it.

    :ivar place: the whole bucket.
    :ivar folders: those that have folders of tenants; empty where the bucket has, as authentik before 2025.12 does.
    :ivar default_schema: what the folder of the default tenant is called.
    """

    client: Client
    place: Location
    folders: tuple[str, ...]
    default_schema: str = "public"

    def roots(self) -> list[str]:
        """Return the folders in which the instance's objects lie."""
        return self._split()[0]

    def unknown(self) -> list[str]:
        """Return what lies beside them where only folders of tenants should, and where none of the default one does.

        Before authentik 2025.12, a bucket may hold whatever else.
        """
        own, others = self._split()
        return others if self.folders or self.default_schema not in own else []

    def _split(self) -> tuple[list[str], list[str]]:
        own, others = list[str](), list[str]()
        for usage in self.folders or ("",):
            for name in names(self.client, self.place, usage):
                tenant, slash, _nothing = name.partition("/")
                path = "%s/%s" % (usage, tenant) if usage else tenant
                if slash and is_tenant(tenant, self.default_schema):
                    own.append(path)
                else:
                    others.append(path + slash)
        return own, others


def keeps_versions(bucket: Bucket) -> bool:
    """Tell whether the bucket keeps versions; where nobody may know, it counts as one that does not."""
    try:
        answer = bucket.client.call(
            "get_bucket_versioning", "find the versioning of", str(bucket.place), Bucket=bucket.place.bucket
        )
    except RecoveryError as exc:
        if exc.__cause__ is None or code_of(exc.__cause__) not in _NO_VERSIONS:
            raise
        return False
    return answer.get("Status") in _VERSIONS


def list_objects(bucket: Bucket, versions: bool) -> list[Listed]:
    """Return all objects, by their keys. Markers of folders, which hold nothing, are none.

    :param versions: pin the version of each.
    """
    found: list[Listed] = []
    for root in bucket.roots():
        if versions:
            found += _latest_versions(bucket, root)
            continue
        found += [
            Listed(one.name, one.size, one.etag, "", format_utc(one.modified))
            for one in listing(bucket.client, bucket.place, root)
        ]
    return sorted(one for one in found if one.size or not one.key.endswith("/"))


def list_sound(bucket: Bucket, versions: bool) -> list[Listed]:
    """Return the same, where all can be handled.

    :raises StateError: when one has a name by which it cannot be saved or restored.
    """
    found = list_objects(bucket, versions)
    check_live(bucket.place, bucket.client.endpoint, {one.key for one in found})
    return found


def _latest_versions(bucket: Bucket, root: str) -> t.Iterator[Listed]:
    arguments = {"Bucket": bucket.place.bucket, "Prefix": bucket.place.below(root)}
    url = bucket.place.url(root)
    while True:
        page = bucket.client.call("list_object_versions", "list the versions of", url, **arguments)
        for one in page.get("Versions", ()):
            if one["IsLatest"]:
                modified = format_utc(one["LastModified"])
                yield Listed(one["Key"], one["Size"], one["ETag"], str(one.get("VersionId") or ""), modified)
        if not page.get("IsTruncated"):
            return
        marks = {"KeyMarker": page.get("NextKeyMarker"), "VersionIdMarker": page.get("NextVersionIdMarker")}
        if not marks["KeyMarker"] or marks.items() <= arguments.items():
            raise IntegrityError(
                "The listing of versions of %s has no end: the endpoint does not say how it goes on" % url
            )
        arguments.update({name: mark for name, mark in marks.items() if mark is not None})


def about(answer: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what is kept of an object besides its content."""
    return {name: answer[name] for name in KEPT if answer.get(name)}


class Read(t.NamedTuple):
    """An object that was opened: its facts, and its content unless that is large."""

    facts: dict[str, t.Any]
    data: bytes | None


class PackWriter:
    """Reads objects, several at a time, and writes them into a pack in the order of their keys.

    :param out: the artifact.
    :param path: the pack's, as the index names it.
    :param beat: called with the bytes that passed, often.
    """

    def __init__(self, bucket: Bucket, out: t.Any, path: str, beat: t.Callable[[int], None]) -> None:
        self._bucket = bucket
        self._out = out
        self._path = path
        self._beat = beat

    def write(self, wanted: t.Sequence[Listed]) -> tuple[list[dict[str, t.Any]], list[str]]:
        """Return the entries of the index, and the keys of what was deleted before it could be read.

        :raises RecoveryError: one cannot be read, or is written all the time.
        """
        entries, gone = [], []
        waiting: collections.deque[tuple[Listed, concurrent.futures.Future[Read | None]]] = collections.deque()
        ahead = 2 * self._bucket.client.options["parallel"]
        with concurrent.futures.ThreadPoolExecutor(self._bucket.client.options["parallel"], "bucket-read") as pool:
            todo = iter(wanted)
            try:
                while True:
                    for one in todo:
                        waiting.append((one, pool.submit(read_object, self._bucket, one)))
                        if len(waiting) >= ahead:
                            break
                    if not waiting:
                        break
                    one, future = waiting.popleft()
                    found = future.result()
                    if found is not None:
                        found = self._small(found) if found.data is not None else self._large(one)
                    if found is None:
                        gone.append(one.key)
                    else:
                        entries.append(found.facts)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        self._out.write(END)
        return entries, gone

    def _small(self, found: Read) -> Read:
        data, facts = found.data or b"", found.facts
        self._begin(facts)
        self._out.write(data)
        self._out.write(padding(len(data)))
        self._beat(len(data))
        return Read(dict(facts, sha256=hashlib.sha256(data).hexdigest(), pack=self._path, member=0), None)

    def _large(self, one: Listed) -> Read | None:
        """Stream an object; one that is written meanwhile is filled up, and written again as a further member."""
        for number in range(_TRIES):
            try:
                reader = open_object(self._bucket.client, self._bucket.place, one.key, one.version_id)
            except MissingObjectError:
                if one.pinned:
                    raise
                return None
            with reader:
                facts = facts_of(one, reader)
                self._begin(facts)
                sha256 = self._stream(reader, last=number == _TRIES - 1)
            if sha256:
                return Read(dict(facts, sha256=sha256, pack=self._path, member=number), None)
        return None

    def _stream(self, reader: ObjectReader, last: bool) -> str:
        digest, done = hashlib.sha256(), 0
        try:
            while done < reader.size:
                data = reader.read(BLOCK)
                digest.update(data)
                self._out.write(data)
                self._beat(len(data))
                done += len(data)
        except IntegrityError:
            if last:
                raise
            while done < reader.size:
                done += self._out.write(b"\0" * min(BLOCK, reader.size - done))
            self._out.write(padding(reader.size))
            return ""
        self._out.write(padding(reader.size))
        return digest.hexdigest()

    def _begin(self, facts: dict[str, t.Any]) -> None:
        self._out.write(header(facts["key"], facts["size"], parse_utc(facts["modified"]).timestamp()))


def facts_of(one: Listed, reader: ObjectReader) -> dict[str, t.Any]:
    """Return what is known of an object that was opened, by the names of the index."""
    return {
        "key": one.key,
        "size": reader.size,
        "etag": reader.etag,
        "version_id": one.version_id,
        "modified": format_utc(reader.modified.astimezone(datetime.UTC)),
        "about": about(reader.about),
    }


def read_object(bucket: Bucket, one: Listed) -> Read | None:
    """Return an object, without its content where that is large; None when it is not there any more.

    Where the bucket keeps versions it is the one of the listing, which does not change; else what is there now.
    """
    for number in range(_TRIES):
        try:
            with open_object(bucket.client, bucket.place, one.key, one.version_id) as reader:
                if reader.size > _SMALL_BYTES:
                    return Read({}, None)
                parts = []
                while True:
                    data = reader.read(BLOCK)
                    if not data:
                        break
                    parts.append(data)
                content = b"".join(parts)
                if len(content) != reader.size:
                    raise IntegrityError("%s has %d bytes, and %d came" % (reader.path, reader.size, len(content)))
                return Read(facts_of(one, reader), content)
        except MissingObjectError:
            # A version that was listed does not go by itself.
            if one.pinned:
                raise
            return None
        except IntegrityError:
            if number == _TRIES - 1:
                raise
    return None


def look_again(
    bucket: Bucket, touched: t.Sequence[tuple[Listed, dict[str, t.Any]]]
) -> tuple[list[dict[str, t.Any]], list[Listed]]:
    """Return the entries of objects that were written since with the same content, and those to be read after all."""

    def look(pair: tuple[Listed, dict[str, t.Any]]) -> dict[str, t.Any] | None:
        one, entry = pair
        version = {"VersionId": one.version_id} if one.version_id else {}
        with contextlib.suppress(MissingObjectError):
            found = bucket.client.call(
                "head_object",
                "look at",
                bucket.place.url(one.key),
                Bucket=bucket.place.bucket,
                Key=one.key,
                **version,
            )
            if (found["ContentLength"], found.get("ETag", "")) == (one.size, one.etag):
                return dict(entry, version_id=one.version_id, modified=one.modified, about=about(found))
        return None

    with concurrent.futures.ThreadPoolExecutor(bucket.client.options["parallel"], "bucket-look") as pool:
        found = list(pool.map(look, touched))
    entries = [entry for entry in found if entry is not None]
    return entries, [pair[0] for pair, entry in zip(touched, found, strict=True) if entry is None]
