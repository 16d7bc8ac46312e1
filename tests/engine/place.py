# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A store of the world, and what the engine knows of it."""

from __future__ import annotations

import hashlib
import random

from tests.engine.disk import Disk
from tests.engine.model import Checks, Known


class Place:
    """One of the two stores: the one that backups go to, and the other place that sets are copied to.

    :param store: its folder.
    :param instance: name of the instance.
    :param said: what is put before what is wrong there.
    :ivar alive: unfinished sets whose owner lives, by what is known of it.
    :ivar silent: those of them of which nothing was heard for an hour.
    :ivar locked: whether somebody who lives holds the lock.
    """

    def __init__(self, store: str, instance: str, said: str) -> None:
        self.store = store
        self.said = said
        self.disk = Disk(store, instance)
        self.known: dict[str, Known] = {}
        self.accepted = ""
        self.alive: set[str] = set()
        self.silent: set[str] = set()
        self.locked = False
        #: What was there when the collection was asked about it last, and the set that was restored then.
        self.seen: object = None
        self.restored = ""

    @property
    def busy(self) -> bool:
        """Whether nobody may begin a set."""
        return self.locked or bool(self.alive - self.silent)

    def some(self, rng: random.Random) -> Known | None:
        """Return one of the sets, None where there is none."""
        return self.known[rng.choice(sorted(self.known))] if self.known else None

    def files(self, set_id: str) -> dict[str, bytes]:
        """Return what lies in a set's folder now."""
        return self.disk.files(set_id)

    def whole(self, one: Known) -> bool:
        """Tell whether every byte is what was published."""
        return self.files(one.set_id) == one.stored

    def complete(self, one: Known) -> bool:
        """Tell whether a look at names, sizes, manifest and checksums shows nothing wrong."""
        return complete(one, self.files(one.set_id))

    def usable(self, set_id: str) -> bool:
        """Tell whether there is such a set, and ``list`` has to show it."""
        one = self.known.get(set_id)
        return one is not None and self.complete(one) and not one.checks.failed

    def listed(self) -> list[Known]:
        """Return the sets that ``list`` has to show."""
        return [one for one in self.known.values() if self.usable(one.set_id)]

    def standing(self, set_id: str, manifest: bytes) -> Checks:
        """Return what is recorded about the set with this manifest."""
        note = self.disk.note(set_id + ".verified.json")
        checks = note.get("checks", []) if isinstance(note, dict) else []
        sha256 = hashlib.sha256(manifest).hexdigest()
        return Checks(
            frozenset(
                (one["level"], "passed" if one["ok"] else "unproved" if one["unproved"] else "failed")
                for one in checks
                if one["manifest_sha256"] == sha256
            )
        )

    def pin(self, set_id: str) -> str:
        """Return the reason beside a set; empty without one."""
        name = set_id + ".pinned.json"
        note = self.disk.note(name)
        return note.get("reason", "?") if isinstance(note, dict) else "?" if name in self.disk.names() else ""


def complete(one: Known, files: dict[str, bytes]) -> bool:
    """Tell whether names and sizes, and the content of the manifest and its checksums, are as published."""
    small = [name for name in one.stored if "/" not in name]
    return all(files.get(name) == one.stored[name] for name in small) and all(
        len(files.get(name, b"")) == len(data) and name in files for name, data in one.stored.items()
    )
