# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a test as another user needs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_READ_AND_ENTER = 0o055


def let_others_in(folder: Path) -> None:
    """Let everybody read the folder and reach it.

    Only ever more is allowed than was before: above pytest's own folders is the one for everybody's temporary files.
    """
    for place in (folder, *folder.parents):
        status = os.stat(place)
        if status.st_uid == os.geteuid() and status.st_mode & _READ_AND_ENTER != _READ_AND_ENTER:
            os.chmod(place, stat.S_IMODE(status.st_mode) | _READ_AND_ENTER)
