# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images for compose projects, under the names that compose files use; made of the hosts' file systems.

No registry is asked. Entry points are our own and behave as those of the images that they stand for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.hosts import image_tarball

if TYPE_CHECKING:
    from tests.support.docker_engine import Engine

SCRIPTS = Path(__file__).with_name("images")
POSTGRES = "docker.io/library/postgres"
REDIS = "docker.io/library/redis"
SERVER = "ghcr.io/goauthentik/server"
#: What runs nothing but a shell: for tests that look into volumes.
TOOLS = "recovery-bookworm"

# Tag -> the Debian release whose package has that version.
POSTGRES_SUITES = {"13-alpine": "bullseye", "15-alpine": "bookworm", "17-alpine": "trixie"}
REDIS_SUITES = {"6-alpine": "bullseye", "alpine": "bookworm", "8-alpine": "trixie"}

PATH = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# PostgreSQL's, which does not wait for clients.
FAST_SHUTDOWN = "SIGINT"
# The official image has its programs in /usr/local/bin, and not Debian's wrappers for several clusters.
PREPARE_POSTGRES = """
rm -rf /usr/bin/psql /usr/bin/pg_* /etc/postgresql /var/lib/postgresql
ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
mkdir -p /var/lib/postgresql/data /docker-entrypoint-initdb.d
chown -R postgres:postgres /var/lib/postgresql
"""
PREPARE_REDIS = "mkdir -p /data && chown redis:redis /data"
# authentik's image has no PostgreSQL client on its PATH: nobody may count on one.
PREPARE_SERVER = r"""
mkdir -p /opt/standin /authentik /media /certs /templates /data /blueprints/default /blueprints/system
cp /usr/lib/postgresql/*/bin/psql /opt/standin/psql
rm -rf /usr/bin/psql /usr/bin/pg_* /usr/bin/redis-cli
printf '#!/bin/sh\nshift\nexec "$@"\n' >/usr/bin/dumb-init
printf '#!/bin/sh\nexec python3 /usr/local/lib/ak.py "$@"\n' >/usr/local/bin/ak
chmod 755 /usr/bin/dumb-init /usr/local/bin/ak
adduser --system --uid 1000 --group --home /authentik --disabled-password --gecos '' authentik
printf 'version: 1\nentries: []\n' >/blueprints/default/flow-default.yaml
chown -R authentik:authentik /media /certs /templates /data /blueprints
"""


class Images:
    """Makes images on an engine when they are first asked for."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def need(self, reference: str) -> None:
        """Make the image of a reference if the engine does not have it."""
        if self._is_there(reference):
            return
        name, _colon, tag = reference.rpartition(":")
        if name == POSTGRES:
            self._postgres(reference, POSTGRES_SUITES[tag])
        elif name == REDIS:
            self._redis(reference, REDIS_SUITES[tag])
        elif name == SERVER:
            self._server(reference, tag)
        else:
            raise RuntimeError("there is no recipe for the image %s" % reference)

    def need_tools(self) -> None:
        """Make the image :data:`TOOLS`."""
        self.base("bookworm")

    def base(self, suite: str) -> str:
        """The image of a suite's file system."""
        name = "recovery-%s" % suite
        if not self._is_there(name):
            self.engine.import_image(image_tarball(suite), name)
        return name

    def _is_there(self, reference: str) -> bool:
        return bool(self.engine.run("image", "ls", "--quiet", reference).strip())

    def _postgres(self, reference: str, suite: str) -> None:
        changes = [
            "ENV LANG=C.UTF-8 PGDATA=/var/lib/postgresql/data",
            "ENTRYPOINT %s" % json.dumps(["docker-entrypoint.sh"]),
            "CMD %s" % json.dumps(["postgres"]),
            "VOLUME /var/lib/postgresql/data",
            "EXPOSE 5432",
        ]
        scripts = {"postgres-entrypoint.sh": "/usr/local/bin/docker-entrypoint.sh"}
        self._make(self.base(suite), reference, PREPARE_POSTGRES, scripts, changes, FAST_SHUTDOWN)

    def _redis(self, reference: str, suite: str) -> None:
        changes = [
            "ENTRYPOINT %s" % json.dumps(["docker-entrypoint.sh"]),
            "CMD %s" % json.dumps(["redis-server"]),
            "VOLUME /data",
            "WORKDIR /data",
            "EXPOSE 6379",
        ]
        scripts = {"redis-entrypoint.sh": "/usr/local/bin/docker-entrypoint.sh"}
        self._make(self.base(suite), reference, PREPARE_REDIS, scripts, changes)

    def _server(self, reference: str, version: str) -> None:
        prepared = "recovery-authentik"
        if not self._is_there(prepared):
            scripts = {"ak.py": "/usr/local/lib/ak.py"}
            self._make(self.base("bookworm"), prepared, PREPARE_SERVER, scripts, [])
        train = tuple(int(part) for part in version.split(".")[:2])
        variable = "VERSION" if train >= (2025, 10) else "__version__"
        prepare = "printf '%%s = \"%%s\"\\n' %s %s >/authentik/__init__.py\n" % (variable, version)
        if train >= (2025, 12):
            prepare += "ln -s /media /data/media\n"
        changes = [
            "ENTRYPOINT %s" % json.dumps(["dumb-init", "--", "ak"]),
            "HEALTHCHECK --interval=5s --timeout=30s --start-period=60s --retries=3 CMD %s"
            % json.dumps(["ak", "healthcheck"]),
            "LABEL org.opencontainers.image.version=%s" % version,
            "LABEL org.opencontainers.image.title=authentik",
            "USER 1000",
            "EXPOSE 9000",
        ]
        self._make(prepared, reference, prepare, {}, changes)

    def _make(
        self,
        base: str,
        reference: str,
        script: str,
        files: dict[str, str],
        changes: list[str],
        stop_signal: str = "SIGTERM",
    ) -> None:
        create = ["create", "--interactive", "--stop-signal=%s" % stop_signal, base, "/bin/sh", "-eux"]
        container = self.engine.run(*create).strip()
        try:
            for source, target in files.items():
                self.engine.run("cp", str(SCRIPTS / source), "%s:%s" % (container, target))
            self.engine.run("start", "--attach", "--interactive", container, stdin=script.encode())
            options = [option for change in [PATH, *changes] for option in ("--change", change)]
            self.engine.run("commit", *options, container, reference)
        finally:
            self.engine.run("rm", "--force", "--volumes", container)
