# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small file systems that can be full: tmpfs, which takes root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

#: Of the host (instance, spool, work folder), the controller's store, and the database servers.
SIZES = {"host": 96, "store": 64, "database": 400}
_MEGABYTE = 1 << 20


class Disks:
    """The folders of a lab; each a file system of its own where that is wanted and possible (``real``).

    Whoever uses them is in a mount namespace of its own (see ``__main__``), so that nothing stays mounted.
    """

    def __init__(self, root: Path, real: bool) -> None:
        self.root = root
        self.real = real and os.geteuid() == 0
        for name in SIZES:
            (root / name).mkdir(mode=0o755)
            if self.real:
                self.real = self._mount("size=%dm,mode=755" % SIZES[name], name)

    def fill(self, name: str) -> None:
        """Leave no room."""
        # What is in use may grow while this is worked out.
        for _attempt in range(20):
            state = os.statvfs(self.root / name)
            # At least a page: a size of 0 means that there is no limit.
            used = max(state.f_blocks - state.f_bfree, 1) * state.f_frsize
            if self._mount("remount,size=%d" % used, name):
                return
        raise OSError("%s cannot be filled" % (self.root / name))

    def free(self) -> None:
        """Give all of them their size again."""
        for name, size in SIZES.items():
            if self.real:
                self._mount("remount,size=%dm" % size, name)

    def close(self) -> None:
        """Take the file systems away again, with all that is in them; the folders stay."""
        for name in SIZES:
            # Lazily: what a run left running may still have its folder in one.
            subprocess.run(["umount", "--lazy", str(self.root / name)], capture_output=True, check=False)

    def _mount(self, options: str, name: str) -> bool:
        argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.root / name)]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0
