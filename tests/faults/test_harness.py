"""A part of ``make test-faults`` whose points are fixed, and proof that its judges are not blind."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.harness import watch
from tests.faults.harness.lab import Lab
from tests.faults.harness.points import Point, choose, every
from tests.faults.harness.runs import Run, Step
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


def test_a_new_step_is_covered_and_every_boundary_comes_first() -> None:
    seen = {
        "backup": [
            Step("Save the database", "x.y.authentik_pg_dump", 3.0),
            Step("Say it", "ansible.builtin.debug", 0.1),
        ],
        "restore": [Step("Something new", "x.y.authentik_new", 1.0), Step("Not here", "x.y.z", status="skipped")],
        "undo": [],
    }
    points = every(seen, 1)
    boundaries = {str(point) for point in points if point.fault == "kill-playbook"}
    assert boundaries == {
        "backup:Save the database:kill-playbook", "backup:Say it:kill-playbook", "restore:Something new:kill-playbook",
    }  # fmt: skip
    chosen = choose(points, 8, 1)
    assert boundaries <= {str(point) for point in chosen}
    assert len(chosen) == 8
    assert [Point.parse(str(point)) for point in points] == points
    assert every(seen, 1) == points
    assert every(seen, 2) != points


def test_of_boundaries_between_which_nothing_happens_one_is_taken_and_another_seed_takes_another() -> None:
    quiet = [Step("note %d" % number, "ansible.builtin.set_fact") for number in range(5)]
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
