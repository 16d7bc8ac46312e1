# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a restore does, written down on the host before it does it, so that it can be taken back without the store.

``<work_dir>/<restore id>/restore.json`` says which restore it is, who makes it, how far it came and what an undo has to
be told. The time of its last change is the last sign of life of the run that makes it.
``manifest.json`` beside it is that of the set. Neither holds a secret; both are for their owner only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest, _restore_folder
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import (
    as_error,
    make_private_directories,
    write_private,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._restore_claim import (
    NOBODY,
    PREPARE,
    SWAP,
    UNDO,
    Claim,
    refuse_second,
    superseded,
    took_over,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import check_id, format_utc, is_id

if TYPE_CHECKING:
    import datetime
    from typing import Iterator, Sequence

FORMAT = 1
NAME = "restore.json"
RUNNING, DONE, PUT_BACK, FAILED, UNDONE, CLEANED = "running", "done", "put_back", "failed", "undone", "cleaned"
STATES = (RUNNING, DONE, PUT_BACK, FAILED, UNDONE, CLEANED)
#: Of these something is in place, or half in place, that a rollback takes away again.
OPEN = (RUNNING, DONE, FAILED)
#: What is live is all of one state.
WHOLE = (DONE, PUT_BACK, UNDONE)
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


def begin(
    work_dir: str,
    manifest: dict[str, Any],
    facts: dict[str, Any],
    now: datetime.datetime,
    claim: Claim = NOBODY,
) -> tuple[dict[str, Any], list[str]]:
    """Write the record of a restore that is about to change something, and the set's manifest.

    Of two that begin at the same moment, one is refused.

    :param facts: ``restore_id``, ``instance``, ``deployment``, ``components``, ``undo``, and what differs in place.
    :param now: an aware moment.
    :returns: the record, and sentences about dead runs that are not waited for any more.
    :raises Occupied: another restore or rollback of the instance is under way.
    :raises StateError: the id is that of a restore that was finished, or interrupted, and not undone.
    """
    restore_id = check_id(facts["restore_id"])
    make_private_directories(work_dir)
    with _alone(work_dir):
        records = find(work_dir).records
        refuse_second(_of(records, facts["instance"]), silent(work_dir, records), claim)
        before = read(work_dir, restore_id)
        if before is not None and before["state"] in (*OPEN, CLEANED):
            raise StateError(
                "The restore %s %s" % (restore_id, described(before["state"])),
                "Take it back first, or restore under another id: leave out authentik_restore_id",
            )
        record = {
            "format": FORMAT,
            # Ids are made of times, and a clock may have been set back.
            "number": max((record["number"] for record in records), default=0) + 1,
            "set_id": manifest["id"],
            "state": RUNNING,
            "phase": PREPARE,
            "exchanges": before["exchanges"] if before is not None else 0,
            "owner": _owner(claim, now),
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
        others = [one for one in _of(records, facts["instance"]) if one["restore_id"] != restore_id]
        dead = _free(work_dir, others, claim)
        _write(folder, record)
        _clear(work_dir, others)
    return record, dead


def take(
    work_dir: str, restore_id: str, now: datetime.datetime, claim: Claim, exchange: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """Make a restore that is to be taken back that of the claimant.

    :param exchange: False while only that is prepared: what is live stays of one state.
    :returns: the record, and sentences about dead runs that are not waited for any more.
    :raises Occupied: another restore or rollback of the instance is under way.
    :raises StateError: there is no such restore.
    """
    with _alone(work_dir):
        record = read(work_dir, restore_id)
        if record is None:
            raise _unknown(work_dir, restore_id)
        records = find(work_dir, record["instance"]).records
        refuse_second(records, silent(work_dir, records), claim)
        dead = _free(work_dir, records, claim)
        record["owner"] = _owner(claim, now)
        if exchange and (record["state"] == DONE or record["phase"] in (SWAP, UNDO)):
            record.update(phase=UNDO, exchanges=record["exchanges"] + 1)
        _write(os.path.join(work_dir, restore_id), record)
    return record, dead


def let_go(work_dir: str, restore_id: str, claim: Claim) -> tuple[dict[str, Any], bool]:
    """Give up a restore that the claimant took and did not begin to take back; return it, and whether it was theirs.

    :raises StateError: there is no such restore.
    """
    with _alone(work_dir):
        record = read(work_dir, restore_id)
        if record is None:
            raise _unknown(work_dir, restore_id)
        mine = bool(record["owner"]) and record["owner"]["id"] == claim.owner.get("id")
        if mine:
            record["owner"] = {}
            _write(os.path.join(work_dir, restore_id), record)
    return record, mine


def _owner(claim: Claim, now: datetime.datetime) -> dict[str, Any]:
    return {**claim.owner, "since": format_utc(now)} if claim.owner else {}


def _of(records: Sequence[dict[str, Any]], instance: str) -> list[dict[str, Any]]:
    return [record for record in records if record["instance"] == instance]


def _free(work_dir: str, records: Sequence[dict[str, Any]], claim: Claim) -> list[str]:
    """Take restores from the dead, so that one which only seemed dead does not go on; say so."""
    silence, said = silent(work_dir, records), []
    for record in records:
        if record["owner"] and record["owner"]["id"] != claim.owner.get("id"):
            said.append(took_over(record, silence))
            _write(os.path.join(work_dir, record["restore_id"]), {**record, "owner": {}})
    return said


def _clear(work_dir: str, records: Sequence[dict[str, Any]]) -> None:
    """Remove what restores had prepared that ended before their swap: nothing goes on with it. The records stay."""
    for record in records:
        if record["state"] == RUNNING and record["phase"] == PREPARE and not record["gone"]:
            _restore_folder.clear(os.path.join(work_dir, record["restore_id"]))


def _forget_superseded(work_dir: str, done: dict[str, Any]) -> None:
    for record in superseded(find(work_dir, done["instance"]).records, done):
        # As long as it is noted there what of a project was started, a rollback may need it.
        if not _restore_folder.notes_project(os.path.join(work_dir, record["restore_id"])):
            with contextlib.suppress(OSError):
                forget(work_dir, record["restore_id"])


@contextlib.contextmanager
def _alone(work_dir: str) -> Iterator[None]:
    """Let nobody else begin meanwhile. Ends with the process, and leaves nothing."""
    try:
        descriptor = os.open(work_dir, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise as_error("open", work_dir, exc, "Run the task as the user that restored") from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as exc:
            raise as_error("lock", work_dir, exc, "Name a folder on a local disk with work_dir") from exc
        yield
    finally:
        os.close(descriptor)


def silent(work_dir: str, records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return how many seconds ago each restore gave its last sign of life, by the host's clock."""
    found = {}
    for record in records:
        try:
            last = os.stat(os.path.join(work_dir, record["restore_id"], NAME)).st_mtime
        except OSError:
            last = 0.0
        found[record["restore_id"]] = time.time() - last
    return found


def update(
    work_dir: str, restore_id: str, facts: dict[str, Any], now: datetime.datetime, pretend: bool = False
) -> tuple[dict[str, Any], bool]:
    """Complete a record: its state and what else is given. Return it, and whether that changed anything.

    :raises StateError: there is none, or the folder of the records would itself be swapped.
    """
    record = read(work_dir, restore_id)
    if record is None:
        raise _unknown(work_dir, restore_id)
    for path in facts.get("directories") or []:
        if (os.path.realpath(work_dir) + "/").startswith(os.path.realpath(path) + "/"):
            raise StateError(
                "The folder for the way back, %s, lies within %s, which is to be replaced" % (work_dir, path),
                "Name another one with work_dir",
            )
    fresh = {**record, **{name: value for name, value in facts.items() if value is not None}}
    if fresh["state"] != record["state"]:
        fresh["ended"] = "" if fresh["state"] == RUNNING else format_utc(now)
    if fresh["gone"] and fresh["phase"] == PREPARE:
        fresh["phase"] = SWAP
    if fresh["phase"] == SWAP != record["phase"]:
        fresh["exchanges"] += 1
    if fresh["state"] in WHOLE:
        fresh["phase"] = ""
    if facts.get("state") not in (None, RUNNING):
        fresh["owner"] = {}
    if fresh != record and not pretend:
        _write(os.path.join(work_dir, check_id(restore_id)), fresh)
        if fresh["state"] == DONE:
            _forget_superseded(work_dir, fresh)
    return fresh, fresh != record


def _unknown(work_dir: str, restore_id: str) -> StateError:
    return StateError(
        "There is no record of a restore %s in %s" % (restore_id, work_dir), "Begin it with backup_set and no state"
    )


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
    # Of records without these nothing better is known.
    between = SWAP if record["state"] in (RUNNING, FAILED) else ""
    return {"owner": {}, "exchanges": 0, "phase": between, **record}


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


# What a restore exchanges side by side even when it is done in place; a safety set may be without them.
_STAY = {"config", "redis"}


def find_gone(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the record of a restore in place that removed what was live and was cut off then; None where none was.

    A later restore that was finished, or that brought back what was there, settles it for its components. Pure.

    :param records: of one instance, the latest restore last.
    """
    settled: set[str] = set()
    for record in reversed(records):
        if record["gone"] and record["state"] in (RUNNING, FAILED) and set(record["components"]) - _STAY - settled:
            return record
        if record["state"] in (DONE, CLEANED) or (record["safety_set"] and record["state"] in (PUT_BACK, UNDONE)):
            settled.update(record["components"])
    return None


def forget(work_dir: str, restore_id: str) -> None:
    """Remove the folder of a restore. The record goes last: as long as it is there the rest is found again.

    :raises OSError: something in it cannot be removed.
    """
    _restore_folder.remove(os.path.join(work_dir, check_id(restore_id)), NAME)


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
