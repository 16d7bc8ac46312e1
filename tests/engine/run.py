# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps, one after the other, and what is said of those after which something was wrong."""

from __future__ import annotations

import dataclasses
import datetime
import os
import random
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.engine import actions, events, oracle
from tests.engine.faults import Child, Steps, full_disk
from tests.engine.model import PASSED, Action, Expected
from tests.engine.oracle import BROKEN, DONE, GOES_ON, REFUSED, World

_SHOWN = 12


def in_memory() -> str | None:
    """Return a folder that is in memory, None where there is none: thousands of syncs take their time on a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None


def _left_to_do(world: World, expected: Expected) -> Expected:
    """Return what an action that waits may still do: of a set that is visible already, only the note about that."""
    known = world.place(expected).known
    for one in known.values():
        if one.backup is expected.coming:
            return Expected(checks={one.set_id: one.checks.after("checksums", PASSED)})
    checks = {one: known[one].checks.after("checksums", PASSED) for one in expected.copies if one in known}
    copies = {one: original for one, original in expected.copies.items() if one not in known}
    return dataclasses.replace(expected, copies=copies, checks={**expected.checks, **checks})


def _one_of(table: Sequence[tuple[Any, int]], rng: random.Random) -> Any:
    return rng.choices([one for one, _weight in table], [weight for _one, weight in table])[0]


def _short(result: dict[str, Any]) -> str:
    return str(result.get("msg"))[:160] if result.get("failed") else "done"


def _refusal(expected: Expected, result: dict[str, Any]) -> list[str]:
    refused = bool(result.get("failed"))
    if refused == expected.refused:
        told = str(result.get("msg"))
        return ["the refusal does not name %s: %s" % (one, told) for one in expected.named if one not in told]
    return ["%s: %s" % ("refused without need" if refused else "not refused", result.get("msg"))]


def _has_to_succeed(before: Expected, now: Expected, other: Action) -> bool:
    """Tell whether nothing that was done meanwhile is a reason for a backup or copy to fail."""
    # A copy may find that its set was removed, has been copied, or that somebody else writes by now.
    crossed = bool(before.copies) and other.name in ("prune", "copy", "backup")
    return before.opens and not (before.refused or now.refused or crossed)


class Run:
    """Plays on stores of its own.

    :param folder: where they may lie; empty.
    :param seed: repeats a run: what is chosen in a step hangs on the seed and the step's number.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.seed = seed
        self.world = World(folder, random.Random(seed))
        self.history: list[str] = []
        self.violations: list[str] = []
        self.tally: dict[str, int] = {}

    def play(self, steps: int, stop_at: int = 1) -> int:
        """Play so many steps, fewer when there are that many violations; return how many were played."""
        with self.world.product.played():
            for number in range(1, steps + 1):
                self._step(number)
                if len(self.violations) >= stop_at:
                    return number
        return steps

    def _step(self, number: int) -> None:
        rng = random.Random("%d:%d" % (self.seed, number))
        self.world.product.now += datetime.timedelta(minutes=rng.choice([1, 30, 240, 600, 1500]))
        self._note(number, "")
        try:
            found = self._played(rng)
        except Exception:  # noqa: BLE001  whatever the collection raises is a finding
            found = [traceback.format_exc()]
        if found:
            self.violations.append(self._told(number, found))

    def _played(self, rng: random.Random) -> list[str]:
        choose = _one_of([*actions.ACTIONS, *events.EVENTS], rng)
        chosen = choose(self.world, rng)
        if chosen is None or isinstance(chosen, str):
            self._add(chosen or "nothing")
            self._count(choose.__name__)
            return oracle.judge(self.world, [(Expected(), DONE)])
        way = _one_of([(self._plain, 62), (self._killed, 15), (self._starved, 5), (self._meanwhile, 18)], rng)
        self._add(chosen.told)
        self._count("%s %s" % (chosen.name, way.__name__.strip("_")))
        return way(chosen, rng)

    def _plain(self, action: Action, rng: random.Random) -> list[str]:
        expected = action.expect()
        with Steps(0, lambda: None).watched(self.world.product) as steps:
            result = action.run()
        self.world.steps[action.name] = steps.count
        return self._ended(action, expected, result)

    def _ended(self, action: Action, expected: Expected, result: dict[str, Any]) -> list[str]:
        refused = bool(result.get("failed"))
        self._add(" -> %s" % _short(result))
        found = _refusal(expected, result)
        found += oracle.judge(self.world, [(expected, REFUSED if refused else DONE)])
        # Whoever was refused the lock cleared nothing.
        place = self.world.place(expected)
        return found + oracle.strays(place, expected.opens and not place.locked, action.prunes and not refused)

    def _killed(self, action: Action, rng: random.Random) -> list[str]:
        """Kill the action's process at a step."""
        expected, number = action.expect(), self._number(action, rng)
        result = Child(action.run, self.world.product, number, pauses=False).end(kill=False)
        if result is not None:
            return self._ended(action, expected, result)
        self._add(" -> killed at step %d" % number)
        self.world.grow_old()
        return oracle.judge(self.world, [(expected, BROKEN)])

    def _starved(self, action: Action, rng: random.Random) -> list[str]:
        """Let the disk be full from a step on."""
        expected, steps = action.expect(), Steps(self._number(action, rng), lambda: None)
        disk = self.world.place(expected).disk
        names = disk.names()
        with steps.watched(self.world.product), full_disk(steps):
            result = action.run()
        if steps.count < steps.number:
            return self._ended(action, expected, result)
        self._add(" -> the disk is full from step %d: %s" % (steps.number, _short(result)))
        found = oracle.judge(self.world, [(expected, BROKEN)])
        left = sorted(name for name in disk.names() - names if name.endswith(".partial"))
        return found + ["%s is left" % name for name in left]

    def _meanwhile(self, action: Action, rng: random.Random) -> list[str]:
        """Let another action through while this one waits at a step, which then goes on or is killed there."""
        world, number = self.world, self._number(action, rng)
        before = action.expect()
        place = world.place(before)
        names = place.disk.names()
        child = Child(action.run, world.product, number, pauses=True)
        if not child.paused:
            return self._ended(action, before, child.end(kill=False) or {})
        self._add(" -> waits at step %d; " % number)
        mine = {one for one in place.disk.names() - names if one.endswith(".partial") and not one.startswith(".")}
        was_locked = place.locked
        place.alive |= mine
        found = oracle.judge(world, [(before, GOES_ON)])
        before = _left_to_do(world, before)
        written = mine if before.coming or before.copies else set()
        if (
            written
            and rng.random() < (0.25 if before.coming else 0.7)
            and place.disk.spoil_unfinished(max(written), rng)
        ):
            return found + self._spoilt(child, mine, before)
        place.locked = was_locked or place.disk.held()
        other = self._other(rng)
        found += self._through(other, before)
        place.alive -= mine
        place.locked = was_locked
        # What it may do now by what is there now; a copy chose its sets before.
        before, now = _left_to_do(world, before), _left_to_do(world, action.expect())
        now.copies = {one: original for one, original in now.copies.items() if one in before.copies}
        ended = child.end(kill=rng.random() < 0.4)
        world.grow_old()
        self._add("is killed" if ended is None else "ends: %s" % _short(ended))
        if ended and ended["failed"] and _has_to_succeed(before, now, other):
            found.append("refused without need: %s" % ended["msg"])
        outcomes = [(before, BROKEN), (now, BROKEN)]
        if ended is not None and (before.coming or before.copies):
            outcomes[0] = (before, REFUSED if ended["failed"] else DONE)
        if ended is not None and before.coming:
            outcomes[1] = (Expected(), BROKEN)
        return found + oracle.judge(world, outcomes)

    def _spoilt(self, child: Child, mine: set[str], waiting: Expected) -> list[str]:
        """Let a backup or copy go on of which an artifact is not any more what was written: it may not become a set."""
        self._add("a byte of an artifact is flipped; the first one ")
        ended = child.end(kill=False) or {}
        self.world.place(waiting).alive -= mine
        self._add("ends: %s" % _short(ended))
        found = [] if ended.get("failed") else ["what is not what was written was published"]
        copies = {one: original for one, original in waiting.copies.items() if one + ".partial" not in mine}
        return found + oracle.judge(self.world, [(dataclasses.replace(waiting, coming=None, copies=copies), BROKEN)])

    def _through(self, other: Action, waiting: Expected) -> list[str]:
        """Do an action to its end while another one waits."""
        expected = other.expect()
        result = other.run()
        outcome = REFUSED if result.get("failed") else DONE
        self._add("%s -> %s; the first one " % (other.told, _short(result)))
        found = _refusal(expected, result)
        return found + oracle.judge(self.world, [(expected, outcome), (waiting, GOES_ON)])

    def _other(self, rng: random.Random) -> Action:
        while True:
            (choose,) = rng.choices(
                [one for one, _weight in actions.ACTIONS], [weight for _one, weight in actions.ACTIONS]
            )
            chosen = choose(self.world, rng)
            if chosen is not None:
                return chosen

    def _number(self, action: Action, rng: random.Random) -> int:
        return rng.randint(1, max(10, self.world.steps.get(action.name, 0) + 5))

    def _note(self, number: int, text: str) -> None:
        self.history.append("%5d  %s  %s" % (number, self.world.now.strftime("%Y-%m-%d %H:%M"), text))

    def _add(self, text: str) -> None:
        self.history[-1] += text

    def _count(self, name: str) -> None:
        self.tally[name] = self.tally.get(name, 0) + 1

    def _told(self, number: int, found: list[str]) -> str:
        lines = ["VIOLATION in step %d of seed %d:" % (number, self.seed)]
        lines += ["  " + one for one in found[:_SHOWN]]
        lines += ["The last steps:", *self.history[-_SHOWN:]]
        lines.append("Again: make test-engine SEED=%d STEPS=%d" % (self.seed, number))
        return "\n".join(lines)
