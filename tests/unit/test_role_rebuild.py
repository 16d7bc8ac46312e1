# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rebuild of a compose project: where it goes, and the sets of which none can be made."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.template import trust_as_template

from tests.unit.test_role_variables import LEARNT, ROOT, calls, engine

SAVED = {
    "name": "authentik",
    "directory": "/opt/authentik",
    "files": ["/opt/authentik/compose.yml", "/opt/authentik-more/x.yml", "/srv/opt/authentik/y.yml"],
    "env_files": ["/opt/authentik/.env"],
    "profiles": ["ldap"],
    "images": [{"service": "server", "reference": "x:1", "id": "", "digests": []}],
}
HERE = {"COMPOSE_PROJECT_NAME": "authentik"}


@pytest.mark.parametrize(
    ("given", "directory", "name", "environment"),
    [
        ({}, "/opt/authentik", "authentik", {}),
        # Compose would take the directory's name.
        ({"rebuild_directory": "/srv/sso/"}, "/srv/sso", "authentik", HERE),
        ({"rebuild_directory": "/srv/authentik"}, "/srv/authentik", "authentik", {}),
        ({"rebuild_project_name": "drill"}, "/opt/authentik", "drill", {"COMPOSE_PROJECT_NAME": "drill"}),
        ({"rebuild_env": {"COMPOSE_PROJECT_NAME": "x"}}, "/opt/authentik", "x", {"COMPOSE_PROJECT_NAME": "x"}),
        ({"rebuild_env": {"PG_PASS": "p"}}, "/opt/authentik", "authentik", {"PG_PASS": "p"}),
        ({"compose_project_directory": "/srv/sso"}, "/srv/sso", "authentik", HERE),
        (
            {"compose_project_name": "old", "compose_project_directory": "/old", "rebuild_project_name": "n",
             "rebuild_directory": "/new"},
            "/new", "n", {"COMPOSE_PROJECT_NAME": "n"},
        ),
    ],
)  # fmt: skip
def test_a_rebuild_goes_where_it_is_told(
    given: dict[str, Any], directory: str, name: str, environment: dict[str, str]
) -> None:
    known: dict[str, Any] = dict(LEARNT["restore"])
    known["restore_set"] = {
        **known["restore_set"],
        "manifest": {
            "instance": {"authentik_version": None, "deployment": "compose"},
            "components": {"config": {"compose": SAVED}},
        },
    }
    variables = {"authentik_" + key: value for key, value in given.items()}
    for done in (False, True):
        made = calls("restore", authentik_rebuild="true", restore_configuration_done=done, **variables, **known)
        (config, *_more) = [options for module, options in made if module == "config_restore"]
        assert (config["directory"], config["environment"]) == (directory, environment)
        for module, options in made:
            if module not in ("backup_set", "backup_set_info", "restore_record", "restore_record_info"):
                found = [options.get("compose_project_" + key) for key in ("directory", "name")]
                assert [*found, options["deployment"]] == [directory, name, "compose"], module
                # Files can only be named when they have been laid down.
                assert options.get("compose_files") == (
                    [directory + "/compose.yml", "/opt/authentik-more/x.yml", "/srv/opt/authentik/y.yml"]
                    if done
                    else None
                )
                assert options.get("compose_env_files") == ([directory + "/.env"] if done else None)
                assert options.get("compose_profiles") == (["ldap"] if done else None)
        (up, *_more) = [options for module, options in made if module == "compose_up"]
        assert up["images"] == SAVED["images"]
        assert {options["rebuild"] for module, options in made if module == "compose_restore"} == {True}
        (started, *_more) = [
            options for module, options in made if module == "services" and options["state"] == "started"
        ]
        assert "units" not in started


@pytest.mark.parametrize(
    ("lacking", "given", "told"),
    [
        ({}, {}, None),
        ({"missing_files": [], "missing_env_files": []}, {}, None),
        ({"missing_files": ["/srv/override.yml"]}, {"PG_PASS": "p"}, "with the archive of config to look it up in"),
        ({"missing_env_files": ["/srv/stack.env"]}, {}, "with authentik_rebuild_env"),
        ({"missing_env_files": ["/srv/stack.env"]}, {"PG_PASS": "p"}, None),
    ],
)
def test_no_project_is_made_of_a_part_of_its_files(
    lacking: dict[str, Any], given: dict[str, str], told: str | None
) -> None:
    tasks = yaml.safe_load((ROOT / "roles/restore/tasks/rebuild.yml").read_text())
    (task,) = [task for task in tasks if task["name"].startswith("Refuse a set that lacks files")]
    check = task["ansible.builtin.assert"]
    templar = engine(
        "restore",
        authentik_rebuild_env=given,
        restore_set={
            **LEARNT["restore"]["restore_set"],
            "manifest": {"instance": {}, "components": {"config": {"compose": {**SAVED, **lacking}}}},
        },
    )
    assert templar.evaluate_conditional(trust_as_template(check["that"])) == (told is None)
    if told:
        message = templar.template(trust_as_template(check["fail_msg"]))
        assert told in message
        assert "/srv/" in message


def test_a_secret_of_a_variable_that_nobody_gave_is_not_made_empty() -> None:
    tasks = yaml.safe_load((ROOT / "roles/restore/tasks/rebuild.yml").read_text())
    (task,) = [task for task in tasks if task["name"].startswith("Refuse to make secrets")]
    check = task["ansible.builtin.assert"]
    for given, expected in (({}, "ONE, TWO"), ({"ONE": "x"}, "TWO"), ({"ONE": "x", "TWO": ""}, None)):
        templar = engine(
            "restore",
            authentik_rebuild_env=given,
            restore_set={
                **LEARNT["restore"]["restore_set"],
                "manifest": {
                    "instance": {},
                    "components": {"config": {"compose": {**SAVED, "shell_variables": ["ONE", "TWO"]}}},
                },
            },
        )
        assert templar.evaluate_conditional(trust_as_template(check["that"])) == (expected is None)
        if expected:
            message = templar.template(trust_as_template(check["fail_msg"]))
            assert "come from %s in the environment" % expected in message
            assert "authentik_rebuild_env" in message
