# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules as Ansible packs them, kept for as long as the tests run.

Each run of Ansible packs each module anew, and parses everything that it imports for that: a tenth of what a restore of
a small instance costs.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import shutil
import tempfile
from pathlib import Path


@functools.cache
def _folder() -> Path:
    folder, owner = Path(tempfile.mkdtemp(prefix="packed-")), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def folder_for(collections: str) -> Path:
    """Return where the packed modules of this state of the plugins are kept; another state has another folder.

    :param collections: a ``collections_path``.
    """
    digest = hashlib.sha256()
    for root in collections.split(os.pathsep):
        plugins = Path(root) / "ansible_collections/authentik_ops/recovery/plugins"
        for path in sorted(plugins.glob("**/*.py")):
            digest.update(b"%s\0%s\0" % (os.fsencode(path.relative_to(plugins)), path.read_bytes()))
    folder = _folder() / digest.hexdigest()[:32]
    folder.mkdir(exist_ok=True)
    return folder
