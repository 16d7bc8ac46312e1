# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Docker and Docker Compose v2 through their command line client: argument lists in, JSON and bytes out."""

from __future__ import annotations

import json
import os
import re
import tarfile

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    IntegrityError,
    ToolError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Container
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._process import Completed

_SECONDS = 120.0
_NO_DAEMON = ("cannot connect to the docker daemon", "error during connect", "is the docker daemon running")
_NO_ACCESS = "permission denied while trying to connect"
_NO_OBJECT = re.compile(r"no such (?:object|container|image|volume|network)|(?:network|volume) \S+ not found", re.I)
_NO_FILE = ("could not find the file", "no such file or directory", "no such container:path")


class Docker:
    """The engine's client.

    Programs run in a clean environment, so what the client would take from there is put into its arguments.

    :ivar argv: how the client is called: its path and its own options.
    :param host: the engine's socket, ``DOCKER_HOST`` or the client's default when not given.
    :raises ToolError: when the client is not installed.
    """

    def __init__(self, host: str | None = None) -> None:
        program = _process.find_program("docker")
        if program is None:
            raise ToolError(
                "The program docker is not installed on this host",
                "Install Docker, or give deployment=host for an authentik that runs as services of the host",
            )
        self.argv: tuple[str, ...] = (program, *client_options(host, os.environ))
        self._compose_version = ""

    def run(
        self,
        arguments: Sequence[str],
        stdin: bytes = b"",
        timeout: float | None = _SECONDS,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run the client to its end.

        :param env: variables of the client itself, such as those whose names ``exec --env`` passes on.
        :raises ConnectError: when the engine does not answer or does not let this user in.
        :raises ToolError: when it fails otherwise, unless *check* is False.
        """
        argv = [*self.argv, *arguments]
        done = _process.run(argv, env=env, stdin=stdin, timeout=timeout, check=False)
        if done.status != 0:
            problem = connection_problem(done.stderr)
            if problem is not None:
                raise problem
            if check:
                raise ToolError(_process.describe_failure(argv, done.status, done.stderr))
        return done

    def compose(
        self,
        project_args: Sequence[str],
        arguments: Sequence[str],
        stdin: bytes = b"",
        timeout: float | None = _SECONDS,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run ``docker compose PROJECT_ARGS ARGUMENTS``.

        :raises ToolError: when Compose v2 is not installed, or fails.
        """
        self.compose_version()
        return self.run(["compose", *project_args, *arguments], stdin, timeout, check, env)

    def compose_version(self) -> str:
        """Return the version of the Compose plugin.

        :raises ToolError: when there is none, or it is older than 2.
        """
        if not self._compose_version:
            done = self.run(["compose", "version", "--short"], check=False)
            self._compose_version = parse_compose_version(done)
        return self._compose_version

    def ping(self, timeout: float = 10.0) -> str:
        """Return the version of the engine.

        :raises ConnectError: when it does not answer, or is another program's.
        """
        try:
            done = self.run(["version", "--format", "{{.Server.Version}}"], timeout=timeout)
        except ToolError as exc:
            cause = "The Docker engine does not answer: %s" % exc.cause
            raise ConnectError(cause, "Start it", "systemctl start docker") from exc
        if "podman" in done.stderr.lower():
            raise ConnectError(
                "%s is Podman's here, which is not supported yet" % self.argv[0],
                "Install Docker, or give deployment=host for an authentik that runs as services of the host",
            )
        return done.stdout.decode("utf-8", "replace").strip()

    def address(self) -> str:
        """Return the engine's address, such as ``unix:///var/run/docker.sock``; empty where the client tells none."""
        if "--host" in self.argv:
            return self.argv[self.argv.index("--host") + 1]
        done = self.run(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"], check=False)
        return done.stdout.decode("utf-8", "replace").strip() if done.status == 0 else ""

    def containers(self, *filters: str) -> list[dict[str, Any]]:
        """Return what ``inspect`` tells of all containers, running or not, that meet all filters."""
        arguments = ["ps", "--all", "--no-trunc", "--quiet"]
        for item in filters:
            arguments += ["--filter", item]
        return self.inspect("container", self.run(arguments).stdout.decode("ascii", "replace").split())

    def inspect(self, kind: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return the engine's documents of those that exist.

        :param kind: ``container``, ``image``, ``volume`` or ``network``.
        """
        if not names:
            return []
        argv = ["inspect", "--type", kind, "--", *names]
        done = self.run(argv, check=False)
        # Some may have gone since they were listed: the others are printed all the same.
        if done.status != 0 and not _NO_OBJECT.search(done.stderr):
            raise ToolError(_process.describe_failure([*self.argv, *argv], done.status, done.stderr))
        try:
            documents = json.loads(done.stdout or b"[]")
        except ValueError as exc:
            raise ToolError("%s printed no JSON: %s" % (_process.show([*self.argv, *argv]), exc)) from exc
        return [document for document in documents if isinstance(document, dict)]

    def read_files(self, container: str, path: str, limit: int = 4 * 1024 * 1024) -> dict[str, bytes]:
        """Return the files at or below *path* of a container, running or not, by their path in it.

        Nothing is run in the container. None are returned where there is nothing at *path*.

        :param limit: bytes in all, beyond which IntegrityError is raised.
        """
        argv = [*self.argv, "cp", "--follow-link", "%s:%s" % (container, path), "-"]
        found: dict[str, bytes] = {}
        left = limit
        with _process.Pipeline([_process.Command(argv)]) as pipeline:
            try:
                with tarfile.open(fileobj=pipeline.stdout, mode="r|") as archive:
                    for member in archive:
                        if not member.isfile():
                            continue
                        left -= member.size
                        stream = archive.extractfile(member)
                        if stream is None or left < 0:
                            raise IntegrityError(
                                "%s in container %s holds more than %d bytes" % (path, container, limit)
                            )
                        below = member.name.partition("/")[2]
                        found[path.rstrip("/") + ("/" + below if below else "")] = stream.read()
            except tarfile.ReadError as exc:
                # An empty stream: the client's own words tell why.
                broken: tarfile.ReadError | None = exc
            else:
                broken = None
            while pipeline.stdout.read(65536):
                pass  # padding: the client must not die of a reader that has gone
            (done,) = pipeline.finish(_SECONDS, check=False)
        if done.status != 0:
            if any(words in done.stderr.lower() for words in _NO_FILE):
                return {}
            raise connection_problem(done.stderr) or ToolError(
                _process.describe_failure(argv, done.status, done.stderr)
            )
        if broken is not None:
            raise ToolError("%s sent a broken archive: %s" % (_process.show(argv), broken)) from broken
        return found


def client_options(host: str | None, environment: Mapping[str, str]) -> list[str]:
    """Return the client's options that say which engine is meant, as its environment variables would."""
    options = []
    if environment.get("DOCKER_CONFIG"):
        options += ["--config", environment["DOCKER_CONFIG"]]
    chosen = host or environment.get("DOCKER_HOST")
    if chosen:
        options += ["--host", chosen]
    elif environment.get("DOCKER_CONTEXT"):
        options += ["--context", environment["DOCKER_CONTEXT"]]
    return options


def connection_problem(stderr: str) -> ConnectError | None:
    """Return the error for a client that did not reach the engine, None where it failed otherwise."""
    said = stderr.lower()
    if _NO_ACCESS in said:
        return ConnectError(
            "This user may not use the Docker engine: %s" % _process.last_lines(stderr, 1),
            "Run the task with become, or as a member of the group docker",
        )
    if any(words in said for words in _NO_DAEMON):
        return ConnectError(
            "The Docker engine does not answer: %s" % _process.last_lines(stderr, 1),
            "Start it, or name its socket with docker_host",
            "systemctl start docker",
        )
    return None


def parse_compose_version(done: Completed) -> str:
    """Return the version that ``docker compose version --short`` printed.

    :raises ToolError: when that was no Compose of version 2 or later.
    """
    printed = done.stdout.decode("utf-8", "replace").strip().lstrip("v")
    found = re.match(r"(\d+)\.\d", printed)
    if done.status == 0 and found and int(found.group(1)) >= 2:
        return printed
    old = _process.find_program("docker-compose")
    raise ToolError(
        "Docker Compose v2 is not installed on this host%s"
        % (": %s is not the plugin `docker compose`" % old if old else ""),
        "Install the package docker-compose-plugin (from Docker) or docker-compose-v2 (Ubuntu)",
        "docker compose version",
    )


def exec_argv(
    container: Container, argv: Sequence[str], env_names: Sequence[str] = (), user: str | None = None
) -> list[str]:
    """Return the argument list that runs *argv* inside a container, its standard input passed on, without a terminal.

    :param env_names: variables whose values the client takes from its own environment, so that no argument holds them.
    """
    words = [*container.docker, "exec", "-i"]
    for name in env_names:
        words += ["-e", name]
    if user is not None:
        words += ["--user", user]
    return [*words, container.id, *argv]


def container_ip(document: dict[str, Any]) -> str:
    """Return the first address of a container that runs, empty when it has none."""
    networks = (document.get("NetworkSettings") or {}).get("Networks") or {}
    for name in sorted(networks):
        address = (networks[name] or {}).get("IPAddress") or (networks[name] or {}).get("GlobalIPv6Address")
        if address:
            return str(address)
    return ""
