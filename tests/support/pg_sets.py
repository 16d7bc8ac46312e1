# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backup sets of PostgreSQL alone, made by the collection's own dump, and the restore module run as a program."""

from __future__ import annotations

import datetime
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.postgres_server import Database, Server

ROOT = Path(__file__).resolve().parents[2]
SET_ID = "20261124T110000Z-00aa"
RESTORE_ID = "20261124T120000Z-0a1b"
SUFFIX = "20261124t120000z_0a1b"


def make_set(folder: Path, database: Database, **options: Any) -> Path:
    """Dump a database (as its owner, unless ``user`` and ``password`` say otherwise) into a set of its own.

    :param options: of the dump: ``method``, ``compression``, ``exclude_data`` ...
    """
    from ansible_collections.authentik_ops.recovery.plugins.module_utils import _files
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _dump

    login = {name: options.pop(name) for name in ("user", "password") if name in options}
    settings = database.settings(**login)
    wanted = _dump.Options(bin_dir=str(database.server.bin), **options)
    sink = _files.DirectorySink(str(folder))
    record = _dump.dump(settings, _dump.make_plan(settings, wanted), wanted, sink)
    return write_manifest(folder, record)


def write_manifest(folder: Path, record: dict[str, Any]) -> Path:
    """Write the manifest for a component record, with the sizes and checksums of the files as they are now."""
    from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest

    now = datetime.datetime(2026, 11, 24, 11, 0, tzinfo=datetime.UTC)
    entries = []
    for artifact in record["artifacts"]:
        data = (folder / artifact["path"]).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        more = {"sha256": digest, "plain_sha256": digest, "size": len(data), "plain_size": len(data)}
        fixed = {"component": "postgresql", "encryption": "none", "linked_from": None, "bytes_per_second": 0}
        entries.append({**artifact, **more, **fixed})
    instance = {"name": "sso", "deployment": "host"}
    made_by = {"collection": "1.0.0", "ansible_core": "2.19.0"}
    manifest = _manifest.build(SET_ID, instance, now, now, made_by, entries, {"postgresql": record})
    (folder / "manifest.json").write_bytes(_manifest.dump(manifest))
    return folder


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a set."""
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def admin_options(server: Server) -> dict[str, Any]:
    """Return the options by which the module may create and rename databases of a plain owner."""
    return {"admin_user": "postgres", "admin_password": server.password}


def arguments(database: Database, step: str, folder: Path | None, **options: Any) -> dict[str, Any]:
    """Return the module's options for a step of the restore of ``database``, without any configuration of authentik."""
    values: dict[str, Any] = {
        "config_paths": [],
        "server_units": [],
        "worker_units": [],
        "outpost_units": [],
        "redis_enabled": False,
        "storage_backend": "file",
        "step": step,
        "restore_id": RESTORE_ID,
        "src": str(folder) if folder else None,
        **database.options(),
        **options,
    }
    return values


def restore(database: Database, step: str, folder: Path | None, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run a step of authentik_pg_restore as a program and return its result; ``failed`` tells how it went.

    The superuser's login is used for what a plain owner may not do, unless ``options`` hold another ``admin_user``.
    """
    given = {**admin_options(database.server), **options}
    given = {"ANSIBLE_MODULE_ARGS": {**arguments(database, step, folder, **given), "_ansible_check_mode": check}}
    done = subprocess.run(command(), input=json.dumps(given), capture_output=True, text=True, check=False, cwd=CWD)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise AssertionError("authentik_pg_restore crashed: %s" % done.stderr[-3000:])
    result: dict[str, Any] = json.loads(lines[-1])
    return result


CWD = ROOT / ".collections"


def command() -> list[str]:
    """Return how to start the module as a program."""
    return [sys.executable, "-m", "ansible_collections.authentik_ops.recovery.plugins.modules.authentik_pg_restore"]
