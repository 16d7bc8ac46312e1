# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Ceph cluster of one node with its S3 gateway on 127.0.0.1: it keeps versions and enforces Object Lock.

Its programs come from the packages of this machine's Debian archive into the cache folder; nothing is installed, and
everything is in memory.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.announce import leave_out
from tests.support.postgres_install import free_port

PACKAGES = ["radosgw", "ceph-mon", "ceph-osd"]
ACCESS_KEY, SECRET_KEY, REGION = "ceph-tests", "ceph-SENTINEL-secret", "us-east-1"
_START_SECONDS = 60


class ServerError(Exception):
    """The cluster could not be had, or did not start."""


def programs() -> Path:
    """Return the folder that stands for the root of an installation, filled if the cache has none.

    :raises ServerError: when it cannot be had.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = Path(base) / "authentik_ops.recovery"
    cache.mkdir(parents=True, exist_ok=True)
    root, partial = cache / "ceph", cache / "ceph.partial"
    with open(cache / "ceph.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            shutil.rmtree(partial, ignore_errors=True)
            _fetch(partial)
            partial.rename(root)
    return root


def _fetch(root: Path) -> None:
    if shutil.which("apt-get") is None:
        raise ServerError("it comes from Debian's packages, and this machine has no apt-get")
    plan = _call(["apt-get", "install", "--simulate", "--no-install-recommends", *PACKAGES])
    wanted = re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
    folder = Path(tempfile.mkdtemp(prefix="recovery-ceph-"))
    try:
        # apt drops root for downloads.
        folder.chmod(0o777)
        _call(["apt-get", "-qq", "download", *wanted], folder)
        for package in sorted(folder.glob("*.deb")):
            _call(["dpkg-deb", "-x", str(package), str(root)])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _call(argv: list[str], folder: Path | None = None, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ServerError("%s: %s" % (" ".join(argv[:3]), (done.stderr + done.stdout)[-500:]))
    return done.stdout


class CephServer:
    """One cluster in a folder of its own. A context manager.

    :ivar url: of the gateway.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="recovery-ceph-"))
        self._root = programs()
        self._port, self._monitor_port = free_port(), free_port()
        self.url = "http://127.0.0.1:%d" % self._port
        self._running: list[subprocess.Popen[bytes]] = []
        # The folder is named after the machine's architecture.
        self._libraries = next(self._root.glob("usr/lib/*-linux-gnu"))
        more = [self._libraries / "ceph", self._root / "lib" / self._libraries.name]
        self._environment = {
            "PATH": "%s:/usr/sbin:/usr/bin:/sbin:/bin" % (self._root / "usr/bin"),
            "LD_LIBRARY_PATH": ":".join(map(str, [self._libraries, *more])),
            "PYTHONPATH": str(self._root / "usr/lib/python3/dist-packages"),
            "CEPH_CONF": str(self.folder / "ceph.conf"),
            "HOME": str(self.folder),
            "LC_ALL": "C",
        }

    def __enter__(self) -> CephServer:
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for process in reversed(self._running):
            process.send_signal(signal.SIGKILL)
            process.wait()
        self._running.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def options(self, **more: Any) -> dict[str, Any]:
        """Return the option ``s3`` by which the collection reaches the gateway."""
        keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "region": REGION}
        return {"endpoint_url": self.url, "retry_seconds": 20, **keys, **more}

    @functools.cached_property
    def judge(self) -> Any:
        """boto3's own client, with none of the collection's code."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )

    def bucket(self, locked: bool = False) -> str:
        """Make an empty bucket and return its name.

        :param locked: with Object Lock, and so with versions.
        """
        name = "recovery-%s" % os.urandom(6).hex()
        self.judge.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)
        return name

    def _make(self) -> None:
        for name in ("mon", "osd", "gateway"):
            (self.folder / name).mkdir()
        cluster, disk = str(uuid.uuid4()), str(uuid.uuid4())
        places = {"cluster": cluster, "folder": self.folder, "libraries": self._libraries}
        ports = {"monitor": self._monitor_port, "gateway": self._port}
        (self.folder / "ceph.conf").write_text(_CONFIGURATION % {**places, **ports})
        monitors = str(self.folder / "monmap")
        address = "[v2:127.0.0.1:%d/0]" % self._monitor_port
        self._run(
            "monmaptool", "--create", "--fsid", cluster, "--addv", "a", address, "--enable-all-features", monitors
        )
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monitors)
        self._start("ceph-mon", "-f", "-i", "a")
        self._run("ceph", "osd", "new", disk)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._run("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=here")
        self._start("ceph-osd", "-f", "-i", "0")
        keys = ["--access-key=%s" % ACCESS_KEY, "--secret-key=%s" % SECRET_KEY]
        self._run("radosgw-admin", "user", "create", "--uid=tests", "--display-name=tests", *keys)
        self._start("radosgw", "-f", "-n", "client.rgw")
        limit = time.monotonic() + _START_SECONDS
        while not self._answers():
            if time.monotonic() > limit or self._running[-1].poll() is not None:
                raise ServerError("the gateway did not start: %s" % self._log())
            time.sleep(0.05)

    def _run(self, program: str, *arguments: str) -> None:
        # Its interpreter is named for where it would be installed.
        argv = ["/usr/bin/python3", str(self._root / "usr/bin/ceph")] if program == "ceph" else [program]
        argv = [shutil.which(argv[0], path=self._environment["PATH"]) or argv[0], *argv[1:], *arguments]
        try:
            _call(["timeout", str(_START_SECONDS), *argv], self.folder, self._environment)
        except ServerError as exc:
            raise ServerError("%s %s" % (exc, self._log())) from exc

    def _start(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=self._environment["PATH"])
        if path is None:
            raise ServerError("%s is not among the packages" % program)
        with open(self.folder / ("%s.out" % program), "ab") as out:
            self._running.append(
                subprocess.Popen(
                    [path, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=self._environment,
                    cwd=self.folder,
                    start_new_session=True,
                )
            )

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _log(self) -> str:
        return " ".join(path.read_text(errors="replace")[-500:] for path in sorted(self.folder.glob("*.out")))


_CONFIGURATION = """\
[global]
fsid = %(cluster)s
mon initial members = a
mon host = [v2:127.0.0.1:%(monitor)d/0]
auth cluster required = none
auth service required = none
auth client required = none
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms mon client mode = crc
paxos propose interval = 0.05
paxos min wait = 0.01
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 1000
osd crush chooseleaf type = 0
run dir = %(folder)s
admin socket = %(folder)s/$name.asok
log file = %(folder)s/$name.out
log to stderr = false
crash dir = %(folder)s
heartbeat file = /dev/null
plugin dir = %(libraries)s/ceph
erasure code dir = %(libraries)s/ceph/erasure-code
osd erasure code plugins =
osd class dir = %(libraries)s/rados-classes
[mon]
mon data = %(folder)s/mon
mon cluster log to file = false
mon data avail crit = 1
mon data avail warn = 2
[osd]
osd data = %(folder)s/osd
osd objectstore = memstore
memstore device bytes = 1073741824
osd class load list = *
[client.rgw]
rgw data = %(folder)s/gateway
rgw frontends = beast endpoint=127.0.0.1:%(gateway)d
rgw thread pool size = 16
rgw enable usage log = false
rgw enable ops log = false
rgw override bucket index max shards = 1
rgw dynamic resharding = false
"""


@pytest.fixture(scope="session")
def ceph_server() -> Iterator[CephServer]:
    """One running cluster for all tests."""
    try:
        server = CephServer().__enter__()
    except ServerError as exc:
        leave_out("a Ceph gateway cannot be had: %s" % exc)
    try:
        yield server
    finally:
        server.__exit__()
