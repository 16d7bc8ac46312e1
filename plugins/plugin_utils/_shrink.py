# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Whether an instance lost so much from one set to the next that the older ones may be needed. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import artifacts_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._object_index import COMPONENT
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_bytes

# What authentik empties by itself: nothing of it is missed by anybody who lost it.
_VOLATILE = re.compile(
    r"session|token|cache|_tasks?(_|log$|$)|task|event|notification|channels|reputation|code$|worker"
)
# Fewer than this say nothing when they become half as many.
_FEW_ROWS, _FEW_FILES, _FEW_BYTES = 10, 10, 256 * 1024
_BYTES, _ROWS = "bytes", "rows in all"
#: Redis holds what expires. Its size says nothing.
_NOT_MEASURED = ("redis",)


class Count(t.NamedTuple):
    """A number that should not shrink: what of, how many, and from how many on it says anything."""

    what: str
    number: int
    few: int


def measure(manifest: dict[str, t.Any], component: str) -> dict[str, Count]:
    """Return the counts of one component of a set, by what they count."""
    if component in _NOT_MEASURED:
        return {}
    record = manifest["components"][component]
    size = sum(artifact["plain_size"] for artifact in artifacts_of(manifest, component))
    # Packs of a bucket's objects shrink by what was deleted long ago: its objects are what counts.
    counts = [] if component == COMPONENT else [Count(_BYTES, size, _FEW_BYTES)]
    fingerprint = record.get("fingerprint") or {}
    if isinstance(fingerprint.get("files"), int):
        counts.append(Count("files", fingerprint["files"], _FEW_FILES))
        counts.append(Count("bytes of its files", fingerprint["bytes"], _FEW_BYTES))
    tables = {
        name: table["rows"]
        for name, table in fingerprint.get("tables", {}).items()
        if table.get("data") != "excluded" and not _VOLATILE.search(name.rpartition(".")[2])
    }
    counts += [Count("rows of %s" % name, rows, _FEW_ROWS) for name, rows in sorted(tables.items())]
    if tables:
        counts.append(Count(_ROWS, sum(tables.values()), _FEW_ROWS))
    return {one.what: one for one in counts}


def losses(older: dict[str, Count], newer: dict[str, Count], limit: float) -> list[str]:
    """Return what shrank below a share of what it was, each with both numbers.

    A table that is not there any more is none that shrank: releases drop tables. Its rows count among all.

    :param limit: the share that has to be left, from 0 (anything may go) to 1.
    """
    found = []
    for what, before in older.items():
        after = newer.get(what)
        if after is not None and before.number >= before.few and after.number < before.number * limit:
            show: t.Callable[[float], t.Any] = format_bytes if "bytes" in what else int
            found.append("%s: %s, before %s" % (what, show(after.number), show(before.number)))
    return found
