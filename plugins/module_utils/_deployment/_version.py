# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""authentik version numbers: ``2025.12.4`` belongs to the train ``2025.12``."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

_VERSION = re.compile(r"(?P<year>20\d\d)\.(?P<month>\d{1,2})(?:\.(?P<patch>\d+))?(?P<suffix>(?:-?rc|[-+.])\S*)?")


def find_version(text: str) -> str | None:
    """Return the version number in *text* (``version/2026.8.0``, ``v2025.2.1``, ``"2024.6.4"``), or None."""
    for line in text.splitlines():
        found = re.search(r"(?<![\d.])" + _VERSION.pattern, line.strip().strip("\"'"))
        if found:
            return found.group(0).rstrip("\"'")
    return None


def train_of(version: str) -> str | None:
    """Return the release train of a version, ``2025.12`` for ``2025.12.4``, or None for anything else."""
    found = _VERSION.match(version)
    return "%s.%d" % (found.group("year"), int(found.group("month"))) if found else None


def train_key(version: str | None) -> tuple[int, int] | None:
    """Return ``(2025, 12)`` for ``2025.12.4``, for comparing; None for anything that is no version."""
    found = _VERSION.match(version or "")
    return (int(found.group("year")), int(found.group("month"))) if found else None


def patch_of(version: str) -> int:
    """Return the number of a version within its train, 4 for ``2025.12.4``; 0 where it has none."""
    found = _VERSION.match(version)
    return int(found.group("patch") or 0) if found else 0


def newer_than_last(history: Sequence[str]) -> str | None:
    """Return the newest version that ran before an older train did: the tables are as that one left them.

    authentik notes every version that starts, also one that is started on the tables of a later train. The latest note
    then says less than the tables are.

    :param history: versions in the order in which they were noted, the latest first.
    :returns: None for a history that only goes forward.
    """
    keys = [train_key(version) for version in history]
    last = keys[0] if keys else None
    newer = [(key, patch_of(text), text) for key, text in zip(keys, history) if key and last and key > last]
    return max(newer)[2] if newer else None
