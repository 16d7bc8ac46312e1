# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a restore does, written down on the host before it does it, so that it can be taken back without the store.

``<work_dir>/<restore id>/restore.json`` says which restore it is, how far it came and what an undo has to be told.
``manifest.json`` beside it is that of the set. Neither holds a secret; both are for their owner only.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import (
    as_error,
    make_private_directories,
    write_private,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import check_id, format_utc, is_id

if TYPE_CHECKING:
    import datetime

FORMAT = 1
NAME = "restore.json"
RUNNING, DONE, PUT_BACK, FAILED, UNDONE, CLEANED = "running", "done", "put_back", "failed", "undone", "cleaned"
STATES = (RUNNING, DONE, PUT_BACK, FAILED, UNDONE, CLEANED)
#: Of these something is in place, or half in place, that a rollback takes away again.
OPEN = (RUNNING, DONE, FAILED)
_TEXTS = ("restore_id", "set_id", "instance", "deployment", "state", "started", "ended", "mode", "safety_set")
_LISTS = ("components", "databases", "directories")
#: ``safety_set`` is the id of the set that is the only way back, from right before anything is removed; ``gone`` says
#: that it may be, and that nothing is in its place yet.
_OF_ONE_IN_PLACE = {"mode": "side_by_side", "safety_set": "", "gone": False}


class Found(NamedTuple):
    """The records of a host.

    :ivar records: in the order in which the restores began, the latest last.
    :ivar problems: sentences about records that cannot be read.
    """

    records: list[dict[str, Any]]
    problems: list[str]


def begin(work_dir: str, manifest: dict[str, Any], facts: dict[str, Any], now: datetime.datetime) -> dict[str, Any]:
    """Write the record of a restore that is about to change something, and the set's manifest; return the record.

    :param facts: ``restore_id``, ``instance``, ``deployment``, ``components``, ``undo``, and what differs in place.
    :param now: an aware moment.
    :raises StateError: the id is that of a restore that was finished, or interrupted, and not undone.
    """
    restore_id = check_id(facts["restore_id"])
    before = read(work_dir, restore_id)
    if before is not None and before["state"] in (*OPEN, CLEANED):
        raise StateError(
            "The restore %s %s" % (restore_id, described(before["state"])),
            "Take it back first, or restore under another id: leave out authentik_restore_id",
        )
    numbers = [record["number"] for record in find(work_dir).records]
    record = {
        "format": FORMAT,
        # Ids are made of times, and a clock may have been set back.
        "number": max(numbers, default=0) + 1,
        "set_id": manifest["id"],
        "state": RUNNING,
        "started": format_utc(now),
        "ended": "",
        "databases": [],
        "directories": [],
        **_OF_ONE_IN_PLACE,
        **facts,
    }
    folder = os.path.join(work_dir, restore_id)
    make_private_directories(folder)
    write_private(os.path.join(folder, _manifest.MANIFEST_NAME), _manifest.dump(manifest))
    _write(folder, record)
    return record


def update(
    work_dir: str, restore_id: str, facts: dict[str, Any], now: datetime.datetime, pretend: bool = False
) -> tuple[dict[str, Any], bool]:
    """Complete a record: its state and what else is given. Return it, and whether that changed anything.

    :raises StateError: there is none, or the folder of the records would itself be swapped.
    """
    record = read(work_dir, restore_id)
    if record is None:
        raise StateError(
            "There is no record of a restore %s in %s" % (restore_id, work_dir), "Begin it with backup_set and no state"
        )
    for path in facts.get("directories") or []:
        if (os.path.realpath(work_dir) + "/").startswith(os.path.realpath(path) + "/"):
            raise StateError(
                "The folder for the way back, %s, lies within %s, which is to be replaced" % (work_dir, path),
                "Name another one with work_dir",
            )
    fresh = {**record, **{name: value for name, value in facts.items() if value is not None}}
    if fresh["state"] != record["state"]:
        fresh["ended"] = "" if fresh["state"] == RUNNING else format_utc(now)
    if fresh != record and not pretend:
        _write(os.path.join(work_dir, check_id(restore_id)), fresh)
    return fresh, fresh != record


def read(work_dir: str, restore_id: str) -> dict[str, Any] | None:
    """Return the record of a restore, None where there is none.

    :raises IntegrityError: it is damaged, or of a later version.
    """
    path = os.path.join(work_dir, check_id(restore_id), NAME)
    try:
        with open(path, encoding="utf-8") as stream:
            record = json.load(stream)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise as_error("read", path, exc, "Run the task as the user that restored, usually with become: true") from exc
    except ValueError as exc:
        raise IntegrityError("%s is damaged: %s" % (path, exc), _BY_HAND) from exc
    if isinstance(record, dict) and isinstance(record.get("format"), int) and record["format"] > FORMAT:
        raise IntegrityError("%s was written by a later version of the collection" % path, "Use that version")
    if isinstance(record, dict):
        record = {**_OF_ONE_IN_PLACE, **record}
    if not _is_whole(record) or record["restore_id"] != restore_id:
        raise IntegrityError("%s is no record of the restore %s" % (path, restore_id), _BY_HAND)
    return dict(record)


_BY_HAND = "What was kept can be put back by hand: see docs/disaster-recovery.md"


def _is_whole(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and all(isinstance(record.get(name), str) for name in _TEXTS)
        and all(isinstance(record.get(name), list) for name in _LISTS)
        and isinstance(record.get("undo"), dict)
        and isinstance(record.get("number"), int)
        and isinstance(record.get("gone"), bool)
        and record["state"] in STATES
    )


def find(work_dir: str, instance: str | None = None) -> Found:
    """Return the records in a folder.

    :param instance: only those of this instance.
    """
    records, problems = [], []
    try:
        names = [name for name in sorted(os.listdir(work_dir)) if is_id(name)]
    except FileNotFoundError:
        return Found([], [])
    except OSError as exc:
        raise as_error("read", work_dir, exc, "Run the task as the user that restored") from exc
    for name in names:
        try:
            record = read(work_dir, name)
        except IntegrityError as exc:
            problems.append(exc.cause)
            continue
        if record is not None and instance in (None, record["instance"]):
            records.append(record)
    return Found(sorted(records, key=lambda record: (record["number"], record["restore_id"])), problems)


def choose(work_dir: str, instance: str, restore_id: str | None) -> dict[str, Any]:
    """Return the record of the restore that a rollback takes back: the one that is named, else the latest.

    Where the latest was taken back before it is that one: whoever repeats a rollback does not want to go back further.

    :raises StateError: there is nothing to take back; the message lists what there is.
    """
    found = find(work_dir, instance)
    if restore_id:
        named = [record for record in found.records if record["restore_id"] == check_id(restore_id)]
        if named and named[0]["state"] in (*OPEN, UNDONE, PUT_BACK):
            return named[0]
        what = described(named[0]["state"]) if named else "is not known on this host"
        raise StateError("The restore %s of %s %s" % (restore_id, instance, what), _known(found, work_dir))
    candidates = [record for record in found.records if record["state"] != PUT_BACK]
    if not candidates or candidates[-1]["state"] == CLEANED:
        raise StateError("There is no restore of %s on this host to be rolled back" % instance, _known(found, work_dir))
    return candidates[-1]


def find_gone(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the record of a restore in place that removed what was live and was cut off then; None where none was.

    A later restore that was finished, or that brought back what was there, settles it for its components. Pure.

    :param records: of one instance, the latest restore last.
    """
    settled: set[str] = set()
    for record in reversed(records):
        if record["gone"] and record["state"] in (RUNNING, FAILED) and set(record["components"]) - settled:
            return record
        if record["state"] in (DONE, CLEANED) or (record["safety_set"] and record["state"] in (PUT_BACK, UNDONE)):
            settled.update(record["components"])
    return None


def forget(work_dir: str, restore_id: str) -> None:
    """Remove the folder of a restore. The record goes last: as long as it is there the rest is found again.

    :raises OSError: something in it cannot be removed.
    """
    folder = os.path.join(work_dir, check_id(restore_id))
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif name != NAME:
            os.unlink(path)
    os.unlink(os.path.join(folder, NAME))
    os.rmdir(folder)


def _known(found: Found, work_dir: str) -> str:
    listed = ["%(restore_id)s (%(state)s)" % record for record in reversed(found.records)] + found.problems
    return "In %s there is: %s" % (work_dir, ", ".join(listed) or "no record of one; authentik_work_dir names another")


def described(state: str) -> str:
    """Return a state as the end of a sentence."""
    return {
        RUNNING: "was interrupted, or runs now",
        DONE: "was finished",
        PUT_BACK: "failed, and everything was put back",
        FAILED: "failed, and not everything could be put back",
        UNDONE: "was taken back before",
        CLEANED: "cannot be taken back any more: what it kept was removed by the cleanup",
    }[state]


def _write(folder: str, record: dict[str, Any]) -> None:
    write_private(os.path.join(folder, NAME), json.dumps(record, indent=1, sort_keys=True).encode("ascii") + b"\n")
