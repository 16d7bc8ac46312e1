# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The report of what a restore brings back to life: two snapshots of a schema compared, and put into sentences. Pure.

What cannot be compared is named. Nothing is left out in silence, because an empty report reads as "nothing comes back".
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._revival_sides import (
    BARE_SESSION,
    GRANTS,
    GROUP,
    LOGIN,
    MEMBERSHIPS,
    PARENTAGE,
    SESSION,
    TOKEN,
    USER,
)

if TYPE_CHECKING:
    from typing import Callable, Collection, Iterable, Iterator, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._revival_sides import Snapshot

NAMES_SHOWN = 20
APP_PASSWORD = "app_password"

#: What is reported, in this order: key of the result and how its sentence begins.
SENTENCES = (
    ("users_active_again", "users disabled since, who become active again"),
    ("users_returning", "users removed since, who come back"),
    ("users_vanishing", "users created since, who vanish"),
    ("superusers_gained", "users who become superusers, and are none now"),
    ("superusers_lost", "superusers now, who are none any more"),
    ("passwords", "users whose password was changed since: the previous one works again"),
    ("app_passwords", "app passwords revoked, expired or changed since, which work again"),
    ("tokens", "tokens revoked, expired or changed since, which work again"),
    ("sessions", "sessions ended since, which are logged in again"),
    ("bare_sessions", "sessions of django_session ended since, which come back"),
    ("grants", "grants to applications revoked or ended since, which are valid again"),
)


def compare(was: Snapshot, now: Snapshot) -> dict[str, Any]:
    """Return what a restore of ``was`` over ``now`` brings back, keys as in :data:`SENTENCES`, and ``not_compared``.

    Each is a dict of ``count`` and up to :data:`NAMES_SHOWN` ``names``.
    """
    result: dict[str, Any] = {key: name_some([]) for key, _sentence in SENTENCES}
    not_compared: list[str] = []
    for topic in _TOPICS:
        reasons = topic.reasons(was, now)
        not_compared += ["%s: %s" % (topic.name, reason) for reason in reasons]
        if not reasons:
            result.update(topic.compare(was, now))
    result.update(_bare_sessions(was, now), grants=name_some(_grants(was, now)))
    # Tables that not every release has: only what the set holds in them can come back.
    for table, name, held in _optional(was):
        if held or table in was.problems:
            not_compared += ["%s: %s" % (name, reason) for reason in _reasons(was, now, table)]
    result["not_compared"] = not_compared
    return result


def _optional(was: Snapshot) -> Iterator[tuple[str, str, bool]]:
    yield BARE_SESSION, "sessions of django_session", bool(was.bare_sessions)
    for table, (name, _column) in GRANTS.items():
        yield table, name, bool(was.grants[table])


def sentences(report: dict[str, Any]) -> list[str]:
    """Return a report of :func:`compare` as an operator reads it."""
    said = ["%s: %s" % (sentence, list_some(report[key])) for key, sentence in SENTENCES if report[key]["count"]]
    said += ["not compared: %s" % reason for reason in report["not_compared"]]
    return said or ["nothing: users, tokens and sessions of the set are those of the present database"]


def to_disable(was: Snapshot, now: Snapshot) -> dict[str, str]:
    """Return uuid and name of the users who are active in ``was``, and in ``now`` are disabled or not there at all."""
    present = now.by_uuid()
    return {
        uuid: user.name
        for uuid, user in was.by_uuid().items()
        if user.active and not (uuid in present and present[uuid].active)
    }


def locks_everybody_out(was: Snapshot, disabled: Collection[str]) -> bool:
    """Say whether there are superusers, and with these users disabled there would be none."""
    superusers = was.superusers()
    return bool(superusers) and superusers.issubset(disabled)


def name_some(names: Iterable[str]) -> dict[str, Any]:
    """Return how many there are, and the first of them in order."""
    every = sorted(names)
    return {"count": len(every), "names": every[:NAMES_SHOWN]}


def list_some(named: dict[str, Any]) -> str:
    """Return what :func:`name_some` gave, for a message."""
    names, count = [_printable(name) for name in named["names"] if name], named["count"]
    if not names:
        return str(count)
    more = count - len(named["names"])
    listed = "%s and %d more" % (", ".join(names), more) if more > 0 else ", ".join(names)
    return "%d (%s)" % (count, listed)


def _printable(name: str) -> str:
    """A name must not be able to look like a line of the report."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _users(was: Snapshot, now: Snapshot) -> dict[str, Any]:
    before, present = was.by_uuid(), now.by_uuid()
    both = [(user, present[uuid]) for uuid, user in before.items() if uuid in present]
    return {
        "users_active_again": name_some(user.name for user, since in both if user.active and not since.active),
        "users_returning": name_some(
            user.name if user.active else "%s, disabled" % user.name
            for uuid, user in before.items()
            if uuid not in present
        ),
        "users_vanishing": name_some(user.name for uuid, user in present.items() if uuid not in before),
    }


def _passwords(was: Snapshot, now: Snapshot) -> dict[str, Any]:
    present = now.by_uuid()
    changed = []
    for uuid, user in was.by_uuid().items():
        since = present.get(uuid)
        if user.active and since and since.changed and user.changed is not None and since.changed > user.changed:
            changed.append(user.name)
    return {"passwords": name_some(changed)}


def _superusers(was: Snapshot, now: Snapshot) -> dict[str, Any]:
    before, present = was.superusers(), now.superusers()
    names = {user.uuid: user.name for side in (was, now) for user in side.users.values()}
    return {
        "superusers_gained": name_some(names[uuid] for uuid in before - present),
        "superusers_lost": name_some(names[uuid] for uuid in present - before),
    }


def _tokens(was: Snapshot, now: Snapshot) -> dict[str, Any]:
    found: dict[str, list[str]] = {"app_passwords": [], "tokens": []}
    for uuid, token in was.tokens.items():
        since = now.tokens.get(uuid)
        if (since is None or since.key != token.key) and was.works_for(token.user_id):
            own = token.intent == APP_PASSWORD
            name = "%s of %s" % (token.identifier, was.name_of(token.user_id) or "nobody")
            found["app_passwords" if own else "tokens"].append(name)
    return {key: name_some(names) for key, names in found.items()}


def _sessions(was: Snapshot, now: Snapshot) -> dict[str, Any]:
    ended = was.logins()
    for uuid in now.logins():
        ended.pop(uuid, None)
    users = [was.name_of(user_id) for user_id in ended.values() if was.works_for(user_id)]
    return {"sessions": {**_per_user(users), "count": len(users)}}


def _per_user(users: Sequence[str]) -> dict[str, Any]:
    counted = collections.Counter(users)
    return name_some(name if number == 1 else "%s %d times" % (name, number) for name, number in counted.items())


def _bare_sessions(was: Snapshot, now: Snapshot) -> dict[str, Any]:
    ended = () if _reasons(was, now, BARE_SESSION) else was.bare_sessions - now.bare_sessions
    return {"bare_sessions": {"count": len(ended), "names": []}}


def _grants(was: Snapshot, now: Snapshot) -> Iterator[str]:
    for table, (name, _column) in GRANTS.items():
        present = now.grants[table]
        number = sum(key not in present and was.works_for(user_id) for key, user_id in was.grants[table].items())
        if number and not _reasons(was, now, table):
            yield "%d %s" % (number, name)


def _reasons(was: Snapshot, now: Snapshot, table: str, column: str = "") -> list[str]:
    """Return why a table, or one more column of it, cannot be compared."""
    for whose, side in (("the set", was), ("the present database", now)):
        if table in side.problems:
            return ["%s: %s %s" % (whose, table, side.problems[table])]
        if table not in side.columns:
            return ["%s has no table %s" % (whose, table)]
        if column and column not in side.columns[table]:
            return ["%s: %s has no column %s" % (whose, table, column)]
    return []


def _superuser_reasons(was: Snapshot, now: Snapshot) -> list[str]:
    reasons = _reasons(was, now, GROUP) or _broken(was, now, (PARENTAGE, *MEMBERSHIPS))
    for whose, side in (("the set", was), ("the present database", now)):
        if not reasons and not any(table in side.columns for table in MEMBERSHIPS):
            reasons = ["%s has no table %s" % (whose, MEMBERSHIPS[0])]
    return reasons


def _broken(was: Snapshot, now: Snapshot, tables: Sequence[str]) -> list[str]:
    """Return what is wrong with tables that need not be there."""
    return [
        "%s: %s %s" % (whose, table, side.problems[table])
        for whose, side in (("the set", was), ("the present database", now))
        for table in tables
        if table in side.problems
    ]


class Topic(NamedTuple):
    """Something to compare, and what says why it cannot be (nothing when it can)."""

    name: str
    reasons: Callable[[Snapshot, Snapshot], list[str]]
    compare: Callable[[Snapshot, Snapshot], dict[str, Any]]


_TOPICS = (
    Topic("users", lambda was, now: _reasons(was, now, USER), _users),
    Topic("changed passwords", lambda was, now: _reasons(was, now, USER, "password_change_date"), _passwords),
    Topic("superusers", lambda was, now: _reasons(was, now, USER) or _superuser_reasons(was, now), _superusers),
    Topic("tokens and app passwords", lambda was, now: _reasons(was, now, TOKEN), _tokens),
    Topic("sessions", lambda was, now: _reasons(was, now, LOGIN) or _broken(was, now, (SESSION,)), _sessions),
)
