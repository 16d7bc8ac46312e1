# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A short part of ``make test-engine`` with a fixed seed, and the findings of long ones as tests of their own."""

from __future__ import annotations

import datetime
import os
import tempfile
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _lock
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._retention import Candidate, Policy, plan
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store
from tests.engine import mutants
from tests.engine.run import Run, in_memory
from tests.support.store import NOW, publish


def test_no_violation_in_a_short_run() -> None:
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        run = Run(Path(folder), seed=5)
        assert run.play(60) == 60, "\n".join(run.violations)
        assert run.violations == []
    assert sum("->" in line for line in run.history) > 30, "most of it was played"


@pytest.mark.parametrize(
    "name",
    ["the minimum is one less", "a set is removed without losing its name first", "living sets are cleared"],
)
def test_the_engine_is_not_blind(name: str) -> None:
    step, _what = mutants.found_at(mutants.table()[name](), seed=1, steps=150)
    assert step > 0, "the collection is broken, and nothing was found"


def test_half_notes_of_killed_runs_are_cleared_and_those_of_living_ones_are_not(store: Store) -> None:
    """The name of such a note never comes again once its set is gone."""
    folder = Path(publish(store).path).parent
    dead, young = (folder / (".20200101T000000Z-0000.pinned.json.%s.partial" % name) for name in ("dead", "young"))
    for file in (dead, young):
        file.write_text("{")
    os.utime(dead, (1, 1))
    publish(store)
    assert (dead.exists(), young.exists()) == (False, True)


def test_a_lock_that_could_not_be_written_holds_nobody(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    publish(store)
    with monkeypatch.context() as patched:
        patched.setattr(_lock.os, "pwrite", full)
        with pytest.raises(RecoveryError, match="No space left"), store.removal().lock("a prune"):
            pass
    with store.removal().lock("a prune") as lock:
        assert lock.taken_over == ""


def test_an_old_safety_set_that_is_not_verified_stays_and_takes_no_verified_ones_place() -> None:
    """Nobody knows what it is worth: neither is it deleted, nor is another one deleted for it."""

    def safety(day: int, verified: bool) -> Candidate:
        started = NOW + datetime.timedelta(days=day)
        held = frozenset(["postgresql"])
        return Candidate(started.strftime("%Y%m%dT%H%M%SZ-0000"), started, held, verified, "", "20200101T000000Z-0000")

    sets = [safety(0, True), safety(1, True), safety(2, False), safety(3, False)]
    verdicts = plan(sets, Policy(last=1), NOW + datetime.timedelta(days=300))
    assert [one.keeps for one in verdicts] == [True, True, True, False]
