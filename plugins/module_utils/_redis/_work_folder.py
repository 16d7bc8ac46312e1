# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The folder in which a restore keeps what it needs to swap and to undo, and how far it has come.

``<work_dir>/<restore_id>/redis/`` holds ``new.rdb`` (the artifact), ``before.rdb`` (the content it replaces) and
``state.json``, replaced atomically. A restore that was killed is found in it by the next call.
"""

from __future__ import annotations

import json
import os
import shutil

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import (
    AtomicFile,
    as_error,
    fsync_directory,
    make_private_directories,
    write_private,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import check_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NEW = "new.rdb"
BEFORE = "before.rdb"
PREPARED, SWAPPING, SWAPPED = "prepared", "swapping", "swapped"


class WorkFolder:
    """The folder of one restore; made by :meth:`make`, absent before."""

    def __init__(self, work_dir: str, restore_id: str) -> None:
        self._parent = os.path.join(work_dir, check_id(restore_id))
        self.path = os.path.join(self._parent, "redis")
        self._state = os.path.join(self.path, "state.json")

    def file(self, name: str) -> str:
        """Return the path of NEW or BEFORE."""
        return os.path.join(self.path, name)

    def make(self) -> None:
        """Make the folder, readable by its owner only."""
        make_private_directories(self.path)

    def new_file(self, name: str) -> AtomicFile:
        """Return a context manager to write NEW or BEFORE, which replaces an earlier one only when complete."""
        return AtomicFile(self.file(name))

    def read(self) -> dict[str, Any] | None:
        """Return the state, None where nothing was prepared."""
        try:
            with open(self._state, encoding="utf-8") as stream:
                state = json.load(stream)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise as_error("read", self._state, error) from error
        except ValueError as error:
            raise IntegrityError(
                "%s is damaged: %s." % (self._state, error), "Look at the files beside it before removing the folder."
            ) from error
        if not isinstance(state, dict) or state.get("phase") not in (PREPARED, SWAPPING, SWAPPED):
            raise IntegrityError("%s does not tell how far the restore came." % self._state)
        return state

    def prepared(self) -> dict[str, Any]:
        """Return the state; StateError where nothing was prepared."""
        state = self.read()
        if state is None:
            raise StateError(
                "Nothing was prepared for this restore: %s does not exist." % self._state,
                "Run step prepare first, with the same restore_id and work_dir.",
            )
        return state

    def write(self, state: dict[str, Any]) -> None:
        """Replace the state, durably."""
        write_private(self._state, json.dumps(state, indent=2, sort_keys=True).encode("utf-8") + b"\n")

    def remove(self) -> bool:
        """Remove the folder and tell whether there was one."""
        if not os.path.isdir(self.path):
            return False
        try:
            # The state goes first: without it a folder that was half removed is nothing to go on from.
            if os.path.exists(self._state):
                os.unlink(self._state)
                fsync_directory(self.path)
            shutil.rmtree(self.path)
            if not os.listdir(self._parent):
                os.rmdir(self._parent)
        except OSError as error:
            raise as_error("remove", self.path, error) from error
        return True
