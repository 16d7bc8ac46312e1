# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The folder of a restore on the host: what components keep there beside its record."""

from __future__ import annotations

import os
import shutil

#: Until the swap nothing of these is a way back.
_PREPARED = ("config", "redis")
#: What of a compose project was started or made.
_PROJECT = "compose"


def clear(folder: str) -> None:
    """Remove what components had prepared. What compose keeps there says what was started, and stays."""
    for name in _PREPARED:
        # What cannot be removed is in nobody's way: cleanup names it.
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def notes_project(folder: str) -> bool:
    """Whether it is noted there what of a compose project a rollback stops or takes away."""
    return os.path.lexists(os.path.join(folder, _PROJECT))


def remove(folder: str, last: str) -> None:
    """Remove the folder.

    :param last: the file in it that goes last.
    :raises OSError: something in it cannot be removed.
    """
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif name != last:
            os.unlink(path)
    os.unlink(os.path.join(folder, last))
    os.rmdir(folder)
