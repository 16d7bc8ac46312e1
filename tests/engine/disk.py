# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies in a store on disk, read and damaged without the collection. Another kind of store needs its own."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import shutil
import time
from pathlib import Path
from typing import Any

ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
OWNER = ".owner.json"
LOCK = ".prune.lock"


class Disk:
    """The folder of one instance.

    :param store: the store's folder.
    :param instance: name of the instance.
    """

    def __init__(self, store: str, instance: str) -> None:
        self.folder = Path(store, instance)

    def names(self) -> set[str]:
        """Return the names of all that lies there, hidden ones too."""
        return set(os.listdir(self.folder)) if self.folder.is_dir() else set()

    def sets(self) -> set[str]:
        """Return the names of all folders that have the name of a set."""
        return {name for name in self.names() if ID.fullmatch(name)}

    def files(self, name: str) -> dict[str, bytes]:
        """Return all files below a folder."""
        found = {}
        root = os.path.join(self.folder, name)
        pending = [root]
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        with open(entry.path, "rb") as stream:
                            found[entry.path[len(root) + 1 :]] = stream.read()
        return found

    def note(self, name: str) -> Any:
        """Return what a note says; None when there is none or it cannot be read."""
        try:
            return json.loads((self.folder / name).read_bytes())
        except (OSError, ValueError):
            return None

    def write(self, path: str, data: bytes, in_place: bool = False) -> list[str]:
        """Replace a file, or write into it; return the paths of all names that it has by hard links."""
        file = self.folder / path
        file.parent.mkdir(exist_ok=True, parents=True)
        if not in_place or not file.exists():
            file.unlink(missing_ok=True)
            file.write_bytes(data)
            return [path]
        status = file.stat()
        file.chmod(0o600)
        file.write_bytes(data)
        file.chmod(status.st_mode)
        same = [path]
        if status.st_nlink > 1:
            below = path.partition("/")[2]
            for name in self.sets() - {path.partition("/")[0]}:
                other = self.folder / name / below
                if other.exists() and other.stat().st_ino == status.st_ino:
                    same.append("%s/%s" % (name, below))
        return same

    def remove(self, path: str) -> None:
        """Remove a file or folder that may not be there."""
        whole = self.folder / path
        if whole.is_dir():
            shutil.rmtree(whole)
        else:
            whole.unlink(missing_ok=True)

    def foreign_partial(self, set_id: str, age: float) -> str:
        """Leave an unfinished set of another machine, which was heard of so many seconds ago."""
        name = set_id + ".partial"
        (self.folder / name / "postgresql").mkdir(parents=True)
        (self.folder / name / "postgresql" / "authentik.dump").write_bytes(b"half")
        owner = {"host": "elsewhere", "pid": 1, "start": "1", "started": "2020-01-01T00:00:00Z", "recipients": []}
        self._age(name + "/" + OWNER, owner, age)
        return name

    def foreign_lock(self, age: float) -> None:
        """Leave the lock of another machine, which was heard of so many seconds ago."""
        owner = {"what": "a prune", "host": "elsewhere", "pid": 1, "start": "1", "started": "2020-01-01T00:00:00Z"}
        self._age(LOCK, owner, age)

    def forget_foreign(self, partials: set[str], gone: bool) -> None:
        """Let the other machine have been silent for long, or let it have cleared what it left."""
        for path in [*(name + "/" + OWNER for name in partials), LOCK]:
            if (self.folder / path).exists():
                os.utime(self.folder / path, (1, 1))
        for name in partials if gone else ():
            self.remove(name)

    def spoil_unfinished(self, name: str, rng: random.Random) -> bool:
        """Flip a byte of an artifact that is written already; False when there is none, or all was read back by now."""
        files = self.files(name)
        if any("/" not in file and file != OWNER for file in files):
            return False
        artifacts = sorted(file for file in files if "/" in file and not file.startswith(".") and "/." not in file)
        if not artifacts:
            return False
        chosen = rng.choice(artifacts)
        data = bytearray(files[chosen])
        data[rng.randrange(len(data))] ^= 1
        self.write("%s/%s" % (name, chosen), bytes(data))
        return True

    def held(self) -> bool:
        """Tell whether a process of this machine holds the lock now."""
        try:
            descriptor = os.open(self.folder / LOCK, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def grow_old(self) -> None:
        """Let a minute pass for what tells a writer that was killed from a slow one by its age alone."""
        for name in self.names():
            hidden = name.startswith(".") and name.endswith(".partial")
            if hidden or (name.endswith(".partial") and not (self.folder / name / OWNER).exists()):
                os.utime(self.folder / name, (1, 1))

    def _age(self, path: str, owner: dict[str, Any], age: float) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(json.dumps(owner))
        then = time.time() - age
        os.utime(self.folder / path, (then, then))
