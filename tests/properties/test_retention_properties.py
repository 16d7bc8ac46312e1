# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds of retention whatever the policy, the sets and the clocks."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._retention import Candidate, Policy, plan
from tests.properties.profiles import examples

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
COMPONENTS = ("postgresql", "media", "redis")
#: Every number of a policy.
NUMBERS = ("last", "hourly", "daily", "weekly", "monthly", "yearly", "minimum_verified", "safety_days")

policies = st.builds(
    Policy,
    within=st.integers(0, 2000).map(lambda hours: hours * HOUR),
    **{name: st.integers(0, 5) for name in NUMBERS},
)


@st.composite
def stores(draw: Any) -> list[Candidate]:
    """Sets in the order in which they were made: ids grow, while the clock may jump anywhere."""
    clock, last, sets = START, START, []
    for number in range(draw(st.integers(0, 25))):
        clock += draw(st.integers(0, 24 * 40)) * HOUR
        if draw(st.integers(0, 9)) == 0:
            clock += draw(st.integers(-9000, 9000)) * HOUR
        last = max(clock, last + datetime.timedelta(seconds=1))
        sets.append(
            Candidate(
                "%s-%04x" % (last.strftime("%Y%m%dT%H%M%SZ"), number),
                clock,
                frozenset(draw(st.sets(st.sampled_from(COMPONENTS), min_size=1))),
                verified=draw(st.integers(0, 4)) > 0,
                pinned=draw(st.sampled_from(("", "", "", "", "kept"))),
                restore_id=draw(st.sampled_from(("", "", "", "", "20261122T040000Z-1b2c"))),
            )
        )
    return sets


nows = st.integers(-1000, 20000).map(lambda hours: START + hours * HOUR)


def staying(sets: list[Candidate], policy: Policy, now: datetime.datetime) -> set[str]:
    return {one.set_id for one in plan(sets, policy, now) if one.keeps}


def proved(sets: list[Candidate]) -> list[str]:
    return sorted(one.set_id for one in sets if one.verified and not one.restore_id)


@examples(100)
@given(stores(), policies, nows)
def test_the_newest_verified_set_stays_whole(sets: list[Candidate], policy: Policy, now: datetime.datetime) -> None:
    found = staying(sets, policy, now)
    verified = proved(sets)
    assert not verified or verified[-1] in found
    newest_safety = sorted(one.set_id for one in sets if one.restore_id)[-1:]
    assert set(newest_safety) <= found


@examples(100)
@given(stores(), policies, nows)
def test_verified_sets_never_become_fewer_than_the_minimum(
    sets: list[Candidate], policy: Policy, now: datetime.datetime
) -> None:
    verified = proved(sets)
    left = staying(sets, policy, now).intersection(verified)
    assert len(left) >= min(policy.minimum_verified, len(verified))


@examples(100)
@given(stores(), policies, nows)
def test_a_second_plan_deletes_nothing_more(sets: list[Candidate], policy: Policy, now: datetime.datetime) -> None:
    first = staying(sets, policy, now)
    assert staying([one for one in sets if one.set_id in first], policy, now) == first


@examples(100)
@given(stores(), policies, nows, st.data())
def test_a_policy_that_asks_for_more_keeps_no_less(
    sets: list[Candidate], policy: Policy, now: datetime.datetime, data: Any
) -> None:
    more = {name: getattr(policy, name) + data.draw(st.integers(0, 3)) for name in NUMBERS}
    wider = policy.within + data.draw(st.integers(0, 500)) * HOUR
    assert staying(sets, policy, now) <= staying(sets, dataclasses.replace(policy, within=wider, **more), now)


@examples(100)
@given(stores(), policies, nows, st.data())
def test_what_is_pinned_unverified_or_of_the_future_stays_and_takes_no_place(
    sets: list[Candidate], policy: Policy, now: datetime.datetime, data: Any
) -> None:
    found = staying(sets, policy, now)
    odd = [one for one in sets if not one.restore_id and (not one.verified or one.started > now)]
    assert {one.set_id for one in sets if one.pinned or one in odd} <= found
    without = [one for one in sets if one not in odd]
    assert staying(without, policy, now) == found - {one.set_id for one in odd}
