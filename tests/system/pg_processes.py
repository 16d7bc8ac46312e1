# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts the program of ``pg_job.py``, waits for it, and finds the Docker clients that it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.pg_container import PgContainer

ROOT = Path(__file__).resolve().parents[2]


def job(server: PgContainer, what: str, **more: Any) -> subprocess.Popen[str]:
    """Start the program of ``pg_job.py``."""
    given = {"what": what, "docker": server.docker, "id": server.id, "name": server.name, "gate": "", **more}
    argv = [sys.executable, str(Path(__file__).with_name("pg_job.py")), json.dumps(given)]
    env = dict(os.environ, PYTHONPATH=str(ROOT / ".collections"))
    return subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(true: Callable[[], object], process: subprocess.Popen[str], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        if process.poll() is not None:
            raise AssertionError("it ended early: %s" % (process.stderr.read() if process.stderr else ""))
        assert time.monotonic() < end
        time.sleep(0.1)


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for the program's end and return what it said."""
    return process.communicate(timeout=90)[1]


def client_of(process: subprocess.Popen[str], word: str) -> int:
    """Return the process id of the Docker client that runs a program with this argument."""
    children = Path("/proc/%d/task/%d/children" % (process.pid, process.pid)).read_text().split()
    found = [pid for pid in children if word.encode() in Path("/proc/%s/cmdline" % pid).read_bytes().split(b"\0")]
    assert len(found) == 1, children
    return int(found[0])
