# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Which of the copies that restores keep may go. Pure.

A copy goes when it is old enough, unless it belongs to the latest restore of what it is a copy of. A restore is the
unit: of one that stays, all stays, so that it can be rolled back whole.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _restore_record
from ansible_collections.authentik_ops.recovery.plugins.module_utils._restore_claim import UNDO
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import id_time

if TYPE_CHECKING:
    from typing import Iterable, Sequence

#: Being filled, or prepared and never swapped in: worth nothing once its restore has ended.
ABANDONED = ("load", "new")
#: The folder with a restore's record, and what else is its way back besides the copies.
RECORD = "record"


class Copy(NamedTuple):
    """Something that a restore keeps.

    :ivar component: ``postgresql``, ``directory``, ``s3``, ``redis``, ``config``, ``compose`` or ``record``.
    :ivar kind: ``before``, ``undone``, ``found``, ``load``, ``new``, or ``record``.
    :ivar name: of a database, a path, or the address of a folder in a bucket.
    :ivar of: what it is a copy of: the live name or path.
    :ivar size: in bytes.
    """

    restore_id: str
    component: str
    kind: str
    name: str
    of: str
    size: int = 0


class Verdict(NamedTuple):
    """What becomes of a copy.

    :ivar age: in seconds, by the restore's id; negative for one of the future.
    :ivar reason: why it goes or stays.
    """

    copy: Copy
    age: int
    goes: bool
    reason: str


def judge(
    copies: Sequence[Copy], records: Sequence[dict[str, Any]], now: datetime.datetime, days: int
) -> list[Verdict]:
    """Say of every copy whether it goes, oldest restore first.

    :param records: those of the instance, the latest restore last.
    :param now: an aware moment.
    :param days: how old, at least, what goes has to be.
    """
    latest = _latest(copies, [record["restore_id"] for record in records])
    # Of one in place the record says which set is the way back, and how it is used.
    in_place = [one for one in records if one["safety_set"] and one["state"] in _restore_record.OPEN]
    for record in in_place[-1:]:
        latest.setdefault(record["restore_id"], "anything in place")
    open_ids = _open(records)
    ended = {record["restore_id"] for record in records} - open_ids
    verdicts = []
    for copy in sorted(copies, key=lambda one: (one.restore_id, one.component == RECORD, one)):
        age = int((now - id_time(copy.restore_id)).total_seconds())
        goes, reason = True, "older than %d days" % days
        if copy.restore_id in open_ids:
            goes, reason = False, "its restore runs, or was interrupted: roll it back first"
        elif copy.kind in ABANDONED and copy.restore_id in ended:
            reason = "never swapped in"
        elif age < 0:
            goes, reason = False, "its restore is of the future: was a clock set back?"
        elif copy.restore_id in latest:
            goes, reason = False, "of the latest restore of %s" % latest[copy.restore_id]
        elif age < days * 86400:
            goes, reason = False, "not %d days old" % days
        verdicts.append(Verdict(copy, age, goes, reason))
    return _with_records(verdicts)


def _latest(copies: Sequence[Copy], recorded: Sequence[str]) -> dict[str, str]:
    """Return the restores of which everything stays, and of what each is the latest: by its record or by its id.

    The two differ where a clock was set back, or ids were given; then both stay.
    """
    numbers = {restore_id: number for number, restore_id in enumerate(recorded)}
    found: dict[str, str] = {}
    for of, kind in sorted({(copy.of, copy.kind) for copy in copies if copy.kind not in ABANDONED}):
        ids = {copy.restore_id for copy in copies if (copy.of, copy.kind) == (of, kind)}
        for restore_id in (max(ids), max(ids, key=lambda one: (numbers.get(one, -1), one))):
            found.setdefault(restore_id, of)
    return found


def _open(records: Sequence[dict[str, Any]]) -> set[str]:
    """Return the restores that may still run, or wait to be rolled back: none was begun and finished after them."""
    gone = _restore_record.find_gone(list(records))
    # One that was finished is being taken back, or its rollback was interrupted.
    found = {record["restore_id"] for record in records if record["phase"] == UNDO or record is gone}
    for record in reversed(records):
        if record["state"] in (_restore_record.DONE, _restore_record.UNDONE):
            break
        if record["state"] in (_restore_record.RUNNING, _restore_record.FAILED):
            found.add(record["restore_id"])
    return found


def _with_records(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Keep the record of every restore of which something stays."""
    verdicts = list(verdicts)
    stay = {verdict.copy.restore_id for verdict in verdicts if not verdict.goes and verdict.copy.kind != RECORD}
    return [
        verdict._replace(goes=False, reason="of a restore of which something stays")
        if verdict.goes and verdict.copy.kind == RECORD and verdict.copy.restore_id in stay
        else verdict
        for verdict in verdicts
    ]
