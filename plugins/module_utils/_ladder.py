# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The version ladder: does the authentik that is installed run on what a set holds, and what to do when not. Pure.

authentik upgrades its database one release train at a time, and never back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._version import (
    patch_of,
    train_key,
    train_of,
)

if TYPE_CHECKING:
    from typing import Mapping

    Key = tuple[int, int]

TRAINS = (
    "2023.10",
    "2024.2",
    "2024.4",
    "2024.6",
    "2024.8",
    "2024.10",
    "2024.12",
    "2025.2",
    "2025.4",
    "2025.6",
    "2025.8",
    "2025.10",
    "2025.12",
    "2026.2",
    "2026.5",
    "2026.8",
)
POLICIES = ("same_train", "ladder", "force")
# From this train on authentik looks at the history before it migrates, and does not start on another train's tables
# than its own and those of the train before it.
_REFUSES_SINCE = (2026, 8)
# Trains follow each other by this many months at most.
_LONGEST_STEP = 3


class Verdict(NamedTuple):
    """Sentences: what a restore would do, what to look at, and what forbids it."""

    plan: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    blockers: tuple[str, ...] = ()


def ladder(from_version: str, to_version: str) -> list[str]:
    """Return the trains to upgrade to one after the other, the last being that of *to_version*.

    A train that is not in ``TRAINS`` takes its place by year and month. Empty when there is nothing to upgrade.
    """
    start, end = _key(from_version), _key(to_version)
    if start >= end:
        return []
    return [train for train in TRAINS if start < _key(train) < end] + ["%d.%d" % end]


def is_complete(from_version: str, to_version: str) -> bool:
    """Tell whether :func:`ladder` leaves out no train: False when one that is not in ``TRAINS`` may lie between."""
    known = [_key(train) for train in TRAINS]
    keys = [_key(version) for version in (from_version, *ladder(from_version, to_version))]
    return all(
        (one in known and other in known) or _months(other) - _months(one) <= _LONGEST_STEP
        for one, other in zip(keys, keys[1:])
    )


def is_next(from_version: str, to_version: str) -> bool:
    """Tell whether *to_version* is of the train right after that of *from_version*."""
    return len(ladder(from_version, to_version)) == 1 and is_complete(from_version, to_version)


def judge(
    saved: Mapping[str, str] | None, installed: Mapping[str, str] | None, live: str | None, policy: str
) -> Verdict:
    """Compare the version that a set is of with the one that will run on it.

    :param saved: the manifest's ``authentik_version``: ``value``, ``source``, perhaps ``newer``; None when not known.
    :param installed: version of the installed code, ``value`` and ``source``; None when not known.
    :param live: the version that ran last on the live database, None without one.
    :param policy: one of ``POLICIES``.
    """
    remarks = []
    made_by = saved["value"] if saved else None
    if saved and saved.get("newer"):
        made_by = saved["newer"]
        remarks.append(
            "the set's database had authentik %s on it and then %s, which is older: it is judged as one of %s, whose "
            "tables it has, or is half-way to" % (made_by, saved["value"], made_by)
        )
        if installed and _history_stops(saved["value"], installed["value"]):
            remarks.append(
                "authentik %s goes by the latest row of its version history, which says %s, and will refuse to start "
                "on it: delete the rows of authentik_version_history that came after the one of %s before it is "
                "started. With authentik_manage_services=false that is left to you"
                % (installed["value"], saved["value"], made_by)
            )
    if installed and _differ(live, installed["value"]):
        remarks.append(
            "the live database was last used by authentik %s, and %s is installed (%s): an upgrade was not finished or "
            "was taken back" % (live, installed["value"], installed["source"])
        )
    if made_by is None or train_key(made_by) is None or not installed or train_key(installed["value"]) is None:
        return Verdict((_not_compared(made_by, installed, live),), tuple(remarks))
    found = _compare(made_by, installed["value"], installed["source"], policy)
    return found._replace(warnings=(*remarks, *found.warnings))


def _compare(made_by: str, installed: str, source: str, policy: str) -> Verdict:
    pair = "the set is of authentik %s and %s is installed (%s)" % (made_by, installed, source)
    if _key(made_by) == _key(installed):
        if patch_of(made_by) <= patch_of(installed):
            return Verdict((pair + ": they are of one release train",))
        return Verdict(warnings=("%s: install %s or a later patch of this train" % (pair, made_by),))
    if policy != "same_train" and is_next(made_by, installed):
        return Verdict((pair + ": authentik upgrades the restored database itself when it is started",))
    if policy == "force":
        forced = "%s, which is forced: %s. Safe is this: %s" % (
            pair, _consequence(made_by, installed), _what_to_do(made_by, installed),
        )  # fmt: skip
        return Verdict((forced,), (forced,))
    text = "%s. authentik is upgraded one release train at a time, and never back: %s" % (
        pair, _what_to_do(made_by, installed),
    )  # fmt: skip
    if is_next(made_by, installed):
        text += ". Or let the installed one take this single step, with version_policy=ladder"
    return Verdict(blockers=(text,))


def _what_to_do(made_by: str, installed: str) -> str:
    train, older = train_of(made_by), _key(made_by) < _key(installed)
    first, last = (made_by, installed) if older else (installed, made_by)
    steps = "%s, the latest patch of each" % ", ".join(ladder(first, last))
    if older:
        text = "install the latest %s, restore, and then upgrade by way of %s" % (train, steps)
    else:
        text = (
            "install the latest %s without starting it, and restore. An upgrade that keeps the present database goes "
            "by way of %s" % (train, steps)
        )
    if not is_complete(first, last):
        text += ". This list may be incomplete: look for trains after %s in authentik's release notes" % TRAINS[-1]
    return text


def _consequence(made_by: str, installed: str) -> str:
    if _key(installed) >= _REFUSES_SINCE:
        return "authentik will most likely refuse to start on it"
    if _key(made_by) < _key(installed):
        return "authentik's migrations are not made for skipped trains and may stop half-way"
    return "authentik will start on tables that it does not know"


def _not_compared(made_by: str | None, installed: Mapping[str, str] | None, live: str | None) -> str:
    """Return what has to be looked at by hand."""
    if made_by is None or train_key(made_by) is None:
        text = "the authentik versions were not compared, the set does not tell its own"
        return text + ": see that it is of the release train that is installed%s" % (
            " (%s)" % installed["value"] if installed else ""
        )
    text = "the authentik versions were not compared, the installed one is not known here"
    if live:
        text += " (the live database was last used by %s)" % live
    return (
        "%s: see that authentik %s is installed before it is started, or name the installed version with "
        "authentik_version" % (text, train_of(made_by))
    )


def _history_stops(noted: str, installed: str) -> bool:
    """Tell whether the installed authentik refuses a database whose history ends with *noted*."""
    last, key = train_key(noted), train_key(installed)
    if last is None or key is None or key < _REFUSES_SINCE:
        return False
    return last != key and not is_next(noted, installed)


def _differ(one: str | None, other: str) -> bool:
    keys = (train_key(one), train_key(other))
    return None not in keys and keys[0] != keys[1]


def _key(version: str) -> Key:
    key = train_key(version)
    if key is None:
        raise ValueError("%r is not a version of authentik" % version)
    return key


def _months(key: Key) -> int:
    return key[0] * 12 + key[1]
