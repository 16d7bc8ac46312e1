#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Save the configuration of an authentik instance."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_config
short_description: Save the configuration of an authentik instance
version_added: "1.0.0"
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
description:
  - Saves every file without which the instance could not be rebuilt as one archive, C(config/config.tar.zst) or
    C(.tar.gz). These are C(/etc/authentik), environment files, unit files with their drop-ins, and every file that a
    C(file://) value or a TLS setting names.
  - Of a Docker Compose project these are its compose files, env files and the files of its secrets. What Compose makes
    of them is in the archive too, as C(.authentik-recovery/compose.yml), for reading. Which images the project had,
    with their tags and digests, is in the component's record.
  - Where the compose files are not on the host, the engine's description of the containers is saved in their place, as
    C(.authentik-recovery/containers.json), and a warning says so.
  - Files are stored by their absolute path without the leading slash, with numeric owners, modes and times. Symbolic
    links on the way to them are stored as links.
  - The archive holds secrets, authentik's secret key among them. The manifest does not help to guess any. It has the
    secret key's fingerprint only as a slow, salted hash, no checksum of any single file, and the digest of the whole
    is keyed with a random key that lies in the archive.
attributes:
  check_mode:
    support: full
    details:
      - Looks for the files, and writes nothing.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Each run makes a new archive.
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.instance
  - authentik_ops.recovery.stream.producer
options:
  extra_files:
    description:
      - Further files to save, as absolute paths.
    type: list
    elements: path
    default: []
  compression:
    description:
      - How the archive is compressed. V(auto) is V(zstd) where the host has that program, else V(gzip).
    type: str
    choices:
      - auto
      - zstd
      - gzip
    default: auto
"""

EXAMPLES = r"""
- name: Save the configuration into the backup set that was opened
  authentik_ops.recovery.authentik_config:
    backup_set:
      store: /srv/backups
      instance: sso
      id: "{{ backup_set.id }}"

- name: Save it to a folder on the host, together with the reverse proxy's site
  authentik_ops.recovery.authentik_config:
    dest: /var/backups/authentik
    extra_files:
      - /etc/nginx/sites-available/sso.conf
"""

RETURN = r"""
components:
  description: The component's record, as it goes into the manifest.
  returned: success
  type: list
  elements: dict
  sample:
    - component: config
      artifacts:
        - path: config/config.tar.zst
          compression: zstd
          size: 2345
          sha256: 0d6c1e...
      files:
        - path: /etc/authentik/config.yml
          kind: config
      fingerprint:
        files: 1
        directories: 3
        links: 0
        bytes: 1234
        digest: 9f86d0...
        formula: authentik-recovery-tree-1
      secret_key_fingerprint:
        algorithm: pbkdf2_hmac_sha256
        salt: 6a1f...
        iterations: 600000
        digest: 77ab...
      deployment: compose
      compose:
        name: authentik
        directory: /opt/authentik
        files: [/opt/authentik/compose.yml]
        env_files: [/opt/authentik/.env]
        profiles: []
        images:
          - service: server
            reference: ghcr.io/goauthentik/server:2025.12.4
            id: sha256:4be1...
            digests: ["ghcr.io/goauthentik/server@sha256:77c0..."]
      authentik_version:
        value: 2025.12.4
        source: database, newest row of authentik_version_history
      warnings: []
"""

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _config, _config_compose, _tar_codec
from ansible_collections.authentik_ops.recovery.plugins.module_utils._docker import Docker
from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import (
    INSTANCE_SPEC,
    PRODUCER_SPEC,
    Context,
    run_module,
)

ARGUMENT_SPEC = {
    **INSTANCE_SPEC,
    **PRODUCER_SPEC,
    "extra_files": {"type": "list", "elements": "path", "default": []},
    "compression": {"type": "str", "choices": ["auto", "zstd", "gzip"], "default": "auto"},
}


def save(ctx: Context) -> dict[str, object]:
    """Save the files and return the record."""
    instance = ctx.instance
    files = [(item.path, item.kind) for item in instance.config_files]
    files += [(path, "extra") for path in ctx.params["extra_files"]]
    compression = _tar_codec.choose(ctx.params["compression"])
    made_up: dict[str, bytes] = {}
    warnings: list[str] = []
    if instance.compose is not None:
        made_up, warnings = _config_compose.made_up(Docker(ctx.params["docker_host"]), instance.compose)
    sink = None if ctx.check_mode else ctx.sink()
    record = _config.save(files, instance.secret_key, sink, compression, made_up)
    record["warnings"] += warnings
    record.update(deployment=instance.deployment, authentik_version=instance.version, train=instance.train)
    if instance.compose is not None:
        record["compose"] = _config_compose.describe(instance.compose)
    for warning in record["warnings"]:
        ctx.warn(warning)
    return {"changed": True, "components": [record]}


def main() -> None:
    """Entry point."""
    run_module(ARGUMENT_SPEC, save)


if __name__ == "__main__":
    main()
