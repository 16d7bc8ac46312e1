# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-in for authentik on a test host: ``standin.py server|worker``. Copied there; Python 3.9, nothing installed.

Like authentik it reads its database from /etc/authentik/config.yml and its environment, refuses a database of another
release, and does not live without its database. ``server`` answers health checks and serves uploaded files.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ["STANDIN_VERSION"]
MEDIA = os.environ["STANDIN_MEDIA"]


def password() -> str:
    """The database password of the configuration file, whose values are written as JSON."""
    with open("/etc/authentik/config.yml", encoding="utf-8") as stream:
        found = re.search(r"^  password: (\".*\")$", stream.read(), re.MULTILINE)
    if not found:
        sys.exit("no password in /etc/authentik/config.yml")
    return str(json.loads(found.group(1)))


def ask(sql: str) -> str:
    """Run a query as the application does; CalledProcessError when the database does not answer."""
    argv = ["psql", "-XqAtw", "-h", "127.0.0.1", "-U", "authentik", "-d", "authentik", "-c", sql]
    environment = {**os.environ, "PGPASSWORD": password(), "PGCONNECT_TIMEOUT": "5"}
    return subprocess.run(argv, env=environment, check=True, stdout=subprocess.PIPE).stdout.decode().strip()


def check_database() -> None:
    """End the process when the database is away or of another release."""
    try:
        found = ask("SELECT version FROM authentik_version_history ORDER BY id DESC LIMIT 1")
    except subprocess.CalledProcessError as error:
        os._exit(error.returncode or 1)
    if found != VERSION:
        print("this is %s, the database was made by %r" % (VERSION, found), file=sys.stderr, flush=True)
        os._exit(3)


class Handler(BaseHTTPRequestHandler):
    """Health checks and files."""

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path == "/-/health/live/":
            self.answer(200)
        elif self.path == "/-/health/ready/":
            try:
                ask("SELECT count(*) FROM authentik_core_user")
                self.answer(200)
            except subprocess.CalledProcessError:
                self.answer(503)
        elif self.path.startswith("/media/"):
            try:
                with open(os.path.join(MEDIA, self.path[len("/media/") :]), "rb") as stream:
                    self.answer(200, stream.read())
            except OSError:
                self.answer(404)
        else:
            self.answer(404)

    def answer(self, status: int, body: bytes = b"") -> None:
        """Send a whole response."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Run until the database goes away."""
    check_database()
    if sys.argv[1] == "server":
        server = ThreadingHTTPServer(("0.0.0.0", 9000), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        time.sleep(2)
        check_database()


if __name__ == "__main__":
    main()
