# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Names and states of the databases that a restore makes beside the live one. Pure.

One restore, known by its id, uses for a database ``authentik``:

* ``authentik_load_<id>``: being filled; worth nothing;
* ``authentik_new_<id>``: complete and proved, gets this name only then;
* ``authentik_before_<id>``: what was live before the swap, or, in place, what is about to be dropped;
* ``authentik_undone_<id>``: what a restore had brought, put aside again by undo.

So which steps have been done can be read off the names alone, whatever was killed in between.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import ID_PATTERN, check_id, is_id

if TYPE_CHECKING:
    from typing import Collection

NAME_BYTES = 63
_LONGEST = "undone"
_KINDS = ("load", "new", "before", "undone")
_SUFFIX_PATTERN = ID_PATTERN.replace("T", "t").replace("Z", "z").replace("-[0-9a-f]", "_[0-9a-f]")


class Names(NamedTuple):
    """The names of one restored database."""

    live: str
    load: str
    new: str
    before: str
    undone: str


def suffix_of(restore_id: str) -> str:
    """Return a restore id as part of a database name: ``20261122T031500Z-7f3a`` gives ``20261122t031500z_7f3a``.

    :raises InputError: when it is no id.
    """
    return check_id(restore_id).lower().replace("-", "_")


def names_for(live: str, restore_id: str) -> Names:
    """Return the names for a database; a long one is cut, with a digest that keeps it apart from others like it."""
    suffix = suffix_of(restore_id)
    room = NAME_BYTES - len("_%s_%s" % (_LONGEST, suffix))
    base = _shorten(live, room)
    return Names(live, *("%s_%s_%s" % (base, kind, suffix) for kind in _KINDS))


def abandoned_copies(live: str, databases: Collection[str], prepared: bool = True) -> list[str]:
    """Return the databases that restores of ``live`` were filling, or had prepared, whatever their id.

    None of them was ever live: a swap renames the prepared one.

    :param prepared: False to leave out those that are complete.
    """
    sample = names_for(live, "20000101T000000Z-0000")
    bases = [name[: -len("20000101t000000z_0000")] for name in (sample.load, sample.new)[: 1 + prepared]]
    return sorted(
        name
        for name in databases
        for base in bases
        if name.startswith(base) and re.fullmatch(_SUFFIX_PATTERN, name[len(base) :])
    )


def proof_name(live: str, set_id: str) -> str:
    """Return the name under which a set's database is restored to see that it can be."""
    suffix = suffix_of(set_id)
    return "%s_proof_%s" % (_shorten(live, NAME_BYTES - len("_%s_%s" % (_LONGEST, suffix))), suffix)


def left_proofs(live: str, databases: Collection[str]) -> list[str]:
    """Return the databases that proofs of C(live) made, whatever the set."""
    base = proof_name(live, "20000101T000000Z-0000")[: -len("20000101t000000z_0000")]
    return sorted(
        name for name in databases if name.startswith(base) and re.fullmatch(_SUFFIX_PATTERN, name[len(base) :])
    )


def check_other_name(name: str, live: Collection[str]) -> None:
    """Refuse a name that a database beside live ones cannot have, whether these exist or not. Pure.

    :raises InputError: saying why.
    """
    problem = ""
    if name in live:
        problem = "is the name of a live database: leave restore_as out to restore that one"
    elif not name.strip() or name != name.strip() or not name.isprintable():
        problem = "is empty, or holds blanks at its ends or characters that cannot be seen"
    elif len(name.encode("utf-8", "surrogateescape")) > NAME_BYTES:
        problem = "is longer than %d bytes, which is all that PostgreSQL keeps" % NAME_BYTES
    elif re.search(r"_(load|new|before|undone|proof)_%s(_\d+)?\Z" % _SUFFIX_PATTERN, name):
        problem = "has the form of the names that restores give to what they keep, and drop again"
    if problem:
        raise InputError("restore_as %r %s" % (name, problem), hint="choose another name")


def find_copies(live: str, databases: Collection[str]) -> list[tuple[str, str, str]]:
    """Return every database that restores of ``live`` left, sorted: its name, what it is, and the restore's id."""
    sample = "20000101T000000Z-0000"
    made = names_for(live, sample)
    found = []
    for kind, name in zip(_KINDS, made[1:]):
        base = name[: -len(sample)]
        for database in databases:
            match = re.fullmatch("(%s)(?:_[0-9]+)?" % _SUFFIX_PATTERN, database[len(base) :])
            if match and database.startswith(base):
                digits = match.group(1)
                restore_id = "%sT%sZ-%s" % (digits[:8], digits[9:15], digits[17:])
                if is_id(restore_id):
                    found.append((database, kind, restore_id))
    return sorted(found)


class Undo(NamedTuple):
    """What undo does: drop these, then put the live one aside (``aside``) and the kept one back (``back``)."""

    drop: list[str]
    aside: bool
    back: bool


def plan_undo(names: Names, databases: Collection[str]) -> Undo:
    """Say how to get back to the state before the restore, from whichever step it reached."""
    drop = [name for name in (names.load, names.new) if name in databases]
    back = names.before in databases
    return Undo(drop, back and names.live in databases, back)


def free_name(wanted: str, databases: Collection[str]) -> str:
    """Return ``wanted``, or the first of ``wanted_2``, ``wanted_3`` ... that no database has."""
    name, number = wanted, 1
    while name in databases:
        number += 1
        tail = "_%d" % number
        name = wanted[: NAME_BYTES - len(tail)] + tail
    return name


def _shorten(name: str, room: int) -> str:
    data = name.encode("utf-8")
    if len(data) <= room:
        return name
    digest = hashlib.sha256(data).hexdigest()[:8]
    return "%s_%s" % (data[: room - 9].decode("utf-8", "ignore"), digest)
