# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An authentik-shaped bare-metal installation on a real host, in the layouts that people have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import authentik_data

if TYPE_CHECKING:
    from tests.support.hosts import Host

STANDIN = Path(__file__).with_name("standin.py")
PASSWORD = "pä$$ \"quoted' \\ %40 #1"
SECRET_KEY = "sécret $KEY \\ 'x' \"y\""

UNIT = """\
[Unit]
Description=authentik {role}
After=network.target postgresql.service redis-server.service

[Service]
User={user}
WorkingDirectory=/opt/authentik
{environment}Environment=STANDIN_VERSION={version} STANDIN_MEDIA={media}
ExecStart=/usr/bin/python3 /opt/authentik/standin.py {role}
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Layout:
    """How an installation lies on its host.

    :ivar directories: component -> path.
    :ivar config: text of /etc/authentik/config.yml after the keys that all layouts have.
    :ivar environment: text of /etc/default/authentik; none without it.
    """

    suite: str
    version: str
    user: str
    superuser: bool
    redis: bool
    directories: dict[str, str]
    config: str = ""
    environment: str = ""

    @property
    def components(self) -> set[str]:
        """Names of what a backup of everything saves."""
        return {"postgresql", "config", *self.directories} | ({"redis"} if self.redis else set())


LAYOUTS = {
    # Proxmox community-scripts, 2026: data on a folder of its own that survives updates, no Redis any more.
    "2026": Layout(
        suite="bookworm",
        version="2026.2.1",
        user="authentik",
        superuser=False,
        redis=False,
        directories={
            "media": "/opt/authentik-data/media",
            "certs": "/opt/authentik-data/certs",
            "custom-templates": "/opt/authentik-data/templates",
            "blueprints": "/opt/authentik/blueprints",
        },
        config=(
            "storage:\n  file:\n    path: /opt/authentik-data\n"
            "blueprints_dir: /opt/authentik/blueprints\n"
            "cert_discovery_dir: /opt/authentik-data/certs\n"
        ),
        environment="AUTHENTIK_EMAIL__TEMPLATE_DIR=/opt/authentik-data/templates\nAUTHENTIK_LOG_LEVEL=info\n",
    ),
    # The same project in 2024: all in one file, paths relative to the program, the role a superuser, Redis.
    "2024": Layout(
        suite="bullseye",
        version="2024.12.3",
        user="root",
        superuser=True,
        redis=True,
        directories={
            "media": "/opt/authentik/media",
            "certs": "/opt/authentik/certs",
            "blueprints": "/opt/authentik/blueprints",
        },
        config=(
            "redis:\n  host: localhost\n  port: 6379\n  db: 0\n"
            "channel:\n  url: redis://localhost:6379/1\n"
            "blueprints_dir: /opt/authentik/blueprints\ncert_discovery_dir: ./certs\n"
        ),
    ),
}


class BareMetal:
    """The installation on ``host``."""

    def __init__(self, host: Host, layout: Layout) -> None:
        self.host = host
        self.layout = layout

    def install(self) -> None:
        """Put everything in place, start the services and wait until they are ready."""
        if self.layout.user != "root":
            self.host.sh("useradd --system --home-dir /opt/authentik %s" % self.layout.user)
        self._database()
        self._files()
        self._configuration()
        if self.layout.redis:
            self._redis()
        else:
            self.host.sh("systemctl disable --now redis-server")
        self.host.sh("systemctl daemon-reload && systemctl enable --now authentik-server authentik-worker")
        self.wait_until_ready()

    def get(self, path: str) -> tuple[int, str]:
        """Ask the server; its status (0: no connection) and body."""
        script = (
            "import sys, urllib.request, urllib.error\n"
            "try:\n"
            "    answer = urllib.request.urlopen('http://127.0.0.1:9000' + sys.argv[1], timeout=10)\n"
            "    print(answer.status, answer.read().decode())\n"
            "except urllib.error.HTTPError as error:\n"
            "    print(error.code)\n"
            "except OSError:\n"
            "    print(0)\n"
        )
        status, _space, body = self.host.sh("python3 - %s" % path, stdin=script.encode()).partition(" ")
        return int(status), body.rstrip("\n")

    def wait_until_ready(self, seconds: int = 30) -> None:
        """Wait for the server's health check; RuntimeError with the journal when it does not come."""
        self.host.sh(
            "for i in $(seq %d); do python3 -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:9000"
            "/-/health/ready/', timeout=5)\" 2>/dev/null && exit 0; sleep 1; done\n"
            "journalctl -u authentik-server -n 30 --no-pager >&2; exit 1" % seconds
        )

    def unit_states(self) -> dict[str, str]:
        """``systemctl is-active`` of both services."""
        script = "systemctl is-active authentik-server authentik-worker || true"
        server, worker = self.host.sh(script).split()
        return {"server": server, "worker": worker}

    def disaster(self) -> None:
        """Drop the database under the running services, delete uploaded files, flush Redis."""
        self.host.psql("DROP DATABASE authentik WITH (FORCE)")
        self.host.sh("rm -rf %s" % self.layout.directories["media"])
        if self.layout.redis:
            self.host.sh("redis-cli FLUSHALL")

    def _database(self) -> None:
        power = "SUPERUSER" if self.layout.superuser else "NOSUPERUSER"
        secret = PASSWORD.replace("'", "''")
        self.host.psql("CREATE ROLE authentik LOGIN %s PASSWORD '%s'" % (power, secret))
        self.host.psql("CREATE DATABASE authentik OWNER authentik TEMPLATE template0 ENCODING 'UTF8'")
        authentik_data.load(
            lambda sql: self.host.psql(sql, "authentik", role="authentik"), rows=150, version=self.layout.version
        )

    def _files(self) -> None:
        owner = "%s:%s" % (self.layout.user, self.layout.user)
        self.host.write("/opt/authentik/standin.py", STANDIN.read_text())
        for path in self.layout.directories.values():
            self.host.sh("mkdir -p %s" % path)
        self.host.sh(
            """
            cd "$0"; mkdir -p public/icons public/empty
            for i in $(seq 40); do echo "<svg>$i</svg>" > "public/icons/app $i.svg"; done
            head -c 3000000 /dev/urandom > 'public/Grüße 日本.jpg'
            printf x > public/$'not-utf-8-\\xff'
            ln -s icons/'app 1.svg' public/current
            ln public/icons/'app 2.svg' public/same-file
            echo logo > public/logo.txt
            touch -d '2021-03-04 05:06:07.891' public/logo.txt
            """.replace("$0", self.layout.directories["media"])
        )
        certs = self.layout.directories["certs"]
        self.host.write(certs + "/example.org/privkey.pem", "-----BEGIN PRIVATE KEY-----\n", mode="0600")
        self.host.write(certs + "/example.org/fullchain.pem", "-----BEGIN CERTIFICATE-----\n")
        self.host.write(self.layout.directories["blueprints"] + "/custom/flow.yaml", "version: 1\nentries: []\n")
        if "custom-templates" in self.layout.directories:
            self.host.write(
                self.layout.directories["custom-templates"] + "/email/invitation.html", "<p>{{ user }}</p>\n"
            )
        self.host.sh("chown -hR %s %s" % (owner, " ".join(self.layout.directories.values())))

    def _configuration(self) -> None:
        config = (
            "secret_key: %s\npostgresql:\n  host: 127.0.0.1\n  name: authentik\n  user: authentik\n  password: %s\n"
            % (json.dumps(SECRET_KEY, ensure_ascii=False), json.dumps(PASSWORD, ensure_ascii=False))
        ) + self.layout.config
        owner = "root:%s" % self.layout.user
        self.host.write("/etc/authentik/config.yml", config, mode="0640", owner=owner)
        line = ""
        if self.layout.environment:
            self.host.write("/etc/default/authentik", self.layout.environment, mode="0640", owner=owner)
            line = "EnvironmentFile=/etc/default/authentik\n"
        for role in ("server", "worker"):
            text = UNIT.format(
                role=role,
                user=self.layout.user,
                version=self.layout.version,
                media=self.layout.directories["media"],
                environment=line,
            )
            self.host.write("/etc/systemd/system/authentik-%s.service" % role, text)

    def _redis(self) -> None:
        self.host.sh(
            "redis-cli SET authentik_session 'Grüße 👩‍👩‍👧‍👦' EX 86400\n"
            "redis-cli RPUSH celery task-1 task-2 task-3\n"
            "redis-cli HSET authentik_hash field value other '\"quoted\"'\n"
            "redis-cli ZADD authentik_scores 1.5 alice -inf bob\n"
            "redis-cli -n 1 SET channels layer\n"
            "head -c 50000 /dev/urandom | redis-cli -x SET authentik_binary"
        )
