# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Which sets a policy keeps, and why. Pure: values in, values out.

The rules go through the sets from the newest to the oldest by id, which no clock changes, and look at the day, week and
so on at which each was started. A wrong clock can put a set into a wrong period, but makes no two days one.

They are applied for each component, to the sets that hold it: a set of the database alone does not take the place of
one that holds everything. A component that nothing saved for a month is not looked for any more.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import count, format_duration, id_time

#: How long after its last set a component is still kept for itself.
REMEMBERED = datetime.timedelta(days=31)


@dataclasses.dataclass(frozen=True)
class Policy:
    """How many sets are kept.

    :ivar last: the newest ones, whenever they were made.
    :ivar hourly: the newest one of each of so many hours in which there is one; the same for days, ISO weeks, months
        and years, all in UTC.
    :ivar within: everything that was made so long, at most, before the newest set.
    :ivar minimum_verified: how many verified sets stay whatever else is said. The newest one always does.
    :ivar safety_days: for how many days safety sets stay. The newest one always does.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: datetime.timedelta = datetime.timedelta(0)
    minimum_verified: int = 2
    safety_days: int = 30


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What a set is judged by.

    :ivar started: when it was begun, by the clock of that time.
    :ivar components: those of which it holds artifacts.
    :ivar verified: whether it was proved, and nothing speaks against it since.
    :ivar pinned: why it is pinned; empty when it is not.
    :ivar restore_id: of a safety set; empty for a backup.
    """

    set_id: str
    started: datetime.datetime
    components: frozenset[str]
    verified: bool = True
    pinned: str = ""
    restore_id: str = ""


class Verdict(t.NamedTuple):
    """What becomes of a set, and the reasons for that."""

    set_id: str
    keeps: bool
    reasons: tuple[str, ...]


class _Period(t.NamedTuple):
    """One rule of periods: its name in a policy, that of a period, and which period a moment lies in."""

    rule: str
    noun: str
    key: t.Callable[[datetime.datetime], str]


_PERIODS = (
    _Period("hourly", "hour", lambda moment: moment.strftime("%Y-%m-%d %Hh")),
    _Period("daily", "day", lambda moment: moment.strftime("%Y-%m-%d")),
    _Period("weekly", "week", lambda moment: "%d-W%02d" % moment.isocalendar()[:2]),
    _Period("monthly", "month", lambda moment: moment.strftime("%Y-%m")),
    _Period("yearly", "year", lambda moment: moment.strftime("%Y")),
)


def check_policy(policy: Policy, may_keep_none: bool = False) -> None:
    """Refuse a policy that cannot be meant.

    :param may_keep_none: accept that no number of verified sets is guaranteed; the newest one stays all the same.
    :raises InputError: for an empty policy, a negative number, or a minimum of none that was not asked for.
    """
    for field in dataclasses.fields(policy):
        value = getattr(policy, field.name)
        if value < type(value)(0):
            raise InputError("The policy has %s %s" % (field.name, value), "Give a number of 0 or more")
    if not any((policy.last, policy.within, *(getattr(policy, period.rule) for period in _PERIODS))):
        raise InputError(
            "The policy is empty, so that it would keep next to nothing",
            "Say how many sets are to be kept, such as keep_daily: 7 with keep_weekly: 5 and keep_monthly: 12",
        )
    if policy.minimum_verified == 0 and not may_keep_none:
        raise InputError(
            "minimum_verified is 0, so that one damaged disk block may be the end of the last set",
            "Leave it at 2, or say with may_keep_none: true that this is meant",
        )


def plan(candidates: t.Iterable[Candidate], policy: Policy, now: datetime.datetime) -> list[Verdict]:
    """Say of every set whether it stays, and why, the newest first.

    The newest verified set of each component stays under any policy. What is not verified, or of the future, counts
    for no rule and stays: nobody knows what it is worth.

    :param now: an aware moment.
    """
    ordered = sorted(candidates, key=lambda one: one.set_id, reverse=True)
    counted = [one for one in ordered if one.verified and not one.restore_id and one.started <= now]
    kept: dict[str, list[str]] = {one.set_id: _reasons_beside(one, ordered, policy, now) for one in ordered}
    lost: dict[str, list[str]] = {one.set_id: [] for one in ordered}
    for component in judged_components(counted):
        holders = [one for one in counted if component in one.components]
        _apply(holders, policy, kept, lost)
    verdicts = []
    for one in ordered:
        reasons = kept[one.set_id] or lost[one.set_id] or [_forgotten(one, policy)]
        verdicts.append(Verdict(one.set_id, bool(kept[one.set_id]), tuple(dict.fromkeys(reasons))))
    return verdicts


def judged_components(counted: t.Sequence[Candidate]) -> list[str]:
    """Return the components for which the rules are applied: those that sets of the last month hold."""
    if not counted:
        return []
    # By the ids, which only grow: so it stays the same when old sets are gone.
    oldest = id_time(counted[0].set_id) - REMEMBERED
    return sorted({name for one in counted if id_time(one.set_id) >= oldest for name in one.components})


def _reasons_beside(
    one: Candidate, ordered: t.Sequence[Candidate], policy: Policy, now: datetime.datetime
) -> list[str]:
    """Why a set stays whatever the rules say."""
    reasons = ["pinned: %s" % one.pinned] if one.pinned else []
    if one.started > now:
        reasons.append("of the future: a clock was wrong when it was made, or is now")
    elif not one.verified:
        reasons.append("not verified, so that nobody knows whether it could be done without")
    elif one.restore_id:
        newest = next(other.set_id for other in ordered if other.restore_id and other.verified)
        if one.set_id == newest:
            reasons.append("the newest safety set")
        elif now - one.started <= datetime.timedelta(days=policy.safety_days):
            reasons.append("a safety set, not %s old" % count(policy.safety_days, "day"))
    return reasons


def _apply(
    holders: t.Sequence[Candidate], policy: Policy, kept: dict[str, list[str]], lost: dict[str, list[str]]
) -> None:
    """Apply all rules to the sets that hold one component, the newest first."""
    minimum = policy.minimum_verified
    for number, one in enumerate(holders):
        if number == 0:
            kept[one.set_id].append("the newest verified set")
        elif number < minimum:
            kept[one.set_id].append("one of the %d newest verified sets" % minimum)
        if number < policy.last:
            kept[one.set_id].append("last %d" % policy.last)
        elif policy.last:
            lost[one.set_id].append("not one of the last %d" % policy.last)
        if policy.within and one.started >= holders[0].started - policy.within:
            kept[one.set_id].append("within %s of the newest" % format_duration(policy.within.total_seconds()))
        elif policy.within:
            lost[one.set_id].append("not within %s of the newest" % format_duration(policy.within.total_seconds()))
    for period in _PERIODS:
        limit = getattr(policy, period.rule)
        newest_of: dict[str, str] = {}
        for one in holders if limit else ():
            key = period.key(one.started.astimezone(datetime.UTC))
            if key in newest_of:
                lost[one.set_id].append("of the %s %s there is %s" % (period.noun, key, newest_of[key]))
            elif len(newest_of) < limit:
                newest_of[key] = one.set_id
                kept[one.set_id].append("%s %s" % (period.rule, key))
            else:
                lost[one.set_id].append("of none of the last %s" % count(limit, period.noun))


def _forgotten(one: Candidate, policy: Policy) -> str:
    if one.restore_id:
        return "a safety set, older than %s" % count(policy.safety_days, "day")
    return "holds only %s, of which the last %d days have no set" % (", ".join(sorted(one.components)), REMEMBERED.days)
