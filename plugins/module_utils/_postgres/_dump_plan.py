# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a dump will consist of, worked out from plain values: programs, arguments, artifacts, and data left out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, ToolError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._catalog import names
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import conninfo_database

if TYPE_CHECKING:
    from typing import Any, Iterable, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._catalog import Relation

METHODS = ("dump", "dumpall")
COMPRESSIONS = ("auto", "pg_dump_zstd", "zstd", "gzip")

#: What may be left out, by the tables of authentik that hold it (in every schema).
EXCLUDE_DATA = {
    "cache": ("django_postgres_cache_cacheentry",),
    "channels": ("django_channels_postgres_message", "django_channels_postgres_groupchannel"),
    "tasks": ("authentik_tasks_task",),
    "task_logs": ("authentik_tasks_tasklog",),
    "worker_status": ("authentik_tasks_workerstatus",),
    "events": ("authentik_events_event",),
    "notifications": ("authentik_events_notification",),
    "system_tasks": ("authentik_events_systemtask",),
}

#: Databases that belong to a server or its provider, not to an application.
SYSTEM_DATABASES = ("postgres", "rdsadmin", "cloudsqladmin", "alloydbadmin", "azure_maintenance", "azure_sys")


class Compression(NamedTuple):
    """How an archive is compressed: ``name`` as in the manifest, the option for ``pg_dump``, and what runs after it."""

    name: str
    option: str
    suffix: str
    filter_argv: tuple[str, ...] = ()


def choose_compression(wanted: str, own_zstd: bool, zstd_path: str | None) -> Compression:
    """Return the fastest compression there is, or the one that is wanted.

    :param own_zstd: ``pg_dump`` compresses with zstd by itself.
    :param zstd_path: the program ``zstd``, None where it is not installed.
    :raises ToolError: when what is wanted is not there.
    """
    if wanted == "pg_dump_zstd" and not own_zstd:
        raise ToolError(
            "the installed pg_dump was built without zstd, or is older than 16",
            hint="use compression auto, zstd or gzip",
        )
    if wanted == "zstd" and zstd_path is None:
        raise ToolError(
            "the program zstd is not installed on this host", hint="install zstd, or use compression auto or gzip"
        )
    if own_zstd and wanted in ("auto", "pg_dump_zstd"):
        return Compression("pg_dump:zstd", "--compress=zstd:1", ".dump")
    if zstd_path is not None and wanted in ("auto", "zstd"):
        return Compression("zstd", "--compress=0", ".dump.zst", (zstd_path, "-1", "-q", "-c"))
    return Compression("pg_dump:gzip", "--compress=1", ".dump")


def artifact_path(database: str, compression: Compression) -> str:
    """Return the path of a database's artifact in the set; what is no plain file name is percent-encoded."""
    encoded = "".join(
        "%%%02X" % byte if not re.match(r"[A-Za-z0-9_.-]", chr(byte)) else chr(byte)
        for byte in database.encode("utf-8", "surrogateescape")
    )
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    return "postgresql/%s%s" % (encoded, compression.suffix)


def dump_argv(
    pg_dump: str, compression: Compression, snapshot: str, excluded: Sequence[Relation], lock_timeout: int
) -> list[str]:
    """Return the arguments of ``pg_dump``; it takes the database and the login from its environment.

    :param lock_timeout: seconds to wait for a table's lock.
    """
    argv = [
        pg_dump,
        "--format=custom",
        "--no-password",
        compression.option,
        "--lock-wait-timeout=%d" % (lock_timeout * 1000),
        "--snapshot=%s" % snapshot,
    ]
    # A quoted name is taken literally, not as a pattern.
    return argv + ["--exclude-table-data=" + table.sql for table in excluded]


def globals_argv(pg_dumpall: str, database: str, lock_timeout: int, passwords: bool) -> list[str]:
    """Return the arguments of ``pg_dumpall`` for roles, tablespaces and their settings."""
    argv = [
        pg_dumpall,
        "--globals-only",
        "--no-password",
        "--lock-wait-timeout=%d" % (lock_timeout * 1000),
        "--database=%s" % conninfo_database(database),
    ]
    return argv if passwords else [*argv, "--no-role-passwords"]


def excluded_tables(
    relations: Sequence[Relation], dependents: Iterable[dict[str, Any]], choices: Sequence[str], tables: Sequence[str]
) -> list[Relation]:
    """Return the tables whose data is left out.

    :param choices: keys of :data:`EXCLUDE_DATA`; one whose tables this authentik does not have leaves nothing out.
    :param tables: further tables, ``schema.table`` or ``table`` for every schema.
    :param dependents: as :func:`_catalog.dependents` gives them.
    :raises InputError: when a table does not exist, or when what is kept could not be restored without what is not.
    """
    by_choice = {table: choice for choice, held in EXCLUDE_DATA.items() for table in held}
    found = [
        relation
        for relation in relations
        if relation.kind == "r" and (by_choice.get(relation.name) in choices or _is_named(relation, tables))
    ]
    for entry in tables:
        if not any(_is_named(relation, [entry]) for relation in found):
            raise InputError(
                "exclude_table_data names %s, which is no table of this database" % entry,
                hint="name it as schema.table or table, in the case it was created with",
            )
    _check_dependents(found, dependents, by_choice)
    return found


def _is_named(relation: Relation, tables: Sequence[str]) -> bool:
    return any(entry in (relation.name, relation.key, "%s.%s" % (relation.schema, relation.name)) for entry in tables)


def _check_dependents(
    found: Sequence[Relation], dependents: Iterable[dict[str, Any]], by_choice: dict[str, str]
) -> None:
    left_out = {(relation.schema, relation.name) for relation in found}
    by_oid = {relation.oid: relation for relation in found}
    broken = [row for row in dependents if row["needs"] in by_oid and (row["schema"], row["name"]) not in left_out]
    if not broken:
        return
    row = broken[0]
    needed = by_oid[row["needs"]].key
    dependent = "%s.%s" % (row["schema"], row["name"])
    if row["kind"] != "foreign key":
        raise InputError(
            "the data of %s cannot be left out: the materialized view %s is computed from it" % (needed, dependent),
            hint="keep the data of that table",
        )
    others = sorted({"%s.%s" % (other["schema"], other["name"]) for other in broken} - {dependent})
    choice = by_choice.get(row["name"])
    raise InputError(
        "the data of %s cannot be left out alone: rows of %s refer to it, and a restore could not make that foreign key"
        % (needed, names([dependent, *others])),
        hint="add %s to exclude_data" % choice if choice else "leave out the data of all of them, or of none",
    )


def split_databases(
    listed: Sequence[dict[str, Any]], instance: str, exclude: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the databases that ``dumpall`` saves, the instance's first, and warnings about those it does not.

    :param listed: dicts ``name``, ``template``, ``connectable``, ``allowed``.
    :raises InputError: when one may not be connected to, or when the instance's own is excluded.
    """
    if instance in exclude:
        raise InputError("exclude_databases holds %s, the instance's own database" % instance, hint="remove it there")
    present = {row["name"] for row in listed}
    missing = [name for name in exclude if name not in present]
    warnings = ["exclude_databases names %s, which the server does not have" % name for name in missing]
    chosen: list[str] = []
    for row in sorted(listed, key=lambda entry: (entry["name"] != instance, entry["name"])):
        name = row["name"]
        if row["template"] or name in exclude or (name in SYSTEM_DATABASES and name != instance):
            continue
        if not row["connectable"]:
            warnings.append("database %s does not accept connections and is not saved" % name)
        elif not row["allowed"]:
            raise InputError(
                "the role may not connect to database %s" % name,
                hint="use a superuser for method dumpall, or add it to exclude_databases",
            )
        else:
            chosen.append(name)
    return chosen, warnings
