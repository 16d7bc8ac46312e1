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
    from pathlib import Path

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
def with_secret(site: Site) -> Path:
    """Another store, with a set of the project after it got a secret that its operator's shell has."""
    override = site.project.folder / "docker-compose.override.yml"
    kept = override.read_text()
    text = kept.replace("  server:\n", "  server:\n    secrets: [shell]\n")
    override.write_text(text + "secrets:\n  shell: {environment: SSO_SECRET}\n")
    site.compose.run(site.project.folder, ["up", "--detach"], env={"SSO_SECRET": "first"})
    site.project.wait_until_ready()
    store = site.store.with_name("with secret")
    run = site.run("backup", store=str(store))
    assert run.ok, run.output
    assert "SSO_SECRET of whoever runs Compose" in " ".join(run.output.split())
    override.write_text(kept)
    site.project.run("up", "--detach")
    site.project.wait_until_ready()
    return store


@pytest.fixture(scope="module")
def picture(site: Site, with_secret: Path) -> dict[str, list[str]]:
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


def test_a_secret_of_the_shell_is_asked_for_by_name(
    site: Site, with_secret: Path, picture: dict[str, list[str]]
) -> None:
    around = site.compose.leftovers()
    told = failure(site.run("restore", store=str(with_secret), rebuild=True))
    assert "SSO_SECRET" in told
    assert "authentik_rebuild_env" in told
    assert site.compose.leftovers() == around


def test_a_rebuild_of_which_nothing_is_started_is_complete(
    site: Site, with_secret: Path, picture: dict[str, list[str]]
) -> None:
    values = {"SSO_SECRET": 'it\'s the "second" $1'}
    run = site.run("restore", store=str(with_secret), rebuild=True, manage_services=False, rebuild_env=values)
    assert run.ok, run.output
    assert values["SSO_SECRET"] not in run.output
    project = site.project
    began = {"server": "created", "worker": "created", "postgresql": "running", "redis": "running"}
    assert project.states() == began
    told = "\n".join(str(result.result.get("msg", "")) for result in run.of("debug"))
    command = "docker compose --project-name %s start" % LAYOUT.project
    assert command in told
    # As it is told, from anywhere.
    site.compose.run(site.compose.projects, command.split()[2:])
    project.wait_until_ready()
    after = oracle.picture(project)
    assert oracle.differences(picture, after, leave_out=("configuration",)) == {}
    assert project.inside(project.container("server"), "cat", "/run/secrets/shell") == values["SSO_SECRET"]
    project.destroy()


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
