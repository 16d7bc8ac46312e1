# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A compose project on the test engine: its folder, its containers, and how Ansible reaches its host."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.compose_images import Images
from tests.support.compose_plugin import compose_plugin
from tests.support.docker_engine import program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.docker_engine import Engine


class Compose:
    """Docker Compose v2 on an engine, with images from :class:`Images`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.images = Images(engine)
        # Where the client looks for plugins; nothing is installed on the machine.
        self.config = engine.folder / "client"
        plugins = self.config / "cli-plugins"
        plugins.mkdir(parents=True)
        shutil.copy2(compose_plugin(), plugins / "docker-compose")
        self.projects = engine.folder / "projects"
        self.projects.mkdir()
        # Where modules keep what they need, so that they leave nothing on the machine.
        self.spool = engine.folder / "spool"
        self.spool.mkdir()
        for folder in (engine.folder, self.projects):
            folder.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """What Ansible's modules need in their environment to find the plugin."""
        return {"DOCKER_CONFIG": str(self.config)}

    @property
    def variables(self) -> dict[str, Any]:
        """Inventory variables of the machine itself as the host, with modules run as root."""
        return {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": "/usr/bin/python3",
            "authentik_docker_host": "unix://%s" % self.engine.socket,
            "authentik_spool_dir": str(self.spool),
            "authentik_work_dir": str(self.engine.folder / "work"),
        }

    def project(self, name: str) -> Path:
        """A new folder for a project."""
        folder = self.projects / name
        folder.mkdir()
        return folder

    def run(
        self, folder: Path, arguments: Sequence[str], env: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> str:
        """``docker compose`` in a project's folder, as its operator calls it; RuntimeError when it fails."""
        argv = [program("docker"), "--config", str(self.config), "--host", "unix://%s" % self.engine.socket, "compose"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.engine.folder), **(env or {})}
        done = subprocess.run(
            [*argv, *arguments], cwd=folder, env=environment, input=stdin, capture_output=True, check=False, timeout=300
        )
        if done.returncode:
            raise RuntimeError("docker compose %s: %s" % (" ".join(arguments), done.stderr.decode(errors="replace")))
        return done.stdout.decode("utf-8", "surrogateescape")

    def leftovers(self) -> list[str]:
        """Containers, volumes, networks, projects' folders and files of modules that are there now."""
        found = ["spool %s" % path.name for path in self.spool.iterdir()]
        for argv in (
            ["ps", "--all", "--format", "container {{.Names}} {{.Image}}"],
            ["volume", "ls", "--format", "volume {{.Name}}"],
            ["network", "ls", "--filter", "type=custom", "--format", "network {{.Name}}"],
        ):
            found += self.engine.run(*argv).splitlines()
        return sorted([*found, *("folder %s" % path.name for path in self.projects.iterdir())])


def get(url: str, timeout: float = 10) -> tuple[int, bytes]:
    """Ask a server; its status (0: no connection) and body."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""
    except OSError:
        return 0, b""


def wait_until(url: str, seconds: float = 60) -> None:
    """Wait until a URL answers well; RuntimeError when it does not."""
    end = time.monotonic() + seconds
    while get(url)[0] not in (200, 204):
        if time.monotonic() > end:
            raise RuntimeError("%s says %d" % (url, get(url)[0]))
        time.sleep(0.2)


@pytest.fixture(scope="session")
def compose(engine: Engine) -> Compose:
    """Compose on the engine of this test run."""
    return Compose(engine)
