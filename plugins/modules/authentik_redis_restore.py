#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_redis_restore
short_description: Restore the Redis content of an authentik instance
version_added: "1.0.0"
description:
  - Replaces the content of the instance's Redis server by that of a backup set, in steps.
  - Every key of the set is put into the running server with its expiry. This works on this host or another one, with
    append-only files on or off, and needs no restart.
  - Only the databases that belong to the instance are emptied and filled, those that its configuration names. What a
    shared server keeps in other databases stays as it is, although the set holds a copy of it.
  - What was there before is kept on the host in O(work_dir), until O(step=undo) or until the folder is removed.
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.instance
  - authentik_ops.recovery.stream.consumer
options:
  step:
    description:
      - V(check) reads the artifact to its last byte, compares it with the manifest and the server and returns the plan.
        Nothing is changed. Check mode does this for V(prepare), too.
      - V(prepare) does the same and keeps the artifact and the present content of the server in O(work_dir).
      - V(swap) empties the databases and puts the keys. When anything goes wrong, what was there before is put back.
        Stop authentik first.
      - V(undo) puts back what was there before V(swap), if that had begun, and removes what V(prepare) kept.
    type: str
    choices: [check, prepare, swap, undo]
    required: true
  restore_id:
    description:
      - Names this restore, in the form of a set's id. The same for all steps.
      - Required for all steps but V(check).
    type: str
  work_dir:
    description:
      - Folder on the host under which the artifact and the previous content are kept.
      - V(/var/lib/authentik-recovery) for root, else V(~/.local/state/authentik-recovery).
    type: path
  redis_databases:
    description:
      - Restore these databases, and no others.
      - When not given, they are those of the server that authentik's configuration names (C(redis.db), and the database
        in C(broker.url), C(cache.url), C(channel.url) and C(result_backend.url)), or O(redis_db) alone where that is
        given.
    type: list
    elements: int
  timeout:
    description:
      - How many seconds the server may take to save its present content.
    type: int
    default: 600
attributes:
  check_mode:
    support: full
    details:
      - O(step=check) and O(step=prepare) do all reading and comparing. O(step=swap) and O(step=undo) tell what they
        found prepared.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - O(step=swap) and O(step=undo) change nothing the second time. O(step=prepare) prepares anew.
"""

EXAMPLES = r"""
- name: What would a restore of Redis do?
  authentik_ops.recovery.authentik_redis_restore:
    step: check
    src: /var/backups/authentik

- name: Keep the artifact and the present content
  authentik_ops.recovery.authentik_redis_restore:
    step: prepare
    restore_id: "{{ restore_id }}"
    backup_set:
      store: /srv/backups
      instance: sso
      id: latest

- name: Replace the content
  authentik_ops.recovery.authentik_redis_restore:
    step: swap
    restore_id: "{{ restore_id }}"

- name: Put back what was there
  authentik_ops.recovery.authentik_redis_restore:
    step: undo
    restore_id: "{{ restore_id }}"
"""

RETURN = r"""
plan:
  description: What the restore would do, one sentence each.
  returned: O(step=check), O(step=prepare) and check mode
  type: list
  elements: str
  sample: ["Redis database 0: 3 keys are replaced by 112."]
databases:
  description: The databases that are emptied and filled.
  returned: when the set holds Redis, all steps but O(step=undo)
  type: list
  elements: int
  sample: [0]
keys:
  description: Number of keys in each database, planned or, after O(step=swap) and O(step=undo), counted by the server.
  returned: when the set holds Redis
  type: dict
  sample: {"0": 112}
keys_expired:
  description: Number of keys of each database that are left out because they have expired since the backup.
  returned: when the set holds Redis, all steps but O(step=undo)
  type: dict
  sample: {"0": 0}
keys_present:
  description: Number of keys that were in each database.
  returned: O(step=check) and O(step=prepare), when the set holds Redis
  type: dict
  sample: {"0": 3}
space:
  description: What step V(prepare) needs in O(work_dir), in bytes, and what is free there.
  returned: O(step=check) and check mode, when the set holds Redis
  type: list
  elements: dict
  sample:
    - component: redis
      what: Redis, as it is and as it shall be,
      path: /var/lib/authentik-recovery
      device: "5d9c64d3-6f3c-4a0e-9c5f-3f6f0e0a7f55:65025"
      available: 5368709120
      unseen: ""
      needed: 3145728
      freed: 0
work_folder:
  description: Where the artifact and the previous content are kept.
  returned: O(step=prepare), when the set holds Redis
  type: str
  sample: /var/lib/authentik-recovery/20261122T031500Z-7f3a/redis
method:
  description: How the previous content was saved.
  returned: O(step=prepare), when the set holds Redis
  type: str
  sample: replication
seconds:
  description: How long emptying and filling took.
  returned: O(step=swap)
  type: float
  sample: 0.31
"""

import contextlib

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _module
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import DiscoveryError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import default_work_dir
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis import _restore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._work_folder import WorkFolder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def body(ctx: _module.Context) -> dict[str, Any]:
    step = ctx.params["step"]
    result = read_set(ctx) if step in ("check", "prepare") else act(ctx)
    for warning in result.pop("warnings", []):
        ctx.warn(warning)
    return result


def read_set(ctx: _module.Context) -> dict[str, Any]:
    manifest = ctx.manifest()
    with contextlib.closing(ctx.source()) as source:
        if "redis" not in manifest["components"]:
            return {"changed": False, "plan": ["The set holds no Redis: nothing to restore."]}
        if ctx.check_mode or ctx.params["step"] == "check":
            return _restore.check(request(ctx), source, manifest, ctx.params["work_dir"] or default_work_dir())
        return _restore.prepare(request(ctx), source, manifest, folder(ctx))


def act(ctx: _module.Context) -> dict[str, Any]:
    place = folder(ctx)
    if ctx.check_mode:
        return _restore.outlook(place, ctx.params["step"])
    if ctx.params["step"] == "swap":
        return _restore.swap(request(ctx), place)
    if place.read() is None:
        # Nothing of the server is needed, not even its settings.
        return {"changed": place.remove(), "keys": {}}
    return _restore.undo(request(ctx), place)


def request(ctx: _module.Context) -> _restore.Request:
    settings = ctx.instance.redis
    if settings is None:
        raise DiscoveryError(
            "The set holds Redis, this instance has none.",
            "Leave out the component redis, or name the server with redis_host or redis_socket.",
        )
    return _restore.Request(settings, ctx.params["redis_databases"], ctx.params["timeout"])


def folder(ctx: _module.Context) -> WorkFolder:
    return WorkFolder(ctx.params["work_dir"] or default_work_dir(), ctx.params["restore_id"])


def main() -> None:
    spec = dict(
        _module.INSTANCE_SPEC,
        step={"type": "str", "choices": ["check", "prepare", "swap", "undo"], "required": True},
        restore_id={"type": "str"},
        work_dir={"type": "path"},
        redis_databases={"type": "list", "elements": "int"},
        timeout={"type": "int", "default": 600},
    )
    spec.update(_module.CONSUMER_SPEC)
    required = [("step", step, ["restore_id"]) for step in ("prepare", "swap", "undo")]
    _module.run_module(spec, body, required_if=required)


if __name__ == "__main__":
    main()
