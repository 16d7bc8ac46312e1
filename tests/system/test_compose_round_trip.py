# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compose projects in every layout: backup, loss of everything, rebuild on an empty host, restore over a living one.

The tests of this file build on each other, in their order, once per layout. One layout is reached over ssh.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

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

OVER_SSH = "2025.12"
# Of these the restores make their safety set.
SAVE_FIRST = ("named", OVER_SSH)
# Its neighbour on the same host is another authentik, which nothing may touch.
WITH_NEIGHBOUR = "2026.8"
NEIGHBOUR = "2025.10"
# A restore over the living instance, per way of keeping directories, and per way of reaching database and host.
LIVING = ("2023.10", "named", "external", OVER_SSH)


@pytest.fixture(scope="module", params=sorted(LAYOUTS))
def site(
    request: pytest.FixtureRequest, compose: Compose, ssh_key: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A running project; the tests of this module share it, in their order."""
    layout = LAYOUTS[request.param]
    root = tmp_path_factory.mktemp("site")
    made = Site(compose, layout, root, ssh_key if layout.name == OVER_SSH else None)
    made.saves_first = layout.name in SAVE_FIRST
    try:
        made.project.install()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def neighbour(site: Site) -> Iterator[Project | None]:
    """Another project on the same host, where this layout is the one that has it."""
    if site.project.layout.name != WITH_NEIGHBOUR:
        yield None
        return
    made = Project(site.compose, LAYOUTS[NEIGHBOUR])
    try:
        made.install(rows=20)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def pictures() -> dict[str, dict[str, list[str]]]:
    """What an instance held when its set was taken, for the tests after that."""
    return {}


def test_what_is_found_is_true(site: Site, neighbour: Project | None) -> None:
    project, layout = site.project, site.project.layout
    run = site.info(**_choice(site, neighbour))
    assert run.ok, run.output
    found = run.result
    assert found["deployment"] == "compose"
    assert found["missing"] == []
    assert found["secret_key_set"]
    assert found["installed_version"]["value"] == layout.version
    assert found["version"]["value"] == layout.version
    compose = found["compose"]
    assert (compose["name"], compose["directory"]) == (layout.project, str(project.folder))
    assert sorted(compose["files"]) == [str(project.folder / name) for name in layout.compose_files]
    inside = {image.removeprefix("docker.io/library/") for image in layout.images}
    outside = set() if "postgresql" in layout.services else {layout.images[0].removeprefix("docker.io/library/")}
    assert {image["reference"].removeprefix("docker.io/library/") for image in compose["images"]} == inside - outside
    database = found["postgresql"]
    assert (database["name"], database["user"], database["password_set"]) == (layout.database, layout.user, True)
    reached = (None, project.gateway) if layout.outside == "network" else (project.name_of(project.database), "")
    assert (database["container"], database["host"]) == reached
    assert (found["redis"] is not None) == ("redis" in layout.services)
    expected = {component: str(project.folder / source) for component, source in layout.binds.items()}
    expected.update({component: project.mountpoint(volume) for component, volume in layout.volumes.items()})
    assert {item["component"]: item["path"] for item in found["directories"]} == expected
    assert {(unit["role"], unit["name"], unit["active"]) for unit in found["units"]} == {
        (role, layout.services[role], True) for role in ("server", "worker")
    }


def test_backup_saves_every_component_and_leaves_nothing_behind(
    site: Site, neighbour: Project | None, pictures: dict[str, dict[str, list[str]]]
) -> None:
    before, around = oracle.picture(site.project), site.compose.leftovers()
    if neighbour:
        run = site.run("backup")
        told = failure(run)
        assert site.project.layout.project in told
        assert neighbour.layout.project in told
        assert "authentik_compose_project_name" in told
        pictures["neighbour"] = oracle.picture(neighbour)
    run = site.run("backup", **_choice(site, neighbour))
    assert run.ok, run.output
    (manifest,) = site.sets()
    layout = site.project.layout
    assert set(manifest["components"]) == layout.components
    assert manifest["instance"]["deployment"] == "compose"
    assert manifest["instance"]["authentik_version"]["value"] == layout.version
    assert layout.password not in run.output
    assert layout.secret_key not in run.output
    assert oracle.differences(before, oracle.picture(site.project)) == {}
    assert site.compose.leftovers() == around
    assert site.leftovers() == []
    pictures["site"] = before


def test_a_lost_project_is_rebuilt_from_its_set(
    site: Site, neighbour: Project | None, pictures: dict[str, dict[str, list[str]]]
) -> None:
    around = site.compose.leftovers()
    site.project.destroy()
    run = site.run("restore", rebuild=True, **_choice(site, neighbour))
    assert run.ok, run.output
    after = oracle.picture(site.project)
    assert oracle.differences(pictures["site"], after) == {}
    assert set(after["states"]) == {"%s running" % role for role in site.project.layout.services}
    assert site.project.logo() == (200, b"logo\n")
    assert [name for name in oracle.databases(site.project) if "_new_" in name] == []
    assert site.compose.leftovers() == around
    assert site.leftovers() == []


def test_check_mode_of_a_restore_changes_nothing(
    site: Site, neighbour: Project | None, pictures: dict[str, dict[str, list[str]]]
) -> None:
    around = site.compose.leftovers()
    run = site.run("restore", check=True, **_choice(site, neighbour))
    assert run.ok, run.output
    assert oracle.differences(pictures["site"], oracle.picture(site.project)) == {}
    assert site.compose.leftovers() == around


def test_restore_over_a_living_instance_goes_back_in_time(
    site: Site, pictures: dict[str, dict[str, list[str]]]
) -> None:
    if site.project.layout.name not in LIVING:
        return
    around = site.compose.leftovers()
    site.project.damage()
    site.project.run("stop", site.project.layout.services["worker"])
    run = site.run("restore")
    assert run.ok, run.output
    after = oracle.picture(site.project)
    assert oracle.differences(pictures["site"], after, leave_out=("states",)) == {}
    # What was stopped stays stopped.
    assert {role: state for role, state in site.project.states().items() if state != "running"} == {"worker": "exited"}
    left = [re.sub(r"(_|\.)before_?.*", "", name) for name in site.compose.leftovers() if name not in around]
    assert left == []
    assert site.leftovers() == []


def test_the_neighbour_is_as_it_was(
    site: Site, neighbour: Project | None, pictures: dict[str, dict[str, list[str]]]
) -> None:
    if neighbour:
        assert oracle.differences(pictures["neighbour"], oracle.picture(neighbour)) == {}


def _choice(site: Site, neighbour: Project | None) -> dict[str, Any]:
    return {"compose_project_name": site.project.layout.project} if neighbour else {}
