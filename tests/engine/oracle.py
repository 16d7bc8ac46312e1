# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The world that is played in, and what has to be true of the stores after each step."""

from __future__ import annotations

import datetime
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pyrage

from tests.engine.disk import ID, LOCK
from tests.engine.model import PUBLISHED, Backup, Checks, Expected, Known
from tests.engine.place import Place, complete
from tests.engine.product import INSTANCE, Product

#: How an action ended. Of what was killed or had no space left, only what it may not do is known.
DONE, REFUSED, BROKEN, GOES_ON = "done", "refused", "broken", "goes on"

_SUMS, _MANIFEST, _SEAL, _RESTORE = "SHA256SUMS", "manifest.json", "manifest.sha256.age", "RESTORE.md"


class World:
    """The two stores, and the instance that is backed up.

    :ivar here: the store that backups go to.
    :ivar there: the other place, which sets are copied to, and back from.
    """

    def __init__(self, folder: Path, rng: random.Random) -> None:
        identity = pyrage.x25519.Identity.generate()
        (folder / "identity").write_text(str(identity) + "\n")
        (folder / "identity").chmod(0o600)
        start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        self.product = Product(str(folder / "store"), str(identity.to_public()), str(folder / "identity"), start)
        self.here = Place(str(folder / "store"), INSTANCE, "")
        self.there = Place(str(folder / "other"), INSTANCE, "in the other place ")
        self.rng = rng
        self.live: dict[str, Any] = {}
        self.steps: dict[str, int] = {}
        self._identity = identity
        self._opened: dict[bytes, bytes] = {}

    @property
    def now(self) -> datetime.datetime:
        """The clock."""
        return self.product.now

    def place(self, expected: Expected) -> Place:
        """Return the store that an action changes."""
        return self.there if expected.there else self.here

    def grow_old(self) -> None:
        """Let a minute pass in both stores, see :meth:`disk.Disk.grow_old`."""
        self.here.disk.grow_old()
        self.there.disk.grow_old()

    def decrypted(self, data: bytes) -> bytes:
        """Return the content of an encrypted artifact, by the library itself."""
        if data not in self._opened:
            self._opened[data] = pyrage.decrypt(data, [self._identity])
        return self._opened[data]


def judge(world: World, actions: list[tuple[Expected, str]]) -> list[str]:
    """Compare the stores with what the actions may have done, learn what they did, and return what is wrong."""
    found = []
    for place in (world.here, world.there):
        mine = [one for one in actions if world.place(one[0]) is place]
        found += [place.said + one for one in _judged(world, place, mine or [(Expected(), DONE)])]
    return found


def _judged(world: World, place: Place, actions: list[tuple[Expected, str]]) -> list[str]:
    found = _gone(place, actions) + _come(world, place, actions)
    found += _notes(place, actions)
    present = {set_id: place.files(set_id) for set_id in place.known}
    for one in place.known.values():
        found += _changed(one, present[one.set_id])
    shown = {one.set_id for one in place.known.values() if complete(one, present[one.set_id]) and not one.checks.failed}
    found += ["%s lost its owner's work" % one for one in sorted(place.alive - place.disk.names())]
    if not _news(place, present, shown):
        return found
    return found + _listing(world, place, shown) + _restorable(world, place, shown, present)


def _news(place: Place, present: dict[str, dict[str, bytes]], shown: set[str]) -> bool:
    """Tell whether anything there is different from what the collection said what it thinks of."""
    names = place.disk.names()
    now = (names, present, shown, {one.set_id: one.pinned for one in place.known.values()})
    same = place.seen == now and not any(name.endswith(".partial") for name in names)
    place.seen = now
    return not same


def _gone(place: Place, actions: list[tuple[Expected, str]]) -> list[str]:
    gone = sorted(set(place.known) - place.disk.sets())
    allowed = {set_id for expected, _outcome in actions for set_id in expected.going}
    found = ["%s was deleted, and nothing let it go" % one for one in gone if one not in allowed]
    if len(actions) == 1:
        (expected, outcome) = actions[0]
        if outcome == DONE:
            found += ["%s is there, and the policy lets it go" % one for one in expected.going if one not in gone]
        elif gone != sorted(expected.going)[: len(gone)]:
            found.append("%s went before older ones of %s" % (", ".join(gone), ", ".join(expected.going)))
    for set_id in gone:
        del place.known[set_id]
    return found


def _come(world: World, place: Place, actions: list[tuple[Expected, str]]) -> list[str]:
    found = []
    came = sorted(place.disk.sets() - set(place.known))
    waiting = [expected.coming for expected, _outcome in actions if expected.coming]
    for set_id in came:
        copies = [expected for expected, _outcome in actions if set_id in expected.copies]
        if copies:
            found += _copied(place, set_id, copies)
            continue
        files = place.files(set_id)
        backup = next((one for one in waiting if not _different(world, set_id, files, one)), None)
        if backup is None:
            reasons = [_different(world, set_id, files, one) for one in waiting] or ["nothing was to be published"]
            found.append("%s appeared: %s" % (set_id, "; ".join(reasons)))
            place.disk.remove(set_id)
            continue
        waiting.remove(backup)
        checks = place.standing(set_id, files[_MANIFEST])
        started = json.loads(files[_MANIFEST])["started"]
        moment = datetime.datetime.strptime(started, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC)
        if set_id < max(place.known, default="") and len(actions) == 1:
            found.append("%s sorts before %s, which is older" % (set_id, max(place.known)))
        place.known[set_id] = Known(set_id, backup, moment, files, checks)
    for expected, outcome in actions:
        if outcome == DONE and expected.coming and expected.coming in waiting:
            found.append("A backup succeeded, and its set is not there")
        if outcome == REFUSED and expected.coming and expected.coming not in waiting:
            found.append("A backup failed, and its set is there all the same")
        if outcome == DONE or (outcome == REFUSED and len(actions) == 1):
            found += ["%s was not copied" % one for one in expected.copies if one not in place.known]
    for one in place.known.values():
        published = one.checks.verified or any(outcome in (BROKEN, GOES_ON) for _one, outcome in actions)
        if one.set_id in came and not published:
            found.append("%s was published, and nothing says that it was read back" % one.set_id)
    return found


def _copied(place: Place, set_id: str, copies: list[Expected]) -> list[str]:
    """Say what is wrong with a set that came from the other store. What it brings with it is its pin, and no more."""
    original, files = copies[0].copies[set_id], place.files(set_id)
    found = []
    if files != original.stored:
        differing = sorted({name for name, _data in files.items() ^ original.stored.items()})
        found.append("%s was copied, and these are not what was published: %s" % (set_id, ", ".join(differing)))
    checks, pin = place.standing(set_id, original.stored[_MANIFEST]), place.pin(set_id)
    if checks not in (Checks(), PUBLISHED):
        found.append("%s was copied, and recorded is %s" % (set_id, sorted(checks.standing)))
    if pin not in [expected.pins[set_id] for expected in copies]:
        found.append("%s was copied, and its pin is %r" % (set_id, pin))
    place.known[set_id] = Known(set_id, original.backup, original.started, original.stored, checks, pin)
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


def _notes(place: Place, actions: list[tuple[Expected, str]]) -> list[str]:
    found = []
    # What ended has done all of it; of what did not, anything may be there.
    ended = all(outcome in (DONE, REFUSED) for _expected, outcome in actions) and len(actions) == 1
    for one in place.known.values():
        checks = place.standing(one.set_id, one.stored[_MANIFEST])
        new = [expected.checks[one.set_id] for expected, _outcome in actions if one.set_id in expected.checks]
        allowed = new if ended and new else [one.checks, *new]
        if checks not in allowed:
            shown = " or ".join(str(sorted(option.standing)) for option in allowed)
            found.append("%s: recorded is %s; right is %s" % (one.set_id, sorted(checks.standing), shown))
        one.checks = checks
        pin = place.pin(one.set_id)
        pins = [expected.pins[one.set_id] for expected, _outcome in actions if one.set_id in expected.pins]
        if pin not in (pins if ended and pins else [one.pinned, *pins]):
            found.append("%s: its pin is %r; right is %r" % (one.set_id, pin, pins or one.pinned))
        one.pinned = pin
    accepted = (place.disk.note(".shrink-accepted.json") or {}).get("id", "")
    wanted = [expected.accepted for expected, _outcome in actions if expected.accepted]
    if accepted not in (wanted if ended and wanted else [place.accepted, *wanted]):
        found.append("Accepted is %r; right is %r" % (accepted, wanted or place.accepted))
    place.accepted = accepted
    return found


def _changed(one: Known, files: dict[str, bytes]) -> list[str]:
    names = {name for name in {*files, *one.stored} if files.get(name) != one.stored.get(name)}
    return ["%s/%s is not what it was, and nobody damaged it" % (one.set_id, name) for name in names - one.touched]


def _listing(world: World, place: Place, shown: set[str]) -> list[str]:
    listing = world.product.listed(place.store)
    found = ["%s is listed, and it is damaged" % one for one in listing.sets if one not in shown]
    for one in sorted(shown - set(listing.sets)):
        found.append("%s is not listed: %s" % (one, listing.problems.get(one, "no reason is told")))
    names = {name for name in place.disk.names() if ID.match(name) and not name.endswith(".json")}
    untold = names - set(listing.sets) - set(listing.problems)
    found += ["nothing is said of %s" % one for one in sorted(untold)]
    for set_id, pin in listing.sets.items():
        if set_id in place.known and bool(pin) != bool(place.known[set_id].pinned):
            found.append("%s is listed with the pin %r" % (set_id, pin))
    return found


def _restorable(world: World, place: Place, shown: set[str], present: dict[str, dict[str, bytes]]) -> list[str]:
    """Restore from the newest backup, and from the newest that is whole: content equal to what was put in."""
    backups = sorted(set_id for set_id in shown if not place.known[set_id].backup.restore_id)
    expected = max(backups or shown, default="")
    latest = world.product.latest(place.store)
    found = [] if latest == expected else ["latest is %r; right is %r" % (latest, expected)]
    proved = [set_id for set_id in backups if place.known[set_id].checks.verified]
    whole = [set_id for set_id in proved if present[set_id] == place.known[set_id].stored]
    for set_id in whole[-1:]:
        # What did, does as long as no byte is another one.
        if place.restored != set_id:
            content = world.product.content(place.store, set_id)
            if content != place.known[set_id].backup.content():
                found.append("%s does not give back what was put in" % set_id)
        place.restored = set_id
    return found


def strays(place: Place, opened: bool, pruned: bool) -> list[str]:
    """Return what should have been cleared by a backup or copy that began, or a prune that ended."""
    names = place.disk.names()
    found = []
    if opened:
        found += [one for one in names if one == LOCK]
        found += [one for one in names if ID.match(one) and one.endswith(".partial") and one not in place.alive]
    if pruned:
        sets = {one for one in names if ID.fullmatch(one)}
        found += [one for one in names if one.endswith(".deleting") or one == LOCK]
        # What is copied is pinned before it is a set.
        unfinished = {one[:21] for one in names if one.endswith(".partial")}
        found += [one for one in names if one.endswith(".json") and ID.match(one) and one[:21] not in sets | unfinished]
        found += [one for one in names if one.startswith(".") and one.endswith(".partial")]
    return ["%s%s is left" % (place.said, one) for one in sorted(found)]
