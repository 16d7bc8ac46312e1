# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Find an instance on this host; options override what is found."""

from __future__ import annotations

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
    Directory,
    Instance,
    PostgresSettings,
    RedisSettings,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


def discover(
    options: dict[str, Any], read_version: Callable[[PostgresSettings], str | None] | None = None
) -> Instance:
    """Return the instance that *options* describe."""
    postgresql = None
    if options.get("postgresql_host") is not None:
        postgresql = PostgresSettings(
            host=options["postgresql_host"],
            port=options.get("postgresql_port") or 5432,
            name=options.get("postgresql_name") or "authentik",
            user=options.get("postgresql_user") or "authentik",
            password=options.get("postgresql_password"),
            sslmode=options.get("postgresql_sslmode"),
            sslrootcert=options.get("postgresql_sslrootcert"),
            sslcert=options.get("postgresql_sslcert"),
            sslkey=options.get("postgresql_sslkey"),
            run_as=options.get("postgresql_run_as") or None,
            default_schema=options.get("postgresql_default_schema") or "public",
        )
    redis = None
    if options.get("redis_enabled"):
        redis = RedisSettings(
            host=options.get("redis_host") or "localhost",
            port=options.get("redis_port") or 6379,
            db=options.get("redis_db") or 0,
            username=options.get("redis_username"),
            password=options.get("redis_password"),
            tls=bool(options.get("redis_tls")),
            tls_reqs=options.get("redis_tls_reqs") or "none",
            tls_ca_cert=options.get("redis_tls_ca_cert"),
            socket=options.get("redis_socket"),
        )
    version = None
    if options.get("authentik_version"):
        version = {"value": str(options["authentik_version"]), "source": "option authentik_version"}
    elif postgresql and read_version:
        found = read_version(postgresql)
        version = {"value": found, "source": "database: authentik_version_history"} if found else None
    directories = tuple(
        Directory(name.replace("_", "-"), path, "option directories.%s" % name)
        for name, path in sorted((options.get("directories") or {}).items())
        if path
    )
    return Instance(
        version=version,
        postgresql=postgresql,
        redis=redis,
        directories=directories,
        storage_backend=options.get("storage_backend") or "file",
        secret_key=options.get("secret_key"),
    )
