# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens to the stores and to the clock by other hands: it is done at once, and never killed."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable

from tests.engine import retention
from tests.engine.oracle import World
from tests.engine.place import Place

# So many sets make every rule work, and a step cheap.
_FEW, _FEW_THERE = 8, 4


def _place(world: World, rng: random.Random) -> Place:
    return world.there if rng.random() < 0.3 else world.here


def damage(world: World, rng: random.Random) -> str:
    """Flip a byte of a file, cut it off, remove it; a note too."""
    place = _place(world, rng)
    one = place.some(rng)
    if one is None:
        return "nothing to damage"
    if rng.random() < 0.15:
        note = one.set_id + ".verified.json"
        if rng.random() < 0.5:
            place.disk.write(note, b"{")
        else:
            place.disk.remove(note)
        one.checks = type(one.checks)()
        return "%sspoil what is recorded of %s" % (place.said, one.set_id)
    name = rng.choice(sorted(one.stored))
    data = bytearray(one.stored[name])
    path, kind = "%s/%s" % (one.set_id, name), rng.choice(["flip", "flip", "cut", "remove"])
    if kind == "remove":
        place.disk.remove(path)
        one.touched.add(name)
        return "%sremove %s" % (place.said, path)
    if kind == "cut":
        data = data[: rng.randrange(len(data))]
    else:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    for same in place.disk.write(path, bytes(data), in_place=rng.random() < 0.5):
        set_id, _slash, below = same.partition("/")
        place.known[set_id].touched.add(below)
    return "%s%s %s" % (place.said, kind, path)


def repair(world: World, rng: random.Random) -> str:
    """Put a damaged file back."""
    place = _place(world, rng)
    damaged = [one for one in place.known.values() if one.touched]
    if not damaged:
        return "nothing to repair"
    one = rng.choice(damaged)
    name = rng.choice(sorted(one.touched))
    place.disk.write("%s/%s" % (one.set_id, name), one.stored[name])
    one.touched.discard(name)
    return "%srepair %s/%s" % (place.said, one.set_id, name)


def clock(world: World, rng: random.Random) -> str:
    """Let the clock jump."""
    hours = rng.choice([-400, -30, -2, 5, 30, 400, 900])
    world.product.now += datetime.timedelta(hours=hours)
    return "the clock jumps by %d h" % hours


def foreign(world: World, rng: random.Random) -> str:
    """Another machine's unfinished set or lock comes, or falls silent."""
    place = _place(world, rng)
    place = next((one for one in (world.here, world.there) if one.alive or one.locked), place)
    if place.alive or place.locked:
        place.disk.forget_foreign(place.alive, rng.random() < 0.5)
        place.alive.clear()
        place.silent.clear()
        place.locked = False
        return "%sthe other machine is silent for long" % place.said
    hours = rng.choice([0, 0, 2, 25])
    if rng.random() < 0.5:
        place.disk.foreign_lock(600 + hours * 3600)
        place.locked = hours == 0
        return "%sanother machine's lock, silent for %d h" % (place.said, hours)
    name = place.disk.foreign_partial(_foreign_id(world, place, rng), 600 + hours * 3600)
    place.alive |= {name} if hours < 24 else set()
    place.silent |= {name} if 0 < hours < 24 else set()
    return "%s%s of another machine, silent for %d h" % (place.said, name, hours)


def _foreign_id(world: World, place: Place, rng: random.Random) -> str:
    """Return the id of what another machine writes: a copy too, where sets are copied to."""
    begun = {name[:21] for name in place.disk.names() if name.endswith(".partial")}
    missing = sorted(set(world.here.known) - set(world.there.known) - begun)
    if place is world.there and missing:
        return rng.choice(missing)
    newest = max([*place.known, world.now.strftime("%Y%m%dT%H%M%SZ-0000")])
    later = retention.id_time(newest) + datetime.timedelta(seconds=1)
    return "%s-%04x" % (later.strftime("%Y%m%dT%H%M%SZ"), rng.randrange(1 << 16))


def by_hand(world: World, rng: random.Random) -> str:
    """Somebody removes sets by hand: those first that no prune would ever remove."""
    place = _place(world, rng)
    removed: list[str] = []
    few, less = (_FEW, 5) if place is world.here else (_FEW_THERE, 2)
    while len(place.known) > few or (len(place.known) > less and not removed):
        known = place.known.values()
        stuck = [one.set_id for one in known if not one.checks.verified or one.pinned or one.touched]
        removed.append(min(stuck or place.known))
        place.disk.remove(removed[-1])
        del place.known[removed[-1]]
    return "%sremoved by hand: %s" % (place.said, ", ".join(removed) or "nothing")


#: What is played, with its weight.
EVENTS: list[tuple[Callable[[World, random.Random], str], int]] = [
    (damage, 8),
    (repair, 5),
    (clock, 3),
    (foreign, 3),
    (by_hand, 6),
]
