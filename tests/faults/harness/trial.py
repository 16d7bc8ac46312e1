"""A fault point: the run, the fault, the verdict on what is left, the way back, the next plain run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.harness import watch
from tests.faults.harness.injectors import Fault, Missed, Undo
from tests.faults.harness.lab import Lab, Moment
from tests.faults.harness.points import Point
from tests.faults.harness.runs import Run, Stuck
from tests.support.postgres_install import ServerError

_KEPT_AS = re.compile(r"is kept as (\S+?)[\"',]*$", re.MULTILINE)
_PUT_BACK = (
    "Nothing was changed.",
    "was put back; the services are as they were found.",
    "Nothing of this backup was kept.",
)
_NOT_BACK = "NOT everything could be put back"
_SETTLE_SECONDS = 3.0
_SWAP_BEGINS = "Note that the swap begins"


@dataclass
class Verdict:
    """What became of a point.

    :ivar outcomes: each state that was judged, in a few words.
    :ivar missed: why the fault did not happen; empty when it did.
    :ivar last_try: it is not tried again earlier.
    """

    point: Point
    outcomes: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    missed: str = ""
    last_try: bool = True
    seconds: float = 0.0


class Trials:
    """Plays points one after the other in a lab, each on what the ones before have left."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.sets = watch.Sets()
        self.runs: list[Run] = []
        #: A finished restore and the command that takes it back, made once in a lab.
        self.restored: tuple[Moment, list[str]] | None = None
        self._kept: list[str] = []
        self._before: set[str] = set()
        self._sets_before: set[str] = set()

    def begin(self) -> None:
        """Start with a fresh lab."""
        self.lab.reset()
        self.sets = watch.Sets()
        self.runs, self._kept = [], []

    def play(self, point: Point, plain_run: bool, last_try: bool = True) -> Verdict:
        """Let one fault happen and judge what it has left.

        :param plain_run: end with a run that is left alone.
        :param last_try: whether the point is not tried once more where it is missed.
        """
        verdict = Verdict(point, last_try=last_try)
        self._before = set(watch.strays(self.lab))
        self._sets_before = set(self.lab.set_ids())
        try:
            self._play(point, verdict)
            # What is tried again begins where this began.
            if plain_run and not verdict.violations and (last_try or not verdict.missed):
                self._next_plain_run(point.what, verdict)
        except (Stuck, ServerError, AssertionError) as problem:
            verdict.violations.append("it could not be judged: %s" % problem)
        return verdict

    def _next_plain_run(self, what: str, verdict: Verdict) -> None:
        before = self.lab.set_ids()
        run = self._run("backup" if what == "backup" else "safe-restore")
        if run.rc != 0:
            verdict.violations.append("the next plain run fails: %s" % _tail(run))
            return
        state, differences = watch.which(self.lab)
        verdict.outcomes.append("the next plain run: %s" % state)
        found = verdict.violations
        if state != ("old" if what == "backup" else "new"):
            found.append("after the next plain run the instance is %s: %s" % (state, differences))
        if what == "backup" and len(self.lab.set_ids()) != len(before) + 1:
            found.append("the next plain run made no set: %s" % self.lab.set_ids())
        found += self.sets.damage(self.lab) + watch.visible(self.lab, finished=True)
        found += watch.busy(self.lab, self.runs)
        self._before = set()
        found += [
            "left after the next plain run: %s" % s for s in self._strays([restore_id(run)] if restore_id(run) else [])
        ]

    def _play(self, point: Point, verdict: Verdict) -> None:
        fault = Undo(self.lab, point, self._restore()) if point.what == "undo" else Fault(self.lab, point)
        self.runs.append(fault.run)
        try:
            fault.happen()
        except Missed as missed:
            verdict.missed = str(missed)
        finally:
            self.runs += fault.others
            self._kept += _KEPT_AS.findall(fault.run.output)
        self._judge(fault, verdict)

    def _restore(self) -> list[str]:
        """Go to where a restore is finished; return the command that takes it back."""
        if self.restored is None:
            self.begin()
            restore = self._run("restore")
            if restore.rc != 0:
                raise Stuck("the restore that was to be undone failed: %s" % _tail(restore))
            self.restored = self.lab.keep("restored"), restore.way_back()
        moment, command = self.restored
        self.lab.reset(moment)
        self._sets_before = set(self.lab.set_ids())
        return command

    def _judge(self, fault: Fault, verdict: Verdict) -> None:
        run, lab, found = fault.run, self.lab, verdict.violations
        if fault.killed:
            # What was under way on the host may come to its end; what waits for the controller does not.
            watch.settled(lambda: list(run.processes()), _SETTLE_SECONDS)
        found += self.sets.damage(lab)
        if watch.unfinished(lab) or set(lab.set_ids()) != self._sets_before:
            found += watch.visible(lab, finished=False)
        found += ["the second run: %s" % _tail(one) for one in fault.others if one.rc != 0 and not _is_refusal(one)]
        state, differences = watch.which(lab)
        ended = "killed" if fault.killed else "succeeded" if run.rc == 0 else "failed"
        verdict.outcomes.append("%s, %s" % (ended, state))
        restores = fault.point.what != "backup" or fault.point.fault == "second-restore"
        if state == "mixed" and not _may_be_mixed(fault):
            found.append("the instance is neither old nor new: %s" % differences)
        if state == "new" and not restores:
            found.append("a backup changed the instance")
        beside = [restore_id(one) for one in fault.others if one.rc == 0 and restore_id(one)]
        if ended == "failed":
            self._judge_failure(run, state, beside, found)
        if ended == "succeeded" and fault.point.what in ("restore", "safe-restore") and state != "new":
            found.append("the restore says success, the instance is %s: %s" % (state, differences))
        # Killed in its swap a run has a way back to take, whether or not anything was exchanged by then.
        in_swap = restores and ended == "killed" and _may_be_mixed(fault)
        if ended == "succeeded" and state == "new" and not fault.way_back():
            self.begin()  # nobody saw the command, and nobody needs it
        elif state != "old" or in_swap or fault.point.what == "undo" or _NOT_BACK in run.output:
            self._go_back(fault, verdict)

    def _judge_failure(self, run: Run, state: str, beside: Sequence[str], found: list[str]) -> None:
        """A run that failed by itself either put everything back, or says that it did not and how to.

        :param beside: ids of restores that were finished meanwhile.
        """
        text = run.output
        if _NOT_BACK in text:
            return
        if run.way_back() and not any(one in text for one in _PUT_BACK):
            found.append("it failed after changes began and does not say what became of them: %s" % _tail(run))
        if any(one in text for one in _PUT_BACK) and state != ("new" if beside else "old"):
            found.append("the run says that everything is as before, the instance is %s" % state)
        found += ["left after a run that put everything back: %s" % one for one in self._strays(beside)]
        found += watch.busy(self.lab, self.runs[-1:])

    def _go_back(self, fault: Fault, verdict: Verdict) -> None:
        """Take the way back that the run told of."""
        restores = [one for one in (*fault.others, fault.run) if one.way_back()]
        commands = [fault.way_back(), *[one.way_back() for one in reversed(restores) if one is not fault.run]]
        for command in filter(None, commands):
            undo = self._run(command)
            self._kept += _KEPT_AS.findall(undo.output)
            if undo.rc != 0:
                verdict.violations.append("the way back fails: %s" % _tail(undo))
        state, differences = watch.which(self.lab)
        verdict.outcomes.append("the way back: %s" % state)
        if not any(commands):
            verdict.violations.append("no way back was told")
        if state != "old":
            verdict.violations.append("after the way back the instance is %s: %s" % (state, differences))
        # Spools are the next plain run's to clear.
        left = [one for one in self._strays([]) if not one.startswith("spool")]
        verdict.violations += ["left after the way back: %s" % one for one in left]

    def _run(self, what: str | list[str]) -> Run:
        run = Run(self.lab, what)
        self.runs.append(run)
        run.finish()
        return run

    def _strays(self, kept: Sequence[str]) -> list[str]:
        """What is left since the point began, but for what a run said that it keeps."""
        found = [one for one in watch.strays(self.lab, kept) if one not in self._before]
        return [one for one in found if not any(one.endswith(" " + name) for name in self._kept)]


def restore_id(run: Run) -> str:
    """Return the id of a restore, from the command that it told."""
    return next((one.partition("=")[2] for one in run.way_back() if one.startswith("authentik_restore_id=")), "")


def _may_be_mixed(fault: Fault) -> bool:
    """Whether the swap had begun, or undoing it: then one way back is left to take."""
    return fault.point.what == "undo" or any(step.name == _SWAP_BEGINS for step in fault.run.steps())


def _is_refusal(run: Run) -> bool:
    """Whether a run refused to begin beside another with a reason of its own, and changed nothing."""
    if run.way_back():
        return any(one in run.output for one in _PUT_BACK)
    failed = [step for step in run.steps() if step.status == "failed"]
    return bool(failed) and not any(word in failed[0].error for word in ("Traceback", "MODULE FAILURE", "unreachable"))


def _tail(run: Run) -> str:
    failed = [step for step in run.steps() if step.status == "failed"]
    return "%s: %s" % (failed[-1].name, failed[-1].error) if failed else run.output[-1500:]
