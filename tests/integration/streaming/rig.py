# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A controller with the test modules, a store and a folder for spools."""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.playbook import BIN, Controller, Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BACKUP_SET = "authentik_ops.recovery.authentik_backup_set"
INFO = "authentik_ops.recovery.authentik_backup_set_info"
DUMP = "postgresql/authentik.dump"

# Runs the program under a file size limit in KiB (0: none) and writes the peak memory of its processes in KiB.
WRAPPER = """\
#!{python}
import os, resource, subprocess, sys
limit = int(os.environ.get("TEST_FILE_LIMIT", "0")) * 1024
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
status = subprocess.call([{program!r}] + sys.argv[1:])
with open({report!r}, "w") as report:
    report.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""


def part(size: int, seed: int = 1, path: str = DUMP, component: str = "postgresql", **how: Any) -> dict[str, Any]:
    """An artifact for the test producer to make."""
    return {"path": path, "component": component, "size": size, "seed": seed, **how}


def content(size: int, seed: int = 1) -> bytes:
    """The bytes that the test producer makes of a part."""
    block = random.Random(seed).getrandbits(8 * 1048576).to_bytes(1048576, "big") if seed else bytes(1048576)
    return (block * (size // len(block) + 1))[:size]


class Rig:
    """Runs streaming tasks as a user does.

    :param work: an empty folder.
    :param hosts: as for Controller.
    """

    def __init__(self, work: Path, hosts: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.work = work
        self.report = work / "peak"
        program = work / "ansible-playbook"
        program.write_text(
            WRAPPER.format(python=sys.executable, program=str(BIN / "ansible-playbook"), report=str(self.report))
        )
        program.chmod(0o755)
        self.controller = Controller(work, hosts=hosts, program=str(program))
        shutil.copytree(Path(__file__).parent, work, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py[co]"))
        self.host = next(iter(self.controller.hosts))
        self.store = work / "store"
        self.spools = work / "spools"
        self.spools.mkdir()
        self.spool = {"chunk_size": "1M", "spool_dir": str(self.spools)}
        self.where = {"store": str(self.store), "instance": "sso"}

    def play(self, tasks: Sequence[Mapping[str, Any]], **how: Any) -> Run:
        """Run tasks on the host."""
        return self.controller.playbook([self.as_play(tasks)], **how)

    def as_play(self, tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The play of the tasks."""
        return {"hosts": self.host, "gather_facts": False, "tasks": list(tasks)}

    def backup_tasks(
        self, parts: Sequence[Mapping[str, Any]], task: Mapping[str, Any] | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        """Open a set, fill it and publish it."""
        produce = {**self.spool, "backup_set": {**self.where, "id": "{{ opened.id }}"}, "parts": list(parts), **options}
        return [
            {BACKUP_SET: {**self.where, "state": "open", "allow_ephemeral": True}, "register": "opened"},
            {"stream_out": produce, **(task or {})},
            {BACKUP_SET: {**self.where, "state": "published", "id": "{{ opened.id }}"}},
        ]

    def restore_task(
        self, reads: Sequence[Mapping[str, Any]], set_id: str = "latest", **options: Any
    ) -> dict[str, Any]:
        """Read artifacts of a set."""
        where = {**self.where, "id": set_id}
        return {"stream_in": {**self.spool, "backup_set": where, "reads": list(reads), **options}}

    def visible(self) -> list[str]:
        """Names in the instance's folder of the store."""
        folder = self.store / "sso"
        return sorted(os.listdir(folder)) if folder.is_dir() else []

    def stored(self, path: str = DUMP) -> bytes:
        """An artifact of the newest set, as it lies in the store."""
        newest = [name for name in self.visible() if "." not in name][-1]
        return (self.store / "sso" / newest / path).read_bytes()

    def leftovers(self) -> list[str]:
        """What a transfer must not leave on the host or the controller."""
        found = list(self.spools.iterdir())
        for folder in (self.work / "async", self.work / "home" / ".ansible_async"):
            found += list(folder.iterdir()) if folder.is_dir() else []
        found += list((self.work / "local_tmp").glob("authentik_recovery-*"))
        return sorted(str(path) for path in found)

    def close(self) -> None:
        """Give back what is outside the work folder."""
        self.controller.close()
