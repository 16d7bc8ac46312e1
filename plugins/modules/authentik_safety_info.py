#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_safety_info
short_description: Tells what of an authentik instance a restore would replace
version_added: "1.0.0"
description:
  - Looks at what is there now of the components of a restore, and returns with which options the producers save it
    first, into a safety set.
  - What does not exist is named and left out. A database without tables counts as one that does not exist.
  - Nothing is read but names, sizes and counts.
options:
  components:
    description: The components that the restore replaces.
    type: list
    elements: str
    required: true
  databases:
    description:
      - The databases that the restore replaces and that exist on the server, as RV(ignore:present) of
        M(authentik_ops.recovery.authentik_pg_restore) has them.
    type: list
    elements: str
    default: []
  places:
    description:
      - The directories that the restore replaces, each with C(component) and its path C(live), as RV(ignore:components)
        of M(authentik_ops.recovery.authentik_static_restore) has them.
    type: list
    elements: dict
    default: []
  redis_databases:
    description:
      - The Redis databases that the restore replaces. Those that the instance's configuration names when not given.
    type: list
    elements: int
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.attributes.info
  - authentik_ops.recovery.instance
seealso:
  - module: authentik_ops.recovery.authentik_backup_set
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
"""

EXAMPLES = r"""
- name: What would be lost if these were restored?
  authentik_ops.recovery.authentik_safety_info:
    components: [postgresql, media]
    databases: [authentik]
    places:
      - component: media
        live: /opt/authentik/media
"""

RETURN = r"""
components:
  description: The components to save. None where nothing is there that would be lost.
  returned: success
  type: list
  elements: str
  sample: [postgresql, media]
plan:
  description: What is saved, and what is not because it is not there, in one sentence.
  returned: success
  type: list
  elements: str
  sample:
    - "safety set: what is there now is saved first: database authentik (26.0 MiB), media (/opt/authentik/media)"
sizes:
  description: How many bytes each component to save takes now.
  returned: success
  type: dict
  sample: {"postgresql": 27262976, "media": 104857600}
postgresql:
  description: Options C(method) and C(exclude_databases) of M(authentik_ops.recovery.authentik_pg_dump).
  returned: success
  type: dict
  sample: {"method": dump, "exclude_databases": []}
static:
  description:
    - Options C(components), C(directories) and C(extra_paths) of M(authentik_ops.recovery.authentik_static_dirs).
  returned: success
  type: dict
  sample: {"components": [media], "directories": {}, "extra_paths": {}}
"""

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _safety
from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import (
    INSTANCE_SPEC,
    Context,
    run_module,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def body(ctx: Context) -> dict[str, Any]:
    """Look at each component."""
    params, instance = ctx.params, ctx.instance
    found: list[_safety.Found] = []
    databases = _safety.Databases("dump", [])
    if "postgresql" in params["components"]:
        settings = instance.require_postgresql()
        database, databases = _safety.find_databases(settings, params["databases"], params["postgresql_bin_dir"])
        found.append(database)
    places = [place for place in params["places"] if place["component"] in params["components"]]
    of_directories, directories = _safety.find_directories(
        places, [(item.component, item.path) for item in instance.directories]
    )
    found += of_directories
    if "redis" in params["components"] and instance.redis is not None:
        found.append(_safety.find_redis(instance.redis, params["redis_databases"]))
    if "s3" in params["components"] and instance.object_storage is not None:
        found.append(_safety.Found("s3", "bucket %s" % instance.object_storage.bucket, holds=True))
    if "config" in params["components"]:
        found.append(_safety.Found("config", "the configuration", holds=True))
    saved = [item for item in found if item.saved] if any(item.holds for item in found) else []
    return {
        "changed": False,
        "components": [item.component for item in saved],
        "sizes": {item.component: item.size for item in saved},
        "plan": [_safety.sentence(found)],
        "postgresql": databases._asdict(),
        "static": directories._asdict(),
    }


def main() -> None:
    """Entry point."""
    spec = dict(
        INSTANCE_SPEC,
        components={"type": "list", "elements": "str", "required": True},
        databases={"type": "list", "elements": "str", "default": []},
        places={"type": "list", "elements": "dict", "default": []},
        redis_databases={"type": "list", "elements": "int"},
    )
    run_module(spec, body)


if __name__ == "__main__":
    main()
