# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A compose project of a layout on the test engine: brought up, filled, damaged, destroyed."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import authentik_data
from tests.support.compose_engine import get, wait_until
from tests.support.compose_images import TOOLS
from tests.support.hosts import free_port
from tests.support.postgres_install import bin_directory
from tests.system.compose_layouts import BLUEPRINTS, FILES, Layout

if TYPE_CHECKING:
    from tests.support.compose_engine import Compose

NETWORK = "recovery-shared"
ADMIN_PASSWORD = "admin's password"

# Put into the folder of media or data; certificates and templates get less.
FILL = r"""
cd "$1"
mkdir -p "$2/icons" "$2/empty"
for i in $(seq 20); do echo "<svg>$i</svg>" > "$2/icons/app $i.svg"; done
head -c 700000 /dev/urandom > "$2/Grüße 日本.jpg"
printf x > "$2/not-utf-8-$(printf '\377')"
printf x > "$2/new
line"
ln -s icons/'app 1.svg' "$2/current"
ln "$2/icons/app 2.svg" "$2/same-file"
echo logo > "$2/logo.txt"
touch -d '2021-03-04 05:06:07.891' "$2/logo.txt"
chmod 0640 "$2/logo.txt"
chown -hR 1000:1000 .
"""
OTHERS = {
    "certs": "mkdir -p example.org && echo key > example.org/privkey.pem && chmod 600 example.org/privkey.pem && "
    "echo certificate > example.org/fullchain.pem && chown -R 1000:1000 .",
    # Owners that nothing on the host knows.
    "custom-templates": "mkdir -p email && echo '<p>{{ user }}</p>' > email/invitation.html && "
    "echo x > email/-rf && chown 4711:4712 email/invitation.html && chmod 2750 email",
    BLUEPRINTS: "printf 'version: 1\nentries: []\n' > own.yaml && chown 1000:1000 own.yaml",
}
REDIS = r"""
SET authentik_session "Gr\xc3\xbc\xc3\x9fe"
EXPIRE authentik_session 86400
RPUSH celery task-1 task-2 task-3
HSET authentik_hash field value other "\"quoted\""
ZADD authentik_scores 1.5 alice -inf bob
SADD authentik_set a b c
SET authentik_binary "\x00\xff\r\n\x01"
"""


class Project:
    """The project of a layout.

    :ivar folder: where its files are.
    :ivar database: the id of the container with its database, in the project or outside.
    """

    def __init__(self, compose: Compose, layout: Layout) -> None:
        self.compose = compose
        self.layout = layout
        self.folder = compose.projects / layout.folder
        self.http_port = free_port()
        self.database_port = free_port()
        self._outside = ""

    @property
    def options(self) -> list[str]:
        """Options of the project's operator."""
        return list(self.layout.options)

    @property
    def variables(self) -> dict[str, Any]:
        """Inventory variables that this layout needs beside those of its host."""
        if not self.layout.outside:
            return {}
        admin = {
            "authentik_postgresql_admin_user": "postgres",
            "authentik_postgresql_admin_password": ADMIN_PASSWORD,
        }
        # What is elsewhere on the network is reached with the host's own programs.
        programs = {"authentik_postgresql_bin_dir": str(bin_directory(18))}
        return {**admin, **programs} if self.layout.outside == "network" else admin

    def install(self, rows: int = 100, dump: Path | None = None) -> None:
        """Put the files in place, bring everything up, fill it, and wait until it is ready.

        :param dump: a dump of a genuine database in place of the generated one.
        """
        for reference in self.layout.images:
            self.compose.images.need(reference)
        self.compose.images.need_tools()
        if self.layout.outside:
            self._start_outside()
        self.write_files()
        for source in self.layout.binds.values():
            (self.folder / source).mkdir(parents=True, exist_ok=True)
        self.run("create", "--quiet-pull")
        servers = [self.layout.services[role] for role in ("postgresql", "redis") if role in self.layout.services]
        if servers:
            self.run("up", "--detach", "--wait", *servers)
            self._wait_for_database()
        self.load(rows, dump)
        self.fill()
        if "redis" in self.layout.services:
            self.redis(REDIS)
        self.run("up", "--detach")
        self.wait_until_ready()

    def write_files(self) -> None:
        """Put the project's own files in place."""
        values = {
            "@SOCKET@": str(self.compose.engine.socket),
            "@FOLDER@": str(self.folder),
            "@VERSION@": self.layout.version,
            "@HTTP_PORT@": str(self.http_port),
            "@HTTP@": "127.0.0.1:%d" % self.http_port if self.layout.port == "address" else str(self.http_port),
            "@HTTPS@": "127.0.0.1:%d" % free_port(),
            "@DATABASE@": self.gateway,
            "@DATABASE_PORT@": str(self.database_port),
        }
        source = FILES / self.layout.name
        for path in sorted(source.rglob("*")):
            if path.is_file():
                text = path.read_text()
                for mark, value in values.items():
                    text = text.replace(mark, value)
                target = self.folder / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
                target.chmod(self.layout.secret_modes.get(str(path.relative_to(source)), 0o644))

    def run(self, *arguments: str) -> str:
        """``docker compose`` as the project's operator calls it."""
        return self.compose.run(self.folder, [*self.options, *arguments])

    def load(self, rows: int, dump: Path | None) -> None:
        """Fill the database."""
        if dump is not None:
            argv = ["pg_restore", "--no-owner", "--exit-on-error", "--role", self.layout.user]
            self.inside(self.database, *argv, *self.login, stdin=dump.read_bytes())
            return
        authentik_data.load(self.psql, rows=rows, version=self.layout.version)
        if tuple(int(part) for part in self.layout.version.split(".")) < (2024, 10):
            self.psql("DROP TABLE authentik_version_history")

    def fill(self) -> None:
        """Put files into the directories."""
        main = "data" if "data" in self.layout.directories else "media"
        self.look(FILL.replace("$1", "/look/" + main).replace("$2", self.layout.uploads[1]))
        for component, script in OTHERS.items():
            if component in self.layout.directories:
                self.look("cd /look/%s && %s" % (component, script))

    def look(self, script: str) -> str:
        """Run a shell script in a container that has all directories in ``/look``."""
        mounts = []
        for component, source in {**self.layout.binds, **self.layout.volumes}.items():
            where = str(self.folder / source) if component in self.layout.binds else source
            mounts.append("--mount=type=%s,source=%s,target=/look/%s" % (
                "bind" if component in self.layout.binds else "volume", where, component))  # fmt: skip
        return self.compose.engine.run("run", "--rm", *mounts, TOOLS, "/bin/bash", "-euo", "pipefail", "-c", script)

    @property
    def database(self) -> str:
        """The id of the database's container."""
        return self._outside or self.container("postgresql")

    def container(self, role: str) -> str:
        """The id of the container of a role; RuntimeError when there is not exactly one."""
        names = self.run("ps", "--all", "--quiet", self.layout.services[role]).split()
        if len(names) != 1:
            raise RuntimeError("%d containers of the service %s" % (len(names), self.layout.services[role]))
        return names[0]

    def name_of(self, container: str) -> str:
        """The name of a container."""
        return self.compose.engine.run("inspect", "--format", "{{.Name}}", container).strip().lstrip("/")

    def address(self, container: str) -> str:
        """The address of a container."""
        shown = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        return self.compose.engine.run("inspect", "--format", shown, container).split()[0]

    def mountpoint(self, volume: str) -> str:
        """Where a volume is on the host."""
        return self.compose.engine.run("volume", "inspect", "--format", "{{.Mountpoint}}", volume).strip()

    def inside(self, container: str, *argv: str, stdin: bytes = b"") -> str:
        """Run a program in a container."""
        return self.compose.engine.run("exec", "--interactive", container, *argv, stdin=stdin)

    def psql(self, sql: str) -> str:
        """Run SQL in the instance's database as its owner."""
        argv = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *self.login]
        return self.inside(self.database, *argv, stdin=sql.encode())

    def admin_psql(self, sql: str) -> str:
        """Run SQL in the database ``postgres`` as a superuser."""
        user = "postgres" if self._outside else self.layout.user
        argv = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", user, *self._port(), "-d", "postgres"]
        return self.inside(self.database, *argv, stdin=sql.encode())

    def redis(self, commands: str) -> str:
        """Send commands to Redis, one a line."""
        argv = ["redis-cli", "--no-auth-warning"] if self.layout.redis_password else ["redis-cli"]
        secret = ["-a", self.layout.redis_password] if self.layout.redis_password else []
        return self.inside(self.container("redis"), *argv, *secret, stdin=commands.encode())

    def states(self) -> dict[str, str]:
        """Role -> state of its container."""
        shown = "{{.State.Status}}"
        return {
            role: self.compose.engine.run("inspect", "--format", shown, self.container(role)).strip()
            for role in self.layout.services
        }

    @property
    def url(self) -> str:
        """Where the server answers."""
        if self.layout.port:
            return "http://127.0.0.1:%d" % self.http_port
        return "http://%s:9000" % self.address(self.container("server"))

    def wait_until_ready(self) -> None:
        """Wait for the server; RuntimeError with its log when it does not come."""
        try:
            wait_until(self.url + "/-/health/ready/", 40)
        except RuntimeError as error:
            raise RuntimeError("%s\n%s" % (error, self.run("logs", "--no-color", "--tail=40"))) from error

    def logo(self) -> tuple[int, bytes]:
        """What the server says when asked for an uploaded file."""
        return get(self.url + self.layout.uploads[0] + "logo.txt")

    def signature(self) -> bytes:
        """Something signed by the server with the secret key."""
        return get(self.url + "/standin/sign/something")[1]

    def destroy(self) -> None:
        """Take the project away with its volumes and folders; a database outside loses what is authentik's."""
        self.run("down", "--volumes", "--remove-orphans", "--timeout", "2")
        shutil.rmtree(self.folder)
        if self._outside:
            self.admin_psql("DROP DATABASE %s WITH (FORCE)" % self.layout.database)

    def close(self) -> None:
        """End everything of this project that is still there."""
        if self.folder.exists():
            self.run("down", "--volumes", "--remove-orphans", "--timeout", "2")
            shutil.rmtree(self.folder)
        if self._outside:
            self.compose.engine.remove(self._outside)
        if self.layout.outside == "engine":
            self.compose.engine.run("network", "rm", NETWORK)

    def damage(self) -> None:
        """Lose data under the running project: tables, files, keys."""
        self.psql("DROP TABLE authentik_core_user CASCADE; DELETE FROM authentik_install_id;")
        main = "data" if "data" in self.layout.directories else "media"
        self.look("cd /look/%s && rm -r %s/icons && echo changed > %s/logo.txt" % (main, *2 * self.layout.uploads[1:]))
        if "redis" in self.layout.services:
            self.redis("FLUSHALL")

    @property
    def gateway(self) -> str:
        """The machine's address for containers."""
        shown = "{{range .IPAM.Config}}{{.Gateway}}{{end}}"
        return self.compose.engine.run("network", "inspect", "--format", shown, "bridge").strip()

    @property
    def login(self) -> list[str]:
        """Options by which PostgreSQL's programs reach the database from inside its container, as its owner."""
        return ["-U", self.layout.user, *self._port(), "-d", self.layout.database]

    def _port(self) -> list[str]:
        return ["-p", str(self.database_port)] if self.layout.outside == "network" else []

    def _start_outside(self) -> None:
        engine, password = self.compose.engine, "--env=POSTGRES_PASSWORD=%s" % ADMIN_PASSWORD
        image = self.layout.images[0]
        if self.layout.outside == "engine":
            engine.run("network", "create", NETWORK)
            self._outside = engine.create("--network=%s" % NETWORK, "--network-alias=postgres.shared", password, image)
        else:
            # In the machine's own network, at an address that containers reach too.
            listen = ["-c", "listen_addresses=127.0.0.1,%s" % self.gateway, "-c", "port=%d" % self.database_port]
            self._outside = engine.create("--network=host", password, image, *listen)
        self._wait_for_database()
        self.admin_psql(
            "CREATE ROLE {0} LOGIN PASSWORD '{1}';\nCREATE DATABASE {2} OWNER {0} TEMPLATE template0;".format(
                self.layout.user, self.layout.password, self.layout.database
            )
        )

    def _wait_for_database(self, seconds: float = 30) -> None:
        # Over TCP: on its socket the server answers during its first preparations too.
        user = "postgres" if self._outside else self.layout.user
        end = time.monotonic() + seconds
        while True:
            try:
                login = ["-U", user, "-h", "127.0.0.1", *self._port(), "-d", "postgres"]
                self.inside(self.database, "psql", *login, "-c", "SELECT 1")
                return
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.3)
