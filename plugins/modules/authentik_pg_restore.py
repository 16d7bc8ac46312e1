#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_pg_restore
short_description: Restore the PostgreSQL database of an authentik instance
version_added: "1.0.0"
description:
  - Restores the instance's database from a backup set, in steps. The live database is not touched before a complete
    copy stands beside it and has been proved equal to what was backed up.
  - A database is never restored into. A new one is created, loaded as the application role, compared with the
    fingerprint of the set row by row, and takes the live name by rename. What was live stays under another name.
  - Only where the disk does not hold two of them, and O(mode=in_place) asks for it, the live one is dropped before.
  - Creating and renaming databases takes more than a plain owner may do. See O(admin_user).
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.instance
  - authentik_ops.recovery.postgresql_admin
  - authentik_ops.recovery.restore_mode
  - authentik_ops.recovery.stream.consumer
options:
  step:
    description:
      - V(check) reads the artifact to its last byte, decodes every row of it, compares the set with the server and
        returns the plan. The artifact of roles and settings is read, too. Nothing is changed. Check mode does this for
        V(prepare), too.
      - V(clear), with O(mode=in_place) alone, drops the live database. Connections to it are ended. It is renamed to
        C(<db>_before_<id>) first, so that until it is dropped V(undo) brings it back. Stop authentik first.
      - V(prepare) creates the database C(<db>_load_<id>), loads it, and proves it equal to the set's fingerprint. Only
        then it is named C(<db>_new_<id>). When anything goes wrong it is dropped.
      - V(swap) renames the live database to C(<db>_before_<id>) and C(<db>_new_<id>) to the live name, in one
        transaction. Connections to the live database are ended. Stop authentik first.
      - While databases are exchanged, or taken away, the lock that authentik takes around its migrations is held, so
        that none begins, and none is cut in two. See O(migration_timeout).
      - V(undo) renames C(<db>_before_<id>) back and drops what was prepared, whichever step had been reached. Where
        there was no database before, or it was dropped, the restored one stays.
    type: str
    choices: [check, clear, prepare, swap, undo]
    required: true
  restore_id:
    description:
      - Names this restore, in the form of a set's id. The same for all steps.
      - Required for all steps but V(check), whose plan then names the copies after the set.
    type: str
  databases:
    description:
      - Restore these databases of a set that was made with the method C(dumpall), all together.
      - The instance's own database is restored to the name that the instance uses now, others to the name they had.
      - The instance's own alone when not given.
    type: list
    elements: str
    default: []
  restore_as:
    description:
      - Restore the database under this name, beside the live one, which is not touched.
      - O(step=prepare) then ends with the complete and proved database under this name, which must be free. There is no
        O(step=swap) and nothing to undo. Drop it when it is not needed any more.
      - Only one of O(databases). The set may be of any authentik version. What O(version_policy) would refuse is a
        warning.
    type: str
  skip_privileges:
    description:
      - Leave out all privileges (GRANT and REVOKE) of the dump and of the database.
      - For a server that lacks roles that were granted something.
    type: bool
    default: false
  version_policy:
    description:
      - What to do when the set is of another authentik release train than the installed code, which will run on the
        restored database. authentik upgrades its database one train at a time, and never back.
      - The installed version is O(authentik_version), else what authentik's own files, the command of its units or what
        installers noted say. The live database does not count. When the version is not known, the plan says so, and
        nothing is compared.
      - V(same_train) refuses, and tells which releases to step through.
      - V(ladder) accepts a set of the train right before the installed one. authentik upgrades the restored database
        when it is started.
      - V(force) accepts everything. The plan says what to expect.
    type: str
    choices: [same_train, ladder, force]
    default: same_train
  keep_undone:
    description:
      - With O(step=undo) after a swap, keep what the restore had brought as C(<db>_undone_<id>), with all that was
        written to it since. Otherwise it is dropped.
    type: bool
    default: true
  after_restore:
    description:
      - What is done to the restored copy of the instance's own database after it was proved equal to the set, and
        before it gets the name under which O(step=swap) finds it. One transaction, as the application role.
      - The copy is no longer equal to the set then. What was done is returned.
    type: dict
    default: {}
    suboptions:
      purge_sessions:
        description:
          - Delete every session of every tenant, with what authentik removes with a session. Everybody has to log in
            again.
          - Refresh tokens and tokens of the API stay.
          - Releases before authentik 2025.4 keep sessions in Redis, which is not emptied. The plan says so.
        type: bool
        default: false
      keep_disabled:
        description:
          - Disable in the copy every user who is disabled in the present database, or was removed from it, since the
            set was made.
          - Refused when no superuser would be left active. Where there is no present database, nobody is disabled, and
            that is said. Refused with O(mode=in_place), where there is none any more by then.
        type: bool
        default: false
  migration_timeout:
    description:
      - How many seconds O(step=clear), O(step=swap) and O(step=undo) wait while authentik migrates the live database.
        After that they fail, naming the session, and nothing is exchanged or dropped.
      - Only the instance's own database is meant. V(0) does not wait.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    details:
      - O(step=check) and O(step=prepare) do all reading and comparing. O(step=clear), O(step=swap) and O(step=undo)
        return the renames that they would do, and what they would drop.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - O(step=clear), O(step=swap) and O(step=undo) change nothing the second time. O(step=prepare) prepares anew. In
        place nothing tells what was swapped, so that a second O(step=swap) fails.
"""

EXAMPLES = r"""
- name: What would a restore of the database do?
  authentik_ops.recovery.authentik_pg_restore:
    step: check
    src: /var/backups/authentik/20261122T031500Z-7f3a

- name: Load a copy beside the live database and prove it
  authentik_ops.recovery.authentik_pg_restore:
    step: prepare
    restore_id: "{{ restore_id }}"
    backup_set:
      store: /srv/backups
      instance: sso
      id: latest

- name: Exchange the two
  authentik_ops.recovery.authentik_pg_restore:
    step: swap
    restore_id: "{{ restore_id }}"

- name: Where the disk does not hold both, drop the live one before its copy is loaded
  authentik_ops.recovery.authentik_pg_restore:
    step: clear
    mode: in_place
    restore_id: "{{ restore_id }}"

- name: Put back what was live before, on a server where only its superuser may rename databases
  authentik_ops.recovery.authentik_pg_restore:
    step: undo
    restore_id: "{{ restore_id }}"
    admin_user: postgres
    admin_password: "{{ vaulted_postgres_password }}"
"""

RETURN = r"""
plan:
  description: What the restore would do, one sentence each.
  returned: O(step=check) and check mode
  type: list
  elements: str
  sample: ["database authentik (245.0 MiB) stays as authentik_before_20261124t120000z_0a1b"]
revival:
  description:
    - What the restore of the instance's own database would bring back to life, by comparison with the present one.
    - Users are told apart by their UUID. Keys of tokens and sessions are compared on the host and never returned.
  returned: O(step=check) and check mode
  type: dict
  contains:
    compared:
      description: Whether there was a present database to compare with. RV(revival.lines) says why not.
      type: bool
      returned: always
    lines:
      description: The report as sentences, with what O(after_restore) would do.
      type: list
      elements: str
      returned: always
      sample: ["users disabled since, who become active again: 1 (mallory)"]
    schemas:
      description:
        - One entry for each schema that both databases hold. Each of its values but C(schema) and C(not_compared) has
          C(count) and up to 20 C(names).
      type: list
      elements: dict
      returned: always
      contains:
        schema:
          description: Name of the schema, which stands for a tenant.
          type: str
          returned: always
        users_active_again:
          description: Users who are active in the set, and disabled in the present database.
          type: dict
          returned: always
        users_returning:
          description: Users of the set who are not in the present database.
          type: dict
          returned: always
        users_vanishing:
          description: Users of the present database who are not in the set.
          type: dict
          returned: always
        superusers_gained:
          description: Active superusers of the set who are none at present. Groups above a user's groups count.
          type: dict
          returned: always
        superusers_lost:
          description: Active superusers at present who are none in the set.
          type: dict
          returned: always
        passwords:
          description: Users whose password was changed since.
          type: dict
          returned: always
        app_passwords:
          description: App passwords that are valid in the set, and were removed, have expired or got another key since.
          type: dict
          returned: always
        tokens:
          description: The same for tokens of other kinds.
          type: dict
          returned: always
        sessions:
          description: Sessions of the set that are not over, and are not in the present database. The names are users'.
          type: dict
          returned: always
        bare_sessions:
          description: The same for the table C(django_session), which names no users.
          type: dict
          returned: always
        grants:
          description: Kinds of what providers gave to applications, and how many of each are valid again.
          type: dict
          returned: always
        not_compared:
          description: What could not be compared, and why.
          type: list
          elements: str
          returned: always
databases:
  description: What was read, and where it was loaded.
  returned: O(step=check) and O(step=prepare)
  type: list
  elements: dict
  contains:
    name:
      description: The database's name in the set.
      type: str
      returned: always
    target:
      description: The live name it is restored to.
      type: str
      returned: always
    artifact:
      description: The artifact's path in the set.
      type: str
      returned: always
    bytes:
      description: Size of the artifact.
      type: int
      returned: always
    seconds:
      description: How long it took, comparison included.
      type: float
      returned: always
    bytes_per_second:
      description: Bytes of the artifact per second.
      type: int
      returned: always
    tool:
      description: The program that decoded it.
      type: str
      returned: O(step=check)
    copy:
      description: Name of the prepared database. It is O(restore_as) where that is given.
      type: str
      returned: O(step=prepare)
    drop_command:
      description: Command that drops the prepared database, on the authentik host.
      type: str
      returned: O(step=prepare)
    tables:
      description: Number of tables that were compared.
      type: int
      returned: O(step=prepare)
    rows:
      description: Number of rows that were compared.
      type: int
      returned: O(step=prepare)
    load_seconds:
      description: How long loading took.
      type: float
      returned: O(step=prepare)
    locale:
      description: Whose locale the database got.
      type: str
      returned: O(step=prepare)
    after_restore:
      description:
        - What O(after_restore) did to the copy. C(deleted) has the number of rows by table, C(disabled) the C(count) of
          users and up to 20 C(names), C(lines) says it in sentences.
      type: dict
      returned: O(step=prepare), when O(after_restore) asks for something
renamed:
  description: Renames that were done, or in check mode would be.
  returned: O(step=swap) and O(step=undo)
  type: list
  elements: list
  sample: [["authentik", "authentik_before_20261124t120000z_0a1b"]]
dropped:
  description: Databases that were dropped, or in check mode would be.
  returned: O(step=clear) and O(step=undo)
  type: list
  elements: str
  sample: ["authentik_new_20261124t120000z_0a1b"]
left:
  description:
    - Live databases beside which nothing of this restore lies, so that they stay as they are.
    - After a swap these are restored ones for which there was no database before.
  returned: O(step=undo)
  type: list
  elements: str
  sample: []
kept:
  description:
    - Databases with what this restore had brought that are there in the end, or in check mode would be.
    - Also those that an earlier O(step=undo) put aside, which was killed before it could say so.
  returned: O(step=undo)
  type: list
  elements: str
  sample: ["authentik_undone_20261124t120000z_0a1b"]
present:
  description: The databases to be replaced that exist on the server.
  returned: O(step=check) and check mode
  type: list
  elements: str
  sample: ["authentik"]
space:
  description:
    - What each copy needs, in bytes, what is dropped before it is made, and what is free in its tablespace. Where that
      cannot be seen, C(available) is null and C(unseen) says why.
  returned: O(step=check) and check mode
  type: list
  elements: dict
  sample:
    - component: postgresql
      what: the copy of database authentik
      path: /var/lib/postgresql/18/main
      device: "5d9c64d3-6f3c-4a0e-9c5f-3f6f0e0a7f55:65025"
      available: 5368709120
      unseen: ""
      needed: 27285183
      freed: 0
cut_over_seconds:
  description: How long nobody could connect to the live name.
  returned: O(step=clear), O(step=swap) and O(step=undo), not in check mode
  type: float
  sample: 0.07
"""

import contextlib

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _ladder, _module
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import DiscoveryError, InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import (
    _restore,
    _restore_globals,
    _restore_names,
    _restore_set,
    _restore_swap,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import (
    MIGRATION_SECONDS,
    AdminOptions,
    AfterRestore,
    Request,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

AFTER_RESTORE: dict[str, Any] = {
    "purge_sessions": {"type": "bool", "default": False},
    "keep_disabled": {"type": "bool", "default": False},
}


def body(ctx: _module.Context) -> dict[str, Any]:
    settings = ctx.instance.postgresql
    if settings is None:
        raise DiscoveryError(
            "the instance's database connection is not known", hint="give postgresql_host, postgresql_name and so on"
        )
    if ctx.params["migration_timeout"] < 0:
        raise InputError("migration_timeout is negative", hint="give seconds, 0 not to wait")
    request = Request(
        settings=settings,
        restore_id=ctx.params["restore_id"] or ctx.manifest()["id"],
        admin=AdminOptions(ctx.params["admin_user"], ctx.params["admin_password"], ctx.params["admin_run_as"]),
        skip_privileges=ctx.params["skip_privileges"],
        bin_dir=ctx.params["postgresql_bin_dir"],
        after_restore=AfterRestore(**ctx.params["after_restore"]),
        migration_seconds=ctx.params["migration_timeout"],
        restore_as=ctx.params["restore_as"],
        in_place=ctx.params["mode"] == _module.IN_PLACE,
    )
    refuse_apart(ctx)
    refuse_in_place(ctx, request)
    result = read_set(ctx, request) if ctx.params["step"] in ("check", "prepare") else exchange(ctx, request)
    for warning in result.pop("warnings", []):
        ctx.warn(warning)
    return result


def refuse_apart(ctx: _module.Context) -> None:
    """Refuse what makes no sense for a database that gets a name of its own."""
    if ctx.params["restore_as"] is None:
        return
    if ctx.params["step"] in ("clear", "swap", "undo"):
        raise InputError(
            "restore_as has no step %s" % ctx.params["step"],
            hint="the step prepare ends with the database under that name, and touches no other: to be rid of it, "
            "drop it",
        )
    if any(ctx.params["after_restore"].values()):
        raise InputError(
            "restore_as and after_restore do not go together",
            hint="a database under another name is exactly what the set holds; leave after_restore out",
        )
    if len(ctx.params["databases"]) > 1:
        raise InputError(
            "restore_as names one database, and databases names %d" % len(ctx.params["databases"]),
            hint="restore them one by one, each with a name of its own",
        )


def refuse_in_place(ctx: _module.Context, request: Request) -> None:
    """Refuse what needs the live database after it was dropped, and to drop it where it is to be kept."""
    if ctx.params["step"] == "clear" and not request.in_place:
        raise InputError(
            "step=clear drops the live database, which side by side is kept",
            hint="leave it out; or give mode=in_place, once a backup set of the live database was verified",
        )
    if request.in_place and request.restore_as is not None:
        raise InputError(
            "restore_as and mode=in_place do not go together",
            hint="a database under another name touches no other: leave mode out",
        )
    if request.in_place and request.after_restore.keep_disabled:
        raise InputError(
            "after_restore: keep_disabled and mode=in_place do not go together",
            hint="who is disabled is read in the present database, which is dropped before. Leave keep_disabled out, "
            "and disable them after the restore: its plan has the names",
        )


def read_set(ctx: _module.Context, request: Request) -> dict[str, Any]:
    databases = wanted(ctx, request)
    if request.after_restore.wanted and request.settings.name not in [one.target for one in databases]:
        raise InputError(
            "after_restore changes the instance's own database, which is not among those to restore",
            hint="leave after_restore out, or add the instance's database to databases",
        )
    versions = compare_versions(ctx)
    if request.restore_as is not None:
        _restore_names.check_other_name(request.restore_as, (databases[0].target, request.settings.name))
        # No authentik runs on it, unless somebody tells one to.
        versions = versions._replace(warnings=(*versions.warnings, *versions.blockers), blockers=())
    request = request._replace(versions=versions)
    with contextlib.closing(ctx.source()) as source:
        if ctx.check_mode or ctx.params["step"] == "check":
            _restore_globals.check(ctx.manifest(), source)
            return dict(_restore.check(request, databases, source), changed=False)
        return dict(_restore.prepare(request, databases, source), changed=True)


def compare_versions(ctx: _module.Context) -> _ladder.Verdict:
    """Judge the instance's own database by its version; other databases of a set are none of authentik's."""
    manifest, chosen, instance = ctx.manifest(), ctx.params["databases"], ctx.instance
    if chosen and manifest["components"]["postgresql"]["database"] not in chosen:
        return _ladder.Verdict()
    live = instance.version["value"] if instance.version and instance.version != instance.installed else None
    return _ladder.judge(
        manifest["instance"]["authentik_version"], instance.installed, live, ctx.params["version_policy"]
    )


def exchange(ctx: _module.Context, request: Request) -> dict[str, Any]:
    targets = ctx.params["databases"] or [request.settings.name]
    if ctx.params["manifest"] is not None or ctx.params["src"]:
        targets = [database.target for database in wanted(ctx, request)]
    keep = ctx.params["keep_undone"]
    if ctx.params["step"] == "clear":
        if ctx.check_mode:
            dropped = _restore_swap.plan_clear(request, targets)
            return {"changed": bool(dropped), "dropped": dropped}
        return _restore_swap.clear(request, targets)
    if ctx.params["step"] == "swap":
        if ctx.check_mode:
            renames = _restore_swap.plan_swap(request, targets)
            return {"changed": bool(renames), "renamed": renames}
        return _restore_swap.swap(request, targets)
    if ctx.check_mode:
        return _restore_swap.plan_of_undo(request, targets, keep)
    return _restore_swap.undo(request, targets, keep)


def wanted(ctx: _module.Context, request: Request) -> list[_restore_set.SetDatabase]:
    return _restore_set.databases_of(ctx.manifest(), ctx.params["databases"], request.settings.name, request.app_role)


def main() -> None:
    spec = dict(
        _module.INSTANCE_SPEC,
        step={"type": "str", "choices": ["check", "clear", "prepare", "swap", "undo"], "required": True},
        restore_id={"type": "str"},
        databases={"type": "list", "elements": "str", "default": []},
        restore_as={"type": "str"},
        skip_privileges={"type": "bool", "default": False},
        version_policy={"type": "str", "choices": list(_ladder.POLICIES), "default": "same_train"},
        keep_undone={"type": "bool", "default": True},
        after_restore={"type": "dict", "default": {}, "options": AFTER_RESTORE},
        migration_timeout={"type": "int", "default": MIGRATION_SECONDS},
        **_module.ADMIN_SPEC,
        **_module.MODE_SPEC,
    )
    spec.update(_module.CONSUMER_SPEC)
    required = [("step", step, ["restore_id"]) for step in ("clear", "prepare", "swap", "undo")]
    _module.run_module(spec, body, required_if=required)


if __name__ == "__main__":
    main()
