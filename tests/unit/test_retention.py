# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which sets a policy keeps: tables of rules and calendars, clocks that are wrong, and what no policy may do."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._retention import (
    Candidate,
    Policy,
    check_policy,
    plan,
)

ALL = frozenset(("postgresql", "media", "config"))
NOW = datetime.datetime(2027, 6, 1, 12, 0, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


# One east and one west of UTC, which change their clocks on other days; in the form that needs no zone installed.
@pytest.fixture(autouse=True, params=["CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0"])
def zone_of_the_controller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


def made(when: str, number: int = 0, started: str = "", **more: Any) -> Candidate:
    """A set with the id of a moment, such as C(2026-11-22T03:15); its clock may have said something else."""
    moment = at(when)
    set_id = "%s-%04x" % (moment.strftime("%Y%m%dT%H%M%SZ"), number)
    return Candidate(set_id, at(started) if started else moment, more.pop("components", ALL), **more)


def kept(sets: list[Candidate], policy: Policy, now: datetime.datetime = NOW) -> list[str]:
    """The days and hours of the ids that stay, oldest first."""
    verdicts = plan(sets, policy, now)
    assert [one.set_id for one in verdicts] == sorted((one.set_id for one in sets), reverse=True)
    assert all(one.reasons for one in verdicts), "each one says why"
    return [one.set_id[4:11] for one in reversed(verdicts) if one.keeps]


def rules(**numbers: Any) -> Policy:
    """A policy of which only the rules count."""
    return Policy(minimum_verified=0, **numbers)


def daily(first: str, days: int, hours: int = 3) -> list[Candidate]:
    start = at(first) + datetime.timedelta(hours=hours)
    return [made((start + number * DAY).isoformat()[:16]) for number in range(days)]


@pytest.mark.parametrize(
    ("whens", "policy", "expected"),
    [
        (["2026-11-01", "2026-11-02", "2026-11-03"], rules(last=2), ["1102T00", "1103T00"]),
        # The newest of a day stays, not the first.
        (["2026-11-01T01:00", "2026-11-01T23:59", "2026-11-02T00:00"], rules(daily=2), ["1101T23", "1102T00"]),
        # Days without a set take no place.
        (["2026-11-01", "2026-11-05", "2026-11-20"], rules(daily=3), ["1101T00", "1105T00", "1120T00"]),
        (["2026-11-01T10:05", "2026-11-01T10:55", "2026-11-01T11:00"], rules(hourly=5), ["1101T10", "1101T11"]),
        # ISO weeks: Monday 28 December 2026 to Sunday 3 January 2027 are one week, of 2026.
        (["2026-12-27", "2026-12-28", "2027-01-03", "2027-01-04"], rules(weekly=9), ["1227T00", "0103T00", "0104T00"]),
        # The first days of 2027 are of 2027 by the calendar all the same.
        (["2026-12-31T23:59", "2027-01-01T00:00"], rules(yearly=2), ["1231T23", "0101T00"]),
        (["2026-12-31T23:59", "2027-01-01T00:00"], rules(monthly=1), ["0101T00"]),
        # A leap day is a day, and the end of its month.
        (["2024-02-28", "2024-02-29", "2024-03-01"], rules(daily=2), ["0229T00", "0301T00"]),
        (["2024-02-28", "2024-02-29", "2024-03-01"], rules(monthly=2), ["0229T00", "0301T00"]),
        (["2023-02-28", "2024-02-29", "2025-02-28"], rules(yearly=3), ["0228T00", "0229T00", "0228T00"]),
        # Where a clock changes, nothing does here: the hour that comes twice in Berlin is two hours in UTC.
        (["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"], rules(hourly=3),
         ["1025T00", "1025T01", "1025T02"]),
        (["2026-03-29T00:30", "2026-03-29T23:30", "2026-03-30T00:30"], rules(daily=2), ["0329T23", "0330T00"]),
        # The duration counts back from the newest set: backups that stopped do not age away.
        (["2025-01-01", "2025-01-06", "2025-01-08"], rules(within=2 * DAY), ["0106T00", "0108T00"]),
        (["2025-01-01", "2025-01-08"], rules(within=2 * DAY), ["0108T00"]),
        # What any rule keeps stays.
        (["2026-01-01", "2026-02-01", "2026-02-02", "2026-02-03"], rules(last=1, monthly=2), ["0101T00", "0203T00"]),
        # The minimum are the newest ones.
        (["2026-01-01", "2026-02-01", "2026-02-02"], Policy(yearly=1), ["0201T00", "0202T00"]),
        (["2026-01-01", "2026-02-01", "2026-02-02"], Policy(yearly=1, minimum_verified=9),
         ["0101T00", "0201T00", "0202T00"]),
        (["2026-01-01"], rules(within=DAY), ["0101T00"]),
        ([], rules(last=1), []),
    ],
)  # fmt: skip
def test_the_rules(whens: list[str], policy: Policy, expected: list[str]) -> None:
    assert kept([made(when) for when in whens], policy) == expected


def test_a_year_of_daily_sets() -> None:
    sets = daily("2026-01-01", 365)
    found = kept(sets, Policy(daily=7, weekly=4, monthly=12, yearly=2))
    assert found == [
        "0131T03", "0228T03", "0331T03", "0430T03", "0531T03", "0630T03", "0731T03", "0831T03", "0930T03", "1031T03",
        "1130T03", "1213T03", "1220T03", "1225T03", "1226T03", "1227T03", "1228T03", "1229T03", "1230T03", "1231T03",
    ]  # fmt: skip


def test_only_what_is_verified_counts_and_what_is_not_stays() -> None:
    sets = [made("2026-11-0%d" % day, verified=day not in (3, 4)) for day in range(1, 6)]
    assert kept(sets, rules(last=2)) == ["1102T00", "1103T00", "1104T00", "1105T00"]
    (verdict,) = (one for one in plan(sets, rules(last=2), NOW) if one.set_id.startswith("20261104"))
    assert "not verified" in verdict.reasons[0]


def test_a_pinned_set_stays_and_says_why() -> None:
    sets = [made("2026-11-01", pinned="before the upgrade"), *daily("2026-11-02", 3)]
    assert kept(sets, rules(last=1)) == ["1101T00", "1104T03"]
    assert plan(sets, rules(last=1), NOW)[-1].reasons == ("pinned: before the upgrade",)


RESTORE = "20261122T040000Z-1b2c"


def test_safety_sets_count_for_nothing_and_age() -> None:
    sets = [
        made("2026-01-01", restore_id=RESTORE), made("2026-01-02"), made("2026-01-03"), made("2026-01-04"),
        made("2026-11-01", restore_id=RESTORE), made("2026-11-02", restore_id=RESTORE),
    ]  # fmt: skip
    now = at("2026-11-10")
    assert kept(sets, Policy(last=1, safety_days=30), now) == ["0103T00", "0104T00", "1101T00", "1102T00"]
    # Whatever its age, the newest may be the way back of a restore.
    assert kept(sets, Policy(last=1, safety_days=0), NOW) == ["0103T00", "0104T00", "1102T00"]
    reasons = {one.set_id[:8]: one.reasons for one in plan(sets, Policy(last=1), now)}
    assert reasons["20260101"] == ("a safety set, older than 30 days",)
    assert reasons["20261102"] == ("the newest safety set",)


def test_each_set_says_why_it_goes() -> None:
    sets = [made("2026-11-01"), made("2026-11-02T01:00"), made("2026-11-02T02:00"), made("2026-11-03")]
    reasons = {one.set_id[:11]: (one.keeps, one.reasons) for one in plan(sets, rules(last=1, daily=2), NOW)}
    assert reasons == {
        "20261103T00": (True, ("the newest verified set", "last 1", "daily 2026-11-03")),
        "20261102T02": (True, ("daily 2026-11-02",)),
        "20261102T01": (False, ("not one of the last 1", "of the day 2026-11-02 there is 20261102T020000Z-0000")),
        "20261101T00": (False, ("not one of the last 1", "of none of the last 2 days")),
    }


# A clock that is wrong. The id sorts after those that were there; the moment at which a set was begun is what it said.


def test_a_set_of_the_future_takes_no_others_place() -> None:
    sets = daily("2026-11-01", 5)
    ahead = made("2030-01-01")
    for policy in (rules(last=2), rules(daily=2), rules(yearly=1), rules(within=DAY), Policy(weekly=1)):
        assert kept([*sets, ahead], policy) == [*kept(sets, policy), "0101T00"]


def test_backups_after_one_of_the_future_are_told_apart_by_their_own_days() -> None:
    """Their ids follow the wrong one by a second each."""
    ahead = made("2030-01-01T00:00:00")
    after = [
        made("2030-01-01T00:00:0%d" % number, number, started="2026-11-0%dT03:00" % number) for number in range(1, 6)
    ]
    found = [one.set_id for one in plan([ahead, *after], rules(daily=3), NOW) if one.keeps]
    assert found == [one.set_id for one in (*reversed(after[-3:]), ahead)]
    # Also when that future has come.
    found = [one.set_id for one in plan([ahead, *after], rules(daily=3), at("2031-01-01")) if one.keeps]
    assert found == [one.set_id for one in reversed(after[-3:])]


def test_a_clock_that_went_back_makes_no_older_set_the_newest() -> None:
    sets = [*daily("2026-11-01", 4), made("2026-11-04T03:00:01", 1, started="2020-01-01T00:00")]
    newest = sets[-1].set_id
    for policy in (rules(last=1), rules(daily=1), rules(within=DAY)):
        assert next(one.set_id for one in plan(sets, policy, NOW) if one.keeps) == newest
    assert kept(sets, rules(daily=3)) == ["1103T03", "1104T03", "1104T03"]


def test_where_it_is_earlier_now_than_when_the_sets_were_made_everything_stays() -> None:
    sets = daily("2026-11-01", 5)
    assert len(kept(sets, rules(last=1), at("2020-01-01"))) == 5


# Sets that do not hold everything.


def test_a_set_of_the_database_alone_takes_no_complete_sets_place() -> None:
    full = daily("2026-11-01", 4)
    small = [made("2026-11-0%dT20:00" % day, components=frozenset(("postgresql",))) for day in range(1, 5)]
    assert kept([*full, *small], rules(daily=2)) == ["1103T03", "1103T20", "1104T03", "1104T20"]
    assert kept([*full, *small], rules(last=2)) == ["1103T03", "1104T03", "1104T20"]


def test_a_component_that_is_gone_for_a_month_is_not_kept_for_ever() -> None:
    before = [made("2026-09-%02dT03:00" % day, components=ALL | {"redis"}) for day in range(1, 31)]
    after = daily("2026-10-01", 40)
    assert kept([*before, *after[:10]], rules(daily=3)) == [
        "0928T03", "0929T03", "0930T03", "1008T03", "1009T03", "1010T03",
    ]  # fmt: skip
    assert kept([*before, *after], rules(daily=3)) == ["1107T03", "1108T03", "1109T03"]


@pytest.mark.parametrize(
    ("policy", "allowed", "says"),
    [
        (Policy(), False, "empty"),
        (Policy(minimum_verified=5), True, "empty"),
        (Policy(daily=7, weekly=-1), False, "weekly -1"),
        (Policy(within=-DAY), False, "within"),
        (Policy(last=1, safety_days=-1), False, "safety_days"),
        (Policy(last=1, minimum_verified=-1), True, "minimum_verified"),
        (Policy(last=1, minimum_verified=0), False, "minimum_verified is 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(policy: Policy, allowed: bool, says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        check_policy(policy, allowed)
    assert refused.value.hint


def test_a_minimum_of_none_that_is_asked_for_leaves_the_newest() -> None:
    check_policy(Policy(last=1, minimum_verified=0), may_keep_none=True)
    check_policy(Policy(within=DAY))
    sets = [made("2026-11-01"), made("2026-11-02", components=frozenset(("config",)))]
    assert kept(sets, rules(yearly=1)) == ["1101T00", "1102T00"]
