# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A directory that cannot be renamed, with a set of it, and an oracle that sees it through find, stat and sha256sum."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _static, _static_restore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink, DirectorySource
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Here
from tests.integration.file_trees import die, in_child, keeps_attributes
from tests.support.announce import leave_out

RESTORE_ID = "20261123T090000Z-11aa"
LATER_ID = "20261124T090000Z-22bb"
#: What a step does to names and folders; before any of them it may be killed.
CALLS = ("rename", "mkdir", "rmdir", "unlink", "fchown", "fchmod", "setxattr", "removexattr", "utime")

_ORACLE = r"""
cd -- "$1"
content() { find . -path './.authentik-*' -prune -o -path './lost+found' -prune -o "$@"; }
content -printf '%p|%y|%m|%U|%G|%T@|%l|%n|%s\n' |
    sed -E 's/^([^|]*\|d\|.*)\|[0-9]+\|[0-9]+$/\1/' | LC_ALL=C sort
content -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum
"""


def look(folder: Path) -> str:
    """All that can be seen of a directory, itself included, but for our folders and the file system's own."""
    command = ["/bin/bash", "-euo", "pipefail", "-c", _ORACLE, "oracle", str(folder)]
    seen = subprocess.run(command, check=True, capture_output=True).stdout
    return seen.decode("utf-8", "backslashreplace") + repr(
        {key: os.getxattr(folder, key) for key in os.listxattr(folder) if key != "security.selinux"}
    )


@contextmanager
def mounted(folder: Path, options: str = "size=64m") -> Iterator[Path]:
    if os.geteuid() != 0:
        leave_out("mounting a file system needs root")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def closed_above(folder: Path) -> Iterator[Path]:
    """A folder that only root can rename."""
    folder.mkdir(parents=True)
    os.chmod(folder.parent, 0o555)
    try:
        yield folder
    finally:
        os.chmod(folder.parent, 0o755)


class Fixed:
    """A live directory that stays where it is, its backup, and damage done since."""

    def __init__(self, live: Path, component: str = "media") -> None:
        self.live, self.component = live, component
        self.set = live.parent.parent / (live.name + ".set")
        self.here = Here({})
        self.manifest: dict[str, Any] = {}

    def fill(self) -> Fixed:
        live = self.live
        for name in ("both", "only-old", "dir/deep/leaf"):
            (live / name).parent.mkdir(parents=True, exist_ok=True)
            (live / name).write_text("saved " + name)
        os.link(live / "both", live / "dir" / "same file")
        (live / os.fsdecode(b"l\xe9")).write_bytes(b"name that is no UTF-8")
        (live / "link").symlink_to("dir/deep")
        (live / "empty").mkdir(mode=0o711)
        if keeps_attributes(live):
            os.setxattr(live, "user.of-the-set", b"1")
        os.chmod(live, 0o2750)
        if os.geteuid() == 0:
            os.chown(live, 1000, 1001)
        os.utime(live, ns=(5, 1_600_000_000_000_000_005))
        return self

    def save(self) -> Fixed:
        self.saved = look(self.live)
        record = self.backup(DirectorySink(str(self.set)))
        entries = [dict(artifact, component=self.component) for artifact in record["artifacts"]]
        self.manifest = {"components": {self.component: record}, "artifacts": entries}
        return self

    def backup(self, sink: DirectorySink | None = None, live: Path | None = None) -> dict[str, Any]:
        target = _static.Target(self.component, str(live or self.live), "test", True)
        return _static.save(target, sink, "gzip")

    def damage(self) -> Fixed:
        live = self.live
        (live / "only-old").unlink()
        (live / "both").write_text("damaged")
        (live / "added").mkdir()
        (live / "added" / "file").write_text("added")
        if "user.of-the-set" in os.listxattr(live):
            os.removexattr(live, "user.of-the-set")
            os.setxattr(live, "user.of-the-live-one", b"2")
        if os.geteuid() == 0:
            os.chown(live, 7, 8)
        os.chmod(live, 0o1775)
        os.utime(live, ns=(6, 1_700_000_000_000_000_006))
        self.damaged = look(live)
        return self

    def step(self, step: str, restore_id: str = RESTORE_ID, pretend: bool = False) -> dict[str, Any]:
        records, _said = _static_restore.choose(self.manifest, None)
        work = _static_restore.make_work(records, {}, self.here, restore_id)
        source = DirectorySource(str(self.set), self.manifest["artifacts"])
        return _static_restore.restore(step, work, lambda: source, pretend)

    def ours(self) -> list[str]:
        """What of ours is in it, by name."""
        return sorted(path.name for path in self.live.iterdir() if path.name.startswith(".authentik-"))


def folder_of(kind: str, restore_id: str = RESTORE_ID) -> str:
    return ".authentik-%s-%s" % (kind, restore_id)


def count_calls(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of ``CALLS`` some work makes."""
    made = [0]

    def counted(_number: int) -> None:
        made[0] += 1

    with monkeypatch.context() as patch:
        _watch(patch, counted, CALLS)
        work()
    return made[0]


def kill_at(
    number: int, work: Callable[[], object], monkeypatch: pytest.MonkeyPatch, calls: tuple[str, ...] = CALLS
) -> None:
    """Do the work in a process that is killed right before the given one of the calls, counted from 1."""

    def killing(found: int) -> None:
        if found == number:
            die()

    with monkeypatch.context() as patch:
        _watch(patch, killing, calls)
        ended = in_child(work)
    assert ended == signal.SIGKILL


def _watch(patch: pytest.MonkeyPatch, before: Callable[[int], None], calls: tuple[str, ...]) -> None:
    made = [0]

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            made[0] += 1
            before(made[0])
            return call(*arguments, **options)

        return run

    for name in calls:
        patch.setattr(os, name, watched(getattr(os, name)))


def fill_up(path: Path) -> None:
    """Write to a file until its file system is full."""
    with path.open("wb", buffering=0) as out, suppress(OSError):
        while out.write(bytes(1024 * 1024)):
            pass
    assert os.statvfs(path).f_bavail == 0


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
