# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What is mounted where, as ``/proc/self/mountinfo`` and ``/etc/fstab`` say it."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import free_bytes
from ansible_collections.authentik_ops.recovery.plugins.module_utils._space import FileSystem

#: What tells the running kernel from every other one.
BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Mount(NamedTuple):
    """One mount: the part of the file system that is mounted, where, and the file system's type."""

    root: str
    point: str
    kind: str


def present() -> list[str]:
    """Every mount point there is now."""
    return [mount.point for mount in read()]


def read() -> list[Mount]:
    """Every mount there is now, in the order in which they were made."""
    return parse(_text("/proc/self/mountinfo"))


def is_mount_point(path: str) -> bool:
    """:param path: absolute, without symbolic links in it."""
    return path in present()


def below(path: str) -> list[str]:
    """The mount points below a path, sorted, the path itself not among them."""
    return sorted({point for point in present() if point.startswith(path.rstrip("/") + "/")})


def mount_of(path: str) -> str:
    """The mount point that a path without symbolic links lies in; rename does not lead out of it."""
    above = [point for point in present() if (path + "/").startswith(point.rstrip("/") + "/")]
    return max(above, key=len, default="/")


def file_system(path: str) -> FileSystem:
    """The file system that a path lies on, or will, with the last folder of the path that exists."""
    place = os.path.abspath(path)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    return FileSystem(place, device_name(_text(BOOT_ID), os.stat(place).st_dev), free_bytes(place))


def device_name(boot_id: str, device: int) -> str:
    """Tell a file system from all others: by the kernel, and by the number that this one gives it.

    :param boot_id: the content of :data:`BOOT_ID`. Where there is none, no file system can be told from another.
    """
    return "%s:%d" % (boot_id.strip(), device) if boot_id.strip() else ""


def is_read_only(path: str) -> bool:
    """Whether nobody, root included, can write where the path is."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def missing_mount(path: str) -> str:
    """The mount point at or above a path that ``/etc/fstab`` has and that is not mounted; empty when there is none."""
    return unmounted(path, _text("/etc/fstab"), _text("/proc/self/mountinfo"))


def unmounted(path: str, fstab: str, mountinfo: str) -> str:
    """The mount point of ``fstab`` at or above ``path`` that ``mountinfo`` does not have; empty when there is none."""
    rows = [line.split() for line in fstab.splitlines() if not line.lstrip().startswith("#")]
    wanted = {_unescape(row[1]).rstrip("/") for row in rows if len(row) > 2}
    missing = wanted - {mount.point for mount in parse(mountinfo)} - {"", "none", "swap"}
    above = [place for place in missing if (path + "/").startswith(place + "/")]
    return max(above, key=len, default="")


def parse(mountinfo: str) -> list[Mount]:
    """Every mount in the text of ``/proc/self/mountinfo``."""
    found = []
    for line in mountinfo.splitlines():
        own, separator, file_system = line.partition(" - ")
        fields = own.split(" ")
        if separator and len(fields) > 4:
            found.append(Mount(_unescape(fields[3]), _unescape(fields[4]), file_system.split(" ")[0]))
    return found


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), text)


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except OSError:
        return ""
