#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_backup_set_verify
short_description: Verify a backup set of authentik
version_added: "1.0.0"
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
description:
  - Proves that a backup set can be read, and records in the store what was proved, and what not.
  - With O(level=checksums) only the controller reads, and the host is not contacted.
  - With O(level=decode) the artifacts are streamed to the host of the task and decoded there. Delegate the task to
    C(localhost) to do that on the controller. Nothing is written but the chunks of the spool, and no instance is
    changed or connected to.
  - With O(level=restore) the databases are then restored into the PostgreSQL server of the task's host, each under a
    name of its own, compared with the fingerprints of the set, and dropped. It may be the instance's own server, where
    nothing else is touched, or a scratch one. It needs the disk space of a copy.
  - What cannot be verified is a failure, too. It is recorded as such, and told apart from damage.
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.postgresql_admin
  - authentik_ops.recovery.instance
  - authentik_ops.recovery.stream.consumer
options:
  level:
    description:
      - With V(checksums) every byte of every artifact is read and compared with the manifest.
      - With V(decode) everything is besides decompressed and parsed to its end. Dumps go through C(pg_restore), the
        dump of Redis and the archives are read by the module, and compared with the fingerprints of the set.
      - With V(restore) the databases are besides restored, compared and dropped again. The set may be of any authentik
        version. One that holds no database has nothing to restore, which is a failure.
      - An encrypted set can be verified with V(checksums) without an identity. Given one, its content is compared, too.
    type: str
    choices: [checksums, decode, restore]
    default: checksums
  tools:
    description:
      - Where O(level=decode) runs PostgreSQL's programs.
      - V(host) runs those of the task's host. They have to be of the release that dumped, or a later one.
      - V(instance) runs those that fit the instance of the task's host. In a Docker Compose project they are in the
        database's container. O(level=restore) always does.
    type: str
    choices: [host, instance]
    default: host
attributes:
  check_mode:
    support: full
    details:
      - Everything is read, and nothing recorded.
  diff_mode:
    support: N/A
    details:
      - No set is changed.
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Is every byte what was saved?
  authentik_ops.recovery.authentik_backup_set_verify:
    backup_set:
      store: /srv/backups
      instance: sso
      id: latest

- name: Decode everything on the controller
  authentik_ops.recovery.authentik_backup_set_verify:
    level: decode
    backup_set:
      store: /srv/backups
      instance: sso
      id: 20261122T031500Z-7f3a
  delegate_to: localhost
  become: false

- name: Restore the newest set into a scratch server
  authentik_ops.recovery.authentik_backup_set_verify:
    level: restore
    postgresql_host: 127.0.0.1
    postgresql_name: authentik
    postgresql_user: authentik
    postgresql_password: "{{ scratch_password }}"
    backup_set:
      store: /srv/backups
      instance: sso
      id: latest
  delegate_to: scratch.example.org

- name: Decode everything in the container of the instance's database
  authentik_ops.recovery.authentik_backup_set_verify:
    level: decode
    tools: instance
    backup_set:
      store: /srv/backups
      instance: sso
      id: latest
"""

RETURN = r"""
id:
  description: Id of the set.
  returned: with O(backup_set)
  type: str
level:
  description: The level.
  returned: with O(backup_set)
  type: str
outcome:
  description: V(passed), V(failed) when the set is damaged, V(unproved) when it could not be verified.
  returned: with O(backup_set)
  type: str
artifacts:
  description: Paths of the artifacts that were read to their end.
  returned: success
  type: list
  elements: str
restored:
  description: The databases that were restored, with C(name), C(bytes), C(tables), C(rows) and C(load_seconds).
  returned: success, with O(level=restore)
  type: list
  elements: dict
bytes:
  description: Stored bytes of the artifacts.
  returned: success, with O(backup_set)
  type: int
seconds:
  description: How long it took.
  returned: with O(backup_set)
  type: float
"""

import contextlib

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _decode, _module
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import PostgresSettings
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import DiscoveryError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _proof
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import (
    AdminOptions,
    Request,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_set import databases_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional


def body(ctx: _module.Context) -> dict[str, Any]:
    manifest = ctx.manifest()
    with contextlib.closing(ctx.source()) as source:
        if ctx.params["level"] != "checksums":
            done = _decode.decode(manifest, source, place_of_tools(ctx), ctx.params["postgresql_bin_dir"])
        else:
            done = [artifact["path"] for artifact in manifest["artifacts"]]
            for path in done:
                with source.artifact(path) as reader:
                    reader.drain()
        result = {"changed": False, "artifacts": done}
        if ctx.params["level"] == "restore":
            result["restored"] = restore(ctx, manifest, source)
    return result


def restore(ctx: _module.Context, manifest: dict[str, Any], source: Any) -> list[dict[str, Any]]:
    """Restore the databases of the set into the instance's server, compare and drop them."""
    settings = known_server(ctx.instance.postgresql)
    request = Request(
        settings=settings,
        restore_id=manifest["id"],
        admin=AdminOptions(ctx.params["admin_user"], ctx.params["admin_password"], ctx.params["admin_run_as"]),
        bin_dir=ctx.params["postgresql_bin_dir"],
    )
    record = manifest["components"].get("postgresql") or {"database": "", "other_databases": {}}
    names = [record["database"], *record["other_databases"]]
    made = _proof.prove(request, databases_of(manifest, names, settings.name, request.app_role), source)
    for warning in made["warnings"]:
        ctx.warn(warning)
    return made["databases"]


def place_of_tools(ctx: _module.Context) -> PostgresSettings:
    """Return settings of which only the place of the programs matters."""
    if ctx.params["tools"] == "host" and ctx.params["level"] != "restore":
        return PostgresSettings(host="", port=5432, name="", user="")
    return known_server(ctx.look_without_database().postgresql)


def known_server(settings: Optional[PostgresSettings]) -> PostgresSettings:
    if settings is None:
        raise DiscoveryError(
            "The instance's database connection is not known, so nobody knows where its programs are",
            "Give postgresql_host and so on, or decode on the controller",
        )
    return settings


def main() -> None:
    spec = dict(
        _module.INSTANCE_SPEC,
        level={"type": "str", "choices": ["checksums", "decode", "restore"], "default": "checksums"},
        tools={"type": "str", "choices": ["host", "instance"], "default": "host"},
        **_module.ADMIN_SPEC,
    )
    spec.update(_module.CONSUMER_SPEC)
    _module.run_module(spec, body)


if __name__ == "__main__":
    main()
