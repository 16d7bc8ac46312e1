# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host of compose projects as Ansible finds it at a user's: reached over ssh, by somebody who becomes root by sudo.

It is a container in the machine's network that has the engine's socket, its volumes and the projects' folders at the
same paths as the machine, and nothing but Python and the client of Docker.
"""

from __future__ import annotations

import shlex
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.docker_engine import program
from tests.support.hosts import USER, free_port

if TYPE_CHECKING:
    from tests.support.compose_engine import Compose

PREPARE = """
useradd --create-home --shell /bin/bash {user}
echo '{user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{user}
install -d -o {user} -g {user} -m 0700 /home/{user}/.ssh
install -o {user} -g {user} -m 0600 /dev/stdin /home/{user}/.ssh/authorized_keys
rm -rf /usr/bin/psql /usr/bin/pg_* /usr/lib/postgresql /usr/bin/redis-cli /usr/bin/zstd
mkdir -p /run/sshd
exec /usr/sbin/sshd -p {port} -o ListenAddress=127.0.0.1 -o MaxStartups=100
"""


class ComposeHost:
    """One such host; it ends with the engine, or before."""

    def __init__(self, compose: Compose, key: Path) -> None:
        self.engine = compose.engine
        self.key = key
        self.port = free_port()
        shared = [self.engine.folder / "data" / "volumes", compose.projects, self.engine.socket]
        mounts = ["--volume=%s:%s" % (path, path) for path in shared]
        mounts += [
            "--volume=%s:/usr/bin/docker:ro" % program("docker"),
            "--volume=%s:/usr/local/lib/docker/cli-plugins:ro" % (compose.config / "cli-plugins"),
        ]
        compose.images.need_tools()
        self.container = self.engine.create(
            "--network=host",
            "--pid=host",
            "--hostname=sso",
            *mounts,
            compose.images.base("bookworm"),
            "sleep",
            "infinity",
        )
        public = key.with_suffix(".pub").read_bytes()
        self.sh(PREPARE.format(user=USER, port=self.port), stdin=public)
        self._wait_for_ssh()

    @property
    def variables(self) -> dict[str, Any]:
        """Inventory variables: how to reach it, and where the engine's socket is."""
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": USER,
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            "ansible_python_interpreter": "/usr/bin/python3",
            "authentik_docker_host": "unix://%s" % self.engine.socket,
        }

    def sh(self, script: str, stdin: bytes = b"") -> str:
        """Run a shell script on the host as root, past Ansible and ssh."""
        return self.engine.run("exec", "--interactive", self.container, "/bin/sh", "-euc", script, stdin=stdin)

    def leftovers(self) -> list[str]:
        """Files of modules that are on the host now; Ansible removes some of its own a few seconds after its end."""
        names = ("*spool*", "*recovery*", "ansible-tmp-*", "*.part")
        tests = " -o ".join("-iname %s" % shlex.quote(name) for name in names)
        end = time.monotonic() + 20
        while True:
            shared = "-path %s -prune" % shlex.quote(str(self.engine.folder))
            where = "/var/tmp /tmp /home /root"
            found = self.sh("find %s -xdev %s -o \\( %s \\) -print" % (where, shared, tests)).splitlines()
            # The engine makes the folders above a mount point in the container: they are the test's own.
            found = [path for path in found if Path(path) not in self.engine.folder.parents]
            if not found or time.monotonic() > end:
                return found
            time.sleep(1)

    def close(self) -> None:
        """End the host; what it shares with the machine stays."""
        self.engine.remove(self.container)

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
        raise RuntimeError("sshd of the compose host does not answer on port %d" % self.port)
