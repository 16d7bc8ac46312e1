# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Where a directory is restored to, also in an instance that is laid out otherwise, and the names used on the way.

Before authentik 2025.12 uploaded files lie in ``media``. From then on they lie in ``data/media``, and reports beside
them in ``data/reports``. An instance whose storage path holds other things too has those two as directories of their
own.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _mounts, _static_names
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

#: Before authentik 2024.2 these lay in the directory itself; since then in a folder for the default tenant.
_OLD_FOLDERS = frozenset(("application-icons", "source-icons", "flow-backgrounds"))
DEFAULT_TENANT = "public"
_REPORTS = "extra-reports"


class Place(NamedTuple):
    """Where a component is restored to, and the names used on the way.

    :ivar inside: whether the copies are inside the directory, because it cannot be renamed.
    :ivar in_place: whether what the directory holds is removed before its copy is unpacked, because both do not fit.
    """

    component: str
    live: str
    new: str
    before: str
    inside: bool
    restore_id: str
    in_place: bool = False

    @property
    def whole(self) -> str:
        """Where a saved tree is unpacked of which only parts are wanted, or which goes one folder deeper."""
        return self.new + ".whole"


class Part(NamedTuple):
    """What of a saved tree goes to a place.

    :ivar inside: the folder of the tree that goes there; empty for all of it.
    :ivar deeper: whether a tree of before authentik 2024.2 goes into the folder of the default tenant there.
    """

    place: Place
    inside: str = ""
    deeper: bool = False


class Work(NamedTuple):
    """A component with its record, and where its parts go.

    :ivar said: sentences for the plan about an instance that is laid out otherwise.
    :ivar moved_to: the deployment of this instance where the owners in the set mean nothing here, else empty.
    """

    record: dict[str, Any]
    parts: tuple[Part, ...]
    said: tuple[str, ...] = ()
    moved_to: str = ""

    @property
    def component(self) -> str:
        return str(self.record["component"])

    @property
    def moves(self) -> bool:
        """Whether the tree is unpacked aside first, because it does not simply become the directory."""
        return any(part.inside or part.deeper for part in self.parts)


class Here(NamedTuple):
    """The instance to restore to.

    :ivar directories: component -> path.
    :ivar modern: whether it is of authentik 2025.12 or later; None where that is not known.
    :ivar reports: where reports go that lie apart from C(data), also where there are none yet; empty where they lie in
        it, or that is not known.
    :ivar moved: whether the set was made of another deployment, so that its paths mean nothing here.
    """

    directories: dict[str, str]
    deployment: str = "host"
    modern: bool | None = None
    moved: bool = False
    reports: str = ""

    @property
    def reports_apart(self) -> str:
        """Where reports go that do not lie in ``data``; empty where they do, or that is not known."""
        return self.directories.get(_REPORTS) or self.reports


def make_place(component: str, path: str, restore_id: str) -> Place:
    """:param path: the directory; where it is a symbolic link, the directory it leads to is the one replaced."""
    if not os.path.isabs(path) or os.path.normpath(path) == "/":
        raise InputError("%s cannot be restored to %r" % (component, path), "Give an absolute path, not /")
    return _place(component, os.path.realpath(path), restore_id)


def _place(component: str, live: str, restore_id: str) -> Place:
    if _goes_inside(live, restore_id):
        new = os.path.join(_static_names.inside(live, "new", restore_id), _static_names.TREE)
        return Place(component, live, new, _static_names.inside(live, "before", restore_id), True, restore_id)
    new, before = (_static_names.beside(live, kind, restore_id) for kind in ("new", "before"))
    return Place(component, live, new, before, False, restore_id)


def in_place(work: list[Work]) -> list[Work]:
    """The same, where what is live is removed first.

    Where nothing is, nothing has to be, and an undo goes by names. Of further parts the set may hold nothing: what is
    live is left alone then.
    """
    return [
        item._replace(parts=(first._replace(place=_in_place(first.place)), *rest))
        for item in work
        for first, *rest in [item.parts]
    ]


def _in_place(place: Place) -> Place:
    live = os.path.isdir(place.live) or os.path.islink(place.live)
    return place._replace(in_place=live and not os.path.lexists(place.before))


def _goes_inside(live: str, restore_id: str) -> bool:
    """Whether a directory cannot be renamed, though its entries can. What a restore began with, it goes on with."""
    begun = [
        copy
        for copy in _static_names.find_copies(live)
        if copy.restore_id == restore_id and copy.kind in ("before", "new")
    ]
    if begun:
        return begun[0].inside
    if not os.path.isdir(live) or os.path.islink(live):
        return False
    if _mounts.is_mount_point(live):
        return True
    return not os.access(os.path.dirname(live), os.W_OK | os.X_OK) and os.access(live, os.W_OK | os.X_OK)


def find_parts(record: dict[str, Any], given: str | None, here: Here, restore_id: str) -> Work:
    """Where a component goes: as told, else where the instance has it, else as the instance is laid out.

    :param given: the path that the option ``paths`` has for it.
    :raises InputError: a set of another deployment has a directory that this instance is not known to have.
    """
    name = str(record["component"])
    data, media = here.directories.get("data"), here.directories.get("media")
    # Objects of a bucket never had a path, and nothing told how they would lie on a disk.
    objects = not os.path.isabs(record["path"])
    path = given or here.directories.get(name)
    if objects and name == "data" and data and (media or here.reports_apart) and not given:
        return _split(record, here, restore_id)
    if path:
        deeper = name == "media" and not given and bool(here.modern)
        return Work(record, (Part(make_place(name, path, restore_id), deeper=deeper),))
    if name == _REPORTS and here.reports:
        said = "%s: it goes to %s, where this instance writes reports" % (name, here.reports)
        return Work(record, (Part(make_place(name, here.reports, restore_id)),), (said,))
    if data and name in ("media", _REPORTS):
        usage = name.replace("extra-", "")
        place = _within(name, data, usage, here, restore_id)
        said = "%s: this instance keeps it in its directory data, so it goes to %s" % (name, place.live)
        return Work(record, (Part(place, deeper=name == "media"),), (said,))
    if media and name == "data":
        return _split(record, here, restore_id)
    if objects or (here.moved and not name.startswith("extra-")):
        option = "data" if name == _REPORTS else name.replace("-", "_")
        raise InputError(
            "%s was saved from %s%s, and this instance has no such directory that could be found"
            % (name, record["path"], "" if objects else " of another deployment"),
            "Give its path with directories: {%s: /path}, or leave it out of the components" % option,
        )
    return Work(record, (Part(make_place(name, record["path"], restore_id)),))


def _within(name: str, data: str, usage: str, here: Here, restore_id: str) -> Place:
    path = os.path.join(os.path.realpath(data), usage)
    if here.deployment == "compose" and os.path.islink(path):
        # The image's own link: it leads somewhere in the container, not on this host. It is replaced itself.
        return _place(name, path, restore_id)
    return make_place(name, path, restore_id)


def _split(record: dict[str, Any], here: Here, restore_id: str) -> Work:
    """Put media and reports apart, for an instance that has either in a directory of its own."""
    data, media, reports = here.directories.get("data", ""), here.directories.get("media"), here.reports_apart
    own = "uploaded files" if media else "reports"
    place = make_place("data", media, restore_id) if media else _within("data", data, "media", here, restore_id)
    parts = [Part(place, "media")]
    if not reports and data:
        reports = os.path.join(data, "reports")
    elif not reports and media and _has_beside(media, here):
        reports = os.path.join(os.path.dirname(os.path.normpath(media)), "reports")
    said = "data: this instance has a directory of its own for %s, so media of it goes to %s" % (
        own,
        media or place.live,
    )
    if reports:
        parts.append(Part(make_place("data", reports, restore_id), "reports"))
        said += ", and reports of it to %s" % reports
    return Work(record, tuple(parts), (said,))


def _has_beside(media: str, here: Here) -> bool:
    """Whether reports lie beside media. In a container they do not where media alone are mounted."""
    beside = here.deployment == "host" and here.modern is not False
    return beside and os.path.basename(os.path.normpath(media)) == "media"


def is_old_layout(names: list[str]) -> bool:
    """Whether these are the names in a directory of uploaded files of before authentik 2024.2."""
    return DEFAULT_TENANT not in names and not _OLD_FOLDERS.isdisjoint(names)
