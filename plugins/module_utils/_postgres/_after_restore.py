# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What is done to a restored copy after it was proved equal, and before it can become live. One transaction.

The copy is no longer what was backed up then. That is what was asked for, and is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import (
    _catalog,
    _revival,
    _revival_read,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import (
    quote_ident,
    quote_literal,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._revival_sides import (
    BARE_SESSION,
    GROUP,
    LOGIN,
    MEMBERSHIPS,
    PARENTAGE,
    SESSION,
    USER,
)

if TYPE_CHECKING:
    from typing import Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._client import Session
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import AfterRestore
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._revival_read import Present

#: Tables that hold sessions, whichever release they are of.
_SESSIONS = (
    SESSION,
    LOGIN,
    BARE_SESSION,
    "authentik_providers_proxy_proxysession",
    "authentik_providers_saml_samlsession",
    "authentik_providers_rac_connectiontoken",
)
#: What authentik removes with a session, although the column may be empty. Other tokens only lose the link to it.
_END_WITH_SESSION = (
    "authentik_providers_oauth2_accesstoken",
    "authentik_providers_oauth2_authorizationcode",
)
_UUIDS_AT_A_TIME = 500

_REFERENCES = """
SELECT n.nspname AS schema, c.relname AS name, a.attname AS column, a.attnotnull AS needed, r.relname AS target
FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_class r ON r.oid = k.confrelid JOIN pg_catalog.pg_namespace m ON m.oid = r.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
WHERE k.contype = 'f' AND m.nspname = {schema} AND r.relname IN ({tables}) AND pg_catalog.cardinality(k.conkey) = 1
ORDER BY 1, 2, 3
"""


def apply(session: Session, wanted: AfterRestore, present: Present) -> dict[str, Any]:
    """Change the copy that the session is connected to, as its owner; all of it or nothing.

    :param present: the present database, which says who is disabled or was removed.
    :returns: ``deleted`` (rows by table), ``disabled`` (``count``, ``names``) and ``lines``, what was done in words.
    :raises StateError: when it cannot be done, or must not.
    """
    lines: list[str] = []
    deleted: dict[str, int] = {}
    disabled: list[str] = []
    copies = _revival_read.read_schemas(session, (USER, GROUP, PARENTAGE, *MEMBERSHIPS))
    relations = [one for one in _catalog.relations(session) if one.kind in ("r", "p")]
    session.execute("BEGIN")
    if wanted.purge_sessions:
        for schema in sorted({one.schema for one in relations if one.name in _SESSIONS}):
            _purge(session, schema, [one for one in relations if one.schema == schema], deleted)
        number = sum(rows for table, rows in deleted.items() if table.rpartition(".")[2] in _SESSIONS)
        lines.append("purge_sessions: %d rows of sessions were deleted; everybody has to log in again" % number)
        lines += _revival_read.redis_holds_sessions(one.columns for one in relations if one.name == LOGIN)
    if wanted.keep_disabled and present.reason and present.failed is None:
        lines.append("keep_disabled: nobody was disabled: %s" % present.reason)
    elif wanted.keep_disabled:
        for schema, copy in copies.items():
            disabled += _keep_disabled(session, schema, copy, present)
        named = _revival.name_some(disabled)
        lines.append("keep_disabled: users who were disabled in the restored copy: %s" % _revival.list_some(named))
    session.execute("COMMIT")
    return {"deleted": deleted, "disabled": _revival.name_some(disabled), "lines": lines}


def _purge(session: Session, schema: str, relations: Sequence[_catalog.Relation], deleted: dict[str, int]) -> None:
    held = {one.name: one for one in relations if one.name in _SESSIONS}
    # Functions of triggers may name tables without their schema.
    session.execute("SET LOCAL search_path TO %s, public" % quote_ident(schema))
    named = ", ".join(quote_literal(name) for name in held)
    references = session.rows(_REFERENCES.format(schema=quote_literal(schema), tables=named))
    for reference in references:
        if reference["schema"] == schema and reference["name"] in held:
            continue  # is emptied itself
        table = "%s.%s" % (quote_ident(reference["schema"]), quote_ident(reference["name"]))
        column = quote_ident(reference["column"])
        if reference["needed"] or reference["name"] in _END_WITH_SESSION:
            key = _catalog.qualified(reference["schema"], reference["name"])
            rows = _count(session, "%s WHERE %s IS NOT NULL" % (table, column))
            deleted[key] = deleted.get(key, 0) + rows
            session.execute("DELETE FROM %s WHERE %s IS NOT NULL" % (table, column))
        else:
            session.execute("UPDATE %s SET %s = NULL WHERE %s IS NOT NULL" % (table, column, column))
    for relation in held.values():
        deleted[relation.key] = _count(session, relation.sql)
        session.execute("DELETE FROM %s" % relation.sql)
        _expect_none(session, relation.sql, "sessions are left in %s" % relation.key)


def _keep_disabled(session: Session, schema: str, copy: _revival_read.Snapshot, present: Present) -> list[str]:
    """Disable in the copy who is disabled now or was removed since, and return their names."""
    now = present.schemas.get(schema)
    problem = _revival_read.keep_disabled_problem(schema, copy, now, present)
    if problem:
        raise StateError(problem, hint="the copy is dropped again, and nothing that is live was changed")
    if now is None:
        return []
    found = _revival.to_disable(copy, now)
    uuids = sorted(found)
    table = "%s.%s" % (quote_ident(schema), quote_ident(USER))
    for start in range(0, len(uuids), _UUIDS_AT_A_TIME):
        listed = ", ".join(quote_literal(uuid) for uuid in uuids[start : start + _UUIDS_AT_A_TIME])
        session.execute("UPDATE %s SET is_active = false WHERE uuid::text IN (%s)" % (table, listed))
        _expect_none(session, "%s WHERE is_active AND uuid::text IN (%s)" % (table, listed), "users stayed active")
    return list(found.values())


def _count(session: Session, source: str) -> int:
    return int(session.rows("SELECT pg_catalog.count(*)::text AS rows FROM %s" % source)[0]["rows"])


def _expect_none(session: Session, source: str, problem: str) -> None:
    """Could not verify is a failure: a trigger or a rule may have had other plans."""
    left = _count(session, source)
    if left:
        raise StateError(
            "%s although they were to be changed: %d" % (problem, left),
            hint="the copy is dropped again, and nothing that is live was changed; look for triggers and rules",
        )
