# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Which objects of a bucket have to be read, and which packs of earlier sets still hold what is there. Pure."""

from __future__ import annotations

import typing as t

# Each pack is an artifact of each later set: not more than this, and when there are more, half as many.
MAX_PACKS = 32
_BLOCK = 512


class Listed(t.NamedTuple):
    """An object as the bucket lists it.

    :ivar version_id: pinned by the listing; empty where the bucket keeps no versions.
    :ivar modified: as :func:`_text.format_utc` writes it.
    """

    key: str
    size: int
    etag: str
    version_id: str
    modified: str

    @property
    def pinned(self) -> bool:
        """Whether it stays there as it is: a version of the time before they were kept is replaced like any object."""
        return self.version_id not in ("", "null")


class Plan(t.NamedTuple):
    """What is done with each object.

    :ivar kept: entries of the earlier index that are taken over as they are.
    :ivar touched: objects whose content is that of the earlier entry, and that were written since.
    :ivar read: objects whose content is read.
    :ivar deleted: keys that are gone.
    """

    kept: list[dict[str, t.Any]]
    touched: list[tuple[Listed, dict[str, t.Any]]]
    read: list[Listed]
    deleted: list[str]


def compare(listed: t.Iterable[Listed], earlier: t.Iterable[dict[str, t.Any]], packs: t.Collection[str]) -> Plan:
    """Compare a listing with the earlier index.

    :param packs: those of the earlier set that can be taken over; what lies in others is read again.
    """
    known = {entry["key"]: entry for entry in earlier}
    plan = Plan([], [], [], [])
    for one in listed:
        entry = known.pop(one.key, None)
        if entry is None or entry["pack"] not in packs or (entry["etag"], entry["size"]) != (one.etag, one.size):
            plan.read.append(one)
        elif (entry["modified"], entry["version_id"]) != (one.modified, one.version_id):
            plan.touched.append((one, entry))
        else:
            plan.kept.append(entry)
    plan.deleted.extend(sorted(known))
    return plan


def packs_to_keep(
    listed: t.Iterable[Listed], earlier: t.Iterable[dict[str, t.Any]], sizes: t.Mapping[str, int]
) -> set[str]:
    """Return which packs of the earlier set are worth being kept.

    A pack of which more than half is gone is not: what lives of it is read again, so that sets do not grow for ever.

    :param sizes: bytes of the content of each pack that is sound.
    """
    now = {one.key: (one.etag, one.size) for one in listed}
    living = dict.fromkeys(sizes, 0)
    for entry in earlier:
        if entry["pack"] in living and now.get(entry["key"]) == (entry["etag"], entry["size"]):
            living[entry["pack"]] += _BLOCK + entry["size"] + -entry["size"] % _BLOCK
    keep = [path for path, size in living.items() if size and size * 2 >= sizes[path] - 2 * _BLOCK]
    if len(keep) > MAX_PACKS:
        keep = sorted(keep, key=lambda path: living[path])[-(MAX_PACKS // 2) :]
    return set(keep)
