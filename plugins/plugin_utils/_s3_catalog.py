# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What is known of the sets in a bucket, in one object beside them, so that a list needs few requests.

It is a memory and no truth: which sets there are, and how long their artifacts are, the listing says. What is
remembered of a set counts only while its objects have the ETags that they had; what is not remembered is read.
"""

from __future__ import annotations

import json
import typing as t
import zlib

CATALOG = ".catalog"
_FORMAT = 1

#: The names of a set's small objects with their ETags.
ETags = dict[str, str]


class Known(t.NamedTuple):
    """What was found out about a set: its brief manifest, and the SHA-256 of the whole one."""

    etags: ETags
    sha256: str
    manifest: dict[str, t.Any]


class Catalog(t.NamedTuple):
    """What is remembered.

    :ivar sets: by their ids.
    :ivar notes: ETag and content of the files beside the sets, by their names.
    """

    sets: dict[str, Known]
    notes: dict[str, tuple[str, str]]

    def known(self, set_id: str, etags: ETags) -> Known | None:
        """Return what is known of a set whose objects have these ETags."""
        found = self.sets.get(set_id)
        return found if found is not None and etags and found.etags == etags else None

    def note(self, name: str, etag: str) -> bytes | None:
        """Return the content of a note that has this ETag."""
        found = self.notes.get(name)
        return found[1].encode("utf-8") if found is not None and etag and found[0] == etag else None


def load(data: bytes | None) -> Catalog:
    """Return what the object remembers; nothing when it is not there, broken, or of another release."""
    try:
        found = json.loads(zlib.decompress(data or b""))
        if found["format"] == _FORMAT:
            sets = {set_id: Known(*known) for set_id, known in found["sets"].items()}
            return Catalog(sets, {name: (etag, text) for name, (etag, text) in found["notes"].items()})
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError):
        pass
    return Catalog({}, {})


def dump(catalog: Catalog) -> bytes:
    """Return the object's content."""
    return zlib.compress(json.dumps({"format": _FORMAT, **catalog._asdict()}, sort_keys=True).encode("ascii"))
