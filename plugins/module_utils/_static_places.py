# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Where a directory is restored to, and the names beside it that a restore uses on the way."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import ID_PATTERN


class Place(NamedTuple):
    """Where a component is restored to, and the names used on the way."""

    component: str
    live: str
    new: str
    before: str


def make_place(component: str, path: str, restore_id: str) -> Place:
    """:param path: the directory; where it is a symbolic link, the directory it leads to is the one replaced."""
    if not os.path.isabs(path) or os.path.normpath(path) == "/":
        raise InputError("%s cannot be restored to %r" % (component, path), "Give an absolute path, not /")
    live = os.path.realpath(path)
    return Place(component, live, "%s.new-%s" % (live, restore_id), "%s.before-%s" % (live, restore_id))


def free_name(wanted: str) -> str:
    """Return ``wanted``, or the first of ``wanted_2``, ``wanted_3`` ... that is not taken."""
    name, number = wanted, 1
    while os.path.lexists(name):
        number += 1
        name = "%s_%d" % (wanted, number)
    return name


def abandoned_copies(place: Place) -> list[str]:
    """Copies of this directory that other restores prepared and never swapped in."""
    parent, name = os.path.split(place.live)
    pattern = re.escape(name) + r"\.new-(%s)" % ID_PATTERN
    found = [match for match in (re.fullmatch(pattern, entry) for entry in sorted(os.listdir(parent))) if match]
    # Where the other name exists, that restore was half swapped: undoing it is the operator's to decide.
    return [
        os.path.join(parent, match.group())
        for match in found
        if not os.path.lexists("%s.before-%s" % (place.live, match.group(1)))
    ]
