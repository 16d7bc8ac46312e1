# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is played: each action is chosen, says what it may do to the store, and can then be run, killed or paused."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Callable
from typing import Any

from tests.engine import retention
from tests.engine.copies import copy
from tests.engine.model import FAILED, LEVELS, PASSED, UNPROVED, Action, Backup, Expected, Known
from tests.engine.oracle import World
from tests.engine.place import Place

_DIRECTORIES = {"media": "static/media.tar.gz", "certs": "static/certs.tar.gz"}
_RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


def backup(world: World, rng: random.Random) -> Action:
    """Save the instance, or some of its components, as a set or a safety set."""
    _live_on(world, rng)
    made = _content(world, rng)
    made.encrypted = rng.random() < 0.3
    made.fails = rng.random() < 0.1
    if rng.random() < 0.1:
        made.restore_id = "20200101T000000Z-%04x" % rng.randrange(1 << 16)
    entropy = rng.randrange(1 << 30)

    def run() -> dict[str, Any]:
        world.product.entropy = random.Random(entropy)
        return world.product.backup(made)

    def expect() -> Expected:
        return Expected(coming=made, refused=made.fails or world.here.busy, opens=True)

    words = [*made.artifacts, *(word for word in ("encrypted", "restore_id", "fails") if getattr(made, word))]
    return Action("backup", "backup of %s" % ", ".join(words), expect, run)


def prune(world: World, rng: random.Random) -> Action:
    """Prune by a random policy, as the role does, or only some of what goes."""
    options: dict[str, Any] = {}
    for rule in rng.sample(_RULES, rng.randint(1, 2)):
        options["keep_" + rule] = rng.randint(1, 3)
    if rng.random() < 0.3:
        options["keep_within"] = "%dh" % rng.choice([1, 12, 48, 400])
    options["minimum_verified"] = rng.choice([1, 2, 2, 3])
    options["safety_days"] = rng.choice([0, 2, 30])
    options["shrink_limit"] = rng.choice([0.0, 0.5, 0.5, 0.9])
    listed = sorted(one.set_id for one in world.here.listed())
    if listed and rng.random() < 0.35:
        options["shrink_accepted"] = listed[-1]
    share, check = rng.choice([1.0, 1.0, 0.5]), rng.random() < 0.1
    chosen = [one for one in sorted(world.here.known) if rng.random() < share]
    if share < 1:
        options["only"] = chosen

    def expect() -> Expected:
        expected = _pruned(world, options, check)
        return Expected(refused=expected.refused) if check else expected

    told = ", ".join("%s=%s" % pair for pair in sorted(options.items()))
    run: Callable[[], dict[str, Any]] = lambda: world.product.prune(check, **options)  # noqa: E731
    return Action("prune", "%s: %s" % ("plan" if check else "prune", told), expect, run, prunes=not check)


def verify(world: World, rng: random.Random) -> Action | None:
    """Verify a set at one level, with or without the identity."""
    place = _place(world, rng)
    one = place.some(rng)
    if one is None:
        return None
    level, identity = rng.choice(LEVELS), rng.random() < 0.7
    run: Callable[[], dict[str, Any]] = lambda: world.product.verify(place.store, one.set_id, level, identity)  # noqa: E731
    told = "verify %s of %s%s%s" % (level, place.said, one.set_id, "" if identity else " without an identity")

    def expect() -> Expected:
        return dataclasses.replace(_verified(place, one.set_id, level, identity), there=place is world.there)

    return Action("verify", told, expect, run)


def pin(world: World, rng: random.Random) -> Action | None:
    """Pin a set, or take its pin away."""
    place = _place(world, rng)
    one = place.some(rng)
    if one is None:
        return None
    reason = "" if one.pinned and rng.random() < 0.8 else "reason %d" % rng.randrange(100)

    def expect() -> Expected:
        known, there = place.known.get(one.set_id), place is world.there
        if known is None or not place.complete(known):
            return Expected(refused=True, there=there)
        return Expected(pins={one.set_id: reason}, there=there)

    run: Callable[[], dict[str, Any]] = lambda: world.product.pin(place.store, one.set_id, reason)  # noqa: E731
    return Action("pin", "%s %s%s" % ("pin" if reason else "unpin", place.said, one.set_id), expect, run)


def _place(world: World, rng: random.Random) -> Place:
    return world.there if rng.random() < 0.2 else world.here


def look(world: World, rng: random.Random) -> Action:
    """List, and read the newest set: that is what is judged after every step anyway."""

    def run() -> dict[str, Any]:
        listing = world.product.listed(world.here.store)
        for set_id in sorted(listing.sets)[-1:]:
            if world.here.whole(world.here.known[set_id]):
                world.product.content(world.here.store, set_id)
        return {}

    return Action("look", "list and read", Expected, run)


def _pruned(world: World, options: dict[str, Any], check: bool) -> Expected:
    listed = world.here.listed()
    before = world.here.accepted
    accepted = max(before, options.get("shrink_accepted", ""))
    there = {one.set_id for one in world.here.known.values() if world.here.complete(one)}
    if accepted != before and accepted not in there:
        return Expected(refused=True)
    if (world.here.locked and not check) or world.here.alive or _obstacles(world, listed):
        return Expected(refused=True)
    if retention.losses(listed, options["shrink_limit"], accepted, world.now):
        return Expected(refused=True)
    going = retention.going(listed, options, world.now)
    going = [one for one in going if one in options.get("only", going)]
    return Expected(going=going, accepted=accepted if accepted != before else "")


def _obstacles(world: World, listed: list[Known]) -> list[str]:
    """Return what is newer than every usable backup, and that one where it is not proved."""
    backups = sorted((one for one in listed if not one.backup.restore_id), key=lambda one: one.set_id)
    newest = backups[-1].set_id if backups else ""
    damaged = set(world.here.known) - {one.set_id for one in listed}
    dead = {name for name in world.here.disk.names() if name.endswith(".partial") and not name.startswith(".")}
    found = [name for name in damaged | (dead - world.here.alive) if name > newest]
    return found + [one.set_id for one in backups[-1:] if not one.checks.verified]


def _verified(place: Place, set_id: str, level: str, identity: bool) -> Expected:
    one = place.known.get(set_id)
    # Where nothing can be said of the set's own manifest, nothing is recorded.
    if one is None or not place.complete(one):
        return Expected(refused=True)
    if one.backup.encrypted and level == "decode" and not identity:
        outcome = UNPROVED
    else:
        outcome = PASSED if place.whole(one) else FAILED
    return Expected(checks={set_id: one.checks.after(level, outcome)}, refused=outcome != PASSED)


def _live_on(world: World, rng: random.Random) -> None:
    """Let the instance change between two backups; sometimes it loses much."""
    live = world.live
    if not live:
        live.update(users=40, groups=20, session=30, media=30, certs=12, redis=10, config=1)
    for name in ("users", "groups", "media", "certs"):
        if name in _DIRECTORIES and rng.random() < 0.6:
            continue
        live[name] = max(0, live[name] + rng.randint(-1, 4))
        live["version " + name] = rng.randrange(1 << 30)
        if rng.random() < 0.04:
            live[name] //= 3
        elif live[name] < 15 and rng.random() < 0.5:
            live[name] += 20
    live["session"] = rng.randrange(200)


def _content(world: World, rng: random.Random) -> Backup:
    """Return what a backup of the instance, as it is now, saves."""
    live = world.live
    made = Backup({}, {}, {}, {}, started=world.now)
    tables = {name: live[name] for name in ("users", "groups", "session")}
    made.artifacts["postgresql"] = {
        path: rng.randbytes(rng.randint(20, 3000)) + b"\n"
        for path in ("postgresql/authentik.dump", "postgresql/globals.sql.gz")
    }
    made.fingerprints["postgresql"] = {
        "tables": {"public.authentik_%s" % name: {"rows": rows} for name, rows in tables.items()}
    }
    made.counts["postgresql"] = {**tables, "all": live["users"] + live["groups"]}
    if rng.random() < 0.25:
        return made
    for component, path in _DIRECTORIES.items():
        version = "%s %s %s" % (component, live[component], live.get("version " + component))
        made.digests[component] = hashlib.sha256(version.encode()).hexdigest()
        made.artifacts[component] = {path: random.Random(version).randbytes(200 + 10 * live[component]) + b"\n"}
        files = live[component]
        made.fingerprints[component] = {"digest": made.digests[component], "files": files, "bytes": files * 100}
        made.counts[component] = {"files": files}
    if rng.random() < 0.3:
        made.artifacts["redis"] = {"redis/dump.rdb": rng.randbytes(rng.randint(10, 500)) + b"\n"}
        made.fingerprints["redis"], made.counts["redis"] = {}, {}
    return made


#: What can be killed, paused, and starved of space, with its weight.
ACTIONS: list[tuple[Callable[[World, random.Random], Action | None], int]] = [
    (backup, 34),
    (prune, 22),
    (verify, 14),
    (pin, 5),
    (copy, 12),
    (look, 2),
]
