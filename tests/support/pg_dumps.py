# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module authentik_pg_dump run as a program, and stand-ins for the programs that it runs."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.postgres_server import Database, Server

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "ansible_collections.authentik_ops.recovery.plugins.modules.authentik_pg_dump"]
CWD = ROOT / ".collections"


def arguments(database: Database, dest: Path | None, **options: Any) -> dict[str, Any]:
    """Return the module's options for a dump of ``database``, without any configuration of authentik."""
    return {
        "config_paths": [],
        "server_units": [],
        "worker_units": [],
        "outpost_units": [],
        "redis_enabled": False,
        "storage_backend": "file",
        "dest": str(dest) if dest else None,
        **database.options(),
        **options,
    }


def start(given: dict[str, Any], check: bool = False, file_size: int | None = None) -> subprocess.Popen[bytes]:
    """Start the module with its options on standard input.

    :param file_size: no file may grow beyond this many bytes: what a full disk looks like to a writer.
    """

    def limit() -> None:
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    process = subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=CWD, preexec_fn=limit
    )
    text = json.dumps({"ANSIBLE_MODULE_ARGS": {**given, "_ansible_check_mode": check}})
    assert process.stdin is not None
    process.stdin.write(text.encode())
    process.stdin.close()
    process.stdin = None
    return process


def run_dump(
    database: Database, dest: Path | None, check: bool = False, file_size: int | None = None, **options: Any
) -> dict[str, Any]:
    """Run the module and return its result; ``failed`` tells how it went."""
    stdout, stderr = start(arguments(database, dest, **options), check, file_size).communicate(timeout=120)
    lines = [line for line in stdout.decode().splitlines() if line.startswith("{")]
    if not lines:
        raise AssertionError("authentik_pg_dump crashed: %s" % stderr.decode()[-3000:])
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def record_of(result: dict[str, Any]) -> dict[str, Any]:
    """Return the component record of a run that succeeded."""
    assert not result.get("failed"), result.get("msg")
    record: dict[str, Any] = result["components"][0]
    return record


def fake_programs(folder: Path, server: Server, pg_dump: str) -> Path:
    """Make a folder of the server's own programs but for ``pg_dump``, which is a script.

    :param pg_dump: its lines; ``$REAL`` is the real program, and ``--version`` is passed on to it.
    """
    folder.mkdir()
    for name in ("pg_dumpall", "pg_restore", "psql"):
        (folder / name).symlink_to(server.bin / name)
    script = folder / "pg_dump"
    real = server.bin / "pg_dump"
    script.write_text('#!/bin/sh\nREAL=%s\n[ "$1" = --version ] && exec $REAL --version\n%s\n' % (real, pg_dump))
    script.chmod(0o755)
    return folder


def load_dump(server: Server, dest: Path, artifact: str, name: str, owner: str) -> None:
    """Load an artifact into a new database by hand: zstd and pg_restore as the superuser, nothing of ours."""
    server.psql('CREATE DATABASE "%s" OWNER "%s" TEMPLATE template0 ENCODING \'UTF8\'' % (name, owner))
    data = (dest / artifact).read_bytes()
    if artifact.endswith(".zst"):
        data = subprocess.run(["zstd", "-d", "-q", "-c"], input=data, capture_output=True, check=True).stdout
    server.run("pg_restore", "--exit-on-error", "-d", name, stdin=data)


def plain_text(server: Server, dest: Path, artifact: str) -> str:
    """Return an artifact as SQL text, by pg_restore."""
    data = (dest / artifact).read_bytes()
    if artifact.endswith(".zst"):
        data = subprocess.run(["zstd", "-d", "-q", "-c"], input=data, capture_output=True, check=True).stdout
    return server.run("pg_restore", "-f", "-", stdin=data)
