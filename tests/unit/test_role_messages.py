# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the restore says: the command to go back, the plan, and what an undo did not bring back."""

from __future__ import annotations

from typing import Any

import pytest
from ansible import constants
from ansible.template import trust_as_template

from tests.unit.test_role_variables import LEARNT, ROOT, engine

CHOSEN: dict[str, Any] = LEARNT["restore"]["restore_set"]
LEFT = " stays as it is: of a database before this restore there is nothing to go back to"


def said(name: str, **known: Any) -> Any:
    return engine("restore", **known).template(trust_as_template("{{ %s }}" % name))


@pytest.mark.parametrize(
    ("sources", "typed"),
    [
        (["/etc/ansible/inv.yml"], "rollback -i /etc/ansible/inv.yml --limit sso"),
        (["/srv/my hosts", "db,"], "rollback -i '/srv/my hosts' -i db, --limit sso"),
        (constants.config.get_config_value("DEFAULT_HOST_LIST"), "rollback --limit sso"),
    ],
)
def test_the_way_back_names_the_inventory_that_was_given(sources: list[str], typed: str) -> None:
    assert typed in said("__restore_undo_command", ansible_inventory_sources=sources)


def test_the_plan_names_variables_and_sets_that_were_passed_over() -> None:
    chosen = {**CHOSEN, "problems": [{"name": "20261123T000000Z-0000", "reason": "damaged", "unfinished": False}]}
    plan = said(
        "__restore_plan",
        restore_set=chosen,
        restore_info={"deployment": "host"},
        restore_services_check={"was_active": []},
        restore_config={"plan": ["config: left as it is, since overwrite is false"]},
    )
    assert plan == [
        "set: 20261122T031500Z-7f3a is the latest; newer, and not usable: 20261123T000000Z-0000",
        "safety set: certs",
        "safety set: 1.9 MiB are free in the store",
        "config: left as it is, since authentik_overwrite_config is false",
    ]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"authentik_safety_set": "false"}, ["safety set: none is made, as authentik_safety_set says"]),
        ({"authentik_rebuild": True}, ["safety set: none is made, since the project is made anew"]),
        ({"restore_safety": {"components": [], "plan": ["safety set: none"]}}, ["safety set: none"]),
    ],
)
def test_the_plan_says_why_no_safety_set_is_made(known: dict[str, Any], expected: list[str]) -> None:
    assert said("__restore_safety_plan", **known) == expected


def test_the_plan_says_that_a_set_is_a_safety_set_and_which_ones_latest_passed_over() -> None:
    (one,) = CHOSEN["sets"]
    later = {"id": "20261124T120001Z-0000"}
    assert said("__restore_passed_over", restore_set={**CHOSEN, "safety_sets": [later]}) == [
        "set: 20261122T031500Z-7f3a is the latest backup; newer, and passed over since restores replaced what they "
        "hold: 20261124T120001Z-0000"
    ]
    safety = {**CHOSEN, "sets": [{**one, "restore_id": "20261124T120000Z-0a1b"}], "safety_sets": []}
    assert said("__restore_passed_over", restore_set=safety) == [
        "set: 20261122T031500Z-7f3a is a safety set, of the state before the restore 20261124T120000Z-0a1b"
    ]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"restore_swapped": True}, ["postgresql: authentik stays as it is: of a database before this restore"]),
        ({"restore_swapped": False}, []),
        ({"restore_swapped": True, "restore_undo_config": {"changed": True}}, []),
    ],
)
def test_a_database_that_there_was_none_before_is_named(known: dict[str, Any], expected: list[str]) -> None:
    undone = {"renamed": [], "dropped": [], "left": ["authentik"]}
    kept = said("__restore_kept_now", restore_undo_static={}, restore_undo_postgresql=undone, **known)
    assert [line[: len(start)] for line, start in zip(kept, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("kept", "text"),
    [
        ([], "Everything was put back;"),
        (["postgresql: authentik" + LEFT], "Everything that there was before was put back;"),
    ],
)
def test_not_everything_is_back_where_there_was_no_database(kept: list[str], text: str) -> None:
    template = trust_as_template((ROOT / "roles/restore/templates/failed.txt.j2").read_text())
    undone: dict[str, Any] = {"restore_undo_" + name: {} for name in ("static", "redis", "postgresql", "config")}
    known = {"restore_error": "x", "restore_began": True, "restore_kept": kept, "restore_services": {}, **undone}
    assert text in engine("restore", **known).template(template)


@pytest.mark.parametrize(("manage", "told"), [(True, False), (False, True)])
def test_whoever_starts_a_rebuilt_project_is_told_how(manage: bool, told: bool) -> None:
    template = trust_as_template((ROOT / "roles/restore/templates/done.txt.j2").read_text())
    known = {"authentik_rebuild": True, "authentik_rebuild_project_name": "drill", "authentik_manage_services": manage}
    saved = {"name": "sso", "directory": "/srv/sso", "files": [], "env_files": [], "profiles": [], "images": []}
    chosen = {**CHOSEN, "manifest": {"instance": {}, "components": {"config": {"compose": saved}}}}
    chosen["sets"] = [{"id": "20261122T031500Z-7f3a", "components": ["config"]}]
    text = engine("restore", restore_set=chosen, authentik_instance="sso", **known).template(template)
    assert ("docker compose --project-name drill start" in text) == told
    assert "To take it away again" in text
