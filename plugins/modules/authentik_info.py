#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_info
short_description: Describe the authentik instance on a host
version_added: "1.0.0"
description:
  - Finds the authentik instance that runs on the host and describes it, without secrets. It runs as services of the
    host, or as a Docker Compose project.
  - Follows authentik's own order of configuration. These are the YAML files, then the environment that systemd or the
    container engine gives to the services, with C(env://) and C(file://) values resolved.
  - Services of a compose project are recognised by image and command, its database and Redis by the hosts that
    authentik's settings name, directories by their mounts. Names of services do not count. The containers that exist
    are described as they run. The compose files tell of services that have no container.
  - Whatever is found can be overridden by an option. What could not be found is listed together with the option that
    supplies it.
  - All other modules of this collection that work on an instance find it in the same way.
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.attributes.info
  - authentik_ops.recovery.instance
"""

EXAMPLES = r"""
- name: Find the instance
  authentik_ops.recovery.authentik_info:
  register: authentik

- name: Stop when something has to be told
  ansible.builtin.assert:
    that: authentik.missing | length == 0
    fail_msg: "{{ authentik.missing }}"

- name: Find one of several compose projects
  authentik_ops.recovery.authentik_info:
    compose_project_name: authentik

- name: Find a compose project that is down
  authentik_ops.recovery.authentik_info:
    compose_project_directory: /opt/authentik

- name: Find an instance whose environment does not come from systemd units
  authentik_ops.recovery.authentik_info:
    env_files:
      - /etc/authentik/.env
    working_directory: /opt/authentik
"""

RETURN = r"""
deployment:
  description: How the instance runs. V(host) means services of the host, V(compose) a Docker Compose project.
  returned: always
  type: str
  sample: compose
compose:
  description:
    - The Docker Compose project. None for services of the host.
    - RV(ignore:postgresql_service) and RV(ignore:redis_service) are empty for servers outside the project.
    - RV(ignore:images) holds the image of every service as the project names it, with the engine's id of it and its
      names in registries.
  returned: always
  type: dict
  sample:
    name: authentik
    directory: /opt/authentik
    files: [/opt/authentik/compose.yml]
    env_files: [/opt/authentik/.env]
    profiles: []
    postgresql_service: postgresql
    redis_service: ""
    images:
      - service: server
        reference: ghcr.io/goauthentik/server:2025.12.4
        id: sha256:0b1f8c5e8e0a0c6f5a3f0d3e7d9c8b7a6f5e4d3c2b1a09f8e7d6c5b4a3928170
        digests: ["ghcr.io/goauthentik/server@sha256:5e1c8e4f1f0d3c2b1a09f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a3"]
version:
  description:
    - The version of authentik that ran last (key V(value)) and where it was read (key V(source)). None when not found.
    - There is a key V(newer) when the database had been used by that version of a later train before.
  returned: always
  type: dict
  sample:
    value: 2025.12.4
    source: database, newest row of authentik_version_history
train:
  description: The release train of the version.
  returned: always
  type: str
  sample: "2025.12"
installed_version:
  description:
    - The version of the code on this host, in the form of RV(version), or none when not found. For a compose project
      that of the server's image.
    - Restores compare it with the version of the set.
  returned: always
  type: dict
  sample:
    value: 2025.12.6
    source: /opt/authentik/authentik/__init__.py
postgresql:
  description:
    - How the database is reached. None when not found.
    - RV(ignore:container) is the container in which the PostgreSQL programs are run. RV(ignore:host) is empty then,
      which means the database's own socket. None where they run on the host.
  returned: always
  type: dict
  sample:
    host: localhost
    port: 5432
    name: authentik
    user: authentik
    app_user: authentik
    password_set: true
    sslmode: null
    sslrootcert: null
    sslcert: null
    sslkey: null
    run_as: null
    default_schema: public
    container: null
redis:
  description:
    - How Redis is reached. None for an instance without Redis.
    - RV(ignore:databases) are the databases of this server that the configuration names, RV(ignore:db) among them.
  returned: always
  type: dict
  sample:
    host: localhost
    port: 6379
    db: 0
    databases: [0]
    username: null
    password_set: true
    tls: false
    tls_reqs: none
    tls_ca_cert: null
    socket: null
directories:
  description:
    - The instance's directories, each with where its path was learnt from.
    - For a compose project RV(ignore:path) is what is mounted, a directory of the host or that of a volume. What is
      mounted by itself below one of authentik's directories is a component of its own, such as
      V(extra-blueprints-custom).
  returned: always
  type: list
  elements: dict
  sample:
    - component: data
      path: /opt/authentik/data
      source: authentik's default
storage_backend:
  description: Where uploaded files are kept, V(file) or V(s3). Reports may be kept elsewhere.
  returned: always
  type: str
  sample: file
object_storage:
  description:
    - The bucket in which the instance keeps files, with C(bucket), C(folders), C(endpoint), C(region), C(profile) and
      C(keys_set). Null where none of them lie in S3.
  returned: always
  type: dict
  sample:
    bucket: authentik
    folders: [media, reports]
    endpoint: https://s3.example.com
    region: us-east-1
    profile: ""
    keys_set: true
units:
  description:
    - The systemd services. RV(ignore:active) is none where systemd does not run.
    - For a compose project its services that run authentik, and containers of outposts by their names.
      RV(ignore:path) is empty then.
  returned: always
  type: list
  elements: dict
  sample:
    - name: authentik-server.service
      role: server
      path: /etc/systemd/system/authentik-server.service
      active: true
config_files:
  description: The files that the configuration is made of, by their paths on the host.
  returned: always
  type: list
  elements: dict
  sample:
    - path: /etc/authentik/config.yml
      kind: config
secret_key_set:
  description: Whether authentik's secret key was found.
  returned: always
  type: bool
  sample: true
listen_http:
  description: The address that the server listens on.
  returned: always
  type: str
  sample: 0.0.0.0:9000
health_url:
  description:
    - The URL on the host that tells whether the server is ready. Empty for a compose project that publishes no port for
      it, whose container is asked by its address.
  returned: always
  type: str
  sample: http://127.0.0.1:9000/-/health/ready/
sources:
  description: Where the value of each setting came from. Holds no values.
  returned: always
  type: dict
  sample:
    postgresql.host: /etc/authentik/config.yml
missing:
  description: What was not found (key V(what)), and the option that supplies it (key V(option)).
  returned: always
  type: list
  elements: dict
  sample:
    - what: authentik's version
      option: authentik_version
notes:
  description: How some facts were decided.
  returned: always
  type: list
  elements: str
  sample:
    - "certs: /certs, authentik's default, does not exist"
"""

from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import (
    INSTANCE_SPEC,
    Context,
    run_module,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def body(context: Context) -> dict[str, Any]:
    """Describe the instance; its warnings have been given by the context."""
    description = context.instance.describe()
    del description["warnings"]
    return dict(description, changed=False)


def main() -> None:
    """Run the module."""
    run_module(dict(INSTANCE_SPEC), body)


if __name__ == "__main__":
    main()
