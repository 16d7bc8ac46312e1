# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The restore playbook with a database under another name: nothing else is touched, and the last lines say enough."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from tests.demo.instance import Picture
from tests.support import oracle
from tests.support.site import Site, differences, leave, shown

LOOK = "authentik_look"
GIVEN: dict[str, Any] = {"components": ["postgresql"], "postgresql_restore_as": LOOK}


@pytest.fixture(scope="module")
def present(site: Site) -> tuple[Picture, Picture]:
    """What the instance held when its set was made, and what it holds now."""
    before = site.instance.picture()
    run = site.run("backup")
    assert run.ok, run.output
    leave(site)
    return before, site.instance.picture()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"components": []}, "restores the database and nothing else"),
        ({"components": ["postgresql", "media"]}, "It would be postgresql, media."),
        ({"rebuild": True}, "authentik_rebuild makes one"),
        ({"postgresql_databases": ["authentik", "wiki"]}, "Restore them one by one"),
        ({"postgresql_restore_as": "authentik"}, "authentik_postgresql_restore_as 'authentik' is the name of a live"),
        ({"postgresql_restore_as": "postgres"}, "choose another name with authentik_postgresql_restore_as"),
    ],
)
def test_what_makes_no_sense_is_refused(
    site: Site, present: tuple[Picture, Picture], variables: dict[str, Any], message: str
) -> None:
    run = site.run("restore", **{**GIVEN, **variables})
    assert not run.ok
    assert message in run.failures[-1].result["msg"], run.output
    assert site.leftovers() == []


def test_the_database_is_restored_beside_and_nothing_else_is_touched(
    site: Site, present: tuple[Picture, Picture]
) -> None:
    before, now = present
    server = site.instance.postgres
    run = site.run("restore", check=True, **GIVEN)
    assert run.ok, run.output
    assert "database authentik is not touched, and no service is stopped" in shown(run)
    assert site.leftovers() == []

    run = site.run("restore", **GIVEN)

    assert run.ok, run.output
    assert run.of("authentik_services") == []
    assert site.leftovers() == [LOOK]
    assert oracle.differences(before.database, oracle.take(server, LOOK)) == []
    assert differences(now, site.instance.picture()) == []
    said = shown(run)
    assert "as %s:" % LOOK in said
    drop = said.splitlines()[-1]
    server.psql(shlex.split(drop)[-1])
    assert site.leftovers() == []


def test_a_restore_tells_for_how_long_nobody_could_connect(site: Site, present: tuple[Picture, Picture]) -> None:
    run = site.run("restore", components=["postgresql"])
    assert run.ok, run.output
    (line,) = [line for line in shown(run).splitlines() if "nobody could connect" in line]
    assert 0 < float(line.split()[-2]) < 10, line
