# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a restore would bring back to life, found by comparing a set with the present database. Pure.

Both sides are read into a :class:`Snapshot` per schema: users, who of them are superusers, tokens, sessions, grants.
Users are told apart by their uuid, since a database that was restored before gives the same number to another user.
Keys of tokens and sessions are never here, only the beginnings of their SHA-256: enough to say that two are equal.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _copy_text

if TYPE_CHECKING:
    from typing import Callable, Iterable, Iterator, Mapping

    Value = Any  # str, bool or float by the column's kind; None for NULL
    Row = Mapping[str, Value]

TEXT, FLAG, MOMENT, SECRET = "text", "flag", "moment", "secret"
DIGEST_LETTERS = 16

USER, GROUP, PARENTAGE = "authentik_core_user", "authentik_core_group", "authentik_core_groupparentage"
#: authentik's groups of users; the second one was Django's until authentik took its name over.
MEMBERSHIPS = ("authentik_core_user_ak_groups", "authentik_core_user_groups")
TOKEN, SESSION = "authentik_core_token", "authentik_core_session"
LOGIN, BARE_SESSION = "authentik_core_authenticatedsession", "django_session"
_EXPIRES = {"expires": MOMENT, "expiring": FLAG}
_OAUTH2 = {"id": TEXT, "token": SECRET, "user_id": TEXT, "revoked": FLAG, **_EXPIRES}
#: What providers gave to applications for a user: name for messages and the column that tells one from another.
GRANTS = {
    "authentik_providers_oauth2_accesstoken": ("OAuth2 access tokens", "id"),
    "authentik_providers_oauth2_refreshtoken": ("OAuth2 refresh tokens", "id"),
    "authentik_providers_saml_samlsession": ("SAML sessions", "saml_session_id"),
    "authentik_providers_proxy_proxysession": ("proxy sessions", "uuid"),
    "authentik_providers_rac_connectiontoken": ("remote access connections", "connection_token_uuid"),
}
#: The columns that are read of each table, where it has them.
TABLES: dict[str, dict[str, str]] = {
    USER: {"id": TEXT, "uuid": TEXT, "username": TEXT, "is_active": FLAG, "password_change_date": MOMENT},
    GROUP: {"group_uuid": TEXT, "is_superuser": FLAG, "parent_id": TEXT},
    PARENTAGE: {"child_id": TEXT, "parent_id": TEXT},
    MEMBERSHIPS[0]: {"user_id": TEXT, "group_id": TEXT},
    MEMBERSHIPS[1]: {"user_id": TEXT, "group_id": TEXT},
    TOKEN: {"token_uuid": TEXT, "identifier": TEXT, "intent": TEXT, "user_id": TEXT, "key": SECRET, **_EXPIRES},
    SESSION: {"session_key": SECRET, **_EXPIRES},
    LOGIN: {"uuid": TEXT, "user_id": TEXT, "session_id": SECRET, **_EXPIRES},
    BARE_SESSION: {"session_key": SECRET, "expire_date": MOMENT},
    "authentik_providers_oauth2_accesstoken": _OAUTH2,
    "authentik_providers_oauth2_refreshtoken": _OAUTH2,
    "authentik_providers_saml_samlsession": {"saml_session_id": TEXT, "user_id": TEXT, **_EXPIRES},
    "authentik_providers_proxy_proxysession": {"uuid": TEXT, **_EXPIRES},
    "authentik_providers_rac_connectiontoken": {"connection_token_uuid": TEXT, **_EXPIRES},
}

#: Without these columns a table cannot be compared.
NEEDED: dict[str, tuple[str, ...]] = {
    USER: ("id", "uuid", "username", "is_active"),
    GROUP: ("group_uuid", "is_superuser"),
    PARENTAGE: ("child_id", "parent_id"),
    **dict.fromkeys(MEMBERSHIPS, ("user_id", "group_id")),
    TOKEN: ("token_uuid", "identifier", "intent", "user_id", "key"),
    SESSION: ("session_key",),
    LOGIN: ("uuid", "user_id"),
    BARE_SESSION: ("session_key", "expire_date"),
    **{table: (column,) for table, (_name, column) in GRANTS.items()},
}


class User(NamedTuple):
    """A user: ``changed`` is when the password was changed last, None where that is not known."""

    uuid: str
    name: str
    active: bool
    changed: float | None


class Token(NamedTuple):
    """A token that works: ``key`` is a digest of its key."""

    identifier: str
    intent: str
    user_id: str
    key: str


def digest(secret: str) -> str:
    """Return by what two keys are compared."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()[:DIGEST_LETTERS]


def from_text(table: str, row: Mapping[str, str | None]) -> Row:
    """Return a row of a dump with the values that its columns stand for."""
    kinds = TABLES[table]
    return {name: None if text is None else _VALUE[kinds[name]](text) for name, text in row.items()}


def _moment(text: str) -> float:
    found = _copy_text.moment(text)
    return math.inf if found is None else found  # what cannot be read counts as not over yet


_VALUE: dict[str, Callable[[str], Value]] = {
    TEXT: str,
    FLAG: lambda text: text == "t",
    MOMENT: _moment,
    SECRET: digest,
}


class Snapshot:
    """Users and what lets them in, of one schema of one side.

    :param now: seconds since 1970; what is over by then is left out, since no restore revives it.
    :ivar columns: the columns of each table that can be compared.
    :ivar problems: why other tables cannot.
    """

    def __init__(self, now: float) -> None:
        self.now = now
        self.columns: dict[str, list[str]] = {}
        self.problems: dict[str, str] = {}
        self.users: dict[str, User] = {}
        self.tokens: dict[str, Token] = {}
        self.bare_sessions: set[str] = set()
        self.grants: dict[str, dict[str, str]] = {table: {} for table in GRANTS}
        self._logins: dict[str, tuple[str, str | None]] = {}
        self._alive: set[str] = set()
        self._super_groups: set[str] = set()
        self._parents: dict[str, set[str]] = {}
        self._groups: dict[str, set[str]] = {}

    def offer(self, table: str, columns: Iterable[str]) -> bool:
        """Note which columns a table has; return False when it lacks one without which it cannot be compared."""
        missing = [name for name in NEEDED[table] if name not in columns]
        if missing:
            self.problems[table] = "has no column %s" % ", ".join(missing)
        else:
            self.columns[table] = [name for name in TABLES[table] if name in columns]
        return not missing

    def add(self, table: str, row: Row) -> None:
        """Take in a row of :data:`TABLES`."""
        if table in GRANTS:
            self._add_grant(table, row)
        elif table in MEMBERSHIPS:
            self._groups.setdefault(row["user_id"], set()).add(row["group_id"])
        elif table != PARENTAGE:
            _ADD[table](self, row)
        else:
            self._parents.setdefault(row["child_id"], set()).add(row["parent_id"])

    def _over(self, row: Row) -> bool:
        expires = row.get("expires")
        return row.get("expiring", True) is not False and expires is not None and float(expires) <= self.now

    def _add_user(self, row: Row) -> None:
        changed = row.get("password_change_date")
        changed = None if changed is None else float(changed)
        self.users[row["id"]] = User(row["uuid"], row["username"], row["is_active"], changed)

    def _add_group(self, row: Row) -> None:
        if row["is_superuser"]:
            self._super_groups.add(row["group_uuid"])
        if row.get("parent_id"):
            self._parents.setdefault(row["group_uuid"], set()).add(row["parent_id"])

    def _add_token(self, row: Row) -> None:
        if not self._over(row):
            self.tokens[row["token_uuid"]] = Token(row["identifier"], row["intent"], row["user_id"], row["key"])

    def _add_session(self, row: Row) -> None:
        if not self._over(row):
            self._alive.add(row["session_key"])

    def _add_login(self, row: Row) -> None:
        if not self._over(row):
            self._logins[row["uuid"]] = (row["user_id"], row.get("session_id"))

    def _add_bare_session(self, row: Row) -> None:
        if float(row["expire_date"]) > self.now:
            self.bare_sessions.add(row["session_key"])

    def _add_grant(self, table: str, row: Row) -> None:
        if not self._over(row) and not row.get("revoked"):
            name = "%s %s" % (row[GRANTS[table][1]], row.get("token") or "")
            self.grants[table][name] = row.get("user_id") or ""

    def by_uuid(self) -> dict[str, User]:
        """Return the users by what tells them apart on both sides."""
        return {user.uuid: user for user in self.users.values()}

    def works_for(self, user_id: str) -> bool:
        """Say whether what belongs to a user lets anybody in: it does not while the user is disabled."""
        user = self.users.get(user_id)
        return user is None or user.active

    def name_of(self, user_id: str) -> str:
        """Return a user's name for a message."""
        user = self.users.get(user_id)
        return user.name if user is not None else ""

    def logins(self) -> dict[str, str]:
        """Return the id of the user of each session that is not over."""
        separate = SESSION in self.columns
        return {
            uuid: user_id
            for uuid, (user_id, session) in self._logins.items()
            if not separate or session is None or session in self._alive
        }

    def superusers(self) -> set[str]:
        """Return the uuids of the active users that are in a group of superusers, or in a group below one."""
        return {
            user.uuid
            for user_id, user in self.users.items()
            if user.active and not self._super_groups.isdisjoint(self._with_parents(self._groups.get(user_id, set())))
        }

    def _with_parents(self, groups: set[str]) -> Iterator[str]:
        seen: set[str] = set()
        waiting = list(groups)
        while waiting:
            group = waiting.pop()
            if group not in seen:
                seen.add(group)
                yield group
                waiting += self._parents.get(group, ())


_ADD: dict[str, Callable[[Snapshot, Row], None]] = {
    USER: Snapshot._add_user,
    GROUP: Snapshot._add_group,
    TOKEN: Snapshot._add_token,
    SESSION: Snapshot._add_session,
    LOGIN: Snapshot._add_login,
    BARE_SESSION: Snapshot._add_bare_session,
}
