# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Directories come back in steps: checked, built beside or inside the live one and proved, swapped and undone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import (
    _mounts,
    _object_index,
    _static,
    _static_move,
    _static_names,
    _static_objects,
    _static_owners,
    _tar_extract,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    SpaceError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import artifacts_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import (
    Here,
    Place,
    Work,
    find_parts,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_space import check_space, needs
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_swap import (
    clear,
    swap,
    target_blockers,
    undo,
    way_of,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import count, format_bytes
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import TreeDigest, differences

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySource
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._spool_source import SpoolSource


def choose(manifest: dict[str, Any], components: list[str] | None) -> tuple[list[dict[str, Any]], list[str]]:
    """The records of directories to restore from a set, with the manifest's entries of their artifacts, and sentences
    about those left alone.

    :param components: the ones to restore; None for all directories that the set holds. The objects of a bucket have to
        be named, by C(s3), to become a directory.
    :raises InputError: one that the set does not hold, or that was saved within another.
    """
    directories = {
        name: record
        for name, record in manifest["components"].items()
        if name in _static.DIRECTORIES or name.startswith("extra-")
    }
    if components is not None and (objects := _static_objects.record_of(manifest)) is not None:
        directories[_object_index.COMPONENT] = objects
    chosen, said = [], []
    for name in components if components is not None else sorted(directories):
        record = directories.get(name)
        artifacts = artifacts_of(manifest, name)
        if record is None:
            raise InputError(
                "The backup set holds no directory %s" % name,
                "It holds: %s" % (", ".join(sorted(directories)) or "none"),
            )
        if artifacts:
            chosen.append(dict(record, artifacts=artifacts))
        elif record.get("state") == "inside":
            said.append("%s: lies within %s and comes back with it" % (name, record["inside"]))
            if components is not None and record["inside"] not in components:
                raise InputError(
                    "%s was saved within %s" % (name, record["inside"]), "Restore the component %s" % record["inside"]
                )
        else:
            said.append("%s: was not there when the set was made; what is there now is left alone" % name)
    return chosen, said


def make_work(records: list[dict[str, Any]], paths: dict[str, str], here: Here, restore_id: str) -> list[Work]:
    """Each record with its places.

    :param paths: the option: component -> path. Objects go by C(s3), and by what they become.
    :raises InputError: a path for a component that is not restored, or two components in one place.
    """
    names = [name for record in records for name in (_static_objects.asked_as(record), record["component"])]
    for component in paths:
        if component not in names:
            raise InputError(
                "paths names %s, which is not restored" % component, "Restored are: %s" % (", ".join(names) or "none")
            )
    work = [_find(record, paths, here, restore_id) for record in records]
    places = [(_static_objects.asked_as(item.record), part.place) for item in work for part in item.parts]
    for index, (name, place) in enumerate(places):
        for other_index, (other_name, other) in enumerate(places):
            if other_index != index and (other.live + "/").startswith(place.live + "/"):
                raise InputError(
                    "%s would be restored to %s, which is not apart from %s (%s)"
                    % (other_name, other.live, place.live, name),
                    _one_after_the_other(name, other_name)
                    if other.live != place.live and not paths
                    else "Give one of them another place with paths, or leave it out",
                )
    return work


def _find(record: dict[str, Any], paths: dict[str, str], here: Here, restore_id: str) -> Work:
    given = paths.get(_static_objects.asked_as(record), paths.get(record["component"]))
    foreign = here.moved or _static_objects.are_objects(record)
    return find_parts(record, given, here, restore_id)._replace(moved_to=here.deployment if foreign else "")


def _one_after_the_other(outer: str, inner: str) -> str:
    return (
        "Restore the set without %s first, which %s would hold; then, from the same set, %s alone with components: [%s]"
        % (inner, outer, inner, inner)
    )


def check(work: Work, source: DirectorySource | SpoolSource) -> tuple[list[str], list[str]]:
    """Read the whole archive and look at the target, changing nothing.

    :returns: sentences for the plan, and blockers.
    :raises IntegrityError: the archive is damaged, unsafe, or not what the manifest says.
    """
    record = work.record
    blockers = [blocker for part in work.parts for blocker in target_blockers(part.place)]
    digest = TreeDigest()
    foreign = []
    names: dict[str, str] = {}
    saved: _static_owners.Owner | None = None
    with _static_objects.open_tree(record, source) as reader:
        for member in _tar_extract.watch_members(reader, digest):
            problem = _tar_extract.foreign_owners(member)
            if problem:
                foreign.append(problem)
            if member.path == b".":
                saved = _static_owners.Owner(member.uid, member.gid)
            elif b"/" not in member.path:
                names[os.fsdecode(member.path)] = member.kind
    _compare(record, digest.fingerprint(), record["artifacts"][0]["path"])
    if foreign:
        blockers.append(
            "%s: only root restores owners, run the task with become: true (%s%s)"
            % (work.component, foreign[0], ", and %d more" % (len(foreign) - 1) if len(foreign) > 1 else "")
        )
    if len({_file_system(part.place) for part in work.parts}) > 1:
        blockers.append(
            "%s: %s are on different file systems; give it another place with paths"
            % (work.component, " and ".join(part.place.live for part in work.parts))
        )
    counts = record["fingerprint"]
    plan = [
        "%s: %s, %s, would be unpacked to %s, proved equal to the backup, and %s"
        % (
            work.component, count(counts["files"], "file"), format_bytes(counts["bytes"]), _copy(work),
            "; ".join(
                ("put in the place of %s" if part.place.in_place else "swapped with %s by rename") % part.place.live
                for part in work.parts
            ),
        )
    ]  # fmt: skip
    plan += _static_move.describe(work, names) + _static_owners.describe(work, saved)
    for part in work.parts:
        plan += way_of(part.place).fate([] if work.moves else list(names))
        if record["path"] != part.place.live:
            plan.append("%s: the backup was made of %s" % (work.component, record["path"]))
    for path, target in sorted(record.get("outside_links", {}).items()):
        plan.append("%s: %s is a symbolic link that leads outside, to %s" % (work.component, path, target))
    return list(dict.fromkeys(plan)), blockers


def _file_system(place: Place) -> tuple[int, str]:
    """What rename does not lead out of."""
    folder = os.path.realpath(way_of(place).folder())
    return os.stat(folder).st_dev, _mounts.mount_of(folder)


def _copy(work: Work) -> str:
    """Where the tree is unpacked."""
    first = work.parts[0].place
    return first.whole if work.moves else first.new


def prepare(work: Work, source: DirectorySource | SpoolSource) -> list[str]:
    """Unpack beside, or inside, the live directory and prove the copy equal to the fingerprint.

    :returns: warnings.
    :raises IntegrityError: the copy is not equal; it was removed.
    """
    ways = [way_of(part.place) for part in work.parts]
    made = [os.path.dirname(part.place.live) for part in work.parts]
    made = [parent for parent in made if not os.path.isdir(parent)]
    try:
        for way in ways:
            way.make_room()
        warnings = _unpack(work, source, _copy(work))
        _static_owners.give(work, _copy(work))
        if work.moves:
            for parent in made:
                _static_move.dress_like(_copy(work), parent)
            warnings += _static_move.arrange(work)
            for way in ways[1:]:
                # Of the further parts the set may hold none.
                if not os.path.lexists(way.place.new):
                    way.clear()
    except BaseException:
        for way in ways:
            way.clear()
        raise
    return warnings


def _barred(work: Work) -> list[str]:
    """Why nothing can be prepared, in sentences."""
    places = [part.place for part in work.parts]
    full = [place for place in places if place.in_place and _static_names.content_names(place.live)]
    return (
        [blocker for place in places for blocker in target_blockers(place)]
        + ["%s still holds something, and in place it is removed first: run step: clear" % place.live for place in full]
        + [
            "%s exists: this restore was swapped in already" % place.before
            for place in places
            if os.path.lexists(place.before)
        ]
    )


def _unpack(work: Work, source: DirectorySource | SpoolSource, copy: str) -> list[str]:
    record, gone = work.record, any(part.place.in_place for part in work.parts)
    fd = _tar_extract.make_folder(copy)
    try:
        extraction = _tar_extract.Extraction(fd, copy)
        try:
            with _static_objects.open_tree(record, source) as reader:
                extraction.extract(reader)
            extraction.finish()
        finally:
            extraction.close()
        _findings, found = _static.digest_tree(copy)
        _compare(record, found, copy, _RESTORE_SAFETY_SET if gone else _CHOOSE_ANOTHER)
    finally:
        os.close(fd)
    return extraction.warnings


_CHOOSE_ANOTHER = "Nothing live was changed; choose another backup set"
_RESTORE_SAFETY_SET = "What was live had been removed before: its safety set brings it back"


def _compare(record: dict[str, Any], found: dict[str, Any], what: str, hint: str = _CHOOSE_ANOTHER) -> None:
    said = differences(record["fingerprint"], found)
    if said:
        raise IntegrityError(
            "%s: %s is not equal to the backup's fingerprint: %s" % (record["component"], what, "; ".join(said)),
            hint,
        )


def restore(
    step: str,
    work: list[Work],
    open_source: Callable[[], DirectorySource | SpoolSource],
    pretend: bool,
) -> dict[str, Any]:
    """Do one step for several directories.

    :param step: ``check``, ``clear``, ``prepare``, ``swap`` or ``undo``.
    :param work: records as :func:`choose` gives them, with their places.
    :param open_source: called where artifacts are read.
    :param pretend: check mode: ``prepare`` and ``swap`` do what ``check`` does, ``undo`` only says what it would do.
    :returns: ``changed``, ``plan`` (sentences), ``warnings`` and, of a check, ``space``: see ``_space.part``.
    """
    plan: list[str] = []
    warnings: list[str] = []
    more: dict[str, Any] = {}
    changed = step != "check"
    if step == "undo":
        for item in reversed(work):
            plan += undo(item, pretend)
        changed = bool(plan)
    elif step == "clear":
        _refuse([blocker for item in work for part in item.parts for blocker in target_blockers(part.place)], [])
        plan = clear(work, pretend)
        changed = bool(plan)
    elif step == "check" or pretend:
        plan, more["space"] = _check_all(work, open_source())
        changed = changed and bool(work)
    elif step == "prepare":
        source = open_source()
        work = [_static_objects.read(item, source) for item in work]
        _refuse([blocker for item in work for blocker in _barred(item)], check_space(needs(work)))
        for item in work:
            for part in item.parts:
                way_of(part.place).clear_rest()
        for item in work:
            warnings += prepare(item, source)
            plan += [
                "%s: %s is equal to the backup, ready to be swapped in" % (item.component, part.place.new)
                for part in item.parts
                if os.path.lexists(part.place.new)
            ]
    else:
        swapped = [place for item in work for place in swap(item)]
        plan = [_swapped(place) for place in swapped]
        changed = bool(swapped)
    return {"changed": changed, "plan": plan, "warnings": warnings, **more}


def _swapped(place: Place) -> str:
    if place.in_place:
        return "%s: %s was put in its place" % (place.component, place.live)
    return "%s: %s was swapped in; kept: %s" % (place.component, place.live, place.before)


def _check_all(work: list[Work], source: DirectorySource | SpoolSource) -> tuple[list[str], list[dict[str, Any]]]:
    plan: list[str] = []
    blockers: list[str] = []
    work = [_static_objects.read(item, source) for item in work]
    for item in work:
        sentences, found = check(item, source)
        plan += sentences
        blockers += found
    needed = needs(work)
    _refuse(blockers, check_space(needed))
    return plan, [need.part() for need in needed]


def _refuse(blockers: list[str], space: list[str]) -> None:
    if blockers:
        raise StateError("The restore cannot go ahead: %s" % "; ".join(blockers + space))
    if space:
        raise SpaceError(
            "; ".join(space),
            "Free some space, restore to another file system with paths, or give mode=in_place, which removes what is "
            "live before",
            "df -h",
        )
