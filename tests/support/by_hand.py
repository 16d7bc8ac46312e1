# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands of documents, run as they stand there."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.playbook import ROOT
from tests.support.postgres_server import Server
from tests.support.redis import RedisServer, wheel_directory


def of_the_readme() -> str:
    """Return the shell commands between the README's two marks."""
    text = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"<!-- by hand: begin.*?-->\n```sh\n(.*?)```\n<!-- by hand: end -->", text, re.S)
    return str(block)


def of_the_set(folder: Path, settings: Mapping[str, str]) -> str:
    """Return all commands of a set's RESTORE.md.

    :param settings: what the reader fills in: variables of the first block, with their value as bash has it.
    """
    blocks = [
        found[1] for found in re.findall(r"^(```+)bash\n(.*?)^\1$", (folder / "RESTORE.md").read_text(), re.S | re.M)
    ]
    for name, value in settings.items():
        blocks[0], count = re.subn(r"(?m)^%s=.*$" % name, lambda _found: "%s=%s" % (name, value), blocks[0])  # noqa: B023
        assert count == 1, "the reader is not asked for %s" % name
    return "".join(blocks)


def run(argv: list[str], cwd: Path, server: Server, **variables: str) -> None:
    """Run a script of a shell, with the programs of PostgreSQL and Redis."""
    path = "%s:%s:%s" % (server.bin, wheel_directory(), os.environ["PATH"])
    environment = {**server.environment(), "PATH": path, **variables}
    done = subprocess.run(argv, env=environment, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def redis_to_be(directory: Path) -> Iterator[RedisServer]:
    """Give a folder and a port to a server that a document starts, and end that one."""
    directory.mkdir()
    server = RedisServer(directory=directory)
    try:
        yield server
    finally:
        argv = [str(wheel_directory() / "redis-cli"), "-p", str(server.port), "SHUTDOWN", "NOSAVE"]
        subprocess.run(argv, check=False, capture_output=True)


def redis_keys(port: int) -> int:
    """Return the number of keys in all databases, waiting for the server to have loaded them."""
    argv = [str(wheel_directory() / "redis-cli"), "-p", str(port), "INFO", "keyspace"]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
        found = re.findall(r"keys=(\d+)", said)
        if found:
            return sum(map(int, found))
        time.sleep(0.2)
    return 0
