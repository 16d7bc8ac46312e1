# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a policy means for the sets of a store, and what forbids to act on it."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import is_id, parse_utc
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _retention, _shrink
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._notes import proved
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import (
    BEING_WRITTEN,
    HALF_REMOVED,
    BackupSet,
    Problem,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store

# How many losses are told: after a real one nearly every table has some.
_TOLD = 12


@dataclasses.dataclass(frozen=True)
class Plan:
    """What would be done.

    :ivar verdicts: of every set, the newest first.
    :ivar problems: what is no set, or a damaged one: nothing of that is touched.
    :ivar obstacles: why nothing may be deleted, each with what to do.
    """

    verdicts: list[_retention.Verdict]
    problems: list[Problem]
    obstacles: list[str]

    @property
    def going(self) -> list[str]:
        """The ids of the sets that go, the oldest first."""
        return sorted(one.set_id for one in self.verdicts if not one.keeps)

    def lines(self) -> list[str]:
        """Return the plan as lines, the newest set first."""
        said = [
            (one.set_id, "%s %s: %s" % ("keep  " if one.keeps else "delete", one.set_id, ", ".join(one.reasons)))
            for one in self.verdicts
        ]
        said += [(one.name, "leave  %s: not usable: %s" % (one.name, one.reason)) for one in self.problems]
        return [line for _name, line in sorted(said, reverse=True)]


def is_verified(backup_set: BackupSet) -> bool:
    """Tell whether the set was proved, at whatever level, and no later verification failed or could not be done."""
    return bool(backup_set.verified) and len(proved(backup_set.verified)) == len(backup_set.verified)


def candidate(backup_set: BackupSet) -> _retention.Candidate:
    """Return what a set is judged by."""
    manifest = backup_set.manifest
    return _retention.Candidate(
        backup_set.set_id,
        parse_utc(manifest["started"]),
        frozenset(artifact["component"] for artifact in manifest["artifacts"]),
        is_verified(backup_set),
        backup_set.pinned,
        backup_set.restore_id,
    )


def make_plan(store: Store, policy: _retention.Policy, limit: float, accepted: str, now: datetime.datetime) -> Plan:
    """Judge all sets of the store; nothing is changed.

    :param limit: the share of a count that has to be left from one set to the next.
    :param accepted: id of the newest set whose losses were accepted; empty for none.
    """
    sets, problems = store.list_sets()
    verdicts = _retention.plan(map(candidate, sets), policy, now)
    return Plan(verdicts, problems, _unproved(sets, problems) + shrunk(sets, limit, accepted, now))


def refuse_while_written(problems: t.Iterable[Problem]) -> None:
    """Refuse to delete while a backup is made: it may link to what is there now.

    :raises StateError: naming the unfinished set.
    """
    written = [one.name for one in problems if one.reason == BEING_WRITTEN]
    if written:
        raise StateError(
            "A backup is being made (%s), which may link to artifacts of the sets that are there" % ", ".join(written),
            "Prune when it has ended",
        )


def _unproved(sets: t.Sequence[BackupSet], problems: t.Iterable[Problem]) -> list[str]:
    """Why the newest set is none that the others could be deleted for."""
    newest = next((one for one in sets if not one.restore_id), None)
    since = newest.set_id if newest else ""
    found = [
        "%s is newer than every usable set and none itself: %s. Make a backup that succeeds, and prune then"
        % (one.name, one.reason)
        for one in problems
        if is_id(one.name[: len("20260101T000000Z-0000")])
        and one.name > since
        and one.reason not in (BEING_WRITTEN, HALF_REMOVED)
    ]
    if newest and not is_verified(newest):
        found.append(
            "%s, the newest set, is not verified. Verify it with the playbook verify, and prune then" % newest.set_id
        )
    return found


def shrunk(sets: t.Sequence[BackupSet], limit: float, accepted: str, now: datetime.datetime) -> list[str]:
    """Say what was lost between a set and the one before it that holds the same component, unless it was accepted.

    A loss does not become right because the next backup has it too: all sets since the accepted one are compared.
    """
    counted = [one for one in sets if is_verified(one) and not one.restore_id]
    counted = sorted(
        (one for one in counted if one.set_id >= accepted and parse_utc(one.manifest["started"]) <= now),
        key=lambda one: one.set_id,
    )
    found, newest = [], ""
    before: dict[str, tuple[str, dict[str, _shrink.Count]]] = {}
    for one in counted:
        for component in sorted(candidate(one).components):
            counts = _shrink.measure(one.manifest, component)
            older, older_counts = before.get(component, ("", {}))
            lost = _shrink.losses(older_counts, counts, limit)
            if lost:
                newest = one.set_id
                more = ["and %d more" % (len(lost) - _TOLD)] if len(lost) > _TOLD else []
                found.append(
                    "%s of %s shrank much since %s: %s" % (component, one.set_id, older, "; ".join(lost[:_TOLD] + more))
                )
            before[component] = (one.set_id, counts)
    if found:
        found.append(
            "If these losses are right, say so once with -e authentik_shrink_accepted=%s, or allow more of them with "
            "authentik_shrink_limit (now %s)" % (newest, limit)
        )
    return found
