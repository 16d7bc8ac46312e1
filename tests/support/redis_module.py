# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backup sets of Redis alone, and the modules of Redis run as programs, as Ansible runs them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.redis import RedisServer

ROOT = Path(__file__).resolve().parents[2]
RESTORE_ID = "20261124T120000Z-0a1b"


def run_module(name: str, options: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """Run a module of the collection with *options* and return its result; ``failed`` tells how it went."""
    arguments = {"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check}}
    done = subprocess.run(
        [sys.executable, "-m", "ansible_collections.authentik_ops.recovery.plugins.modules.%s" % name],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT / ".collections",
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise AssertionError("%s crashed: %s" % (name, done.stderr[-3000:]))
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def options_for(server: RedisServer, **more: Any) -> dict[str, Any]:
    """Return the options by which a module reaches the server, without any configuration of authentik."""
    return {
        "config_paths": [],
        "server_units": [],
        "worker_units": [],
        "outpost_units": [],
        "redis_enabled": True,
        "redis_host": "127.0.0.1",
        "redis_port": server.port,
        "redis_password": server.password or None,
        **more,
    }


def write_set(folder: Path, data: bytes, fingerprint: dict[str, Any]) -> Path:
    """Make a backup set that holds *data* as its dump."""
    (folder / "redis").mkdir(parents=True)
    (folder / "redis" / "dump.rdb").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    entry = {
        "path": "redis/dump.rdb",
        "component": "redis",
        "size": len(data),
        "sha256": sha256,
        "plain_size": len(data),
        "plain_sha256": sha256,
        "compression": "none",
        "encryption": "none",
        "linked_from": None,
        "tool": "redis-server",
        "seconds": 0.1,
        "bytes_per_second": 1000,
    }
    record = {"component": "redis", "artifacts": [entry], "fingerprint": fingerprint, "warnings": []}
    manifest = {
        "format": 1,
        "id": "20261124T110000Z-0a1b",
        "instance": {
            "name": "test",
            "deployment": "host",
            "authentik_version": None,
            "train": None,
            "install_id_sha256": None,
            "secret_key_fingerprint": None,
        },
        "started": "2026-11-24T11:00:00Z",
        "finished": "2026-11-24T11:00:01Z",
        "seconds": 1.0,
        "created_by": {"collection": "1.0.0", "ansible_core": "2.19.0"},
        "artifacts": [entry],
        "components": {"redis": record},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
