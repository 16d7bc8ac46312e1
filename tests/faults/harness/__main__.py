"""``make test-faults``: runs are stopped everywhere, and after each nothing may be lost, half done or left behind.

A throwaway instance (real PostgreSQL, real Redis, files) is backed up and restored by the playbooks. Each point is one
fault at one place. After it: every set that was there is intact, ``list`` shows nothing unfinished, the instance is
fully old or fully new by an oracle of its own, nothing stray is left, and the next plain run succeeds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.queues import Queue
from pathlib import Path

from tests.faults.harness import report
from tests.faults.harness.injectors import FAULTS, left_out
from tests.faults.harness.lab import Lab
from tests.faults.harness.points import Point, chains, choose, every
from tests.faults.harness.runs import Run, Step, Stuck, end_with_parent
from tests.faults.harness.trial import Trials, Verdict
from tests.support.packed import folder_for
from tests.support.playbook import ROOT

_IN_NAMESPACE = "RECOVERY_FAULTS_NAMESPACE"
#: Points between two plain runs.
_CHAIN = 12
_POINTS = 80
#: So often a fault that came too late is tried again, in half the time each.
_EARLIER = 2


def main() -> int:
    """Play the points; return 0 only without any violation."""
    arguments = _arguments()
    _enter_namespace()
    # Also when it is told to end: what was begun is ended, and the folder goes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="ff-"))
    root.chmod(0o755)
    print("seed %d: repeat with make test-faults SEED=%d" % (arguments.seed, arguments.seed), flush=True)
    try:
        verdicts, missing = _lanes(arguments, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print("\n".join(report.last_lines(verdicts, missing, time.monotonic() - began)), flush=True)
    return 1 if report.violations(verdicts, missing) or all(one.missed for one in verdicts) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.harness", description=__doc__)
    # make hands its variables on in the environment: names of steps hold every kind of quote.
    given = {name: os.environ.get(name, "") for name in ("SEED", "POINTS", "POINT", "LANES")}
    seed = int(given["SEED"] or random.SystemRandom().randrange(10**6))
    points, lanes = int(given["POINTS"] or _POINTS), int(given["LANES"] or os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--points", type=int, default=points, help="how many (default: %d); 0 for all" % _POINTS)
    parser.add_argument(
        "--point", default=given["POINT"], help="exactly these: RUN:STEP:FAULT[@SECONDS], several with |"
    )
    parser.add_argument("--lanes", type=int, default=lanes, help="instances at the same time (default: one per core)")
    return parser.parse_args()


def _enter_namespace() -> None:
    """As root, go into a mount namespace: what is mounted there is gone when the last process has ended."""
    program = shutil.which("unshare")
    if os.geteuid() == 0 and program and not os.environ.get(_IN_NAMESPACE):
        os.environ[_IN_NAMESPACE] = "1"
        os.execv(program, [program, "--mount", sys.executable, "-m", "tests.faults.harness", *sys.argv[1:]])


def _lanes(arguments: argparse.Namespace, root: Path) -> tuple[list[Verdict], dict[str, str]]:
    context = multiprocessing.get_context("fork")
    given = [Point.parse(one) for one in arguments.point.split("|") if one]
    unknown = [one.fault for one in given if one.fault not in FAULTS]
    if unknown:
        raise SystemExit("unknown: %s. There are: %s" % (", ".join(unknown), ", ".join(sorted(FAULTS))))
    # Made by this process, which also removes it: lanes end without cleaning up.
    folder_for(str(ROOT / ".collections"))
    work: Queue[list[Point] | None] = context.Queue()
    told: Queue[tuple[str, object]] = context.Queue()
    groups = chains(given, len(given))
    number = min(arguments.lanes, len(groups)) if given else arguments.lanes
    lanes = [
        context.Process(target=_lane, args=(root / str(i), not given and i == 0, arguments.seed, work, told))
        for i in range(number)
    ]
    for lane in lanes:
        lane.start()
    try:
        if given:
            for group in groups:
                work.put(group)
            _end(work, number)
        return _results(arguments, lanes, work, told)
    except BaseException:
        for lane in lanes:
            lane.terminate()
        raise
    finally:
        for lane in lanes:
            lane.join()


def _results(
    arguments: argparse.Namespace,
    lanes: Sequence[multiprocessing.process.BaseProcess],
    work: Queue[list[Point] | None],
    told: Queue[tuple[str, object]],
) -> tuple[list[Verdict], dict[str, str]]:
    """Hand out the points once it is known which there are; show what becomes of them until all lanes have ended."""
    verdicts: list[Verdict] = []
    missing: dict[str, str] = {}
    running = len(lanes)
    while running:
        kind, what = _next(told, lanes)
        if kind == "steps" and isinstance(what, tuple):
            steps, missing = what
            points = every(steps, arguments.seed, missing, each_name=not arguments.points)
            chosen = choose(points, arguments.points, arguments.seed)
            print("%d fault points in %d lanes" % (len(chosen), len(lanes)), flush=True)
            # Backups last: they are the shortest, so that the lanes end at about the same time.
            for group in reversed(chains(chosen, _CHAIN)):
                work.put(group)
            _end(work, len(lanes))
        elif kind == "verdict" and isinstance(what, Verdict):
            verdicts.append(what)
            print(report.line(what), flush=True)
        elif kind == "said":
            print(what, flush=True)
        elif kind == "ended":
            running -= 1
    return verdicts, missing


def _end(work: Queue[list[Point] | None], number: int) -> None:
    for _lane in range(number):
        work.put(None)


def _next(told: Queue[tuple[str, object]], lanes: Sequence[multiprocessing.process.BaseProcess]) -> tuple[str, object]:
    """Return what a lane tells next; end when one died without a word."""
    while True:
        try:
            return told.get(timeout=5)
        except multiprocessing.queues.Empty:  # type: ignore[attr-defined]
            if any(lane.exitcode not in (None, 0) for lane in lanes):
                raise SystemExit("a lane of the harness died: see above") from None


def _lane(
    root: Path, explore: bool, seed: int, work: Queue[list[Point] | None], told: Queue[tuple[str, object]]
) -> None:
    end_with_parent()
    root.mkdir(mode=0o755)
    with Lab(root) as lab:
        backup = _plain(lab, "backup")
        lab.divide()
        trials = Trials(lab)
        if explore:
            restore = _plain(lab, "restore")
            trials.restored = lab.keep("restored"), restore.way_back()
            undo = _plain(lab, restore.way_back())
            runs = {"backup": backup, "restore": restore, "safe-restore": _plain(lab, "safe-restore"), "undo": undo}
            steps: dict[str, list[Step]] = {what: run.steps() for what, run in runs.items()}
            told.put(("steps", (steps, left_out(lab.disks.real))))
        for chain in iter(work.get, None):
            _chain(trials, chain, seed, told)
    told.put(("ended", None))


def _plain(lab: Lab, what: str | list[str]) -> Run:
    run = Run(lab, what)
    if run.finish() != 0:
        raise Stuck("a plain run fails: %s" % run.output)
    return run


def _chain(trials: Trials, chain: Sequence[Point], seed: int, told: Queue[tuple[str, object]]) -> None:
    trials.begin()
    since: list[Verdict] = []
    for number, point in enumerate(chain):
        for again in range(_EARLIER + 1):
            began = time.monotonic()
            last_try = not point.delay or again == _EARLIER
            verdict = trials.play(point, number == len(chain) - 1, last_try)
            since.append(verdict)
            verdict.seconds = time.monotonic() - began
            told.put(("verdict", verdict))
            if verdict.violations:
                told.put(("said", "            kept: %s" % report.keep(trials.lab, point)))
                told.put(("said", "            repeat: %s" % report.repeat([one.point for one in since], seed)))
                trials.begin()
                since = []
            if not verdict.missed or verdict.violations or verdict.last_try:
                break
            point = point.earlier()


if __name__ == "__main__":
    sys.exit(main())
