# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A note on the host of what was stopped and shall run again."""

from __future__ import annotations

import contextlib
import json
import os

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System


class StoppedNote:
    """The services that were stopped and shall run again, noted on the host: who stopped them may be killed.

    :param project: the compose project that they are of, so that the notes of two are not mixed up; empty for services
        of systemd.
    :param boot: the boot until whose end the note counts, for a service manager that starts at the next one what is
        meant to run. Empty where what was stopped stays so.
    """

    def __init__(self, system: System, project: str = "", boot: str = "") -> None:
        name = "stopped-services%s.json" % ("-" + project if project else "")
        self._path = system.real(os.path.join(_files.default_work_dir(), name))
        self._boot = boot

    def read(self) -> list[str]:
        """Return their names, none where there is no note that can be read."""
        try:
            with open(self._path, encoding="utf-8") as stream:
                note = json.load(stream)
            return [str(name) for name in note["units"]] if note["boot"] == self._boot else []
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def add(self, names: list[str]) -> None:
        """Note these services too."""
        self._write(sorted({*self.read(), *names}))

    def remove(self, names: list[str]) -> None:
        """Forget these services."""
        noted = self.read()
        left = [name for name in noted if name not in names]
        if left != noted:
            self._write(left)

    def _write(self, names: list[str]) -> None:
        if names:
            _files.make_private_directories(os.path.dirname(self._path))
            content = json.dumps({"boot": self._boot, "units": names}).encode("ascii") + b"\n"
            _files.write_private(self._path, content)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
