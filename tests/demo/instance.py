# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A throwaway bare-metal authentik in one folder: real PostgreSQL, real Redis, files, configuration."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.demo import oracle
from tests.support import authentik_data
from tests.support import oracle as database_oracle
from tests.support.postgres_install import free_port
from tests.support.postgres_server import Database, Server
from tests.support.redis import RedisServer

VERSION = "2025.8.4"
SECRET_KEY = "Démo-key: not a secret, but $ometimes 'awkward' \\ to quote %s"
PASSWORD = "p@ss w\"ord'\\ Ünï $HOME %20"

CONFIG = """\
# /etc/authentik/config.yml
secret_key: file://{root}/etc/authentik/secret_key
blueprints_dir: {root}/var/lib/authentik/blueprints
cert_discovery_dir: {root}/var/lib/authentik/certs
email:
  template_dir: {root}/var/lib/authentik/custom-templates
storage:
  media:
    backend: file
    file:
      path: {root}/var/lib/authentik/media
"""

ENVIRONMENT = """\
# /etc/default/authentik
AUTHENTIK_POSTGRESQL__HOST=127.0.0.1
AUTHENTIK_POSTGRESQL__PORT={postgres_port}
AUTHENTIK_POSTGRESQL__NAME=authentik
AUTHENTIK_POSTGRESQL__USER=authentik
AUTHENTIK_POSTGRESQL__PASSWORD=file://{root}/etc/authentik/postgresql_password
AUTHENTIK_LISTEN__HTTP=127.0.0.1:{http_port}
AUTHENTIK_REDIS__HOST=127.0.0.1
AUTHENTIK_REDIS__PORT={redis_port}
AUTHENTIK_CHANNEL__URL=redis://127.0.0.1:{redis_port}/1
"""

SVG = "<svg xmlns='http://www.w3.org/2000/svg'><text>%s</text></svg>\n"


@dataclass
class Picture:
    """Everything an instance holds, for comparing."""

    database: database_oracle.Picture
    files: dict[str, str]
    keys: dict[tuple[int, bytes], tuple[object, int]]

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(len(rows) for rows in self.database.copied.values())


class Instance:
    """The instance: its servers while the context lasts, its folders below ``root``.

    :param events: events in the database; there are a fifth as many users.
    """

    def __init__(self, root: Path, events: int = 1500) -> None:
        self.root = root
        self.events = events
        self.postgres = Server(18)
        self.redis = RedisServer()
        self.database: Database

    @property
    def folders(self) -> list[Path]:
        """The directories that hold the instance's files."""
        return [self.root / "var/lib/authentik" / n for n in ("media", "certs", "custom-templates", "blueprints")]

    def __enter__(self) -> Instance:
        self.postgres.start()
        self.redis.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.redis.__exit__()
        self.postgres.stop()

    def create(self) -> None:
        """Fill the database, Redis and the folders, and write the configuration."""
        self.database = self.postgres.create_database("authentik", "authentik", PASSWORD)
        authentik_data.load(self.database.psql, rows=self.events, version=VERSION)
        self._fill_redis()
        self._write_files()
        self._write_configuration()

    def inventory(self, path: Path, instance: str) -> None:
        """Write an inventory with this machine as the instance's host."""
        variables: dict[str, Any] = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "authentik_config_paths": [str(self.root / "etc/authentik/config.yml")],
            "authentik_env_files": [str(self.root / "etc/default/authentik")],
            # Services of this machine, should it have any, are none of the demo's.
            "authentik_server_units": [],
            "authentik_worker_units": [],
            "authentik_outpost_units": [],
            "authentik_working_directory": str(self.root / "opt/authentik"),
            "authentik_work_dir": str(self.root / "var/lib/authentik-recovery"),
            # The owner of the database may not create databases, as on a real host.
            "authentik_postgresql_admin_user": "postgres",
            "authentik_postgresql_admin_password": self.postgres.password,
            "authentik_postgresql_bin_dir": str(self.postgres.bin),
        }
        path.write_text(json.dumps({"authentik": {"hosts": {instance: variables}}}, indent=1))

    def install(self, version: str) -> None:
        """Put the code of a version in place, as far as it tells which it is."""
        _write(self.root / "opt/authentik/authentik/__init__.py", 'VERSION = "%s"\n' % version)

    def picture(self) -> Picture:
        """Return what the instance holds: database, files, Redis keys."""
        database = database_oracle.take(self.postgres, "authentik")
        return Picture(database, oracle.read_files(self.folders), self.redis.content())

    def disaster(self) -> None:
        """Lose the database, the media files and everything in Redis."""
        self.postgres.psql("DROP DATABASE authentik WITH (FORCE)")
        shutil.rmtree(self.folders[0])
        self.redis.send("FLUSHALL")

    def _fill_redis(self) -> None:
        commands: list[tuple[str | bytes | int, ...]] = [
            ("SET", "authentik_cache/%d" % number, "Grüße %d 👩‍👩‍👧‍👦" % number, "EX", 86400) for number in range(120)
        ]
        commands += [
            ("RPUSH", "celery", *[json.dumps({"task": number}) for number in range(40)]),
            ("HSET", "authentik_hash", "field", bytes(range(256))),
            ("SADD", "authentik_set", *range(300)),
            ("ZADD", "authentik_scores", "1.5", "alice", "-inf", "bob"),
        ]
        commands.append(("SET", "channels", b"\x00\xff binary"))
        self.redis.send_all(commands)

    def _write_files(self) -> None:
        media, certs, templates, blueprints = self.folders
        for number in range(60):
            _write(media / "public/application-icons" / ("app-%02d.svg" % number), SVG % number)
        _write(media / "public/flow-backgrounds/Grüße 日本.jpg", os.urandom(400_000))
        (media / "public/empty").mkdir()
        (media / "public/current").symlink_to("application-icons/app-00.svg")
        os.link(media / "public/application-icons/app-01.svg", media / "public/same-file.svg")
        Path(os.fsdecode(os.fsencode(media / "public") + b"/not-utf-8-\xff.png")).write_bytes(b"\x89PNG")
        _write(certs / "example.org/fullchain.pem", "-----BEGIN CERTIFICATE-----\n")
        _write(certs / "example.org/privkey.pem", "-----BEGIN PRIVATE KEY-----\n", 0o600)
        _write(templates / "email/invitation.html", "<p>{{ user.name }} {% trans 'is invited' %}</p>\n")
        _write(blueprints / "custom/flow.yaml", "version: 1\nentries: []\n")
        self.install(VERSION)

    def _write_configuration(self) -> None:
        values = {
            "root": self.root,
            "postgres_port": self.postgres.port,
            "redis_port": self.redis.port,
            "http_port": free_port(),
        }
        _write(self.root / "etc/authentik/config.yml", CONFIG.format(**values), 0o640)
        _write(self.root / "etc/authentik/secret_key", SECRET_KEY, 0o600)
        _write(self.root / "etc/authentik/postgresql_password", PASSWORD, 0o600)
        _write(self.root / "etc/default/authentik", ENVIRONMENT.format(**values), 0o640)


def _write(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
