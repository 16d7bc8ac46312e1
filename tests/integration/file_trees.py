# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trees with everything odd in them, and an oracle that sees trees through ``os.walk`` alone."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.other_users import let_others_in

ODD_NAMES = [
    b"plain.txt",
    "größe ✓.svg".encode(),
    b"latin1-\xe9\xff.png",
    b"new\nline",
    b" lead and trail ",
    b"-rf",
    b"100%",
]


def acl(mode: int, reader: int) -> bytes:
    """A POSIX ACL in the kernel's form: the mode's three classes plus one more reading user."""
    user, group, other = mode >> 6 & 7, mode >> 3 & 7, mode & 7
    nobody = 0xFFFFFFFF
    rows = [(1, user, nobody), (2, 4, reader), (4, group, nobody), (0x10, group | 4, nobody), (0x20, other, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)


def keeps_attributes(folder: Path) -> bool:
    probe = folder / ".probe"
    probe.write_bytes(b"")
    try:
        os.setxattr(probe, b"user.probe", b"1")
    except OSError:
        return False
    finally:
        probe.unlink()
    return True


def make_odd_tree(root: Path, for_gnu_tar: bool = False) -> Path:
    """``for_gnu_tar``: without what GNU tar cannot extract itself. It gives the mode first, then the attributes."""
    root.mkdir()
    for number, name in enumerate(ODD_NAMES):
        path = root / os.fsdecode(name)
        path.write_bytes(os.urandom(number * 700))
        os.utime(path, ns=(1, 1_700_000_000_123_456_789 + number))
    deep = root / ("d" * 90) / ("e" * 90 + "/ä" * 20)
    deep.mkdir(parents=True)
    (deep / "leaf").write_bytes(b"leaf")
    (root / "empty").mkdir(mode=0o711)
    (root / "empty-file").write_bytes(b"")
    (root / "big").write_bytes(os.urandom(4096) * 2304 + b"odd")
    os.link(root / "big", root / "a-hard-link")
    os.link(root / "big", root / "empty" / "another")
    for link, target in {
        "inside": "empty/another",
        "outside": "/etc/passwd",
        "up": "../x",
        "dangling": "no/where",
    }.items():
        (root / link).symlink_to(target)
    (root / "to-bytes").symlink_to(os.fsdecode(b"t\xff"))
    (root / "setuid").write_bytes(b"s")
    os.chmod(root / "setuid", 0o4750)
    (root / "sticky").mkdir()
    os.chmod(root / "sticky", 0o3775)
    (root / "no-mode").write_bytes(b"n")
    if keeps_attributes(root) and not for_gnu_tar:
        os.setxattr(root / "no-mode", b"user.read-only", b"set while it could be written")
    os.chmod(root / "no-mode", 0o040 if os.geteuid() == 0 else 0o440)
    os.utime(root / "no-mode", ns=(-1_500_000_001, -1_500_000_001))
    os.utime(root / "inside", ns=(5, 1_600_000_000_000_000_001), follow_symlinks=False)
    if os.geteuid() == 0:
        os.chown(root / "setuid", 12345, 23456)
        os.chmod(root / "setuid", 0o6755)
        os.chown(root / "big", 3_000_000_000, 7)
        os.chown(root / "outside", 11, 12, follow_symlinks=False)
        os.chown(root / "empty", 33, 44)
    if keeps_attributes(root):
        _add_attributes(root)
    os.utime(root / "empty", ns=(0, 987_654_321_000_000_001))
    os.utime(root, ns=(0, 1_234_567_890_000_000_005))
    return root


def _add_attributes(root: Path) -> None:
    os.setxattr(root / "plain.txt", b"user.binary", bytes(range(256)))
    os.setxattr(root / "plain.txt", b"user.a=b%3D", b"equals\n12 path=/etc/passwd\n")
    os.setxattr(root / "sticky", b"user.dir", b"")
    os.setxattr(root / "big", b"user.shared", b"by three names")
    os.setxattr(root / "plain.txt", b"system.posix_acl_access", acl(0o640, 1234))
    os.setxattr(root / "empty", b"system.posix_acl_default", acl(0o750, 4321))
    if os.geteuid() == 0:
        os.setxattr(root, b"trusted.root", b"t")
        os.setxattr(root / "inside", b"trusted.on-a-link", b"l", follow_symlinks=False)
        capability = struct.pack("<IIIII", 0x02000001, 0x400, 0, 0, 0)
        os.setxattr(root / "empty-file", b"security.capability", capability)


def snapshot(root: Path) -> dict[bytes, dict[str, Any]]:
    """Everything that can be seen of a tree: metadata, content, link targets, attributes, which names are one file."""
    found: dict[bytes, dict[str, Any]] = {}
    inodes: dict[int, list[bytes]] = {}
    base = os.fsencode(root)
    for folder, folders, files in os.walk(base):
        names = ([b""] if folder == base else []) + folders + files
        for name in names:
            path = os.path.join(folder, name) if name else folder
            info = os.lstat(path)
            link = os.path.islink(path)
            regular = os.path.isfile(path) and not link
            key = os.path.relpath(path, base)
            inodes.setdefault(info.st_ino, []).append(key)
            found[key] = {
                "mode": oct(info.st_mode),
                "owner": (info.st_uid, info.st_gid),
                "mtime": info.st_mtime_ns,
                "content": Path(os.fsdecode(path)).read_bytes() if regular else None,
                "target": os.readlink(path) if link else None,
                "attributes": {
                    key: os.getxattr(path, key, follow_symlinks=False)
                    for key in os.listxattr(path, follow_symlinks=False)
                    if key != "security.selinux"
                },
                "inode": info.st_ino if not os.path.isdir(path) or link else None,
            }
    for facts in found.values():
        if facts["inode"] is not None:
            facts["names"] = sorted(inodes[facts["inode"]])
        del facts["inode"]
    return found


def as_nobody(work: Callable[[], object]) -> str:
    """Run without privileges, in a folder that belongs to nobody; what it returned or raised, as text."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            text = str(work())
        except BaseException as exc:  # noqa: BLE001
            text = "%s: %s" % (type(exc).__name__, exc)
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        text = stream.read().decode()
    os.waitpid(pid, 0)
    return text


_RUN_OF_TESTS = os.getpid()


def die() -> None:
    """Be killed like a child; the run of tests goes on, whatever its other threads or its collector of garbage do."""
    if os.getpid() != _RUN_OF_TESTS:
        os.kill(os.getpid(), signal.SIGKILL)


def in_child(work: Callable[[], object]) -> int:
    """Run in a child process; the number of the signal that ended it, else 0 or 1."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001
            os._exit(1)
        os._exit(0)
    return -os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def open_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that an unprivileged user can reach and write to."""
    folder = tmp_path_factory.mktemp("open")
    let_others_in(folder)
    os.chmod(folder, 0o777)
    return folder
