# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real sshd on a high port of 127.0.0.1 for the user who runs the tests, and a relay that counts bytes."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.announce import leave_out

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {work}/host_key
PidFile {work}/sshd.pid
AuthorizedKeysFile {work}/key.pub
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
MaxStartups 50
"""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def sshd(work: Path) -> Iterator[int]:
    """Run a server and yield its port; the client's key is ``work/key``."""
    server = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:%s" % os.environ.get("PATH", ""))
    if server is None or shutil.which("ssh") is None:
        leave_out("sshd or ssh is not installed (apt install openssh-server openssh-client)")
    if os.geteuid() == 0:
        # Where the server is privileged it wants its empty folder.
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    port = free_port()
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / name)], check=True)
    config = work / "sshd_config"
    config.write_text(CONFIG.format(port=port, work=work))
    log = (work / "sshd.log").open("wb")
    argv = [server, "-D", "-e", "-f", str(config)]
    process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        for _attempt in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, (work / "sshd.log").read_text()
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def host_variables(work: Path, port: int) -> dict[str, Any]:
    """Return the inventory variables of the host behind the server."""
    return {
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": port,
        "ansible_user": getpass.getuser(),
        "ansible_ssh_private_key_file": str(work / "key"),
        "ansible_python_interpreter": sys.executable,
        "ansible_remote_tmp": str(work / "remote_tmp"),
        "ansible_async_dir": str(work / "async"),
        # A server without root cannot hand out terminals.
        "ansible_ssh_use_tty": os.geteuid() == 0,
        # -F keeps the user's own configuration out of the test.
        "ansible_ssh_common_args": "-F /dev/null -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
    }


class Relay:
    """Passes connections on to a port and counts, per connection, the bytes that the server sent and received."""

    def __init__(self, target: int) -> None:
        self.sent: list[int] = []
        self.received: list[int] = []
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                number = len(self.sent)
                self.sent.append(0)
                self.received.append(0)
                for source, sink, counts in ((server, client, self.sent), (client, server, self.received)):
                    threading.Thread(target=self._copy, args=(source, sink, counts, number), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket, counts: list[int], number: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(262144):
                counts[number] += len(data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
