# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The world that is played in, and what has to be true of the store after each step."""

from __future__ import annotations

import datetime
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pyrage

from tests.engine.disk import ID, LOCK, Disk
from tests.engine.model import Backup, Checks, Expected, Known
from tests.engine.product import INSTANCE, Product

#: How an action ended. Of what was killed or had no space left, only what it may not do is known.
DONE, REFUSED, BROKEN, GOES_ON = "done", "refused", "broken", "goes on"

_SUMS, _MANIFEST, _SEAL, _RESTORE = "SHA256SUMS", "manifest.json", "manifest.sha256.age", "RESTORE.md"


class World:
    """The store, what the engine knows of it, and the instance that is backed up.

    :ivar alive: unfinished sets whose owner lives, by what is known of it.
    :ivar silent: those of them of which nothing was heard for an hour.
    :ivar locked: whether somebody who lives holds the lock.
    """

    def __init__(self, folder: Path, rng: random.Random) -> None:
        identity = pyrage.x25519.Identity.generate()
        (folder / "identity").write_text(str(identity) + "\n")
        (folder / "identity").chmod(0o600)
        start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        self.product = Product(str(folder / "store"), str(identity.to_public()), str(folder / "identity"), start)
        self.disk = Disk(str(folder / "store"), INSTANCE)
        self.rng = rng
        self.known: dict[str, Known] = {}
        self.accepted = ""
        self.alive: set[str] = set()
        self.silent: set[str] = set()
        self.locked = False
        self.live: dict[str, Any] = {}
        self.steps: dict[str, int] = {}
        self._identity = identity
        self._opened: dict[bytes, bytes] = {}

    @property
    def now(self) -> datetime.datetime:
        """The clock."""
        return self.product.now

    def files(self, set_id: str) -> dict[str, bytes]:
        """Return what lies in a set's folder now."""
        return self.disk.files(set_id)

    def whole(self, one: Known) -> bool:
        """Tell whether every byte is what was published."""
        return self.files(one.set_id) == one.stored

    def complete(self, one: Known) -> bool:
        """Tell whether a look at names, sizes, manifest and checksums shows nothing wrong."""
        return complete(one, self.files(one.set_id))

    def listed(self) -> list[Known]:
        """Return the sets that ``list`` has to show."""
        return [one for one in self.known.values() if self.complete(one) and not one.checks.failed]

    def decrypted(self, data: bytes) -> bytes:
        """Return the content of an encrypted artifact, by the library itself."""
        if data not in self._opened:
            self._opened[data] = pyrage.decrypt(data, [self._identity])
        return self._opened[data]


def complete(one: Known, files: dict[str, bytes]) -> bool:
    """Tell whether names and sizes, and the content of the manifest and its checksums, are as published."""
    small = [name for name in one.stored if "/" not in name]
    return all(files.get(name) == one.stored[name] for name in small) and all(
        len(files.get(name, b"")) == len(data) and name in files for name, data in one.stored.items()
    )


def judge(world: World, actions: list[tuple[Expected, str]]) -> list[str]:
    """Compare the store with what the actions may have done, learn what they did, and return what is wrong."""
    found = _gone(world, actions) + _come(world, actions)
    found += _notes(world, actions)
    present = {set_id: world.files(set_id) for set_id in world.known}
    for one in world.known.values():
        found += _changed(one, present[one.set_id])
    shown = {one.set_id for one in world.known.values() if complete(one, present[one.set_id]) and not one.checks.failed}
    found += _listing(world, shown)
    return found + _restorable(world, shown, present)


def _gone(world: World, actions: list[tuple[Expected, str]]) -> list[str]:
    gone = sorted(set(world.known) - world.disk.sets())
    allowed = {set_id for expected, _outcome in actions for set_id in expected.going}
    found = ["%s was deleted, and nothing let it go" % one for one in gone if one not in allowed]
    if len(actions) == 1:
        (expected, outcome) = actions[0]
        if outcome == DONE:
            found += ["%s is there, and the policy lets it go" % one for one in expected.going if one not in gone]
        elif gone != sorted(expected.going)[: len(gone)]:
            found.append("%s went before older ones of %s" % (", ".join(gone), ", ".join(expected.going)))
    for set_id in gone:
        del world.known[set_id]
    return found


def _come(world: World, actions: list[tuple[Expected, str]]) -> list[str]:
    found = []
    came = sorted(world.disk.sets() - set(world.known))
    waiting = [expected.coming for expected, _outcome in actions if expected.coming]
    for set_id in came:
        files = world.files(set_id)
        backup = next((one for one in waiting if not _different(world, set_id, files, one)), None)
        if backup is None:
            reasons = [_different(world, set_id, files, one) for one in waiting] or ["nothing was to be published"]
            found.append("%s appeared: %s" % (set_id, "; ".join(reasons)))
            world.disk.remove(set_id)
            continue
        waiting.remove(backup)
        checks = _standing(world, set_id, hashlib.sha256(files[_MANIFEST]).hexdigest())
        started = json.loads(files[_MANIFEST])["started"]
        moment = datetime.datetime.strptime(started, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC)
        if set_id < max(world.known, default="") and len(actions) == 1:
            found.append("%s sorts before %s, which is older" % (set_id, max(world.known)))
        world.known[set_id] = Known(set_id, backup, moment, files, checks)
    for expected, outcome in actions:
        if outcome == DONE and expected.coming and expected.coming in waiting:
            found.append("A backup succeeded, and its set is not there")
        if outcome == REFUSED and expected.coming and expected.coming not in waiting:
            found.append("A backup failed, and its set is there all the same")
    for one in world.known.values():
        published = one.checks.verified or any(outcome in (BROKEN, GOES_ON) for _one, outcome in actions)
        if one.set_id in came and not published:
            found.append("%s was published, and nothing says that it was read back" % one.set_id)
    return found


def _different(world: World, set_id: str, files: dict[str, bytes], backup: Backup) -> str:
    """Say what is wrong with a new set of that content; empty when nothing is."""
    try:
        manifest = json.loads(files[_MANIFEST])
        sums = {line[66:]: line[:64] for line in files[_SUMS].decode().splitlines()}
    except (KeyError, ValueError) as exc:
        return "manifest or checksums cannot be read: %s" % exc
    if manifest["id"] != set_id or manifest.get("restore_id", "") != backup.restore_id:
        return "the manifest is another one's"
    ending = ".age" if backup.encrypted else ""
    wanted = {path + ending for path in backup.content()}
    beside = {_MANIFEST, _SUMS, _RESTORE, *([_SEAL] if backup.encrypted else [])}
    if set(files) != wanted | beside:
        return "it holds %s" % ", ".join(sorted(files))
    if set(sums) != set(files) - {_SUMS}:
        return "SHA256SUMS is about %s" % ", ".join(sorted(sums))
    for name, digest in sums.items():
        if hashlib.sha256(files[name]).hexdigest() != digest:
            return "%s has not its checksum" % name
    for path, data in backup.content().items():
        stored = files[path + ending]
        if (world.decrypted(stored) if backup.encrypted else stored) != data:
            return "%s is not what was put in" % path
    if backup.encrypted and world.decrypted(files[_SEAL]).split()[0].decode() != sums[_MANIFEST]:
        return "the seal is about another manifest"
    return ""


def _standing(world: World, set_id: str, manifest_sha256: str) -> Checks:
    note = world.disk.note(set_id + ".verified.json")
    checks = note.get("checks", []) if isinstance(note, dict) else []
    return Checks(
        frozenset(
            (one["level"], "passed" if one["ok"] else "unproved" if one["unproved"] else "failed")
            for one in checks
            if one["manifest_sha256"] == manifest_sha256
        )
    )


def _notes(world: World, actions: list[tuple[Expected, str]]) -> list[str]:
    found = []
    # What ended has done all of it; of what did not, anything may be there.
    ended = all(outcome in (DONE, REFUSED) for _expected, outcome in actions) and len(actions) == 1
    for one in world.known.values():
        checks = _standing(world, one.set_id, hashlib.sha256(one.stored[_MANIFEST]).hexdigest())
        new = [expected.checks[one.set_id] for expected, _outcome in actions if one.set_id in expected.checks]
        allowed = new if ended and new else [one.checks, *new]
        if checks not in allowed:
            shown = " or ".join(str(sorted(option.standing)) for option in allowed)
            found.append("%s: recorded is %s; right is %s" % (one.set_id, sorted(checks.standing), shown))
        one.checks = checks
        note = world.disk.note(one.set_id + ".pinned.json")
        exists = one.set_id + ".pinned.json" in world.disk.names()
        pin = note.get("reason", "?") if isinstance(note, dict) else "?" if exists else ""
        pins = [expected.pins[one.set_id] for expected, _outcome in actions if one.set_id in expected.pins]
        if pin not in (pins if ended and pins else [one.pinned, *pins]):
            found.append("%s: its pin is %r; right is %r" % (one.set_id, pin, pins or one.pinned))
        one.pinned = pin
    accepted = (world.disk.note(".shrink-accepted.json") or {}).get("id", "")
    wanted = [expected.accepted for expected, _outcome in actions if expected.accepted]
    if accepted not in (wanted if ended and wanted else [world.accepted, *wanted]):
        found.append("Accepted is %r; right is %r" % (accepted, wanted or world.accepted))
    world.accepted = accepted
    return found


def _changed(one: Known, files: dict[str, bytes]) -> list[str]:
    names = {name for name in {*files, *one.stored} if files.get(name) != one.stored.get(name)}
    return ["%s/%s is not what it was, and nobody damaged it" % (one.set_id, name) for name in names - one.touched]


def _listing(world: World, shown: set[str]) -> list[str]:
    listing = world.product.listed()
    found = ["%s is listed, and it is damaged" % one for one in listing.sets if one not in shown]
    for one in sorted(shown - set(listing.sets)):
        found.append("%s is not listed: %s" % (one, listing.problems.get(one, "no reason is told")))
    names = {name for name in world.disk.names() if ID.match(name) and not name.endswith(".json")}
    untold = names - set(listing.sets) - set(listing.problems)
    found += ["nothing is said of %s" % one for one in sorted(untold)]
    for set_id, pin in listing.sets.items():
        if set_id in world.known and bool(pin) != bool(world.known[set_id].pinned):
            found.append("%s is listed with the pin %r" % (set_id, pin))
    found += ["%s lost its owner's work" % one for one in sorted(world.alive - world.disk.names())]
    return found


def _restorable(world: World, shown: set[str], present: dict[str, dict[str, bytes]]) -> list[str]:
    """Restore from the newest backup, and from the newest that is whole: content equal to what was put in."""
    backups = sorted(set_id for set_id in shown if not world.known[set_id].backup.restore_id)
    expected = max(backups or shown, default="")
    latest = world.product.latest()
    found = [] if latest == expected else ["latest is %r; right is %r" % (latest, expected)]
    proved = [set_id for set_id in backups if world.known[set_id].checks.verified]
    whole = [set_id for set_id in proved if present[set_id] == world.known[set_id].stored]
    for set_id in whole[-1:]:
        if world.product.content(set_id) != world.known[set_id].backup.content():
            found.append("%s does not give back what was put in" % set_id)
    return found


def strays(world: World, opened: bool, pruned: bool) -> list[str]:
    """Return what should have been cleared by a backup that began, or a prune that ended."""
    names = world.disk.names()
    found = []
    if opened:
        found += [one for one in names if one == LOCK]
        found += [one for one in names if ID.match(one) and one.endswith(".partial") and one not in world.alive]
    if pruned:
        sets = {one for one in names if ID.fullmatch(one)}
        found += [one for one in names if one.endswith(".deleting") or one == LOCK]
        found += [one for one in names if one.endswith(".json") and ID.match(one) and one[:21] not in sets]
        found += [one for one in names if one.startswith(".") and one.endswith(".partial")]
    return ["%s is left" % one for one in sorted(found)]
