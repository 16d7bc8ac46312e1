# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""One look at everything of an instance in a bucket: one listing, and the small objects read several at a time.

Asked one by one, a store of a thousand sets would take thousands of requests in a row for a list. What did not change
since it was looked at the last time is remembered in the store itself.
"""

from __future__ import annotations

import concurrent.futures
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder import SMALL
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder_s3 import Prefix
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._notes import note_of
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_catalog import (
    CATALOG,
    Catalog,
    ETags,
    Known,
    dump,
    load,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Client, Location
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_objects import Found, listing
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet

_READ = (_manifest.MANIFEST_NAME, _manifest.SUMS_NAME, _manifest.RESTORE_NAME, _manifest.SEAL_NAME)


class Look:
    """What was there at one moment.

    :param sets: the prefix of the instance.
    """

    def __init__(self, sets: Prefix) -> None:
        self._sets = sets
        self.files: dict[str, dict[str, Found]] = {}
        """By the first part of the name and the rest of it; a note beside the sets has no rest."""
        for found in listing(sets.client, sets.place):
            top, _slash, rest = found.name.partition("/")
            self.files.setdefault(top, {})[rest] = found
        self._catalog = load(sets.read(CATALOG) if CATALOG in self.files else None)
        self._read = self._read_small()

    def known(self, set_id: str) -> Known | None:
        """Return what is remembered of a set as it is now."""
        return self._catalog.known(set_id, self._etags(set_id))

    def read(self, name: str) -> bytes | None:
        """Return what a small object held when it was looked at; None when it was not there."""
        top, _slash, rest = name.partition("/")
        if rest not in self.files.get(top, {}):
            return None
        content = self._read.get(name)
        return self._sets.read(name) if content is None else content

    def remember(self, sets: t.Iterable[BackupSet]) -> None:
        """Write down what was found out about the sets, and their notes, if that is anything new."""
        notes = {
            name: (below[""].etag, self._read[name].decode("utf-8", "replace"))
            for name, below in self.files.items()
            if "" in below and name in self._read
        }
        known = {
            one.set_id: Known(self._etags(one.set_id), one.manifest_sha256, one.manifest)
            for one in sets
            if self._etags(one.set_id)
        }
        new = Catalog(known, notes)
        if dump(new) != dump(self._catalog):
            self._sets.write(CATALOG, dump(new))

    def _etags(self, set_id: str) -> ETags:
        below = self.files.get(set_id, {})
        return {name: below[name].etag for name in _READ if name in below}

    def _read_small(self) -> dict[str, bytes]:
        """Read what a list needs and the catalog does not know, several objects at a time."""
        found: dict[str, bytes] = {}
        wanted = []
        for top, below in self.files.items():
            if "" in below and note_of(top):
                content = self._catalog.note(top, below[""].etag)
                wanted += [top] if content is None else []
                found.update({} if content is None else {top: content})
            elif _manifest.MANIFEST_NAME in below and not self.known(top):
                wanted += ["%s/%s" % (top, name) for name in _READ if name in below]
        at_once = max(1, min(len(wanted), self._sets.client.options["parallel"]))
        with concurrent.futures.ThreadPoolExecutor(at_once, "s3-look") as pool:
            for name, data in zip(wanted, pool.map(self._sets.read, wanted), strict=True):
                # What is gone by now is said to be missing when it is asked for.
                if data is not None:
                    found[name] = data
        return found


class Seen(Prefix):
    """A prefix as it was looked at: its names, lengths and small objects; what else is asked, is asked now.

    :param top: first part of the names in it; empty for all of the instance.
    """

    def __init__(self, client: Client, place: Location, look: Look, top: str = "") -> None:
        super().__init__(client, place)
        self._look = look
        self._top = top

    def exists(self) -> bool:
        """Tell whether it was there."""
        return bool(self._look.files.get(self._top) if self._top else self._look.files)

    def files(self) -> dict[str, int]:
        """Return the names of all objects below it, with their lengths."""
        if self._top:
            return {rest: found.size for rest, found in self._look.files.get(self._top, {}).items()}
        return {
            "%s/%s" % (top, rest) if rest else top: found.size
            for top, below in self._look.files.items()
            for rest, found in below.items()
        }

    def read(self, name: str, limit: int = SMALL) -> bytes | None:
        """Return a small object as it was then."""
        return self._look.read("%s/%s" % (self._top, name) if self._top else name)
