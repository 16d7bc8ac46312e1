# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What discovery finds out in the same way for every deployment, and where it notes what it found."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import as_text
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._host import redis_settings
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Missing
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._version import (
    newer_than_last,
    train_key,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import Configuration
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
        PostgresSettings,
        RedisSettings,
    )
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System

    HistoryReader = Callable[[PostgresSettings], "list[str]"]

# Redis is gone from here on.
NO_REDIS_TRAIN = (2025, 10)
# What server and worker of one instance have in common.
_COMMON = ("postgresql.host", "postgresql.port", "postgresql.name", "postgresql.user", "secret_key")


@dataclass
class Facts:
    """Collects what was found, what was not, and what an operator should know."""

    options: dict[str, Any]
    system: System
    sources: dict[str, str] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def compare(self, server: Configuration, worker: Configuration) -> None:
        """Warn where server and worker are configured for different things."""
        differing = [key for key in _COMMON if as_text(server.get(key)) != as_text(worker.get(key))]
        if differing:
            self.warnings.append(
                "Server and worker are configured differently (%s); the server's values are used" % ", ".join(differing)
            )

    def version_of(
        self,
        postgresql: PostgresSettings | None,
        installed: dict[str, str] | None,
        read_history: HistoryReader | None,
    ) -> dict[str, str] | None:
        """Return the version that ran last: by its option, the database, or else what is installed."""
        if self.options.get("authentik_version"):
            return installed
        history: list[str] = []
        if postgresql is not None and read_history is not None:
            try:
                history = read_history(postgresql)
            except RecoveryError as exc:
                self.notes.append("authentik's version could not be read from the database: %s" % exc)
        if history:
            return self._last_noted(history)
        if installed is None:
            self.missing.append(Missing("authentik's version", "authentik_version"))
        return installed

    def _last_noted(self, history: list[str]) -> dict[str, str]:
        version = {"value": history[0], "source": "database, newest row of authentik_version_history"}
        newer = newer_than_last(history)
        if newer is not None:
            version["newer"] = newer
            self.warnings.append(
                "authentik %s was started on this database after %s: authentik does not go back, and the tables are "
                "those of %s, or half-way to it" % (history[0], newer, newer)
            )
        return version

    def redis_of(self, configuration: Configuration, version: str | None) -> RedisSettings | None:
        """Return how the configuration reaches Redis, None for an instance that uses none."""
        enabled = self.options.get("redis_enabled")
        named = ("redis_host", "redis_socket", "redis_service")
        if enabled is None and any(self.options.get(option) for option in named):
            enabled = True
        configured = any(
            configuration.any_configured(key) for key in ("redis", "cache.url", "channel.url", "broker.url")
        )
        if enabled is None:
            key = train_key(version)
            if key is None and not configured:
                self.missing.append(Missing("whether this authentik has a Redis server", "redis_enabled"))
            if key is not None and key >= NO_REDIS_TRAIN and configured:
                self.notes.append("The settings for Redis are left over: authentik %s uses none" % version)
            enabled = configured if key is None else key < NO_REDIS_TRAIN
        if not enabled:
            return None
        settings, sources, warnings = redis_settings(configuration, self.options)
        self.sources.update(sources)
        self.warnings += warnings
        return settings

    def secret_key_of(self, server: Configuration, worker: Configuration) -> str | None:
        """Return authentik's secret key."""
        given = self.options.get("secret_key")
        setting = server.first("secret_key") or worker.first("secret_key")
        if not given and setting is None:
            self.missing.append(Missing("authentik's secret key", "secret_key"))
            return None
        self.sources["secret_key"] = "option secret_key" if given or setting is None else setting.source
        return given or as_text(setting)


def tls_files(postgresql: PostgresSettings | None, redis: RedisSettings | None) -> list[str]:
    """Return the certificates and keys that the settings name."""
    paths = [postgresql.sslrootcert, postgresql.sslcert, postgresql.sslkey] if postgresql else []
    paths += [redis.tls_ca_cert] if redis else []
    return [path for path in paths if path and os.path.isabs(path)]
