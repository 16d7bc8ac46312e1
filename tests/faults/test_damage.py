# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A short part of ``make test-damage``, always the same: whatever byte of a set is altered, the restore refuses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.damage.run import Damages
from tests.support.site import Site


@pytest.fixture(scope="module")
def damages(site: Site) -> Iterator[Damages]:
    made = Damages(site, seed=4)
    yield made
    assert made.live_differences() == []
    made.close()


def test_damage_on_the_disk_is_refused_and_named(damages: Damages) -> None:
    outcome = damages.at_rest(50, 20)
    assert outcome.problems == []
    assert (outcome.tried, outcome.caught) == (70, 70)
    assert {"manifest.json", "SHA256SUMS", "RESTORE.md", "redis/dump.rdb", "static/media.tar.zst"} <= set(outcome.files)


def test_damage_from_before_the_checksum_is_refused_or_carries_nothing(damages: Damages) -> None:
    outcome = damages.at_the_source(24, 8)
    assert outcome.problems == []
    assert outcome.caught + outcome.idle == 32
    assert outcome.caught > 20


def test_the_playbook_refuses_what_the_modules_refuse(damages: Damages) -> None:
    outcome = damages.by_the_playbook(2, 1)
    assert outcome.problems == []
    assert (outcome.tried, outcome.caught) == (3, 3)
