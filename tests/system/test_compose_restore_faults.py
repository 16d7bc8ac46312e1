# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores over a living project that lose the database, the engine or their controller on the way.

After each the project is as it was or can be taken back to that, and the next plain restore succeeds. The tests share
one project; each of them begins with what is live, and with a set of something older.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.compose_engine import Compose
from tests.support.playbook import Run
from tests.system import compose_oracle as oracle
from tests.system.compose_layouts import LAYOUTS
from tests.system.compose_site import Site, failure

pytestmark = pytest.mark.system

Picture = dict[str, list[str]]


@pytest.fixture(scope="module")
def running(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A project with Redis, whose containers the engine starts again when they end by themselves."""
    made = Site(compose, LAYOUTS["2025.2"], tmp_path_factory.mktemp("faults"))
    try:
        made.project.install(rows=30)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def saved(running: Site) -> Picture:
    """What the instance held when its set was made."""
    run = running.run("backup")
    assert run.ok, run.output
    return oracle.picture(running.project)


@pytest.fixture
def live(running: Site, saved: Picture) -> Picture:
    """What the instance holds, which is something else."""
    project = running.project
    project.psql("UPDATE authentik_core_user SET name = 'later';")
    project.look("cd /look/media/public && echo later > logo.txt && rm -r icons")
    project.redis("SET later than-the-set\nDEL celery")
    # A server that is killed skips numbers of the sequences that it has used since the last checkpoint.
    project.admin_psql("CHECKPOINT")
    return oracle.picture(project)


class Restore:
    """A restore that runs until something happens to it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.runs: list[Run] = []
        self._results = site.controller.work / "results.jsonl"
        self._results.unlink(missing_ok=True)
        self._thread = threading.Thread(target=lambda: self.runs.append(site.run("restore")))
        self._thread.start()

    def until_loading(self) -> None:
        """Wait until a copy of the database is being filled."""
        self._wait(lambda: any("_load_" in name for name in oracle.databases(self.site.project)))

    def until_done(self, task: str) -> None:
        """Wait until a task has ended."""
        self._wait(lambda: self._results.exists() and any(one["task"].endswith(task) for one in self._tasks()))

    def end(self) -> Run:
        """Wait for its end."""
        self._thread.join()
        return self.runs[0]

    def kill(self) -> None:
        """SIGKILL the controller's program, and nothing else."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                argv = (folder / "cmdline").read_bytes().split(b"\0")
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == os.getpid() and any(part.endswith(b"ansible-playbook") for part in argv):
                os.kill(int(folder.name), signal.SIGKILL)
        self.end()

    def _tasks(self) -> list[dict[str, str]]:
        # The last line may not be whole yet.
        return [json.loads(line) for line in self._results.read_text().split("\n")[:-1]]

    def _wait(self, happened: Callable[[], bool]) -> None:
        while not happened():
            if not self._thread.is_alive():
                raise RuntimeError("the restore ended before: %s" % self.runs[0].output)
            time.sleep(0.02)


def settle(site: Site) -> None:
    """What an operator does who finds the project down."""
    site.project.run("up", "--detach", "--wait")
    site.project.wait_until_ready()


def restored(site: Site, saved: Picture, known: list[str]) -> None:
    """The next plain restore succeeds, and nothing is left but what it kept itself."""
    run = site.run("restore")
    assert run.ok, run.output
    site.project.wait_until_ready()
    assert oracle.differences(saved, oracle.picture(site.project)) == {}
    kept = [name for name in oracle.databases(site.project) if name not in known]
    # What was live, and what a rollback took out of service: both until cleanup.
    assert [name for name in kept if "_before_" not in name and "_undone_" not in name] == []
    assert site.leftovers() == []


def test_a_database_that_crashes_while_its_copy_is_loaded(running: Site, saved: Picture, live: Picture) -> None:
    known = oracle.databases(running.project)
    restore = Restore(running)
    restore.until_loading()
    engine, container = running.compose.engine, running.project.database
    # As when the machine runs out of memory. The engine starts it again.
    os.kill(int(engine.run("inspect", "--format", "{{.State.Pid}}", container)), signal.SIGKILL)
    told = failure(restore.end())
    assert "Database: prepare" in told
    settle(running)
    assert oracle.differences(live, oracle.picture(running.project)) == {}
    restored(running, saved, known)


def test_a_database_that_was_killed_is_started_to_put_all_back(running: Site, saved: Picture, live: Picture) -> None:
    known = oracle.databases(running.project)
    restore = Restore(running)
    restore.until_loading()
    running.compose.engine.run("kill", running.project.database)
    told = failure(restore.end())
    assert "Database: prepare" in told
    assert "Everything was put back" in told
    assert set(running.project.states().values()) == {"running"}
    running.project.wait_until_ready()
    assert oracle.differences(live, oracle.picture(running.project)) == {}
    restored(running, saved, known)


def test_an_engine_that_is_restarted(running: Site, saved: Picture, live: Picture) -> None:
    known = oracle.databases(running.project)
    restore = Restore(running)
    restore.until_loading()
    running.compose.engine.restart()
    assert not restore.end().ok
    settle(running)
    assert oracle.differences(live, oracle.picture(running.project)) == {}
    restored(running, saved, known)


def test_a_controller_that_is_killed_between_two_swaps(running: Site, saved: Picture, live: Picture) -> None:
    known = oracle.databases(running.project)
    restore = Restore(running)
    restore.until_done("Database: swap")
    restore.kill()
    assert running.project.states()["server"] == "exited"
    run = running.run("rollback")
    assert run.ok, run.output
    running.project.wait_until_ready()
    assert oracle.differences(live, oracle.picture(running.project)) == {}
    restored(running, saved, known)
