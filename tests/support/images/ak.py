# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-in for authentik's program ``ak`` inside its image: ``ak server|worker|healthcheck``. Python 3.9, only psql.

Like authentik it is told everything by ``AUTHENTIK_*`` variables, waits for its database and its Redis, fills an empty
database, refuses one of another release train, and keeps a connection open while it runs.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PSQL = "/opt/standin/psql"
FIRST_START = """
CREATE TABLE authentik_version_history
    (id bigserial PRIMARY KEY, "timestamp" timestamptz NOT NULL, version text NOT NULL, build text NOT NULL);
CREATE TABLE authentik_install_id (id text NOT NULL);
CREATE TABLE authentik_core_user (id serial PRIMARY KEY, username text NOT NULL);
INSERT INTO authentik_core_user (username) VALUES ('akadmin');
INSERT INTO authentik_install_id VALUES (md5(random()::text));
"""
NEWEST = 'SELECT version FROM authentik_version_history ORDER BY "timestamp" DESC, id DESC LIMIT 1'


def say(text: str) -> None:
    """Write a line to the container's log."""
    print(json.dumps({"event": text, "pid": os.getpid()}), file=sys.stderr, flush=True)


def version() -> tuple[int, int, int]:
    """The release that this image is."""
    text = Path("/authentik/__init__.py").read_text()
    found = re.search(r"ersion.*?\"(\d+)\.(\d+)\.(\d+)", text, re.IGNORECASE)
    if found is None:
        sys.exit("no version in /authentik/__init__.py")
    return int(found[1]), int(found[2]), int(found[3])


def setting(key: str, default: str = "") -> str:
    """The value of ``a.b`` in ``AUTHENTIK_A__B``, through ``file://`` and ``env://``."""
    value = os.environ.get("AUTHENTIK_" + key.upper().replace(".", "__"), default)
    if value.startswith("file://"):
        try:
            value = Path(value[len("file://") :]).read_text().strip()
        except OSError as error:
            say("Failed to read config value from file: %s" % error)
            value = ""
    elif value.startswith("env://"):
        value = os.environ.get(value[len("env://") :], "")
    return value


def psql(*arguments: str) -> list[str]:
    """Arguments that reach authentik's database."""
    return [PSQL, "-XqAtw", "-v", "ON_ERROR_STOP=1", "-d", setting("postgresql.name", "authentik"), *arguments]


def libpq() -> dict[str, str]:
    """Variables that reach authentik's database."""
    return {
        **os.environ,
        "PGHOST": setting("postgresql.host", "localhost"),
        "PGPORT": setting("postgresql.port", "5432"),
        "PGUSER": setting("postgresql.user", "authentik"),
        "PGPASSWORD": setting("postgresql.password"),
        "PGCONNECT_TIMEOUT": "5",
        "PGAPPNAME": "authentik",
    }


def ask(sql: str) -> str:
    """Run a query; CalledProcessError when the database does not answer it."""
    done = subprocess.run(psql("-c", sql), env=libpq(), capture_output=True, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, "psql", done.stdout, done.stderr)
    return done.stdout.decode().strip()


def redis_answers() -> bool:
    """Whether Redis answers a PING; always true for releases without it."""
    if version() >= (2025, 10, 0):
        return True
    try:
        with socket.create_connection((setting("redis.host", "localhost"), 6379), 5) as stream:
            if setting("redis.password"):
                secret = setting("redis.password").encode()
                stream.sendall(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n" % (len(secret), secret))
                stream.recv(100)
            stream.sendall(b"*1\r\n$4\r\nPING\r\n")
            return stream.recv(100).startswith(b"+PONG")
    except OSError:
        return False


def wait_for_servers() -> None:
    """Wait, without an end, until database and Redis answer."""
    while True:
        try:
            ask("SELECT 1")
            if redis_answers():
                return
            say("Redis Connection failed, retrying...")
        except subprocess.CalledProcessError as error:
            say("PostgreSQL connection failed, retrying... (%s)" % error.stderr.decode(errors="replace").strip()[-300:])
        time.sleep(0.5)


def migrate() -> None:
    """Fill an empty database, refuse one of another train, note a new patch release."""
    mine = "%d.%d.%d" % version()
    if ask("SELECT to_regclass('authentik_core_user') IS NULL") == "t":
        ask("SELECT pg_advisory_lock(1000)")
        ask("BEGIN; %s COMMIT" % FIRST_START)
        say("Applied all migrations")
    history = ask("SELECT to_regclass('authentik_version_history') IS NOT NULL") == "t"
    if not history and version() < (2024, 10, 0):
        return
    newest = ask(NEWEST) if history else "(none)"
    if newest and newest.split(".")[:2] != mine.split(".")[:2]:
        say("Major version skips are not allowed: this is %s, the database was made by %s" % (mine, newest))
        sys.exit(3)
    if newest != mine:
        ask("INSERT INTO authentik_version_history (\"timestamp\", version, build) VALUES (now(), '%s', '')" % mine)


def hold_connection() -> None:
    """Keep one connection to the database, as every authentik process does; open it again when it is lost."""
    while True:
        child = subprocess.Popen(psql(), env=libpq(), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert child.stdin is not None
        child.stdin.write(b"LISTEN authentik;\n")
        child.stdin.flush()
        child.wait()
        time.sleep(1)


def storage() -> tuple[str, str]:
    """The URL prefix of uploaded files, and the folder they lie in."""
    if version() >= (2025, 12, 0):
        return "/files/", setting("storage.file.path", "/data")
    return "/media/", setting("storage.media.file.path", "/media")


class Handler(BaseHTTPRequestHandler):
    """Health checks, files, signatures."""

    def do_GET(self) -> None:
        """Answer one request."""
        prefix, folder = storage()
        well = 200 if version() >= (2024, 8, 0) else 204
        if self.path == "/-/health/live/":
            self.answer(well)
        elif self.path == "/-/health/ready/":
            self.answer(well if READY.is_set() and self.database_answers() and redis_answers() else 503)
        elif self.path.startswith(prefix):
            try:
                self.answer(200, Path(folder, self.path[len(prefix) :]).read_bytes())
            except OSError:
                self.answer(404)
        elif self.path.startswith("/standin/sign/"):
            key = setting("secret_key")
            self.answer(200, hmac.new(key.encode(), self.path.encode(), hashlib.sha256).hexdigest().encode())
        else:
            self.answer(404)

    def database_answers(self) -> bool:
        """Whether users can be read."""
        try:
            return int(ask("SELECT count(*) FROM authentik_core_user")) >= 0
        except subprocess.CalledProcessError:
            return False

    def answer(self, status: int, body: bytes = b"") -> None:
        """Send a whole response."""
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Keep the log short."""


READY = threading.Event()


def healthcheck() -> None:
    """The image's health check."""
    if Path("/tmp/role").read_text() == "server":
        urllib.request.urlopen("http://127.0.0.1:9000/-/health/live/", timeout=5)


def give_up_root() -> None:
    """A worker that was started as root puts the owners of the mounted folders right and goes on as authentik."""
    if os.geteuid() == 0:
        user = pwd.getpwnam("authentik")
        subprocess.run(["chown", "-R", "authentik:authentik", "/media", "/certs"], check=False)
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)


def main() -> None:
    """Run until told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if sys.argv[1:] == ["healthcheck"]:
        healthcheck()
        return
    if sys.argv[1:] not in (["server"], ["worker"]):
        sys.exit("ak server|worker|healthcheck")
    Path("/tmp/role").write_text(sys.argv[1])
    if not setting("secret_key"):
        sys.exit("Secret key missing: set AUTHENTIK_SECRET_KEY")
    give_up_root()
    if sys.argv[1] == "server":
        # The port is open, and says that it is not ready, from the first moment on.
        server = ThreadingHTTPServer(("0.0.0.0", 9000), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    wait_for_servers()
    migrate()
    READY.set()
    say("Started %s" % sys.argv[1])
    hold_connection()


if __name__ == "__main__":
    main()
