# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A short part of ``make test-engine`` with a fixed seed, and the findings of long ones as tests of their own."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError, StateError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _lock
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._copy import copy_set
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._notes import new_check
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._retention import Candidate, Policy, plan
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store, open_store
from tests.engine import mutants
from tests.engine.run import Run, in_memory
from tests.support.store import BLOBS, NOW, manifest_of, publish


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
    step, _what = mutants.found_at(mutants.table()[name](), seed=1, steps=200)
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


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "other"), "sso")


def test_a_set_that_was_found_damaged_comes_back_from_its_copy(store: Store, other: Store) -> None:
    """What was recorded of the damaged one says nothing of the copy that takes its place."""
    made = publish(store)
    copy_set(store, made.set_id, other, NOW, os.getpid())
    store.record(made, new_check("decode", NOW, made.manifest_sha256, "damaged"))
    store.pin(made.set_id, "until it is replaced", NOW)
    shutil.rmtree(made.path)
    copy_set(other, made.set_id, store, NOW, os.getpid())
    (back,), problems = store.list_sets()
    assert ([(one["level"], one["ok"]) for one in back.verified], back.pinned) == ([("checksums", True)], "")
    assert problems == []


def test_what_is_damaged_in_the_target_keeps_no_other_set_from_being_copied(store: Store, other: Store) -> None:
    first = publish(store)
    artifact = next(one for one in first.manifest["artifacts"] if one["component"] == "media")
    partial = store.open(NOW, b"ab", os.getpid())
    partial.link(first.folder, artifact)
    partial.save_record({"component": "media", "artifacts": [{"path": artifact["path"]}]}, [])
    linked = [dict(artifact, linked_from=first.set_id)]
    second = store.publish(partial, manifest_of(partial, linked), NOW)
    copy_set(store, first.set_id, other, NOW, os.getpid())
    damaged = Path(other.path, first.set_id, artifact["path"])
    damaged.chmod(0o600)
    damaged.write_bytes(b"n" * artifact["size"])
    copied = copy_set(store, second.set_id, other, NOW, os.getpid())
    assert Path(copied.path, artifact["path"]).read_bytes() == BLOBS[artifact["path"]]


def test_a_prune_leaves_the_pin_of_a_set_that_is_being_copied(store: Store, other: Store) -> None:
    """It has its pin before it is a set."""
    made = publish(store)
    store.pin(made.set_id, "for the audit", NOW)
    left = []
    commit = other.backend.commit

    def pruned(set_id: str, manifest: bytes) -> None:
        left.extend(other.removal().left_over())
        commit(set_id, manifest)

    other.backend.commit = pruned  # type: ignore[method-assign]
    assert copy_set(store, made.set_id, other, NOW, os.getpid()).pinned == "for the audit"
    assert left == []


def test_of_two_copies_of_a_set_the_second_one_leaves_nothing(store: Store, other: Store) -> None:
    """Both saw that it was not there; one was done before the other one began."""
    made = publish(store)
    copy_set(store, made.set_id, other, NOW, os.getpid())
    with pytest.raises(StateError, match="meanwhile"):
        copy_set(store, made.set_id, other, NOW, os.getpid())
    other.open(NOW, b"ab", os.getpid())
    with pytest.raises(StateError, match="being written"):
        copy_set(store, publish(store).set_id, other, NOW, os.getpid())
    assert [one.set_id for one in other.list_sets()[0]] == [made.set_id]


def test_a_set_that_another_machine_began_to_copy_is_not_begun_a_second_time(store: Store, other: Store) -> None:
    """For so long silent, that one keeps no other set from being copied."""
    made, later = publish(store), publish(store)
    begun = Path(other.path, made.set_id + ".partial")
    begun.mkdir(parents=True)
    owner = begun / ".owner.json"
    owner.write_text(json.dumps({"host": "elsewhere", "pid": 1, "start": "1", "started": "2020-01-01T00:00:00Z"}))
    os.utime(owner, (time.time() - 7200,) * 2)
    with pytest.raises(StateError, match="elsewhere"):
        copy_set(store, made.set_id, other, NOW, os.getpid())
    copy_set(store, later.set_id, other, NOW, os.getpid())
    assert owner.exists()
