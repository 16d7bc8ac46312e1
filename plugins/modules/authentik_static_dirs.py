#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Save the directories of an authentik instance."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_static_dirs
short_description: Save the directories of an authentik instance
version_added: "1.0.0"
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
description:
  - Saves uploads (V(media) or V(data)), V(certs), V(custom-templates), V(blueprints) and any further directories, one
    archive each, C(static/<component>.tar.zst), or C(.tar.gz) where the host has no C(zstd).
  - The archives are plain POSIX tar. They keep numeric owners, modes, times to the nanosecond, extended attributes
    with ACLs and capabilities, symbolic and hard links, empty directories and names that are not UTF-8, and GNU tar
    extracts them.
  - A file that changes, shrinks or goes away while it is read is reported and read again, and never padded. When that
    happens three times in a row to the same file, the module fails.
  - Sockets and FIFOs are reported and left out. A device node is an error.
  - What restores left right below a directory, such as C(media.before-<id>) or C(.authentik-before-<id>), is reported
    and left out. So is C(lost+found) of a mount point, which is only reported when it holds something.
  - A directory that lies within another one that is saved is saved, and restored, with that one.
attributes:
  check_mode:
    support: full
    details:
      - Looks at everything, reads no content and writes nothing.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Each run makes new archives.
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.instance
  - authentik_ops.recovery.stream.producer
options:
  components:
    description:
      - Which directories to save, such as V(media) or V(extra-branding).
      - All that are found, with all of O(extra_paths), when not given.
    type: list
    elements: str
  extra_paths:
    description:
      - Further directories to save. Keys are names, values absolute paths. The name V(branding) makes the component
        C(extra-branding).
    type: dict
    default: {}
  missing:
    description:
      - What a directory is that does not exist, or that is empty because its file system is not mounted.
      - V(auto) makes it an error for V(media) and V(data), unless uploads are kept in S3, and for O(extra_paths); for
        the others it is a warning.
    type: str
    choices:
      - auto
      - error
      - warn
    default: auto
  compression:
    description:
      - How the archives are compressed. V(auto) is V(zstd) where the host has that program, else V(gzip).
    type: str
    choices:
      - auto
      - zstd
      - gzip
    default: auto
  previous:
    description:
      - Set by the action plugin of the same name. Do not use it in a playbook.
      - For each component, the tree digest in the last set and that set's id. A directory with an equal tree is not
        sent again.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Save all directories into the backup set that was opened
  authentik_ops.recovery.authentik_static_dirs:
    backup_set:
      store: /srv/backups
      instance: sso
      id: "{{ backup_set.id }}"

- name: Save uploads and a directory of our own to a folder on the host
  authentik_ops.recovery.authentik_static_dirs:
    dest: /var/backups/authentik
    components:
      - data
      - extra-branding
    extra_paths:
      branding: /srv/branding

- name: Show what would be saved
  authentik_ops.recovery.authentik_static_dirs:
    dest: /var/backups/authentik
  check_mode: true
"""

RETURN = r"""
components:
  description: One record for each directory, as it goes into the manifest.
  returned: success
  type: list
  elements: dict
  sample:
    - component: media
      path: /opt/authentik/media
      source: storage.media.file.path
      state: saved
      artifacts:
        - path: static/media.tar.zst
          compression: zstd
          size: 123456
          sha256: 0d6c1e...
      fingerprint:
        files: 12
        directories: 3
        links: 0
        bytes: 234567
        digest: 9f86d0...
        formula: authentik-recovery-tree-1
      outside_links: {}
      warnings: []
"""

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _static, _tar_codec
from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import (
    INSTANCE_SPEC,
    PRODUCER_SPEC,
    Context,
    run_module,
)

ARGUMENT_SPEC = {
    **INSTANCE_SPEC,
    **PRODUCER_SPEC,
    "components": {"type": "list", "elements": "str"},
    "extra_paths": {"type": "dict", "default": {}},
    "missing": {"type": "str", "choices": ["auto", "error", "warn"], "default": "auto"},
    "compression": {"type": "str", "choices": ["auto", "zstd", "gzip"], "default": "auto"},
    "previous": {"type": "dict", "default": {}},
}


def save(ctx: Context) -> dict[str, object]:
    """Save what was asked for and return its records."""
    params, instance = ctx.params, ctx.instance
    targets = _static.nest(
        _static.choose_targets(
            [(item.component, item.path, item.source) for item in instance.directories],
            instance.storage_backend,
            params["extra_paths"],
            params["components"],
            params["missing"],
        )
    )
    compression = _tar_codec.choose(params["compression"])
    sink = None if ctx.check_mode else ctx.sink()
    records = []
    for target in targets:
        records.append(_static.save(target, sink, compression, params["previous"].get(target.component)))
        for warning in records[-1]["warnings"]:
            ctx.warn(warning)
    return {"changed": any(record["state"] in ("saved", "found") for record in records), "components": records}


def main() -> None:
    """Entry point."""
    run_module(ARGUMENT_SPEC, save)


if __name__ == "__main__":
    main()
