# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What folders hold, read with nothing of the collection."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TypeVar

_Name = TypeVar("_Name")
_Content = TypeVar("_Content")


def read_files(folders: list[Path]) -> dict[str, str]:
    """Return path -> kind, mode, owner, modification time and content's digest of everything in the folders."""
    found = {}
    for folder in folders:
        for parent, directories, files in os.walk(folder):
            for name in [*directories, *files]:
                path = Path(parent, name)
                found[str(path)] = _describe(path)
    return found


def _describe(path: Path) -> str:
    status = path.lstat()
    if path.is_symlink():
        return "link to %s" % os.readlink(path)
    common = "%o %d:%d %d" % (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns // 1000)
    return common if path.is_dir() else "%s %s" % (common, hashlib.sha256(path.read_bytes()).hexdigest())


def different(before: dict[_Name, _Content], after: dict[_Name, _Content]) -> list[_Name]:
    """Return the names whose content is not the same in both."""
    return [name for name in before | after if before.get(name) != after.get(name)]
