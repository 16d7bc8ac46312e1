# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compose hosts on which something is wrong: each is told by its name, and nothing is lost or left behind.

The tests of this file share one project, which each of them leaves as it was.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.compose_ssh_host import ComposeHost
from tests.support.playbook import Controller
from tests.system import compose_oracle as oracle
from tests.system.compose_layouts import LAYOUTS
from tests.system.compose_site import NAME, Site, failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.compose_engine import Compose
    from tests.support.playbook import Run

pytestmark = pytest.mark.system

VOLUME = "stack7_database"


@pytest.fixture(scope="module")
def disk(compose: Compose) -> Iterator[Path]:
    """A small file system of its own, on which the volume of the database is."""
    where = compose.engine.folder / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(where)], check=True)
    (where / "volume").mkdir()
    try:
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True)


@pytest.fixture(scope="module")
def running(compose: Compose, disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A project that runs."""
    made = Site(compose, LAYOUTS["2025.10"], tmp_path_factory.mktemp("site"))
    make_volume(compose, disk)
    try:
        made.project.install(rows=20)
        yield made
    finally:
        made.close()


def make_volume(compose: Compose, disk: Path) -> None:
    """Make the volume of the database; what it held before is in it again."""
    options = ["--opt=type=none", "--opt=o=bind", "--opt=device=%s" % (disk / "volume")]
    labels = ["--label=com.docker.compose.project=stack7", "--label=com.docker.compose.volume=database"]
    compose.engine.run("volume", "create", *options, *labels, VOLUME)


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    """The project, which has to be as it was after the test, with nothing besides."""
    before, around = oracle.picture(running.project), running.compose.leftovers()
    yield running
    running.project.run("up", "--detach")
    running.project.wait_until_ready()
    assert oracle.differences(before, oracle.picture(running.project)) == {}
    assert running.compose.leftovers() == around
    assert running.leftovers() == []
    assert running.sets() == []


def test_an_engine_that_does_not_run(site: Site, tmp_path: Path) -> None:
    run = site.run("backup", docker_host="unix://%s" % (tmp_path / "none.sock"))
    told = failure(run)
    assert "engine does not answer" in told
    assert "none.sock" in told


def test_a_user_without_access_to_the_engine(site: Site, ssh_key: Path, tmp_path: Path) -> None:
    host = ComposeHost(site.compose, ssh_key)
    controller = Controller(tmp_path, {NAME: {**host.variables, "ansible_become": False}})
    try:
        run = controller.playbook("playbooks/backup.yml", {"authentik_store": str(site.store)})
        told = failure(run)
        assert "may not use the Docker engine" in told
        assert "become" in told
        assert host.leftovers() == []
    finally:
        controller.close()
        host.close()


def test_a_host_that_has_only_compose_of_before_version_2(site: Site, tmp_path: Path) -> None:
    old = tmp_path / "docker-compose"
    old.write_text("#!/bin/sh\necho 'docker-compose version 1.29.2, build unknown'\n")
    old.chmod(0o755)
    path = "%s:%s" % (tmp_path, os.environ["PATH"])
    run = site.run("backup", shell={"DOCKER_CONFIG": str(tmp_path), "PATH": path})
    told = failure(run)
    assert "Docker Compose v2 is not installed on this host: %s is not the plugin" % old in told
    assert "Install the package docker-compose-plugin" in told


def test_a_volume_that_is_missing(site: Site, disk: Path) -> None:
    # Nothing is made in its place by looking for it, and no empty database is saved.
    site.project.run("down", "--timeout", "10")
    site.compose.engine.run("volume", "rm", VOLUME)
    folder = str(site.project.folder)
    around = site.compose.leftovers()
    try:
        told = failure(site.run("backup", compose_project_directory=folder, compose_env_files=["stack.env"]))
        assert "postgresql" in told
        assert "has no container" in told
        assert site.compose.leftovers() == around
    finally:
        make_volume(site.compose, disk)


def test_a_database_that_is_killed_while_it_is_dumped(site: Site) -> None:
    container = site.project.container("postgresql")
    # A server that is killed skips numbers of the sequences that it has used since the last checkpoint.
    site.project.admin_psql("CHECKPOINT")
    runs: list[Run] = []
    dumping = threading.Thread(target=lambda: runs.append(site.run("backup")))
    dumping.start()
    try:
        os.kill(pg_dump_in(container, dumping), signal.SIGSTOP)
        begun = list(site.store.glob("%s/*.partial" % NAME))
    finally:
        # Whatever was stopped in it goes too.
        site.compose.engine.run("kill", container)
        dumping.join()
    assert begun
    told = failure(runs[0])
    assert "Save the database" in told
    assert re.search("exit status 137|server closed the connection|is not running", told), told
    assert "Nothing of this backup was kept" in told
    assert site.project.states() == {"server": "running", "worker": "running", "postgresql": "exited"}


def pg_dump_in(container: str, during: threading.Thread) -> int:
    """The process id of the container's pg_dump that reads all data, as soon as it runs.

    The kernel is asked: on a busy machine it is over before the engine has answered.
    """
    while during.is_alive():
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                program, *arguments = (process / "cmdline").read_bytes().split(b"\0")
                reads_all = program.rpartition(b"/")[2] == b"pg_dump" and b"--format=custom" in arguments
                if reads_all and container in (process / "cgroup").read_text():
                    return int(process.name)
    raise RuntimeError("pg_dump did not run")


def test_a_project_that_is_not_there(site: Site) -> None:
    run = site.run("backup", compose_project_name="authentic")
    told = failure(run)
    assert "authentic" in told
    assert site.project.layout.project in told


def test_a_database_that_was_stopped(site: Site) -> None:
    site.project.run("stop", "postgresql")
    run = site.run("backup")
    told = failure(run)
    assert "postgresql" in told
    assert "not running" in told or "does not run" in told
    assert site.project.states()["postgresql"] == "exited"


def test_a_database_that_starts_over_and_over(site: Site) -> None:
    engine, container = site.compose.engine, site.project.container("postgresql")
    settings = "/var/lib/postgresql/data/postgresql.auto.conf"
    site.project.inside(container, "sh", "-c", "echo 'port = nonsense' >>%s" % settings)
    engine.run("restart", "--time", "10", container)
    try:
        run = site.run("backup")
        told = failure(run)
        assert "restarting" in told or "does not run" in told or "not running" in told
        assert "postgresql" in told
    finally:
        volume = "%s:/var/lib/postgresql/data" % site.project.layout.data_volumes[0]
        engine.run("run", "--rm", "--volume", volume, "recovery-bookworm", "sed", "-i", "/nonsense/d", settings)
        engine.run("restart", container)


def test_servers_that_do_not_run_do_not_keep_a_backup_away(site: Site) -> None:
    # Somebody who wants a set before a repair.
    site.project.run("stop", "server", "worker")
    run = site.run("backup", store=str(site.store.with_name("before a repair")))
    assert run.ok, run.output
    assert site.project.states() == {"server": "exited", "worker": "exited", "postgresql": "running"}


def test_an_env_file_that_is_gone(site: Site) -> None:
    path = site.project.folder / "stack.env"
    kept = path.rename(path.with_name("elsewhere"))
    try:
        run = site.run("backup")
        told = failure(run)
        assert "PG_PASS" in told
        assert "compose_env_files" in told
        assert "stack.env, not on this host" in " ".join(run.output.split())
    finally:
        kept.rename(path)


def test_a_password_that_is_not_that_of_the_kept_volume(site: Site) -> None:
    # The database lets its own container in; authentik itself is what does not come up after a restore.
    path = site.project.folder / "stack.env"
    text = path.read_text()
    path.write_text(text.replace("stack-password", "another"))
    try:
        site.project.run("up", "--detach", "--no-deps", "server", "worker")
        run = site.run("backup", store=str(site.store.with_name("wrong password")))
        assert run.ok, run.output
        before, around = oracle.picture(site.project), site.compose.leftovers()
        run = site.run(
            "restore", store=str(site.store.with_name("wrong password")), services_timeout=10, components=["postgresql"]
        )
        told = failure(run)
        assert "password authentication failed" in told
        assert told.count("password authentication failed") < 8, "each thing that was said is told once"
        # The server is as it was before, and so it still cannot be waited for: its worker is left alone.
        assert oracle.differences(before, oracle.picture(site.project), leave_out=("states",)) == {}
        assert site.compose.leftovers() == around
    finally:
        path.write_text(text)


def test_a_disk_that_is_full_where_the_database_is(site: Site, disk: Path) -> None:
    store = str(site.store.with_name("full"))
    run = site.run("backup", store=store)
    assert run.ok, run.output
    before, known = oracle.picture(site.project), oracle.databases(site.project)
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with filler.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, free - 4 * 2**20)
    try:
        run = site.run("restore", store=store)
    finally:
        filler.unlink()
    told = failure(run)
    assert "needs about" in told
    assert "MiB free" in told
    assert oracle.differences(before, oracle.picture(site.project)) == {}
    assert oracle.databases(site.project) == known
