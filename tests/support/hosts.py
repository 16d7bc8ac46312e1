# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real hosts: Debian with systemd, sshd, PostgreSQL and Redis in a container, reached over ssh as an unprivileged user.

Images are made by debootstrap from the mirror that this machine's own apt uses, and kept as tar files in the cache
folder (``$XDG_CACHE_HOME/authentik_ops.recovery``); delete them to have them made anew.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.announce import leave_out
from tests.support.docker_engine import Engine, program

if TYPE_CHECKING:
    from collections.abc import Callable

# Suite -> packages besides PACKAGES. bullseye: Python 3.9, PostgreSQL 13, Redis 6.0, psql as the only client;
# bookworm: Python 3.11, PostgreSQL 15, Redis 7.0, psycopg2; trixie: PostgreSQL 17, Redis 8.0.
SUITES = {"bullseye": [], "bookworm": ["python3-psycopg2"], "trixie": []}
PACKAGES = [
    "dbus",
    "openssh-server",
    "postgresql",
    "python3",
    "redis-server",
    "sudo",
    "systemd",
    "systemd-sysv",
    "zstd",
]
USER = "ops"
DROPPED = (
    "./var/cache/apt/archives",
    "./var/lib/apt/lists",
    "./usr/share/doc",
    "./usr/share/man",
    "./usr/share/locale",
)


class Host:
    """One running host."""

    def __init__(self, engine: Engine, suite: str, key: Path) -> None:
        self.engine = engine
        self.suite = suite
        self.key = key
        self.port = free_port()
        self.container = engine.create(
            "--hostname=%s" % suite,
            "--security-opt=seccomp=unconfined",
            "--tmpfs=/run",
            "--tmpfs=/run/lock",
            "--tmpfs=/tmp",
            "--volume=/sys/fs/cgroup:/sys/fs/cgroup:ro",
            "--env=container=docker",
            "--publish=127.0.0.1:%d:22" % self.port,
            "recovery-%s" % suite,
            "/lib/systemd/systemd",
        )
        self._wait_for_systemd()
        self._make_cluster()
        self._make_user()
        self._wait_for_ssh()

    @property
    def variables(self) -> dict[str, Any]:
        """Inventory variables. ``ansible_ssh_args`` are left as a user finds them (with ``-C``)."""
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": USER,
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def sh(self, script: str, *, user: str = "root", stdin: bytes = b"", timeout: float = 300) -> str:
        """Run a shell script on the host, past Ansible and ssh; returns stdout, RuntimeError when it fails."""
        return self.engine.run(
            "exec",
            "--interactive",
            "--user=%s" % user,
            self.container,
            "/bin/bash",
            "-euo",
            "pipefail",
            "-c",
            script,
            stdin=stdin,
            timeout=timeout,
        )

    def write(self, path: str, content: str | bytes, mode: str = "0644", owner: str = "root:root") -> None:
        """Put a file on the host, with its folder."""
        data = content if isinstance(content, bytes) else content.encode()
        where = shlex.quote(path)
        self.sh(
            "mkdir -p $(dirname {0}) && cat > {0} && chmod {1} {0} && chown {2} {0}".format(where, mode, owner),
            stdin=data,
        )

    def psql(self, sql: str, database: str = "postgres", role: str | None = None) -> str:
        """Run SQL as the cluster's superuser (or after ``SET ROLE``), unaligned output without headers."""
        setting = "SET ROLE %s;\n" % role if role else ""
        return self.sh(
            "psql -XqAt -v ON_ERROR_STOP=1 -d %s -f -" % shlex.quote(database),
            user="postgres",
            stdin=(setting + sql).encode(),
        )

    def close(self) -> None:
        """End the host."""
        self.engine.remove(self.container)

    def _wait_for_systemd(self) -> None:
        end = time.monotonic() + 90
        state = ""
        while time.monotonic() < end:
            try:
                state = self.sh("systemctl is-system-running || true").strip()
            except RuntimeError as error:
                state = str(error)
            if state in ("running", "degraded"):
                break
            time.sleep(0.5)
        if state != "running":
            failed = self.sh("systemctl --failed --no-legend; journalctl -n 50 --no-pager || true") if state else ""
            raise RuntimeError("systemd of %s says %s\n%s" % (self.suite, state, failed))

    def _make_cluster(self) -> None:
        # debootstrap's environment has no UTF-8 locale, so the package makes no cluster, or an SQL_ASCII one.
        self.sh(
            "version=$(ls /usr/lib/postgresql)\n"
            "if pg_lsclusters -h | grep -q .; then pg_dropcluster --stop $version main; fi\n"
            "pg_createcluster --locale=C.UTF-8 --encoding=UTF8 $version main\n"
            "systemctl daemon-reload\n"
            "systemctl start postgresql@$version-main"
        )

    def _make_user(self) -> None:
        public = self.key.with_suffix(".pub").read_text()
        self.sh("useradd --create-home --shell /bin/bash %s" % USER)
        self.write("/etc/sudoers.d/%s" % USER, "%s ALL=(ALL) NOPASSWD: ALL\n" % USER, mode="0440")
        self.write("/home/%s/.ssh/authorized_keys" % USER, public, mode="0600", owner="%s:%s" % (USER, USER))
        self.sh("chown {0}:{0} /home/{0}/.ssh && chmod 700 /home/{0}/.ssh".format(USER))
        # A run of tests opens more connections at once than sshd lets in by default.
        self.write("/etc/ssh/sshd_config.d/tests.conf", "MaxStartups 100\n")
        self.sh("systemctl restart ssh")

    def _wait_for_ssh(self) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with socket.socket() as probe:
                probe.settimeout(2)
                try:
                    probe.connect(("127.0.0.1", self.port))
                    if probe.recv(4) == b"SSH-":
                        return
                except OSError:
                    pass
            time.sleep(0.2)
        raise RuntimeError("sshd of %s does not answer on port %d" % (self.suite, self.port))


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def image_tarball(suite: str) -> Path:
    """The suite's root file system as a tar file, made if the cache has none."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = Path(base) / "authentik_ops.recovery" / "images"
    cache.mkdir(parents=True, exist_ok=True)
    tarball = cache / ("%s-2.tar.zst" % suite)
    if not tarball.exists():
        _build(suite, tarball)
    return tarball


def apt_mirror(texts: list[str]) -> str | None:
    """The first Debian archive named in apt source files (one-line or deb822 format), past security and others."""
    for text in texts:
        for line in text.splitlines():
            entry = re.match(r"\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+\S", line) or re.match(r"\s*URIs:\s*(\S+)", line)
            if entry and re.search(r"/debian/?$", entry.group(1)):
                return entry.group(1)
    return None


def _build(suite: str, tarball: Path) -> None:
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    mirror = apt_mirror([path.read_text() for path in sources if path.is_file()])
    if mirror is None:
        leave_out("host images need a Debian mirror, and this machine's apt sources name none")
    folder = Path(tempfile.mkdtemp(prefix="recovery-image-"))
    partial = tarball.with_suffix(".partial")
    try:
        packages = ",".join(PACKAGES + SUITES[suite])
        argv = [program("debootstrap"), "--variant=minbase", "--include=%s" % packages, suite, str(folder), mirror]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError("debootstrap %s:\n%s" % (suite, done.stdout.decode(errors="replace")[-2000:]))
        excluded = ["--exclude=%s/*" % path for path in DROPPED]
        with open(partial, "wb") as out:
            tar = subprocess.Popen(["tar", "-C", str(folder), *excluded, "-c", "."], stdout=subprocess.PIPE)
            packed = subprocess.run([program("zstd"), "-1", "-q", "-c"], stdin=tar.stdout, stdout=out, check=False)
            if tar.wait() or packed.returncode:
                raise RuntimeError("the image of %s could not be packed into %s" % (suite, partial))
        partial.rename(tarball)
    finally:
        partial.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def ssh_key(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key pair for this run."""
    key = tmp_path_factory.mktemp("ssh") / "key"
    argv = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return key


@pytest.fixture(scope="session")
def start_host(engine: Engine, ssh_key: Path) -> Callable[[str], Host]:
    """A function that starts a host of a suite; hosts end with the run, unless closed before."""
    imported: set[str] = set()

    def start(suite: str) -> Host:
        if suite not in imported:
            engine.import_image(image_tarball(suite), "recovery-%s" % suite)
            imported.add(suite)
        return Host(engine, suite, ssh_key)

    return start
