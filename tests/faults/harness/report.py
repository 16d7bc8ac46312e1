"""What the harness says: a line for each point, how to repeat what went wrong, and the last line."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.harness.lab import Lab
from tests.faults.harness.points import Point
from tests.faults.harness.trial import Verdict
from tests.support.playbook import ROOT

KEEP = ROOT / "tests/output/faults"


def line(verdict: Verdict) -> str:
    """Return the line of a point."""
    if verdict.missed:
        word, said = "missed", verdict.missed
    else:
        word, said = "ok", "; ".join(verdict.outcomes)
    if verdict.violations:
        word = "VIOLATION"
    text = "%6.1f s  %-9s  %s: %s" % (verdict.seconds, word, verdict.point, said)
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


def violations(verdicts: Sequence[Verdict], left_out: Mapping[str, str]) -> list[str]:
    """Return all that was found wrong, and what keeps the run from being a proof.

    :param left_out: faults that could not be had; ``AUTHENTIK_RECOVERY_STRICT`` does not let that pass.
    """
    found = ["%s: %s" % (one.point, text) for one in verdicts for text in one.violations]
    happened = {one.point.fault for one in verdicts if not one.missed}
    for fault in sorted({one.point.fault for one in verdicts} - happened):
        reasons = sorted({one.missed for one in verdicts if one.point.fault == fault})
        found.append("%s never happened: %s" % (fault, "; ".join(reasons)))
    if os.environ.get("AUTHENTIK_RECOVERY_STRICT"):
        found += ["left out here: %s: %s" % pair for pair in sorted(left_out.items())]
    return found


def last_lines(verdicts: Sequence[Verdict], left_out: Mapping[str, str], seconds: float) -> list[str]:
    """Return the summary; its last line is the result."""
    done = [one for one in verdicts if not one.missed]
    outcomes = Counter(outcome for one in done for outcome in one.outcomes)
    lines = ["", "faults that happened:"]
    lines += ["  %4d  %s" % (number, fault) for fault, number in Counter(one.point.fault for one in done).most_common()]
    lines += ["outcomes:"]
    lines += ["  %4d  %s" % (number, outcome) for outcome, number in outcomes.most_common()]
    lines += ["left out here: %s: %s" % pair for pair in sorted(left_out.items())]
    missed = [one for one in verdicts if one.missed and one.last_try]
    lines += ["missed, and not counted: %s: %s" % (one.point, one.missed) for one in missed]
    found = violations(verdicts, left_out)
    if found:
        lines += ["violations:", *["  %s" % text for text in found]]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines.append(
        "%.0f s, %.0f s of processor time, %.1f s of one lane for each point"
        % (seconds, used.ru_utime + used.ru_stime, sum(v.seconds for v in verdicts) / max(len(verdicts), 1))
    )
    lines.append("fault points: %d, outcomes: %d, violations: %d" % (len(done), sum(outcomes.values()), len(found)))
    return lines
