"""What the harness says: a line for each point, how to repeat what went wrong, and the last line."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.faults.harness.lab import Lab
from tests.faults.harness.points import Point
from tests.faults.harness.trial import Verdict
from tests.support.playbook import ROOT

KEEP = ROOT / "tests/output/faults"


def line(verdict: Verdict) -> str:
    """Return the line of a point."""
    if verdict.missed:
        return "%6.1f s  missed     %s: %s" % (verdict.seconds, verdict.point, verdict.missed)
    word = "VIOLATION" if verdict.violations else "ok"
    text = "%6.1f s  %-9s  %s: %s" % (verdict.seconds, word, verdict.point, "; ".join(verdict.outcomes))
    return "\n".join([text, *("            - %s" % one for one in verdict.violations)])


def repeat(points: Sequence[Point], seed: int) -> str:
    """Return the command that plays exactly these points again."""
    return "make test-faults SEED=%d POINT=%s" % (seed, shlex.quote("|".join(map(str, points))))


def keep(lab: Lab, point: Point) -> Path:
    """Copy what a violation left, as it lies there, to where it survives."""
    target = KEEP / "".join(letter if letter.isalnum() else "-" for letter in str(point))
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in ("runs", "host", "store"):
        subprocess.run(["cp", "-a", str(lab.root / name), str(target)], check=False)
    log = lab.instance.postgres.log
    if log.exists():
        shutil.copy(log, target / "postgresql.log")
    return target


def last_lines(verdicts: Sequence[Verdict], left_out: dict[str, str], seconds: float) -> list[str]:
    """Return the summary; its last line is the result."""
    done = [one for one in verdicts if not one.missed]
    outcomes = Counter(outcome for one in done for outcome in one.outcomes)
    lines = ["", "outcomes:"]
    lines += ["  %4d  %s" % (number, outcome) for outcome, number in outcomes.most_common()]
    lines += ["left out here: %s: %s" % pair for pair in sorted(left_out.items())]
    missed = len(verdicts) - len(done)
    if missed:
        lines.append("missed, and not counted: %d" % missed)
    lines.append(
        "%.0f s, %.1f s of one lane for each point"
        % (seconds, sum(v.seconds for v in verdicts) / max(len(verdicts), 1))
    )
    violations = sum(len(one.violations) for one in verdicts)
    lines.append("fault points: %d, outcomes: %d, violations: %d" % (len(done), sum(outcomes.values()), violations))
    return lines
