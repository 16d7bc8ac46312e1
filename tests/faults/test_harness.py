"""A part of ``make test-faults`` whose points are fixed, and proof that its judges are not blind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import report, watch
from tests.faults.harness.disks import SIZES, Disks
from tests.faults.harness.lab import Lab
from tests.faults.harness.points import Point, choose, every
from tests.faults.harness.runs import Run, Step
from tests.faults.harness.trial import Verdict
from tests.support.announce import leave_out
from tests.support.playbook import ROOT
from tests.support.site import NAME

POINTS = (
    "backup:Save the database:kill-playbook",
    "backup:Save the directories:kill-module@0.01",
    "backup:Publish the set:kill-playbook",
    "backup:Save the database:kill-tool@0.01",
    "restore:Database: prepare:lose-server@1.00",
    "restore:Directories: swap:kill-playbook",
)


def test_a_fixed_part_of_the_points() -> None:
    command = [sys.executable, "-m", "tests.faults.harness", "--seed", "1", "--point", "|".join(POINTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False)
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"fault points: %d, outcomes: \d+, violations: 0" % len(POINTS), last), (
        done.stdout + done.stderr
    )
    assert done.returncode == 0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    root = Path(tempfile.mkdtemp(prefix="ff-"))
    root.chmod(0o755)
    try:
        with Lab(root, disks=False) as made:
            assert Run(made, "backup").finish() == 0
            made.divide()
            yield made
    finally:
        shutil.rmtree(root, ignore_errors=True)


def damage_a_row(lab: Lab) -> None:
    lab.instance.database.psql("UPDATE authentik_core_user SET email = 'other' WHERE username = 'user7'")


def lose_a_file(lab: Lab) -> None:
    (lab.instance.folders[0] / "public/application-icons/app-03.svg").unlink()


def alter_a_key(lab: Lab) -> None:
    lab.instance.redis.send("SADD", "authentik_set", "one more")


def alter_the_configuration(lab: Lab) -> None:
    (lab.instance.root / "etc/authentik/secret_key").write_text("another")


@pytest.mark.parametrize("harm", [damage_a_row, lose_a_file, alter_a_key, alter_the_configuration])
def test_what_is_neither_old_nor_new_is_seen(lab: Lab, harm: Callable[[Lab], None]) -> None:
    lab.reset()
    assert watch.which(lab) == ("old", [])
    harm(lab)
    state, differences = watch.which(lab)
    assert state == "mixed"
    assert differences


def test_a_damaged_set_is_seen(lab: Lab) -> None:
    lab.reset()
    sets = watch.Sets()
    assert sets.damage(lab) == []
    dump = next(lab.site.sets()[0].glob("postgresql/authentik.dump*"))
    dump.chmod(0o600)
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(content)
    assert [one for one in sets.damage(lab) if "sha256sum" in one]
    shutil.rmtree(lab.site.sets()[0])
    assert [one for one in sets.damage(lab) if "is gone" in one]


def test_what_was_left_behind_is_seen(lab: Lab) -> None:
    lab.reset()
    assert watch.strays(lab) == []
    assert watch.unfinished(lab) == []
    restore = "20261122T040000Z-1b2c"
    lab.instance.postgres.psql("CREATE DATABASE authentik_new_20261122t040000z_1b2c")
    media = lab.instance.folders[0]
    media.with_name("media.new-" + restore).mkdir()
    (lab.spools / ".authentik_recovery-x").mkdir()
    (lab.work / restore).mkdir(parents=True)
    (lab.site.store / NAME / (restore + ".partial")).mkdir()
    found = watch.strays(lab)
    assert len(found) == 4, found
    assert watch.unfinished(lab) == [restore + ".partial"]


def test_a_process_that_a_run_left_is_seen(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE_SECONDS", 0.1)
    run = Run(lab, "list")
    assert run.finish() == 0
    assert watch.busy(lab, [run]) == []
    with subprocess.Popen(["sleep", "60"], env={"RECOVERY_FAULT_RUN": run.mark}) as left:
        try:
            assert "process %d: sleep 60" % left.pid in watch.busy(lab, [run])[0]
        finally:
            left.kill()


SEEN = {
    "backup": [
        Step("Save the database", "x.y.authentik_pg_dump", 3.0),
        Step("Say it", "ansible.builtin.debug", 0.1),
    ],
    "restore": [
        Step("Something new", "x.y.authentik_new", 1.0),
        Step("Database: prepare", "x.y.authentik_pg_restore", 2.0),
        Step("Not here", "x.y.z", status="skipped"),
    ],
    "safe-restore": [
        Step("Something new", "x.y.authentik_new", 1.0),
        Step("Save what is there", "x.y.authentik_redis_snapshot", 1.0),
    ],
    "undo": [],
}


def test_a_new_step_is_covered_and_what_a_safety_set_adds() -> None:
    points = every(SEEN, 1)
    assert {str(point) for point in points if point.fault == "kill-playbook"} == {
        "backup:Save the database:kill-playbook", "backup:Say it:kill-playbook", "restore:Something new:kill-playbook",
        "restore:Database: prepare:kill-playbook", "safe-restore:Save what is there:kill-playbook",
    }  # fmt: skip
    assert [Point.parse(str(point)) for point in points] == points
    assert every(SEEN, 1) == points
    assert every(SEEN, 2) != points


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_seed_every_fault_is_chosen_and_every_boundary_and_then_every_kind_of_run(seed: int) -> None:
    points = every(SEEN, seed)
    kinds = {(point.what, point.fault) for point in points}
    boundaries = {point for point in points if point.fault == "kill-playbook"}
    few = choose(points, len({fault for _what, fault in kinds}), seed)
    assert {point.fault for point in few} == {fault for _what, fault in kinds}
    more = choose(points, len(few) + len(boundaries), seed)
    assert boundaries <= set(more)
    assert set(few) <= set(more)
    most = choose(points, len(more) + len(kinds), seed)
    assert {(point.what, point.fault) for point in most} == kinds


def judged(fault: str, **more: Any) -> Verdict:
    return Verdict(Point("backup", "Save it", fault), **more)


def test_a_fault_that_did_not_happen_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTHENTIK_RECOVERY_STRICT", raising=False)
    happened = judged("kill-main", outcomes=["killed, old"])
    missed = judged("cut-redis", missed="there was no connection during the step")
    lines = report.last_lines([happened, missed], {}, 1)
    assert lines[-1] == "fault points: 1, outcomes: 1, violations: 1"
    assert report.violations([happened, missed], {}) == [
        "cut-redis never happened: there was no connection during the step"
    ]
    # Another one of its kind that happened is the proof, and the one that did not is named.
    again = judged("cut-redis", outcomes=["failed, old"])
    lines = report.last_lines([happened, missed, again], {}, 1)
    assert lines[-1] == "fault points: 2, outcomes: 2, violations: 0"
    assert [line for line in lines if line.startswith("missed, and not counted: backup:Save it:cut-redis")]


def test_what_cannot_be_had_is_named_and_does_not_pass_where_everything_has_to_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AUTHENTIK_RECOVERY_STRICT", raising=False)
    verdicts, left_out = [judged("kill-main", outcomes=["killed, old"])], {"fill-host": "only root can"}
    assert "left out here: fill-host: only root can" in report.last_lines(verdicts, left_out, 1)
    assert report.violations(verdicts, left_out) == []
    monkeypatch.setenv("AUTHENTIK_RECOVERY_STRICT", "1")
    assert report.last_lines(verdicts, left_out, 1)[-1] == "fault points: 1, outcomes: 1, violations: 1"


def test_small_disks_are_taken_away_again(tmp_path: Path) -> None:
    disks = Disks(tmp_path, real=True)
    if not disks.real:
        leave_out("mounting a file system needs root")
    disks.fill("store")
    with pytest.raises(OSError, match="No space left"):
        (tmp_path / "store/file").write_bytes(b"0" * (1 << 20))
    disks.close()
    assert [name for name in SIZES if os.path.ismount(tmp_path / name)] == []


def test_of_boundaries_between_which_nothing_happens_one_is_taken_and_another_seed_takes_another() -> None:
    quiet = [Step("note %d" % number, "ansible.builtin.set_fact", changed=False) for number in range(5)]
    stop, swap = Step("Stop", "x.y.authentik_services"), Step("Swap", "x.y.authentik_pg_restore")
    seen = {"undo": [stop, *quiet, swap, Step("Say it", "ansible.builtin.debug")]}
    taken = set()
    for seed in range(20):
        names = [point.step for point in every(seen, seed, each_name=False)]
        assert len(names) == 3
        assert names[0] == "Stop"
        assert names[2] == "Say it"
        taken.add(names[1])
    assert len(taken) > 3, taken
    assert len(every(seen, 1)) == 8
