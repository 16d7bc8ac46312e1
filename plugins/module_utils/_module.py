# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The edge between Ansible and the rest: argument specs, and results from values and errors.

No other file of ``module_utils`` knows ``AnsibleModule``.
"""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.authentik_ops.recovery.plugins.module_utils import (
    _files,
    _manifest,
    _restore_lease,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    RecoveryError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ansible_collections.authentik_ops.recovery.plugins.module_utils import _spool_sink, _spool_source
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
        Instance,
        PostgresSettings,
    )

INSTANCE_SPEC: dict[str, Any] = {
    "deployment": {"type": "str", "choices": ["host", "compose"]},
    "docker_host": {"type": "str"},
    "compose_project_name": {"type": "str"},
    "compose_project_directory": {"type": "path"},
    "compose_files": {"type": "list", "elements": "path"},
    "compose_env_files": {"type": "list", "elements": "path"},
    "compose_profiles": {"type": "list", "elements": "str"},
    "server_service": {"type": "str"},
    "worker_service": {"type": "str"},
    "postgresql_service": {"type": "str"},
    "redis_service": {"type": "str"},
    "config_paths": {
        "type": "list",
        "elements": "path",
        "default": ["/etc/authentik/config.yml", "/etc/authentik/config.d/*.yml"],
    },
    "env_files": {"type": "list", "elements": "path", "default": []},
    "server_units": {"type": "list", "elements": "str"},
    "worker_units": {"type": "list", "elements": "str"},
    "outpost_units": {"type": "list", "elements": "str"},
    "working_directory": {"type": "path"},
    "authentik_version": {"type": "str"},
    "secret_key": {"type": "str", "no_log": True},
    "postgresql_host": {"type": "str"},
    "postgresql_port": {"type": "int"},
    "postgresql_name": {"type": "str"},
    "postgresql_user": {"type": "str"},
    "postgresql_password": {"type": "str", "no_log": True},
    "postgresql_sslmode": {
        "type": "str",
        "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
    },
    "postgresql_sslrootcert": {"type": "path"},
    "postgresql_sslcert": {"type": "path"},
    "postgresql_sslkey": {"type": "path", "no_log": False},
    "postgresql_default_schema": {"type": "str"},
    "postgresql_run_as": {"type": "str"},
    "postgresql_bin_dir": {"type": "path"},
    "redis_enabled": {"type": "bool"},
    "redis_host": {"type": "str"},
    "redis_port": {"type": "int"},
    "redis_db": {"type": "int"},
    "redis_username": {"type": "str"},
    "redis_password": {"type": "str", "no_log": True},
    "redis_tls": {"type": "bool"},
    "redis_tls_reqs": {"type": "str", "choices": ["none", "optional", "required"]},
    "redis_tls_ca_cert": {"type": "path"},
    "redis_socket": {"type": "path"},
    "storage_backend": {"type": "str", "choices": ["file", "s3"]},
    "directories": {
        "type": "dict",
        "options": {
            "media": {"type": "path"},
            "data": {"type": "path"},
            "certs": {"type": "path"},
            "custom_templates": {"type": "path"},
            "blueprints": {"type": "path"},
        },
    },
    "health_url": {"type": "str"},
}

ADMIN_SPEC: dict[str, Any] = {
    "admin_user": {"type": "str"},
    "admin_password": {"type": "str", "no_log": True},
    "admin_run_as": {"type": "str"},
}

CLAIM_SPEC: dict[str, Any] = {"owner": {"type": "dict"}, "dead": {"type": "list", "elements": "str"}}

SIDE_BY_SIDE, IN_PLACE = "side_by_side", "in_place"
MODE_SPEC: dict[str, Any] = {"mode": {"type": "str", "choices": [SIDE_BY_SIDE, IN_PLACE], "default": SIDE_BY_SIDE}}

IMAGES_SPEC: dict[str, Any] = {
    "images": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "service": {"type": "str", "required": True},
            "reference": {"type": "str", "required": True},
            "id": {"type": "str", "default": ""},
            "digests": {"type": "list", "elements": "str", "default": []},
        },
    },
}

BACKUP_SET: dict[str, Any] = {
    "type": "dict",
    "options": {
        "store": {"type": "str", "required": True},
        "instance": {"type": "str", "required": True},
        "id": {"type": "str", "required": True},
        "s3": {"type": "dict"},
    },
}
_STREAM: dict[str, Any] = {
    "backup_set": BACKUP_SET,
    "chunk_size": {"type": "str", "default": "64M"},
    "window": {"type": "int", "default": 4},
    "spool_dir": {"type": "path", "default": "/var/tmp"},
    "spool": {
        "type": "dict",
        "options": {
            "path": {"type": "path", "required": True},
            "chunk_size": {"type": "int", "required": True},
            "window": {"type": "int", "required": True},
        },
    },
}
PRODUCER_SPEC: dict[str, Any] = {"dest": {"type": "path"}, **_STREAM}
CONSUMER_SPEC: dict[str, Any] = {"src": {"type": "path"}, "manifest": {"type": "dict"}, **_STREAM}
CONSUMER_SPEC["backup_set"] = {
    "type": "dict",
    "options": {
        **BACKUP_SET["options"],
        "identity_file": {"type": "path"},
        "identity_command": {"type": "list", "elements": "str"},
    },
}

_MASK = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


class Context:
    """What a module's body works with.

    :ivar params: the module's options.
    :ivar check_mode: True when nothing may be changed.
    :ivar diff_mode: True when the task asked for a diff.
    """

    def __init__(self, module: AnsibleModule) -> None:
        self.params: dict[str, Any] = module.params
        self.check_mode: bool = module.check_mode
        self.diff_mode: bool = module._diff
        self.warn: Callable[[str], None] = module.warn
        self._instance: Instance | None = None

    @property
    def instance(self) -> Instance:
        """The instance, discovered on first use; what an operator should look at becomes a warning."""
        if self._instance is None:
            bin_dir = self.params["postgresql_bin_dir"]
            self._instance = _discover(self.params, lambda settings: read_history(settings, bin_dir))
            for warning in self._instance.warnings:
                self.warn(warning)
        return self._instance

    def look_without_database(self) -> Instance:
        """Return the instance as files and systemd describe it, for when the database may be away."""
        instance = _discover(self.params)
        for warning in instance.warnings:
            self.warn(warning)
        return instance

    def sink(self) -> _files.DirectorySink | _spool_sink.SpoolSink:
        """Return where a producer's artifacts go: the spool of its action plugin, or the folder ``dest``.

        :raises InputError: unless exactly one is given.
        """
        spool, dest = self.params["spool"], self.params["dest"]
        if bool(spool) == bool(dest):
            raise InputError("Exactly one of dest and backup_set has to be given")
        if spool:
            from ansible_collections.authentik_ops.recovery.plugins.module_utils import _spool_sink

            return _spool_sink.SpoolSink(spool["path"], spool["chunk_size"], spool["window"])
        return _files.DirectorySink(dest)

    def source(self) -> _files.DirectorySource | _spool_source.SpoolSource:
        """Return where a consumer's artifacts come from: the spool of its action plugin, or the folder ``src``.

        :raises InputError: unless exactly one is given.
        """
        artifacts = self.manifest()["artifacts"]
        if self.params["spool"]:
            from ansible_collections.authentik_ops.recovery.plugins.module_utils import _spool_source

            return _spool_source.SpoolSource(self.params["spool"]["path"], artifacts)
        return _files.DirectorySource(self.params["src"], artifacts)

    def manifest(self) -> dict[str, Any]:
        """Return the backup set's manifest, from the action plugin or from ``src``.

        :raises InputError: unless exactly one of both is given.
        :raises IntegrityError: when it is missing, broken or of a newer format.
        """
        given, src = self.params["manifest"], self.params["src"]
        if (given is not None) == bool(src):
            raise InputError("Exactly one of src and backup_set has to be given")
        if given is not None:
            return _manifest.validate(given)
        text = read_of(src, _manifest.MANIFEST_NAME)
        manifest = _manifest.load(text)
        if os.path.lexists(os.path.join(src, _manifest.SUMS_NAME)):
            seal = read_of(src, _manifest.SEAL_NAME) if _manifest.recipients_of(manifest) else b""
            _manifest.check_sums(src, text, manifest, read_of(src, _manifest.SUMS_NAME), seal)
        if _manifest.recipients_of(manifest):
            raise InputError(
                "The backup set in %s is encrypted, and no identity reaches the host" % src,
                "Leave it on the controller and give backup_set instead of src, so that it is decrypted there",
            )
        return manifest


def _discover(options: dict[str, Any], read_history: Callable[[PostgresSettings], list[str]] | None = None) -> Instance:
    # Python compiles a module's files anew in each task, and these are half of them: not where nobody asks.
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._discover import discover

    return discover(options, read_history)


def read_history(settings: PostgresSettings, bin_dir: str | None = None) -> list[str]:
    """Return the versions that authentik noted in its database, the latest first; none where it keeps no history.

    :param bin_dir: folder to look for ``psql`` in first.
    :raises RecoveryError: when the database cannot be asked.
    """
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._client import connect
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import (
        quote_ident,
        quote_literal,
    )

    table = "%s.authentik_version_history" % quote_ident(settings.default_schema)
    with connect(settings, bin_dir=bin_dir) as session:
        # The table exists since authentik 2024.10.
        if not session.rows("SELECT 1 AS found WHERE to_regclass(%s) IS NOT NULL" % quote_literal(table)):
            return []
        rows = session.rows('SELECT version FROM %s ORDER BY "timestamp" DESC, id DESC' % table)
    return [str(row["version"]) for row in rows]


def run_module(
    argument_spec: dict[str, Any], body: Callable[[Context], dict[str, Any]], **ansible_module_kwargs: Any
) -> None:
    """Run a module: *body* gets a :class:`Context` and returns the result.

    A :class:`RecoveryError` becomes the module's failure. Any other exception is a defect and stays a traceback.

    :param ansible_module_kwargs: further arguments of ``AnsibleModule``; check mode is supported unless they say no.
    """
    ansible_module_kwargs.setdefault("supports_check_mode", True)
    module = AnsibleModule(argument_spec=argument_spec, **ansible_module_kwargs)
    try:
        _restore_lease.keep_alive(os.environ)
        result = body(Context(module))
    except RecoveryError as exc:
        module.fail_json(**exc.as_result())
    # Ansible would replace a secret option's value wherever it occurs in the result, be it within a table's name or
    # a digest: with the password "authentik" no result would be true any more. Results hold no secrets, so only the
    # echo of the options is masked, by name.
    result["invocation"] = {"module_args": _without_secrets(module.params, argument_spec)}
    module.no_log_values = set()
    module.exit_json(**result)


def _without_secrets(params: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _MASK if value is not None and spec.get(name, {}).get("no_log") else value
        for name, value in params.items()
    }


def read_of(src: str, name: str) -> bytes:
    """Return the content of a file of a set.

    :raises IntegrityError: it is not there, or cannot be read.
    """
    path = os.path.join(src, name)
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError as exc:
        raise IntegrityError(
            "%s holds no %s, so it is not a backup set" % (src, name), "Name the folder of one finished set with src"
        ) from exc
    except OSError as exc:
        raise IntegrityError("%s cannot be read: %s" % (path, exc)) from exc
