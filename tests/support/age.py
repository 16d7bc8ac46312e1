# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys for tests, and the program age as the judge of what was encrypted."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pyrage

from tests.support.announce import leave_out


class Key(NamedTuple):
    """A pair of keys: the public one, and a file with the identity."""

    public: str
    file: Path

    @property
    def identity(self) -> str:
        """The content of the file."""
        return self.file.read_text()


def age_key(folder: Path, name: str) -> Key:
    """Make a pair as ``age-keygen`` does."""
    identity = pyrage.x25519.Identity.generate()
    file = folder / name
    file.write_text("# created: 2026-11-22\n# public key: %s\n%s\n" % (identity.to_public(), identity))
    file.chmod(0o600)
    return Key(str(identity.to_public()), file)


def ssh_key(folder: Path, name: str, kind: str, passphrase: str = "", bits: int = 2048) -> Key:
    """Make a pair with ``ssh-keygen``."""
    program("ssh-keygen")
    file = folder / name
    size = ["-b", str(bits)] if kind == "rsa" else []
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-C", "me@here", "-f", file], check=True)
    return Key(Path(str(file) + ".pub").read_text().strip(), file)


def decrypt(file: Path, identity: Path) -> bytes:
    """Return what the program age makes of a file.

    :raises subprocess.CalledProcessError: when it refuses the file or the identity.
    """
    argv = [program("age"), "--decrypt", "--identity", str(identity), str(file)]
    return subprocess.run(argv, capture_output=True, check=True).stdout


def program(name: str) -> str:
    """Return the path of a program; without it the test is left out."""
    found = shutil.which(name)
    if found is None:
        leave_out("%s is not installed (apt install %s)" % (name, {"ssh-keygen": "openssh-client"}.get(name, name)))
    return found
