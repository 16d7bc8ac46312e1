# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The version ladder: which trains lie between two versions, and which restores authentik survives."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _ladder
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._version import (
    newer_than_last,
    patch_of,
)


@pytest.mark.parametrize(
    ("start", "end", "expected", "complete"),
    [
        ("2025.12.4", "2025.12.6", [], True),
        ("2025.12.4", "2025.8.1", [], True),
        ("2025.10.4", "2025.12.0", ["2025.12"], True),
        ("2025.10.4", "2026.8.3", ["2025.12", "2026.2", "2026.5", "2026.8"], True),
        ("2023.10.7", "2024.12", ["2024.2", "2024.4", "2024.6", "2024.8", "2024.10", "2024.12"], True),
        # Later than the table: by rule. A quarter is one step, more may hide trains that nobody knew.
        ("2026.8.3", "2026.11.0", ["2026.11"], True),
        ("2026.5.7", "2026.11.0-rc1", ["2026.8", "2026.11"], True),
        ("2026.11.1", "2027.2.0", ["2027.2"], True),
        ("2026.8.3", "2027.2.0", ["2027.2"], False),
        ("2026.2.1", "2031.1.5", ["2026.5", "2026.8", "2031.1"], False),
        ("2026.11.2", "2027.8.0", ["2027.8"], False),
        # Earlier than the table.
        ("2023.8.3", "2024.2.1", ["2023.10", "2024.2"], True),
        ("2022.12.1", "2023.10.1", ["2023.10"], False),
    ],
)
def test_trains_to_step_through(start: str, end: str, expected: list[str], complete: bool) -> None:
    assert _ladder.ladder(start, end) == expected
    assert _ladder.is_complete(start, end) is complete


def test_the_table_is_in_order() -> None:
    assert all(_ladder.ladder(one, other) == [other] for one, other in pairwise(_ladder.TRAINS))


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], None),
        (["2025.12.4"], None),
        (["2026.2.1", "2025.12.4", "2025.10.1"], None),
        (["2025.12.4", "2025.12.6"], None),
        (["2025.12.4", "2026.2.1", "2025.12.4"], "2026.2.1"),
        (["2025.8.1", "2025.10.9", "2025.12.2", "2025.12.10"], "2025.12.10"),
        (["2025.8.1", "nonsense", ""], None),
        (["nonsense", "2025.8.1"], None),
    ],
)
def test_a_history_that_went_back(history: list[str], expected: str | None) -> None:
    assert newer_than_last(history) == expected


def test_patches() -> None:
    assert [patch_of(text) for text in ("2025.12.4", "2025.12.10", "2026.5.0-rc2", "2026.5", "x")] == [4, 10, 0, 0, 0]


SAME, LADDER, FORCE = _ladder.POLICIES


def judged(made_by: str | None, installed: str | None, policy: str = SAME, live: str | None = None) -> _ladder.Verdict:
    saved = {"value": made_by, "source": "history"} if made_by else None
    code = {"value": installed, "source": "/opt/authentik"} if installed else None
    return _ladder.judge(saved, code, live, policy)


@pytest.mark.parametrize(
    ("made_by", "installed", "allowed"),
    [
        ("2025.12.4", "2025.12.4", {SAME, LADDER, FORCE}),
        ("2025.12.4", "2025.12.6", {SAME, LADDER, FORCE}),
        ("2025.12.6", "2025.12.4", {SAME, LADDER, FORCE}),
        ("2027.1.1", "2027.1.2", {SAME, LADDER, FORCE}),
        ("2025.10.4", "2025.12.1", {LADDER, FORCE}),
        ("2026.8.3", "2026.11.0", {LADDER, FORCE}),
        ("2025.8.4", "2025.12.1", {FORCE}),
        ("2026.8.3", "2027.2.0", {FORCE}),
        ("2025.12.1", "2025.10.4", {FORCE}),
        ("2026.11.0", "2026.8.3", {FORCE}),
    ],
)
def test_what_each_policy_allows(made_by: str, installed: str, allowed: set[str]) -> None:
    assert {policy for policy in _ladder.POLICIES if not judged(made_by, installed, policy).blockers} == allowed


def test_the_same_train_is_no_news_but_a_newer_patch_is() -> None:
    assert judged("2025.12.4", "2025.12.10").warnings == ()
    (warning,) = judged("2025.12.10", "2025.12.4").warnings
    assert "install 2025.12.10 or a later patch" in warning


def test_an_older_set_names_every_release_to_step_through() -> None:
    (text,) = judged("2025.8.4", "2026.5.2").blockers
    assert "install the latest 2025.8, restore" in text
    assert "upgrade by way of 2025.10, 2025.12, 2026.2, 2026.5, the latest patch of each" in text
    assert "version_policy" not in text
    assert "incomplete" not in text


def test_a_single_step_names_the_policy_that_takes_it() -> None:
    (text,) = judged("2026.2.4", "2026.5.2").blockers
    assert "version_policy=ladder" in text
    (line,) = judged("2026.2.4", "2026.5.2", LADDER).plan
    assert "authentik upgrades the restored database itself" in line


def test_a_newer_set_asks_for_its_own_release() -> None:
    (text,) = judged("2026.5.2", "2025.12.4", LADDER).blockers
    assert "install the latest 2026.5 without starting it, and restore" in text
    assert "by way of 2026.2, 2026.5" in text


def test_a_list_that_may_be_incomplete_says_so() -> None:
    (text,) = judged("2026.5.1", "2027.5.0").blockers
    assert "2026.8, 2027.5" in text
    assert "may be incomplete: look for trains after %s" % _ladder.TRAINS[-1] in text


@pytest.mark.parametrize(
    ("made_by", "installed", "expected"),
    [
        ("2025.8.4", "2026.5.1", "may stop half-way"),
        ("2025.8.4", "2026.8.1", "refuse to start"),
        ("2026.11.0", "2026.8.1", "refuse to start"),
        ("2026.5.1", "2026.2.1", "tables that it does not know"),
    ],
)
def test_force_says_what_to_expect(made_by: str, installed: str, expected: str) -> None:
    found = judged(made_by, installed, FORCE)
    assert found.plan == found.warnings
    assert expected in found.plan[0]
    assert "install the latest" in found.plan[0]


@pytest.mark.parametrize(
    ("made_by", "installed", "live", "expected"),
    [
        ("2025.12.4", None, None, ["authentik 2025.12 is installed", "authentik_version"]),
        ("2025.12.4", None, "2026.2.1", ["last used by 2026.2.1"]),
        ("2025.12.4", "trunk", None, ["authentik 2025.12 is installed"]),
        (None, "2025.12.4", None, ["does not tell its own", "(2025.12.4)"]),
        ("trunk", "2025.12.4", None, ["does not tell its own"]),
        (None, None, None, ["were not compared"]),
    ],
)
def test_what_is_not_known_is_said_and_stops_nobody(
    made_by: str | None, installed: str | None, live: str | None, expected: list[str]
) -> None:
    for policy in _ladder.POLICIES:
        found = judged(made_by, installed, policy, live)
        assert found.blockers == ()
        assert all(part in found.plan[0] for part in expected), found.plan


def test_a_live_database_of_another_train_than_the_code_is_remarked() -> None:
    assert judged("2026.2.1", "2026.2.1", live="2026.2.0").warnings == ()
    (warning,) = judged("2026.2.1", "2026.2.1", live="2025.12.4").warnings
    assert "last used by authentik 2025.12.4" in warning


def test_a_set_whose_history_went_back_counts_as_the_later_train() -> None:
    saved = {"value": "2025.12.4", "source": "history", "newer": "2026.2.1"}
    code = {"value": "2025.12.4", "source": "/opt/authentik"}
    found = _ladder.judge(saved, code, None, SAME)
    assert "install the latest 2026.2" in found.blockers[0]
    assert "half-way" in found.warnings[0]
    assert _ladder.judge(saved, {"value": "2026.2.3", "source": "x"}, None, SAME).blockers == ()


@pytest.mark.parametrize(
    ("noted", "installed", "refused"),
    [
        ("2026.2.3", "2026.8.2", True),
        ("2026.5.7", "2026.8.2", False),
        ("2026.8.1", "2026.8.2", False),
        ("2026.2.3", "2026.5.7", False),
    ],
)
def test_a_history_that_went_back_may_stop_the_installed_authentik(noted: str, installed: str, refused: bool) -> None:
    saved = {"value": noted, "source": "history", "newer": installed}
    verdict = _ladder.judge(saved, {"value": installed, "source": "code"}, None, "same_train")
    assert not verdict.blockers
    remarks = [remark for remark in verdict.warnings if "delete the rows of authentik_version_history" in remark]
    assert len(remarks) == refused
