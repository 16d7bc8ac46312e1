# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a set holds of PostgreSQL, and the SQL that makes a database like it. Pure.

The application role owns everything that is restored, whoever owned it where the dump was made.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, IntegrityError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import (
    quote_ident,
    quote_literal,
)

if TYPE_CHECKING:
    from typing import Iterator, Mapping, Sequence

_PRIVILEGES = {"C": "CREATE", "c": "CONNECT", "T": "TEMPORARY"}
# Parameters whose value is a list of quoted names: given as one string they would become one name.
_NAME_LISTS = (
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
)


class SetDatabase(NamedTuple):
    """One database of a set, and what it becomes: ``target`` is the live name, ``owner`` the role that will own it."""

    name: str
    target: str
    owner: str
    path: str
    compression: str
    tool_major: int
    database_bytes: int
    fingerprint: dict[str, Any]


def databases_of(manifest: Mapping[str, Any], wanted: Sequence[str], target: str, app_role: str) -> list[SetDatabase]:
    """Return the databases to restore.

    :param wanted: names as in the set; none means the instance's own.
    :param target: name of the instance's own database where it is restored to; others keep theirs.
    :param app_role: owner of the instance's own database; others keep theirs.
    :raises InputError: when the set does not hold one.
    """
    record = manifest["components"].get("postgresql")
    if record is None:
        raise InputError(
            "the backup set holds no PostgreSQL database",
            hint="it holds: %s" % ", ".join(sorted(manifest["components"])),
        )
    held = {record["database"]: record, **record["other_databases"]}
    missing = [name for name in wanted if name not in held]
    if missing:
        raise InputError(
            "the backup set holds no database %s" % ", ".join(missing), hint="it holds: %s" % ", ".join(sorted(held))
        )
    artifacts = {artifact["path"]: artifact for artifact in manifest["artifacts"]}
    found = []
    for name in wanted or [record["database"]]:
        own = name == record["database"]
        one = held[name]
        artifact = artifacts.get(one["artifact"])
        if artifact is None:
            raise IntegrityError("the manifest lists no artifact %s" % one["artifact"], hint="use another backup set")
        tool = re.search(r"\d+", artifact["tool"] or "")
        found.append(
            SetDatabase(
                name=name,
                target=target if own else name,
                owner=app_role if own else one["fingerprint"]["owner"],
                path=one["artifact"],
                compression=artifact["compression"],
                tool_major=int(tool.group()) if tool else 0,
                database_bytes=one["database_bytes"],
                fingerprint=one["fingerprint"],
            )
        )
    return found


def expected_fingerprint(database: SetDatabase) -> dict[str, Any]:
    """Return the fingerprint that the restored copy must have: as recorded, but UTF8 and all of the new owner."""
    fingerprint = copy.deepcopy(database.fingerprint)
    fingerprint.update(owner=database.owner, encoding="UTF8", settings=settings_of(database))
    for view in fingerprint["matviews"].values():
        view["owner"] = database.owner
    return fingerprint


def settings_of(database: SetDatabase) -> list[dict[str, Any]]:
    """Return the settings of the database, those of its old owner given to the new one."""
    old = database.fingerprint["owner"]
    settings = [
        dict(setting, role=database.owner if setting["role"] == old else setting["role"])
        for setting in database.fingerprint["settings"]
    ]
    return sorted(settings, key=lambda setting: (setting["role"] is not None, setting["role"] or "", setting["name"]))


def roles_needed(database: SetDatabase) -> set[str]:
    """Return the roles that the database's own privileges and settings name, besides its owner."""
    old, acl = database.fingerprint["owner"], database.fingerprint["acl"] or []
    roles = {grantee for grantee, _privileges in parse_acl(acl)} | {item["role"] for item in settings_of(database)}
    return {role for role in roles if role not in (None, "", old, database.owner)}


def parse_acl(items: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return (grantee, privileges as SQL has them) of each item of an ACL of a database; "" is everybody.

    ``authentik=CTc/authentik`` gives ``("authentik", ["CREATE", "TEMPORARY", "CONNECT"])``; a star is a grant option.
    """
    found = []
    for item in items:
        match = re.match(r'("(?:[^"]|"")*"|[^="]*)=([A-Za-z*]*)/', item)
        if match is None:
            raise IntegrityError("the manifest has a privilege that cannot be read: %s" % item)
        name = match.group(1)
        grantee = name[1:-1].replace('""', '"') if name.startswith('"') else name
        words = []
        for letter, star in re.findall(r"([A-Za-z])(\*?)", match.group(2)):
            words.append(_PRIVILEGES.get(letter, letter) + (" WITH GRANT OPTION" if star else ""))
        found.append((grantee, words))
    return found


def locale_clause(locale: Mapping[str, Any], server_major: int) -> str | None:
    """Return the locale part of CREATE DATABASE, None where the server has no such provider.

    :param locale: as in a fingerprint: ``locale_provider`` libc, icu or builtin, ``collation``, ``ctype``, ``locale``.
    """
    provider = locale["locale_provider"]
    first = {"libc": 0, "icu": 15, "builtin": 17}.get(provider)
    if first is None or server_major < first:
        return None
    parts = ["LC_COLLATE %s LC_CTYPE %s" % (quote_literal(locale["collation"]), quote_literal(locale["ctype"]))]
    if server_major >= 15:
        parts.append("LOCALE_PROVIDER %s" % provider)
    if provider != "libc":
        parts.append("%s_LOCALE %s" % (provider.upper(), quote_literal(locale["locale"] or "")))
    return " ".join(parts)


def same_locale(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether two databases sort and fold text alike."""
    names = [describe_locale(locale).lower().replace("utf-8", "utf8") for locale in (one, other)]
    return names[0] == names[1]


def describe_locale(locale: Mapping[str, Any]) -> str:
    """Return a locale for messages."""
    if locale["locale_provider"] == "libc":
        same = locale["collation"] == locale["ctype"]
        return str(locale["collation"]) if same else "%s/%s" % (locale["collation"], locale["ctype"])
    return "%s (%s)" % (locale["locale"], locale["locale_provider"])


def collation_changes(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each collation that another version of its library serves here than at the backup.

    :param recorded: a fingerprint; sets of servers before 15, or made before it was recorded, tell nothing.
    :param here: ``collation_version`` and ``collations`` as in a fingerprint, as far as they are known.
    """
    found = []
    if "collation_version" in recorded and "collation_version" in here:
        pair = (recorded["collation_version"], here["collation_version"])
        found += [("the collation of the database, %s," % describe_locale(recorded), *pair)]
    versions = {(one["schema"], one["name"]): one["version"] for one in here.get("collations", ())}
    for one in recorded.get("collations", ()):
        key = (one["schema"], one["name"])
        if key in versions:
            found.append(("the collation %s.%s" % key, one["version"], versions[key]))
    # A library that does not tell its version is another one than one that does.
    return [
        "%s is of version %s here and was of version %s where the backup was made: text may be sorted otherwise. A "
        "restore builds all indexes anew, so they fit" % (what, now or "unknown", then or "unknown")
        for what, then, now in found
        if then != now
    ]


def create_statements(
    name: str, database: SetDatabase, live: Mapping[str, Any] | None, server_major: int
) -> Iterator[tuple[str, str]]:
    """Yield CREATE DATABASE statements to try in order, each with whose locale it takes.

    :param live: the live database's row (locale as in a fingerprint, ``tablespace``), None when there is none.
    """
    # The usual one is not named: that takes a privilege which only superusers have.
    own_place = live is not None and live["tablespace"] != "pg_default"
    tablespace = " TABLESPACE %s" % quote_ident(live["tablespace"]) if live and own_place else ""
    head = "CREATE DATABASE %s OWNER %s TEMPLATE template0 ENCODING 'UTF8'%s" % (
        quote_ident(name),
        quote_ident(database.owner),
        tablespace,
    )
    for locale, whose in ((database.fingerprint, "the backup's"), (live, "the live database's")):
        clause = locale_clause(locale, server_major) if locale else None
        if clause:
            yield "%s %s" % (head, clause), whose
    yield head, "the server's default"


def property_statements(name: str, database: SetDatabase, skip_privileges: bool) -> list[str]:
    """Return what gives a new database the settings, limit, comment and privileges that the backup recorded."""
    quoted, fingerprint = quote_ident(name), database.fingerprint
    statements = ["ALTER DATABASE %s CONNECTION LIMIT %d" % (quoted, max(fingerprint["connection_limit"], -1))]
    if fingerprint["comment"] is not None:
        statements.append("COMMENT ON DATABASE %s IS %s" % (quoted, quote_literal(fingerprint["comment"])))
    for setting in settings_of(database):
        whose = "DATABASE %s" % quoted
        if setting["role"] is not None:
            whose = "ROLE %s IN DATABASE %s" % (quote_ident(setting["role"]), quoted)
        statements.append("ALTER %s SET %s TO %s" % (whose, _parameter(setting["name"]), _value(setting)))
    if fingerprint["acl"] is not None and not skip_privileges:
        statements += _acl_statements(quoted, database)
    return statements


def _acl_statements(quoted: str, database: SetDatabase) -> Iterator[str]:
    yield "REVOKE ALL ON DATABASE %s FROM PUBLIC" % quoted
    yield "REVOKE ALL ON DATABASE %s FROM %s" % (quoted, quote_ident(database.owner))
    for grantee, privileges in parse_acl(database.fingerprint["acl"]):
        role = database.owner if grantee == database.fingerprint["owner"] else grantee
        whom = quote_ident(role) if role else "PUBLIC"
        for privilege in privileges:
            word, _space, option = privilege.partition(" ")
            yield ("GRANT %s ON DATABASE %s TO %s %s" % (word, quoted, whom, option)).rstrip()


def _parameter(name: str) -> str:
    return name if re.match(r"[A-Za-z_][A-Za-z0-9_.$]*\Z", name) else quote_ident(name)


def _value(setting: Mapping[str, Any]) -> str:
    if setting["name"].lower() not in _NAME_LISTS:
        return quote_literal(setting["value"])
    names = re.findall(r'"(?:[^"]|"")*"|[^",\s]+', setting["value"])
    plain = [name[1:-1].replace('""', '"') if name.startswith('"') else name for name in names]
    return ", ".join(quote_literal(name) for name in plain) or "''"
