# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Docker Compose v2 plugin: taken from Debian's archive, kept in the cache folder, installed nowhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.announce import leave_out
from tests.support.hosts import apt_mirror

# The first suite with a package of version 2.
SUITE = "trixie"
PACKAGE = "docker-compose"
INSIDE = "usr/libexec/docker/cli-plugins/docker-compose"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def compose_plugin() -> Path:
    """The plugin's program, fetched if the cache has none."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cached = Path(base) / "authentik_ops.recovery" / "compose" / "docker-compose"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        _fetch(cached)
    return cached


def _fetch(target: Path) -> None:
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    mirror = apt_mirror([path.read_text() for path in sources if path.is_file()])
    if mirror is None:
        leave_out("Docker Compose comes from a Debian mirror, and this machine's apt sources name none")
    folder = Path(tempfile.mkdtemp(prefix="recovery-compose-"))
    partial = target.with_suffix(".partial")
    try:
        # apt drops root for downloads.
        folder.chmod(0o755)
        for name in ("lists/partial", "cache/archives/partial", "out"):
            (folder / name).mkdir(parents=True)
        (folder / "out").chmod(0o777)
        signed = "[signed-by=%s] " % KEYRING if KEYRING.exists() else ""
        (folder / "sources.list").write_text("deb %s%s %s main\n" % (signed, mirror, SUITE))
        # A configuration of its own: the machine's lists and packages stay as they are.
        options = {
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::Lists": folder / "lists",
            "Dir::Cache": folder / "cache",
        }
        apt = ["apt-get", "-qq"]
        for name, value in options.items():
            apt += ["-o", "%s=%s" % (name, value)]
        for argv in ([*apt, "update"], [*apt, "download", PACKAGE]):
            _call(argv, folder / "out")
        (package,) = (folder / "out").glob("*.deb")
        _call(["dpkg-deb", "-x", str(package), str(folder / "unpacked")], folder)
        shutil.copy2(folder / "unpacked" / INSIDE, partial)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _call(argv: list[str], folder: Path) -> None:
    done = subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError("%s: %s" % (argv[0], done.stderr.decode(errors="replace")[-2000:]))
