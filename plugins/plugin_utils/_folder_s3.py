# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A folder of a store in a bucket: the objects below a prefix, as :class:`_folder.Folder` describes them."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    RecoveryError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import ArtifactReader, Artifacts, naming
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import check_artifact_path
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder import SMALL, Folder, copy
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Client, Location
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_errors import MissingObjectError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_objects import (
    abort_stale_uploads,
    delete_many,
    listing,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_objects import copy as copy_object
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_reader import open_object
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_small import get_small, head, put_small
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_upload import Upload

#: In a set, while it is removed: what has one and no manifest is what is left of a set.
DELETING = ".deleting"

_FUTURE = datetime.datetime(9999, 1, 1, tzinfo=datetime.UTC)


class Prefix:
    """The objects below a prefix.

    :param client: reaches the bucket.
    :param place: bucket and prefix.
    """

    def __init__(self, client: Client, place: Location) -> None:
        self.client = client
        self.place = place

    @property
    def location(self) -> str:
        """The address, as in C(s3://bucket/prefix)."""
        return str(self.place)

    def at(self, name: str) -> str:
        """Return the address of an object below it."""
        return self.place.url(name)

    def exists(self) -> bool:
        """Tell whether there is any object below it."""
        return next(listing(self.client, self.place), None) is not None

    def child(self, name: str) -> Prefix:
        """Return a prefix below it."""
        return Prefix(self.client, Location(self.place.bucket, self.place.key(name)))

    def names(self) -> list[str]:
        """Return the first parts of the names below it."""
        return sorted({found.name.partition("/")[0] for found in listing(self.client, self.place)})

    def files(self) -> dict[str, int]:
        """Return the names of all objects below it, with their lengths."""
        return {found.name: found.size for found in listing(self.client, self.place)}

    def read(self, name: str, limit: int = SMALL) -> bytes | None:
        """Return a small object, None when it is not there."""
        found = get_small(self.client, self.place, name, limit)
        return None if found is None else found.data

    def write(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """Write a small object. Who may read it is up to the bucket: it has no mode."""
        put_small(self.client, self.place, name, data)

    def delete(self, name: str) -> None:
        """Remove an object that may not be there."""
        delete_many(self.client, self.place, [name])

    def age(self, name: str = "") -> float | None:
        """Return the seconds since an object, or the newest one, was written, by the endpoint's own clock."""
        if name:
            found = head(self.client, self.place, name)
            return None if found is None else abs((_now_there(found) - found["LastModified"]).total_seconds())
        newest = max(listing(self.client, self.place), key=lambda found: found.modified, default=None)
        return None if newest is None else self.age(newest.name)

    def touch(self, name: str) -> None:
        """Write an object once more."""
        with contextlib.suppress(RecoveryError):
            data = self.read(name)
            if data is not None:
                self.write(name, data)

    def source(self, artifacts: t.Sequence[dict[str, t.Any]], cached: bool = True) -> ObjectSource:
        """Return what reads and compares these artifacts; nothing of them is kept in memory."""
        return ObjectSource(self, artifacts)

    def sink(self) -> ObjectSink:
        """Return what writes artifacts."""
        return ObjectSink(self)

    def take(self, artifact: dict[str, t.Any], other: Folder) -> None:
        """Have the endpoint copy an artifact; what it refuses to copy is read and written."""
        path = check_artifact_path(artifact["path"])
        if not isinstance(other, Prefix):
            raise InputError("%s is in another store than %s" % (other.location, self.location))
        try:
            copy_object(self.client, (other.place, path), (self.place, path))
        except MissingObjectError as exc:
            raise IntegrityError(
                "The artifact %s is missing" % other.at(path), "The set is damaged: use another one"
            ) from exc
        except InputError:
            # Not implemented there, or not for what is encrypted with another key.
            copy(artifact, other, self)

    def remove(self) -> bool:
        """Remove all objects below it, and what unfinished uploads left; tell whether there was anything."""
        names = list(self.files())
        uploads = abort_stale_uploads(self.client, self.place, _FUTURE)
        # What says that they are being removed goes last.
        delete_many(self.client, self.place, [name for name in names if name != DELETING])
        delete_many(self.client, self.place, [name for name in names if name == DELETING])
        return bool(names or uploads)


class ObjectSink:
    """Writes artifacts as objects: streamed in parts, so that neither memory nor a disk holds one whole."""

    def __init__(self, folder: Prefix) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def artifact(self, path: str) -> t.Iterator[Upload]:
        """Yield a writer; left normally, the object is there and as long as what was written, else there is none."""
        with Upload(self._folder.client, self._folder.place, check_artifact_path(path)) as out:
            yield out


class ObjectSource(Artifacts):
    """Reads artifacts from objects and compares them with their records."""

    def __init__(self, folder: Prefix, artifacts: t.Iterable[dict[str, t.Any]]) -> None:
        super().__init__(artifacts)
        self._folder = folder

    @contextlib.contextmanager
    def artifact(self, path: str) -> t.Iterator[ArtifactReader]:
        """Yield a reader; at its end, or when it is left normally, all of the artifact has been compared.

        :raises IntegrityError: naming the path, what was expected and what was found.
        """
        expected, full = self.expected(check_artifact_path(path), plain=False), self._folder.at(path)
        try:
            source = open_object(self._folder.client, self._folder.place, path)
        except MissingObjectError as exc:
            raise IntegrityError("The artifact %s is missing" % full, "The set is damaged: use another one") from exc
        with source:
            reader = ArtifactReader(source, full, expected)
            with naming(path):
                yield reader
                reader.drain()


def _now_there(answer: dict[str, t.Any]) -> datetime.datetime:
    """Return the endpoint's time when it answered, the controller's where it does not say."""
    with contextlib.suppress(KeyError, ValueError, TypeError):
        told = email.utils.parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return told if told.tzinfo else told.replace(tzinfo=datetime.UTC)
    return datetime.datetime.now(datetime.UTC)
