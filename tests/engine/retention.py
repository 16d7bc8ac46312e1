# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which sets a prune has to delete, worked out from docs/retention.md alone: one question at a time, however slow."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable

from tests.engine.model import Known

_FEW = 10
# What says nothing about a loss: authentik empties it by itself.
VOLATILE = ("session",)

_PERIOD: dict[str, Callable[[datetime.datetime], object]] = {
    "keep_hourly": lambda at: (at.date(), at.hour),
    "keep_daily": lambda at: at.date(),
    "keep_weekly": lambda at: tuple(at.isocalendar())[:2],
    "keep_monthly": lambda at: (at.year, at.month),
    "keep_yearly": lambda at: at.year,
}


def id_time(set_id: str) -> datetime.datetime:
    """Return the moment in an id."""
    return datetime.datetime.strptime(set_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)


def going(listed: Iterable[Known], options: dict[str, object], now: datetime.datetime) -> list[str]:
    """Return the ids of the sets that a policy lets go, the oldest first."""
    newest_first = sorted(listed, key=lambda one: one.set_id, reverse=True)
    return [
        one.set_id
        for one in reversed(newest_first)
        if not (one.pinned or one.started > now or not one.checks.verified or _stays(one, newest_first, options, now))
    ]


def _stays(one: Known, everything: list[Known], options: dict[str, object], now: datetime.datetime) -> bool:
    if one.backup.restore_id:
        newest = next(other for other in everything if other.backup.restore_id and other.checks.verified)
        days = datetime.timedelta(days=_number(options, "safety_days", 30))
        return one is newest or now - one.started <= days
    counted = [other for other in everything if _counts(other, now)]
    recent = id_time(counted[0].set_id) - datetime.timedelta(days=31)
    for component in one.components:
        if all(id_time(other.set_id) < recent for other in counted if component in other.components):
            continue
        holders = [other for other in counted if component in other.components]
        if _kept(one, holders, options):
            return True
    return False


def _counts(one: Known, now: datetime.datetime) -> bool:
    return one.checks.verified and not one.backup.restore_id and one.started <= now


def _kept(one: Known, holders: list[Known], options: dict[str, object]) -> bool:
    newer = holders[: holders.index(one)]
    if len(newer) < max(1, _number(options, "minimum_verified", 2), _number(options, "keep_last", 0)):
        return True
    hours = int(str(options.get("keep_within", "0h"))[:-1])
    if hours and one.started >= holders[0].started - datetime.timedelta(hours=hours):
        return True
    for rule, period in _PERIOD.items():
        limit = _number(options, rule, 0)
        periods = {period(other.started) for other in newer}
        if limit and period(one.started) not in periods and len(periods) < limit:
            return True
    return False


def _number(options: dict[str, object], name: str, default: int) -> int:
    value = options.get(name, default)
    assert isinstance(value, int)
    return value


def losses(listed: Iterable[Known], limit: float, accepted: str, now: datetime.datetime) -> list[str]:
    """Return which sets lost much against the one before with the same component."""
    oldest_first = sorted((one for one in listed if _counts(one, now)), key=lambda one: one.set_id)
    last: dict[str, dict[str, int]] = {}
    found = []
    for one in oldest_first:
        if accepted and one.set_id < accepted:
            continue
        for component, counts in one.backup.counts.items():
            before = last.get(component, {})
            for what, number in before.items():
                if what not in VOLATILE and number >= _FEW and what in counts and counts[what] < number * limit:
                    found.append("%s %s of %s: %d, before %d" % (component, what, one.set_id, counts[what], number))
            last[component] = counts
    return found
