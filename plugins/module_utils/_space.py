# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Whether the file systems hold all that a restore makes, worked out before the first of it is made. Pure.

Each component says what it needs and where. A file system is known by the kernel and its number there, so what lies on
the host, in a container on it, and in the store of a controller that is the same machine, is added up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_bytes

if TYPE_CHECKING:
    from typing import Iterator, Mapping, Sequence

#: The component of what is saved first.
SAFETY_SET = "safety set"
#: In place these are made while what is live is still there.
_ASIDE = ("redis", "config")


class FileSystem(NamedTuple):
    """Where something is written.

    :ivar path: a folder on it, for people; empty where none is known.
    :ivar device: the same for every folder on it; empty where that cannot be told.
    :ivar available: bytes that may still be written, None where nobody knows.
    :ivar unseen: why nobody knows.
    """

    path: str
    device: str = ""
    available: int | None = None
    unseen: str = ""


class Shortage(NamedTuple):
    """A file system that does not hold its parts.

    :ivar lacks: bytes.
    """

    path: str
    available: int
    lacks: int
    parts: list[dict[str, Any]]


def part(component: str, what: str, place: FileSystem, needed: int, freed: int = 0) -> dict[str, Any]:
    """Return what a component needs on a file system, as a module's result has it.

    :param what: what is made there, for people.
    :param needed: bytes.
    :param freed: bytes that it gives back before, since it removes something.
    """
    return {"component": component, "what": what, **place._asdict(), "needed": needed, "freed": freed}


def stored_size(component: str, size: int, manifest: Mapping[str, Any]) -> int:
    """Return about how many bytes a set takes to save a component.

    As much of its size as in the set that is restored, which is of the same instance.

    :param size: bytes of what is there now.
    """
    stored = sum(entry["size"] for entry in manifest["artifacts"] if entry["component"] == component)
    record = manifest["components"].get(component, {})
    if component == "postgresql":
        databases = [record, *record.get("other_databases", {}).values()]
        plain = sum(database.get("database_bytes") or 0 for database in databases)
    else:
        plain = (record.get("fingerprint") or {}).get("bytes") or 0
    return size * stored // plain if plain else min(size, stored) if stored else size


def shortages(parts: Sequence[Mapping[str, Any]], in_place: bool) -> list[Shortage]:
    """Return the file systems on which the parts do not fit, in the order in which they are made.

    A safety set alone is left to be tried: how large it gets is only known then, and nothing was touched yet.

    :param parts: as of :func:`part`; the safety set first, then the components in the order of a restore.
    :param in_place: what is live goes before its copy is made.
    """
    found = []
    for on_it in together(parts):
        available = on_it[0]["available"]
        if available is None or all(one["component"] == SAFETY_SET for one in on_it):
            continue
        used = most = 0
        for change in _changes(on_it, in_place):
            used += change
            most = max(most, used)
        if most > available:
            found.append(Shortage(on_it[0]["path"], available, most - available, on_it))
    return found


def together(parts: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the parts by file system. What lies on one that nobody can tell from others is on one of its own."""
    found: dict[str, list[dict[str, Any]]] = {}
    for number, one in enumerate(parts):
        found.setdefault(one["device"] or "%d" % number, []).append(dict(one))
    return list(found.values())


def _changes(parts: Sequence[Mapping[str, Any]], in_place: bool) -> Iterator[int]:
    """Yield how many bytes more are in use after each step."""
    first = [one for one in parts if one["component"] == SAFETY_SET or (in_place and one["component"] in _ASIDE)]
    for one in first:
        yield one["needed"]
    rest = [one for one in parts if one not in first]
    if in_place:
        yield -sum(one["freed"] for one in rest)
    for one in rest:
        yield one["needed"] - (0 if in_place else one["freed"])


def sentence(parts: Sequence[Mapping[str, Any]]) -> str:
    """Say what the parts on one file system need, for the plan and for a refusal."""
    said = []
    for one in parts:
        text = "%s about %s" % (one["what"], format_bytes(one["needed"]))
        if one["freed"]:
            text += ", once %s were given back" % format_bytes(one["freed"])
        said.append(text)
    return "; ".join(said)


def plan(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each file system that more than one part is written to."""
    return [
        "space: the file system of %s has %s free, for: %s"
        % (on_it[0]["path"], format_bytes(on_it[0]["available"]), sentence(on_it))
        for on_it in together(parts)
        if len(on_it) > 1 and on_it[0]["available"] is not None
    ]


def refusal(parts: Sequence[Mapping[str, Any]], in_place: bool) -> str:
    """Return why the restore cannot begin, in the words of the roles; empty where everything fits."""
    found = shortages(parts, in_place)
    if not found:
        return ""
    said = [
        "The file system of %s has %s free, which is %s too little for all that is written to it: %s."
        % (one.path, format_bytes(one.available), format_bytes(one.lacks), sentence(one.parts))
        for one in found
    ]
    made = {one["component"] for shortage in found for one in shortage.parts}
    return " ".join([*said, "Nothing was stopped or changed. Ways out: %s." % "; ".join(_ways_out(made, in_place))])


def _ways_out(made: set[str], in_place: bool) -> Iterator[str]:
    yield (
        "remove what earlier restores keep there (ansible-playbook authentik_ops.recovery.cleanup), or make that much "
        "room otherwise"
    )
    if SAFETY_SET in made:
        yield "name a store on another file system with authentik_store for the safety set, after copying the set there"
    if made & {"redis", "config"}:
        yield "name a folder on another file system with authentik_work_dir"
    if made - {SAFETY_SET, "redis", "config", "postgresql"}:
        yield "give directories another place with authentik_restore_paths"
    if not in_place and made - {SAFETY_SET, "redis", "config"}:
        yield (
            "authentik_restore_mode=in_place, which removes what is live before its copy is made, once its safety set"
            " was verified"
        )
