# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the playbooks as a user would, shows their screen, and takes the time of each task."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(.*?)\]|^PLAY RECAP")


@dataclass
class Part:
    """A task and how long it took."""

    name: str
    seconds: float


class Ansible:
    """A controller whose home, temporary files and inventory lie in ``work``."""

    def __init__(self, work: Path) -> None:
        work.mkdir()
        self.inventory = work / "inventory.json"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PG"))}
        self._environment = dict(
            kept,
            HOME=str(work),
            PATH="%s:%s" % (Path(sys.executable).parent, os.environ.get("PATH", os.defpath)),
            LC_ALL="C.UTF-8",
            ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"),
            ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".collections"),
            ANSIBLE_HOME=str(work / ".ansible"),
            ANSIBLE_REMOTE_TMP=str(work / "remote_tmp"),
            ANSIBLE_INVENTORY=str(self.inventory),
            ANSIBLE_LOCALHOST_WARNING="false",
            ANSIBLE_PIPELINING="true",
            PYTHONUNBUFFERED="1",
        )

    def playbook(self, name: str, variables: dict[str, Any]) -> list[Part]:
        """Run a playbook of the checkout and return its parts in order; end the demo when it fails."""
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), name, "-e", json.dumps(variables)]
        parts: list[Part] = []
        begin = time.monotonic()
        with subprocess.Popen(
            argv, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ) as process:
            for line in process.stdout or ():
                print("   | %s" % line.rstrip("\n"), flush=True)
                found = TASK.match(line)
                if found:
                    now = time.monotonic()
                    if parts:
                        parts[-1].seconds = now - begin
                    parts.append(Part(found.group(1) or "", 0.0))
                    begin = now
        if process.returncode:
            raise SystemExit("%s failed: see above" % name)
        return [part for part in parts if part.name]
