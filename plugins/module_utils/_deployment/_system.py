# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The host that is looked at: its files, its users, its systemd.

All access of the discovery goes through here, so that it can be pointed at another root.
"""

from __future__ import annotations

import glob
import os
import pwd
import re

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _docker, _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import DiscoveryError, ToolError

ROOT = "/"
_SYSTEMCTL_SECONDS = 60


class System:
    """One host.

    :param root: the folder that stands for ``/``; ``ROOT`` when not given.
    :param euid: the effective user the tools would run as; the process's own when not given.
    """

    def __init__(self, root: str | None = None, euid: int | None = None) -> None:
        self.root = (ROOT if root is None else root).rstrip("/")
        self.is_root = (os.geteuid() if euid is None else euid) == 0

    def real(self, path: str) -> str:
        """Return where *path* lies below the root."""
        return self.root + path if self.root else path

    def exists(self, path: str) -> bool:
        """Tell whether there is anything at *path*; a dangling link is nothing."""
        return os.path.exists(self.real(path))

    def is_dir(self, path: str) -> bool:
        """Tell whether *path* is a directory."""
        return os.path.isdir(self.real(path))

    def is_masked(self, path: str) -> bool:
        """Tell whether a unit file is a link to ``/dev/null``."""
        real = self.real(path)
        return os.path.islink(real) and os.readlink(real) == "/dev/null"

    def read_link(self, path: str) -> str | None:
        """Return where a symbolic link leads, None for anything else."""
        try:
            return os.readlink(self.real(path))
        except OSError:
            return None

    def docker(self, host: str | None) -> _docker.Docker | None:
        """Return the client of this host's container engine, None where there is none."""
        if self.root or _process.find_program("docker") is None:
            return None
        return _docker.Docker(host)

    def list_dir(self, path: str) -> list[str]:
        """Return the sorted names in a directory; none where it does not exist or cannot be read."""
        try:
            return sorted(os.listdir(self.real(path)))
        except OSError:
            return []

    def matches(self, pattern: str) -> list[str]:
        """Return the sorted paths that a shell pattern matches."""
        return sorted(found[len(self.root) :] for found in glob.glob(glob.escape(self.root) + pattern))

    def files_below(self, path: str) -> list[str]:
        """Return the sorted paths of all files below a directory."""
        found = []
        for folder, _folders, names in os.walk(self.real(path)):
            found += [os.path.join(folder, name)[len(self.root) :] for name in names]
        return sorted(found)

    def read(self, path: str) -> str | None:
        """Return a file's text, None where there is no such file.

        :raises DiscoveryError: when it is there but cannot be read.
        """
        try:
            with open(self.real(path), "rb") as stream:
                data = stream.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            hint = "Run the task with become, or as a user that may read it" if isinstance(exc, PermissionError) else ""
            raise DiscoveryError("%s cannot be read: %s" % (path, exc.strerror), hint) from exc
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise DiscoveryError("%s is not UTF-8 text (byte %d)" % (path, exc.start)) from None

    def home_of(self, user: str) -> str | None:
        """Return a user's home folder, None where there is no such user."""
        if not self.root:
            try:
                return pwd.getpwnam(user).pw_dir
            except KeyError:
                return None
        found = re.search(
            r"^%s:[^:]*:[^:]*:[^:]*:[^:]*:([^:]*):" % re.escape(user), self.read("/etc/passwd") or "", re.MULTILINE
        )
        return found.group(1) if found else None

    @property
    def runs_systemd(self) -> bool:
        """True where systemd is the running service manager."""
        return self.is_dir("/run/systemd/system")

    def systemd_version(self) -> int | None:
        """Return systemd's major version, None where there is no systemd."""
        try:
            done = _process.run(["systemctl", "--version"], timeout=_SYSTEMCTL_SECONDS)
        except ToolError:
            return None
        found = re.match(r"systemd (\d+)", done.stdout.decode("utf-8", "replace"))
        return int(found.group(1)) if found else None

    def show_units(self, names: list[str]) -> dict[str, dict[str, str]]:
        """Return what systemd knows of the units, by name; empty where it does not run.

        :raises ToolError: when systemctl fails.
        """
        if not names or not self.runs_systemd:
            return {}
        properties = "Id,Names,LoadState,ActiveState,FragmentPath,DropInPaths"
        argv = ["systemctl", "show", "--no-pager", "--property=" + properties, "--"] + names
        done = _process.run(argv, timeout=_SYSTEMCTL_SECONDS)
        blocks = parse_show(done.stdout.decode("utf-8", "replace"))
        return {name: block for block in blocks for name in block.get("Names", "").split() + [block.get("Id", "")]}

    def list_units(self) -> list[str]:
        """Return the names of the services that systemd has loaded, instances of templates among them."""
        if not self.runs_systemd:
            return []
        argv = ["systemctl", "list-units", "--all", "--type=service", "--no-legend", "--no-pager", "--plain"]
        done = _process.run(argv, timeout=_SYSTEMCTL_SECONDS)
        return parse_list(done.stdout.decode("utf-8", "replace"))


def parse_list(text: str) -> list[str]:
    """Return the services that ``systemctl list-units`` printed; failed ones may have a dot before their name."""
    words = [next((word for word in line.split() if word.endswith(".service")), "") for line in text.splitlines()]
    return [word for word in words if word]


def parse_show(text: str) -> list[dict[str, str]]:
    """Return the properties that ``systemctl show`` printed, one mapping per unit."""
    blocks = []
    for block in text.split("\n\n"):
        properties = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        if properties:
            blocks.append(properties)
    return blocks
