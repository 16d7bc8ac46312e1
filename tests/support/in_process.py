# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules run in this process, by their own argument specs and bodies: for tests that run them very often."""

from __future__ import annotations

import datetime
import hashlib
import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

MODULES = "ansible_collections.authentik_ops.recovery.plugins.modules.authentik_%s"
SET_ID = "20261124T110000Z-00aa"
#: No instance of this machine.
NO_INSTANCE: dict[str, Any] = {
    "deployment": "host",
    "config_paths": [],
    "server_units": [],
    "worker_units": [],
    "outpost_units": [],
    "redis_enabled": False,
    "storage_backend": "file",
}


def front_of(name: str) -> tuple[dict[str, Any], Callable[[Any], dict[str, Any]]]:
    """Return a module's argument spec and its body, as it hands them over itself.

    :param name: without ``authentik_``.
    """
    from ansible_collections.authentik_ops.recovery.plugins.module_utils import _module

    module = importlib.import_module(MODULES % name)
    handed: list[Any] = []

    def take(spec: Any, body: Any, **_more: Any) -> None:
        handed.extend((spec, body))

    with mock.patch.object(module, "run_module", take, create=True), mock.patch.object(_module, "run_module", take):
        module.main()
    spec, body = handed
    return spec, body


def run(name: str, options: dict[str, Any], instance: Any = None) -> tuple[dict[str, Any], Any]:
    """Run a module and return its result and the instance that it worked on; what it refuses is raised.

    :param instance: what an earlier run found, to spare the time of looking again.
    """
    from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

    from ansible_collections.authentik_ops.recovery.plugins.module_utils import _module

    spec, body = front_of(name)
    checked = ArgumentSpecValidator(spec).validate(options)
    if checked.error_messages:
        raise AssertionError(checked.error_messages)
    module: Any = SimpleNamespace(
        params=checked.validated_parameters, check_mode=False, _diff=False, warn=lambda _text: None
    )
    context = _module.Context(module)
    context._instance = instance
    return body(context), context._instance


def write_manifest(folder: Path, records: Iterable[dict[str, Any]]) -> Path:
    """Make a folder of artifacts a set: write the manifest for the records of its components."""
    from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest

    now = datetime.datetime(2026, 11, 24, 11, 0, tzinfo=datetime.UTC)
    components = {record["component"]: record for record in records}
    entries = []
    for name, record in components.items():
        for artifact in record["artifacts"]:
            data = (folder / artifact["path"]).read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            fixed = {"component": name, "encryption": "none", "linked_from": None, "bytes_per_second": 0, "seconds": 0}
            sizes = {"sha256": digest, "plain_sha256": digest, "size": len(data), "plain_size": len(data)}
            entries.append({**artifact, **fixed, **sizes})
    made_by = {"collection": "1.0.0", "ansible_core": "2.19.0"}
    manifest = _manifest.build(SET_ID, {"name": "sso", "deployment": "host"}, now, now, made_by, entries, components)
    (folder / "manifest.json").write_bytes(_manifest.dump(manifest))
    return folder
