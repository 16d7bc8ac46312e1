# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection as it would be committed now, copied to where Ansible's tools insist on finding it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def files() -> list[str]:
    """Tracked files and new ones that git does not ignore, without the link that stands for the checkout itself."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.decode().split("\0")
    return [name for name in listed if name and not name.startswith(".collections/") and (ROOT / name).is_file()]


def copy_collection(into: Path) -> Path:
    """Copy :func:`files` to ``into/ansible_collections/authentik_ops/recovery`` and return that folder."""
    target = into / "ansible_collections" / "authentik_ops" / "recovery"
    for name in files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    return target
