# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine's client: which engine is asked, what its failures mean, and that no argument holds a secret."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _docker
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Container
from ansible_collections.authentik_ops.recovery.plugins.module_utils._docker import Docker
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    IntegrityError,
    ToolError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._process import Completed

CONTAINER = Container(("/usr/bin/docker", "--host", "unix:///x"), "4f5e", "ak-postgresql-1")


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that stands for the client; tests write its body."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "docker"


def script(path: Path, body: str) -> None:
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)


OPTIONS: list[tuple[str | None, dict[str, str], list[str]]] = [
    (None, {}, []),
    ("unix:///run/x.sock", {"DOCKER_HOST": "unix:///other"}, ["--host", "unix:///run/x.sock"]),
    (None, {"DOCKER_HOST": "unix:///run/user/1000/docker.sock"}, ["--host", "unix:///run/user/1000/docker.sock"]),
    (None, {"DOCKER_HOST": "unix:///a", "DOCKER_CONTEXT": "b"}, ["--host", "unix:///a"]),
    (None, {"DOCKER_CONTEXT": "rootless"}, ["--context", "rootless"]),
    (None, {"DOCKER_CONFIG": "/srv/docker"}, ["--config", "/srv/docker"]),
    ("", {"DOCKER_HOST": ""}, []),
]


@pytest.mark.parametrize(("host", "environment", "options"), OPTIONS)
def test_the_engine_that_the_user_means_is_asked(
    host: str | None, environment: dict[str, str], options: list[str]
) -> None:
    assert _docker.client_options(host, environment) == options


def test_a_host_without_docker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_docker._process, "find_program", lambda name: None)
    with pytest.raises(ToolError, match="docker is not installed"):
        Docker()


PROBLEMS = [
    (
        "Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
        "group docker",
    ),
    (
        "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock",
        "group docker",
    ),
    ("Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?", "Start it"),
    ("error during connect: Get http://x/v1.24/version: dial tcp: lookup x: no such host", "Start it"),
]


@pytest.mark.parametrize(("said", "hint"), PROBLEMS)
def test_an_engine_that_cannot_be_reached_is_no_failed_command(client: Path, said: str, hint: str) -> None:
    script(client, "echo '%s' >&2; exit 1\n" % said)
    with pytest.raises(ConnectError) as caught:
        Docker().run(["ps"], check=False)
    assert hint in caught.value.hint
    assert said[:30] in caught.value.cause


def test_an_engine_that_hangs_does_not_hang_the_discovery(client: Path) -> None:
    script(client, "exec sleep 60\n")
    with pytest.raises(ConnectError, match="does not answer"):
        Docker().ping(timeout=0.5)


def test_podman_under_the_name_of_docker_is_told(client: Path) -> None:
    script(client, "echo 'Emulate Docker CLI using podman.' >&2; echo 4.9.3\n")
    with pytest.raises(ConnectError, match="Podman's here, which is not supported yet"):
        Docker().ping()


def test_the_address_of_the_engine(client: Path) -> None:
    script(client, "echo ssh://elsewhere\n")
    assert Docker().address() == "ssh://elsewhere"
    assert Docker("unix:///x").address() == "unix:///x"


def test_another_failure_carries_the_last_words(client: Path) -> None:
    script(client, "echo 'Error: disk is on fire' >&2; exit 5\n")
    with pytest.raises(ToolError, match="exit status 5: Error: disk is on fire"):
        Docker().run(["pull", "x"])


COMPOSE = [
    (0, b"2.26.1-4\n", None),
    (0, b"v2.5.0\n", None),
    (0, b"5.0.1\n", None),
    (0, b"1.29.2\n", "not installed"),
    (125, b"", "not installed"),
]


@pytest.mark.parametrize(("status", "printed", "error"), COMPOSE)
def test_compose_before_2_is_refused(status: int, printed: bytes, error: str | None) -> None:
    done = Completed(["docker"], status, printed, "docker: 'compose' is not a docker command.")
    if error is None:
        assert _docker.parse_compose_version(done) == printed.decode().strip().lstrip("v")
        return
    with pytest.raises(ToolError, match=error) as caught:
        _docker.parse_compose_version(done)
    assert "docker-compose-plugin" in caught.value.hint


def test_a_container_that_has_gone_meanwhile_hides_no_other(client: Path) -> None:
    script(
        client,
        """case $1 in
ps) echo one; echo two;;
inspect) echo '[{"Id": "one"}]'; echo 'Error: No such container: two' >&2; exit 1;;
esac
""",
    )
    assert Docker().containers("label=x") == [{"Id": "one"}]


def test_an_inspect_that_fails_is_not_an_empty_host(client: Path) -> None:
    script(client, "echo '[]'; echo 'Error response from daemon: layer does not exist' >&2; exit 1\n")
    with pytest.raises(ToolError, match="layer does not exist"):
        Docker().inspect("image", ["x"])


def test_values_of_variables_are_in_no_argument() -> None:
    argv = _docker.exec_argv(CONTAINER, ["psql", "-X"], env_names=["PGPASSWORD"], user="postgres")
    assert argv == [
        *("/usr/bin/docker", "--host", "unix:///x", "exec", "-i", "-e", "PGPASSWORD"),
        *("--user", "postgres", "4f5e", "psql", "-X"),
    ]


def tar_of(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def test_files_of_a_container_are_read_by_their_path_in_it(client: Path) -> None:
    (client.parent / "tar").write_bytes(tar_of({"authentik/config.yml": b"a: 1", "authentik/config.d/b.yml": b"b: 2"}))
    script(client, 'exec cat "${0%/*}/tar"\n')
    assert Docker().read_files("4f5e", "/etc/authentik") == {
        "/etc/authentik/config.yml": b"a: 1",
        "/etc/authentik/config.d/b.yml": b"b: 2",
    }
    (client.parent / "tar").write_bytes(tar_of({"secret": b"word\n"}))
    assert Docker().read_files("4f5e", "/run/secrets/secret") == {"/run/secrets/secret": b"word\n"}


def test_no_file_in_a_container_is_none_but_a_failure_is_one(client: Path) -> None:
    script(client, "echo 'Error response from daemon: Could not find the file /x in container 4f5e' >&2; exit 1\n")
    assert Docker().read_files("4f5e", "/x") == {}
    script(client, "echo 'Error response from daemon: input/output error' >&2; exit 1\n")
    with pytest.raises(ToolError, match="input/output error"):
        Docker().read_files("4f5e", "/x")
    script(client, "exit 0\n")
    with pytest.raises(ToolError, match="broken archive"):
        Docker().read_files("4f5e", "/x")


def test_a_huge_file_of_a_container_is_not_read_into_memory(client: Path) -> None:
    (client.parent / "tar").write_bytes(tar_of({"big": b"x" * 5000}))
    script(client, 'exec cat "${0%/*}/tar"\n')
    with pytest.raises(IntegrityError, match="more than 1000 bytes"):
        Docker().read_files("4f5e", "/big", limit=1000)


ADDRESSES = [
    ({"ak_default": {"IPAddress": "172.18.0.3"}}, "172.18.0.3"),
    ({"b": {"IPAddress": "10.0.0.2"}, "a": {"IPAddress": ""}}, "10.0.0.2"),
    ({"v6": {"IPAddress": "", "GlobalIPv6Address": "fd00::2"}}, "fd00::2"),
    ({"stopped": {"IPAddress": ""}}, ""),
    (None, ""),
]


@pytest.mark.parametrize(("networks", "address"), ADDRESSES)
def test_the_address_of_a_container(networks: dict[str, dict[str, str]] | None, address: str) -> None:
    assert _docker.container_ip({"NetworkSettings": {"Networks": networks}}) == address
