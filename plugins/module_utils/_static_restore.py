# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Directories come back in steps: checked, built beside the live one and proved, swapped by rename, undone by rename.

All state is in two names beside the directory: ``<dir>.new-<restore id>`` and ``<dir>.before-<restore id>``. Where no
directory was before, an empty *file* takes the second name, so that undo knows. What was written into a restored
directory before it was undone is in no backup: such a directory stays, as ``<dir>.undone-<restore id>``.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _static, _tar_codec, _tar_extract
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    RecoveryError,
    SpaceError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import (
    free_bytes,
    fsync_directory,
    write_private,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import artifacts_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import (
    Place,
    abandoned_copies,
    free_name,
    make_place,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import count, format_bytes
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import TreeDigest, differences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySource
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._spool_source import SpoolSource

#: What a file, directory or link costs on disk besides its content.
_OVERHEAD = 4096


def choose(manifest: dict[str, Any], components: list[str] | None) -> tuple[list[dict[str, Any]], list[str]]:
    """The records of directories to restore from a set, with the manifest's entries of their artifacts, and sentences
    about those left alone.

    :param components: the ones to restore; None for all that the set holds.
    :raises InputError: one that the set does not hold, or that was saved within another.
    """
    directories = {
        name: record
        for name, record in manifest["components"].items()
        if name in _static.DIRECTORIES or name.startswith("extra-")
    }
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


def make_work(
    records: list[dict[str, Any]], paths: dict[str, str], known: dict[str, str], restore_id: str
) -> list[tuple[dict[str, Any], Place]]:
    """Each record with its place: the option ``paths``, else where the instance has it, else where it was saved from.

    :raises InputError: a path for a component that is not restored, or two components in one place.
    """
    names = [record["component"] for record in records]
    for component in paths:
        if component not in names:
            raise InputError(
                "paths names %s, which is not restored" % component, "Restored are: %s" % (", ".join(names) or "none")
            )
    work = []
    for record in records:
        name = record["component"]
        work.append((record, make_place(name, paths.get(name) or known.get(name) or record["path"], restore_id)))
    for _record, place in work:
        for _other_record, other in work:
            if other.component != place.component and (other.live + "/").startswith(place.live + "/"):
                raise InputError(
                    "%s would be restored to %s, which is not apart from %s (%s)"
                    % (other.component, other.live, place.live, place.component),
                    "Give one of them another place with paths",
                )
    return work


def check(record: dict[str, Any], place: Place, source: DirectorySource | SpoolSource) -> tuple[list[str], list[str]]:
    """Read the whole archive and look at the target, changing nothing.

    :returns: sentences for the plan, and blockers.
    :raises IntegrityError: the archive is damaged, unsafe, or not what the manifest says.
    """
    blockers = _target_blockers(place)
    digest = TreeDigest()
    foreign = []
    with _tar_codec.open_archive(record, source) as reader:
        for member in _tar_extract.watch_members(reader, digest):
            problem = _tar_extract.foreign_owners(member)
            if problem:
                foreign.append(problem)
    _compare(record, digest.fingerprint(), "the archive")
    if foreign:
        blockers.append(
            "%s: only root restores owners, run the task with become: true (%s%s)"
            % (place.component, foreign[0], ", and %d more" % (len(foreign) - 1) if len(foreign) > 1 else "")
        )
    counts = record["fingerprint"]
    plan = [
        "%s: %s, %s, would be unpacked to %s, proved equal to the backup, and swapped with %s by rename"
        % (place.component, count(counts["files"], "file"), format_bytes(counts["bytes"]), place.new, place.live)
    ]
    if os.path.lexists(place.live):
        plan.append("%s: the present directory would be kept as %s" % (place.component, place.before))
    else:
        plan.append("%s: there is no %s now; it would be made" % (place.component, place.live))
    if record["path"] != place.live:
        plan.append("%s: the backup was made of %s" % (place.component, record["path"]))
    for path, target in sorted(record.get("outside_links", {}).items()):
        plan.append("%s: %s is a symbolic link that leads outside, to %s" % (place.component, path, target))
    return plan, blockers


def check_space(work: list[tuple[dict[str, Any], Place]]) -> list[str]:
    """Blockers for file systems that cannot hold the new copies beside the live ones."""
    needs: dict[int, tuple[int, str]] = {}
    for record, place in work:
        parent = _existing_parent(place.live)
        counts = record["fingerprint"]
        size = counts["bytes"] + _OVERHEAD * (counts["files"] + counts["directories"] + counts["links"])
        device = os.stat(parent).st_dev
        needs[device] = (needs.get(device, (0, ""))[0] + size, parent)
    return [
        "%s has %s free; the new copies need %s" % (parent, format_bytes(free_bytes(parent)), format_bytes(size))
        for size, parent in needs.values()
        if size > free_bytes(parent)
    ]


def prepare(record: dict[str, Any], place: Place, source: DirectorySource | SpoolSource) -> list[str]:
    """Unpack beside the live directory and prove the copy equal to the fingerprint.

    Copies that killed restores left, under this id or another one, are removed first: none was ever live.

    :returns: warnings.
    :raises IntegrityError: the copy is not equal; it was removed.
    """
    blockers = _target_blockers(place)
    if os.path.lexists(place.before):
        blockers.append("%s exists: this restore was swapped in already" % place.before)
    if blockers:
        raise StateError("; ".join(blockers))
    os.makedirs(os.path.dirname(place.live), exist_ok=True)
    for copy in [*abandoned_copies(place), place.new]:
        _remove(copy)
    fd = _tar_extract.make_folder(place.new)
    try:
        extraction = _tar_extract.Extraction(fd, place.new)
        try:
            with _tar_codec.open_archive(record, source) as reader:
                extraction.extract(reader)
            extraction.finish()
        finally:
            extraction.close()
        _findings, found = _static.digest_tree(place.new)
        _compare(record, found, place.new)
    except BaseException:
        _remove(place.new)
        raise
    finally:
        os.close(fd)
    return extraction.warnings


def swap(place: Place) -> bool:
    """Put the prepared copy in the live one's place; False when that was done already.

    :raises StateError: nothing was prepared.
    """
    if not os.path.lexists(place.new):
        if os.path.lexists(place.before) and os.path.lexists(place.live):
            return False
        raise StateError(
            "%s: nothing is prepared (%s does not exist)" % (place.component, place.new), "Run step: prepare first"
        )
    blockers = _target_blockers(place)
    if blockers:
        raise StateError("; ".join(blockers))
    if not os.path.lexists(place.before):
        if os.path.lexists(place.live):
            os.rename(place.live, place.before)
        else:
            write_private(place.before, b"", 0o400)
    elif os.path.lexists(place.live):
        raise StateError(
            "%s was made anew while this restore was half swapped; %s holds what was there before"
            % (place.live, place.before),
            "Run step: undo, which keeps both, and start again",
        )
    os.rename(place.new, place.live)
    fsync_directory(os.path.dirname(place.live))
    return True


def undo(record: dict[str, Any], place: Place, pretend: bool = False) -> list[str]:
    """Put back what was before and drop what was prepared; sentences saying what was done, none when nothing was.

    :param pretend: only say it.
    """
    said = []
    if os.path.lexists(place.before):
        aside, why = _aside(record, place)
        nothing_before = os.path.isfile(place.before)
        if os.path.lexists(place.live):
            said.append("%s: %s was moved out of the way" % (place.component, place.live))
            if why:
                said.append("%s: %s; it is kept as %s" % (place.component, why, aside))
        said.append(
            "%s: %s was put back%s"
            % (place.component, place.live, ", that is, there is none as before" if nothing_before else "")
        )
        if not pretend:
            if os.path.lexists(place.live):
                os.rename(place.live, aside)
            if nothing_before:
                os.unlink(place.before)
            else:
                os.rename(place.before, place.live)
            fsync_directory(os.path.dirname(place.live))
    if os.path.lexists(place.new):
        said.append("%s: the copy %s was removed" % (place.component, place.new))
        if not pretend:
            _remove(place.new)
    return said


def _aside(record: dict[str, Any], place: Place) -> tuple[str, str]:
    """Where undo moves the live directory, and why it is kept; empty where it need not be."""
    restore_id = place.before.rpartition(".before-")[2]
    if not os.path.lexists(place.live):
        return place.new, ""
    if os.path.lexists(place.new):
        return free_name("%s.found-%s" % (place.live, restore_id)), "it was made during the restore"
    try:
        changed = bool(differences(record["fingerprint"], _static.digest_tree(place.live)[1]))
    except RecoveryError:
        changed = True  # what cannot be read is not known to be in the backup
    if changed:
        return free_name("%s.undone-%s" % (place.live, restore_id)), "it was changed since it was restored"
    return place.new, ""


def _compare(record: dict[str, Any], found: dict[str, Any], what: str) -> None:
    said = differences(record["fingerprint"], found)
    if said:
        raise IntegrityError(
            "%s: %s is not equal to the backup's fingerprint: %s" % (record["component"], what, "; ".join(said)),
            "Nothing live was changed; choose another backup set",
        )


def _target_blockers(place: Place) -> list[str]:
    blockers = []
    if os.path.lexists(place.live) and not os.path.isdir(place.live):
        blockers.append("%s: %s is not a directory" % (place.component, place.live))
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        mounted = _static.mount_points(stream.read())
    for point in _mounts_at_or_below(place.live, mounted):
        blockers.append(
            "%s: %s is a mount point, which cannot be swapped by rename; restore to another directory with"
            " paths: {%s: /path} and move the content, or unmount it first" % (place.component, point, place.component)
        )
    parent = _existing_parent(place.live)
    if not os.access(parent, os.W_OK | os.X_OK):
        blockers.append("%s: %s may not be written to; run the task with become: true" % (place.component, parent))
    return blockers


def _mounts_at_or_below(path: str, mounted: list[str]) -> Iterator[str]:
    return (point for point in sorted(set(mounted)) if point == path or point.startswith(path + "/"))


def _existing_parent(path: str) -> str:
    parent = os.path.dirname(path)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    return parent


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        root = os.fsencode(path)
        if os.geteuid() != 0:
            # Without root, nothing can be removed from a directory that was restored as its owner's to read only.
            os.chmod(root, 0o700)
            for folder, names, _files in os.walk(root):
                for name in names:
                    if not os.path.islink(os.path.join(folder, name)):
                        os.chmod(os.path.join(folder, name), 0o700)
        shutil.rmtree(root)
    elif os.path.lexists(path):
        os.unlink(path)


def restore(
    step: str,
    work: list[tuple[dict[str, Any], Place]],
    open_source: Callable[[], DirectorySource | SpoolSource],
    pretend: bool,
) -> dict[str, Any]:
    """Do one step for several directories.

    :param step: ``check``, ``prepare``, ``swap`` or ``undo``.
    :param work: records as :func:`choose` gives them, with their places.
    :param open_source: called where artifacts are read.
    :param pretend: check mode: ``prepare`` and ``swap`` do what ``check`` does, ``undo`` only says what it would do.
    :returns: ``changed``, ``plan`` (sentences) and ``warnings``.
    """
    plan: list[str] = []
    warnings: list[str] = []
    changed = step != "check"
    if step == "undo":
        for record, place in reversed(work):
            plan += undo(record, place, pretend)
        changed = bool(plan)
    elif step == "check" or pretend:
        plan = _check_all(work, open_source())
        changed = changed and bool(work)
    elif step == "prepare":
        source = open_source()
        _refuse([], check_space(work))
        for record, place in work:
            warnings += prepare(record, place, source)
            plan.append("%s: %s is equal to the backup, ready to be swapped in" % (place.component, place.new))
    else:
        swapped = [place for _record, place in work if swap(place)]
        plan = ["%s: %s was swapped in; kept: %s" % (place.component, place.live, place.before) for place in swapped]
        changed = bool(swapped)
    return {"changed": changed, "plan": plan, "warnings": warnings}


def _check_all(work: list[tuple[dict[str, Any], Place]], source: DirectorySource | SpoolSource) -> list[str]:
    plan: list[str] = []
    blockers: list[str] = []
    for record, place in work:
        sentences, found = check(record, place, source)
        plan += sentences
        blockers += found
    _refuse(blockers, check_space(work))
    return plan


def _refuse(blockers: list[str], space: list[str]) -> None:
    if blockers:
        raise StateError("The restore cannot go ahead: %s" % "; ".join(blockers + space))
    if space:
        raise SpaceError("; ".join(space), "Free some space, or restore to another file system with paths", "df -h")
