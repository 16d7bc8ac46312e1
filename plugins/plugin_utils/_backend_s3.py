# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A store in a bucket.

Objects cannot be renamed, so a set lies under its id from the beginning. It is one as long as its manifest is there:
that is written last, and deleted first.
"""

from __future__ import annotations

import datetime
import re
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import ID_PATTERN
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._backend import DELETING_SUFFIX, PARTIAL_SUFFIX
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder_s3 import DELETING, Prefix
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Client, Location
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_lock import ObjectLock
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_look import Look, Seen
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_objects import check_lockable, retain
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet

_VIRTUAL = re.compile("(%s)(%s|%s|)" % (ID_PATTERN, re.escape(PARTIAL_SUFFIX), re.escape(DELETING_SUFFIX)))


class SetPrefix(Prefix):
    """The objects of a set, of an unfinished one, or of what is left of one: it is there only while it is that."""

    def __init__(self, client: Client, place: Location, state: str) -> None:
        super().__init__(client, place)
        self._state = state

    def exists(self) -> bool:
        """Tell whether it is there, and is what it was asked for as."""
        return _state(self.files()) == self._state


def _state(files: t.Collection[str]) -> str | None:
    """Return the ending of the name under which objects of a set are shown; None when there are none. Pure."""
    if not files:
        return None
    if _manifest.MANIFEST_NAME in files:
        return ""
    return DELETING_SUFFIX if DELETING in files else PARTIAL_SUFFIX


class S3Backend:
    """Sets in a bucket.

    :param client: reaches it.
    :param place: the store's bucket and prefix.
    :param instance: a name that was checked.
    """

    catalogs = True

    def __init__(self, client: Client, place: Location, instance: str) -> None:
        self.root = str(place)
        self.sets: Prefix = Prefix(client, place).child(instance)
        self._client = client

    def names(self) -> list[str]:
        """Return the names of all that lies there, with one listing."""
        return _names(self.sets.files())

    def folder(self, name: str) -> Prefix:
        """Return the folder of that name."""
        match = _VIRTUAL.fullmatch(name)
        if not match:
            return self.sets.child(name)
        set_id, state = match.groups()
        return SetPrefix(self._client, self.sets.child(set_id).place, state)

    def known(self, set_id: str) -> tuple[dict[str, t.Any], str] | None:
        """Return None: a set that is asked for by itself is read."""

    def remember(self, sets: t.Sequence[BackupSet]) -> None:
        """Remember nothing: nobody looked."""

    def look(self) -> SeenBackend:
        """Return what answers from one listing, and from small objects that were read several at a time."""
        return SeenBackend(self)

    def check_lasting(self) -> None:
        """Accept every bucket: none of them goes with the job."""

    def check_writable(self) -> None:
        """Refuse a bucket that is not there, may not be read, or cannot retain what it should.

        Whether it may be written, only writing tells.
        """
        self.sets.exists()
        if self._client.options["object_lock_mode"]:
            check_lockable(self._client, self.sets.place)

    def make(self) -> None:
        """Make nothing: a prefix needs no making, and a bucket is its owner's to make."""

    def free(self) -> None:
        """Return None: nobody knows how much room a bucket has."""

    def commit(self, set_id: str, manifest: bytes) -> None:
        """Have the artifacts retained where that is asked for, and write the manifest."""
        folder = self.sets.child(set_id)
        self._retain(folder, sorted(folder.files()))
        folder.write(_manifest.MANIFEST_NAME, manifest)
        try:
            self._retain(folder, [_manifest.MANIFEST_NAME])
        except BaseException:
            # A set that is not retained as it should be is none: its backup failed.
            folder.delete(_manifest.MANIFEST_NAME)
            raise

    def hide(self, set_id: str) -> None:
        """Delete the manifest, once what is left says what it is."""
        folder = self.sets.child(set_id)
        if _state(folder.files()) != "":
            raise StateError("Backup set %s is not there any more" % folder.location, "Somebody else removed it")
        folder.write(DELETING, b"")
        folder.delete(_manifest.MANIFEST_NAME)

    def lock(self, what: str) -> ObjectLock:
        """Return the lock under which sets are removed."""
        return ObjectLock(self.sets, what)

    def _retain(self, folder: Prefix, names: t.Iterable[str]) -> None:
        mode, days = (self._client.options["object_lock_" + name] for name in ("mode", "days"))
        if not mode:
            return
        until = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(days=days)
        for name in names:
            retain(self._client, folder.place, name, mode, until)


class SeenBackend(S3Backend):
    """The same as it was at one moment, for whoever looks at all of it. What is written, is written now."""

    def __init__(self, backend: S3Backend) -> None:
        self.root = backend.root
        self._client = backend._client
        self._look = Look(backend.sets)
        self.sets = Seen(self._client, backend.sets.place, self._look)

    def folder(self, name: str) -> Prefix:
        """Return the folder of that name."""
        match = _VIRTUAL.fullmatch(name)
        top = match.group(1) if match else name
        return Seen(self._client, self.sets.child(top).place, self._look, top)

    def known(self, set_id: str) -> tuple[dict[str, t.Any], str] | None:
        """Return what the catalog remembers of a set that did not change since."""
        found = self._look.known(set_id)
        return None if found is None else (found.manifest, found.sha256)

    def remember(self, sets: t.Sequence[BackupSet]) -> None:
        """Write the catalog."""
        self._look.remember(sets)


def _names(files: t.Iterable[str]) -> list[str]:
    """Return the names under which the objects of an instance are shown. Pure."""
    below: dict[str, set[str]] = {}
    for path in files:
        top, slash, rest = path.partition("/")
        below.setdefault(top, set()).update([rest] if slash else [])
    return sorted(
        top + (_state(inside) or "") if inside and re.fullmatch(ID_PATTERN, top) else top
        for top, inside in below.items()
    )
