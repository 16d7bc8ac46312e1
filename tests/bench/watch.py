# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watches a run of Ansible from outside: the controller's memory and what lies in the spool."""

from __future__ import annotations

import os
import threading
from pathlib import Path


class Watch:
    """While the context lasts, samples the descendants of this process that are ``ansible-playbook``.

    :ivar memory: largest resident size of one controller process, in bytes.
    :ivar spool: largest number of bytes seen in files below ``spool_dir``.
    """

    def __init__(self, spool_dir: Path | None = None, interval: float = 0.05) -> None:
        self.memory = 0
        self.spool = 0
        self._spool_dir = spool_dir
        self._interval = interval
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._end.wait(self._interval):
            self.memory = max([self.memory, *controller_sizes()])
            if self._spool_dir is not None:
                self.spool = max(self.spool, folder_size(self._spool_dir))


def controller_sizes() -> list[int]:
    """Peak resident sizes of the running ``ansible-playbook`` processes, forks included, in bytes."""
    sizes = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
            # A fork keeps the command line; modules and ssh have their own.
            if not any(os.path.basename(word) == b"ansible-playbook" for word in words[:2]):
                continue
            status = Path(entry.path, "status").read_text()
        except OSError:
            continue
        sizes += [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")]
    return sizes


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder that other processes fill and empty meanwhile."""
    total = 0
    for parent, _folders, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total
