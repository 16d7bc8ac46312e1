# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Whether the file systems can hold the new copies together with what is live, which stays as long as it is kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _mounts, _space
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import free_bytes
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_names import (
    abandoned_copies,
    content_names,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_swap import way_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import count, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Work

#: What a file, directory or link costs on disk besides its content.
_OVERHEAD = 4096


class Need:
    """What a component needs of a file system, and what is removed there before anything is unpacked."""

    def __init__(self, work: Work) -> None:
        counts = work.record["fingerprint"]
        self.component = work.component
        self.folder = way_of(work.parts[0].place).folder()
        self.names = counts["files"] + counts["directories"] + counts["links"]
        self.size = counts["bytes"] + _OVERHEAD * self.names
        # What killed restores left, and in place what is live.
        leftovers: set[str] = set()
        for part in work.parts:
            leftovers.update(copy.path for copy in abandoned_copies(part.place.live))
            if part.place.in_place and os.path.isdir(part.place.live):
                live = part.place.live
                leftovers.update(os.path.join(live, name) for name in content_names(live))
        measured = [measure(path) for path in sorted(leftovers)]
        self.size_freed = sum(size for size, _names in measured)
        self.names_freed = sum(names for _size, names in measured)

    def part(self) -> dict[str, Any]:
        """Return it for the sum over all components."""
        what = "the new copy of %s" % self.component
        return _space.part(self.component, what, _mounts.file_system(self.folder), self.size, self.size_freed)


def needs(work: list[Work]) -> list[Need]:
    """What each component needs."""
    return [Need(item) for item in work]


def check_space(found: list[Need]) -> list[str]:
    """Blockers for file systems that cannot hold the new copies beside the live ones."""
    together: dict[int, list[Need]] = {}
    for need in found:
        together.setdefault(os.stat(need.folder).st_dev, []).append(need)
    return [blocker for on_it in together.values() for blocker in _blockers(on_it)]


def _blockers(on_it: list[Need]) -> Iterator[str]:
    folder, size = on_it[0].folder, sum(need.size for need in on_it)
    free = free_bytes(folder) + sum(need.size_freed for need in on_it)
    if size > free:
        yield "%s has %s free; the new copies need %s" % (folder, format_bytes(free), format_bytes(size))
    names, names_freed = sum(need.names for need in on_it), sum(need.names_freed for need in on_it)
    figures = os.statvfs(folder)
    # Some file systems count no inodes.
    if figures.f_files and names > figures.f_favail + names_freed:
        yield "%s has inodes for %s more; the new copies need %d" % (
            folder,
            count(figures.f_favail + names_freed, "file"),
            names,
        )


def measure(path: str) -> tuple[int, int]:
    """Bytes and inodes that a file or a tree takes, and that removing it frees."""
    info = os.lstat(path)
    seen = {(info.st_dev, info.st_ino): info.st_blocks * 512}
    for folder, _folders, files in os.walk(path):
        for place in [folder] + [os.path.join(folder, name) for name in files]:
            info = os.lstat(place)
            seen[info.st_dev, info.st_ino] = info.st_blocks * 512
    return sum(seen.values()), len(seen)
