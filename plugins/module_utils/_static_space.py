# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Whether the file systems can hold the new copies together with what is live, which stays as long as it is kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import free_bytes
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_names import (
    abandoned_copies,
    content_names,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_swap import way_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import count, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Work

#: What a file, directory or link costs on disk besides its content.
_OVERHEAD = 4096


class _Need:
    """What all components together need of one file system."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.size = self.names = 0
        self._leftovers: set[str] = set()

    def add(self, work: Work) -> None:
        counts = work.record["fingerprint"]
        names = counts["files"] + counts["directories"] + counts["links"]
        self.names += names
        self.size += counts["bytes"] + _OVERHEAD * names
        for part in work.parts:
            self._leftovers.update(copy.path for copy in abandoned_copies(part.place.live))
            if part.place.in_place and os.path.isdir(part.place.live):
                live = part.place.live
                self._leftovers.update(os.path.join(live, name) for name in content_names(live))

    def blockers(self) -> Iterator[str]:
        # What killed restores left is removed before anything is unpacked, and in place what is live.
        size, names = 0, 0
        for path in sorted(self._leftovers):
            found = _measure(path)
            size, names = size + found[0], names + found[1]
        free = free_bytes(self.folder) + size
        if self.size > free:
            yield "%s has %s free; the new copies need %s" % (
                self.folder,
                format_bytes(free),
                format_bytes(self.size),
            )
        figures = os.statvfs(self.folder)
        # Some file systems count no inodes.
        if figures.f_files and self.names > figures.f_favail + names:
            yield "%s has inodes for %s more; the new copies need %d" % (
                self.folder,
                count(figures.f_favail + names, "file"),
                self.names,
            )


def check_space(work: list[Work]) -> list[str]:
    """Blockers for file systems that cannot hold the new copies beside the live ones."""
    needs: dict[int, _Need] = {}
    for item in work:
        folder = way_of(item.parts[0].place).folder()
        needs.setdefault(os.stat(folder).st_dev, _Need(folder)).add(item)
    return [blocker for need in needs.values() for blocker in need.blockers()]


def _measure(path: str) -> tuple[int, int]:
    """Bytes and inodes that removing a file or a tree frees."""
    info = os.lstat(path)
    seen = {(info.st_dev, info.st_ino): info.st_blocks * 512}
    for folder, _folders, files in os.walk(path):
        for place in [folder] + [os.path.join(folder, name) for name in files]:
            info = os.lstat(place)
            seen[info.st_dev, info.st_ino] = info.st_blocks * 512
    return sum(seen.values()), len(seen)
