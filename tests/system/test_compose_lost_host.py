# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A compose host whose database was stopped, and one on which nothing is left: restored, failed half-way, taken back.

The tests of this file build on each other, in their order.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.compose_engine import get
from tests.support.hosts import free_port
from tests.system import compose_oracle as oracle
from tests.system.compose_layouts import LAYOUTS
from tests.system.compose_site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.compose_engine import Compose
    from tests.support.playbook import Run

pytestmark = pytest.mark.system

ANOTHER = "an0ther 'pa$$word' \\ with #"
ROLLBACK = re.compile(r"authentik_ops\.recovery\.rollback .*-e authentik_restore_id=(\S+)")


@pytest.fixture(scope="module")
def site(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A project with Redis."""
    made = Site(compose, LAYOUTS["2023.10"], tmp_path_factory.mktemp("lost"))
    try:
        made.project.install(rows=30)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def before(site: Site) -> dict[str, list[str]]:
    """What the instance held when its set was taken. It runs on."""
    run = site.run("backup")
    assert run.ok, run.output
    return oracle.picture(site.project)


@pytest.fixture(scope="module")
def lost(site: Site, before: dict[str, list[str]]) -> list[str]:
    """What is on the host after the project is gone."""
    site.project.destroy()
    shutil.rmtree(site.compose.engine.folder / "work", ignore_errors=True)
    return everything(site)


def everything(site: Site) -> list[str]:
    """Containers, volumes, networks, folders, and what modules left on the host but the records of past restores."""
    work = site.compose.engine.folder / "work"
    past: set[Path] = set()
    for record in work.glob("*/restore.json"):
        if json.loads(record.read_text())["state"] in ("put_back", "undone"):
            past.update((record, record.with_name("manifest.json"), record.parent))
    kept = [str(path) for path in work.rglob("*") if path not in past]
    return sorted([*site.compose.leftovers(), *kept, *site.leftovers()])


def told(run: Run) -> str:
    """All that was said: failures and what debug showed."""
    said = [result.result.get("msg", "") for result in [*run.of("debug"), *run.failures]]
    return "\n".join("\n".join(text) if isinstance(text, list) else str(text) for text in said)


def undo(site: Site, run: Run) -> Run:
    """Do what a restore's last line tells."""
    found = ROLLBACK.findall(told(run))
    assert found, run.output
    return site.run("rollback", restore_id=found[-1])


def test_a_database_that_was_stopped_is_started_for_a_restore(site: Site, before: dict[str, list[str]]) -> None:
    around = everything(site)
    site.project.run("stop")
    run = site.run("restore", check=True)
    assert run.ok, run.output
    assert "service postgresql, which does not run, is started" in told(run)
    assert "what else would be done can be told once it is started" in told(run)
    assert set(site.project.states().values()) == {"exited"}
    # A restore that is refused leaves it as it was found.
    run = site.run("restore", postgresql_databases=["nothing"])
    assert not run.ok
    assert "Everything was put back" in told(run)
    assert set(site.project.states().values()) == {"exited"}
    assert everything(site) == around
    run = site.run("restore")
    assert run.ok, run.output
    states = site.project.states()
    assert (states["postgresql"], states["redis"], states["server"]) == ("running", "running", "exited")
    site.project.run("up", "--detach")
    site.project.wait_until_ready()
    assert oracle.differences(before, oracle.picture(site.project)) == {}


def test_a_volume_that_was_kept_is_not_restored_into(site: Site, lost: list[str]) -> None:
    engine = site.compose.engine
    engine.run("volume", "create", "authentik_database")
    try:
        around = everything(site)
        run = site.run("restore", rebuild=True)
        assert not run.ok
        assert "volume authentik_database" in told(run)
        assert "without authentik_rebuild" in told(run)
        assert "What was made of the project was removed" in told(run)
        assert everything(site) == around
    finally:
        engine.run("volume", "rm", "authentik_database")


def test_a_server_that_does_not_come_up_leaves_an_empty_host(site: Site, lost: list[str]) -> None:
    run = site.run("restore", rebuild=True, health_url="http://127.0.0.1:%d/" % free_port(), services_timeout=20)
    assert not run.ok
    assert "did not become ready" in told(run)
    assert "What was made of the project was removed" in told(run)
    assert everything(site) == lost


def test_rebuilt_and_taken_away_again(site: Site, before: dict[str, list[str]], lost: list[str]) -> None:
    run = site.run("restore", rebuild=True)
    assert run.ok, run.output
    assert oracle.differences(before, oracle.picture(site.project)) == {}
    assert "The compose project authentik was made in %s" % site.project.folder in told(run)
    gone = undo(site, run)
    assert gone.ok, gone.output
    assert everything(site) == lost
    again = undo(site, run)
    assert again.ok, again.output
    assert "left to undo" in told(again)


def test_the_folder_of_a_rebuilt_project_is_enough_for_its_operator(site: Site, lost: list[str]) -> None:
    folder, port = site.compose.projects / "deep" / "drill", free_port()
    values = {"PG_PASS": ANOTHER, "COMPOSE_PORT_HTTP": "127.0.0.1:%d" % port, "NEW": "1"}
    given: dict[str, Any] = {"rebuild_directory": str(folder), "rebuild_project_name": "other", "rebuild_env": values}
    run = site.run("restore", rebuild=True, **given)
    assert run.ok, run.output
    assert ANOTHER not in run.output
    engine = site.compose.engine
    names = engine.run("ps", "--format", "{{.Names}}").split()
    assert sorted(names) == ["other-%s-1" % role for role in sorted(site.project.layout.services)]
    assert get("http://127.0.0.1:%d/media/public/logo.txt" % port) == (200, b"logo\n")
    config = json.loads(site.compose.run(folder, ["config", "--format", "json"]))
    assert config["name"] == "other"
    assert config["services"]["server"]["environment"]["NEW"] == "1"
    # Its operator finds nothing that Compose would make anew.
    ids = engine.run("ps", "--quiet")
    site.compose.run(folder, ["up", "--detach"])
    assert engine.run("ps", "--quiet") == ids
    # A backup of what was made needs nothing.
    saved = site.run("backup", instance="other")
    assert saved.ok, saved.output
    gone = undo(site, run)
    assert gone.ok, gone.output
    assert everything(site) == lost
