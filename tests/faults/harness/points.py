"""The table of fault points: which step of which run, and what happens to it there.

The steps are those that plain runs were seen to take, so a step that is added to a role is covered with nobody's doing.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tests.faults.harness.runs import Step

#: What happens to a run that waits at the beginning of a step.
BOUNDARY = "kill-playbook"

_DATABASE = ("kill-server", "lose-server", "cut-postgresql")
_EVERY = ("kill-playbook-within", "kill-main", "kill-module")
#: Action -> what happens at a random moment within it.
WITHIN: Mapping[str, Sequence[str]] = {
    "authentik_pg_dump": (*_EVERY, *_DATABASE, "kill-tool", "fill-host", "fill-store", "limit-files", "close-screen"),
    "authentik_pg_restore": (*_EVERY, *_DATABASE, "kill-tool", "fill-host", "fill-database", "close-screen"),
    "authentik_redis_snapshot": (*_EVERY, "kill-redis", "cut-redis", "fill-host", "fill-store", "limit-files"),
    "authentik_redis_restore": (*_EVERY, "kill-redis", "cut-redis", "fill-host", "limit-files"),
    "authentik_static_dirs": (*_EVERY, "fill-host", "fill-store", "limit-files"),
    "authentik_static_restore": (*_EVERY, "fill-host", "limit-files"),
    "authentik_config": (*_EVERY, "fill-host", "fill-store", "limit-files"),
    "authentik_config_restore": (*_EVERY, "fill-host", "limit-files"),
    "authentik_backup_set": ("fill-store",),
    "authentik_info": ("kill-server", "cut-postgresql"),
}
#: What of it happens while a restore makes its safety set. The set is a backup; what matters is where the restore ends.
WITHIN_SAFETY = ("kill-module", "kill-main", "fill-store")
#: Fault -> ends of the names of steps of a restore in which there is nothing that it could happen to: a check loads
#: nothing, and a swap renames.
NOTHING_THERE: Mapping[str, Sequence[str]] = {
    "fill-database": (": check", ": swap"),
    "kill-tool": (": swap",),
    "limit-files": (": swap",),
}
#: Within this part of a step; later ones are over before it happens.
_LATEST = 0.7
#: (run, action at whose beginning it waits) -> what is started beside it.
BESIDE: Mapping[tuple[str, str], Sequence[str]] = {
    ("backup", "authentik_pg_dump"): ("second-backup", "second-restore"),
    ("backup", "authentik_config"): ("second-backup",),
    ("restore", "authentik_pg_restore"): ("second-restore", "second-backup"),
    ("restore", "authentik_static_restore"): ("second-restore",),
}
#: (run, action) -> what the clock does to it.
CLOCK = {("backup", "authentik_backup_set"): "clock-back", ("restore", "authentik_backup_set_info"): "clock-back"}


@dataclass(frozen=True)
class Point:
    """One fault.

    :param what: the run: ``backup``, ``restore`` (without a safety set), ``safe-restore`` or ``undo``.
    :param step: the name of the step, numbered when it comes more than once.
    :param fault: what happens, a name in ``injectors``.
    :param delay: seconds after the step's beginning; 0 for a run that waits there.
    """

    what: str
    step: str
    fault: str
    delay: float = 0.0

    def __str__(self) -> str:
        return "%s:%s:%s%s" % (self.what, self.step, self.fault, "@%.2f" % self.delay if self.delay else "")

    def earlier(self) -> Point:
        """Return the same fault in half the time after the step's beginning; for what came too late."""
        return replace(self, delay=max(round(self.delay / 2, 2), 0.01))

    @classmethod
    def parse(cls, text: str) -> Point:
        """Read what :meth:`__str__` writes."""
        what, _colon, rest = text.partition(":")
        step, _colon, fault = rest.rpartition(":")
        fault, _at, delay = fault.partition("@")
        if not what or not step or not fault:
            raise ValueError("%r is no RUN:STEP:FAULT" % text)
        return cls(what, step, fault, float(delay or 0))


def every(
    seen: Mapping[str, Sequence[Step]], seed: int, left_out: Iterable[str] = (), each_name: bool = True
) -> list[Point]:
    """Return all points of the runs that were seen.

    :param seen: run -> its steps, in order.
    :param left_out: faults that cannot be had on this machine.
    :param each_name: False takes one of the boundaries between which a run does nothing.
    """
    points: list[Point] = []
    for what, steps in seen.items():
        there = [step for step in steps if step.status != "skipped"]
        if what == "safe-restore":
            known = {step.name for step in seen["restore"] if step.status != "skipped"}
            there = [step for step in there if step.name not in known]
        points += [Point(what, step.name, BOUNDARY) for step in _boundaries(what, there, seed, each_name)]
        if what != "undo":
            for step in there:
                points += _of_step(what, step, there, seed)
    return [point for point in points if point.fault not in set(left_out)]


def _boundaries(what: str, steps: Sequence[Step], seed: int, each_name: bool) -> list[Step]:
    chosen: list[Step] = []
    same: list[Step] = []
    for step in steps:
        same.append(step)
        if each_name or step.changed or step is steps[-1]:
            chosen.append(random.Random("%d:%s:%s" % (seed, what, step.name)).choice(same))
            same = []
    return chosen


def _of_step(what: str, step: Step, steps: Sequence[Step], seed: int) -> list[Point]:
    within = [one for one in WITHIN.get(step.short, ()) if what != "safe-restore" or one in WITHIN_SAFETY]
    within = [one for one in within if not step.name.endswith(tuple(NOTHING_THERE.get(one, ())))]
    points = [Point(what, step.name, fault, _delay(what, step, fault, seed)) for fault in within]
    if next(one for one in steps if one.short == step.short) == step and (what, step.short) in CLOCK:
        points.append(Point(what, step.name, CLOCK[what, step.short]))
    return points + [Point(what, step.name, fault) for fault in BESIDE.get((what, step.short), ())]


def _delay(what: str, step: Step, fault: str, seed: int) -> float:
    share = random.Random("%d:%s:%s:%s" % (seed, what, step.name, fault)).random()
    return round(max(share * _LATEST * step.seconds, 0.01), 2)


def choose(points: Sequence[Point], number: int, seed: int) -> list[Point]:
    """Choose so many: each fault once, then the step boundaries, then each fault in each kind of run, then more.

    :param number: 0 for all of them.
    """
    if not number or number >= len(points):
        return list(points)
    chance = random.Random("choose:%d" % seed)
    kinds: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        kinds.setdefault((point.fault, point.what), []).append(point)
    for group in kinds.values():
        chance.shuffle(group)
    first = {fault: chance.choice([kind for kind in kinds if kind[0] == fault]) for fault, _what in sorted(kinds)}
    order = [kinds[kind].pop() for kind in first.values()]
    boundaries = [point for kind in sorted(kinds) if kind[0] == BOUNDARY for point in kinds.pop(kind)]
    chance.shuffle(boundaries)
    order += boundaries
    others = sorted(kinds.keys() - set(first.values()))
    chance.shuffle(others)
    order += [kinds[kind].pop() for kind in others]
    while any(kinds.values()):
        order += [kinds[kind].pop() for kind in sorted(kinds) if kinds[kind]]
    chosen = set(order[:number])
    return [point for point in points if point in chosen]


def chains(points: Sequence[Point], length: int) -> list[list[Point]]:
    """Group points of one kind of run: after the last of a group, a plain run has to succeed on what all have left."""
    found: list[list[Point]] = []
    for point in points:
        if found and found[-1][-1].what == point.what and len(found[-1]) < length:
            found[-1].append(point)
        else:
            found.append([point])
    return found
