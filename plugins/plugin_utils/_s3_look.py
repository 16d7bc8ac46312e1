# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""One look at everything of an instance in a bucket: one listing, and the small objects read several at a time.

Asked one by one, a store of a thousand sets would take thousands of requests in a row for a list.
"""

from __future__ import annotations

import concurrent.futures
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder import SMALL
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder_s3 import Prefix
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._notes import note_of
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Client, Location
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_objects import listing

_READ = (_manifest.MANIFEST_NAME, _manifest.SUMS_NAME, _manifest.RESTORE_NAME, _manifest.SEAL_NAME)


class Look:
    """What was there at one moment.

    :param sets: the prefix of the instance.
    """

    def __init__(self, sets: Prefix) -> None:
        self._sets = sets
        #: Lengths by the first part of the name and the rest of it; a note beside the sets has no rest.
        self.lengths: dict[str, dict[str, int]] = {}
        for found in listing(sets.client, sets.place):
            top, _slash, rest = found.name.partition("/")
            self.lengths.setdefault(top, {})[rest] = found.size
        self._read = self._read_small([name for name in self._small() if self._is_wanted(name)])

    def read(self, name: str) -> bytes | None:
        """Return what a small object held when it was looked at; None when it was not there."""
        if name not in self._read and not self._is_there(name):
            return None
        return self._read.get(name) or self._sets.read(name)

    def _small(self) -> t.Iterator[str]:
        for top, below in self.lengths.items():
            for rest in below:
                yield "%s/%s" % (top, rest) if rest else top

    def _is_wanted(self, name: str) -> bool:
        top, _slash, rest = name.partition("/")
        return rest in _READ or (not rest and bool(note_of(top)))

    def _is_there(self, name: str) -> bool:
        top, _slash, rest = name.partition("/")
        return rest in self.lengths.get(top, {})

    def _read_small(self, names: list[str]) -> dict[str, bytes]:
        at_once = max(1, min(len(names), self._sets.client.options["parallel"]))
        with concurrent.futures.ThreadPoolExecutor(at_once, "s3-look") as pool:
            contents = pool.map(self._sets.read, names)
            # What is gone by now is nothing that anybody will miss: it is said to be missing when it is asked for.
            return {name: content for name, content in zip(names, contents, strict=True) if content is not None}


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
        return bool(self._look.lengths.get(self._top) if self._top else self._look.lengths)

    def files(self) -> dict[str, int]:
        """Return the names of all objects below it, with their lengths."""
        if self._top:
            return dict(self._look.lengths.get(self._top, {}))
        return {
            "%s/%s" % (top, rest) if rest else top: length
            for top, below in self._look.lengths.items()
            for rest, length in below.items()
        }

    def read(self, name: str, limit: int = SMALL) -> bytes | None:
        """Return a small object as it was then."""
        return self._look.read("%s/%s" % (self._top, name) if self._top else name)
