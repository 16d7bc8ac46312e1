# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options by which everything that discovery finds out about an instance can be overridden."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of every module that works on an instance."""

    DOCUMENTATION = r"""
options:
  deployment:
    description:
      - How the instance runs on its host, as services of systemd (V(host)) or as a Docker Compose project (V(compose)).
      - Found out when not given. Needed where both are on one host.
    type: str
    choices:
      - host
      - compose
  docker_host:
    description:
      - The engine's socket, such as V(unix:///run/docker.sock).
      - What the C(docker) client uses by default when not given.
    type: str
  compose_project_name:
    description:
      - Name of the instance's compose project. Found by its images and commands when not given.
      - Needed where several projects of one host run authentik.
    type: str
  compose_project_directory:
    description:
      - The project directory, from which relative paths in its compose files start.
      - Taken from the project's containers when not given. Needed for a project that has none, such as after
        C(docker compose down).
    type: path
  compose_files:
    description:
      - The project's compose files, in their order.
      - Taken from the project's containers when not given, else those that Compose itself looks for in
        O(compose_project_directory).
    type: list
    elements: path
  compose_env_files:
    description:
      - Files with the variables that the compose files use.
      - Taken from the project's containers when not given, else C(.env) in O(compose_project_directory).
    type: list
    elements: path
  compose_profiles:
    description:
      - Profiles of the compose project that belong to the instance.
    type: list
    elements: str
  server_service:
    description:
      - Name of the compose service that runs the authentik server. Found by image and command when not given.
    type: str
  worker_service:
    description:
      - Name of the compose service that runs the authentik worker. Found by image and command when not given.
    type: str
  postgresql_service:
    description:
      - Name of the compose service that is authentik's PostgreSQL server.
      - Found by the host name in authentik's own settings when not given.
      - An empty string says that the server is outside the project.
    type: str
  redis_service:
    description:
      - Name of the compose service that is authentik's Redis server.
      - Found by the host name in authentik's own settings when not given.
      - An empty string says that the server is outside the project.
    type: str
  config_paths:
    description:
      - authentik's configuration files, read in this order; later values win. Shell patterns are allowed, and are
        sorted within themselves. A file that does not exist is passed over.
      - In a compose project these are paths in the containers of server and worker.
    type: list
    elements: path
    default:
      - /etc/authentik/config.yml
      - /etc/authentik/config.d/*.yml
  env_files:
    description:
      - Environment files in systemd's syntax that hold C(AUTHENTIK_*) variables, for an instance whose environment
        does not come from systemd units. Later files win, and all of them win over the environment of units and
        containers.
    type: list
    elements: path
    default: []
  server_units:
    description:
      - Names of the systemd services that run the authentik server. Found by name and command when not given.
      - An empty list says that there are none.
    type: list
    elements: str
  worker_units:
    description:
      - Names of the systemd services that run the authentik worker. Found by name and command when not given.
      - An empty list says that there are none.
    type: list
    elements: str
  outpost_units:
    description:
      - Names of the systemd services that run outposts of this instance (LDAP, proxy, RAC, RADIUS). Found by name and
        command when not given.
      - An empty list says that there are none.
    type: list
    elements: str
  working_directory:
    description:
      - Where relative paths such as authentik's own default V(./data) start from.
      - authentik's code is looked for here, too.
      - Taken from the server's unit when not given.
    type: path
  authentik_version:
    description:
      - The instance's authentik version, such as V(2025.12.4).
      - When not given, it is the newest row of the table C(authentik_version_history), else what the installation's
        own version files say.
      - It also stands for the version that is installed, with which a restore compares the set's.
    type: str
  secret_key:
    description:
      - authentik's secret key. Read from the configuration when not given.
    type: str
  postgresql_host:
    description:
      - Host name or address of the PostgreSQL server, or the folder of its Unix socket.
      - An empty string means the Unix socket in its usual place.
      - C(postgresql.direct.host) of the configuration is preferred over C(postgresql.host), because tools that need
        a session cannot work through a pooler.
    type: str
  postgresql_port:
    description:
      - Port of the PostgreSQL server. Read from the configuration when not given.
    type: int
  postgresql_name:
    description:
      - Name of authentik's database. Read from the configuration when not given.
    type: str
  postgresql_user:
    description:
      - Role to log in as. Read from the configuration when not given.
    type: str
  postgresql_password:
    description:
      - Password of O(postgresql_user). Read from the configuration when not given.
      - An empty string means that none is needed.
    type: str
  postgresql_sslmode:
    description:
      - How the connection is encrypted and checked, as in libpq. Read from the configuration when not given.
    type: str
    choices:
      - disable
      - allow
      - prefer
      - require
      - verify-ca
      - verify-full
  postgresql_sslrootcert:
    description:
      - File with the certificates that the server's certificate is checked against.
    type: path
  postgresql_sslcert:
    description:
      - File with the client certificate.
    type: path
  postgresql_sslkey:
    description:
      - File with the client certificate's key.
    type: path
  postgresql_default_schema:
    description:
      - The schema of authentik's default tenant. Read from the configuration when not given, else V(public).
    type: str
  postgresql_run_as:
    description:
      - Operating system user that the PostgreSQL programs run as, for peer authentication over a Unix socket. Needs
        root.
      - When not given, and the server is reached over a Unix socket without a password, it is the user of the
        authentik server's unit, or C(postgres) where that user does not exist.
      - An empty string means the user that the module runs as.
      - For a database in a container it is a user of the container, else the programs run as its own user.
    type: str
  postgresql_bin_dir:
    description:
      - Folder that holds the PostgreSQL programs to use (C(pg_dump), C(pg_restore), C(psql)).
      - When not given, the best installed ones are used.
      - For a database in a container it is a folder inside the container, whose programs are used.
    type: path
  redis_enabled:
    description:
      - Whether the instance has a Redis server.
      - When not given, it has none from authentik 2025.10 on, and one before.
    type: bool
  redis_host:
    description:
      - Host name or address of the Redis server. Read from the configuration when not given.
    type: str
  redis_port:
    description:
      - Port of the Redis server. Read from the configuration when not given.
    type: int
  redis_db:
    description:
      - Number of the Redis database that authentik uses. Read from the configuration when not given.
    type: int
  redis_username:
    description:
      - Redis user. Read from the configuration when not given.
    type: str
  redis_password:
    description:
      - Redis password. Read from the configuration when not given.
      - An empty string means that none is needed.
    type: str
  redis_tls:
    description:
      - Whether the connection to Redis is encrypted. Read from the configuration when not given.
    type: bool
  redis_tls_reqs:
    description:
      - How the Redis server's certificate is checked. Read from the configuration when not given.
    type: str
    choices:
      - none
      - optional
      - required
  redis_tls_ca_cert:
    description:
      - File with the certificates that the Redis server's certificate is checked against.
    type: path
  redis_socket:
    description:
      - Path of the Redis server's Unix socket. Host, port and TLS are not used then.
    type: path
  storage_backend:
    description:
      - Where authentik keeps uploaded files. Read from the configuration when not given.
      - Of reports, which authentik may keep elsewhere, it counts where the configuration says nothing.
    type: str
    choices:
      - file
      - s3
  directories:
    description:
      - The instance's directories. Each is read from the configuration, or is authentik's own default for its
        version, when not given.
      - An empty string says that the instance has no such directory.
    type: dict
    suboptions:
      media:
        description:
          - Uploaded files, before authentik 2025.12.
        type: path
      data:
        description:
          - Uploaded files and reports, from authentik 2025.12 on.
        type: path
      certs:
        description:
          - Certificates that authentik discovers.
        type: path
      custom_templates:
        description:
          - Templates of e-mails.
        type: path
      blueprints:
        description:
          - Blueprint files.
        type: path
  health_url:
    description:
      - URL on the host that tells whether the server is ready.
      - When not given, it is C(/-/health/ready/) at the port that the configuration lets the server listen on.
    type: str
"""
