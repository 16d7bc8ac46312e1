#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_pg_dump
short_description: Dump the PostgreSQL database of an authentik instance
version_added: "1.0.0"
description:
  - Dumps with C(pg_dump) in custom format, the artifact C(postgresql/NAME.dump) or C(postgresql/NAME.dump.zst), and
    saves roles, tablespaces and their settings with C(pg_dumpall --globals-only).
  - Takes a fingerprint of the very snapshot that is dumped, rows and content of every table, sequences, and counts of
    what stands around them. A restore is compared with it.
  - Every table is locked against rewriting for the time of the dump, as C(pg_dump) itself does. Reading and writing
    rows goes on.
  - Everything that would make the dump fail or keep it from being restored is looked for before it begins. A role that
    may not read a table or a sequence is refused, with their names.
  - C(pg_dump) has to be at least as new as the server. Where several versions are installed, the one that fits is used.
  - SQL goes through the Python package C(psycopg2) where it is importable, otherwise through C(psql).
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.instance
  - authentik_ops.recovery.stream.producer
options:
  method:
    description:
      - V(dump) saves the instance's own database.
      - V(dumpall) saves every database of the server, each as an artifact with a snapshot and a fingerprint of its
        own. Templates and databases that belong to the server or its provider (V(postgres), V(rdsadmin) and the like)
        are left out, and the result names them. The role has to be able to read all of them.
    type: str
    choices: [dump, dumpall]
    default: dump
  exclude_databases:
    description:
      - Databases that O(method=dumpall) does not save. The instance's own cannot be among them.
    type: list
    elements: str
    default: []
  compression:
    description:
      - V(auto) lets C(pg_dump) compress with zstd where it can (16 and later, depending on how it was built), else
        pipes it through the program C(zstd), else lets it compress with gzip. All at level 1.
      - V(pg_dump_zstd), V(zstd) and V(gzip) insist on one of these, in that order.
    type: str
    choices: [auto, pg_dump_zstd, zstd, gzip]
    default: auto
  exclude_data:
    description:
      - Data of authentik that is left out, in every schema. The empty tables are still saved.
      - V(cache) and V(channels) are made anew by authentik and safe to leave out.
      - V(tasks) loses queued e-mails and synchronisations; kept, queued tasks run again after a restore. It cannot be
        left out without V(task_logs) where these refer to it.
      - V(worker_status) is the heartbeat of workers.
      - V(events) is the audit log. It cannot be left out without V(notifications), which refer to it.
      - V(system_tasks) are results of tasks (authentik 2024.2 to 2025.6).
      - What an authentik version does not have leaves nothing out.
    type: list
    elements: str
    choices: [cache, channels, tasks, task_logs, worker_status, events, notifications, system_tasks]
    default: []
  exclude_table_data:
    description:
      - Further tables whose data is left out, as V(schema.table), or V(table) for every schema that has one.
      - Tables that others refer to by a foreign key, or that a materialized view is computed from, are refused unless
        all of that is left out too.
    type: list
    elements: str
    default: []
  lock_timeout:
    description:
      - How many seconds to wait for a table that another session has locked before the dump is given up.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    details:
      - Makes every check and tells what would be saved, how large it is, with which programs, and the free space.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Every run makes a new dump.
"""

EXAMPLES = r"""
- name: Dump the database into a folder of the host
  authentik_ops.recovery.authentik_pg_dump:
    dest: /var/backups/authentik

- name: Dump into an open backup set, without what authentik makes anew
  authentik_ops.recovery.authentik_pg_dump:
    exclude_data:
      - cache
      - channels
    backup_set:
      store: /srv/backups
      instance: sso
      id: "{{ opened.id }}"

- name: Save the whole server but one database
  authentik_ops.recovery.authentik_pg_dump:
    method: dumpall
    exclude_databases:
      - scratch
    postgresql_run_as: postgres
    postgresql_user: postgres
    dest: /var/backups/authentik
"""

RETURN = r"""
components:
  description: The record of the component C(postgresql); none in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    database:
      description: Name of the instance's database.
      type: str
    artifact:
      description: Path of its artifact.
      type: str
    database_bytes:
      description: Size of the database on the server, which a restore needs there.
      type: int
    excluded_data:
      description: Tables whose data was left out.
      type: list
    fingerprint:
      description:
        - What a restored database must equal. Sequences that moved while the dump was made carry a range.
      type: dict
    other_databases:
      description: The same for each further database, by name.
      type: dict
    databases_left_out:
      description: Databases of the server that were not saved.
      type: list
    globals:
      description: The artifact with roles and settings, and whether it holds the roles' passwords (hashed).
      type: dict
    artifacts:
      description: Path, size in bytes, SHA-256, compression, program and seconds of each artifact.
      type: list
    warnings:
      description: What an operator should know.
      type: list
  sample:
    - component: postgresql
      method: dump
      database: authentik
      artifact: postgresql/authentik.dump.zst
      database_bytes: 27285183
      excluded_data: [public.django_postgres_cache_cacheentry]
      databases_left_out: [postgres]
      globals: {"artifact": postgresql/globals.sql.zst, "role_passwords": false}
      server_version: "18.4"
plan:
  description: What would be saved.
  returned: in check mode
  type: list
  elements: str
  sample:
    - >-
      Database authentik (26.0 MiB on PostgreSQL 18.4) would be saved as postgresql/authentik.dump.zst by pg_dump 18.4,
      compressed by zstd.
free_bytes:
  description: Free space of the folder O(dest), or of the spool's.
  returned: in check mode
  type: int
"""

import contextlib

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _files, _module
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _dump, _dump_plan
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def body(ctx: _module.Context) -> dict[str, Any]:
    settings = ctx.instance.require_postgresql()
    options = _dump.Options(
        method=ctx.params["method"],
        compression=ctx.params["compression"],
        exclude_data=ctx.params["exclude_data"],
        exclude_table_data=ctx.params["exclude_table_data"],
        exclude_databases=ctx.params["exclude_databases"],
        lock_timeout=ctx.params["lock_timeout"],
        bin_dir=ctx.params["postgresql_bin_dir"],
    )
    plan = _dump.make_plan(settings, options)
    if ctx.check_mode:
        for warning in plan.warnings:
            ctx.warn(warning)
        return describe(plan, ctx.params)
    with contextlib.closing(ctx.sink()) as sink:
        record = _dump.dump(settings, plan, options, sink)
    for warning in record["warnings"]:
        ctx.warn(warning)
    return {"changed": True, "components": [record]}


def describe(plan: _dump.Plan, params: dict[str, Any]) -> dict[str, Any]:
    sentences = [
        "Database %s (%s on PostgreSQL %s) would be saved as %s by pg_dump %s, compressed by %s%s."
        % (
            target.database,
            format_bytes(target.database_bytes),
            plan.server_version,
            target.path,
            plan.pg_dump.version,
            plan.compression.name,
            ", without the data of " + ", ".join(target.excluded) if target.excluded else "",
        )
        for target in plan.targets
    ]
    passwords = "" if plan.superuser else ", without passwords"
    sentences.append("Roles and settings would be saved as %s%s." % (plan.globals_path, passwords))
    if plan.left_out:
        sentences.append("Not saved: the databases %s." % ", ".join(plan.left_out))
    free = _files.free_bytes(params["dest"] or params["spool_dir"])
    sentences.append("Free in %s: %s." % (params["dest"] or params["spool_dir"], format_bytes(free)))
    return {
        "changed": True,
        "components": [],
        "plan": sentences,
        "estimated_bytes": sum(target.database_bytes for target in plan.targets),
        "free_bytes": free,
    }


def main() -> None:
    spec = dict(
        _module.INSTANCE_SPEC,
        method={"type": "str", "choices": list(_dump_plan.METHODS), "default": "dump"},
        exclude_databases={"type": "list", "elements": "str", "default": []},
        compression={"type": "str", "choices": list(_dump_plan.COMPRESSIONS), "default": "auto"},
        exclude_data={"type": "list", "elements": "str", "choices": list(_dump_plan.EXCLUDE_DATA), "default": []},
        exclude_table_data={"type": "list", "elements": "str", "default": []},
        lock_timeout={"type": "int", "default": 60},
    )
    spec.update(_module.PRODUCER_SPEC)
    _module.run_module(spec, body)


if __name__ == "__main__":
    main()
