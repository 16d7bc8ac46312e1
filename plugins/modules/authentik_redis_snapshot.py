#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_redis_snapshot
short_description: Save the Redis content of an authentik instance
version_added: "1.0.0"
description:
  - Takes a fresh snapshot of the instance's Redis server as one RDB file, the artifact C(redis/dump.rdb).
  - The snapshot is read to its last byte while it is written. Structure, end and checksum have to be right, and the
    number of keys in each database goes into the manifest.
  - An instance without Redis (authentik 2025.10 and later) is not an error. The result says so, and there is no
    artifact.
  - The snapshot holds all databases and functions of the server, also those that something else keeps there.
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.instance
  - authentik_ops.recovery.stream.producer
options:
  method:
    description:
      - How the snapshot is taken.
      - V(auto) is V(bgsave) for a server of this host, and V(replication) for one whose files are out of reach, be it
        in a container or on another host.
      - V(bgsave) has the server save in the background and reads the file. A save or an AOF rewrite that is running is
        waited for first, so that the file holds what was there when the module began.
      - V(save) does the same in the foreground. The server answers nobody meanwhile.
      - V(replication) receives the RDB over the connection as a replica would. The server's files need not be on this
        host and no file name is asked for.
      - An ACL user needs C(+info +time +lastsave +bgsave +config|get), for V(save) C(+save) instead of C(+bgsave), and
        for V(replication) C(+info +psync +replconf).
    type: str
    choices: [auto, bgsave, save, replication]
    default: auto
  timeout:
    description:
      - How many seconds the server may take to save. With O(method=replication), to begin to send.
    type: int
    default: 600
attributes:
  check_mode:
    support: full
    details:
      - Looks at the server and tells what would be saved. Nothing is saved.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Every run takes a new snapshot.
"""

EXAMPLES = r"""
- name: Save Redis into a folder of the host
  authentik_ops.recovery.authentik_redis_snapshot:
    dest: /var/backups/authentik

- name: Save a Redis server on another host into an open backup set
  authentik_ops.recovery.authentik_redis_snapshot:
    method: replication
    redis_host: cache.example.com
    redis_password: "{{ vault_redis_password }}"
    backup_set:
      store: /srv/backups
      instance: sso
      id: "{{ opened.id }}"
"""

RETURN = r"""
components:
  description: One record, or none for an instance without Redis or in check mode.
  returned: always
  type: list
  elements: dict
  sample:
    - component: redis
      method: bgsave
      seconds: 0.42
      artifacts:
        - path: redis/dump.rdb
          size: 48213
          sha256: 0c8e4c6f0b5dfb1e1e4f4c6a4c1f4f6a9a4f3b1c6a4d8a5a0b8f1a2c3d4e5f60
          compression: none
          tool: redis-server 7.0.15
      fingerprint:
        redis_version: 7.0.15
        rdb_version: 10
        checksum: ok
        keys: {"0": 112}
        expiring: {"0": 100}
        functions: 0
      warnings: []
redis:
  description: Whether the instance has Redis.
  returned: always
  type: bool
  sample: true
plan:
  description: What would be saved.
  returned: in check mode
  type: list
  elements: str
  sample: ["Redis 7.0.15 at localhost:6379 would be saved by bgsave: 112 keys, about 1.1 MiB in memory."]
"""

import contextlib
import time

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _module
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis import _snapshot
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import address
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import RedisSettings


def body(ctx: _module.Context) -> dict[str, Any]:
    settings = ctx.instance.redis
    method = _snapshot.choose_method(ctx.params["method"], settings, ctx.instance.deployment)
    if ctx.check_mode:
        return plan(settings, method)
    # Opened also where nothing goes in: the controller waits for its end.
    with contextlib.closing(ctx.sink()) as sink:
        if settings is None:
            return {"changed": False, "redis": False, "components": [], "msg": "This instance has no Redis."}
        record = save(settings, sink, method, ctx.params["timeout"])
    for warning in record["warnings"]:
        ctx.warn(warning)
    return {"changed": True, "redis": True, "components": [record]}


def plan(settings: RedisSettings | None, method: str) -> dict[str, Any]:
    if settings is None:
        return {"changed": False, "redis": False, "components": [], "plan": ["This instance has no Redis."]}
    facts = _snapshot.look(settings)
    text = "Redis %s at %s would be saved by %s: %d keys, about %s in memory." % (
        facts.version,
        address(settings),
        method,
        sum(facts.keys.values()),
        format_bytes(facts.used_memory),
    )
    return {"changed": True, "redis": True, "components": [], "plan": [text], "estimated_bytes": facts.used_memory}


def save(settings: RedisSettings, sink: Any, method: str, timeout: int) -> dict[str, Any]:
    started = time.monotonic()
    with sink.artifact(_snapshot.ARTIFACT) as out:
        taken = _snapshot.take_snapshot(settings, out, method, timeout)
    artifact = {
        "path": _snapshot.ARTIFACT,
        "size": out.size,
        "sha256": out.sha256,
        "compression": "none",
        "tool": "redis-server %s" % taken.facts.version,
    }
    return {
        "component": "redis",
        "method": method,
        "seconds": round(time.monotonic() - started, 3),
        "artifacts": [artifact],
        "fingerprint": taken.summary.fingerprint(),
        "warnings": taken.warnings,
    }


def main() -> None:
    spec = dict(
        _module.INSTANCE_SPEC,
        method={"type": "str", "choices": ["auto", "bgsave", "save", "replication"], "default": "auto"},
        timeout={"type": "int", "default": 600},
    )
    spec.update(_module.PRODUCER_SPEC)
    _module.run_module(spec, body)


if __name__ == "__main__":
    main()
