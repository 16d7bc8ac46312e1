# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rebuild of a compose project elsewhere, and rebuilds that have to be refused; nothing of these may stay behind.

The tests of this file build on each other, in their order.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.system import compose_oracle as oracle
from tests.system.compose_layouts import LAYOUTS
from tests.system.compose_project import Project
from tests.system.compose_site import Site, failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.compose_engine import Compose

pytestmark = pytest.mark.system

LAYOUT = LAYOUTS["2025.2"]
SERVER = LAYOUT.images[-1]
ELSEWHERE = replace(
    LAYOUT,
    folder="new place/of sso",
    project="moved",
    password="n€w 'pass' \"word\" $1 #2 \\n",
    secret_key=LAYOUT.secret_key,
    data_volumes=("moved_database", "moved_redis"),
)


@pytest.fixture(scope="module")
def site(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A store with the set of a project that is lost."""
    made = Site(compose, LAYOUT, tmp_path_factory.mktemp("site"))
    try:
        made.project.install(rows=20)
        run = made.run("backup")
        assert run.ok, run.output
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def picture(site: Site) -> dict[str, list[str]]:
    """What the project held; it is destroyed after that."""
    taken = oracle.picture(site.project)
    site.project.destroy()
    return taken


@pytest.fixture(scope="module")
def elsewhere(site: Site) -> Iterator[Project]:
    """The project that is made of the set, in another place, under another name."""
    made = Project(site.compose, ELSEWHERE)
    made.http_port = site.project.http_port
    yield made
    made.close()


def test_check_mode_lays_nothing_down(site: Site, picture: dict[str, list[str]]) -> None:
    around = site.compose.leftovers()
    run = site.run("restore", check=True, rebuild=True)
    assert run.ok, run.output
    assert "docker-compose.override.yml" in run.output
    assert site.compose.leftovers() == around


def test_an_image_that_is_nowhere_is_named(site: Site, picture: dict[str, list[str]]) -> None:
    around = site.compose.leftovers()
    site.compose.engine.run("tag", SERVER, "kept")
    site.compose.engine.run("rmi", SERVER)
    try:
        run = site.run("restore", rebuild=True)
    finally:
        site.compose.engine.run("tag", "kept", SERVER)
        site.compose.engine.run("rmi", "kept")
    told = failure(run)
    assert SERVER in told
    assert site.compose.leftovers() == around
    assert site.leftovers() == []


def test_another_release_is_refused_and_leaves_nothing(site: Site, picture: dict[str, list[str]]) -> None:
    around = site.compose.leftovers()
    site.compose.images.need("ghcr.io/goauthentik/server:2025.6.1")
    run = site.run("restore", rebuild=True, rebuild_env={"AUTHENTIK_TAG": "2025.6.1"})
    told = failure(run)
    assert "2025.6.1" in told
    assert LAYOUT.version in told
    assert site.compose.leftovers() == around
    assert site.leftovers() == []


def test_a_port_that_another_program_has_undoes_everything(site: Site, picture: dict[str, list[str]]) -> None:
    around = site.compose.leftovers()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = "127.0.0.1:%d" % taken.getsockname()[1]
        run = site.run("restore", rebuild=True, rebuild_env={"COMPOSE_PORT_HTTP": port})
    told = failure(run)
    assert port in told
    assert site.compose.leftovers() == around
    assert site.leftovers() == []


def test_a_project_is_rebuilt_elsewhere_with_another_password(
    site: Site, elsewhere: Project, picture: dict[str, list[str]]
) -> None:
    run = site.run(
        "restore",
        rebuild=True,
        rebuild_directory=str(elsewhere.folder),
        rebuild_project_name=ELSEWHERE.project,
        rebuild_env={"PG_PASS": ELSEWHERE.password, "AUTHENTIK_WEB__BASE_URL": "https://new.example.org"},
    )
    assert run.ok, run.output
    assert ELSEWHERE.password not in run.output
    after = oracle.picture(elsewhere)
    assert oracle.differences(picture, after, leave_out=("configuration",)) == {}
    shown = "{{range .Config.Env}}{{println .}}{{end}}"
    for role in ("server", "worker"):
        environment = site.compose.engine.run("inspect", "--format", shown, elsewhere.container(role)).splitlines()
        assert "AUTHENTIK_POSTGRESQL__PASSWORD=%s" % ELSEWHERE.password in environment
        assert "AUTHENTIK_WEB__BASE_URL=https://new.example.org" in environment
    assert sorted(name for name in site.compose.leftovers() if name.startswith("volume ")) == [
        "volume moved_database",
        "volume moved_redis",
    ]
    assert not site.project.folder.exists()


def test_a_project_that_is_there_is_not_rebuilt(site: Site, elsewhere: Project) -> None:
    around, before = site.compose.leftovers(), oracle.picture(elsewhere)
    run = site.run(
        "restore",
        rebuild=True,
        rebuild_directory=str(elsewhere.folder),
        rebuild_project_name=ELSEWHERE.project,
    )
    told = failure(run)
    assert ELSEWHERE.project in told
    assert site.compose.leftovers() == around
    assert oracle.differences(before, oracle.picture(elsewhere)) == {}
