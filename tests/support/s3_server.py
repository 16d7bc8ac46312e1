# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real S3 server on 127.0.0.1 for tests: OpenStack Swift with its S3 interface, over http and TLS, without root.

Swift comes from the package registry of Python into an environment of its own in the cache folder, where it stays.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.announce import leave_out
from tests.support.tls import make_certificates

SERVE = Path(__file__).parent / "swift" / "serve.py"
REQUIREMENT = "swift>=2.36,<3"
ACCESS_KEY, SECRET_KEY = "test:tester", "testing-SENTINEL-secret"
#: Knows the account, and may do nothing in buckets of others.
OTHER_ACCESS_KEY, OTHER_SECRET_KEY = "test:other", "other-SENTINEL-secret"
REGION = "us-east-1"
_START_SECONDS = 60


class ServerError(Exception):
    """The server could not be had, or did not start."""


def swift_python() -> Path:
    """Return the Python of Swift's environment, made if the cache has none.

    :raises ServerError: when it cannot be made.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = Path(base) / "authentik_ops.recovery"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / ("swift-%d.%d" % sys.version_info[:2])
    done = folder / ".done"
    with open(cache / "swift.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (done.exists() and done.read_text() == REQUIREMENT):
            shutil.rmtree(folder, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(folder)])
            pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
            _run([*pip, "install", REQUIREMENT])
            done.write_text(REQUIREMENT)
    return folder / "bin" / "python"


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServerError("%s: %s" % (" ".join(argv[-2:]), (done.stderr + done.stdout)[-500:]))


class S3Server:
    """One server in a folder of its own. A context manager; :meth:`start` and :meth:`stop` work too.

    :ivar url: over http.
    :ivar tls_url: over TLS, with a certificate of the CA in the file ``ca``.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="recovery-s3-"))
        self.process: subprocess.Popen[bytes] | None = None
        names = ("object", "container", "account", "http", "tls", "admin")
        self._ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self.url = "http://127.0.0.1:%d" % self._ports["http"]
        self.tls_url = "https://localhost:%d" % self._ports["tls"]
        self.ca = ""
        self._full = False

    def __enter__(self) -> S3Server:
        try:
            self._python = swift_python()
            self._check_attributes()
            certificates = make_certificates(self.folder)
            self.ca = certificates["ca"]
            self._configure(certificates)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop(hard=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def options(self, **more: Any) -> dict[str, Any]:
        """Return the option ``s3`` by which the collection reaches the server over http."""
        keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        return {"endpoint_url": self.url, "region": REGION, "retry_seconds": 20, **keys, **more}

    def tls_options(self, **more: Any) -> dict[str, Any]:
        """Return the same over TLS."""
        return self.options(**{"endpoint_url": self.tls_url, "ca_bundle": self.ca, **more})

    @functools.cached_property
    def judge(self) -> Any:
        """boto3's own client, with none of the collection's code, which tells what lies in a bucket."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )

    def start(self) -> S3Server:
        """Start on the same folder and ports, and wait until all parts answer."""
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder), "LC_ALL": "C", "TZ": "UTC"}
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [str(self._python), str(SERVE), str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        limit = time.monotonic() + _START_SECONDS
        while not all(self._answers(name) for name in self._ports):
            if self.process.poll() is not None or time.monotonic() > limit:
                text = (self.folder / "log").read_text(errors="replace")[-2000:]
                self.stop(hard=True)
                raise ServerError("Swift did not start: %s" % text)
            time.sleep(0.05)
        return self

    def stop(self, hard: bool = False) -> None:
        """End the server as SIGTERM does, or with ``hard`` as SIGKILL does."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def restart(self, hard: bool = False) -> None:
        """Stop and start on the same folder and ports."""
        self.stop(hard)
        self.start()

    def set_full(self, full: bool) -> None:
        """Have the disk be as good as full for new objects, or no more, and restart."""
        self._full = full
        self._write_object_conf()
        self.restart()

    def limit(self, bucket: str, size: int) -> None:
        """Give a bucket a quota in bytes; an object that would exceed it is refused."""
        place = "http://127.0.0.1:%d/v1/AUTH_%s/%s" % (self._ports["admin"], ACCESS_KEY.partition(":")[0], bucket)
        headers = {"X-Container-Meta-Quota-Bytes": str(size)}
        urllib.request.urlopen(urllib.request.Request(place, headers=headers, method="POST")).close()

    def _answers(self, name: str) -> bool:
        tls = name == "tls"
        url = "http%s://127.0.0.1:%d/healthcheck" % ("s" if tls else "", self._ports[name])
        context = ssl._create_unverified_context() if tls else None
        try:
            with urllib.request.urlopen(url, timeout=5, context=context) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _check_attributes(self) -> None:
        """Swift keeps what it knows of an object in extended attributes."""
        try:
            os.setxattr(self.folder, "user.recovery", b"1")
        except OSError as exc:
            raise ServerError("%s has no extended attributes (%s): set TMPDIR" % (self.folder, exc.strerror)) from exc

    def _configure(self, certificates: dict[str, str]) -> None:
        (self.folder / "srv" / "disk").mkdir(parents=True)
        (self.folder / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = tests\nswift_hash_path_prefix = tests\n"
            "[storage-policy:0]\nname = only\ndefault = yes\n"
        )
        self._write_object_conf()
        for name in ("container", "account"):
            self._write(name, name, "[app:%s-server]\nuse = egg:swift#%s\n" % (name, name))
        proxy = _PROXY % {"access": ACCESS_KEY.replace(":", "_"), "secret": SECRET_KEY, "region": REGION}
        proxy += "user_%s = %s\n" % (OTHER_ACCESS_KEY.replace(":", "_"), OTHER_SECRET_KEY)
        self._write("http", "proxy", proxy)
        self._write("tls", "proxy", proxy, "cert_file = %(cert)s\nkey_file = %(key)s\n" % certificates)
        # Swift's own interface without a login, for what S3 cannot say.
        self._write("admin", "admin", "[app:proxy-server]\nuse = egg:swift#proxy\n")
        servers = {
            name: {
                "conf": str(self.folder / ("%s.conf" % name)),
                "section": "proxy-server" if name in ("http", "tls", "admin") else "%s-server" % name,
                "port": port,
            }
            for name, port in self._ports.items()
        }
        (self.folder / "servers.json").write_text(json.dumps(servers))

    def _write_object_conf(self) -> None:
        reserve = "fallocate_reserve = %s\n" % ("100%" if self._full else "0")
        self._write("object", "object", "[app:object-server]\nuse = egg:swift#object\n", reserve)

    def _write(self, name: str, kind: str, app: str, more: str = "") -> None:
        pipeline = _PIPELINE if kind == "proxy" else "healthcheck %s-server" % kind.replace("admin", "proxy")
        (self.folder / ("%s.conf" % name)).write_text(
            "[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = %d\nswift_dir = %s\ndevices = %s\nmount_check = false\n"
            "workers = 0\nlog_address = %s\nlog_level = INFO\nrecon_cache_path = %s\n%s"
            "[pipeline:main]\npipeline = %s\n[filter:healthcheck]\nuse = egg:swift#healthcheck\n%s"
            % (
                self._ports[name],
                self.folder,
                self.folder / "srv",
                self.folder / "no-syslog",
                self.folder,
                more,
                pipeline,
                app,
            )
        )


_PIPELINE = (
    "catch_errors gatekeeper healthcheck listing_formats bulk s3api tempauth copy container_quotas slo dlo "
    "versioned_writes symlink proxy-server"
)
# The smallest part is a single byte here, so that tests of many parts are cheap.
_PROXY = """\
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
conn_timeout = 5
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = %(region)s
min_segment_size = 1
max_upload_part_num = 10000
[filter:copy]
use = egg:swift#copy
[filter:container_quotas]
use = egg:swift#container_quotas
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
# Else one second for each part.
rate_limit_after_segment = 10000
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
[filter:tempauth]
use = egg:swift#tempauth
user_%(access)s = %(secret)s .admin
"""


def _free_ports(number: int) -> list[int]:
    with_names = [socket.socket() for _one in range(number)]
    try:
        for one in with_names:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in with_names]
    finally:
        for one in with_names:
            one.close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One running server for all tests. Who stops it, or fills its disk, leaves it as it was."""
    server = S3Server()
    try:
        server.__enter__()
    except ServerError as exc:
        leave_out("a real S3 server cannot be had: %s" % exc)
    try:
        yield server
    finally:
        server.__exit__()


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> str:
    """An empty bucket of the server."""
    name = "recovery-%s" % os.urandom(6).hex()
    s3_server.judge.create_bucket(Bucket=name)
    return name
