# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Who may change an instance now, and whether what is live is of one state. Pure.

A restore or rollback under way has an owner: the run of ``ansible-playbook`` that makes it. Whether that still lives is
decided by its own controller, which knows its processes, and by any other by the time since its last sign of life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_duration

if TYPE_CHECKING:
    from typing import Mapping, Sequence

#: So many seconds without a sign of life, and a run of another controller counts as dead.
LEASE_SECONDS = 300

#: How far the exchange of old for new is. Empty, or before it: everything live is of one state.
PREPARE, SWAP, UNDO = "prepare", "swap", "undo"
PHASES = (PREPARE, SWAP, UNDO)
_BETWEEN = (SWAP, UNDO)
_ENDED_WHOLE = ("done", "cleaned")


class Claim(NamedTuple):
    """Who wants to change an instance.

    :ivar owner: ``id``, ``place``, ``host``, ``pid``, ``start`` and ``user`` of the run; empty where nobody says.
    :ivar dead: ids of runs that were on the same controller and have ended, as that controller knows.
    """

    owner: dict[str, Any]
    dead: tuple[str, ...] = ()


NOBODY = Claim({})


def claim_of(params: Mapping[str, Any]) -> Claim:
    """Return who asks, from a module's options C(owner) and C(dead)."""
    return Claim(params["owner"] or {}, tuple(params["dead"] or ()))


class Occupied(StateError):
    """Another run that lives changes the instance."""

    def __init__(self, owners: list[dict[str, Any]], cause: str, hint: str, command: str) -> None:
        super().__init__(cause, hint, command)
        self.owners = owners

    def as_result(self) -> dict[str, Any]:
        """Return the keyword arguments for ``fail_json``, with the owners for the action plugin to look after."""
        return {**super().as_result(), "owners": self.owners}


def living(records: Sequence[dict[str, Any]], silent: Mapping[str, float], claim: Claim) -> list[dict[str, Any]]:
    """Return the records of runs that live, those of the claimant left out.

    :param silent: restore id -> seconds since the last sign of life. Negative where the clock was set back.
    """
    found = []
    for record in records:
        owner = record["owner"]
        if not owner or owner["id"] == claim.owner.get("id") or owner["id"] in claim.dead:
            continue
        # Where the clock jumped the next sign of life puts it right; without one it is the lease that ends.
        if owner["place"] == claim.owner.get("place") or abs(silent[record["restore_id"]]) < LEASE_SECONDS:
            found.append(record)
    return found


def refuse_second(records: Sequence[dict[str, Any]], silent: Mapping[str, float], claim: Claim) -> None:
    """Refuse to change an instance that another run changes.

    :raises Occupied: naming the first of them.
    """
    found = living(records, silent, claim)
    if found:
        owner = found[0]["owner"]
        raise Occupied(
            [record["owner"] for record in found],
            said_of(found[0], silent),
            "One restore or rollback at a time. Wait until it has ended. Where it hangs, end process %s on %s;"
            " for another controller it counts as dead %s after its last sign of life"
            % (owner["pid"], owner["host"], format_duration(LEASE_SECONDS)),
            "ps -f -p %s # on %s" % (owner["pid"], owner["host"]),
        )


def said_of(record: dict[str, Any], silent: Mapping[str, float]) -> str:
    """Return who changes the instance, for people."""
    owner = record["owner"]
    return (
        "The restore %s of %s, of the set %s, is %s: by %s on %s (process %s), since %s, with a sign of life %s ago"
        % (
            record["restore_id"],
            record["instance"],
            record["set_id"],
            "being taken back" if record["phase"] == UNDO else "under way",
            owner["user"],
            owner["host"],
            owner["pid"],
            owner["since"],
            format_duration(abs(silent[record["restore_id"]])),
        )
    )


def took_over(record: dict[str, Any], silent: Mapping[str, float]) -> str:
    """Return that a run which ended without a word is not waited for any more."""
    owner = record["owner"]
    return (
        "The run of %s on %s (process %s), which was at the restore %s since %s, is dead; its last sign of life was"
        " %s ago"
        % (
            owner["user"],
            owner["host"],
            owner["pid"],
            record["restore_id"],
            owner["since"],
            format_duration(abs(silent[record["restore_id"]])),
        )
    )


def mixed(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the restores that are, or ended, between old and new, so that what is live is of neither state.

    A later restore that was finished and replaced all of the same puts that right.

    :param records: of one instance, the latest restore last.
    """
    return [
        record
        for number, record in enumerate(records)
        if record["phase"] in _BETWEEN and not any(_covers(later, record) for later in records[number + 1 :])
    ]


def superseded(records: Sequence[dict[str, Any]], done: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the dead restores that exchanged nothing, where a later one that is finished replaced all of the same.

    What they had made of databases and directories was cleared before that one made its own.
    """
    return [
        record
        for record in records
        if record["number"] < done["number"]
        and (record["state"], record["phase"], record["owner"]) == ("running", PREPARE, {})
        and _covers(done, record)
    ]


def _covers(later: dict[str, Any], record: dict[str, Any]) -> bool:
    return (
        later["state"] in _ENDED_WHOLE
        and not later["phase"]
        and all(set(later[kind]) >= set(record[kind]) for kind in ("components", "databases", "directories"))
    )


def refuse_mixture(records: Sequence[dict[str, Any]], silent: Mapping[str, float], claim: Claim) -> None:
    """Refuse to save what is half of the one state and half of the other.

    :raises Occupied: a restore or rollback is between the two.
    :raises StateError: one ended there.
    """
    between = mixed(records)
    found = living(between, silent, claim)
    if found:
        raise Occupied(
            [record["owner"] for record in found],
            "%s. It exchanges old for new, and a backup would save some of both" % said_of(found[0], silent),
            "Repeat the backup when it has ended",
            "ansible-playbook authentik_ops.recovery.backup",
        )
    if between:
        record = between[-1]
        raise StateError(
            "%s ended between old and new: some of %s may be of the set %s and some of before, and a backup would"
            " save that mixture"
            % (
                ("The rollback of the restore %s" if record["phase"] == UNDO else "The restore %s")
                % record["restore_id"],
                ", ".join(record["components"]),
                record["set_id"],
            ),
            "Take it back, or run the restore again; then make the backup",
            "ansible-playbook authentik_ops.recovery.rollback -e authentik_restore_id=%s" % record["restore_id"],
        )


def refuse_exchanged(records: Sequence[dict[str, Any]], since: Mapping[str, Any], own: str | None) -> None:
    """Refuse to publish what was saved while a restore or rollback exchanged it.

    :param since: restore id -> how often it had begun to exchange when the backup began.
    :param own: the restore before which the set is made; it does not count.
    :raises StateError: one of the records says so.
    """
    for record in records:
        restore_id = record["restore_id"]
        if restore_id != own and record["exchanges"] > int(since.get(restore_id, 0)):
            raise StateError(
                "While this backup was made, the restore %s of the set %s began to exchange old for new%s, so the"
                " backup may hold some of both"
                % (restore_id, record["set_id"], " or was taken back" if not record["phase"] else ""),
                "Repeat it when no restore or rollback is under way",
                "ansible-playbook authentik_ops.recovery.backup",
            )
