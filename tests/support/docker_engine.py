# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Docker engine of the test run's own: installed if need be, started on a private socket, gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.announce import leave_out

if TYPE_CHECKING:
    from collections.abc import Iterator

# The distribution's own programs, whatever else of the same name is on PATH.
PROGRAMS = "/usr/bin:/usr/sbin:/bin:/sbin:/usr/local/bin:/usr/local/sbin"
PACKAGES = {"dockerd": "docker.io", "debootstrap": "debootstrap", "ssh": "openssh-client", "zstd": "zstd"}


class Engine:
    """A running ``dockerd``; its containers are those of this run."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="recovery-docker-"))
        self.socket = self.folder / "docker.sock"
        self.log = self.folder / "dockerd.log"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._containers: list[str] = []

    def start(self, timeout: float = 60) -> None:
        """Start the daemon and wait until it answers; RuntimeError with the end of its log when it does not."""
        argv = [
            program("dockerd"),
            "--host=unix://%s" % self.socket,
            "--data-root=%s" % (self.folder / "data"),
            "--exec-root=%s" % (self.folder / "exec"),
            "--pidfile=%s" % (self.folder / "pid"),
        ]
        with open(self.log, "ab") as log:
            self._daemon = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + timeout
        while self._call(["version"]).returncode != 0:
            if time.monotonic() > end or self._daemon.poll() is not None:
                raise RuntimeError("dockerd did not start:\n%s" % self.log.read_text()[-3000:])
            time.sleep(0.3)

    def stop(self) -> None:
        """Remove this run's containers, end the daemon, delete everything it stored."""
        for container in self._containers:
            self._call(["rm", "--force", "--volumes", container])
        self._end()
        self._unmount()
        shutil.rmtree(self.folder, ignore_errors=True)

    def restart(self) -> None:
        """End the daemon and its containers, and start it again: it starts those that are to be."""
        self._end()
        self.start()

    def _end(self) -> None:
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.send_signal(signal.SIGTERM)
            try:
                self._daemon.wait(30)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()

    def run(self, *arguments: str, stdin: bytes | None = None, timeout: float = 600) -> str:
        """Call the client and return its stdout; RuntimeError with its stderr when it fails."""
        done = self._call(list(arguments), stdin, timeout)
        if done.returncode:
            raise RuntimeError(
                "docker %s: exit %d\n%s%s"
                % (" ".join(arguments[:3]), done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode())
            )
        return done.stdout.decode("utf-8", "surrogateescape")

    def import_image(self, tarball: Path, name: str) -> None:
        """Make an image of a zstd-compressed tar file."""
        with subprocess.Popen([program("zstd"), "-dcq", str(tarball)], stdout=subprocess.PIPE) as unpack:
            subprocess.run(
                [program("docker"), "-H", "unix://%s" % self.socket, "import", "-", name],
                stdin=unpack.stdout,
                stdout=subprocess.DEVNULL,
                check=True,
            )
        if unpack.returncode:
            raise RuntimeError("%s cannot be unpacked; delete it and run again." % tarball)

    def create(self, *arguments: str) -> str:
        """``docker run --detach`` with these arguments; returns the container's id. It ends with the engine."""
        container = self.run("run", "--detach", *arguments).strip()
        self._containers.append(container)
        return container

    def remove(self, container: str) -> None:
        """End one container before the engine ends."""
        self.run("rm", "--force", "--volumes", container)
        self._containers.remove(container)

    def _unmount(self) -> None:
        # The daemon leaves the network of the machine mounted where containers used it; a killed one leaves everything.
        mounts = [line.split(" ")[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for path in reversed(mounts):
            if path.startswith("%s/" % self.folder):
                subprocess.run(["umount", path], stdin=subprocess.DEVNULL, capture_output=True, check=False)

    def _call(
        self, arguments: list[str], stdin: bytes | None = None, timeout: float = 600
    ) -> subprocess.CompletedProcess[bytes]:
        argv = [program("docker"), "-H", "unix://%s" % self.socket, *arguments]
        return subprocess.run(argv, input=stdin or b"", capture_output=True, timeout=timeout, check=False)


def program(name: str) -> str:
    """Path of an installed program of the distribution; RuntimeError when it is absent."""
    found = shutil.which(name, path=PROGRAMS)
    if found is None:
        raise RuntimeError("%s is not installed" % name)
    return found


def install_packages() -> None:
    """Install what is missing of :data:`PACKAGES` with apt."""
    missing = sorted({package for name, package in PACKAGES.items() if shutil.which(name, path=PROGRAMS) is None})
    if not missing:
        return
    # A package may start its services on installation: this run starts its own daemon, and no other.
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for argv in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
        done = subprocess.run(["apt-get", *argv], env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError("apt-get %s: %s" % (argv[0], done.stderr.decode(errors="replace")[-2000:]))


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine of this test run."""
    if os.geteuid() != 0:
        leave_out("containers need root: sudo make test-system")
    if shutil.which("apt-get") is None:
        leave_out("the host images are made by debootstrap, installed with apt: needs Debian or Ubuntu")
    install_packages()
    made = Engine()
    try:
        made.start()
        yield made
    finally:
        made.stop()
